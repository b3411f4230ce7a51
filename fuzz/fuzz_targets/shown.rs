//! What a walk through an archive showed, for the targets that fuzz one.

use archives::{Bounds, Flaw, Found};

/// What every archive here is walked within.
pub(crate) const BOUNDS: Bounds = Bounds { members: 20, member: 4096, unpacked: 1 << 20 };

/// Has `walk` show everything, and gives the members if all was said to be well with every one of
/// them.
///
/// # Panics
/// When a bound was crossed.
pub(crate) fn shown(
    walk: impl FnOnce(&mut dyn FnMut(Found<'_>) -> Result<(), Flaw>) -> Result<(), Flaw>,
) -> Option<Vec<Vec<u8>>> {
    let mut shown: Vec<Vec<u8>> = Vec::new();
    let mut closed = 0;
    let end = walk(&mut |found| {
        match found {
            Found::Closed(_) => closed += 1,
            Found::Member(member) => {
                let mut bytes = Vec::new();
                member.read_to_end(&mut bytes).map_err(|error| Flaw::from_read(&error))?;
                assert!(bytes.len() as u64 <= BOUNDS.member, "a member is too large");
                shown.push(bytes);
            }
        }
        Ok(())
    });
    let total: usize = shown.iter().map(Vec::len).sum();
    assert!(total as u64 <= BOUNDS.unpacked, "{total} bytes");
    assert!(shown.len() as u64 + closed <= BOUNDS.members, "too many members");
    (end.is_ok() && closed == 0).then_some(shown)
}
