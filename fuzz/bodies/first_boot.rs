//! What a guest writes into its first-boot channel: read alike in pieces of any size, and text for a terminal whatever it is.
//! Nothing that it writes keeps the next line from being read.

use nodebake::boot::{BootEvent, Decoder, News, Stage};
use nodebake::printable;

/// What our own script writes.
const REPORT: &str = r#"{"v":1,"boot":"2f3b0c5e-7f5c-4c1c-9d5a-0a4c5b6d7e8f","booted":1,"instance":"i","uptime":2.5,"stage":"finished","state":"ok","log":""}"#;

pub(crate) fn run(bytes: &[u8]) {
    let mut whole = Decoder::default();
    let events = whole.feed(bytes);
    for size in [1, 7, 4096] {
        let mut pieces = Decoder::default();
        let got: Vec<_> = bytes.chunks(size).flat_map(|piece| pieces.feed(piece)).collect();
        assert_eq!(got, events, "pieces of {size}");
    }
    events.iter().for_each(told);
    whole.feed(b"\n").iter().for_each(told);
    let after = whole.feed(format!("{REPORT}\n").as_bytes());
    let [BootEvent { stage: Stage::Finished, news: News::Reached, uptime: 2.5, .. }] = after.as_slice() else {
        panic!("{after:?}")
    };
}

fn told(event: &BootEvent) {
    for line in [event.instance.clone(), event.to_string(), format!("{:.0}", event.uptime)] {
        assert_eq!(printable::line(&line), line);
    }
    if let News::Failed(log) = &event.news {
        assert_eq!(printable::text(log), *log);
    }
}
