//! Real files, made when they are needed: no sample stands in the repository.

use std::io::{Cursor, Write as _};

use anyhow::Context as _;
use flate2::Compression;
use flate2::write::GzEncoder;
use zip::CompressionMethod;
use zip::ZipArchive;
use zip::ZipWriter;
use zip::unstable::write::FileOptionsExt as _;
use zip::write::SimpleFileOptions;

/// What the signature `S3-Virusscan.Test.Marker` of [`crate::definitions`] looks for. Unlike
/// EICAR, which counts only as a whole file, it is found anywhere: at the end of gigabytes, in
/// the middle of a PDF, in the last of ten thousand members.
pub const MARKER: &[u8] = b"s3-virusscan test marker 8c1f2d77-4b0e-4a53-9e36-d0a1b7f2c9e4";

/// What the signature `S3-Virusscan.Test.PeMarker` looks for, in Windows programs only.
pub const PE_MARKER: &[u8] = b"s3-virusscan test marker for programs 0b6a1f0e-95a8-4f44";

/// The harmless file of <https://www.eicar.org> that every scanner calls infected; 68 bytes.
#[must_use]
pub fn eicar() -> Vec<u8> {
    function_common::clamd::eicar().into_bytes()
}

/// What ClamAV takes for a Windows program: it goes by the first two bytes.
#[must_use]
pub fn program(inside: &[u8]) -> Vec<u8> {
    [b"MZ".as_slice(), &[0; 62], inside].concat()
}

/// A few lines of plain text.
#[must_use]
pub fn text() -> Vec<u8> {
    "Minutes of the garden club\n\n1. The hedge is to be cut in March.\n".repeat(8).into_bytes()
}

/// Bytes that no packer makes smaller; the same each time.
#[must_use]
pub fn noise(length: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(1);
    std::iter::repeat_with(|| random.u8(..)).take(length).collect()
}

/// `bytes` in a gzip.
///
/// # Errors
///
/// None in practice: it is written into memory.
pub fn gzip(bytes: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(bytes).and_then(|()| gzip.finish()).context("packing")
}

/// A PDF of one page that shows `line`, with a correct cross-reference table. `line` must hold
/// neither parentheses nor backslashes.
#[must_use]
pub fn pdf(line: &str) -> Vec<u8> {
    let page = format!("BT /F1 24 Tf 72 720 Td ({line}) Tj ET");
    let objects = [
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_owned(),
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R \
         /Resources << /Font << /F1 5 0 R >> >> >>"
            .to_owned(),
        format!("<< /Length {} >>\nstream\n{page}\nendstream", page.len()),
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>".to_owned(),
    ];
    let mut file = String::from("%PDF-1.4\n");
    let mut table = format!("xref\n0 {}\n0000000000 65535 f \n", objects.len() + 1);
    for (number, object) in (1..).zip(&objects) {
        table += &format!("{:010} 00000 n \n", file.len());
        file += &format!("{number} 0 obj\n{object}\nendobj\n");
    }
    let start = file.len();
    file += &table;
    file += &format!("trailer\n<< /Size {} /Root 1 0 R >>\n", objects.len() + 1);
    file += &format!("startxref\n{start}\n%%EOF\n");
    file.into_bytes()
}

/// `bytes` inside `depth` zips, one in the other; `depth` 0 gives `bytes` back.
///
/// # Errors
///
/// Only what the zip writer refuses, such as a member of more than 4 GiB.
pub fn zip_nested(bytes: &[u8], depth: usize) -> anyhow::Result<Vec<u8>> {
    let mut inner = bytes.to_vec();
    for level in 0..depth {
        let name = if level == 0 { "file.txt" } else { "inner.zip" };
        inner = zip([(name.to_owned(), inner.as_slice())], deflated())?;
    }
    Ok(inner)
}

/// A zip with `bytes` in one member, encrypted with the traditional method of PKWARE.
///
/// # Errors
///
/// As [`zip_nested`].
pub fn zip_encrypted(bytes: &[u8], password: &str) -> anyhow::Result<Vec<u8>> {
    let options = deflated().with_deprecated_encryption(password.as_bytes());
    zip([("file.txt".to_owned(), bytes)], options)
}

