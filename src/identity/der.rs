//! The outer shape of certificates in DER (X.690): sequences taken apart and put together without touching what is in them.

use pkcs8::der::{Encode as _, Error, Header, Length, Reader as _, Result, SliceReader, Tag};

/// The elements of a SEQUENCE, each with its header.
pub(super) fn elements(der: &[u8]) -> Result<Vec<&[u8]>> {
    let mut elements = Vec::new();
    let mut reader = SliceReader::new(der)?;
    reader.sequence(|reader| {
        while !reader.is_finished() {
            elements.push(reader.tlv_bytes()?);
        }
        Ok::<_, Error>(())
    })?;
    reader.finish()?;
    Ok(elements)
}

/// A SEQUENCE of encoded elements.
pub(super) fn sequence(elements: &[&[u8]]) -> Result<Vec<u8>> {
    let content = elements.concat();
    let mut der = Header::new(Tag::Sequence, Length::try_from(content.len())?).to_der()?;
    der.extend(content);
    Ok(der)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_sequence_is_taken_apart_and_put_together() {
        let long = [&[0x04, 0x81, 0x80][..], &[7; 128]].concat();
        let parts: [&[u8]; 3] = [&[0x02, 0x01, 0x05], &[0x30, 0x00], &long];
        let der = sequence(&parts).unwrap();
        assert_eq!(der[..3], [0x30, 0x81, 136]);
        assert_eq!(elements(&der).unwrap(), parts);
        assert_eq!(elements(&sequence(&[]).unwrap()).unwrap(), Vec::<&[u8]>::new());
        for bad in [&der[..der.len() - 1], &[&der[..], &[0]].concat(), &[0x10, 0x00], &[0x30, 0x01, 0x02], &[]] {
            assert!(elements(bad).is_err(), "{bad:x?}");
        }
    }
}
