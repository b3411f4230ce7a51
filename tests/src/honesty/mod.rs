//! The honesty matrix: containers × depth × limits × encryption × damage, each with a marker inside
//! and without, through the scanner, and beside it through clamd with the settings that it comes
//! with. No file whose payload was not looked at may be `clean`, but for those that
//! `docs/SEMANTICS.md` lists.

mod beside;
mod cabinets;
mod ordinary;
mod payload;
mod recipes;
mod scanners;
mod shapes;
mod two_ways;

use std::collections::BTreeSet;
use std::fmt;
use std::io::Write;

use anyhow::Context as _;
use notifier_common::{Reason, Verdict};

use crate::samples;
use payload::Payload;
use scanners::{Names, Stock};

pub use ordinary::{Alarm, Ordinary, ordinary};
pub use scanners::Ours;

/// Files of so many bytes are looked at bare only: they take long, and inside a zip they would show
/// nothing that smaller ones do not.
const LARGE: usize = 1 << 20;

/// What is to come of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// It is opened: with the marker it is infected, without it clean.
    Opened,
    /// It is not, and that is said.
    No(Reason),
    /// Part of it is not, and that is said; but the marker is in another part, and stronger.
    Beside(Reason),
    /// It is not, and nothing shows it: clean all the same. The words are those of its line in the
    /// table of `docs/SEMANTICS.md`.
    Blind(&'static str),
}

/// One word and the reason, as in the finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// `clean`
    Clean,
    /// `infected`
    Infected,
    /// `no`
    No(Reason),
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Clean => f.pad("clean"),
            Self::Infected => f.pad("infected"),
            Self::No(reason) => f.pad(&format!("no: {reason}")),
        }
    }
}

impl From<&Verdict> for Word {
    fn from(verdict: &Verdict) -> Self {
        match verdict {
            Verdict::Clean => Self::Clean,
            Verdict::Infected { .. } => Self::Infected,
            Verdict::Unscannable { reason } => Self::No(*reason),
        }
    }
}

/// One file of the matrix.
#[derive(Debug)]
pub struct Line {
    /// What it is.
    pub name: String,
    /// Whether the marker is in it.
    pub marked: bool,
    /// What is to come of it.
    pub expected: Word,
    /// What the scanner says.
    pub ours: Word,
    /// What clamd says with its own settings.
    pub stock: Word,
    /// What no signature recognises.
    pub blind: Option<&'static str>,
}

/// The matrix.
#[derive(Debug)]
pub struct Matrix {
    /// Its files.
    pub lines: Vec<Line>,
    /// The signatures of the honesty database that recognised one of them.
    pub recognised: BTreeSet<String>,
}

/// Makes a file around a payload.
type Make = dyn Fn(&Payload) -> anyhow::Result<Vec<u8>>;

/// A file that can be made.
struct Subject {
    name: String,
    expected: Expected,
    make: Box<Make>,
    /// Whether it is made with the marker only.
    marked_only: bool,
}

fn subjects() -> Vec<Subject> {
    let mut subjects = Vec::new();
    let recipes = [
        recipes::OPENED.as_slice(),
        &recipes::UNSUPPORTED,
        &recipes::ENCRYPTED,
        &recipes::DAMAGED,
        &recipes::BEYOND,
        &recipes::BLIND,
    ];
    for &(name, commands, expected) in recipes.concat().iter() {
        let make = Box::new(move |payload: &Payload| recipes::make(commands, payload));
        let marked_only = recipes::BEYOND.iter().any(|beyond| beyond.0 == name);
        subjects.push(Subject { name: name.to_owned(), expected, make, marked_only });
    }
    for (name, offset, magic, expected) in shapes::SHAPES {
        let opened = expected == Expected::Opened;
        let make = Box::new(move |payload: &Payload| shapes::shape(offset, magic, opened, payload));
        subjects.push(Subject { name: name.to_owned(), expected, make, marked_only: false });
    }
    let made = [
        shapes::MADE.as_slice(),
        &shapes::HIDDEN,
        &two_ways::TWO_WAYS,
        &cabinets::CABINETS,
        &beside::BESIDE,
    ]
    .concat();
    for (name, make, expected) in made {
        let make = Box::new(make);
        subjects.push(Subject { name: name.to_owned(), expected, make, marked_only: false });
    }
    subjects
}

/// Makes every file, bare and inside a zip, with the marker and without it, and has each looked at;
/// but for `recipes::BEYOND`.
///
/// # Errors
///
/// A file cannot be made, or there is no verdict on it.
pub async fn matrix() -> anyhow::Result<Matrix> {
    let (ours, stock) = (Ours::start("").await?, Stock::start().await?);
    let names = Names::start().await?;
    let (mut lines, mut recognised) = (Vec::new(), BTreeSet::new());
    for marked in [true, false] {
        let payload = Payload::new(marked)?;
        for subject in subjects().into_iter().filter(|subject| marked || !subject.marked_only) {
            let bare = (subject.make)(&payload).with_context(|| subject.name.clone())?;
            let (expected, blind) = expected(subject.expected, marked);
            let mut files = Vec::new();
            if bare.len() < LARGE {
                let inside = samples::zip_of(&[("inside", &bare)])?;
                files.push((format!("{}, in a zip", subject.name), inside));
            }
            files.push((subject.name.clone(), bare));
            for (name, bytes) in files {
                if !marked {
                    recognised.extend(names.name(bytes.clone()).await?);
                }
                let looked = ours.look(bytes.clone()).await.with_context(|| name.clone())?;
                let stock = stock.look(bytes).await.with_context(|| name.clone())?;
                lines.push(Line { name, marked, expected, ours: looked, stock, blind });
            }
        }
    }
    Ok(Matrix { lines, recognised })
}

fn expected(expected: Expected, marked: bool) -> (Word, Option<&'static str>) {
    match expected {
        Expected::Opened | Expected::Beside(_) if marked => (Word::Infected, None),
        Expected::No(reason) | Expected::Beside(reason) => (Word::No(reason), None),
        Expected::Opened => (Word::Clean, None),
        Expected::Blind(words) => (Word::Clean, Some(words)),
    }
}

/// `make honesty`: the matrix as a table, and what it comes to. Says whether all is as expected.
///
/// # Errors
///
/// As [`matrix`], or `out` cannot be written.
pub async fn run(out: &mut impl Write) -> anyhow::Result<bool> {
    let Matrix { lines, .. } = matrix().await?;
    writeln!(
        out,
        "{:54} {:8} {:26} {:26} stock clamd",
        "file", "payload", "expected", "s3-virusscan"
    )?;
    for line in &lines {
        let Line { name, marked, expected, ours, stock, blind } = line;
        let payload = if *marked { "marker" } else { "clean" };
        let note = match (ours == expected, blind) {
            (false, _) => "  << not as expected",
            (true, Some(_)) if *marked => "  (docs/SEMANTICS.md)",
            _ => "",
        };
        writeln!(out, "{name:54} {payload:8} {expected:26} {ours:26} {stock}{note}")?;
    }
    let wrong = lines.iter().filter(|line| line.ours != line.expected).count();
    let missed = |of: fn(&Line) -> Word| {
        lines.iter().filter(|line| line.marked && of(line) == Word::Clean).count()
    };
    let marked = lines.iter().filter(|line| line.marked).count();
    writeln!(out, "\n{} files, {wrong} not as expected", lines.len())?;
    writeln!(
        out,
        "with the marker inside: {marked}; called clean by s3-virusscan: {}, by stock clamd: {}",
        missed(|line| line.ours),
        missed(|line| line.stock)
    )?;
    Ok(wrong == 0)
}