/// A zip with these members.
///
/// # Errors
///
/// As [`zip_nested`].
pub fn zip_of(members: &[(&str, &[u8])]) -> anyhow::Result<Vec<u8>> {
    zip(members.iter().map(|(name, bytes)| ((*name).to_owned(), *bytes)), deflated())
}

/// A zip whose last member says of itself that it is one byte long. The directory has it right, so that
/// readers differ in what they find; clamd takes the one byte.
///
/// # Errors
///
/// As [`zip_nested`].
pub fn zip_lying(members: &[(&str, &[u8])]) -> anyhow::Result<Vec<u8>> {
    let mut zip = zip_of(members)?;
    let last = zip.windows(4).rposition(|window| window == b"PK\x03\x04");
    let last = last.context("a zip without members")?;
    zip[last + 18..last + 22].copy_from_slice(&[1, 0, 0, 0]);
    Ok(zip)
}

/// A zip of `count` small members and after them one more with `last`.
///
/// # Errors
///
/// As [`zip_nested`].
pub fn zip_of_many(count: usize, last: &[u8]) -> anyhow::Result<Vec<u8>> {
    let small: Vec<_> = (0..count).map(|number| format!("member {number}\n")).collect();
    let members = small.iter().map(|text| (text.trim().to_owned(), text.as_bytes()));
    zip(members.chain([("last".to_owned(), last)]), deflated())
}

/// An Office document of the old format that ClamAV sees macros in, which are as empty as the rest:
/// a compound file (MS-CFB) with the two streams that each VBA project has, `_VBA_PROJECT` and
/// `dir` (MS-OVBA 2.3.4). Both are as long as the streams that have sectors of their own.
#[must_use]
pub fn document_with_macros() -> Vec<u8> {
    const SECTOR: usize = 512;
    const STREAM_SECTORS: u32 = 9;
    const END: u32 = 0xffff_fffe;
    const FREE: u32 = 0xffff_ffff;
    let bytes = |numbers: &[u32]| -> Vec<u8> {
        numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
    };

    let mut header = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1".to_vec();
    header.extend([0; 16]);
    // Version 3, little-endian, sectors of 512 and of 64 bytes.
    header.extend([0x3e, 0, 3, 0, 0xfe, 0xff, 9, 0, 6, 0, 0, 0, 0, 0, 0, 0]);
    // One sector of the allocation table; the directory is in sector 1; streams from 4096 bytes on
    // have sectors; neither short streams nor a longer table.
    header.extend(bytes(&[0, 1, 1, 0, 4096, END, 0, END, 0, 0]));
    header.resize(SECTOR, 0xff);

    // The table itself, the directory, and the chains of two streams.
    let mut table = vec![0xffff_fffd, END];
    for first in [2, 2 + STREAM_SECTORS] {
        table.extend(first + 1..first + STREAM_SECTORS);
        table.push(END);
    }
    let mut table = bytes(&table);
    table.resize(SECTOR, 0xff);

    let entry = |name: &str, kind: u8, [left, child]: [u32; 2], start: u32, size: u32| {
        let mut entry: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let length = u8::try_from(entry.len() + 2).expect("a short name");
        entry.resize(64, 0);
        entry.extend([length, 0, kind, 1]);
        entry.extend(bytes(&[left, FREE, child]));
        entry.resize(116, 0);
        entry.extend(bytes(&[start, size, 0]));
        entry
    };
    // The least that has sectors and ends with a record.
    let size = 4098;
    let directory = [
        entry("Root Entry", 5, [FREE, 1], END, 0),
        entry("_VBA_PROJECT", 2, [2, FREE], 2 + STREAM_SECTORS, size),
        entry("dir", 2, [FREE, FREE], 2, size),
        entry("", 0, [FREE, FREE], 0, 0),
    ];
    // One chunk of literal bytes, eight behind each flag byte (MS-OVBA 2.4.1), which are records of
    // a code page (2.3.4.2.1.4).
    let record = [0, 3, 0, 2, 0, 0, 0, 0xe4, 4];
    let dir = [[1, 0xfe, 0xbf].as_slice(), &record.repeat(455)].concat();
    let streams = [dir, vec![0xcc, 0x61]].map(|mut stream| {
        stream.resize(SECTOR * 9, 0);
        stream
    });
    [header, table, directory.concat(), streams.concat()].concat()
}

