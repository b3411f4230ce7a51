//! A reader of zips that goes from member to member, for the targets that fuzz one.

use std::io::Read;

/// What it finds, as far as it gets.
pub(crate) fn by_members(mut input: &[u8]) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    while let Ok(Some(mut member)) = zip::read::read_zipfile_from_stream(&mut input) {
        let mut bytes = Vec::new();
        if member.read_to_end(&mut bytes).is_ok() && !bytes.is_empty() {
            found.push(bytes);
        }
    }
    found
}
