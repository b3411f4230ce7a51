//! Which shard a signature belongs to. Pure.
//!
//! ClamAV applies signatures of target 1 and hashes of PE sections to Windows programs only, so an
//! object in which nothing is one is judged completely by the base shard. The verdict over all
//! signatures is the union of the shards' verdicts only when each shard has the files that change
//! what others mean (file types, allow lists, icons, configuration) in full.
//!
//! One thing is left out of both: the lines that say of which files nothing is to be looked at.

/// Changes when the cut does, so that a new release publishes a new generation.
pub const CUT: u32 = 2;

/// Which shards get something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Where {
    /// The one that looks at everything. Whatever is not known to be for PE files only.
    Base,
    /// The one that is asked about Windows programs.
    Pe,
    /// Each of them.
    Both,
    /// None.
    Neither,
}

/// How one file of a database is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// In the database's container.
    Whole(Where),
    /// In the container, each line where [`fn@line`] says.
    Lines(Lines),
    /// Beside the container, in both shards. clamd loads files of these kinds before all others,
    /// but members of a container when their container's turn comes; and a database says in them
    /// what is to be ignored of another (`cli_loaddbdir` of ClamAV 1.4 makes an exception for
    /// containers named `daily.cvd` and `daily.cld`, not `.cud`).
    Beside,
}

/// The formats of which single lines are for PE files (ClamAV manual, "Writing Signatures").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lines {
    /// `name:target:offset:bytes[:level:level]`
    Extended,
    /// `name;attributes;expression;subsignature;...`
    Logical,
    /// `magic:offset:bytes:name:required type:type[:level:level]`
    FileTypes,
}

/// How the file `name` is laid out.
#[must_use]
pub fn placement(name: &str) -> Placement {
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    match extension {
        // Hashes of PE sections and of import tables.
        "mdb" | "mdu" | "msb" | "msu" | "imp" => Placement::Whole(Where::Pe),
        "ndb" | "ndu" => Placement::Lines(Lines::Extended),
        "ldb" | "ldu" => Placement::Lines(Lines::Logical),
        "ftm" => Placement::Lines(Lines::FileTypes),
        "fp" | "sfp" | "idb" | "pdb" | "wdb" => Placement::Whole(Where::Both),
        "ign" | "ign2" | "crb" | "cfg" => Placement::Beside,
        _ => Placement::Whole(Where::Base),
    }
}

/// Where a line of such a format goes.
#[must_use]
pub fn line(format: Lines, line: &[u8]) -> Where {
    if line.starts_with(b"#") {
        // A file may have no other lines, and clamd calls an empty one damaged.
        return Where::Both;
    }
    match format {
        Lines::Extended => extended(line),
        Lines::Logical => logical(line),
        Lines::FileTypes => file_type(line),
    }
}

fn extended(line: &[u8]) -> Where {
    let mut fields = line.split(|byte| *byte == b':').skip(1);
    match (fields.next(), fields.next()) {
        // A macro, which logical signatures of the same target refer to.
        (_, Some(offset)) if offset.starts_with(b"$") => Where::Both,
        (Some(b"1"), _) => Where::Pe,
        _ => Where::Base,
    }
}

/// clamd passes over files of the type `CL_TYPE_IGNORED`, among them MP3, Ogg and `SQLite`, and says
/// `OK` to whatever is in them (`cli_magic_scan` of ClamAV 1.4). Without the line they are looked at
/// as any other file.
fn file_type(line: &[u8]) -> Where {
    match line.split(|byte| *byte == b':').nth(5).map(<[u8]>::trim_ascii_end) {
        Some(b"CL_TYPE_IGNORED") => Where::Neither,
        _ => Where::Both,
    }
}

fn logical(line: &[u8]) -> Where {
    let Some(attributes) = line.split(|byte| *byte == b';').nth(1) else { return Where::Base };
    let mut targets = attributes
        .split(|byte| *byte == b',')
        .filter_map(|attribute| attribute.strip_prefix(b"Target:"));
    match (targets.next(), targets.next()) {
        (Some(b"1"), None) => Where::Pe,
        _ => Where::Base,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pe_hashes_go_to_the_pe_shard_and_what_changes_others_to_both() {
        for (names, placement_) in [
            ("main.mdb daily.msb daily.mdu daily.msu daily.imp", Placement::Whole(Where::Pe)),
            ("main.hdb main.hsb daily.hdu daily.hsu daily.cdb", Placement::Whole(Where::Base)),
            ("daily.db daily.sdb daily.zmd daily.cbc x.new x", Placement::Whole(Where::Base)),
            ("d.ftm", Placement::Lines(Lines::FileTypes)),
            ("d.fp d.sfp d.idb d.pdb d.wdb", Placement::Whole(Where::Both)),
            ("d.ign d.ign2 d.crb d.cfg", Placement::Beside),
            ("d.ndb d.ndu", Placement::Lines(Lines::Extended)),
            ("d.ldb d.ldu", Placement::Lines(Lines::Logical)),
        ] {
            for name in names.split(' ') {
                assert_eq!(placement(name), placement_, "{name}");
            }
        }
    }

    #[test]
    fn a_line_goes_to_the_pe_shard_only_if_it_is_for_pe_files_alone() {
        for (text, place) in [
            ("Win.Trojan.A:1:*:4d5a", Where::Pe),
            ("Win.Trojan.A:1:EP+0:4d5a:51:255\n", Where::Pe),
            ("Any.A:0:*:4d5a", Where::Base),
            ("Elf.A:6:*:4d5a", Where::Base),
            ("Tens.A:10:*:4d5a", Where::Base),
            ("Odd.A:01:*:4d5a", Where::Base),
            ("M1:1:$12:626c61", Where::Both),
            ("M1:0:$12:626c61", Where::Both),
            ("# a comment:1:", Where::Both),
            ("", Where::Base),
        ] {
            assert_eq!(line(Lines::Extended, text.as_bytes()), place, "{text}");
        }
        for (text, place) in [
            ("Win.A;Engine:51-255,Target:1;0;4d5a", Where::Pe),
            ("Win.A;Target:1,IconGroup1:x;0;4d5a\n", Where::Pe),
            ("Any.A;Engine:51-255,Target:0;0;Target:1", Where::Base),
            ("Doc.A;Engine:51-255,Target:10;0;4d5a", Where::Base),
            ("Odd.A;Target:1,Target:0;0;4d5a", Where::Base),
            ("None.A;Engine:51-255;0;4d5a", Where::Base),
            ("Target:1", Where::Base),
            ("# Target:1", Where::Both),
        ] {
            assert_eq!(line(Lines::Logical, text.as_bytes()), place, "{text}");
        }
    }

    #[test]
    fn no_file_type_is_passed_over() {
        for (text, place) in [
            ("0:0:4f676753:Ogg Stream:CL_TYPE_ANY:CL_TYPE_IGNORED\n", Where::Neither),
            ("0:0:494433:MP3:CL_TYPE_ANY:CL_TYPE_IGNORED:80:90\r\n", Where::Neither),
            ("0:0:504b0304:ZIP:CL_TYPE_ANY:CL_TYPE_ZIP\n", Where::Both),
            ("1:*:504b0304:CL_TYPE_IGNORED:CL_TYPE_ANY:CL_TYPE_ZIPSFX\n", Where::Both),
            ("# CL_TYPE_IGNORED\n", Where::Both),
            ("0:0:00", Where::Both),
        ] {
            assert_eq!(line(Lines::FileTypes, text.as_bytes()), place, "{text}");
        }
    }
}
