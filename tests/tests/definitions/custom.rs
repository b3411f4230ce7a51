//! The owner's own signatures.

use function_common::reply::Answer;
use scanner_tests::samples;

use crate::support::{BUCKET, World, infected};

/// In hexadecimal.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn left_out(world: &World) -> Vec<(String, String)> {
    let manifest = world.manifest().expect("it is published");
    manifest.left_out.into_iter().map(|left| (left.key, left.reason)).collect()
}

#[tokio::test]
async fn they_join_each_generation() {
    let (world, first) = World::published(6).await;
    let text = b"the owner's marker: 5d7c2b70";
    let put = |key: &str, content: String| world.s3.put(&BUCKET, key, content);
    put("custom/", String::new());
    put("custom/a/text.ndb", format!("My.Ndb:0:*:{}\n", hex(b"ndb 5d7c2b70")));
    put(
        "custom/logical.ldb",
        format!("My.Ldb;Engine:81-255,Target:0;0;{}\n", hex(b"ldb 5d7c2b70")),
    );
    put(
        "custom/rule.yara",
        "rule MyRule { strings: $a = \"yara 5d7c2b70\" condition: $a }\n".into(),
    );
    put("custom/Ein Name\u{e4}.hsb", format!("{}:{}:My.Hsb\n", sha256(text), text.len()));

    let run = world.run().await;
    assert_eq!(run.ended(), ("published", None), "{run:?}");
    assert_eq!(left_out(&world), []);
    assert_eq!(world.manifest().expect("it is published").previous, Some(first.generation));
    for (content, name) in [
        (&b"x ndb 5d7c2b70"[..], "My.Ndb"),
        (b"x ldb 5d7c2b70", "My.Ldb"),
        (b"x yara 5d7c2b70", "YARA.MyRule"),
        (text, "My.Hsb"),
        (&samples::eicar(), "Eicar-Test-Signature"),
    ] {
        assert_eq!(world.scan(content).await[0], infected(name));
    }
    assert_eq!(world.run().await.ended(), ("nothing-new", None));

    // Changed, and one taken away.
    put("custom/a/text.ndb", format!("My.Ndb:0:*:{}\n", hex(b"another 5d7c2b70")));
    world.s3.delete(&BUCKET, "custom/logical.ldb");
    assert_eq!(world.run().await.ended(), ("published", None));
    assert_eq!(world.scan(b"another 5d7c2b70").await[0], infected("My.Ndb"));
    assert_eq!(world.scan(b"x ldb 5d7c2b70").await[0], Answer::Clean);
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    hex(&sha2::Sha256::digest(bytes))
}

/// What clears a file of a wrong finding clears it in both shards.
#[tokio::test]
async fn what_the_owner_allows_is_allowed_in_both_shards() {
    let world = World::new(6);
    let program = samples::program(b"a program of the owner's");
    let hash = sha256(&program);
    let size = program.len();
    world.s3.put(&BUCKET, "custom/mine.hsb", format!("{hash}:{size}:Wrong.Finding\n"));
    world.run().await;
    assert_eq!(world.scan(&program).await[0], infected("Wrong.Finding"));
    world.s3.put(&BUCKET, "custom/mine.sfp", format!("{hash}:{size}:Mine\n"));
    assert_eq!(world.run().await.ended(), ("published", None));
    assert_eq!(left_out(&world), []);
    let answer = world.scan(&program).await;
    assert!(!matches!(answer[0], Answer::Infected(_)), "{answer:?}");
    let shards = world.manifest().expect("it is published").shards;
    for shard in shards {
        assert!(shard.files.iter().any(|file| file.name.ends_with(".sfp")), "{}", shard.name);
    }
}

#[tokio::test]
async fn a_broken_one_is_left_out_and_stops_neither_the_others_nor_the_update() {
    let world = World::new(6);
    for (name, content) in [
        ("broken.ndb", "My.Broken:0:*:not hexadecimal\n"),
        ("fields.ndb", "only one field\n"),
        ("broken.ldb", "My.Broken;Engine:81-255,Target:0;0&1;6162636465\n"),
        ("broken.hdb", "nothash:xx:My.Broken\n"),
        ("broken.hsb", "1234:5:My.Broken\n"),
        ("broken.yara", "rule Broken { condition: $undefined }\n"),
        ("empty.ndb", ""),
        ("binary.hdb", "\u{0}\u{1}\u{2}"),
        ("README.md", "# Our signatures\n"),
        (
            "half.yara",
            "rule A { strings: $a = \"abcdef\" condition: $a }\nrule B { condition: $b }\n",
        ),
        ("programs.ndb", "Every.Program:1:0:4d5a0000\n"),
        ("ordinary.ndb", "Every.Text:0:0:416e206f7264696e617279\n"),
        ("eicar.fp", "44d88612fea8a8f36de82e1278abb02f:68:allowed\n"),
    ] {
        world.s3.put(&BUCKET, &format!("custom/{name}"), content);
    }
    world.s3.put(&BUCKET, "custom/good.ndb", format!("My.Good:0:*:{}\n", hex(b"good 5d7c2b70")));
    let run = world.run().await;
    assert_eq!(run.ended(), ("published", None), "{run:?}");
    let left_out = left_out(&world);
    let keys: Vec<_> = left_out.iter().map(|(key, _)| key.trim_start_matches("custom/")).collect();
    let mut expected = vec![
        "README.md",
        "binary.hdb",
        "broken.hdb",
        "broken.hsb",
        "broken.ldb",
        "broken.ndb",
        "broken.yara",
        "eicar.fp",
        "empty.ndb",
        "fields.ndb",
        "half.yara",
        "ordinary.ndb",
        "programs.ndb",
    ];
    let mut sorted = keys.clone();
    sorted.sort_unstable();
    expected.sort_unstable();
    assert_eq!(sorted, expected, "{left_out:?}");
    assert_eq!(run.record["left_out"].as_array().expect("a list").len(), expected.len());
    assert_eq!(world.scan(b"good 5d7c2b70").await[0], infected("My.Good"));
    assert_eq!(world.scan(&samples::eicar()).await[0], infected("Eicar-Test-Signature"));
    assert_eq!(world.run().await.ended(), ("nothing-new", None), "they are not tried each time");
}

/// Each is good by itself, but with the makers' database there is nothing left that finds EICAR.
#[tokio::test]
async fn those_that_break_the_whole_are_left_out_together() {
    let world = World::new(6);
    world.s3.put(&BUCKET, "custom/mute.ign2", "Eicar-Test-Signature\n");
    let run = world.run().await;
    assert_eq!(run.ended(), ("published", None), "{run:?}");
    let left_out = left_out(&world);
    assert_eq!(left_out.len(), 1, "{left_out:?}");
    assert!(left_out[0].0 == "custom/*" && left_out[0].1.contains("EICAR"), "{left_out:?}");
    assert_eq!(world.scan(&samples::eicar()).await[0], infected("Eicar-Test-Signature"));
}
