//! What clamd by itself calls `OK` without having looked: objects of a few bytes, RAR without the
//! library for it, the twin of a clean file.

use std::path::Path;

use bytes::Bytes;
use clamav_client::tokio::{Socket, scan_stream};
use jiff::Timestamp;
use s3s::crypto::{Checksum as _, Md5};
use scanner_tests::generations::Generation;
use scanner_tests::samples;
use scanner_tests::stock_clamd::StockClamd;
use tempfile::TempDir;

use crate::support::{BUCKET, World, clamd_dir, generation, world_of, world_on};

/// The test definitions, and one more file of signatures; the folder is for stock clamd.
fn definitions(name: &str, signatures: &str) -> (TempDir, Generation) {
    let dir = tempfile::tempdir().unwrap();
    scanner_tests::definitions::write(dir.path(), 7, Timestamp::now()).unwrap();
    std::fs::write(dir.path().join(name), signatures).unwrap();
    let generation = Generation::of_folder(dir.path()).unwrap();
    (dir, generation)
}

async fn stock(clamd: &StockClamd, bytes: &[u8]) -> String {
    let stream = futures_util::stream::iter([Ok(Bytes::copy_from_slice(bytes))]);
    let answer = scan_stream(stream, Socket { socket_path: clamd.socket() }, None).await.unwrap();
    String::from_utf8(answer).unwrap().trim_end_matches('\0').to_owned()
}

async fn tag(world: &World, key: &str, bytes: &[u8]) -> String {
    world.upload(BUCKET, key, bytes.to_vec()).await.unwrap();
    world.tag(BUCKET, key, None).unwrap()
}

/// Logical signatures may be as short as two bytes, body signatures as three.
#[tokio::test]
async fn objects_of_a_few_bytes_are_looked_at() {
    let objects: [&[u8]; 4] =
        [b"\xb0\x01", b"\xc0\x01\x02", b"\xd0\x01\x02\x03", b"\xe0\x01\x02\x03\x04"];
    let mut signatures = String::new();
    for (number, object) in objects.iter().enumerate() {
        let hex: String = object.iter().map(|byte| format!("{byte:02x}")).collect();
        signatures += &format!("Tiny.{number};Engine:81-255,Target:0;0;0:{hex}\n");
    }
    let (dir, generation) = definitions("tiny.ldb", &signatures);
    let world = world_of(generation, |_| {}).await;
    let clamd = StockClamd::start(dir.path()).await.unwrap();
    for (number, object) in objects.iter().enumerate() {
        let key = number.to_string();
        assert_eq!(tag(&world, &key, object).await, "infected", "{object:02x?}");
        let finding = world.sns.published().pop().unwrap();
        assert_eq!(finding.attributes["finding"], format!("Tiny.{number}"));
        let record = world.records().pop().unwrap();
        assert_eq!(
            (&record["bytes_scanned"], &record["size"]),
            (&object.len().into(), &object.len().into())
        );
        assert_eq!(stock(&clamd, object).await, "stream: OK", "or no padding is needed any more");
    }
    for object in [b"a".as_slice(), b"\xb0\x02", b"\xe0\x01\x02\x03", b""] {
        assert_eq!(tag(&world, "other", object).await, "clean", "{object:02x?}");
    }
    // A member of that size is seen where the container's own bytes show it, and only there.
    let [.., last] = objects;
    let (_dir, generation) = definitions("tiny.ndb", "Tiny.Anywhere:0:*:e001020304\n");
    let world = world_of(generation, |_| {}).await;
    assert_eq!(tag(&world, "stored", &samples::rar5(last)).await, "infected");
    let packed = samples::gzip(last).unwrap();
    assert_eq!(tag(&world, "packed", &packed).await, "clean", "docs/SEMANTICS.md says otherwise");
}

/// A copy of the layer's folder, of links, in which `library` takes the place of what opens RAR.
fn layer_with(library: Option<&[u8]>) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let real = clamd_dir();
    std::os::unix::fs::symlink(real.join("bin"), dir.path().join("bin")).unwrap();
    let lib = dir.path().join("lib");
    std::fs::create_dir(&lib).unwrap();
    for entry in std::fs::read_dir(real.join("lib")).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name();
        if !name.to_str().unwrap().starts_with("libclamunrar_iface") {
            std::os::unix::fs::symlink(entry.path(), lib.join(name)).unwrap();
        } else if let Some(bytes) = library {
            std::fs::write(lib.join(name), bytes).unwrap();
        }
    }
    dir
}

