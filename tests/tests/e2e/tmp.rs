//! `/tmp` full, nearly full, without inodes, read-only, unwritable: clamd would say `OK` to what it
//! cannot write there. Nothing becomes clean by it, and when the room is back the next delivery
//! finds what is to be found.

use scanner_tests::fake_s3::Operation;
use scanner_tests::function::{BUCKET, Function};
use scanner_tests::samples;
use scanner_tests::sandbox::{Invocation, SandboxOptions};
use scanner_tests::tmp_faults::{TmpFault, break_tmp, mend_tmp};
use serde_json::{Value, json};

use crate::support::{DEADLINE, clamd, records, stream_begun};

/// Room for definitions and scans; tmpfs takes memory for what is in it only.
const TMP: u64 = 1 << 30;

/// A length that is no number of blocks.
const LENGTH: usize = 300_000;

/// What is wrong, and the code of the error by which a record says so.
const FAULTS: [(TmpFault, &str); 4] = [
    (TmpFault::Bytes(0), "tmp-full"),
    // An object of LENGTH fills it to within 1 KiB.
    (TmpFault::Bytes(LENGTH as u64 + 1024), "tmp-full"),
    (TmpFault::NoInodes, "tmp-full"),
    (TmpFault::ReadOnly, "tmp-unwritable"),
];

async fn function() -> Function {
    let deployed = SandboxOptions::deployed().unwrap();
    Function::start(SandboxOptions { tmp_bytes: TMP, ..deployed }).await.unwrap()
}

fn put_infected(function: &Function) -> [&'static str; 3] {
    let eicar = samples::eicar();
    function.put("eicar", eicar.clone());
    function.put("eicar.zip", samples::zip_nested(&eicar, 1).unwrap());
    let long = [vec![b'x'; LENGTH - samples::MARKER.len()], samples::MARKER.to_vec()].concat();
    function.put("marker", long);
    ["eicar", "eicar.zip", "marker"]
}

/// Delivers the event of one object as the queue does, and gives its record and whether it has to
/// be delivered again.
async fn deliver(function: &Function, key: &str) -> (Value, bool) {
    let before = records(function.sandbox(), key).len();
    let body = json!({"objects": [{"bucket": BUCKET, "key": key}]}).to_string();
    let message =
        json!({"messageId": "m", "receiptHandle": "r", "body": body, "eventSource": "aws:sqs"});
    let answer = function.sandbox().invoke(&json!({"Records": [message]})).await.unwrap();
    let Invocation::Response(answer) = answer else { panic!("{answer:?}") };
    let logs = function.sandbox().logs();
    logs.wait_for(|_| records(function.sandbox(), key).len() > before, DEADLINE).await.unwrap();
    let record = records(function.sandbox(), key).swap_remove(before);
    (record, answer["batchItemFailures"] == json!([{"itemIdentifier": "m"}]))
}

async fn fails(function: &Function, key: &str, code: &str, case: &str) {
    let (record, again) = deliver(function, key).await;
    let got = (&record["outcome"], &record["error"], &record["retry"], again);
    let expected = (&json!("failed"), &json!(code), &json!(true), true);
    assert_eq!(got, expected, "{case}, {key}: {record}");
    assert_eq!(function.tag(key), None, "{case}, {key}");
}

async fn is_infected(function: &Function, key: &str, case: &str) -> Value {
    let (record, again) = deliver(function, key).await;
    assert_eq!((&record["outcome"], again), (&json!("infected"), false), "{case}, {key}: {record}");
    assert_eq!(function.tag(key).as_deref(), Some("infected"), "{case}, {key}");
    record
}

