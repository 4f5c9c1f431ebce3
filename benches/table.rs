//! All that the benchmarks beside this one found, each as it ran last: printed, and written to docs/benchmarks.md.
//!
//! Only ratios go there. How long something takes is a fact of a machine; how it compares with the other way, on the same
//! machine and in the same minutes, is one of the program. Where a limit is not met, the run fails.
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a program of its own, for people")]

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use serde::Deserialize;

/// The benchmarks, and what each is about.
const BENCHMARKS: [(&str, &str, &str); 5] = [
    (
        "supply-chain",
        "Payload and downloads",
        "Whole runs of `fetch` and `build` against the shell's tools for the same files.",
    ),
    ("seeds", "Seeds", "One `build` of a hundred nodes against cloud-localds, once a node."),
    ("upload", "Uploads", "An image to a libvirt daemon of its own, over its socket, against `virsh vol-upload`."),
    (
        "plan",
        "Plans",
        "What a plan costs a node as clusters grow, on a hypervisor in memory; the limit is on the fastest of each.",
    ),
    (
        "first-boot",
        "First boots",
        "From the start of a machine's QEMU process to the kubelet's word that it runs, against three other ways.",
    ),
];

/// Ours against a peer.
#[derive(Debug, Deserialize)]
struct Row {
    what: String,
    peer: String,
    median: f64,
    least: f64,
    most: f64,
    pairs: usize,
    limit: Option<f64>,
    met: Option<bool>,
}

impl Row {
    const HEADS: [&str; 6] = ["WHAT", "AGAINST", "RATIO", "SPREAD", "PAIRS", "LIMIT"];

    fn cells(&self) -> [String; 6] {
        let limit = self.limit.map_or_else(|| "-".to_owned(), |limit| format!("{limit:.2}"));
        let missed = if self.met == Some(false) { " NOT MET" } else { "" };
        [
            self.what.clone(),
            self.peer.clone(),
            format!("{:.3}", self.median),
            format!("{:.3} to {:.3}", self.least, self.most),
            self.pairs.to_string(),
            format!("{limit}{missed}"),
        ]
    }
}

fn main() -> ExitCode {
    let found = BENCHMARKS.map(|(name, ..)| rows(name));
    let all = || found.iter().flatten().flatten();
    println!("{}", table(&all().map(Row::cells).collect::<Vec<_>>()));
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/benchmarks.md");
    fs::write(&docs, document(&found)).unwrap();
    println!("written to {}", docs.display());
    if all().any(|row| row.met == Some(false)) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// What a benchmark found when it ran last; none where it has not.
fn rows(benchmark: &str) -> Option<Vec<Row>> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("bench");
    let text = fs::read_to_string(folder.join(format!("{benchmark}.jsonl"))).ok()?;
    Some(text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

/// As wide as its cells.
fn table(rows: &[[String; 6]]) -> String {
    let heads = Row::HEADS.map(ToOwned::to_owned);
    let rows: Vec<_> = std::iter::once(&heads).chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or_default();
    let mut text = String::new();
    for row in &rows {
        let cells: Vec<_> = row.iter().enumerate().map(|(at, cell)| format!("{cell:0$}", width(at))).collect();
        text += cells.join("   ").trim_end();
        text.push('\n');
    }
    text
}

/// What stands above the tables.
const HEAD: &str = "\
# Benchmarks

Written by `make bench`. Each row holds ours against another way to the same end: whole processes in alternation, ours, the
other, ours, the other, so that whatever else the machine does meets both. A ratio of 0.25 says that ours took a quarter of
the other's time; median, least and most are of the ratios of the pairs. No row has seconds in it: those are a machine's,
ratios are the program's. What is compared, and how, stands at the head of each program in `benches/`.
";

fn document(found: &[Option<Vec<Row>>]) -> String {
    let mut text = format!("{HEAD}\nMeasured on {}.\n", machine());
    for ((_, title, about), rows) in BENCHMARKS.iter().zip(found) {
        let _ = write!(text, "\n## {title}\n\n{about}\n\n");
        let Some(rows) = rows else {
            text.push_str("Not measured on this machine.\n");
            continue;
        };
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        text += &line(&["What", "Against", "Ratio", "Spread", "Pairs", "Limit"].map(ToOwned::to_owned));
        text += "|---|---|---|---|---|---|\n";
        for row in rows {
            text += &line(&row.cells());
        }
    }
    text
}

/// What of the machine bears on ratios.
fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = memory.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse().ok());
    let gib = kib.map_or(0, |kib: u64| kib.div_ceil(1 << 20));
    format!("a machine of {cores} cores ({}) and {gib} GiB", std::env::consts::ARCH)
}
