use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};

use super::*;

/// Small enough to be made in a moment.
const ONE_IN: usize = 1000;

fn loose(seed: u64) -> BTreeMap<String, Vec<u8>> {
    let dir = tempfile::tempdir().expect("a folder");
    write(dir.path(), ONE_IN, seed).expect("written");
    let files = std::fs::read_dir(dir.path()).expect("a folder").map(|entry| {
        let entry = entry.expect("an entry");
        let name = entry.file_name().into_string().expect("text");
        (name, std::fs::read(entry.path()).expect("readable"))
    });
    files.collect()
}

fn lines(bytes: &[u8]) -> Vec<String> {
    BufReader::new(bytes).lines().map(|line| line.expect("text")).collect()
}

#[test]
fn the_seed_decides_every_byte() {
    let files = loose(1);
    assert_eq!(files, loose(1));
    assert_ne!(files["main.mdb"], loose(2)["main.mdb"]);
}

#[test]
fn there_are_as_many_of_each_kind_as_said() {
    let files = loose(1);
    for (database, kind, count) in FILES {
        let name = format!("{database}.{}", kind.ending());
        assert_eq!(lines(&files[&name]).len(), count / ONE_IN, "{name}");
    }
    // And the ones with which clamd proves itself.
    assert_eq!(files.len(), FILES.len() + 2);
}

#[test]
fn the_published_sums_are_met_within_five_percent() {
    for (database, published) in [("main", 3_287_027), ("daily", 355_901)] {
        let of_it = FILES.iter().filter(|(name, ..)| *name == database);
        let sum: usize = of_it.map(|(.., count)| count).sum();
        assert!(sum.abs_diff(published) * 20 < published, "{database}: {sum}");
    }
}

#[test]
fn most_logical_signatures_are_for_programs() {
    let files = loose(1);
    let all = lines(&files["daily.ldb"]);
    let programs = all.iter().filter(|line| line.contains("Target:1;")).count();
    let percent = programs * 100 / all.len();
    assert!((80..96).contains(&percent), "{percent} of 100");
}
