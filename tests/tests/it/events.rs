//! With an event bus, each finding goes there as well as to the topic; neither goes without.

use scanner_tests::fake_event_bridge::{DEFAULT, FakeEventBridge, Trouble};
use scanner_tests::fake_s3::{Operation, S3ErrorCode};
use scanner_tests::samples;
use serde_json::{Value, json};

use crate::support::{
    BUCKET, VERSIONED, World, failed, queue, s3_event, s3_record, world, world_deployed_with,
};

const ON_DEFAULT: (&str, &str) = ("ResultEventBus", DEFAULT);
const TO_THROTTLE: Trouble = Trouble::Refused("ThrottlingException");

/// The only event on the default event bus.
fn event(world: &World) -> Value {
    let events = world.event_bridge.events(DEFAULT);
    assert_eq!(events.len(), 1, "{events:?}");
    events[0].clone()
}

#[tokio::test]
async fn a_finding_of_each_verdict_goes_to_the_topic_and_to_the_event_bus() {
    for (key, body, status, detail) in [
        ("a b+ü.txt", samples::text(), "clean", json!({"action": "no"})),
        (
            "deep",
            samples::zip_nested(&samples::eicar(), 2).unwrap(),
            "infected",
            json!({"action": "tag"}),
        ),
        (
            "locked",
            samples::zip_encrypted(&samples::text(), "secret").unwrap(),
            "no",
            json!({"action": "no", "reason": "encrypted"}),
        ),
    ] {
        let world = world_deployed_with(&[ON_DEFAULT]).await;
        let stored = world.s3.put(VERSIONED, key, body);
        let event_of_s3 = json!({"objects": [{"bucket": VERSIONED, "key": key,
            "version": stored.version_id}]});
        world.invoke(event_of_s3).await.unwrap();
        assert_eq!(world.finding().attributes["status"], status);
        let event = event(&world);
        assert_eq!(event["source"], "s3-virusscan");
        assert_eq!(event["detail-type"], "Object Scanned");
        assert_eq!(event["resources"], json!(["arn:aws:s3:::versioned-uploads"]));
        assert_eq!(event["detail"]["status"], status);
        assert_eq!(event["detail"]["key"], key);
        assert_eq!(event["detail"]["version"], json!(stored.version_id));
        for (name, value) in detail.as_object().unwrap() {
            assert_eq!(&event["detail"][name], value, "{event}");
        }
        let record = world.record();
        assert_eq!((&record["published"], &record["event_id"]), (&json!(true), &event["id"]));
    }
}

#[tokio::test]
async fn its_detail_is_the_json_form_whatever_the_messages_are() {
    for format in ["widdix", "json"] {
        let world = world_deployed_with(&[ON_DEFAULT, ("MessageFormat", format)]).await;
        world.upload(BUCKET, "k", samples::eicar()).await.unwrap();
        let message = world.finding().message;
        if format == "json" {
            assert_eq!(event(&world)["detail"], serde_json::from_str::<Value>(&message).unwrap());
        } else {
            assert_eq!(message, "s3://uploads/k  is infected, tag action executed");
            assert_eq!(event(&world)["detail"]["schema"], 1);
        }
    }
}

#[tokio::test]
async fn without_an_event_bus_there_is_no_event() {
    let world = world().await;
    world.upload(BUCKET, "k", samples::eicar()).await.unwrap();
    assert_eq!(world.sns.published().len(), 1);
    assert_eq!(world.event_bridge.calls(), 0);
    assert_eq!(world.record().get("event_id"), None);
}

#[tokio::test]
async fn clean_is_kept_from_the_event_bus_as_from_the_topic() {
    let world = world_deployed_with(&[ON_DEFAULT, ("ReportCleanFiles", "false")]).await;
    world.upload(BUCKET, "clean", samples::text()).await.unwrap();
    assert_eq!(world.event_bridge.calls(), 0);
    world.upload(BUCKET, "infected", samples::eicar()).await.unwrap();
    assert_eq!(event(&world)["detail"]["key"], "infected");
    assert_eq!(world.sns.published().len(), 1);
}

