//! What the owner may call infected besides malware: encryption and macros.

use jiff::Timestamp;
use scanner_tests::generations::Generation;
use scanner_tests::samples;
use serde_json::json;

use crate::support::{BUCKET, world, world_deployed_with, world_of};

#[tokio::test]
async fn what_is_encrypted_is_infected_where_the_owner_says_so() {
    let locked = samples::zip_encrypted(b"x", "y").unwrap();
    for (setting, status) in [("no", "no"), ("infected", "infected")] {
        let world = world_deployed_with(&[("EncryptedArchives", setting)]).await;
        world.upload(BUCKET, "locked", locked.clone()).await.unwrap();
        assert_eq!(world.tag(BUCKET, "locked", None).as_deref(), Some(status));
        let record = world.record();
        assert_eq!(record["detail"], "Heuristics.Encrypted.Zip");
        let attributes = world.finding().attributes;
        if status == "infected" {
            assert_eq!(attributes["finding"], "Heuristics.Encrypted.Zip");
            assert_eq!(record["signatures"], json!(["Heuristics.Encrypted.Zip"]));
        } else {
            assert_eq!(attributes["reason"], "encrypted");
        }
        // Other reasons stay reasons.
        let lz4 = [b"\x04\x22\x4d\x18\x64\x40\xa7".as_slice(), &[0; 64]].concat();
        world.upload(BUCKET, "other", lz4).await.unwrap();
        assert_eq!(world.tag(BUCKET, "other", None).as_deref(), Some("no"), "{setting}");
    }
}

#[tokio::test]
async fn what_the_owner_calls_infected_is_deleted_with_what_is() {
    let parameters = [
        ("EncryptedArchives", "infected"),
        ("AlertMacros", "true"),
        ("DeleteInfectedFiles", "true"),
    ];
    let world = world_deployed_with(&parameters).await;
    for (key, body) in [
        ("locked", samples::zip_encrypted(b"x", "y").unwrap()),
        ("macros", samples::document_with_macros()),
    ] {
        world.upload(BUCKET, key, body).await.unwrap();
        assert_eq!(world.s3.tags(BUCKET, key, None), None, "{key} is there");
        assert_eq!(world.sns.published().pop().unwrap().attributes["action"], "delete");
    }
}

#[tokio::test]
async fn macros_are_clean_by_themselves_and_infected_where_the_owner_says_so() {
    let document = samples::document_with_macros();
    let calm = world().await;
    calm.upload(BUCKET, "macros", document.clone()).await.unwrap();
    assert_eq!(calm.finding().attributes["status"], "clean");

    let strict = world_deployed_with(&[("AlertMacros", "true")]).await;
    for (key, body) in
        [("bare", document.clone()), ("zipped", samples::zip_nested(&document, 2).unwrap())]
    {
        strict.upload(BUCKET, key, body).await.unwrap();
        let attributes = strict.sns.published().pop().unwrap().attributes;
        assert_eq!(attributes["status"], "infected", "{key}");
        assert_eq!(attributes["finding"], "Heuristics.OLE2.ContainsMacros.VBA", "{key}");
    }
    strict.upload(BUCKET, "text", samples::text()).await.unwrap();
    assert_eq!(strict.tag(BUCKET, "text", None).as_deref(), Some("clean"));
}

/// Of a weak name and the program's, the base shard tells the program's; then the other shard has to
/// be as strict.
#[tokio::test]
async fn both_shards_are_equally_strict() {
    let generation = Generation::sharded(7, Timestamp::now()).unwrap();
    let strict = world_of(generation, |config| {
        config.alert_macros = true;
        config.encrypted_is_infected = true;
    })
    .await;
    let program = samples::program(b"");
    let locked = samples::zip_encrypted(b"x", "y").unwrap();
    for (key, name, weak) in [
        ("macros", "Heuristics.OLE2.ContainsMacros.VBA", samples::document_with_macros()),
        ("locked", "Heuristics.Encrypted.Zip", locked),
    ] {
        for (order, members) in [
            ("before", [("a", weak.as_slice()), ("b.exe", &program)]),
            ("behind", [("b.exe", program.as_slice()), ("a", &weak)]),
        ] {
            let key = format!("{key} {order}");
            strict.upload(BUCKET, &key, samples::zip_of(&members).unwrap()).await.unwrap();
            let record = strict.records().pop().unwrap();
            assert_eq!(record["outcome"], "infected", "{record}");
            assert_eq!(record["signatures"], json!([name]), "{record}");
        }
    }
}
