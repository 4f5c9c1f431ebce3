//! System use fields: SUSP 1.12 (SP, ER, CE, ST) and RRIP 1.12 (PX, NM, SL, TF), written and parsed.

use super::fields::{both32, read_both32};
use super::{BLOCK_BYTES, MAX_LINK, Owner, Time};

/// Extension identifier, description and source of RRIP 1.12, as RRIP 1.12 recommends them.
const EXTENSION: [&str; 3] = [
    "IEEE_P1282",
    "THE IEEE P1282 PROTOCOL PROVIDES SUPPORT FOR POSIX FILE SYSTEM SEMANTICS.",
    "PLEASE CONTACT THE IEEE STANDARDS DEPARTMENT, PISCATAWAY, NJ, USA FOR THE P1282 SPECIFICATION.",
];

/// Size of a CE field.
pub(super) const CE_SIZE: usize = 28;
/// Names are split into NM fields of at most so many bytes.
const NM_PART: usize = 200;
/// Most component bytes that one SL field holds: 255 less its own head.
const SL_SPACE: usize = 250;

/// Bits of the NM and SL flags and of the flags of SL components.
const CONTINUE: u8 = 1;
const CURRENT: u8 = 2;
const PARENT: u8 = 4;
const ROOT: u8 = 8;

/// File types in a POSIX mode.
pub(super) const TYPE_MASK: u32 = 0o170_000;
pub(super) const DIRECTORY: u32 = 0o040_000;
pub(super) const FILE: u32 = 0o100_000;
pub(super) const LINK: u32 = 0o120_000;
/// Pipes, character devices, block devices and sockets, with their letters in `ls -l`.
pub(super) const SPECIAL: [(u32, char); 4] = [(0o010_000, 'p'), (0o020_000, 'c'), (0o060_000, 'b'), (0o140_000, 's')];

/// One system use field, at most 255 bytes.
pub(super) type Field = Vec<u8>;

/// Says in the root's first record that SUSP is in use.
pub(super) fn sp() -> Field {
    vec![b'S', b'P', 7, 1, 0xBE, 0xEF, 0]
}

/// Names RRIP 1.12.
pub(super) fn er() -> Field {
    let mut body = EXTENSION.map(|text| length(text.len())).to_vec();
    body.push(1);
    body.extend(EXTENSION.concat().bytes());
    field(*b"ER", &body)
}

/// POSIX attributes. `serial` is unique for each file, link and directory.
pub(super) fn px(mode: u32, links: u32, owner: Owner, serial: u32) -> Field {
    field(*b"PX", [mode, links, owner.uid, owner.gid, serial].map(both32).as_flattened())
}

/// Times of modification, access and attribute change, all the same.
pub(super) fn tf(time: Time) -> Field {
    let mut body = [0x0E; 1 + 3 * 7];
    body[1..].copy_from_slice([time.record(); 3].as_flattened());
    field(*b"TF", &body)
}

/// The name, in as many fields as it takes.
pub(super) fn nm(name: &str) -> Vec<Field> {
    let parts: Vec<_> = name.as_bytes().chunks(NM_PART).collect();
    let body = |(index, part): (usize, &&[u8])| {
        let flags = if index + 1 < parts.len() { CONTINUE } else { 0 };
        field(*b"NM", &[&[flags], *part].concat())
    };
    parts.iter().enumerate().map(body).collect()
}

/// The target of a symbolic link, in as many fields as it takes.
pub(super) fn sl(target: &str) -> Vec<Field> {
    let mut bodies: Vec<Vec<u8>> = vec![Vec::new()];
    for component in link_components(target) {
        if let Some(last) = bodies.last_mut()
            && last.len() + component.len() <= SL_SPACE
        {
            last.extend(component);
        } else {
            bodies.push(component);
        }
    }
    let count = bodies.len();
    let flags = |index| if index + 1 < count { CONTINUE } else { 0 };
    bodies.iter().enumerate().map(|(index, body)| field(*b"SL", &[&[flags(index)], body.as_slice()].concat())).collect()
}

/// Points to where the fields go on.
pub(super) fn ce(block: u32, offset: u32, length: u32) -> Field {
    field(*b"CE", [block, offset, length].map(both32).as_flattened())
}

fn field(signature: [u8; 2], body: &[u8]) -> Field {
    let mut field = Vec::with_capacity(4 + body.len());
    field.extend_from_slice(&[signature[0], signature[1], length(4 + body.len()), 1]);
    field.extend_from_slice(body);
    field
}

