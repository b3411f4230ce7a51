//! The scanner's role allows what the scanner does, and hardly more.
//!
//! Every world of this suite, and of the end-to-end suite, fails when a request is refused. Here
//! is the other way round: what is allowed is used, or it is said who else uses it.

use scanner_tests::iam::{Context, Decision, Grant, Policies, Principal, Request};
use scanner_tests::samples;
use scanner_tests::template::{SCANNER, Template};

use crate::support::{BUCKET, VERSIONED, World, s3_event, s3_record, world_deployed_with};

/// Granted for what AWS itself does with the role, so that no request of ours shows it.
const NOT_OURS: [(&str, &str, &str); 7] = [
    ("Logs", "logs:CreateLogStream", "Lambda writes what the function prints"),
    ("Logs", "logs:PutLogEvents", "Lambda writes what the function prints"),
    ("Queue", "sqs:ReceiveMessage", "the event source mapping: see the end-to-end suite"),
    ("Queue", "sqs:DeleteMessage", "the event source mapping: see the end-to-end suite"),
    ("Queue", "sqs:GetQueueAttributes", "the event source mapping looks at the queue"),
    ("DeadLetters", "sqs:SendMessage", "Lambda sends direct invocations there that failed"),
    ("ObjectKeys", "kms:Decrypt", "S3 decrypts an object for who reads it"),
];

/// Buckets are named, so that what is granted for one resource is not used for another.
const NAMED: (&str, &str) = ("BucketNames", "uploads,versioned-uploads");
const DELETES: (&str, &str) = ("DeleteInfectedFiles", "true");
const SENDS: (&str, &str) = ("ResultEventBus", "default");

/// The scanner does all that it can do with these parameters.
async fn busy_scanner(parameters: &[(&str, &str)]) -> World {
    let world = world_deployed_with(parameters).await;
    for bucket in [BUCKET, VERSIONED] {
        for (key, bytes) in [("clean", samples::text()), ("infected", samples::eicar())] {
            world.upload(bucket, key, bytes).await.unwrap();
        }
        let gone = world.s3.put(bucket, "gone", samples::text());
        match &gone.version_id {
            Some(version) => world.s3.delete_version(bucket, "gone", version),
            None => world.s3.delete(bucket, "gone"),
        }
        world.invoke(s3_event(&[s3_record(bucket, "gone", &gone)])).await.unwrap();
    }
    let outcomes: Vec<_> = world.records().iter().map(|record| record["outcome"].clone()).collect();
    assert_eq!(outcomes, ["clean", "infected", "skipped", "clean", "infected", "skipped"]);
    world
}

fn grant((sid, action, _): (&str, &str, &str)) -> Grant {
    Grant { sid: sid.to_owned(), action: action.to_owned() }
}

#[tokio::test]
async fn all_that_the_scanner_may_do_it_does() {
    for parameters in
        [&[NAMED][..], &[NAMED, DELETES], &[NAMED, ("TagFiles", "false")], &[NAMED, SENDS]]
    {
        let world = busy_scanner(parameters).await;
        // Before definitions are published there is no manifest, and a 404 says so.
        world
            .definitions
            .delete(&scanner_tests::generations::BUCKET, function_common::manifest::MANIFEST_KEY);
        world.engine.refresh().await;
        let granted = world.recorder.policies().grants();
        let used = world.recorder.used();
        let unused: Vec<_> = granted.difference(&used).cloned().collect();
        let mut expected: Vec<_> = NOT_OURS.map(grant).into();
        expected.sort();
        assert_eq!(unused, expected, "with {parameters:?}");
    }
}

#[tokio::test]
async fn each_permission_that_is_taken_away_is_missed() {
    let world = busy_scanner(&[NAMED, DELETES, SENDS]).await;
    let (all, requests) = (world.recorder.policies(), world.recorder.requests());
    let refused = |policies: &Policies| {
        let decide = |request: &&Request| policies.decide(request).unwrap();
        requests.iter().filter(|request| !matches!(decide(request), Decision::Allowed(_))).count()
    };
    assert_eq!(refused(all), 0);
    let used = world.recorder.used();
    assert!(used.len() >= 10, "{used:?}");
    for grant in used {
        assert!(refused(&all.without(&grant)) > 0, "{grant}");
    }
}

