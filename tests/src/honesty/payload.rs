//! What is inside: text, with the marker that the test definitions find or without it.

use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;
use flate2::Compression;
use flate2::write::GzEncoder;

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
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(&text).context("packing the payload")?;
        Ok(Self { marked, text, gzip: gzip.finish().context("packing the payload")? })
    }

    /// As `a.txt` and `a.gz`.
    pub(super) fn write(&self, dir: &Path) -> anyhow::Result<()> {
        std::fs::write(dir.join("a.txt"), &self.text)
            .and_then(|()| std::fs::write(dir.join("a.gz"), &self.gzip))
            .context("writing the payload")
    }
}
