//! Archives that clamd does not take as a whole: judged by their members.

use std::io::{self, BufReader};
use std::process::{Command, Stdio};

use anyhow::Context as _;
use scanner_tests::fake_s3::{Body, Operation};
use scanner_tests::function::Function;
use scanner_tests::written::Written;
use scanner_tests::{artefacts, samples};
use serde_json::Value;

use crate::support::{
    GIB, MEMORY, MIB, ONE_AT_A_TIME, fewest_free, function, peak_memory, verdict,
};

/// A member: zeros, and what is behind them.
type Member<'a> = (u64, &'a [u8]);

/// It leaves 111 MiB for one object.
const SMALL_TMP: u64 = 512 * MIB;

const MEDIUM: u64 = 60 * MIB;

/// Writes an archive into a pipe, member by member, as programs do that cannot go back; not
/// compressed, so that it is as large as what it holds. (The zip crate's records of offsets from
/// 4 GiB on are not those of the format.)
const WRITER: &str = r#"
import gzip, sys, tarfile, zipfile

class Member:
    """So many zeros, and what is behind them."""
    def __init__(self, argument):
        zeros, tail = argument.split(":")
        self.tail = bytes.fromhex(tail)
        self.zeros = int(zeros)
        self.size = self.zeros + len(self.tail)
    def read(self, size):
        part = bytes(min(size, self.zeros))
        self.zeros -= len(part)
        more = size - len(part)
        part, self.tail = part + self.tail[:more], self.tail[more:]
        return part

output, (form, *members) = sys.stdout.buffer, sys.argv[1:]
members = list(map(Member, members))
if form == "zip":
    with zipfile.ZipFile(output, "w") as archive:
        for index, member in enumerate(members):
            with archive.open(f"member {index}", "w") as writer:
                while part := member.read(1 << 20):
                    writer.write(part)
else:
    if form == "tar.gz":
        output = gzip.GzipFile(mode="wb", compresslevel=0, fileobj=output)
    with tarfile.open(mode="w|", fileobj=output) as archive:
        for index, member in enumerate(members):
            header = tarfile.TarInfo(f"member {index}")
            header.size = member.size
            archive.addfile(header, member)
    output.close()
"#;

/// An archive of these members: `zip`, `tar` or `tar.gz`.
fn archive(form: &str, members: &[Member<'_>]) -> anyhow::Result<Body> {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let mut child = Command::new(artefacts::workspace().join("target/tools/bin/python"))
        .args(["-I", "-c", WRITER, form])
        .args(members.iter().map(|(zeros, bytes)| format!("{zeros}:{}", hex(bytes))))
        .stdout(Stdio::piped())
        .spawn()
        .context("starting Python")?;
    let mut written = Written::default();
    let output = child.stdout.take().context("its output")?;
    io::copy(&mut BufReader::with_capacity(1 << 20, output), &mut written).context("its output")?;
    let status = child.wait().context("waiting for Python")?;
    anyhow::ensure!(status.success(), "Python ended with {status}");
    Ok(written.body())
}

/// What becomes of an object.
async fn judged(function: &Function, key: &str, body: Body) -> Value {
    function.put(key, body);
    verdict(function, key).await.0
}

fn is(record: &Value, outcome: &str, reason: Option<&str>) {
    assert_eq!(
        (record["outcome"].as_str(), record["reason"].as_str()),
        (Some(outcome), reason),
        "{record}"
    );
}

/// Members of 1 GiB, and a small one.
fn gibs(count: usize, last: &[u8]) -> Vec<Member<'_>> {
    let mut members: Vec<Member<'_>> = vec![(GIB, b"x"); count];
    members.push((0, last));
    members
}