/// A length that is below 256 by construction.
fn length(length: usize) -> u8 {
    u8::try_from(length).unwrap_or(u8::MAX)
}

/// SL component records (RRIP 4.1.3.1): flags, length, text. Text that does not fit in one field goes on in the next.
fn link_components(target: &str) -> Vec<Vec<u8>> {
    let mut components = Vec::new();
    if target.starts_with('/') {
        components.push(vec![ROOT, 0]);
    }
    for name in target.split('/').filter(|name| !name.is_empty()) {
        match name {
            "." => components.push(vec![CURRENT, 0]),
            ".." => components.push(vec![PARENT, 0]),
            _ => {
                let parts: Vec<_> = name.as_bytes().chunks(SL_SPACE - 2).collect();
                let part = |(index, part): (usize, &&[u8])| {
                    let flags = if index + 1 < parts.len() { CONTINUE } else { 0 };
                    [&[flags, length(part.len())], *part].concat()
                };
                components.extend(parts.iter().enumerate().map(part));
            }
        }
    }
    components
}

/// Continuation areas of all records, packed into blocks; no area crosses a block.
pub(super) struct Continuation {
    first_block: u32,
    bytes: Vec<u8>,
}

impl Continuation {
    /// Areas from `first_block` on.
    pub(super) fn new(first_block: u32) -> Self {
        Self { first_block, bytes: Vec::new() }
    }

    /// The fields that go into a record with `space` bytes left; the others are placed here.
    pub(super) fn pack(&mut self, fields: &[Field], space: usize) -> Vec<u8> {
        if fields.iter().map(Vec::len).sum::<usize>() <= space {
            return fields.concat();
        }
        let (kept, rest) = split(fields, space - CE_SIZE);
        let mut packed = kept.concat();
        packed.extend(self.place(rest));
        packed
    }

    /// All areas, in whole blocks.
    pub(super) fn into_blocks(mut self) -> Vec<u8> {
        self.bytes.resize(self.bytes.len().next_multiple_of(BLOCK_BYTES), 0);
        self.bytes
    }

    /// Places fields in one area, or in a chain of them, and returns the CE field that leads there.
    fn place(&mut self, fields: &[Field]) -> Field {
        let total: usize = fields.iter().map(Vec::len).sum();
        let (area, rest) =
            if total <= BLOCK_BYTES { (fields, &fields[..0]) } else { split(fields, BLOCK_BYTES - CE_SIZE) };
        let size = area.iter().map(Vec::len).sum::<usize>() + if rest.is_empty() { 0 } else { CE_SIZE };
        let free = self.bytes.len().next_multiple_of(BLOCK_BYTES) - self.bytes.len();
        if size > free {
            self.bytes.resize(self.bytes.len() + free, 0);
        }
        let start = self.bytes.len();
        self.bytes.extend(area.concat());
        self.bytes.resize(start + size, 0);
        if !rest.is_empty() {
            let next = self.place(rest);
            self.bytes[start + size - CE_SIZE..start + size].copy_from_slice(&next);
        }
        let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
        ce(self.first_block.saturating_add(number(start / BLOCK_BYTES)), number(start % BLOCK_BYTES), number(size))
    }
}

/// As many of the first fields as fit into `space`, and the rest.
fn split(fields: &[Field], space: usize) -> (&[Field], &[Field]) {
    let mut used = 0;
    let fitting = fields.iter().take_while(|field| {
        used += field.len();
        used <= space
    });
    fields.split_at(fitting.count())
}

/// What the system use fields of one record say.
#[derive(Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "flags of the format, and where the reading of two of its fields stands"
)]
pub(super) struct RockRidge {
    /// Fields were announced by SP; only in the root's first record.
    pub(super) skip: Option<u8>,
    pub(super) posix: Option<Posix>,
    pub(super) name: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) modified: Option<Time>,
    /// Where the fields go on: block, offset, length.
    pub(super) next: Option<(u32, u32, u32)>,
    /// Block of the directory that should stand here and was moved elsewhere (CL).
    pub(super) child: Option<u32>,
    /// Moved here from elsewhere (RE), where it is found by its CL.
    pub(super) moved: bool,
    name_goes_on: bool,
    link_goes_on: bool,
    /// A slash goes before the next component of the link.
    link_slash: bool,
}

/// PX.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Posix {
    pub(super) mode: u32,
    pub(super) links: u32,
    pub(super) owner: Owner,
}

