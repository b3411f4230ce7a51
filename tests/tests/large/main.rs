//! Objects of gigabytes, and a `/tmp` that is too small for them, through the packaged function.

mod archives;
mod support;

use scanner_tests::fake_s3::Operation;
use scanner_tests::function::BUCKET;
use scanner_tests::{definitions, samples};

use support::{
    GIB, MEMORY, MIB, ONE_AT_A_TIME, ending_with, fewest_free, function, peak_memory, used, verdict,
};

/// 1.9 GiB, and no round number.
const LARGE: u64 = 2_040_109_466;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malware_in_the_last_bytes_of_gigabytes_is_found_in_64_mib_of_memory() {
    let _turn = ONE_AT_A_TIME.lock().await;
    let function = function(9 * GIB).await;
    function.put("marked.bin", ending_with(samples::MARKER, LARGE));
    let (record, finding) = verdict(&function, "marked.bin").await;
    assert_eq!(record["outcome"], "infected", "{record}");
    assert_eq!(record["size"], LARGE);
    assert_eq!(record["bytes_scanned"], LARGE);
    let signature = finding.attribute("finding").expect("infected findings name a signature");
    assert!(signature.starts_with(definitions::MARKER_NAME), "{signature}");
    let peak = peak_memory(&function);
    assert!(peak < MEMORY, "the function took {peak} bytes of memory");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gigabytes_without_malware_are_clean_when_every_byte_was_looked_at() {
    let _turn = ONE_AT_A_TIME.lock().await;
    let function = function(9 * GIB).await;
    function.put("plain.bin", ending_with(b"", LARGE));
    let (record, _) = verdict(&function, "plain.bin").await;
    assert_eq!(record["outcome"], "clean", "{record}");
    assert_eq!(record["bytes_scanned"], LARGE);
    let peak = peak_memory(&function);
    assert!(peak < MEMORY, "the function took {peak} bytes of memory");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn larger_than_the_engine_reads_is_too_large_and_touches_nothing() {
    let _turn = ONE_AT_A_TIME.lock().await;
    let function = function(9 * GIB).await;
    function.put("first.txt", samples::text());
    function.scan(&["first.txt"]).await.unwrap();
    let before = used(&function);

    function.put("huge.bin", ending_with(samples::MARKER, 3 * GIB));
    let ((record, finding), free) = fewest_free(&function, verdict(&function, "huge.bin")).await;
    assert_eq!(record["outcome"], "no", "{record}");
    assert_eq!(finding.attribute("reason"), Some("too-large"));
    assert_eq!((&record["bytes_scanned"], &record["scans"]), (&0.into(), &0.into()));
    assert_eq!(used(&function), before, "something is left in /tmp");
    assert!(9 * GIB - free < before + MIB, "/tmp was used");
    assert_eq!(function.s3().count(Operation::GetObject, "huge.bin"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_small_tmp_cannot_hold_is_too_large_and_never_clean() {
    let _turn = ONE_AT_A_TIME.lock().await;
    let function = function(512 * MIB).await;
    function.put("first.txt", samples::text());
    function.scan(&["first.txt"]).await.unwrap();

    function.put("big.bin", ending_with(samples::MARKER, 300 * MIB));
    let ((record, finding), free) = fewest_free(&function, verdict(&function, "big.bin")).await;
    assert_eq!(record["outcome"], "no", "{record}");
    assert_eq!(finding.attribute("reason"), Some("too-large"));
    assert_eq!(record["bytes_scanned"], 0);
    assert!(free > 64 * MIB, "only {free} bytes of /tmp were free");
}

/// Two scans at a time is what a function of 3008 MB has; each may use its share of `/tmp`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_largest_objects_side_by_side_leave_the_reserve_of_tmp() {
    let _turn = ONE_AT_A_TIME.lock().await;
    let function = function(512 * MIB).await;
    function.put("first.txt", samples::text());
    function.scan(&["first.txt"]).await.unwrap();

    let size = 111 * MIB;
    let keys = ["a.bin", "b.bin", "c.bin", "d.bin"];
    for key in keys {
        function.put(key, ending_with(samples::MARKER, size));
    }
    let (records, free) = fewest_free(&function, function.scan(&keys)).await;
    for record in records.unwrap() {
        assert_eq!(record["outcome"], "infected", "{record}");
        assert_eq!(record["bytes_scanned"], size);
    }
    assert!(free > 64 * MIB, "only {free} bytes of /tmp were free");
    for key in keys {
        assert_eq!(function.s3().count(Operation::GetObject, key), 1, "{key}");
    }
    assert_eq!(function.s3().tags(BUCKET, "a.bin", None).map(|tags| tags.len()), Some(1));
}

/// A page of `size` bytes that shows the marker to who resolves its entities, in a gzip.
fn packed_page(size: u64) -> Vec<u8> {
    let entities: String = samples::MARKER.iter().map(|byte| format!("&#{byte};")).collect();
    let line = "<p>Words of an ordinary page, and more of them.</p>";
    let lines = size / (line.len() as u64 + 1);
    let commands = format!(
        "(printf '<html><body>'; yes '{line}' | \
         head -n {lines}; printf '{entities}</body></html>') | gzip -1"
    );
    let output = std::process::Command::new("sh").args(["-c", &commands]).output();
    output.expect("a shell runs").stdout
}

/// ClamAV writes a page two more times while it reads it, without and with its tags, and counts
/// neither. So a page within the limits can fill `/tmp`; what is then read of it is not all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_fills_tmp_while_it_is_read_is_not_clean() {
    let _turn = ONE_AT_A_TIME.lock().await;
    let function = function(512 * MIB).await;
    function.put("small.html.gz", packed_page(MIB));
    assert_eq!(verdict(&function, "small.html.gz").await.0["outcome"], "infected");

    function.put("page.html.gz", packed_page(200 * MIB));
    let (failed, free) = fewest_free(&function, function.invoke(&["page.html.gz"])).await;
    assert!(failed.is_err());
    assert!(free < 32 * MIB, "{free} bytes of /tmp were free: the page is too small");
    let record = function.record("page.html.gz").await.expect("it was looked at");
    let got = (&record["outcome"], &record["error"], &record["scans"]);
    assert_eq!(got, (&"failed".into(), &"tmp-full".into(), &2.into()), "{record}");
    assert_eq!(function.tag("page.html.gz"), None);

    function.put("next.html.gz", packed_page(MIB));
    assert_eq!(verdict(&function, "next.html.gz").await.0["outcome"], "infected");
}