#[tokio::test]
async fn what_the_role_does_not_allow_is_refused_as_aws_refuses_it() {
    let world = world_deployed_with(&[("BucketNames", "another-bucket")]).await;
    assert!(world.upload(BUCKET, "k", samples::eicar()).await.is_err());
    let record = world.records().remove(0);
    assert_eq!(record["error"], "read", "{record}");
    assert!(record["error_message"].as_str().unwrap().contains("AccessDenied"), "{record}");
    assert!(world.tag(BUCKET, "k", None).is_none() && world.sns.published().is_empty());
    let refused = world.recorder.take_refused();
    assert!(refused[0].contains("s3:GetObject on arn:aws:s3:::uploads/k"), "{refused:?}");
}

#[tokio::test]
async fn keys_may_be_used_through_the_services_and_in_no_other_way() {
    let key = "arn:aws:kms:us-east-1:123456789012:key/1f2e3d";
    let template = Template::with(&[("FindingsTopicKmsKeyId", key)]).unwrap();
    let policies = Policies::read(&template.role_policies(SCANNER).unwrap()).unwrap();
    let principal = template.function(SCANNER).unwrap().role_arn;
    let allowed = |action: &str, key: &str, via: Option<&str>| {
        let mut request = Request {
            principal: Principal::Arn(principal.clone()),
            action: action.to_owned(),
            resource: key.to_owned(),
            context: Context::new(),
        };
        if let Some(via) = via {
            request.context = request.context.with_string("kms:ViaService", via);
        }
        matches!(policies.decide(&request).unwrap(), Decision::Allowed(_))
    };
    let (sns, s3) = (Some("sns.us-east-1.amazonaws.com"), Some("s3.us-east-1.amazonaws.com"));
    let another = "arn:aws:kms:us-east-1:123456789012:key/4c5b6a";
    for (action, resource, via, expected) in [
        ("kms:GenerateDataKey", key, sns, true),
        ("kms:Decrypt", key, sns, true),
        ("kms:Decrypt", another, s3, true),
        ("kms:GenerateDataKey", another, sns, false),
        ("kms:Decrypt", another, sns, false),
        ("kms:GenerateDataKey", another, s3, false),
        ("kms:Decrypt", key, None, false),
        ("kms:Encrypt", key, s3, false),
    ] {
        assert_eq!(allowed(action, resource, via), expected, "{action} {resource} {via:?}");
    }
}

#[tokio::test]
async fn events_may_be_put_on_one_event_bus_and_under_one_name() {
    let theirs = "arn:aws:events:eu-west-1:210987654321:event-bus/theirs";
    let ours = "arn:aws:events:us-east-1:123456789012:event-bus/findings";
    for (parameter, bus, another) in [("findings", ours, theirs), (theirs, theirs, ours)] {
        let template = Template::with(&[("ResultEventBus", parameter)]).unwrap();
        let policies = Policies::read(&template.role_policies(SCANNER).unwrap()).unwrap();
        let principal = template.function(SCANNER).unwrap().role_arn;
        let allowed = |action: &str, bus: &str, source: &str, detail_type: &str| {
            let context = Context::new().with_string("events:source", source);
            let request = Request {
                principal: Principal::Arn(principal.clone()),
                action: action.to_owned(),
                resource: bus.to_owned(),
                context: context.with_string("events:detail-type", detail_type),
            };
            matches!(policies.decide(&request).unwrap(), Decision::Allowed(_))
        };
        let (put, source, detail_type) = ("events:PutEvents", "s3-virusscan", "Object Scanned");
        assert!(allowed(put, bus, source, detail_type));
        assert!(!allowed(put, another, source, detail_type));
        assert!(!allowed(put, bus, "another", detail_type));
        assert!(!allowed(put, bus, source, "Another"));
        assert!(!allowed("events:PutRule", bus, source, detail_type));
        assert!(!allowed("events:DescribeEventBus", another, source, detail_type));
    }
}