/// Malware, nothing and an encrypted zip as the last of so many members; two of these archives at the
/// same time, as a function of 3008 MB does.
async fn are_judged(form: &str, count: usize) -> anyhow::Result<()> {
    let secret = samples::zip_encrypted(&samples::text(), "secret")?;
    let cases = [
        ("marked", samples::MARKER, "infected", None),
        ("plain", b"text", "clean", None),
        ("encrypted", &*secret, "no", Some("encrypted")),
    ];
    let function = function(9 * GIB).await;
    function.put("first.txt", samples::text());
    function.scan(&["first.txt"]).await?;
    for (key, last, ..) in &cases {
        let body = archive(form, &gibs(count, last))?;
        assert!(body.size() > count as u64 * GIB);
        function.put(key, body);
    }
    let keys: Vec<_> = cases.iter().map(|(key, ..)| *key).collect();
    let (records, free) = fewest_free(&function, function.scan(&keys)).await;
    for (record, (key, last, outcome, reason)) in records?.iter().zip(&cases) {
        is(record, outcome, *reason);
        // What the base shard cannot vouch for, the other one is shown as well.
        let again = usize::from(reason.is_some());
        assert_eq!(record["members"], count + 1 + again, "{record}");
        let last = (1 + again) * last.len();
        assert_eq!(record["bytes_scanned"], count as u64 * (GIB + 1) + last as u64);
        assert_eq!(function.tag(key).as_deref(), Some(*outcome));
    }
    assert!(free > 64 * MIB, "only {free} bytes of /tmp were free");
    let peak = peak_memory(&function);
    assert!(peak < MEMORY, "the function took {peak} bytes of memory");
    Ok(())
}

