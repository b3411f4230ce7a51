use std::cmp::Ordering;

use jiff::Timestamp;

use crate::Status;
use crate::subscribe::ReceivedFinding;

/// What a subscriber keeps of one object (bucket, key and version).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Its last status.
    pub status: Status,
    /// When the finding that said so was published.
    pub published: Timestamp,
    /// S3's sequencer of the upload that it speaks of, where the finding told one.
    pub sequencer: Option<String>,
}

/// What a finding does to what is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Keep this from now on.
    To(Known),
    /// It says what is known already.
    Nothing,
    /// It is older than what is known. Nothing changes: `infected` never becomes `clean` by an
    /// older message.
    Older,
}

/// What `finding`, published at `published`, does to what is `known` of its object. Applying a
/// finding twice is harmless. Several that come in another order than they were published in end
/// the same, if all of them tell a sequencer or none does.
///
/// Keep one [`Known`] for each bucket, key and version: the versions of an object do not speak of
/// each other. Read it, apply and write it in one transaction.
///
/// The order, first that decides:
/// 1. The upload with the greater sequencer is the later one (S3 user guide, "Event message
///    structure"). Only the JSON form tells it, and not of a scan that a job asked for.
/// 2. The finding that was published later: a scan with newer definitions corrects an older one,
///    in either direction.
/// 3. At the same instant the worse one: `infected`, then `no`, then `clean`.
#[must_use]
pub fn apply(known: Option<&Known>, finding: &ReceivedFinding, published: Timestamp) -> Change {
    let sequencer = finding.details.as_ref().and_then(|details| details.sequencer.clone());
    let mut new = Known { status: finding.status, published, sequencer };
    let Some(known) = known else { return Change::To(new) };
    // A job's scan speaks of the upload that is known, or of a later one.
    new.sequencer = new.sequencer.or_else(|| known.sequencer.clone());
    match order(&new, known) {
        Ordering::Greater => Change::To(new),
        Ordering::Equal => Change::Nothing,
        Ordering::Less => Change::Older,
    }
}

fn order(new: &Known, known: &Known) -> Ordering {
    let by_upload = match (&new.sequencer, &known.sequencer) {
        (Some(new), Some(known)) => by_sequencer(new, known),
        _ => Ordering::Equal,
    };
    by_upload
        .then(new.published.cmp(&known.published))
        .then(badness(new.status).cmp(&badness(known.status)))
}

/// "first right pad the shorter value with zeros, and then do a lexicographical comparison" (S3
/// user guide, "Event message structure"). They are hexadecimal, in either case.
fn by_sequencer(one: &str, other: &str) -> Ordering {
    let length = one.len().max(other.len());
    let padded = |text: &str| format!("{text:0<length$}").to_ascii_uppercase();
    padded(one).cmp(&padded(other))
}

fn badness(status: Status) -> u8 {
    match status {
        Status::Clean => 0,
        Status::No => 1,
        Status::Infected => 2,
    }
}

#[cfg(test)]
#[path = "apply_tests.rs"]
mod tests;