#[tokio::test(flavor = "multi_thread")]
async fn without_room_between_two_objects_nothing_is_clean_and_with_room_again_all_is_found() {
    for (fault, code) in FAULTS {
        let function = function().await;
        let case = format!("{fault:?}");
        let keys = put_infected(&function);
        function.put("before", samples::text());
        assert_eq!(deliver(&function, "before").await.0["outcome"], "clean");
        function.world().finding_for("before", DEADLINE).await.unwrap();

        let pid = function.sandbox().init_pid().unwrap();
        break_tmp(pid, fault).unwrap();
        for key in keys {
            fails(&function, key, code, &case).await;
        }
        function.put("text", samples::text());
        fails(&function, "text", code, &case).await;
        assert_eq!(function.world().findings().all().len(), 1, "a failure is not published");
        mend_tmp(pid, TMP).unwrap();
        for key in keys {
            is_infected(&function, key, &case).await;
        }
        assert_eq!(function.sandbox().cold_starts(), 1, "{case}: the function lives on");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_room_at_the_start_nothing_is_clean_and_with_room_again_all_is_found() {
    for (fault, code) in FAULTS {
        let mut function = function().await;
        let case = format!("{fault:?}");
        function.restart(|_| {}).await.unwrap();
        let keys = put_infected(&function);
        let pid = function.sandbox().init_pid().unwrap();
        assert_eq!(function.sandbox().bootstrap_pid(), None, "it has not started yet");
        break_tmp(pid, fault).unwrap();
        for key in keys {
            fails(&function, key, code, &case).await;
        }
        mend_tmp(pid, TMP).unwrap();
        for key in keys {
            is_infected(&function, key, &case).await;
        }
        assert_eq!(function.sandbox().cold_starts(), 1, "{case}: the function lives on");
    }
}

/// clamd's folder is made anew, so that the same delivery finds it.
#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_clamd_may_not_write_to_is_made_anew() {
    let function = function().await;
    let keys = put_infected(&function);
    function.put("before", samples::text());
    deliver(&function, "before").await;
    for key in keys {
        let first = clamd(function.sandbox()).unwrap();
        break_tmp(function.sandbox().init_pid().unwrap(), TmpFault::Unwritable).unwrap();
        is_infected(&function, key, "unwritable").await;
        assert_ne!(clamd(function.sandbox()).unwrap(), first, "{key}");
    }
}

/// Delivers an object, of which clamd has got `part` bytes when `meanwhile` runs; gives its record.
async fn during(
    function: &Function,
    key: &str,
    part: u64,
    meanwhile: impl AsyncFn() + Send + Sync + 'static,
) -> (Value, bool) {
    let clamd = clamd(function.sandbox()).unwrap();
    function.s3().on(Operation::GetObject, key).break_body_after(part);
    function.s3().on(Operation::GetObject, key).nth(2).before(move |_| {
        let run = || {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            runtime.enable_all().build().unwrap().block_on(async {
                stream_begun(clamd).await.unwrap();
                meanwhile().await;
            });
        };
        // On a thread of its own: this one is the server's, and stands still meanwhile.
        std::thread::scope(|scope| scope.spawn(run).join().unwrap());
    });
    deliver(function, key).await
}

/// By then clamd has its file; it would say `OK` because it cannot make a folder to scan in.
#[tokio::test(flavor = "multi_thread")]
async fn room_that_vanishes_during_a_scan_makes_nothing_clean() {
    let function = function().await;
    function.put("warm-up", samples::text());
    deliver(&function, "warm-up").await;
    let pid = function.sandbox().init_pid().unwrap();
    put_infected(&function);
    let vanish = async move || break_tmp(pid, TmpFault::NoInodes).unwrap();
    let (record, again) = during(&function, "eicar", 30, vanish).await;
    let got = (&record["outcome"], &record["error"], again);
    assert_eq!(got, (&json!("failed"), &json!("tmp-full"), true), "{record}");
    assert_eq!(function.tag("eicar"), None);
    mend_tmp(pid, TMP).unwrap();
    is_infected(&function, "eicar", "room again").await;

    function.put("locked", samples::eicar());
    let lock = async move || break_tmp(pid, TmpFault::Unwritable).unwrap();
    let (record, again) = during(&function, "locked", 30, lock).await;
    let got = (&record["outcome"], &record["error"], again);
    assert_eq!(got, (&json!("failed"), &json!("tmp-unwritable"), true), "{record}");
    assert_eq!(function.tag("locked"), None);
    mend_tmp(pid, TMP).unwrap();
    is_infected(&function, "locked", "writable again").await;
}

/// clamd's own files go when it answers, and with them what filled `/tmp`.
#[tokio::test(flavor = "multi_thread")]
async fn room_that_was_gone_for_a_while_makes_a_second_look_necessary() {
    let function = function().await;
    function.put("warm-up", samples::text());
    deliver(&function, "warm-up").await;
    let pid = function.sandbox().init_pid().unwrap();
    function.put("text", samples::text());
    let logs = function.sandbox().logs().clone();
    let come_and_go = async move || {
        break_tmp(pid, TmpFault::Bytes(8192)).unwrap();
        let noticed = |line: &str| line.contains("no room while clamd looks");
        logs.wait_for(noticed, DEADLINE).await.unwrap();
        mend_tmp(pid, TMP).unwrap();
    };
    let (record, again) = during(&function, "text", 100, come_and_go).await;
    let got = (&record["outcome"], &record["scans"], again);
    assert_eq!(got, (&json!("clean"), &json!(2), false), "{record}");
}
