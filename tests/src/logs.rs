//! What a confined program has written, line by line, readable while it runs.

use std::io::{BufRead as _, BufReader, PipeReader};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

/// The lines so far. Clones share them.
#[derive(Clone, Debug)]
pub struct Logs(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    lines: Mutex<Vec<String>>,
    count: watch::Sender<usize>,
}

impl Logs {
    pub(crate) fn new() -> Self {
        let lines = Mutex::new(Vec::new());
        Self(Arc::new(Shared { lines, count: watch::Sender::new(0) }))
    }

    /// Every line so far, oldest first.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.0.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The first line for which `predicate` holds, also one that was written before this call.
    ///
    /// # Errors
    ///
    /// There is none within `deadline`; the message carries the last lines.
    pub async fn wait_for(
        &self,
        mut predicate: impl FnMut(&str) -> bool,
        deadline: Duration,
    ) -> anyhow::Result<String> {
        let mut count = self.0.count.subscribe();
        let mut seen = 0;
        let found = async {
            loop {
                count.borrow_and_update();
                let lines = self.lines();
                if let Some(line) = lines[seen..].iter().find(|line| predicate(line)) {
                    return line.clone();
                }
                seen = lines.len();
                if count.changed().await.is_err() {
                    // The sender lives as long as `self`.
                    std::future::pending::<()>().await;
                }
            }
        };
        tokio::time::timeout(deadline, found).await.map_err(|_| {
            anyhow::anyhow!("no such line within {deadline:?}; the last were:\n{}", self.tail(20))
        })
    }

    /// The last `count` lines, for the message of a failure.
    #[must_use]
    pub fn tail(&self, count: usize) -> String {
        let lines = self.lines();
        lines[lines.len().saturating_sub(count)..].join("\n")
    }

    /// Reads until every writer is gone.
    pub(crate) fn read_to_end(&self, pipe: PipeReader) {
        let mut pipe = BufReader::new(pipe);
        let mut line = Vec::new();
        while pipe.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            let text = String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']).to_owned();
            line.clear();
            let mut lines = self.0.lines.lock().unwrap_or_else(PoisonError::into_inner);
            lines.push(text);
            self.0.count.send_replace(lines.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[tokio::test]
    async fn finds_lines_written_before_and_after() {
        let (reader, mut writer) = std::io::pipe().expect("a pipe");
        let logs = Logs::new();
        let reading = std::thread::spawn({
            let logs = logs.clone();
            move || logs.read_to_end(reader)
        });
        writer.write_all(b"first\n").expect("written");
        let deadline = Duration::from_secs(10);
        logs.wait_for(|line| line == "first", deadline).await.expect("written before");
        let (found, ()) = tokio::join!(logs.wait_for(|line| line == "second", deadline), async {
            writer.write_all(b"sec").expect("written");
            writer.write_all(b"ond\nrest").expect("written");
        });
        assert_eq!(found.expect("written after"), "second");
        logs.wait_for(|line| line == "first", deadline).await.expect("still there");
        drop(writer);
        reading.join().expect("no panic");
        assert_eq!(logs.lines(), ["first", "second", "rest"]);
        let error = logs.wait_for(|_| false, Duration::ZERO).await.expect_err("nothing matches");
        assert!(error.to_string().contains("second\nrest"), "{error}");
    }
}
