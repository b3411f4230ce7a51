use iam_rs::ContextValue;

use super::*;

const ROLE: &str = "arn:aws:iam::123456789012:role/Scanner";

fn policies(statements: Value) -> anyhow::Result<Policies> {
    Policies::read(&[json!({"Version": "2012-10-17", "Statement": statements})])
}

fn request(action: &str, resource: &str) -> Request {
    Request {
        principal: Principal::Arn(ROLE.to_owned()),
        action: action.to_owned(),
        resource: resource.to_owned(),
        context: Context::new(),
    }
}

fn with(condition: &Value) -> Policies {
    let statement = json!([{"Sid": "S", "Effect": "Allow", "Action": "s3:GetObject",
        "Resource": "*", "Condition": condition}]);
    policies(statement).expect("a policy")
}

/// Whether a condition holds where `key` has this value.
fn holds(condition: &Value, key: &str, value: Option<ContextValue>) -> bool {
    let mut request = request("s3:GetObject", "arn:aws:s3:::b/k");
    if let Some(value) = value {
        request.context.insert(key.to_owned(), value);
    }
    let decision = with(condition).decide(&request).expect("a decision");
    matches!(decision, Decision::Allowed(_))
}

fn text(value: &str) -> Option<ContextValue> {
    Some(ContextValue::String(value.to_owned()))
}

#[test]
fn actions_and_resources_match_as_the_policy_language_says() {
    let statement = json!({"Sid": "S", "Effect": "Allow",
        "Action": ["s3:GetObject", "s3:Put*"], "Resource": ["arn:aws:s3:::b/a/*", "arn:aws:s3:::c"]});
    let policies = policies(json!([statement])).expect("a policy");
    for (action, resource, expected) in [
        ("s3:GetObject", "arn:aws:s3:::b/a/k", Some("s3:GetObject")),
        ("s3:getobject", "arn:aws:s3:::b/a/x/y:z *?", Some("s3:GetObject")),
        ("s3:PutObjectTagging", "arn:aws:s3:::b/a/", Some("s3:Put*")),
        ("s3:GetObject", "arn:aws:s3:::c", Some("s3:GetObject")),
        ("s3:GetObjectVersion", "arn:aws:s3:::b/a/k", None),
        ("s3:GetObject", "arn:aws:s3:::b/k", None),
        ("s3:GetObject", "arn:aws:s3:::b/A/k", None),
        ("s3:GetObject", "arn:aws:s3:::c/k", None),
        ("sns:GetObject", "arn:aws:s3:::b/a/k", None),
    ] {
        let decision = policies.decide(&request(action, resource)).expect("a decision");
        let grant = |action: &str| Grant { sid: "S".to_owned(), action: action.to_owned() };
        let expected = expected.map_or(Decision::NotAllowed, |action| {
            Decision::Allowed(BTreeSet::from([grant(action)]))
        });
        assert_eq!(decision, expected, "{action} on {resource}");
    }
}

#[test]
fn a_denial_is_stronger_than_any_permission() {
    let allow = json!({"Sid": "A", "Effect": "Allow", "Action": "s3:*", "Resource": "*"});
    let deny = json!({"Sid": "D", "Effect": "Deny", "Principal": "*", "Action": "s3:PutObject",
        "Resource": "arn:aws:s3:::b/*"});
    let policies = policies(json!([allow, deny])).expect("a policy");
    let decide = |action| policies.decide(&request(action, "arn:aws:s3:::b/k")).expect("decided");
    assert!(matches!(decide("s3:PutObject"), Decision::Denied(_)));
    assert!(matches!(decide("s3:GetObject"), Decision::Allowed(_)));
    let grant = Grant { sid: "A".to_owned(), action: "s3:*".to_owned() };
    assert_eq!(policies.grants(), BTreeSet::from([grant.clone()]));
    let without = policies.without(&grant);
    let decision = without.decide(&request("s3:GetObject", "arn:aws:s3:::b/k")).expect("decided");
    assert_eq!(decision, Decision::NotAllowed);
}

