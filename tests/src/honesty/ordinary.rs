//! The false-alarm run: ordinary files of this machine through the scanner. A `no` must have a
//! reason that its owner can see.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::{Ours, Word};

/// Where installed packages, and what they bring along, lie.
const FOLDERS: [&str; 5] = ["/usr", "/opt", "/etc", "/var/lib", "/var/cache"];
/// Files of one ending: enough to see what such files come to, few enough for all endings.
const OF_ONE_ENDING: usize = 250;
/// In bytes. Larger ones are many minutes of scanning for the same formats.
const LARGEST: u64 = 8 << 20;
/// The same files each time, on the same machine.
const SEED: u64 = 1;

/// A file that was not called clean.
#[derive(Debug)]
pub struct Alarm {
    /// Which.
    pub path: PathBuf,
    /// What it was called.
    pub word: Word,
}

/// What came of the run.
#[derive(Debug, Default)]
pub struct Ordinary {
    /// Files that were looked at.
    pub files: usize,
    /// Endings that they have.
    pub endings: usize,
    /// Those that were not called clean.
    pub alarms: Vec<Alarm>,
}

/// Has ordinary files looked at and writes to `out` each that is not clean, and sums by ending.
///
/// # Errors
///
/// There is no verdict on one, or `out` cannot be written.
pub async fn ordinary(out: &mut impl Write, folders: &[PathBuf]) -> anyhow::Result<Ordinary> {
    let mut by_ending = BTreeMap::<String, Vec<PathBuf>>::new();
    let default: Vec<_> = FOLDERS.map(PathBuf::from).into();
    for folder in if folders.is_empty() { &default } else { folders } {
        collect(folder, &mut by_ending);
    }
    let mut random = fastrand::Rng::with_seed(SEED);
    let ours = Ours::start("").await?;
    let mut run = Ordinary { endings: by_ending.len(), ..Ordinary::default() };
    let mut sums = BTreeMap::<(String, String), usize>::new();
    for (ending, mut paths) in by_ending {
        paths.sort();
        random.shuffle(&mut paths);
        for path in paths.into_iter().take(OF_ONE_ENDING) {
            // Gone since, or not to be read.
            let Ok(bytes) = std::fs::read(&path) else { continue };
            run.files += 1;
            let looked = ours.look(bytes).await;
            let word = looked.with_context(|| format!("looking at {}", path.display()))?;
            if word != Word::Clean {
                writeln!(out, "{word:28} {}", path.display())?;
                *sums.entry((word.to_string(), ending.clone())).or_default() += 1;
                run.alarms.push(Alarm { path, word });
            }
        }
    }
    writeln!(out)?;
    for ((word, ending), count) in sums {
        writeln!(out, "{count:6} {word:28} .{ending}")?;
    }
    let (files, endings, alarms) = (run.files, run.endings, run.alarms.len());
    writeln!(out, "{files} files with {endings} endings; {alarms} not clean")?;
    Ok(run)
}

/// Regular files below `folder`, by ending. Links are not followed.
fn collect(folder: &Path, by_ending: &mut BTreeMap<String, Vec<PathBuf>>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let Ok(kind) = entry.file_type() else { continue };
        let path = entry.path();
        // ClamAV's test files are no ordinary ones.
        if kind.is_dir() && !path.ends_with("clamav-testfiles") {
            collect(&path, by_ending);
        } else if kind.is_file() && entry.metadata().is_ok_and(|file| file.len() <= LARGEST) {
            let ending = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
            by_ending.entry(ending).or_default().push(path);
        }
    }
}
