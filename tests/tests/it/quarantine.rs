//! Who can read and who can tag while the stack's quarantine policy is on a bucket: the policy
//! that the function `buckets` merges for the properties in the template, the verdicts of the
//! scanner under its own role, and an S3 in memory that judges every call by both sides' policies.

mod cloudfront;
mod copying;
mod reading;
mod tagging;

use aws_sdk_s3::Client;
use aws_sdk_s3::error::SdkError;
use buckets::wiring;
use scanner_tests::cloudformation::CloudFormation;
use scanner_tests::fake_s3::{FakeS3, Identity, Stored};
use scanner_tests::iam::Recorder;
use scanner_tests::samples;
use scanner_tests::template::{BUCKETS, Template};
use serde_json::{Value, json};

use crate::support::{BUCKET, VERSIONED, World, s3_event, s3_record, world_deployed_with};

const DOCS: &str = include_str!("../../../docs/QUARANTINE.md");

const PARAMETERS: [(&str, &str); 3] = [
    ("BucketNames", "uploads,versioned-uploads"),
    ("QuarantinePolicy", "attach"),
    ("QuarantineExemptPrincipalArns", "arn:aws:iam::123456789012:role/backup-*"),
];

/// One of each verdict, with what a reader shall get after it.
fn verdicts() -> [(&'static str, Vec<u8>, u16); 3] {
    let encrypted = samples::zip_encrypted(&samples::text(), "secret").unwrap();
    [("clean", samples::text(), 200), ("infected", samples::eicar(), 403), ("no", encrypted, 403)]
}

/// A world whose buckets the stack has wired, with the policy.
async fn world() -> World {
    world_after(&[], |_| {}).await
}

/// The same with more parameters, and with what was on the buckets before.
async fn world_after(parameters: &[(&str, &str)], before: impl FnOnce(&FakeS3)) -> World {
    let parameters = [&PARAMETERS[..], parameters].concat();
    let world = world_deployed_with(&parameters).await;
    before(&world.s3);
    request("Create", &parameters, &world.s3).await;
    world
}

/// What CloudFormation asks of the function `buckets` in a stack with these parameters, done under
/// the function's role.
async fn request(kind: &str, parameters: &[(&str, &str)], s3: &FakeS3) {
    let template = Template::with(parameters).unwrap();
    let recorder = Recorder::of(&template, BUCKETS).unwrap();
    let client = recorder.s3(&s3.client());
    let cloudformation = CloudFormation::start().unwrap();
    let wiring = Value::from(template.properties("BucketWiring").unwrap());
    let request = cloudformation.request(kind, "Custom::BucketWiring", &wiring, None).await;
    let request = request.unwrap();
    let work = |request| Box::pin(wiring::handle(&client, request));
    let responder = cloudformation.responder();
    responder.respond(request.event.clone(), request.deadline, work).await.unwrap();
    let answer = cloudformation.answer(&request).await.unwrap().unwrap();
    assert_eq!(answer["Status"], "SUCCESS", "{answer}");
}

/// A role with this name that may do these actions on everything.
fn role(name: &str, actions: &[&str]) -> Identity {
    let allow = json!({"Sid": "Own", "Effect": "Allow", "Action": actions, "Resource": "*"});
    let policy = json!({"Version": "2012-10-17", "Statement": [allow]});
    Identity::role(&format!("arn:aws:iam::123456789012:role/{name}"), &[policy]).unwrap()
}

fn reader() -> Identity {
    role("reader", &["s3:GetObject", "s3:GetObjectVersion"])
}

/// Whoever uploads: as powerful as the policies of its own can make it.
fn uploader() -> Identity {
    role("uploader", &["s3:*"])
}

/// One that the policy lets read everything.
fn exempt() -> Identity {
    role("backup-nightly", &["s3:*"])
}

/// A statement of somebody else for the objects of `bucket`, on its policy before ours.
fn foreign(s3: &FakeS3, bucket: &str, actions: &[&str]) {
    let statement = json!({"Sid": "Theirs", "Effect": "Allow", "Principal": "*", "Action": actions,
        "Resource": format!("arn:aws:s3:::{bucket}/*")});
    set_policy(s3, bucket, &[&statement]);
}

fn set_policy(s3: &FakeS3, bucket: &str, statements: &[&Value]) {
    let policy = json!({"Version": "2012-10-17", "Statement": statements});
    s3.set_policy(bucket, &policy.to_string());
}

/// The one statement of the documentation that is meant, for `bucket`.
fn documented(bucket: &str, meant: impl Fn(&Value) -> bool) -> Value {
    let blocks = DOCS.split("```json\n").skip(1).filter_map(|rest| rest.split("\n```").next());
    let blocks = blocks.map(|block| block.replace("BUCKET_NAME", bucket));
    let all = blocks.map(|block| serde_json::from_str::<Value>(&block).unwrap());
    let found: Vec<_> = all.filter(|statement| meant(statement)).collect();
    assert_eq!(found.len(), 1, "{found:?}");
    found[0].clone()
}

fn status<T, E>(answer: Result<T, SdkError<E>>) -> u16 {
    match answer {
        Ok(_) => 200,
        Err(error) => error.raw_response().expect("S3 answered").status().as_u16(),
    }
}

/// What GET and HEAD answer, of the current version or of that one.
async fn read(client: &Client, bucket: &str, key: &str, version: Option<&str>) -> [u16; 2] {
    let version = version.map(str::to_owned);
    let get = client.get_object().bucket(bucket).key(key).set_version_id(version.clone());
    let head = client.head_object().bucket(bucket).key(key).set_version_id(version);
    [status(get.send().await), status(head.send().await)]
}

/// Uploads as the uploader, with these tags of its own.
async fn upload(world: &World, bucket: &str, key: &str, bytes: Vec<u8>, tags: &str) -> Stored {
    let client = world.s3.client_of(uploader());
    let put = client.put_object().bucket(bucket).key(key).body(bytes.into());
    let put = put.set_tagging(Some(tags.to_owned()).filter(|tags| !tags.is_empty()));
    let put = put.send().await.unwrap();
    let e_tag = put.e_tag.unwrap().trim_matches('"').to_owned();
    Stored { version_id: put.version_id, e_tag }
}

/// The scan that the upload's event brings.
async fn scan(world: &World, bucket: &str, key: &str, stored: &Stored) {
    world.invoke(s3_event(&[s3_record(bucket, key, stored)])).await.unwrap();
}

/// Uploads and scans.
async fn scanned(world: &World, bucket: &str, key: &str, bytes: Vec<u8>) -> Stored {
    let stored = upload(world, bucket, key, bytes, "").await;
    scan(world, bucket, key, &stored).await;
    stored
}
