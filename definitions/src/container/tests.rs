use std::path::PathBuf;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;

fn header_text(version: &str, level: &str, seconds: &str) -> Vec<u8> {
    let text = format!("ClamAV-VDB:20 Sep 2026 06-26 +0000:{version}:2:{level}:X:X:x:{seconds}");
    format!("{text:<512}").into_bytes()
}

fn some() -> Header {
    Header { version: 28129, built: "2026-09-20T06:26:26Z".parse().unwrap(), level: 90 }
}

/// Writes a container with these members; its path, and the folder that it lies in.
fn container(members: &[(&str, &[&str])]) -> (PathBuf, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(dir.path(), "daily", b"licence\n").unwrap();
    for (name, lines) in members {
        writer.begin(name).unwrap();
        for line in *lines {
            writer.line(line.as_bytes()).unwrap();
        }
        writer.end().unwrap();
    }
    (writer.finish(&some()).unwrap().expect("it has members"), dir)
}

fn members(path: &Path) -> Vec<(String, String)> {
    let mut members = Vec::new();
    let header = read(path, |name, member| {
        let mut text = String::new();
        member.read_to_string(&mut text).unwrap();
        members.push((name.to_owned(), text));
        Ok(())
    });
    assert_eq!(header.unwrap(), some());
    members
}

const MEMBERS: [(&str, &[&str]); 3] =
    [("daily.hdb", &["a\n", "b\n"]), ("daily.ldb", &[]), ("daily.ndb", &["# c\n", "d"])];

#[test]
fn what_is_written_is_what_is_read_and_empty_members_are_left_out() {
    let (path, _dir) = container(&MEMBERS);
    let expected = [("daily.hdb", "a\nb\n"), ("daily.ndb", "# c\nd")];
    let expected = expected.map(|(name, text)| (name.to_owned(), text.to_owned()));
    assert_eq!(members(&path), expected);
    assert_eq!(copying(&path).unwrap(), b"licence\n");
    assert_eq!(header(&path).unwrap(), some());

    let start = std::fs::read(&path).unwrap();
    let text = std::str::from_utf8(&start[..512]).unwrap().trim_end();
    let expected = "ClamAV-VDB:20 Sep 2026 06-26 +0000:28129:3:90:X:X:s3-virusscan:1789885586";
    assert_eq!(text, expected, "three signatures: comments are none");
    assert!(start[512..].starts_with(b"COPYING\0"), "an uncompressed one begins with its licence");
}

#[test]
fn the_same_definitions_are_the_same_bytes() {
    let (a, _dir_a) = container(&MEMBERS);
    let (b, _dir_b) = container(&MEMBERS);
    assert_eq!(std::fs::read(a).unwrap(), std::fs::read(b).unwrap());
}

#[test]
fn one_without_members_is_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let writer = Writer::create(dir.path(), "daily", b"licence\n").unwrap();
    assert_eq!(writer.finish(&some()).unwrap(), None);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_packed_one_is_read_as_a_plain_one_is() {
    let (path, _dir) = container(&MEMBERS);
    let plain = std::fs::read(&path).unwrap();
    let mut packed = GzEncoder::new(plain[..512].to_vec(), Compression::fast());
    std::io::Write::write_all(&mut packed, &plain[512..]).unwrap();
    let before = members(&path);
    std::fs::write(&path, packed.finish().unwrap()).unwrap();
    assert_eq!(members(&path), before);
}

#[test]
fn damage_is_noticed_wherever_it_is() {
    let (path, _dir) = container(&MEMBERS);
    let good = std::fs::read(&path).unwrap();
    let at = |text: &[u8]| good.windows(text.len()).position(|w| w == text).unwrap();
    let info = at(b"daily.info");
    for (what, bytes, problem) in [
        (
            "a changed signature",
            {
                let mut b = good.clone();
                b[at(b"a\nb\n")] = b'x';
                b
            },
            "is not what .info says",
        ),
        ("a missing end", good[..info].to_vec(), ".info"),
        ("half a member", good[..at(b"a\nb\n") + 1].to_vec(), "unexpected"),
        ("nothing", vec![], "shorter"),
        ("a header alone", good[..512].to_vec(), "fill whole buffer"),
        (
            "no licence",
            {
                let mut b = good.clone();
                b[512] = b'X';
                b
            },
            "gzip",
        ),
    ] {
        std::fs::write(&path, bytes).unwrap();
        let error = verify(&path).expect_err(what).to_string();
        assert!(error.contains(problem), "{what}: {error}");
    }
}

#[test]
fn damaged_headers_are_errors() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("daily.cvd");
    for (content, problem) in [
        (&b"ClamAV-VDB:"[..], "shorter than a header"),
        (&[0xff; 512], "not text"),
        (&[b' '; 512], "too few fields"),
        (&header_text("x", "90", "1"), "version is not a number"),
        (&header_text("1", "x", "1"), "level is not a number"),
        (&header_text("1", "90", "x"), "build time is not"),
        (&header_text("1", "90", "99999999999999999"), "build time is not"),
        (&[b':'; 512], "does not begin with"),
    ] {
        std::fs::write(&path, content).unwrap();
        let error = header(&path).unwrap_err().to_string();
        assert!(error.contains(problem), "{error}");
    }
    assert!(matches!(header(&dir.path().join("none")), Err(ContainerError::Io { .. })));
}
