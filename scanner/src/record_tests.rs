use std::collections::BTreeSet;

use super::*;

fn context() -> Context {
    Context {
        namespace: "ns".into(),
        function: "f".into(),
        request_id: "r".into(),
        cold_start: true,
    }
}

/// The rules of the EMF specification (CloudWatch user guide) that a wrong record breaks
/// silently: every dimension is a string member of the root, every metric a number.
#[test]
fn every_dimension_and_metric_that_is_declared_is_there_with_its_type() {
    let object = ObjectRef {
        bucket: "b".into(),
        key: "line\nbreak \u{1b}[31m".into(),
        version_id: None,
        etag: None,
        size: None,
        sequencer: None,
    };
    let mut record = Record::new(&object);
    record.memory_percent = Some(40);
    record.definitions = Some(Definitions {
        version: 1,
        built: "2026-01-01T00:00:00Z".into(),
        age_hours: 5,
        stale: false,
    });
    let line = line(&record, &context(), UNIX_EPOCH + Duration::from_millis(1234));
    assert!(!line.contains(['\n', '\u{1b}']), "one record is one line: {line}");
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["_aws"]["Timestamp"], 1234);
    let directives = line["_aws"]["CloudWatchMetrics"].as_array().unwrap();
    for directive in directives {
        for dimension in directive["Dimensions"][0].as_array().unwrap() {
            assert!(line[dimension.as_str().unwrap()].is_string(), "{dimension}");
        }
        for metric in directive["Metrics"].as_array().unwrap() {
            assert!(line[metric["Name"].as_str().unwrap()].is_u64(), "{metric}");
        }
    }
    assert_eq!(directives[1]["Metrics"].as_array().unwrap().len(), 2);
    assert_eq!(line["key"], object.key);
    assert_eq!(line["cold_start"], true);
}

#[test]
fn what_is_not_known_is_no_metric() {
    let line = line(&Record::unread(), &context(), UNIX_EPOCH);
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["_aws"]["CloudWatchMetrics"].as_array().unwrap().len(), 1);
    assert_eq!(line.get("definitions_age_hours"), None);
    assert_eq!(line.get("memory_percent"), None);
}

/// A record in which nothing is left out.
fn full() -> Value {
    let text = || Some("x".to_owned());
    let record = Record {
        version: text(),
        etag: text(),
        sequencer: text(),
        receive_count: Some(2),
        signatures: vec!["x".into()],
        reason: Some("x"),
        detail: text(),
        action: Some(Action::Tag),
        tag: Some("x"),
        event_id: text(),
        error: Some("x"),
        error_message: text(),
        retry: Some(true),
        size: Some(1),
        engine: text(),
        definitions: Some(Definitions {
            version: 1,
            built: "2026-01-01T00:00:00Z".into(),
            age_hours: 5,
            stale: false,
        }),
        generation: text(),
        confined: Some(true),
        memory_percent: Some(1),
        ..Record::unread()
    };
    serde_json::from_str(&line(&record, &context(), UNIX_EPOCH)).unwrap()
}

/// The section on queries.
fn documented() -> &'static str {
    let docs = include_str!("../../docs/OPERATIONS.md");
    let section =
        docs.split("\n## ").find(|section| section.starts_with("Find things in the logs\n"));
    section.expect("docs/OPERATIONS.md says how to find things in the logs")
}

#[test]
fn a_record_has_exactly_the_fields_that_are_documented() {
    let list = documented().lines().find(|line| line.starts_with("`bucket`, ")).unwrap();
    // Values and parts of a field are in parentheses behind it.
    let fields = list.split('(').map(|part| part.rsplit(')').next().unwrap()).collect::<String>();
    let documented: BTreeSet<&str> = fields.split('`').skip(1).step_by(2).collect();
    let record = full();
    let only_metrics = ["_aws", "objects", "definitions_age_hours", "redelivered"];
    let written: BTreeSet<&str> = record.as_object().unwrap().keys().map(String::as_str).collect();
    let written: BTreeSet<&str> =
        written.into_iter().filter(|field| !only_metrics.contains(field)).collect();
    assert_eq!(documented, written);
}

/// Every name in a query's `fields` and `filter` that is not CloudWatch's own.
fn names(query: &str) -> Vec<&str> {
    let mut names = Vec::new();
    for command in query.split(['\n', '|']).map(str::trim) {
        match command.split_once(' ') {
            Some(("fields", list)) => names.extend(list.split(',').map(str::trim)),
            Some(("filter", condition)) => {
                let words: Vec<_> = condition.split(' ').collect();
                let operator = |word: &str| ["=", "!=", ">", ">=", "<", "in"].contains(&word);
                names.extend(words.windows(2).filter(|two| operator(two[1])).map(|two| two[0]));
            }
            _ => {}
        }
    }
    names.retain(|name| !name.starts_with('@'));
    names
}

#[test]
fn every_field_of_a_documented_query_is_in_a_record() {
    let record = full();
    let queries = documented().split("```").skip(1).step_by(2);
    // Those on other lines of the log go by their message.
    let queries: Vec<_> = queries.filter(|query| !query.contains("message in ")).collect();
    assert!(queries.len() >= 8, "{queries:?}");
    for query in queries {
        for name in names(query) {
            let pointer = format!("/{}", name.replace('.', "/"));
            assert!(record.pointer(&pointer).is_some(), "a record has no {name}: {query}");
        }
    }
}

#[test]
fn one_documented_query_finds_what_is_skipped_failed_delivered_again_or_unscannable() {
    let all = documented().split("```").find(|query| query.contains("receive_count > 1")).unwrap();
    let told = ["bucket", "key", "outcome", "reason", "error", "receive_count"];
    let named = names(all);
    assert!(told.iter().all(|field| named.contains(field)), "{all}");
    for outcome in [Outcome::No, Outcome::Skipped, Outcome::Failed] {
        let word = serde_json::to_value(outcome).unwrap();
        assert!(all.contains(&format!("'{}'", word.as_str().unwrap())), "{outcome:?}: {all}");
    }
}