/// The tables of "IAM JSON policy elements: Condition operators" in the IAM user guide.
#[test]
fn each_operator_does_what_iam_says() {
    let via = "kms:ViaService";
    let tag = "s3:ExistingObjectTag/k";
    let arn = "aws:PrincipalArn";
    for (operator, key, value, cases) in [
        ("StringEquals", via, "s3.eu", [("s3.eu", true), ("S3.eu", false), ("s3", false)]),
        ("StringNotEquals", tag, "clean", [("clean", false), ("Clean", true), ("no", true)]),
        ("StringNotLike", "s3:prefix", "a/*", [("a/b/c", false), ("a/", false), ("b/", true)]),
        ("StringLike", "s3:prefix", "a/*", [("a/b/c", true), ("a/", true), ("b/", false)]),
        (
            "ArnLike",
            arn,
            "arn:aws:iam::*:role/S*",
            [(ROLE, true), ("arn:aws:iam::1:role/x", false), ("", false)],
        ),
        (
            "ArnNotLike",
            arn,
            "arn:aws:iam::*:role/S*",
            [(ROLE, false), ("arn:aws:iam::1:role/x", true), ("", true)],
        ),
        ("ArnNotEquals", arn, ROLE, [(ROLE, false), ("arn:aws:iam::1:role/x", true), ("", true)]),
    ] {
        let condition = json!({operator: {key: value}});
        for (given, expected) in cases {
            assert_eq!(holds(&condition, key, text(given)), expected, "{operator} {given}");
        }
        // A key that is not there matches nothing, so that what is negated is true.
        assert_eq!(holds(&condition, key, None), operator.contains("Not"), "{operator}");
    }
    let null = |absent: &str| json!({"Null": {"s3:x-amz-copy-source": absent}});
    for (given, expected) in [(text("b/k"), true), (None, false)] {
        let holds = |null| holds(&null, "s3:x-amz-copy-source", given.clone());
        assert_eq!((holds(null("false")), holds(null("true"))), (expected, !expected));
    }
    let condition = json!({"Bool": {"aws:SecureTransport": "false"}});
    let secure =
        |secure| holds(&condition, "aws:SecureTransport", Some(ContextValue::Boolean(secure)));
    assert!(secure(false) && !secure(true));
    assert!(!holds(&condition, "aws:SecureTransport", None));
}

#[test]
fn any_of_several_values_is_enough_where_the_operator_says_so() {
    let key = "s3:RequestObjectTagKeys";
    let condition = json!({"ForAnyValue:StringEqualsIgnoreCase": {key: ["s3-virusscan"]}});
    let keys = |keys: &[&str]| {
        let keys = keys.iter().map(|&key| key.to_owned()).collect();
        holds(&condition, key, Some(ContextValue::StringList(keys)))
    };
    assert!(keys(&["owner", "S3-VirusScan"]));
    assert!(!keys(&["owner", "project"]) && !keys(&[]));
    assert!(!holds(&condition, key, None));
}

#[test]
fn of_several_values_in_the_policy_one_must_match_and_no_negated_one_may() {
    let like = json!({"StringEquals": {"kms:ViaService": ["a", "b"]}});
    assert!(
        holds(&like, "kms:ViaService", text("b")) && !holds(&like, "kms:ViaService", text("c"))
    );
    let readers = [ROLE, "arn:aws:iam::123456789012:role/backup"];
    let unlike = json!({"ArnNotLike": {"aws:PrincipalArn": readers}});
    assert!(!holds(&unlike, "aws:PrincipalArn", text(ROLE)));
    assert!(holds(&unlike, "aws:PrincipalArn", text("arn:aws:iam::123456789012:role/x")));
}

#[test]
fn every_condition_of_a_statement_must_hold() {
    let both = json!({"StringNotEquals": {"s3:ExistingObjectTag/k": "clean"},
        "ArnNotLike": {"aws:PrincipalArn": ROLE}});
    let decide = |tag: &str, principal: &str| {
        let mut request = request("s3:GetObject", "arn:aws:s3:::b/k");
        let context = request.context.with_string("s3:ExistingObjectTag/k", tag);
        request.context = context.with_string("aws:PrincipalArn", principal);
        matches!(with(&both).decide(&request).expect("decided"), Decision::Allowed(_))
    };
    let other = "arn:aws:iam::123456789012:role/x";
    assert!(decide("no", other));
    assert!(!decide("clean", other) && !decide("no", ROLE));
}

