//! Whose the doubts are. Lines of clamd's log do not say which scan they belong to; they are a
//! scan's own if no other one ran beside it.

use std::sync::{Mutex, PoisonError};

use super::ClamdError;
use super::doubt::DOUBTS;
use super::log::Doubts;
use crate::reply::Answer;

/// How the scans of one clamd overlap.
#[derive(Debug, Default)]
pub(super) struct Scans(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    begun: u64,
    active: u64,
}

/// One scan, from before its first byte until after its answer. It ends with this value.
#[derive(Debug)]
pub(super) struct Scan<'scans> {
    scans: &'scans Scans,
    number: u64,
    /// Whether others ran when it began.
    beside: bool,
}

impl Scans {
    pub(super) fn begin(&self) -> Scan<'_> {
        self.with(|counts| {
            counts.begun += 1;
            counts.active += 1;
            Scan { scans: self, number: counts.begun, beside: counts.active > 1 }
        })
    }

    fn with<T>(&self, change: impl FnOnce(&mut Counts) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Scan<'_> {
    /// No other scan has run since it began.
    fn is_alone(&self) -> bool {
        !self.beside && self.scans.with(|counts| counts.begun == self.number)
    }

    /// What the answer is worth with what was said before it and until after it. Malware is malware,
    /// and what is not clean stays so; all else was not looked at as a whole if there is a doubt.
    ///
    /// # Errors
    /// [`ClamdError::Doubt`] when the doubt may be another scan's.
    pub(super) fn judge(
        &self,
        answer: Answer,
        before: &Doubts,
        after: &Doubts,
    ) -> Result<Answer, ClamdError> {
        let said = (0..DOUBTS.len()).find(|place| after[*place] > before[*place]);
        match (answer, said) {
            (Answer::Clean | Answer::PortableExecutable, Some(place)) => {
                let doubt = &DOUBTS[place];
                if !self.is_alone() {
                    return Err(ClamdError::Doubt { line: doubt.line });
                }
                Ok(Answer::Unscannable(doubt.reason, doubt.line.to_owned()))
            }
            (answer, _) => Ok(answer),
        }
    }
}

impl Drop for Scan<'_> {
    fn drop(&mut self) {
        self.scans.with(|counts| counts.active -= 1);
    }
}

#[cfg(test)]
mod tests {
    use notifier_common::Reason;

    use super::*;

    const NONE: Doubts = [0; DOUBTS.len()];
    const ONE: Doubts = {
        let mut one = NONE;
        one[3] = 1;
        one
    };

    fn judged(scan: &Scan<'_>, answer: Answer) -> Result<Answer, &'static str> {
        scan.judge(answer, &NONE, &ONE).map_err(|error| error.code())
    }

    #[test]
    fn a_doubt_of_a_scan_that_was_alone_is_its_own() {
        let scans = Scans::default();
        drop(scans.begin());
        let scan = scans.begin();
        for answer in [Answer::Clean, Answer::PortableExecutable] {
            let said = judged(&scan, answer.clone()).unwrap();
            assert!(matches!(said, Answer::Unscannable(Reason::Damaged, _)), "{said:?}");
            assert_eq!(scan.judge(answer.clone(), &ONE, &ONE).unwrap(), answer, "said before");
        }
        let worse = [
            Answer::Infected("x".to_owned()),
            Answer::Unscannable(Reason::Encrypted, String::new()),
        ];
        for answer in worse {
            assert_eq!(judged(&scan, answer.clone()), Ok(answer));
        }
    }

    #[test]
    fn a_doubt_beside_other_scans_is_nobodys() {
        let scans = Scans::default();
        let first = scans.begin();
        let second = scans.begin();
        assert_eq!(judged(&second, Answer::Clean), Err("clamd-doubt"));
        drop(second);
        assert_eq!(judged(&first, Answer::Clean), Err("clamd-doubt"), "one began and ended");
        let third = scans.begin();
        drop(first);
        assert_eq!(judged(&third, Answer::Clean), Err("clamd-doubt"), "one ran as it began");
        let infected = Answer::Infected("x".to_owned());
        assert_eq!(judged(&third, infected.clone()), Ok(infected));
        assert_eq!(third.judge(Answer::Clean, &NONE, &NONE).unwrap(), Answer::Clean);
    }
}