#[tokio::test]
async fn by_its_name_or_by_its_arn() {
    for bus in ["security", &FakeEventBridge::arn("security")] {
        let world = world_deployed_with(&[("ResultEventBus", bus)]).await;
        world.event_bridge.make("security");
        world.upload(BUCKET, "k", samples::eicar()).await.unwrap();
        assert_eq!(world.event_bridge.events("security").len(), 1);
        assert!(world.event_bridge.events(DEFAULT).is_empty());
    }
}

#[tokio::test]
async fn what_eventbridge_refuses_is_given_back_and_told_to_both_the_next_time() {
    let for_good = Trouble::Refused("NotAuthorizedForSourceException");
    for (trouble, retry, says) in [
        (&[for_good][..], false, "PutEvents refused the event: NotAuthorizedForSourceException"),
        (&[TO_THROTTLE; 3], true, "PutEvents refused the event: ThrottlingException"),
        (&[Trouble::Refused("InternalFailure"); 3], true, "refused the event: InternalFailure"),
        (&[Trouble::Throttled; 3], true, "PutEvents failed: ThrottlingException (HTTP 400)"),
        (&[Trouble::Fails; 3], true, "PutEvents failed: InternalException (HTTP 500)"),
    ] {
        let world = world_deployed_with(&[ON_DEFAULT]).await;
        world.event_bridge.trouble(trouble);
        let stored = world.s3.put(BUCKET, "k", samples::eicar());
        let message = queue(&[s3_event(&[s3_record(BUCKET, "k", &stored)])]);
        assert_eq!(failed(&world.invoke(message.clone()).await.unwrap()), ["m0"]);
        assert_eq!(world.event_bridge.calls(), trouble.len(), "{trouble:?}");
        assert!(world.event_bridge.events(DEFAULT).is_empty());
        let record = world.record();
        assert_eq!((&record["error"], &record["retry"]), (&json!("event-bus"), &json!(retry)));
        assert_eq!((&record["published"], record.get("event_id")), (&json!(true), None));
        let why = record["error_message"].as_str().unwrap();
        let what = "s3://uploads/k: cannot send the finding to the event bus: ";
        assert!(why.starts_with(what) && why.contains(says), "{why}");

        assert!(failed(&world.invoke(message).await.unwrap()).is_empty());
        assert_eq!(event(&world)["detail"]["status"], "infected");
        assert_eq!(world.sns.published().len(), 2);
    }
}

#[tokio::test]
async fn what_eventbridge_refuses_for_now_is_sent_again_at_once() {
    let for_now = [TO_THROTTLE, Trouble::Refused("InternalFailure")];
    for trouble in [for_now, [Trouble::Throttled, Trouble::Fails]] {
        let world = world_deployed_with(&[ON_DEFAULT]).await;
        world.event_bridge.trouble(&trouble);
        world.upload(BUCKET, "k", samples::eicar()).await.unwrap();
        assert_eq!(world.event_bridge.calls(), 3);
        assert_eq!(world.record()["event_id"], event(&world)["id"]);
        assert_eq!(world.sns.published().len(), 1);
    }
}

#[tokio::test]
async fn a_topic_that_fails_keeps_no_finding_from_the_event_bus() {
    let world = world_deployed_with(&[ON_DEFAULT]).await;
    world.sns.fail_next(3);
    assert!(world.upload(BUCKET, "k", samples::eicar()).await.is_err());
    let record = world.record();
    assert_eq!((&record["error"], &record["published"]), (&json!("publish"), &json!(false)));
    assert_eq!(record["event_id"], event(&world)["id"]);
    // Both fail: the record has the topic's error, and another delivery is needed for either.
    world.sns.fail_next(3);
    world.event_bridge.trouble(&[TO_THROTTLE; 3]);
    assert!(world.upload(BUCKET, "k", samples::eicar()).await.is_err());
    let record = &world.records()[1];
    assert_eq!((&record["error"], record.get("event_id")), (&json!("publish"), None));
}

