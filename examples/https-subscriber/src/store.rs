//! What is known of each object, in SQLite. One row for each bucket, key and version.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use notifier_common::Status;
use notifier_common::subscribe::{Change, Known, ReceivedFinding, apply};
use rusqlite::types::FromSqlError;
use rusqlite::{Connection, OptionalExtension as _, Row, TransactionBehavior, params};
use serde::Deserialize as _;
use serde::de::value::{self, StrDeserializer};

/// How long another process may hold the database before a request fails. With two certificates to
/// fetch it still leaves time before SNS gives up waiting.
pub const BUSY: Duration = Duration::from_secs(3);

/// The form of the tables, kept in the file's `user_version`. Raised when they change.
const SCHEMA: i64 = 1;

/// An object without a version has the empty one, so that the primary key tells it apart: a NULL
/// would equal nothing.
const TABLES: &str = "
    CREATE TABLE objects (
        bucket    TEXT NOT NULL,
        key       TEXT NOT NULL,
        version   TEXT NOT NULL,
        status    TEXT NOT NULL CHECK (status IN ('clean', 'infected', 'no')),
        published TEXT NOT NULL,
        sequencer TEXT,
        PRIMARY KEY (key, bucket, version)
    ) STRICT, WITHOUT ROWID;
";

/// What failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file cannot be opened or made.
    #[error("cannot open the database {path}")]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// The file is of another version of this program.
    #[error("the database has schema {found}, this program knows {SCHEMA}; give it another file")]
    Schema {
        /// What the file says.
        found: i64,
    },
    /// Reading or writing failed: locked by another process, or the disk is full.
    #[error("cannot use the database")]
    Use(#[from] rusqlite::Error),
    /// A bug.
    #[error("the work on the database panicked")]
    Panic,
}

/// An object and what is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Bucket name.
    pub bucket: String,
    /// Key.
    pub key: String,
    /// Version id, on buckets with versioning.
    pub version: Option<String>,
    /// What the findings said of it.
    pub known: Known,
}

/// The database. Clones share one connection; what it does, it does one after the other.
#[derive(Debug, Clone)]
pub struct Store {
    connection: Arc<Mutex<Connection>>,
}

impl Store {
    /// Opens the file, or makes it with its tables. `busy` is how long to wait while another
    /// process writes.
    ///
    /// # Errors
    /// [`StoreError::Open`] and [`StoreError::Schema`].
    pub fn open(path: &Path, busy: Duration) -> Result<Self, StoreError> {
        let open = |source| StoreError::Open { path: path.to_owned(), source };
        let mut connection = Connection::open(path).map_err(open)?;
        connection.busy_timeout(busy).map_err(open)?;
        // Readers do not wait for the writer then; a commit is on the disk when it returns.
        connection.pragma_update(None, "journal_mode", "WAL").map_err(open)?;
        connection.pragma_update(None, "synchronous", "FULL").map_err(open)?;
        let making = connection.transaction_with_behavior(TransactionBehavior::Immediate);
        let making = making.map_err(open)?;
        let version = making.query_row("PRAGMA user_version", [], |row| row.get(0));
        match version.map_err(open)? {
            SCHEMA => {}
            0 => {
                making.execute_batch(TABLES).map_err(open)?;
                making.pragma_update(None, "user_version", SCHEMA).map_err(open)?;
            }
            found => return Err(StoreError::Schema { found }),
        }
        making.commit().map_err(open)?;
        Ok(Self { connection: Arc::new(Mutex::new(connection)) })
    }

    /// Applies a finding to what is known, in one transaction: of findings that come at once, or
    /// in any order, the right one stays.
    ///
    /// # Errors
    /// [`StoreError::Use`]; nothing has changed then.
    pub async fn apply(
        &self,
        finding: ReceivedFinding,
        published: Timestamp,
    ) -> Result<Change, StoreError> {
        self.with(move |connection| {
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let version = finding.version.as_deref().unwrap_or_default();
            let object = params![finding.key, finding.bucket, version];
            let known = transaction
                .query_row(
                    "SELECT status, published, sequencer FROM objects
                     WHERE key = ?1 AND bucket = ?2 AND version = ?3",
                    object,
                    |row| known(row, 0),
                )
                .optional()?;
            let change = apply(known.as_ref(), &finding, published);
            if let Change::To(known) = &change {
                transaction.execute(
                    "INSERT OR REPLACE INTO objects (key, bucket, version, status, published, sequencer)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                    params![
                        finding.key,
                        finding.bucket,
                        version,
                        known.status.as_str(),
                        known.published.to_string(),
                        known.sequencer,
                    ],
                )?;
            }
            transaction.commit()?;
            Ok(change)
        })
        .await
    }

    /// Every object with this key, in `bucket` and of `version` if those are given; ordered by
    /// both.
    ///
    /// # Errors
    /// [`StoreError::Use`].
    pub async fn find(
        &self,
        key: String,
        bucket: Option<String>,
        version: Option<String>,
    ) -> Result<Vec<Object>, StoreError> {
        self.with(move |connection| {
            let mut statement = connection.prepare(
                "SELECT bucket, key, version, status, published, sequencer FROM objects
                 WHERE key = ?1 AND bucket = ifnull(?2, bucket) AND version = ifnull(?3, version)
                 ORDER BY bucket, version",
            )?;
            let objects = statement.query_map(params![key, bucket, version], |row| {
                let version: String = row.get(2)?;
                Ok(Object {
                    bucket: row.get(0)?,
                    key: row.get(1)?,
                    version: Some(version).filter(|version| !version.is_empty()),
                    known: known(row, 3)?,
                })
            })?;
            objects.collect()
        })
        .await
    }

    /// On a thread for work that waits.
    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let connection = Arc::clone(&self.connection);
        let done = tokio::task::spawn_blocking(move || {
            // A transaction that a panic ended was rolled back.
            let mut connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
            work(&mut connection)
        });
        Ok(done.await.map_err(|_| StoreError::Panic)??)
    }
}

