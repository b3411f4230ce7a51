//! The packaged function changes over to newer definitions without ending.

use function_common::manifest::BASE;
use jiff::Timestamp;
use scanner_tests::definitions;
use scanner_tests::generations::Generation;
use scanner_tests::world::UPLOADS;

use crate::support::{DEADLINE, record_of, set, world};

/// What the world's first generation does not know.
const NEWS: &[u8] = b"s3-virusscan test marker of the next generation 77aa10";

#[tokio::test]
async fn a_warm_sandbox_finds_what_only_the_next_generation_knows() {
    let world = world(|options| set(options, &[("DEFINITIONS_MAX_CHECK_SECONDS", "0")])).await;
    let world = world.unwrap();
    world.put(UPLOADS, "before", NEWS).await.unwrap();
    let before = world.finding_for("before", DEADLINE).await.unwrap();
    assert_eq!(before.attribute("status"), Some("clean"));
    let process = world.sandbox().bootstrap_pid().unwrap();

    let (version, now) = (30_000, Timestamp::now());
    let bytes = definitions::whole_with(version, now, "S3-Virusscan.Test.News", NEWS).unwrap();
    let next = Generation::new(version, now, &[(BASE, vec![("daily.cud".to_owned(), bytes)])]);
    next.unwrap().publish(&world.moto().s3()).await.unwrap();
    // An invocation changes over before it answers; the one behind it scans with the next.
    world.put(UPLOADS, "meanwhile", "text").await.unwrap();
    let changed = |line: &str| line.contains("changed to newer definitions");
    world.sandbox().logs().wait_for(changed, DEADLINE).await.unwrap();
    world.put(UPLOADS, "after", NEWS).await.unwrap();
    let after = world.finding_for("after", DEADLINE).await.unwrap();
    assert_eq!(after.attribute("status"), Some("infected"));
    assert_eq!(after.attribute("finding"), Some("S3-Virusscan.Test.News"));
    assert_eq!(after.attribute("definitions"), Some(format!("{version}/{now}").as_str()));
    let record = record_of(world.sandbox(), "after", "infected").await.unwrap();
    assert_eq!(record["generation"], "test-30000");

    assert_eq!(world.sandbox().bootstrap_pid(), Some(process), "the same process");
    assert_eq!(world.sandbox().cold_starts(), 1);
}
