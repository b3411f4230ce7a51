use aws_sdk_s3::types::{FilterRule, FilterRuleName, S3KeyFilter};

use super::*;

const QUEUE: &str = "arn:aws:sqs:eu-west-1:123456789012:scan";
const FUNCTION: &str = "arn:aws:lambda:eu-west-1:123456789012:function:scan";

fn filter(rules: &[(&str, &str)]) -> NotificationConfigurationFilter {
    let rules = rules
        .iter()
        .map(|(name, value)| FilterRule::builder().name((*name).into()).value(*value).build());
    let key = S3KeyFilter::builder().set_filter_rules(Some(rules.collect())).build();
    NotificationConfigurationFilter::builder().key(key).build()
}

fn topic(id: &str, events: &[&str], rules: &[(&str, &str)]) -> TopicConfiguration {
    TopicConfiguration::builder()
        .id(id)
        .topic_arn("arn:aws:sns:eu-west-1:123456789012:theirs")
        .set_events(Some(events.iter().map(|event| (*event).into()).collect()))
        .filter(filter(rules))
        .build()
        .expect("complete")
}

/// Two configurations of others, with an event that this release does not know.
fn foreign() -> NotificationConfiguration {
    let function = LambdaFunctionConfiguration::builder()
        .id("thumbnails")
        .lambda_function_arn("arn:aws:lambda:eu-west-1:123456789012:function:theirs")
        .events("s3:ObjectRemoved:*".into())
        .events("s3:SomethingNew:*".into());
    NotificationConfiguration::builder()
        .topic_configurations(topic("tags", &["s3:ObjectTagging:*"], &[("Prefix", "in/")]))
        .lambda_function_configurations(function.build().expect("complete"))
        .build()
}

fn own(target: &str) -> Own {
    Own { id: "ours".into(), target: target.into() }
}

fn queue() -> Destination {
    Destination::Queue(QUEUE.into())
}

#[test]
fn ours_comes_and_goes_and_the_others_stay() {
    let wired = with(&foreign(), &[own(QUEUE)], "ours", &queue()).expect("no conflict");
    assert_eq!(wired.topic_configurations, foreign().topic_configurations);
    assert_eq!(wired.lambda_function_configurations, foreign().lambda_function_configurations);
    let ours = &wired.queue_configurations()[0];
    assert_eq!((ours.id(), ours.queue_arn()), (Some("ours"), QUEUE));
    assert_eq!(ours.events(), [Event::S3ObjectCreated]);
    assert_eq!(ours.filter(), None);
    assert_eq!(wired.event_bridge_configuration, None);

    let again = with(&wired, &[own(QUEUE)], "ours", &queue()).expect("no conflict");
    assert!(same(&wired, &again));
    assert!(same(&without(&wired, &[own(QUEUE)]), &foreign()));
}

#[test]
fn a_changed_trigger_replaces_ours() {
    let wired = with(&foreign(), &[own(QUEUE)], "ours", &queue()).expect("no conflict");
    let owns = [own(FUNCTION), own(QUEUE)];
    let destination = Destination::Function(FUNCTION.into());
    let changed = with(&wired, &owns, "ours", &destination).expect("no conflict");
    assert!(changed.queue_configurations().is_empty());
    assert_eq!(changed.lambda_function_configurations().len(), 2);
    assert!(same(&without(&changed, &owns), &foreign()));
}

#[test]
fn eventbridge_goes_beside_anything_and_stays_on() {
    let mut uploads = foreign();
    uploads.topic_configurations =
        Some(vec![topic("uploads", &["s3:ObjectCreated:Put"], &[("prefix", "a/")])]);
    let wired = with(&uploads, &[own("")], "ours", &Destination::EventBridge).expect("no conflict");
    assert!(wired.event_bridge_configuration.is_some());
    assert_eq!(wired.topic_configurations, uploads.topic_configurations);
    assert!(same(&without(&wired, &[own("")]), &wired));
}

#[test]
fn eventbridge_of_others_survives() {
    let mut on = foreign();
    on.event_bridge_configuration = Some(EventBridgeConfiguration::builder().build());
    let wired = with(&on, &[own(QUEUE)], "ours", &queue()).expect("no conflict");
    assert!(wired.event_bridge_configuration.is_some());
    assert!(same(&without(&wired, &[own(QUEUE)]), &on));
}

#[test]
fn uploads_of_others_overlap_whatever_their_filter() {
    for event in ["s3:ObjectCreated:*", "s3:ObjectCreated:Put", "s3:ObjectCreated:Copy"] {
        let mut current = foreign();
        let rules = [("prefix", "logs/"), ("suffix", ".gz")];
        current.topic_configurations =
            Some(vec![topic("logs", &["s3:ObjectRemoved:*", event], &rules)]);
        let error = with(&current, &[own(QUEUE)], "ours", &queue()).expect_err(event).to_string();
        for part in ["`logs` to arn:aws:sns", event, "Trigger=eventbridge", "fan-out"] {
            assert!(error.contains(part), "{part}: {error}");
        }
        assert!(!error.contains("ObjectRemoved"), "{error}");
    }
}

#[test]
fn an_id_of_somebody_else_is_not_ours() {
    let mut current = foreign();
    current.topic_configurations = Some(vec![topic("ours", &["s3:ObjectRemoved:*"], &[])]);
    let error = with(&current, &[own(QUEUE)], "ours", &queue()).expect_err("their id");
    assert!(matches!(error, Conflict::Id { .. }), "{error}");
    assert!(same(&without(&current, &[own(QUEUE)]), &current));
}

#[test]
fn order_and_the_case_of_rules_mean_nothing() {
    let config = |events: &[&str], rules: &[(&str, &str)]| {
        let topic = topic("t", events, rules);
        NotificationConfiguration::builder().topic_configurations(topic).build()
    };
    let sent = config(&["s3:A", "s3:B"], &[("prefix", "a"), ("suffix", "b")]);
    let read = config(&["s3:B", "s3:A"], &[("Suffix", "b"), ("Prefix", "a")]);
    assert!(same(&sent, &read));
    for other in [
        config(&["s3:A"], &[("prefix", "a"), ("suffix", "b")]),
        config(&["s3:A", "s3:B"], &[("prefix", "b"), ("suffix", "a")]),
        config(&["s3:A", "s3:B"], &[("prefix", "A"), ("suffix", "b")]),
        NotificationConfiguration::builder().build(),
    ] {
        assert!(!same(&sent, &other), "{other:?}");
    }
    assert_eq!(FilterRuleName::from("Prefix").as_str(), "Prefix", "the SDK keeps what it read");
}