impl RockRidge {
    /// Adds the fields of a system use or continuation area. Fields that we do not know are passed over, as SUSP asks.
    pub(super) fn parse(&mut self, mut area: &[u8]) -> Result<(), &'static str> {
        while area.len() >= 4 && area[0] != 0 {
            let size = usize::from(area[2]);
            if size < 4 || size > area.len() {
                return Err("a system use field has a wrong length");
            }
            let (field, rest) = area.split_at(size);
            let (signature, body) = ([field[0], field[1]], &field[4..]);
            if &signature == b"ST" {
                return Ok(());
            }
            self.field(signature, body)?;
            area = rest;
        }
        Ok(())
    }

    /// Nothing was left open.
    pub(super) fn is_whole(&self) -> bool {
        !self.name_goes_on && !self.link_goes_on
    }

    fn field(&mut self, signature: [u8; 2], body: &[u8]) -> Result<(), &'static str> {
        match &signature {
            b"SP" => match body {
                [0xBE, 0xEF, skip] if self.skip.is_none() => self.skip = Some(*skip),
                _ => return Err("a wrong SP field"),
            },
            b"CE" => {
                let number = |at| read_both32(body, at).ok_or("a wrong CE field");
                let next = (number(0)?, number(8)?, number(16)?);
                if self.next.replace(next).is_some() {
                    return Err("two CE fields in one area");
                }
            }
            b"PX" => self.px(body)?,
            b"NM" => self.nm(body)?,
            b"SL" => self.sl(body)?,
            b"TF" => self.tf(body)?,
            b"CL" => {
                let child = read_both32(body, 0).ok_or("a wrong CL field")?;
                if self.child.replace(child).is_some() {
                    return Err("two CL fields");
                }
            }
            b"RE" => self.moved = true,
            b"SF" | b"ZF" => return Err("sparse and compressed files are not supported"),
            _ => {}
        }
        Ok(())
    }

    fn px(&mut self, body: &[u8]) -> Result<(), &'static str> {
        if body.len() != 32 && body.len() != 40 {
            return Err("a PX field of a wrong length");
        }
        let number = |at| read_both32(body, at).ok_or("a wrong PX field");
        let posix = Posix { mode: number(0)?, links: number(8)?, owner: Owner { uid: number(16)?, gid: number(24)? } };
        if self.posix.replace(posix).is_some() { Err("two PX fields") } else { Ok(()) }
    }

    fn nm(&mut self, body: &[u8]) -> Result<(), &'static str> {
        let Some((flags, text)) = body.split_first() else { return Err("an empty NM field") };
        // The names of "." and "..", which some writers record.
        if matches!(*flags, CURRENT | PARENT) && text.is_empty() {
            return Ok(());
        }
        if self.name.is_some() && !self.name_goes_on {
            return Err("two names");
        }
        if flags & !CONTINUE != 0 {
            return Err("a NM field with flags that are not supported");
        }
        let name = self.name.get_or_insert_default();
        name.extend(text);
        if name.len() > usize::from(u8::MAX) {
            return Err("a name above 255 bytes");
        }
        self.name_goes_on = flags & CONTINUE != 0;
        Ok(())
    }

    fn sl(&mut self, body: &[u8]) -> Result<(), &'static str> {
        let Some((flags, mut components)) = body.split_first() else { return Err("an empty SL field") };
        if self.link.is_some() && !self.link_goes_on {
            return Err("two link targets");
        }
        let target = self.link.get_or_insert_default();
        while let [flags, size, rest @ ..] = components {
            let Some((text, rest)) = rest.split_at_checked(usize::from(*size)) else {
                return Err("a link component of a wrong length");
            };
            if std::mem::take(&mut self.link_slash) {
                target.push(b'/');
            }
            match (*flags, text) {
                (0 | CONTINUE, [_, ..]) => target.extend(text),
                (CURRENT, []) => target.extend(b"."),
                (PARENT, []) => target.extend(b".."),
                (ROOT, []) if target.is_empty() => target.push(b'/'),
                _ => return Err("a link component that is not supported"),
            }
            if target.len() > MAX_LINK {
                return Err("a link target above 4095 bytes");
            }
            self.link_slash = !matches!(*flags, CONTINUE | ROOT);
            components = rest;
        }
        if !components.is_empty() {
            return Err("a link component of a wrong length");
        }
        self.link_goes_on = flags & CONTINUE != 0;
        Ok(())
    }

    /// Only the time of modification is kept; the times stand in the order of their flags.
    fn tf(&mut self, body: &[u8]) -> Result<(), &'static str> {
        const CREATION: u8 = 1;
        const MODIFICATION: u8 = 2;
        const LONG_FORM: u8 = 0x80;
        let Some((flags, times)) = body.split_first() else { return Err("an empty TF field") };
        let size = if flags & LONG_FORM == 0 { 7 } else { 17 };
        if times.len() != (flags & 0x7F).count_ones() as usize * size {
            return Err("a TF field of a wrong length");
        }
        if flags & MODIFICATION != 0 {
            let time = &times[usize::from(flags & CREATION) * size..][..size];
            let time = match (time.first_chunk(), time.first_chunk()) {
                (_, Some(volume)) => Time::from_volume(volume),
                (Some(record), None) => Time::from_record(*record),
                (None, None) => None,
            };
            self.modified = Some(time.ok_or("a wrong time in a TF field")?);
        }
        Ok(())
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn parsed(fields: &[Field]) -> Result<RockRidge, &'static str> {
        let mut got = RockRidge::default();
        got.parse(&fields.concat()).map(|()| got)
    }

    #[test]
    fn fields_read_as_written() {
        let owner = Owner { uid: 1000, gid: u32::MAX };
        let got = parsed(&[sp(), px(FILE | 0o640, 3, owner, 7), tf(Time::FIXED), ce(5, 6, 7), er()]).unwrap();
        let posix = Posix { mode: FILE | 0o640, links: 3, owner };
        let (modified, next) = (Some(Time::FIXED), Some((5, 6, 7)));
        assert_eq!(got, RockRidge { skip: Some(0), posix: Some(posix), modified, next, ..RockRidge::default() });
    }

    #[test]
    fn names_of_every_length_round_trip() {
        for size in 1..=255 {
            let name = "n".repeat(size);
            let got = parsed(&nm(&name)).unwrap();
            assert_eq!((got.name.as_deref(), got.is_whole()), (Some(name.as_bytes()), true));
        }
    }

    #[test]
    fn links_round_trip() {
        let long = format!("/{}/{}/x", "a".repeat(255), "b".repeat(249));
        let deep = "../".repeat(1000) + "x";
        for target in ["/", "a", "/a", "../a/./b", "a/..", "./a", &long, &deep] {
            let got = parsed(&sl(target)).unwrap();
            assert_eq!(got.link.map(String::from_utf8), Some(Ok(target.to_owned())));
            assert!(sl(target).iter().all(|field| field.len() <= 255 && usize::from(field[2]) == field.len()));
        }
    }

    #[test]
    fn continuation_areas_never_cross_a_block() {
        let mut areas = Continuation::new(100);
        let fields = sl(&"0123456789/".repeat(370)[..4000]);
        for space in [40, 100, 180] {
            let mut record = RockRidge::default();
            let mut area = areas.pack(&fields, space);
            assert!(area.len() <= space);
            let mut hops = 0;
            while !area.is_empty() {
                record.parse(&area).unwrap();
                area = Vec::new();
                if let Some((block, offset, size)) = record.next.take() {
                    assert!(offset + size <= 2048);
                    let start = (block as usize - 100) * BLOCK_BYTES + offset as usize;
                    area = areas.bytes[start..start + size as usize].to_vec();
                    hops += 1;
                }
            }
            assert!(hops >= 2, "the target takes more than a block");
            assert_eq!(record.link.as_deref(), Some(&"0123456789/".repeat(370).as_bytes()[..4000]));
        }
    }

    #[test]
    fn refuses_what_is_wrong() {
        let cases: [(&[u8], &str); 9] = [
            (b"NM\x03\x01", "a system use field has a wrong length"),
            (b"NM\x09\x01", "a system use field has a wrong length"),
            (b"NM\x04\x01", "an empty NM field"),
            (b"NM\x06\x01\x00aNM\x06\x01\x00b", "two names"),
            (b"SP\x07\x01\xBE\xEE\x00", "a wrong SP field"),
            (b"PX\x05\x01\x00", "a PX field of a wrong length"),
            (b"SL\x08\x01\x00\x00\x05a", "a link component of a wrong length"),
            (b"TF\x06\x01\x02\x00", "a TF field of a wrong length"),
            (b"CL\x04\x01", "a wrong CL field"),
        ];
        for (bytes, why) in cases {
            assert_eq!(RockRidge::default().parse(bytes), Err(why), "{bytes:?}");
        }
    }
}
