use serde_json::json;

use super::*;

fn properties() -> Value {
    json!({
        "ServiceToken": "arn:aws:lambda:eu-west-1:123456789012:function:buckets",
        "BucketNames": ["uploads", " archive "],
        "Trigger": "queue",
        "TargetArn": "arn:aws:sqs:eu-west-1:123456789012:scan",
        "ConfigurationId": "s3-virusscan",
        "QuarantinePolicy": "attach",
        "TagKey": "s3-virusscan",
        "Partition": "aws",
        "ScannerRoleArn": "arn:aws:iam::123456789012:role/scanner",
        "ExemptPrincipalArns": ["arn:aws:iam::123456789012:role/backup-*", ""],
    })
}

fn with(name: &str, value: Value) -> Value {
    let mut properties = properties();
    properties[name] = value;
    properties
}

fn refused(properties: &Value) -> String {
    Wiring::parse(properties).expect_err("it is refused").to_string()
}

#[test]
fn all_properties_are_read() {
    let wiring = Wiring::parse(&properties()).expect("they are fine");
    assert_eq!(wiring.buckets, ["uploads", "archive"]);
    assert_eq!(
        wiring.destination,
        Destination::Queue("arn:aws:sqs:eu-west-1:123456789012:scan".into())
    );
    assert_eq!(wiring.own.id, "s3-virusscan");
    assert!(wiring.attach);
    assert_eq!(wiring.account, "123456789012");
    assert_eq!(
        wiring.quarantine.exempt_principal_arns,
        ["arn:aws:iam::123456789012:role/backup-*"]
    );
}

#[test]
fn a_stack_without_buckets_is_fine() {
    for none in [json!([]), json!([""])] {
        assert!(Wiring::parse(&with("BucketNames", none)).expect("fine").buckets.is_empty());
    }
}

#[test]
fn eventbridge_needs_no_target() {
    let mut properties = with("Trigger", "eventbridge".into());
    properties["TargetArn"] = "".into();
    let wiring = Wiring::parse(&properties).expect("they are fine");
    assert_eq!(wiring.destination, Destination::EventBridge);
}

#[test]
fn every_bad_name_is_in_one_message() {
    let names = json!(["uploads", "Uploads", "a", "archive", "uploads"]);
    let text = refused(&with("BucketNames", names));
    for part in ["`Uploads`", "`a`", "`uploads`, expected each bucket once", "3 wrong"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("archive"), "{text}");
}

#[test]
fn each_wrong_property_is_named() {
    for (name, value) in [
        ("Trigger", json!("topic")),
        ("TargetArn", json!("arn:aws:lambda:eu-west-1:123456789012:function:scan")),
        ("TargetArn", json!("")),
        ("ConfigurationId", json!("")),
        ("QuarantinePolicy", json!("detach")),
        ("TagKey", json!("")),
        ("TagKey", json!("aws:tag")),
        ("TagKey", json!("a\"b")),
        ("Partition", json!("")),
        ("Partition", json!("a:b")),
        ("ScannerRoleArn", json!("arn:aws:iam::123456789012:user/scanner")),
        ("ExemptPrincipalArns", json!(["backup"])),
        ("ExemptPrincipalArns", json!(["*"])),
        ("ExemptPrincipalArns", json!(["arn:aws:iam::*:*"])),
        ("ExemptPrincipalArns", json!(["arn:aws:sts::123456789012:assumed-role/backup/me"])),
    ] {
        let text = refused(&with(name, value.clone()));
        assert!(text.contains(name), "{name} {value}: {text}");
    }
    assert!(refused(&with("BucketNames", json!("uploads"))).contains("properties are wrong"));
}

#[test]
fn an_attribute_without_room_is_refused_before_anything_is_done() {
    let many: Vec<String> =
        (0..60).map(|n| format!("arn:aws:iam::123456789012:role/backup-{n}")).collect();
    let text = refused(&with("ExemptPrincipalArns", json!(many)));
    assert!(text.contains("exempt fewer principals"), "{text}");
}
