use iam_rs::ContextValue;
use serde_json::json;

use super::*;

const ROLE: &str = "arn:aws:iam::123456789012:role/R";

fn signed_for(service: &str) -> String {
    format!(
        "AWS4-HMAC-SHA256 Credential=AKID/20261122/us-east-1/{service}/aws4_request, \
         SignedHeaders=host;x-amz-date, Signature=00"
    )
}

fn asked(
    service: &str,
    (method, uri): (&str, &str),
    headers: &[(&str, &str)],
    body: &str,
) -> anyhow::Result<Vec<Request>> {
    let mut all = BTreeMap::from([("authorization".to_owned(), signed_for(service))]);
    all.extend(headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    let caller = Caller { role_arn: ROLE.to_owned(), account: "123456789012".to_owned() };
    Wire { method, uri, headers: all, body: body.as_bytes() }.asks_for(&caller)
}

/// Action and resource, one line each.
fn lines(requests: &[Request]) -> String {
    let lines = requests.iter().map(|request| format!("{} {}", request.action, request.resource));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn s3_requests_are_the_actions_of_the_service_authorization_reference() {
    for (method, uri, expected) in [
        ("GET", "/b/a/k", "s3:GetObject arn:aws:s3:::b/a/k"),
        ("GET", "/b/k?x-id=GetObject", "s3:GetObject arn:aws:s3:::b/k"),
        (
            "GET",
            "http://127.0.0.1:1/b/k?x-id=GetObject&versionId=v",
            "s3:GetObjectVersion arn:aws:s3:::b/k",
        ),
        ("HEAD", "https://s3.invalid/b/k", "s3:GetObject arn:aws:s3:::b/k"),
        ("HEAD", "/b/k?versionId=v", "s3:GetObjectVersion arn:aws:s3:::b/k"),
        ("GET", "/b/k?tagging", "s3:GetObjectTagging arn:aws:s3:::b/k"),
        ("GET", "/b/k?tagging&versionId=v", "s3:GetObjectVersionTagging arn:aws:s3:::b/k"),
        ("DELETE", "/b/k?x-id=DeleteObject", "s3:DeleteObject arn:aws:s3:::b/k"),
        ("DELETE", "/b/k?versionId=v", "s3:DeleteObjectVersion arn:aws:s3:::b/k"),
        ("PUT", "/b/k?x-id=PutObject", "s3:PutObject arn:aws:s3:::b/k"),
        ("GET", "/b/?list-type=2&prefix=a%2F", "s3:ListBucket arn:aws:s3:::b"),
        ("GET", "/b?notification", "s3:GetBucketNotification arn:aws:s3:::b"),
        ("PUT", "/b?notification", "s3:PutBucketNotification arn:aws:s3:::b"),
        ("GET", "/b?policy", "s3:GetBucketPolicy arn:aws:s3:::b"),
        ("PUT", "/b?policy", "s3:PutBucketPolicy arn:aws:s3:::b"),
        ("DELETE", "/b?policy", "s3:DeleteBucketPolicy arn:aws:s3:::b"),
        ("GET", "/b/a%20b%2Bc/%C3%BC%3F/../x", "s3:GetObject arn:aws:s3:::b/a b+c/ü?/../x"),
    ] {
        let requests = asked("s3", (method, uri), &[], "").expect(uri);
        assert_eq!(lines(&requests), expected, "{method} {uri}");
        assert_eq!(requests[0].principal, Principal::Arn(ROLE.to_owned()));
        let account = requests[0].context.get("aws:ResourceAccount");
        assert_eq!(account, Some(&ContextValue::String("123456789012".to_owned())));
    }
}

#[test]
fn tags_of_a_request_are_condition_keys() {
    let body = "<Tagging xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><TagSet>\
                <Tag><Key>owner</Key><Value>anna</Value></Tag>\
                <Tag><Key>s3-virusscan</Key><Value>clean</Value></Tag></TagSet></Tagging>";
    let by_body = asked("s3", ("PUT", "/b/k?tagging&versionId=v"), &[], body).expect("known");
    assert_eq!(lines(&by_body), "s3:PutObjectVersionTagging arn:aws:s3:::b/k");
    let header = [("x-amz-tagging", "owner=anna&s3-virusscan=clean")];
    let by_header = asked("s3", ("PUT", "/b/k"), &header, "").expect("known");
    let both = "s3:PutObject arn:aws:s3:::b/k\ns3:PutObjectTagging arn:aws:s3:::b/k";
    assert_eq!(lines(&by_header), both);
    for request in by_body.into_iter().chain(by_header) {
        let text = |key: &str| request.context.get(key).and_then(ContextValue::as_string).cloned();
        assert_eq!(text("s3:RequestObjectTag/s3-virusscan").as_deref(), Some("clean"));
        let keys = vec!["owner".to_owned(), "s3-virusscan".to_owned()];
        let keys = ContextValue::StringList(keys);
        assert_eq!(request.context.get("s3:RequestObjectTagKeys"), Some(&keys));
    }
}

#[test]
fn sns_and_sqs_say_it_in_their_bodies() {
    let topic = "arn:aws:sns:us-east-1:123456789012:Findings";
    let form = "Action=Publish&Version=2010-03-31&Message=a%26b&\
                TopicArn=arn%3Aaws%3Asns%3Aus-east-1%3A123456789012%3AFindings";
    let publish = asked("sns", ("POST", "/"), &[], form).expect("known");
    assert_eq!(lines(&publish), format!("sns:Publish {topic}"));
    let body = r#"{"QueueUrl": "http://127.0.0.1:5000/123456789012/ScanQueue"}"#;
    let target = [("x-amz-target", "AmazonSQS.DeleteMessage")];
    let delete = asked("sqs", ("POST", "/"), &target, body).expect("known");
    let expected = "sqs:DeleteMessage arn:aws:sqs:us-east-1:123456789012:ScanQueue";
    assert_eq!(lines(&delete), expected);
}

#[test]
fn each_event_is_asked_for_with_its_source_and_detail_type() {
    let arn = "arn:aws:events:eu-west-1:210987654321:event-bus/theirs";
    let entry = |bus: &str, source: &str| json!({"EventBusName": bus, "Source": source, "DetailType": "Object Scanned"});
    let body = json!({"Entries": [entry("findings", "s3-virusscan"), entry(arn, "other")]});
    let target = [("x-amz-target", "AWSEvents.PutEvents")];
    let put = asked("events", ("POST", "/"), &target, &body.to_string()).expect("known");
    let ours = "events:PutEvents arn:aws:events:us-east-1:123456789012:event-bus/findings";
    assert_eq!(lines(&put), format!("{ours}\nevents:PutEvents {arn}"));
    let text =
        |n: usize, key: &str| put[n].context.get(key).and_then(ContextValue::as_string).cloned();
    assert_eq!(text(0, "events:source").as_deref(), Some("s3-virusscan"));
    assert_eq!(text(1, "events:source").as_deref(), Some("other"));
    assert_eq!(text(0, "events:detail-type").as_deref(), Some("Object Scanned"));
    let target = [("x-amz-target", "AWSEvents.DescribeEventBus")];
    let body = json!({"Name": "findings"}).to_string();
    let seen = asked("events", ("POST", "/"), &target, &body).expect("known");
    assert_eq!(lines(&seen), ours.replace("PutEvents", "DescribeEventBus"));
}

#[test]
fn what_is_not_known_is_an_error() {
    let unknown = |service: &str, method: &str, uri: &str, headers: &[(&str, &str)], body: &str| {
        let error = asked(service, (method, uri), headers, body).expect_err(uri);
        assert!(format!("{error:#}").contains("is not known here"), "{error:#}");
    };
    unknown("s3", "GET", "/b/k?acl", &[], "");
    unknown("s3", "POST", "/b/k?uploads", &[], "");
    unknown("s3", "PUT", "/b/k?versionId=v", &[], "");
    unknown("s3", "GET", "/b?versions", &[], "");
    unknown("s3", "POST", "/b?delete", &[], "");
    unknown("s3", "GET", "/", &[], "");
    unknown("s3", "PUT", "/b/k", &[("x-amz-copy-source", "/c/k")], "");
    unknown("s3", "PUT", "/b/k", &[("x-amz-grant-read", "uri=x")], "");
    unknown("s3", "PUT", "/b/k?tagging", &[], "<Tagging");
    unknown("sns", "POST", "/", &[], "Action=CreateTopic&Name=t");
    unknown("sqs", "POST", "/", &[], "{}");
    unknown("events", "POST", "/", &[("x-amz-target", "AWSEvents.PutRule")], "{}");
    unknown("events", "POST", "/", &[("x-amz-target", "AWSEvents.DescribeEventBus")], "{}");
    unknown("sts", "POST", "/", &[], "");
    unknown("s3", "GET", "/b/k", &[("authorization", "Bearer x")], "");
}
