//! The generated `clamd.conf`: every limit with its reason, sized to the function. Pure.

use std::path::Path;

/// libclamav reads at most this many bytes of a file, whatever the settings say; one byte more is
/// "OK" without a look (measured with clamd 1.4.6; `INT_MAX - 2` in its source).
pub const ENGINE_MAX: u64 = 2_147_483_645;

/// Lambda gives one vCPU for each 1,769 MB of memory (Lambda developer guide, "Configure Lambda
/// function memory").
const MB_PER_VCPU: u32 = 1769;

/// Lambda's largest function has six vCPUs.
const MAX_SCANS: u32 = 6;

/// Room in `/tmp` that no scan is given, in bytes: a full `/tmp` makes clamd answer "OK" unlooked.
pub const RESERVE: u64 = 64 << 20;

/// Members of one archive that are looked at.
pub const MAX_FILES: u64 = 100_000;

/// The least that clamd is told, in bytes.
const FLOOR: u64 = 4096;

/// What one function of a given size can take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Scans at the same time. A scan is one thread's work, so one for each vCPU.
    pub scans: u32,
    /// Largest object in bytes; clamd writes it to its temporary folder before it looks.
    pub object: u64,
    /// Bytes that one scan may look at, unpacked ones included.
    pub scan: u64,
}

impl Limits {
    /// Divides what there is among the scans.
    ///
    /// Unpacked members go to the temporary folder too, and each unpacked byte counts towards
    /// `MaxScanSize`. So a scan gets an equal share of the folder as its `MaxScanSize`, and an
    /// object may have half of it: however an archive is built, its limit is crossed, and said to
    /// be crossed, before the folder is full.
    #[must_use]
    pub fn for_function(memory_mb: u32, temporary_bytes: u64) -> Self {
        let scans = memory_mb.div_ceil(MB_PER_VCPU).clamp(1, MAX_SCANS);
        let share = temporary_bytes.saturating_sub(RESERVE) / u64::from(scans);
        Self { scans, object: (share / 2).min(ENGINE_MAX), scan: share }
    }
}

/// The text of `clamd.conf` (clamd.conf(5)); with `alert_macros` it reports Office documents with
/// VBA macros.
#[must_use]
pub fn render(
    limits: &Limits,
    alert_macros: bool,
    definitions_dir: &Path,
    work_dir: &Path,
) -> String {
    let macros = if alert_macros { "yes" } else { "no" };
    let scans = limits.scans;
    // 0 would mean "no limit". Where there is no room, no object gets as far as this anyway.
    let (object, scan) = (limits.object.max(FLOOR), limits.scan.max(FLOOR));
    let definitions = definitions_dir.display();
    let work = work_dir.display();
    // One thread more than scans: a ping must be answered while all scans run.
    let threads = scans + 1;
    let queue = threads * 2;
    format!(
        "\
# Written by s3-virusscan at every start of clamd.
Foreground yes
LocalSocket {work}/clamd.sock
LocalSocketMode 600
TemporaryDirectory {work}/tmp
DatabaseDirectory {definitions}

# Definitions change only with a new clamd: a reload stalls all scans or holds two databases.
SelfCheck 0
ConcurrentDatabaseReload no

MaxThreads {threads}
MaxQueue {queue}
# The stream comes as fast as S3 sends it. The invocation's deadline is what ends a stalled one.
CommandReadTimeout 900
ReadTimeout 900

# The largest object, by what the temporary folder holds.
StreamMaxLength {object}
# As far as the engine reads: less would trim members of archives and say nothing.
MaxFileSize {ENGINE_MAX}
# This scan's share of the temporary folder.
MaxScanSize {scan}
# About 5 ms for each member with the whole database: 100,000 members are the time there is.
MaxFiles {MAX_FILES}
# Far beyond honest nesting; the engine's own ceiling is 100.
MaxRecursion 100
# 14.5 minutes, below Lambda's 15: the deadline of the invocation ends a scan earlier.
MaxScanTime 870000
# Parts of a file that are silently left out above these limits; so there are none.
MaxEmbeddedPE {ENGINE_MAX}
MaxHTMLNormalize {ENGINE_MAX}
MaxHTMLNoTags {ENGINE_MAX}
MaxScriptNormalize {ENGINE_MAX}
MaxZipTypeRcg {ENGINE_MAX}
PCREMaxFileSize 0

# A crossed limit or an encrypted part is reported, not passed over as OK.
AlertExceedsMax yes
AlertEncrypted yes
# What the owner calls infected besides.
AlertOLE2Macros {macros}
# But malware found elsewhere in the object is the stronger answer.
HeuristicScanPrecedence no
# The cache of clean files is keyed by MD5, for which an attacker can make twins.
DisableCache yes
# What it could not open it says in its log only.
Debug yes
# Out of memory is a dead clamd and a retry, not a file passed over.
ExitOnOOM yes
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn scans_follow_the_vcpus_that_the_memory_brings() {
        for (memory_mb, scans) in
            [(0, 1), (128, 1), (1769, 1), (1770, 2), (3008, 2), (10240, 6), (99999, 6)]
        {
            assert_eq!(Limits::for_function(memory_mb, GIB).scans, scans, "{memory_mb} MB");
        }
    }

    #[test]
    fn all_scans_together_cannot_fill_the_temporary_folder() {
        for memory_mb in [1769, 3008, 10240] {
            for temporary in [0, 1, RESERVE, 512 << 20, 10 * GIB, u64::MAX] {
                let limits = Limits::for_function(memory_mb, temporary);
                let all = limits.scan.saturating_mul(limits.scans.into());
                assert!(all <= temporary.saturating_sub(RESERVE), "{limits:?}");
                assert!(limits.object <= limits.scan / 2 && limits.object <= ENGINE_MAX);
            }
        }
    }

    #[test]
    fn no_room_is_never_written_as_no_limit() {
        let text = render(&Limits::for_function(1769, 0), false, Path::new("/d"), Path::new("/w"));
        for unlimited in ["StreamMaxLength 0", "MaxScanSize 0", "MaxFileSize 0"] {
            assert!(!text.lines().any(|line| line == unlimited), "{unlimited}");
        }
    }

    #[test]
    fn ten_gigabytes_of_tmp_take_the_largest_object_that_the_engine_reads() {
        assert_eq!(Limits::for_function(3008, 10 * GIB).object, ENGINE_MAX);
    }
}
