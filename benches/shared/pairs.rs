//! Whole processes in alternation: ours, the peer, ours, the peer, so that whatever else the machine does meets both.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

/// What one process took.
#[derive(Clone, Copy)]
pub(crate) struct Took {
    /// Seconds.
    pub(crate) wall: f64,
    /// Seconds of all processors.
    pub(crate) cpu: f64,
    /// KiB.
    pub(crate) peak: u64,
}

/// Runs a command in a folder to its end, which must be a good one.
pub(crate) fn run(folder: &Path, variables: &[(&str, &str)], command: &[&str]) -> Took {
    let told = folder.join("time");
    let start = Instant::now();
    let output = Command::new("/usr/bin/time")
        .args(["-q", "-f", "%U %S %M", "-o"])
        .arg(&told)
        .args(command)
        .current_dir(folder)
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let wall = start.elapsed().as_secs_f64();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    let told = fs::read_to_string(told).unwrap();
    let [user, system, peak] = told.split_whitespace().collect::<Vec<_>>().try_into().unwrap();
    let cpu = user.parse::<f64>().unwrap() + system.parse::<f64>().unwrap();
    Took { wall, cpu, peak: peak.parse().unwrap() }
}

/// Runs ours and the peer in turn; `before` comes before each of ours and is not measured.
pub(crate) fn pairs_of(
    count: usize,
    before: impl Fn(),
    ours: impl Fn() -> Took,
    peer: impl Fn() -> Took,
) -> Vec<[Took; 2]> {
    let pair = |_| {
        before();
        [ours(), peer()]
    };
    // The first pair fills the page cache.
    (0..=count).map(pair).skip(1).collect()
}

/// A figure of each of ours against that of its peer.
pub(crate) fn ratios(pairs: &[[Took; 2]], of: impl Fn(&Took) -> f64) -> impl Iterator<Item = f64> {
    pairs.iter().map(move |[ours, peer]| of(ours) / of(peer))
}