#[tokio::test]
async fn an_infected_object_stays_until_the_event_bus_knows_of_it() {
    let world = world_deployed_with(&[ON_DEFAULT, ("DeleteInfectedFiles", "true")]).await;
    world.event_bridge.trouble(&[Trouble::Refused("AccessDeniedException")]);
    let stored = world.s3.put(BUCKET, "k", samples::eicar());
    let message = queue(&[s3_event(&[s3_record(BUCKET, "k", &stored)])]);
    assert_eq!(failed(&world.invoke(message.clone()).await.unwrap()), ["m0"]);
    assert!(world.s3.tags(BUCKET, "k", None).is_some(), "it is still there");
    // Told, but the deletion fails: told once more with the next delivery.
    world.s3.on(Operation::DeleteObject, "k").fail(S3ErrorCode::AccessDenied);
    assert_eq!(failed(&world.invoke(message.clone()).await.unwrap()), ["m0"]);
    assert_eq!(event(&world)["detail"]["action"], "delete");
    assert!(failed(&world.invoke(message).await.unwrap()).is_empty());
    assert_eq!(world.s3.tags(BUCKET, "k", None), None);
    assert_eq!(world.event_bridge.events(DEFAULT).len(), 2);
}

#[tokio::test]
async fn an_event_bus_that_does_not_exist_is_an_error_until_it_is_made() {
    let world = world_deployed_with(&[("ResultEventBus", "security")]).await;
    let stored = world.s3.put(BUCKET, "k", samples::eicar());
    let message = queue(&[s3_event(&[s3_record(BUCKET, "k", &stored)])]);
    assert_eq!(failed(&world.invoke(message.clone()).await.unwrap()), ["m0"]);
    let record = world.record();
    assert_eq!((&record["error"], &record["retry"]), (&json!("event-bus"), &json!(false)));
    let why = record["error_message"].as_str().unwrap();
    assert!(why.contains("there is no event bus `security`"), "{why}");
    assert_eq!(world.event_bridge.calls(), 0, "EventBridge would have taken the event");
    // The verdict does not wait for it.
    assert_eq!(world.tag(BUCKET, "k", None).as_deref(), Some("infected"));
    assert_eq!(world.sns.published().len(), 1);

    world.event_bridge.make("security");
    assert!(failed(&world.invoke(message).await.unwrap()).is_empty());
    assert_eq!(world.event_bridge.events("security").len(), 1);
}

#[tokio::test]
async fn an_event_bus_that_may_not_be_seen_is_sent_to_all_the_same() {
    let world = world_deployed_with(&[ON_DEFAULT]).await;
    world.event_bridge.refuse_to_describe(Some("AccessDeniedException"));
    world.upload(BUCKET, "k", samples::eicar()).await.unwrap();
    assert_eq!(event(&world)["detail"]["key"], "k");
}

#[tokio::test]
async fn an_event_bus_that_cannot_be_seen_for_now_is_looked_for_again() {
    let world = world_deployed_with(&[ON_DEFAULT]).await;
    world.event_bridge.refuse_to_describe(Some("ThrottlingException"));
    assert!(world.upload(BUCKET, "k", samples::eicar()).await.is_err());
    let record = world.record();
    assert_eq!((&record["error"], &record["retry"]), (&json!("event-bus"), &json!(true)));
    let why = record["error_message"].as_str().unwrap();
    assert!(why.contains("DescribeEventBus failed: ThrottlingException"), "{why}");
    assert_eq!(world.event_bridge.calls(), 0);
    world.event_bridge.refuse_to_describe(None);
    world.upload(BUCKET, "k", samples::eicar()).await.unwrap();
    assert_eq!(event(&world)["detail"]["key"], "k");
}
