//! An image: what our strict reader takes, the one for anybody's takes too and shows the same; neither reads outside of it.

use nodebake::image::iso9660::Image;

/// Files above this are not read.
const LIMIT: u64 = 1 << 16;

pub(crate) fn run(bytes: &[u8]) {
    // Descriptors begin after 16 empty blocks, which a corpus need not hold.
    let mut image = vec![0; 16 * 2048];
    image.extend_from_slice(bytes);
    image.resize(image.len().next_multiple_of(2048), 0);
    let any = Image::open_any(image.as_slice());
    if let Ok(any) = &any {
        for entry in any.entries() {
            assert!(entry.path.starts_with('/') && any.entry(&entry.path) == Some(entry));
            if let Some(data) = any.read(entry, LIMIT).expect("every extent stands in the image") {
                assert_eq!(data.len() as u64, entry.size);
            }
        }
    }
    match Image::open(image.as_slice()) {
        Ok(ours) => assert_eq!(any.expect("it is strict enough for us").entries(), ours.entries()),
        Err(error) => drop(error.to_string()),
    }
}
