//! The packaged function and EventBridge: a rule gets the findings that its pattern names.

use scanner_tests::event_rules::RuleQueue;
use scanner_tests::iam::Grant;
use scanner_tests::samples;
use scanner_tests::template::Template;
use scanner_tests::world::{UPLOADS, VERSIONED_UPLOADS, World, WorldOptions};
use serde_json::{Value, json};

use crate::support::{DEADLINE, VISIBILITY, dead_letter, record_of, records};

const BUS: &str = "findings";

async fn world_with_an_event_bus() -> World {
    let template = Template::with(&[("ResultEventBus", BUS)]).unwrap();
    let options = WorldOptions::of(template).unwrap();
    World::start(WorldOptions { visibility: VISIBILITY, ..options }).await.unwrap()
}

async fn make_the_event_bus(world: &World) {
    world.moto().event_bridge().create_event_bus().name(BUS).send().await.unwrap();
}

#[tokio::test]
async fn a_rule_gets_exactly_the_findings_that_its_pattern_names() {
    let world = world_with_an_event_bus().await;
    make_the_event_bus(&world).await;
    let pattern = json!({"source": ["s3-virusscan"], "detail-type": ["Object Scanned"],
        "detail": {"status": ["infected"]}});
    let infected = RuleQueue::make(world.moto(), BUS, "Infected", &pattern).await.unwrap();

    let key = "folder/a file + ü.txt";
    for (key, body) in [("clean", samples::text()), ("locked", locked()), (key, infected_zip())] {
        world.put(VERSIONED_UPLOADS, key, body).await.unwrap();
        world.finding_for(key, DEADLINE).await.unwrap();
    }
    let event = infected.next(DEADLINE).await.unwrap();
    let detail = &event["detail"];
    assert_eq!((&detail["key"], &detail["status"]), (&json!(key), &json!("infected")));
    assert_eq!(event["resources"], json!([format!("arn:aws:s3:::{VERSIONED_UPLOADS}")]));

    // Each went out, as its record says, and the rule got no other one.
    for (key, outcome) in [("clean", "clean"), ("locked", "no"), (key, "infected")] {
        let record = record_of(world.sandbox(), key, outcome).await.unwrap();
        assert!(record["event_id"].is_string(), "{record}");
    }
    let record = &records(world.sandbox(), key)[0];
    assert_eq!(record["event_id"], event["id"]);
    assert_eq!(detail["version"], record["version"]);
    assert_eq!(infected.rest().await.unwrap(), Vec::<Value>::new());

    for (sid, action) in [("Events", "events:PutEvents"), ("EventBus", "events:DescribeEventBus")] {
        let grant = Grant { sid: sid.to_owned(), action: action.to_owned() };
        assert!(world.recorder().used().contains(&grant), "{grant}");
    }
}

#[tokio::test]
async fn a_finding_for_an_event_bus_that_does_not_exist_is_a_dead_letter() {
    let world = world_with_an_event_bus().await;
    world.put(UPLOADS, "k", samples::eicar()).await.unwrap();
    dead_letter(&world, "\"k\"").await.unwrap();
    let records = records(world.sandbox(), "k");
    assert_eq!(records.len(), 3, "{records:?}");
    for record in records {
        assert_eq!((&record["error"], &record["published"]), (&json!("event-bus"), &json!(true)));
        let why = record["error_message"].as_str().unwrap();
        assert!(why.contains("there is no event bus `findings`"), "{why}");
    }
}

fn locked() -> Vec<u8> {
    samples::zip_encrypted(&samples::text(), "secret").unwrap()
}

fn infected_zip() -> Vec<u8> {
    samples::zip_nested(&samples::eicar(), 2).unwrap()
}
