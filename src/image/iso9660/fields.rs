//! Numbers recorded twice, little-endian and then big-endian (ECMA-119 7.2.3 and 7.3.3).

/// A 16-bit number in both byte orders.
pub(super) fn both16(value: u16) -> [u8; 4] {
    let ([a, b], [c, d]) = (value.to_le_bytes(), value.to_be_bytes());
    [a, b, c, d]
}

/// A 32-bit number in both byte orders.
pub(super) fn both32(value: u32) -> [u8; 8] {
    let mut both = [0; 8];
    both[..4].copy_from_slice(&value.to_le_bytes());
    both[4..].copy_from_slice(&value.to_be_bytes());
    both
}

/// Reads a 16-bit number at `at`; none if it is not there or the two halves differ.
pub(super) fn read_both16(bytes: &[u8], at: usize) -> Option<u16> {
    let field: [u8; 4] = bytes.get(at..at.checked_add(4)?)?.try_into().ok()?;
    let value = u16::from_le_bytes([field[0], field[1]]);
    (both16(value) == field).then_some(value)
}

/// Reads a 32-bit number at `at`; none if it is not there or the two halves differ.
pub(super) fn read_both32(bytes: &[u8], at: usize) -> Option<u32> {
    let field: [u8; 8] = bytes.get(at..at.checked_add(8)?)?.try_into().ok()?;
    let value = u32::from_le_bytes([field[0], field[1], field[2], field[3]]);
    (both32(value) == field).then_some(value)
}

/// The little-endian half of a number at `at`; none if it is not there.
pub(super) fn little_endian<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips_and_refuses_halves_that_differ() {
        assert_eq!(both16(0x1234), [0x34, 0x12, 0x12, 0x34]);
        assert_eq!(both32(0x1234_5678), [0x78, 0x56, 0x34, 0x12, 0x12, 0x34, 0x56, 0x78]);
        assert_eq!(read_both16(&[9, 0x34, 0x12, 0x12, 0x34], 1), Some(0x1234));
        assert_eq!(read_both32(&both32(0x1234_5678), 0), Some(0x1234_5678));
        assert_eq!(read_both16(&[0x34, 0x12, 0x12, 0x35], 0), None);
        assert_eq!(read_both32(&[0x78, 0x56, 0x34, 0x12, 0x12, 0x34, 0x56, 0x79], 0), None);
        assert_eq!(read_both16(&[0; 4], 1), None);
        assert_eq!(read_both32(&[0; 8], usize::MAX), None);
    }
}