/// Reads status, time and sequencer from a row, beginning with column `first`.
fn known(row: &Row<'_>, first: usize) -> rusqlite::Result<Known> {
    let status: String = row.get(first)?;
    let status = Status::deserialize(StrDeserializer::<value::Error>::new(&status));
    let published: String = row.get(first + 1)?;
    let published = published.parse();
    Ok(Known {
        status: status.map_err(FromSqlError::other)?,
        published: published.map_err(FromSqlError::other::<jiff::Error>)?,
        sequencer: row.get(first + 2)?,
    })
}

#[cfg(test)]
mod tests {
    use notifier_common::Action;

    use super::*;

    fn finding(bucket: &str, version: Option<&str>, status: Status) -> ReceivedFinding {
        ReceivedFinding {
            bucket: bucket.to_owned(),
            key: "a/ü\0\u{1F600}".to_owned(),
            version: version.map(str::to_owned),
            status,
            action: Action::No,
            details: None,
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    /// Buckets, versions and statuses of the key.
    async fn told(store: &Store) -> Vec<(String, Option<String>, Status)> {
        let key = finding("", None, Status::No).key;
        let objects = store.find(key, None, None).await.unwrap();
        objects.into_iter().map(|o| (o.bucket, o.version, o.known.status)).collect()
    }

    fn open(folder: &tempfile::TempDir) -> Store {
        Store::open(&folder.path().join("db"), Duration::ZERO).unwrap()
    }

    #[tokio::test]
    async fn the_later_finding_stays_whatever_comes_last_also_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder);
        let infected = || finding("b", None, Status::Infected);
        let clean = || finding("b", None, Status::Clean);
        assert!(matches!(store.apply(infected(), at(2)).await.unwrap(), Change::To(_)));
        assert_eq!(store.apply(clean(), at(1)).await.unwrap(), Change::Older);
        assert_eq!(store.apply(infected(), at(2)).await.unwrap(), Change::Nothing);
        drop(store);
        let store = open(&folder);
        assert_eq!(store.apply(clean(), at(1)).await.unwrap(), Change::Older);
        assert_eq!(told(&store).await, [("b".to_owned(), None, Status::Infected)]);
        assert!(matches!(store.apply(clean(), at(3)).await.unwrap(), Change::To(_)));
        assert_eq!(told(&store).await, [("b".to_owned(), None, Status::Clean)]);
    }

    #[tokio::test]
    async fn buckets_and_versions_do_not_speak_of_each_other() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder);
        for (bucket, version, status) in [
            ("b", None, Status::Clean),
            ("b", Some("v1"), Status::Infected),
            ("a", Some("v1"), Status::No),
        ] {
            store.apply(finding(bucket, version, status), at(0)).await.unwrap();
        }
        let (a, b, v1) = ("a".to_owned(), "b".to_owned(), Some("v1".to_owned()));
        let all = [
            (a.clone(), v1.clone(), Status::No),
            (b.clone(), None, Status::Clean),
            (b.clone(), v1.clone(), Status::Infected),
        ];
        assert_eq!(told(&store).await, all);
        let key = finding("", None, Status::No).key;
        let found = store.find(key.clone(), Some(b), v1).await.unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].known.status, Status::Infected);
        assert!(store.find(key, Some("c".to_owned()), None).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_busy_database_changes_nothing_and_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder);
        let other = Connection::open(folder.path().join("db")).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let error = store.apply(finding("b", None, Status::Clean), at(0)).await.unwrap_err();
        assert!(matches!(error, StoreError::Use(_)), "{error:?}");
        // Whoever only reads does not wait for the writer.
        assert!(told(&store).await.is_empty());
        other.execute_batch("ROLLBACK").unwrap();
        store.apply(finding("b", None, Status::Clean), at(0)).await.unwrap();
        assert_eq!(told(&store).await.len(), 1);
    }

    #[test]
    fn what_is_no_database_of_this_program_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db");
        std::fs::write(&path, "not a database".repeat(100)).unwrap();
        let error = Store::open(&path, Duration::ZERO).unwrap_err();
        assert!(matches!(error, StoreError::Open { .. }), "{error:?}");
        std::fs::remove_file(&path).unwrap();
        Connection::open(&path).unwrap().pragma_update(None, "user_version", 7).unwrap();
        let error = Store::open(&path, Duration::ZERO).unwrap_err();
        assert!(matches!(error, StoreError::Schema { found: 7 }), "{error:?}");
    }
}
