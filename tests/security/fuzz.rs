//! The fuzz targets, for a moment: each takes its seeds, and some thousand inputs made of them that are the
//! same in every run. `FUZZ_TIMES=100 FUZZ_SEED=7` makes a hundred times as many, and others. The long runs
//! are `scripts/fuzz.sh`.

use std::collections::BTreeSet;
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use fastrand::Rng;
use pollen::fuzz::{TARGETS, run};

const CORPUS: &str = "fuzz/corpus";
/// Inputs that are made for each target, and for one whose inputs take a millisecond each.
const INPUTS: u64 = 3_000;
const FEW_INPUTS: u64 = 400;
const SLOW: [&str; 2] = ["markdown", "tokens_page"];
/// Most changes that are made to one input.
const MAX_CHANGES: usize = 4;
const MAX_BYTES: usize = 4_096;
/// What is more often at the root of trouble than other bytes.
const TROUBLE: [&[u8]; 24] = [
    b"\0",
    b"\n",
    b"\r\n",
    b"\xff",
    b"\xc3",
    b"\xef\xbb\xbf",
    "\u{130}".as_bytes(),
    "\u{301}".as_bytes(),
    "\u{1f41d}".as_bytes(),
    b"%00",
    b"%ff",
    b"-1",
    b"1e999",
    b"9223372036854775807",
    b"18446744073709551616",
    b"null",
    b"[[[[[[[[",
    b"{\"",
    b"\\ud800",
    b"<fuzz",
    b"//",
    b"\\",
    b"sk-fuzz-0123456789",
    b"```",
];

/// The files of a target's corpus, in the order of their names. Of those that a long run has left there
/// the name is a hash; they are not checked in, and not looked at.
fn seeds(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(Path::new(CORPUS).join(target));
    let entries = entries.unwrap_or_else(|_| panic!("no seeds for {target} in {CORPUS}"));
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    let is_hash = |name: &str| name.len() == 40 && name.bytes().all(|b| b.is_ascii_hexdigit());
    paths.retain(|path| !is_hash(path.file_name().unwrap().to_str().unwrap()));
    paths.sort();
    let read = |path: PathBuf| (path.clone(), fs::read(path).unwrap());
    paths.into_iter().map(read).collect()
}

/// A number that the environment may set.
fn number(name: &str, otherwise: u64) -> u64 {
    let wanted = std::env::var(name).ok();
    wanted.map_or(otherwise, |text| text.parse().unwrap())
}

/// An input made of seeds by a few changes.
fn made(seeds: &[(PathBuf, Vec<u8>)], rng: &mut Rng) -> Vec<u8> {
    let any = |rng: &mut Rng| seeds[rng.usize(..seeds.len())].1.clone();
    let mut data = any(rng);
    for _ in 0..rng.usize(1..=MAX_CHANGES) {
        let from = rng.usize(..=data.len());
        let to = (from + rng.usize(..16)).min(data.len());
        match rng.u8(..6) {
            0 => drop(data.drain(from..to)),
            1 => data.insert(from, rng.u8(..)),
            2 if from < data.len() => data[from] ^= 1 << rng.u8(..8),
            3 => drop(data.splice(from..to, TROUBLE[rng.usize(..TROUBLE.len())].to_vec())),
            4 => {
                let again = data[from..to].repeat(rng.usize(2..40));
                drop(data.splice(from..to, again));
            }
            _ => {
                let other = any(rng);
                data.truncate(from);
                data.extend_from_slice(&other[rng.usize(..=other.len())..]);
            }
        }
        data.truncate(MAX_BYTES);
    }
    data
}

/// Runs one input. One that fails is kept, and the test says how to run it again.
fn try_one(target: &str, data: &[u8]) {
    if catch_unwind(|| run(target, data)).is_ok() {
        return;
    }
    let found = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{target}"));
    fs::write(&found, data).unwrap();
    panic!(
        "the fuzz target {target} fails on b\"{}\". To have it run each time:\n  cp {} {CORPUS}/{target}/NAME",
        data.escape_ascii(),
        found.display(),
    );
}

#[test]
fn every_target_stands_its_seeds() {
    for (target, _) in TARGETS {
        let seeds = seeds(target);
        assert!(seeds.len() >= 3, "{target} has {} seeds", seeds.len());
        for (_, data) in seeds {
            try_one(target, &data);
        }
    }
}

#[test]
fn every_target_stands_some_thousand_inputs() {
    for (target, _) in TARGETS {
        let seeds = seeds(target);
        let inputs = if SLOW.contains(&target) {
            FEW_INPUTS
        } else {
            INPUTS
        };
        let mut rng = Rng::with_seed(number("FUZZ_SEED", 6));
        for _ in 0..inputs * number("FUZZ_TIMES", 1) {
            try_one(target, &made(&seeds, &mut rng));
        }
    }
}

#[test]
fn cargo_fuzz_knows_the_same_targets() {
    let manifest = fs::read_to_string("fuzz/Cargo.toml").unwrap();
    let bins = manifest.lines().filter(|line| line.contains("target.rs"));
    let bins: BTreeSet<_> = bins.filter_map(|line| line.split('"').nth(1)).collect();
    assert_eq!(bins, TARGETS.iter().map(|(name, _)| *name).collect());
    let corpora = fs::read_dir(CORPUS).unwrap();
    let corpora: BTreeSet<_> = corpora
        .map(|dir| dir.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(
        corpora,
        TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect()
    );
}