async fn rars_are(clamav_dir: &Path, expected: &str, case: &str) {
    let world = world_on(clamav_dir, generation(), |_| {}).await;
    let (rar4, rar5) =
        (samples::rar4(&samples::eicar()).unwrap(), samples::rar5(&samples::eicar()));
    let program = std::fs::read("/bin/true").unwrap();
    for (key, bytes, expected) in [
        ("4.rar", rar4.clone(), expected),
        ("5.rar", rar5.clone(), expected),
        ("deep.zip", samples::zip_nested(&rar5, 2).unwrap(), expected),
        ("self-extracting 4", [program.clone(), rar4].concat(), expected),
        // This ClamAV never opens.
        ("self-extracting 5", [program, rar5].concat(), "no"),
    ] {
        assert_eq!(tag(&world, key, &bytes).await, expected, "{case}, {key}");
        if expected == "no" {
            let finding = world.sns.published().pop().unwrap();
            assert_eq!(finding.attributes["reason"], "unsupported-container", "{case}, {key}");
        }
    }
    // Malware beside it, and what is no RAR, is told as ever.
    let rar = samples::rar5(b"text");
    let beside = samples::zip_of(&[("a.rar", &rar), ("b.txt", samples::MARKER)]).unwrap();
    assert_eq!(tag(&world, "beside", &beside).await, "infected", "{case}");
    assert_eq!(tag(&world, "eicar", &samples::eicar()).await, "infected", "{case}");
    assert_eq!(tag(&world, "text", b"This text says Rar!\x1a\x07\0 and no more.").await, "clean");
    assert_eq!(world.clamd_pids().len(), 1, "{case}");
}

#[tokio::test]
async fn without_its_library_rar_is_no_and_with_it_opened() {
    rars_are(&clamd_dir(), "infected", "the layer as it is").await;
    rars_are(layer_with(None).path(), "no", "no library").await;
    rars_are(layer_with(Some(b"")).path(), "no", "an empty library").await;
    rars_are(layer_with(Some(b"no library")).path(), "no", "a broken library").await;
}

/// The first collision of MD5 by Xiaoyun Wang and Hongbo Yu ("How to Break MD5 and Other Hash
/// Functions", Eurocrypt 2005), as published.
const COLLISION: &str = "\
    d131dd02c5e6eec4693d9a0698aff95c2fcab58712467eab4004583eb8fb7f89\
    55ad340609f4b30283e488832571415a085125e8f7cdc99fd91dbdf280373c5b\
    d8823e3156348f5bae6dacd436c919c6dd53e2b487da03fd02396306d248cda0\
    e99f33420f577ee8ce54b67080a80d1ec69821bcb6a8839396f9652b6ff72a70";

#[tokio::test]
async fn a_twin_by_md5_does_not_inherit_the_verdict() {
    let byte = |at: usize| u8::from_str_radix(&COLLISION[2 * at..2 * at + 2], 16).unwrap();
    let clean: Vec<_> = (0..128).map(byte).collect();
    let mut twin = clean.clone();
    for at in [19, 45, 59, 83, 109, 123] {
        twin[at] ^= 0x80;
    }
    assert_ne!(clean, twin);
    assert_eq!(Md5::checksum(&clean), Md5::checksum(&twin));
    let hex: String = twin.iter().map(|byte| format!("{byte:02x}")).collect();
    let (dir, generation) = definitions("twin.ndb", &format!("Twin:0:0:{hex}\n"));

    let clamd = StockClamd::start(dir.path()).await.unwrap();
    assert_eq!(stock(&clamd, &clean).await, "stream: OK");
    assert_eq!(stock(&clamd, &twin).await, "stream: OK", "stock clamd is deceived no longer");
    let fresh = StockClamd::start(dir.path()).await.unwrap();
    assert_eq!(stock(&fresh, &twin).await, "stream: Twin.UNOFFICIAL FOUND");

    let world = world_of(generation, |_| {}).await;
    assert_eq!(tag(&world, "clean", &clean).await, "clean");
    assert_eq!(tag(&world, "twin", &twin).await, "infected");
}
