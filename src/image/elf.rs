//! Tells by its head whether a file is a program for the nodes' architecture.

use crate::config::Arch;

/// Bytes of a file that [`check`] needs.
pub(super) const HEAD: usize = 20;

/// Why a file cannot run on the nodes.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ElfError {
    /// No ELF file at all.
    #[error("it is not an ELF program")]
    NotElf,
    /// 32 bits, big-endian, or an object file.
    #[error("it is not a 64-bit little-endian ELF executable")]
    NotExecutable,
    /// A program for another architecture.
    #[error("it is not built for {wanted} (ELF machine {got})")]
    Machine {
        /// The nodes' architecture.
        wanted: Arch,
        /// `e_machine`.
        got: u16,
    },
}

/// The head is that of an ELF file of any kind.
pub(super) fn is_elf(head: &[u8]) -> bool {
    head.starts_with(b"\x7FELF")
}

/// Checks class, byte order, type and machine (System V ABI, ELF header).
pub(super) fn check(head: &[u8], arch: Arch) -> Result<(), ElfError> {
    if !is_elf(head) {
        return Err(ElfError::NotElf);
    }
    let &[_, _, _, _, class, order, .., kind, kind_high, low, high] =
        head.first_chunk::<HEAD>().ok_or(ElfError::NotExecutable)?;
    // ELFCLASS64, ELFDATA2LSB, ET_EXEC or ET_DYN.
    if (class, order) != (2, 1) || !matches!((kind, kind_high), (2 | 3, 0)) {
        return Err(ElfError::NotExecutable);
    }
    let got = u16::from_le_bytes([low, high]);
    // EM_X86_64 and EM_AARCH64.
    let wanted = match arch {
        Arch::Amd64 => 62,
        Arch::Arm64 => 183,
    };
    if got == wanted { Ok(()) } else { Err(ElfError::Machine { wanted: arch, got }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_programs_of_an_architecture() {
        const X86: &[u8; 20] = b"\x7FELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\x3E\0";
        let with = |at: usize, byte: u8| {
            let mut head = *X86;
            head[at] = byte;
            head
        };
        assert_eq!(check(X86, Arch::Amd64), Ok(()));
        assert_eq!(check(&with(16, 2), Arch::Amd64), Ok(()));
        assert_eq!(check(X86, Arch::Arm64), Err(ElfError::Machine { wanted: Arch::Arm64, got: 62 }));
        assert_eq!(check(&with(18, 183), Arch::Arm64), Ok(()));
        for wrong in [with(4, 1), with(5, 2), with(16, 1), with(17, 1)] {
            assert_eq!(check(&wrong, Arch::Amd64), Err(ElfError::NotExecutable));
        }
        assert_eq!(check(&X86[..19], Arch::Amd64), Err(ElfError::NotExecutable));
        assert_eq!(check(b"#!/bin/sh\n", Arch::Amd64), Err(ElfError::NotElf));
        assert_eq!(check(b"", Arch::Amd64), Err(ElfError::NotElf));
    }
}