#[test]
fn every_key_of_an_operator_must_hold() {
    let both = json!({"StringEquals": {"s3:ExistingObjectTag/k": "clean", "aws:SourceArn": "a"}});
    let decide = |tag: &str, source: &str| {
        let mut request = request("s3:GetObject", "arn:aws:s3:::b/k");
        let context = request.context.with_string("s3:ExistingObjectTag/k", tag);
        request.context = context.with_string("aws:SourceArn", source);
        matches!(with(&both).decide(&request).expect("decided"), Decision::Allowed(_))
    };
    assert!(decide("clean", "a"));
    assert!(!decide("no", "a") && !decide("clean", "b"));
}

/// IAM user guide, "IAM JSON policy elements: Condition": names of keys are not case-sensitive.
#[test]
fn the_names_of_keys_are_the_same_in_upper_and_lower_case() {
    let condition = json!({"StringEquals": {"s3:ExistingObjectTag/s3-virusscan": "clean"}});
    assert!(holds(&condition, "s3:ExistingObjectTag/S3-VirusScan", text("clean")));
    assert!(!holds(&condition, "s3:ExistingObjectTag/S3-VirusScan", text("Clean")));
}

/// IAM user guide, "AWS JSON policy elements: Principal".
#[test]
fn a_statement_is_about_its_principal() {
    let other = Principal::Arn("arn:aws:iam::123456789012:role/other".to_owned());
    let service = |name: &str| Principal::Service(name.to_owned());
    let cloudfront = || service("cloudfront.amazonaws.com");
    let all = [Principal::Arn(ROLE.to_owned()), other, cloudfront(), service("s3.amazonaws.com")];
    let all: [Principal; 5] =
        [&all[..], &[Principal::Anonymous]].concat().try_into().expect("five");
    for (principal, expected) in [
        (json!("*"), [true; 5]),
        (json!({"AWS": ROLE}), [true, false, false, false, false]),
        (json!({"Service": "cloudfront.amazonaws.com"}), [false, false, true, false, false]),
    ] {
        let statement = json!({"Sid": "S", "Effect": "Deny", "Principal": principal,
            "Action": "s3:GetObject", "Resource": "*"});
        let document = json!({"Version": "2012-10-17", "Statement": statement});
        let policies = Policies::of_resource(&document).expect("a policy");
        let about = all.clone().map(|principal| {
            let request = Request { principal, ..request("s3:GetObject", "arn:aws:s3:::b/k") };
            matches!(policies.decide(&request).expect("decided"), Decision::Denied(_))
        });
        assert_eq!(about, expected, "{principal}");
    }
}

#[test]
fn what_is_not_evaluated_here_is_refused() {
    let plain = json!({"Sid": "S", "Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"});
    policies(json!([plain])).expect("a policy");
    for (element, value, says) in [
        ("NotAction", json!("s3:*"), "NotAction is not evaluated here"),
        ("Condition", json!({"StringEqualsIfExists": {"kms:ViaService": "x"}}), "IfExists"),
        ("Condition", json!({"StringEquals": {"aws:SourceVpc": "x"}}), "aws:SourceVpc is not"),
        ("Condition", json!({"ArnNotEquals": {"aws:PrincipalArn": "arn:*"}}), "a wildcard"),
        ("Effect", json!("Permit"), "its effect is"),
        ("Sid", Value::Null, "it has no Sid"),
        ("Principal", json!({"AWS": "*"}), "the principal"),
        ("Principal", json!({"AWS": "123456789012"}), "the principal"),
        ("Principal", json!({"AWS": "arn:aws:iam::123456789012:root"}), "the principal"),
        ("Principal", json!({"AWS": [ROLE]}), "the principal"),
        ("Principal", json!({"AWS": ROLE, "Service": "s3.amazonaws.com"}), "the principal"),
        ("Principal", json!({"CanonicalUser": "0".repeat(64)}), "the principal"),
        ("Action", json!([]), "it has no action"),
        ("Action", json!(["s3:GetObject", "s3:GetObject"]), "there are two of"),
    ] {
        let mut statement = plain.clone();
        statement[element] = value;
        let error = format!("{:#}", policies(json!([statement])).expect_err(element));
        assert!(error.contains(says), "{error}");
    }
}