/// A zip with `count` members that hold the same `bytes`, which are packed once only.
///
/// # Errors
///
/// As [`zip_nested`].
pub fn zip_of_copies(count: usize, bytes: &[u8]) -> anyhow::Result<Vec<u8>> {
    let one = zip([("0".to_owned(), bytes)], deflated())?;
    let mut one = ZipArchive::new(Cursor::new(one)).context("reading a zip back")?;
    let mut all = ZipWriter::new(Cursor::new(Vec::new()));
    for number in 0..count {
        let member = one.by_index_raw(0).context("the only member")?;
        all.raw_copy_file_rename(member, number.to_string()).context("copying a member")?;
    }
    Ok(all.finish().context("finishing a zip")?.into_inner())
}

/// A RAR 4 archive with `bytes` (less than 4 GiB) in one stored member. After unRAR's technical note
/// `technote.txt` for RAR 3 and 4: each block begins with the low half of the CRC-32 of its rest.
///
/// # Errors
///
/// `bytes` are too many.
pub fn rar4(bytes: &[u8]) -> anyhow::Result<Vec<u8>> {
    const NAME: &[u8] = b"file.txt";
    let size = u32::try_from(bytes.len()).context("a member of a RAR 4 archive")?;
    let crc = crc32(bytes);
    let block = |kind: u8, flags: u16, fields: &[u8]| {
        let mut block = vec![kind];
        block.extend(flags.to_le_bytes());
        // CRC, type, flags and this size itself are 7 bytes.
        block.extend(u16::try_from(fields.len() + 7).unwrap_or(u16::MAX).to_le_bytes());
        block.extend(fields);
        let [low, high, ..] = crc32(&block).to_le_bytes();
        [vec![low, high], block].concat()
    };
    let (unix, version, stored, mode) = ([3], [20], [0x30], 0o100_644_u32);
    let file: [&[u8]; 10] = [
        &size.to_le_bytes(),
        &size.to_le_bytes(),
        &unix,
        &crc.to_le_bytes(),
        &[0, 0, 0x21, 0],
        &version,
        &stored,
        &u16::try_from(NAME.len()).unwrap_or(u16::MAX).to_le_bytes(),
        &mode.to_le_bytes(),
        NAME,
    ];
    let parts = [
        b"Rar!\x1a\x07\0".to_vec(),
        block(0x73, 0, &[0; 6]),
        block(0x74, 0x8000, &file.concat()),
        bytes.to_vec(),
        block(0x7b, 0x4000, &[]),
    ];
    Ok(parts.concat())
}

/// A RAR 5 archive with `bytes` in one stored member (<https://www.rarlab.com/technote.htm>): each
/// block begins with the CRC-32 and the length of its rest, and numbers have seven bits a byte.
#[must_use]
pub fn rar5(bytes: &[u8]) -> Vec<u8> {
    rar5_of(0, bytes)
}

/// The same as the first of several volumes.
#[must_use]
pub fn rar5_volume(bytes: &[u8]) -> Vec<u8> {
    rar5_of(1, bytes)
}

