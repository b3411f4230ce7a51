//! The whole way on the packaged functions: the updater gets signed databases from a mirror by the
//! real freshclam, proves and publishes them, and the scanner that waited for them finds with them.

use scanner_tests::artefacts;
use scanner_tests::mirror::Mirror;
use scanner_tests::samples;
use scanner_tests::sandbox::Invocation;
use scanner_tests::template::{BUCKETS, DEFINITIONS};
use scanner_tests::world::{UPLOADS, World, WorldOptions};
use serde_json::{Value, json};

use crate::support::{DEADLINE, VISIBILITY, set, verdict_tag};

#[tokio::test]
async fn from_the_mirror_to_the_finding() {
    let options = WorldOptions { generation: None, visibility: VISIBILITY, ..deployed() };
    let world = World::start(options).await.unwrap();

    let mirror = Mirror::start().unwrap();
    let signed = std::fs::read(artefacts::freshclam_files().unwrap().join("test-6.cvd")).unwrap();
    for name in ["main.cvd", "daily.cvd", "bytecode.cvd"] {
        mirror.put(name, signed.clone());
    }
    let url = mirror.url();
    // Those databases are of 2021.
    let set_up = [("DATABASE_MIRROR", url.as_str()), ("DEFINITIONS_STALE_HOURS", "1000000")];
    let updater = world.start_function(DEFINITIONS, "definitions", |options| set(options, &set_up));
    let updater = updater.await.unwrap();
    let ended = updater.sandbox.invoke(&json!({})).await.unwrap();
    let said = updater.sandbox.logs().tail(30);
    assert_eq!(ended, Invocation::Response(Value::Null), "the updater wrote:\n{said}");
    assert!(mirror.asked().len() >= 3, "{:?}", mirror.asked());

    world.put(UPLOADS, "bad", samples::zip_nested(&samples::eicar(), 2).unwrap()).await.unwrap();
    let finding = world.finding_for("bad", DEADLINE).await.unwrap();
    assert_eq!(finding.attribute("status"), Some("infected"));
    assert_eq!(world.tags(UPLOADS, "bad", None).await.unwrap(), verdict_tag("infected"));
    world.put(UPLOADS, "good", samples::text()).await.unwrap();
    let finding = world.finding_for("good", DEADLINE).await.unwrap();
    assert_eq!(finding.attribute("status"), Some("clean"));
    world.put(UPLOADS, "good.exe", samples::program(b"")).await.unwrap();
    let finding = world.finding_for("good.exe", DEADLINE).await.unwrap();
    assert_eq!(finding.attribute("status"), Some("clean"));

    // Nothing new: the same generation is served.
    let again = updater.sandbox.invoke(&json!({})).await.unwrap();
    assert_eq!(again, Invocation::Response(Value::Null));
    let new = |line: &str| line.contains("\"outcome\":\"nothing-new\"");
    updater.sandbox.logs().wait_for(new, DEADLINE).await.unwrap();
}

#[tokio::test]
async fn the_packaged_wiring_function_starts_and_refuses_what_is_no_request() {
    let world = World::start(deployed()).await.unwrap();
    let wiring = world.start_function(BUCKETS, "buckets", |_| {}).await.unwrap();
    let ended = wiring.sandbox.invoke(&json!({"RequestType": "Create"})).await.unwrap();
    let Invocation::FunctionError { error_type, message } = ended else {
        panic!("{ended:?}");
    };
    assert_eq!(error_type, "event", "{message}");
    assert!(message.contains("no request of CloudFormation"), "{message}");
}

fn deployed() -> WorldOptions {
    WorldOptions::deployed().unwrap()
}
