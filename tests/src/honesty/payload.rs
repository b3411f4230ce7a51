//! What is inside: text, with the marker that the test definitions find or without it.

use std::path::Path;

use anyhow::Context as _;

use crate::samples;

/// The payload, plain and in a gzip. In a gzip its bytes are in sight of nobody who does not open
/// what is around it, also where that is stored as it is.
#[derive(Debug, Clone)]
pub(super) struct Payload {
    pub(super) marked: bool,
    pub(super) text: Vec<u8>,
    pub(super) gzip: Vec<u8>,
}

impl Payload {
    pub(super) fn new(marked: bool) -> anyhow::Result<Self> {
        let inside = if marked { samples::MARKER } else { b"nothing" };
        let text = [&*samples::text(), inside, b"\n", &*samples::text()].concat();
        let gzip = samples::gzip(&text)?;
        Ok(Self { marked, text, gzip })
    }

    /// As `a.txt` and `a.gz`.
    pub(super) fn write(&self, dir: &Path) -> anyhow::Result<()> {
        std::fs::write(dir.join("a.txt"), &self.text)
            .and_then(|()| std::fs::write(dir.join("a.gz"), &self.gzip))
            .context("writing the payload")
    }
}
