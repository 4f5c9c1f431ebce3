//! The bodies of the fuzz targets, played over their corpora and over what small changes make of these. `make fuzz` has
//! libFuzzer look further; what it finds goes into a corpus, and is played here from then on.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};

#[path = "../fuzz/bodies/archive.rs"]
mod archive;
#[path = "../fuzz/bodies/checksum_file.rs"]
mod checksum_file;
#[path = "../fuzz/bodies/cluster_file.rs"]
mod cluster_file;
#[path = "../fuzz/bodies/first_boot.rs"]
mod first_boot;
#[path = "../fuzz/bodies/iso.rs"]
mod iso;
#[path = "../fuzz/bodies/kubeconfig.rs"]
mod kubeconfig;
#[path = "../fuzz/bodies/lock_file.rs"]
mod lock_file;
#[path = "../fuzz/bodies/pem.rs"]
mod pem;

/// How many changed inputs are played for each file of a corpus; `NODEBAKE_TEST_INPUTS` says otherwise.
const INPUTS: usize = 40;

/// Plays a body over its corpus. An input that it fails on is kept, and named.
fn play(name: &str, body: fn(&[u8])) {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let mut files: Vec<_> =
        fs::read_dir(fuzz.join("corpus").join(name)).unwrap().map(|it| it.unwrap().path()).collect();
    files.sort();
    assert!(files.len() > 1, "{files:?}");
    let corpus: Vec<_> = files.iter().map(|file| fs::read(file).unwrap()).collect();
    let words = words(&fuzz.join(format!("{name}.dict")));
    let inputs = std::env::var("NODEBAKE_TEST_INPUTS").map_or(INPUTS, |text| text.parse().unwrap());
    for (number, (file, bytes)) in files.iter().zip(&corpus).enumerate() {
        run(body, bytes, || file.clone());
        let mut random = StdRng::seed_from_u64(number as u64);
        for _ in 0..inputs {
            let input = changed(bytes, &corpus, &words, &mut random);
            run(body, &input, || {
                let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-failed"));
                fs::write(&kept, &input).unwrap();
                kept
            });
        }
    }
}

fn run(body: fn(&[u8]), bytes: &[u8], kept: impl Fn() -> PathBuf) {
    let ended = catch_unwind(AssertUnwindSafe(|| body(bytes)));
    assert!(ended.is_ok(), "the input: {}", kept().display());
}

/// A few small changes: a bit, a byte, a piece that goes or comes twice, a word of the dictionary, the rest of another file.
fn changed(bytes: &[u8], corpus: &[Vec<u8>], words: &[Vec<u8>], random: &mut StdRng) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..random.gen_range(1..5) {
        let at = random.gen_range(0..=bytes.len());
        let end = (at + random.gen_range(0..64)).min(bytes.len());
        match random.gen_range(0..7) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.gen_range(0..8),
            1 if at < bytes.len() => bytes[at] = random.r#gen(),
            2 => drop(bytes.drain(at..end)),
            3 => {
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            4 => {
                let other = corpus.choose(random).unwrap();
                let from = random.gen_range(0..=other.len());
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
            5 => bytes.truncate(at),
            _ => {
                let word = words.choose(random).cloned().unwrap_or_else(|| random.r#gen::<[u8; 4]>().to_vec());
                let end = if random.r#gen() { at } else { (at + word.len()).min(bytes.len()) };
                bytes.splice(at..end, word);
            }
        }
    }
    bytes
}

/// The words of a dictionary of libFuzzer's: each in quotes on a line of its own, with \xNN for what is no plain character.
fn words(dictionary: &Path) -> Vec<Vec<u8>> {
    let text = fs::read_to_string(dictionary).unwrap_or_default();
    let quoted = text.lines().filter_map(|line| line.strip_prefix('"')?.strip_suffix('"'));
    quoted.map(unescaped).collect()
}

fn unescaped(word: &str) -> Vec<u8> {
    let mut parts = word.split("\\x");
    let mut bytes = parts.next().unwrap_or_default().replace("\\\"", "\"").into_bytes();
    for part in parts {
        let (hex, rest) = part.split_at(2);
        bytes.push(u8::from_str_radix(hex, 16).unwrap());
        bytes.extend_from_slice(rest.replace("\\\"", "\"").as_bytes());
    }
    bytes
}

#[test]
fn archives() {
    play("archive", archive::run);
}

#[test]
fn checksum_files() {
    play("checksum_file", checksum_file::run);
}

#[test]
fn cluster_files() {
    play("cluster_file", cluster_file::run);
}

#[test]
fn first_boots() {
    play("first_boot", first_boot::run);
}

#[test]
fn images() {
    play("iso", iso::run);
}

#[test]
fn kubeconfigs() {
    play("kubeconfig", kubeconfig::run);
}

#[test]
fn lock_files() {
    play("lock_file", lock_file::run);
}

#[test]
fn certificates_and_keys() {
    play("pem", pem::run);
}
