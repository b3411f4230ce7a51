//! The made-up database of `make bench-definitions`, a thousandth of it, is one that clamd takes.

use std::path::Path;

use bytes::Bytes;
use definitions::container;
use definitions::shards::{self, Database};
use function_common::clamd::conf::Limits;
use function_common::clamd::{Clamd, Paths};
use function_common::manifest::{BASE, PE};
use function_common::reply::Answer;
use scanner_tests::definitions::{MARKER_NAME, PE_MARKER_NAME};
use scanner_tests::public_shape::{self, DATABASES};
use scanner_tests::samples;
use tempfile::TempDir;

use crate::support::clamd_dir;

const ONE_IN: usize = 1000;

struct Loaded {
    clamd: Clamd,
    _dir: TempDir,
}

impl Loaded {
    /// Finds EICAR, or it is no test that can go on.
    async fn new(definitions: &Path) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths {
            clamav_dir: clamd_dir(),
            definitions_dir: definitions.to_owned(),
            work_dir: dir.path().join("clamd"),
        };
        let clamd = Clamd::start(paths, Limits::for_function(1769, 1 << 30), false).unwrap();
        clamd.ready().await.unwrap();
        Self { clamd, _dir: dir }
    }

    async fn scan(&self, content: &[u8]) -> Answer {
        let content = Bytes::copy_from_slice(content);
        self.clamd.scan(futures_util::stream::iter([Ok(content)])).await.unwrap()
    }
}

fn folder(dir: &TempDir, name: &str) -> std::path::PathBuf {
    let folder = dir.path().join(name);
    std::fs::create_dir(&folder).unwrap();
    folder
}

fn found(name: &str) -> Answer {
    Answer::Infected(name.to_owned())
}

#[tokio::test]
async fn every_form_of_the_made_up_database_loads_and_finds_what_was_planted() {
    let dir = tempfile::tempdir().unwrap();
    let [loose, packed, plain] = ["loose", "packed", "plain"].map(|name| folder(&dir, name));
    public_shape::write(&loose, ONE_IN, 1).unwrap();
    public_shape::pack(&loose, &packed).unwrap();
    public_shape::plain(&loose, &plain).unwrap();
    let program = samples::program(samples::PE_MARKER);
    for form in [&loose, &packed, &plain] {
        let loaded = Loaded::new(form).await;
        assert_eq!(loaded.scan(samples::MARKER).await, found(MARKER_NAME), "{form:?}");
        assert_eq!(loaded.scan(&program).await, found(PE_MARKER_NAME), "{form:?}");
        assert_eq!(loaded.scan(&samples::text()).await, Answer::Clean, "{form:?}");
    }

    let databases = DATABASES.map(|name| {
        let path = packed.join(format!("{name}.cud"));
        let header = container::header(&path).unwrap();
        Database { name: name.to_owned(), path, header }
    });
    let cut = folder(&dir, "cut");
    shards::write(&databases, &[], &cut).unwrap();
    let base = Loaded::new(&cut.join(BASE)).await;
    assert_eq!(base.scan(samples::MARKER).await, found(MARKER_NAME));
    assert_eq!(base.scan(&program).await, Answer::PortableExecutable);
    let pe = Loaded::new(&cut.join(PE)).await;
    assert_eq!(pe.scan(&program).await, found(PE_MARKER_NAME));
}
