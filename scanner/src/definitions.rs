//! Which signature database there is. Version and build date come from the header of ClamAV's
//! database containers.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use notifier_common::Definitions;

/// A container begins with a header of this many bytes: fields separated by colons, padded with
/// spaces (ClamAV manual, "Anatomy of a CVD").
const HEADER: usize = 512;

/// Why there are no definitions. Without them nothing is scanned and nothing is called clean.
#[derive(Debug, thiserror::Error)]
pub enum DefinitionsError {
    /// The folder or a file in it cannot be read.
    #[error("cannot read the definitions at {}", path.display())]
    Io {
        /// What could not be read.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Nothing in the folder tells a version.
    #[error(
        "no definitions: {} holds no ClamAV database container (.cvd, .cld or .cud); \
         put main.cvd and daily.cvd there or point DEFINITIONS_DIR at them",
        path.display()
    )]
    None {
        /// The folder.
        path: PathBuf,
    },
    /// A container without a proper header.
    #[error("the definitions file {} is damaged: {problem}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with its header.
        problem: &'static str,
    },
}

/// Reads the headers of all containers in `dir` and tells the newest of them, which is `daily`
/// in an ordinary database.
///
/// # Errors
/// When the folder cannot be read, holds no container, or holds a damaged one.
pub fn newest(dir: &Path) -> Result<Definitions, DefinitionsError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| DefinitionsError::Io { path, source }
    };
    let mut newest: Option<(Timestamp, u32)> = None;
    for entry in std::fs::read_dir(dir).map_err(io(dir))? {
        let path = entry.map_err(io(dir))?.path();
        if !is_container(&path) {
            continue;
        }
        let mut header = Vec::with_capacity(HEADER);
        File::open(&path)
            .and_then(|file| file.take(HEADER as u64).read_to_end(&mut header))
            .map_err(io(&path))?;
        let built = parse_header(&header)
            .map_err(|problem| DefinitionsError::Damaged { path: path.clone(), problem })?;
        newest = newest.max(Some(built));
    }
    match newest {
        Some((built, version)) => Ok(Definitions { version, built: built.to_string() }),
        None => Err(DefinitionsError::None { path: dir.to_owned() }),
    }
}

fn is_container(path: &Path) -> bool {
    path.extension().is_some_and(|extension| ["cvd", "cld", "cud"].iter().any(|c| extension == *c))
}

/// Build time and version. Fields: magic, build time as text, version, number of signatures,
/// functionality level, MD5, signature, builder, build time in seconds since 1970.
fn parse_header(header: &[u8]) -> Result<(Timestamp, u32), &'static str> {
    if header.len() < HEADER {
        return Err("it is shorter than a header");
    }
    let text = std::str::from_utf8(header).map_err(|_| "its header is not text")?;
    let fields: Vec<_> = text.trim_end_matches([' ', '\0', '\n']).split(':').collect();
    let [magic, _, version, .., built] = fields[..] else {
        return Err("its header has too few fields");
    };
    if magic != "ClamAV-VDB" || fields.len() < 9 {
        return Err("it does not begin with a ClamAV-VDB header");
    }
    let version = version.parse().map_err(|_| "its version is not a number")?;
    let built = built.trim().parse().ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    Ok((built.ok_or("its build time is not a number of seconds")?, version))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(version: &str, seconds: &str) -> Vec<u8> {
        let text =
            format!("ClamAV-VDB:20 Sep 2026 06-26 +0000:{version}:2:90:md5:dsig:tester:{seconds}");
        format!("{text:<512}").into_bytes()
    }

    fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, content) in files {
            std::fs::write(dir.path().join(name), content).unwrap();
        }
        dir
    }

    #[test]
    fn the_newest_container_tells_version_and_date() {
        let dir = folder(&[
            ("main.cvd", &header("63", "1765843200")),
            ("daily.cld", &header("28129", "1789885586")),
            ("bytecode.cvd", &header("339", "1700000000")),
            ("extra.ndb", b"X:0:*:00"),
        ]);
        let definitions = newest(dir.path()).unwrap();
        assert_eq!(definitions.version, 28129);
        assert_eq!(definitions.built, "2026-09-20T06:26:26Z");
    }

    #[test]
    fn no_folder_and_no_container_are_errors_that_say_what_to_do() {
        assert!(matches!(newest(Path::new("/nonexistent")), Err(DefinitionsError::Io { .. })));
        let error = newest(folder(&[("extra.ndb", b"X:0:*:00")]).path()).unwrap_err();
        assert!(matches!(error, DefinitionsError::None { .. }));
        assert!(error.to_string().contains("put main.cvd and daily.cvd there"), "{error}");
    }

    #[test]
    fn damaged_headers_are_errors() {
        let not_text = [0xff; 512];
        for (content, problem) in [
            (&b"ClamAV-VDB:"[..], "shorter than a header"),
            (&not_text, "not text"),
            (&[b' '; 512], "too few fields"),
            (&header("x", "1"), "version is not a number"),
            (&header("1", "x"), "build time is not"),
            (&header("1", "99999999999999999"), "build time is not"),
            (&[b':'; 512], "does not begin with"),
        ] {
            let error = newest(folder(&[("daily.cvd", content)]).path()).unwrap_err().to_string();
            assert!(error.contains(problem), "{error}");
        }
    }
}
