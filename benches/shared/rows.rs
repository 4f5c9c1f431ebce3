//! What a benchmark found, kept for the table of all of them: see benches/table.rs.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use serde_json::json;

use super::spread::spread;

/// The rows of one benchmark, in place of those that it wrote before.
pub(crate) struct Rows(File);

impl Rows {
    /// Of a benchmark by its name.
    pub(crate) fn of(benchmark: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("bench");
        fs::create_dir_all(&folder).unwrap();
        Self(File::create(folder.join(format!("{benchmark}.jsonl"))).unwrap())
    }

    /// Ours against a peer: a ratio for each pair. `met` says whether that is within the limit, where there is one.
    pub(crate) fn add(
        &mut self,
        what: &str,
        peer: &str,
        ratios: impl IntoIterator<Item = f64>,
        limit: Option<(f64, bool)>,
    ) {
        let ratios: Vec<_> = ratios.into_iter().collect();
        let pairs = ratios.len();
        let Some([median, least, most]) = spread(ratios) else { return };
        let (limit, met) = limit.unzip();
        let row = json!({
            "what": what, "peer": peer, "median": median, "least": least, "most": most, "pairs": pairs, "limit": limit,
            "met": met,
        });
        writeln!(self.0, "{row}").unwrap();
    }
}