/// Above 4 GiB offsets are those of zip64.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_zip64_of_five_gib_is_judged_by_each_of_its_members() {
    let _turn = ONE_AT_A_TIME.lock().await;
    are_judged("zip", 5).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tar_above_two_gib_is_judged_by_each_of_its_members() {
    let _turn = ONE_AT_A_TIME.lock().await;
    are_judged("tar.gz", 2).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_archive_or_one_that_lies_is_not_looked_at_for_long() {
    let _turn = ONE_AT_A_TIME.lock().await;
    let function = function(9 * GIB).await;
    let lies = |body: Body| {
        let Body::Parts(parts) = body else { panic!("{body:?}") };
        let mut parts: Vec<Body> = parts.iter().map(|(_, part)| part.clone()).collect();
        let Some(Body::Bytes(end)) = parts.pop() else { panic!("{parts:?}") };
        let mut end = end.to_vec();
        // The offset of the last member, in the zip64 field of the directory's last record: 16 MiB off.
        let last = end.windows(4).rposition(|bytes| bytes == b"PK\x01\x02").unwrap();
        end[last + 61] ^= 1;
        parts.push(end.into());
        Body::parts(parts)
    };
    let zip = archive("zip", &gibs(5, b"x")).unwrap();
    for (key, body, reason) in [
        (
            "plain",
            Body::Repeat { byte: 0, len: 5 * GIB, tail: samples::MARKER.into() },
            "too-large",
        ),
        ("lying.zip", lies(zip), "damaged"),
    ] {
        let record = judged(&function, key, body).await;
        is(&record, "no", Some(reason));
        assert_eq!(record["bytes_scanned"], 0, "{record}");
        // The object, and the end of the zip with its directory.
        assert!(function.s3().count(Operation::GetObject, key) <= 2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_are_judged_as_objects_are() {
    let _turn = ONE_AT_A_TIME.lock().await;
    let function = function(SMALL_TMP).await;
    let program = samples::program(samples::PE_MARKER);
    let harmless = samples::program(b"harmless");
    let secret = samples::zip_encrypted(&samples::text(), "secret").unwrap();
    let inner = samples::zip_nested(samples::MARKER, 4).unwrap();
    let lying = samples::zip_lying(&[("hidden", samples::MARKER)]).unwrap();
    let (no, infected) = (("no", Some("encrypted")), ("infected", None));
    let cases = [
        (
            "a program's malware",
            vec![(MEDIUM, &b""[..]), (0, &program), (MEDIUM, b"")],
            infected,
            4,
        ),
        ("a program", vec![(MEDIUM, b""), (0, &harmless), (MEDIUM, b"")], ("clean", None), 4),
        ("encrypted", vec![(MEDIUM, b""), (0, &secret), (MEDIUM, b"")], no, 4),
        (
            "worse than encrypted",
            vec![(0, &secret), (MEDIUM, b""), (MEDIUM, samples::MARKER)],
            infected,
            3,
        ),
        (
            "a member that can be read in two ways",
            vec![(MEDIUM, b""), (0, &lying), (MEDIUM, b"")],
            ("no", Some("damaged")),
            4,
        ),
        ("deep", vec![(0, &inner), (MEDIUM, b""), (MEDIUM, b"")], infected, 1),
        ("a large member", vec![(2 * MEDIUM, b""), (0, b"text")], ("no", Some("limit-size")), 1),
        (
            "malware behind a large member",
            vec![(2 * MEDIUM, b""), (0, samples::MARKER)],
            infected,
            1,
        ),
    ];
    for (case, form) in cases.into_iter().zip(["zip", "tar", "tar.gz"].into_iter().cycle()) {
        let (key, members, (outcome, reason), shown) = case;
        let body = archive(form, &members).unwrap();
        let record = judged(&function, &format!("{key}.{form}"), body).await;
        is(&record, outcome, reason);
        assert_eq!(record["members"], shown, "{record}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_archive_survives_a_broken_connection_and_is_not_judged_by_half() {
    let _turn = ONE_AT_A_TIME.lock().await;
    let function = function(SMALL_TMP).await;
    let members = [(MEDIUM, &b""[..]), (MEDIUM, samples::MARKER)];
    let broken = |key| function.s3().on(Operation::GetObject, key);
    for (key, body) in [
        ("a.zip", archive("zip", &members).unwrap()),
        ("a.tar.gz", archive("tar.gz", &members).unwrap()),
    ] {
        function.put(key, body);
        broken(key).break_body_after(100);
        let record = verdict(&function, key).await.0;
        is(&record, "infected", None);
        assert_eq!(record["resumes"], 1, "{record}");
    }
    // The end of a zip, a mebibyte, is read by itself, and again when less comes than was asked for.
    function.put("short.zip", archive("zip", &members).unwrap());
    broken("short.zip").nth(2).end_body_after_without_length(MIB - 1);
    is(&verdict(&function, "short.zip").await.0, "infected", None);
    // What is cut off is damaged; what S3 cannot deliver is an error, and no verdict.
    let Body::Parts(parts) = archive("tar", &members).unwrap() else { panic!() };
    let cut = Body::parts(vec![
        parts[0].1.clone(),
        parts[1].1.clone(),
        parts[2].1.clone(),
        parts[1].1.clone(),
    ]);
    is(&judged(&function, "cut.tar", cut).await, "no", Some("damaged"));
    function.put("gone.zip", archive("zip", &members).unwrap());
    broken("gone.zip").nth(2).times(100).break_body_after(10);
    is_not_read(&function, "gone.zip").await;
    function.put("gone.tar", archive("tar", &members).unwrap());
    broken("gone.tar").break_body_after(100_000);
    broken("gone.tar").nth(2).times(100).break_body_after(0);
    is_not_read(&function, "gone.tar").await;
}

/// Of a directory of more than a mebibyte, the beginning is read in parts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_directory_is_read_in_parts() {
    let _turn = ONE_AT_A_TIME.lock().await;
    let function = function(SMALL_TMP).await;
    let mut members = vec![(0, &b""[..]); 20_000];
    members.extend([(MEDIUM, &b""[..]), (MEDIUM, samples::MARKER)]);
    let zip = archive("zip", &members).unwrap();
    let record = judged(&function, "long.zip", zip.clone()).await;
    is(&record, "infected", None);
    // Empty members are not shown.
    assert_eq!(record["members"], 2, "{record}");
    assert!(function.s3().count(Operation::GetObject, "long.zip") > 2);
    function.put("gone.zip", zip);
    function.s3().on(Operation::GetObject, "gone.zip").nth(3).times(100).break_body_after(10);
    is_not_read(&function, "gone.zip").await;
}

/// S3 fails, and there is no verdict: none on the object, and none for subscribers.
async fn is_not_read(function: &Function, key: &str) {
    assert!(function.invoke(&[key]).await.is_err());
    let record = function.record(key).await.expect("there is a record");
    assert_eq!(
        (&record["outcome"], &record["error"], &record["published"]),
        (&"failed".into(), &"read".into(), &false.into()),
        "{record}"
    );
    assert_eq!(function.tag(key), None);
    // Findings come in their order: behind that of a later object there is none of this one.
    let later = judged(function, &format!("behind {key}"), samples::text().into()).await;
    is(&later, "clean", None);
    assert!(function.world().findings().all().iter().all(|finding| finding.key() != Some(key)));
}