/// `archive` are the flags of the archive.
fn rar5_of(archive: u8, bytes: &[u8]) -> Vec<u8> {
    const NAME: &[u8] = b"file.txt";
    let block = |fields: &[u8]| {
        let sized = [number(fields.len()), fields.to_vec()].concat();
        [crc32(&sized).to_le_bytes().to_vec(), sized].concat()
    };
    // Type 2, a file; flag 2: data follow, this many; file flag 4: with a CRC-32; attributes;
    // compression 0: stored; host 1: Unix.
    let file = [
        vec![2, 2],
        number(bytes.len()),
        vec![4],
        number(bytes.len()),
        number(0o100_644),
        crc32(bytes).to_le_bytes().to_vec(),
        vec![0, 1],
        number(NAME.len()),
        NAME.to_vec(),
    ];
    let parts = [
        b"Rar!\x1a\x07\x01\0".to_vec(),
        block(&[1, 0, archive]),
        block(&file.concat()),
        bytes.to_vec(),
        // Flag 4: to be skipped by who does not know it. RAR sets it.
        block(&[5, 4, 0]),
    ];
    parts.concat()
}

/// Seven bits a byte, the lowest first; all but the last have the eighth bit set.
fn number(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value > 0x7f {
        bytes.push(0x80 | value.to_le_bytes()[0]);
        value >>= 7;
    }
    bytes.push(value.to_le_bytes()[0]);
    bytes
}

/// The CRC-32 of zip and RAR.
fn crc32(bytes: &[u8]) -> u32 {
    let shifted = |crc: u32, _| if crc & 1 == 0 { crc >> 1 } else { crc >> 1 ^ 0xedb8_8320 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), shifted))
}

fn deflated() -> SimpleFileOptions {
    SimpleFileOptions::default().compression_method(CompressionMethod::Deflated)
}

fn zip<'a>(
    members: impl IntoIterator<Item = (String, &'a [u8])>,
    options: SimpleFileOptions,
) -> anyhow::Result<Vec<u8>> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in members {
        zip.start_file(name.as_str(), options)
            .and_then(|()| Ok(zip.write_all(bytes)?))
            .with_context(|| format!("writing {name} of {} bytes into a zip", bytes.len()))?;
    }
    Ok(zip.finish().context("closing a zip")?.into_inner())
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use zip::ZipArchive;

    use s3s::crypto::{Checksum as _, Md5};

    use super::*;

    #[test]
    fn eicar_is_the_published_file() {
        let digest = Md5::checksum(&eicar());
        let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(digest, "44d88612fea8a8f36de82e1278abb02f");
    }

    #[test]
    fn nests_as_deep_as_asked() {
        let mut bytes = zip_nested(b"payload", 3).expect("a zip");
        for _ in 0..3 {
            let mut archive = ZipArchive::new(Cursor::new(bytes)).expect("a zip");
            bytes = Vec::new();
            archive.by_index(0).expect("a member").read_to_end(&mut bytes).expect("readable");
        }
        assert_eq!(bytes, b"payload");
    }

    #[test]
    fn encrypts_so_that_only_the_password_opens_it() {
        let bytes = zip_encrypted(b"payload", "secret").expect("a zip");
        let mut archive = ZipArchive::new(Cursor::new(bytes)).expect("a zip");
        assert!(archive.by_index(0).is_err(), "it opened without a password");
        let mut plain = Vec::new();
        let mut member = archive.by_index_decrypt(0, b"secret").expect("the password is right");
        member.read_to_end(&mut plain).expect("readable");
        assert_eq!(plain, b"payload");
    }

    #[test]
    fn writes_every_member() {
        let bytes = zip_of_many(300, MARKER).expect("a zip");
        let archive = ZipArchive::new(Cursor::new(bytes)).expect("a zip");
        assert_eq!(archive.len(), 301);
    }

    #[test]
    fn sums_as_every_crc32_does() {
        // The check value of CRC-32/ISO-HDLC in the catalogue of CRC algorithms.
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(number(300), [0xac, 0x02]);
    }

    #[test]
    fn points_into_the_pdf_correctly() {
        let bytes = pdf("hello");
        let text = String::from_utf8(bytes).expect("ASCII");
        let table = text.find("xref\n").expect("a table");
        assert!(text.ends_with(&format!("startxref\n{table}\n%%EOF\n")));
        for (number, line) in (1..).zip(text[table..].lines().skip(3).take(5)) {
            let offset: usize = line[..10].parse().expect("a decimal offset");
            assert!(text[offset..].starts_with(&format!("{number} 0 obj")), "{line}");
        }
    }
}
