use proptest::prelude::*;

use super::*;
use crate::subscribe::finding::Details;
use crate::{Action, Definitions};

fn finding(status: Status, sequencer: Option<&str>) -> ReceivedFinding {
    let definitions = Definitions {
        version: 1,
        built: "2026-09-20T06:26:26Z".into(),
        age_hours: 1,
        stale: false,
    };
    ReceivedFinding {
        bucket: "b".into(),
        key: "k".into(),
        version: None,
        status,
        action: Action::No,
        details: sequencer.map(|sequencer| Details {
            etag: None,
            sequencer: Some(sequencer.to_owned()),
            size: 1,
            signatures: Vec::new(),
            reason: None,
            engine: "1.4.6".into(),
            definitions,
            duration_ms: 1,
        }),
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + second).unwrap()
}

fn applied(findings: &[(ReceivedFinding, Timestamp)]) -> Option<Known> {
    findings.iter().fold(None, |known, (finding, published)| {
        match apply(known.as_ref(), finding, *published) {
            Change::To(new) => Some(new),
            Change::Nothing | Change::Older => known,
        }
    })
}

#[test]
fn an_older_clean_does_not_undo_infected() {
    let infected = (finding(Status::Infected, None), at(2));
    let known = applied(&[infected]).unwrap();
    assert_eq!(apply(Some(&known), &finding(Status::Clean, None), at(1)), Change::Older);
}

#[test]
fn a_later_scan_corrects_in_either_direction() {
    for (first, then) in [(Status::Clean, Status::Infected), (Status::Infected, Status::Clean)] {
        let known = applied(&[(finding(first, None), at(1)), (finding(then, None), at(2))]);
        assert_eq!(known.unwrap().status, then);
    }
}

#[test]
fn the_same_finding_again_changes_nothing() {
    let known = applied(&[(finding(Status::No, Some("0A")), at(1))]).unwrap();
    let again = apply(Some(&known), &finding(Status::No, Some("0A")), at(1));
    assert_eq!(again, Change::Nothing);
}

#[test]
fn at_the_same_instant_the_worse_one_stays() {
    let both = [(finding(Status::Infected, None), at(1)), (finding(Status::No, None), at(1))];
    assert_eq!(applied(&both).unwrap().status, Status::Infected);
    let both = [(finding(Status::Clean, None), at(1)), (finding(Status::No, None), at(1))];
    assert_eq!(applied(&both).unwrap().status, Status::No);
}

#[test]
fn the_later_upload_counts_even_if_its_finding_was_published_first() {
    let newer = (finding(Status::Clean, Some("0055AED6DCD90281E6")), at(1));
    let older = (finding(Status::Infected, Some("0055AED6DCD90281E5")), at(2));
    for findings in [[newer.clone(), older.clone()], [older, newer]] {
        assert_eq!(applied(&findings).unwrap().status, Status::Clean);
    }
}

#[test]
fn sequencers_are_padded_on_the_right_and_read_in_either_case() {
    assert_eq!(by_sequencer("A", "A000"), Ordering::Equal);
    assert_eq!(by_sequencer("B", "A999"), Ordering::Greater);
    assert_eq!(by_sequencer("0a", "0B"), Ordering::Less);
}

#[test]
fn a_job_after_an_upload_does_not_open_the_door_to_an_older_upload() {
    let findings = [
        (finding(Status::Infected, Some("05")), at(1)),
        (finding(Status::Infected, None), at(2)),
        (finding(Status::Clean, Some("03")), at(3)),
    ];
    assert_eq!(applied(&findings).unwrap().status, Status::Infected);
}

fn status() -> impl Strategy<Value = Status> {
    prop_oneof![Just(Status::Clean), Just(Status::Infected), Just(Status::No)]
}

proptest! {
    #[test]
    fn any_order_with_repetitions_ends_the_same(
        findings in prop::collection::vec((status(), 0..4i64, "[0-9A-F]{1,2}"), 1..8),
        with_sequencers in any::<bool>(),
        order in any::<prop::sample::Index>(),
        shuffle in Just(()).prop_perturb(|(), mut random| random.random::<u64>()),
    ) {
        let made: Vec<_> = findings
            .iter()
            .map(|(status, second, sequencer)| {
                (finding(*status, with_sequencers.then_some(sequencer.as_str())), at(*second))
            })
            .collect();
        let mut other = made.clone();
        other.push(made[order.index(made.len())].clone());
        // A permutation that depends on the drawn number alone.
        let mut seed = shuffle;
        for last in (1..other.len()).rev() {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            other.swap(last, usize::try_from(seed >> 33).unwrap() % (last + 1));
        }
        let same = |known: Option<Known>| known.map(|known| (known.status, known.published));
        prop_assert_eq!(same(applied(&made)), same(applied(&other)));
    }
}
