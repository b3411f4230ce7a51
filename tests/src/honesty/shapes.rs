//! Files that no free program makes, in the shape that readers know them by; and files that are
//! put together wrongly.

use std::io::Write as _;

use anyhow::Context as _;
use flate2::write::ZlibEncoder;
use flate2::{Compression, Crc};
use notifier_common::Reason::{
    Damaged, Encrypted, LimitDepth, UnsupportedContainer as Unsupported,
};

use super::Expected::{self, Blind, No, Opened};
use super::payload::Payload;
use super::recipes;
use crate::samples;

/// A name, where its magic stands, that magic in hexadecimal, and what is to come of it.
pub(super) type Shape = (&'static str, usize, &'static str, Expected);

/// The payload is behind them.
pub(super) const SHAPES: [Shape; 72] = [
    ("Zstandard 0.7", 0, "27b52ffd", No(Unsupported)),
    ("Zstandard, skippable frame first", 0, "532a4d1804000000", No(Unsupported)),
    ("Snappy, framed", 0, "ff060000734e61507059", No(Unsupported)),
    ("LZFSE", 0, "62767832", No(Unsupported)),
    ("bzip3", 0, "425a337631", No(Unsupported)),
    ("ZPAQ", 0, "377a5351", No(Unsupported)),
    ("KWAJ", 0, "4b57414a88f027d1", No(Unsupported)),
    ("pack", 0, "1f1e00001000", No(Unsupported)),
    ("pack200", 0, "cafed00d", No(Unsupported)),
    ("RPM", 0, "edabeedb0300", No(Unsupported)),
    ("ACE", 0, "d2c231000000902a2a4143452a2a1414", No(Unsupported)),
    ("ACE behind a program", 300, "d2c231000000902a2a4143452a2a1414", No(Unsupported)),
    ("zoo", 0, "5a4f4f20322e313020417263686976652e1a0000dca7c4fd", No(Unsupported)),
    ("ARC", 0, "1a08612e74787400", No(Unsupported)),
    ("LHA, lh2", 0, "20002d6c68322d", No(Unsupported)),
    ("HA", 0, "4841010021", No(Unsupported)),
    ("StuffIt", 0, "53495421000100000100724c6175", No(Unsupported)),
    ("StuffIt 5", 0, "5374756666497420286329313939372d", No(Unsupported)),
    ("InstallShield cabinet", 0, "495363280c600001", No(Unsupported)),
    ("InstallShield 3", 0, "135d658c3a010200", No(Unsupported)),
    ("RAR 1", 0, "52457e5e", No(Unsupported)),
    ("FreeArc", 0, "4172430100", No(Unsupported)),
    ("SQX", 7, "2d7371782d", No(Unsupported)),
    ("EGG, LZMA", 0, "454747410001000000000000130cb50204", No(Unsupported)),
    ("RAR 4, volume", 0, "526172211a0700cf907301010d00000000000000", No(Unsupported)),
    (
        "cabinet, volume",
        0,
        "4d5343460000000000100000000000002c0000000000000003010100010001000000",
        No(Unsupported),
    ),
    ("Windows help", 0, "3f5f0300", No(Unsupported)),
    (
        "yEnc",
        0,
        "3d79626567696e206c696e653d3132382073697a653d3130206e616d653d610a",
        No(Unsupported),
    ),
    ("Outlook PST", 0, "2142444e", No(Unsupported)),
    ("PyInstaller", 64, "4d45490c0b0a0b0e", No(Unsupported)),
    ("AppImage", 0, "7f454c4602010100414902", No(Unsupported)),
    ("Inno Setup", 0, "4d5a496e6e6f2053657475702053657475702044617461202836", No(Unsupported)),
    ("cramfs", 0, "453dcd28", No(Unsupported)),
    ("romfs", 0, "2d726f6d3166732d", No(Unsupported)),
    ("exFAT", 3, "4558464154202020", No(Unsupported)),
    ("NTFS", 3, "4e54465320202020", No(Unsupported)),
    ("Btrfs", 65600, "5f42485266535f4d", No(Unsupported)),
    ("XFS", 0, "58465342", No(Unsupported)),
    ("APFS", 32, "4e585342", No(Unsupported)),
    ("HFS", 1024, "4244000000000000000000000000000300000fff00000200", No(Unsupported)),
    ("text with the mark of HFS in it", 1024, "4244594d3d752e533f46326b5458443b36284829", Opened),
    ("HFS+", 1024, "482b0004", No(Unsupported)),
    ("VHD, dynamic", 0, "636f6e6563746978", No(Unsupported)),
    ("VHDX", 0, "7668647866696c65", No(Unsupported)),
    ("VMDK", 0, "4b444d5601000000", No(Unsupported)),
    ("VDI", 64, "7f10dabe", No(Unsupported)),
    ("QCOW2", 0, "514649fb00000003", No(Unsupported)),
    ("CISO", 0, "4349534f0000", No(Unsupported)),
    ("ISZ", 0, "49735a21", No(Unsupported)),
    ("Android sparse image", 0, "3aff26ed", No(Unsupported)),
    ("OpenPGP, compressed", 0, "a301", No(Unsupported)),
    ("OpenPGP, compressed with zlib", 0, "a302789c", No(Unsupported)),
    ("OpenPGP, compressed with bzip2", 0, "a303425a68", No(Unsupported)),
    ("OpenPGP, for a password", 0, "8c0d04090302", No(Encrypted)),
    ("OpenPGP, for an RSA key", 0, "85018c03", No(Encrypted)),
    (
        "OpenPGP, armoured",
        0,
        "2d2d2d2d2d424547494e20504750204d4553534147452d2d2d2d2d0a",
        No(Encrypted),
    ),
    ("age", 0, "6167652d656e6372797074696f6e2e6f72672f76310a", No(Encrypted)),
    ("LUKS", 0, "4c554b53babe0001", No(Encrypted)),
    ("BitLocker", 3, "2d4656452d46532d", No(Encrypted)),
    ("AES Crypt", 0, "4145530200", No(Encrypted)),
    ("KeePass", 0, "03d9a29a67fb4bb5", No(Encrypted)),
    ("Ansible Vault", 0, "24414e5349424c455f5641554c543b312e313b", No(Encrypted)),
    ("encrypted app package of Windows", 0, "45584248", No(Encrypted)),
    ("macOS disk image, encrypted", 0, "656e637263647361", No(Encrypted)),
    ("Ogg", 0, "4f67675300", Opened),
    ("MP3 with ID3", 0, "49443303000000", Opened),
    ("MP3", 0, "fffb9000", Opened),
    ("RealMedia", 0, "2e524d46", Opened),
    ("SQLite database", 0, "53514c69746520666f726d6174203300", Opened),
    ("SQLite journal", 0, "d9d505f920a163d7", Opened),
    ("SQLite WAL", 0, "377f0682002de218", Opened),
    ("file that calls itself a SIP log", 0, "5349502d48495420285349502f48", Opened),
];

/// A name, how it is made, and what is to come of it.
pub(super) type Made = (&'static str, fn(&Payload) -> anyhow::Result<Vec<u8>>, Expected);

/// What takes more than a magic.
pub(super) const MADE: [Made; 34] = [
    ("text", |payload| Ok(payload.text.clone()), Opened),
    ("PDF", |payload| Ok([samples::pdf("x"), payload.text.clone()].concat()), Opened),
    ("RAR 4", |payload| samples::rar4(&payload.gzip), Opened),
    ("RAR 5", |payload| Ok(samples::rar5(&payload.gzip)), Opened),
    (
        "RAR 4 behind a program",
        |payload| Ok([std::fs::read("/bin/true")?, samples::rar4(&payload.gzip)?].concat()),
        Opened,
    ),
    (
        "RAR 5 behind a program",
        |payload| Ok([std::fs::read("/bin/true")?, samples::rar5(&payload.gzip)].concat()),
        No(Unsupported),
    ),
    (
        "RAR 5, volume",
        |payload| Ok(samples::rar5_volume(&reversed(&payload.gzip))),
        No(Unsupported),
    ),
    ("zip of 10,050 members", |payload| samples::zip_of_many(10_050, &payload.text), Opened),
    ("16 zips deep", |payload| samples::zip_nested(&payload.text, 16), Opened),
    ("90 zips deep", |payload| samples::zip_nested(&payload.text, 90), Opened),
    ("110 zips deep", |payload| samples::zip_nested(&payload.text, 110), No(LimitDepth)),
    ("HTML in UTF-16", |payload| Ok(utf16(&page(&payload.text))), Opened),
    ("HTML in entities", |payload| Ok(page(&entities(&payload.text))), Opened),
    (
        "Zstandard",
        |payload| zstd::encode_all(&*payload.text, 3).context("packing"),
        No(Unsupported),
    ),
    (
        "Zstandard in a Zstandard",
        |payload| zstd::encode_all(&*zstd::encode_all(&*payload.text, 3)?, 3).context("packing"),
        No(Unsupported),
    ),
    ("bare zlib", |payload| zlib(&payload.text, 6), No(Unsupported)),
    ("bare zlib, packed in haste", |payload| zlib(&payload.text, 3), No(Unsupported)),
    (
        "text that begins as zlib does",
        |payload| Ok([b"x^2 + y^2 = z^2\n", &*payload.text].concat()),
        Opened,
    ),
    ("zip, Zstandard", |payload| zip_by(93, payload), No(Unsupported)),
    ("zip, shrunk", |payload| zip_by(1, payload), No(Unsupported)),
    ("zip, MP3", |payload| zip_by(94, payload), No(Unsupported)),
    ("zip, method 77", |payload| zip_by(77, payload), No(Unsupported)),
    ("zip, method 300", |payload| zip_by(300, payload), No(Unsupported)),
    (
        "macOS disk image, LZFSE",
        |payload| Ok([b"data", &b"bvx2"[..], &payload.gzip, b"koly", &[0; 508]].concat()),
        No(Unsupported),
    ),
    (
        "VHD, fixed",
        |payload| Ok([&[0; 512], &*payload.gzip, b"conectix", &[0; 504]].concat()),
        No(Unsupported),
    ),
    (
        "zip behind a gzip",
        |payload| Ok([&*gzip_of_text()?, &zip(&payload.text)?].concat()),
        No(Unsupported),
    ),
    ("xlsx with a password", |payload| Ok(ole(&wide("EncryptedPackage"), payload)), No(Encrypted)),
    (
        "doc with a password",
        |payload| {
            let fib = [&[0xec, 0xa5, 0xc1, 0][..], &[0; 6], &[0, 0x13, 0]].concat();
            Ok(ole(&fib, payload))
        },
        No(Encrypted),
    ),
    (
        "xls with a password",
        |payload| {
            let bof = [&[9, 8, 16, 0, 0, 6, 5, 0][..], &[0; 12], &[0x2f, 0, 0x36, 0]].concat();
            Ok(ole(&bof, payload))
        },
        No(Encrypted),
    ),
    (
        "ppt with a password",
        |payload| {
            let atom = [0, 0, 0xf6, 0x0f, 0x14, 0, 0, 0, 0x14, 0, 0, 0, 0xdf, 0xc4, 0xd1, 0xf3];
            Ok(ole(&atom, payload))
        },
        No(Encrypted),
    ),
    (
        "odt with a password",
        |payload| {
            let manifest = br#"<manifest:algorithm manifest:initialisation-vector="x"/>"#;
            samples::zip_of(&[("META-INF/manifest.xml", manifest), ("x", &reversed(&payload.gzip))])
        },
        No(Encrypted),
    ),
    (
        "zip without a directory",
        |payload| {
            let mut zip = zip(&payload.text)?;
            zip.truncate(find(&zip, b"PK\x01\x02")?);
            Ok(zip)
        },
        No(Damaged),
    ),
    (
        "RAR 5, cut",
        |payload| {
            let rar = samples::rar5(&payload.gzip);
            Ok(rar[..80].to_vec())
        },
        No(Damaged),
    ),
    (
        "MP3 with a zip behind it",
        |payload| Ok([b"ID3\x03\0\0\0", &*zip(&payload.text)?].concat()),
        Opened,
    ),
];

/// What no signature recognises; clamd's log says some of it.
pub(super) const HIDDEN: [Made; 6] = [
    (
        "zip, damaged in its data",
        |payload| {
            let mut zip = zip(&payload.text)?;
            zip[50..60].fill(0xff);
            Ok(zip)
        },
        No(Damaged),
    ),
    (
        "gzip, damaged in its data",
        |payload| {
            let mut gzip = payload.gzip.clone();
            gzip[20..30].fill(0xff);
            Ok(gzip)
        },
        No(Damaged),
    ),
    ("7z, header packed as ClamAV does not know", seven_zip, No(Unsupported)),
    (
        "HTML comment",
        |payload| Ok([b"<html><!-- ", &*payload.text, b" --><body>x</body></html>"].concat()),
        Blind("comments of HTML"),
    ),
    (
        "HTML in UTF-16, big-endian, unmarked",
        |payload| {
            let page = page(&entities(&payload.text));
            Ok(page.iter().flat_map(|byte| [0, *byte]).collect())
        },
        Blind("HTML in big-endian UTF-16 without its mark"),
    ),
    (
        "gzip behind a text",
        |payload| Ok([b"text\n", &*payload.gzip].concat()),
        Blind("a file behind another one"),
    ),
];

/// `magic` at `offset`, and the payload behind it.
pub(super) fn shape(
    offset: usize,
    magic: &str,
    opened: bool,
    payload: &Payload,
) -> anyhow::Result<Vec<u8>> {
    let mut file = vec![0; offset];
    for pair in 0..magic.len() / 2 {
        file.push(u8::from_str_radix(&magic[2 * pair..2 * pair + 2], 16).context("hexadecimal")?);
    }
    // Most of them would show plain text; it is the gzip that only who opens them finds.
    let inside = if opened { &payload.text } else { &payload.gzip };
    Ok([&file, &[0; 64][..], inside].concat())
}

pub(super) fn zip(bytes: &[u8]) -> anyhow::Result<Vec<u8>> {
    samples::zip_of(&[("file.txt", bytes)])
}

/// A zip that says that its only member is packed by `method`.
fn zip_by(method: u16, payload: &Payload) -> anyhow::Result<Vec<u8>> {
    let mut zip = zip(&payload.text)?;
    let directory = find(&zip, b"PK\x01\x02")?;
    for at in [8, directory + 10] {
        zip[at..at + 2].copy_from_slice(&method.to_le_bytes());
    }
    Ok(zip)
}

pub(super) fn gzip_of_text() -> anyhow::Result<Vec<u8>> {
    Ok(Payload::new(false)?.gzip)
}

fn zlib(bytes: &[u8], level: u32) -> anyhow::Result<Vec<u8>> {
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::new(level));
    zlib.write_all(bytes).and_then(|()| zlib.finish()).context("packing")
}

/// A 7z whose packed header says that it is Deflate and not LZMA, with its two sums made good (7zFormat.txt
/// of the LZMA SDK: `SignatureHeader`).
fn seven_zip(payload: &Payload) -> anyhow::Result<Vec<u8>> {
    let many =
        "for n in 1 2 3 4 5 6; do (cat a.gz; echo $n) > $n.txt; done; 7z a o.7z *.txt; mv o.7z out";
    let mut file = recipes::make(many, payload)?;
    let start =
        32 + usize::try_from(u64::from_le_bytes(*file[12..].first_chunk().context("short")?))?;
    let coder = start + find(&file[start..], &[3, 1, 1])?;
    file[coder..coder + 3].copy_from_slice(&[4, 1, 8]);
    for (sum_at, summed) in [(28, start..file.len()), (8, 12..32)] {
        let mut sum = Crc::new();
        sum.update(&file[summed]);
        file[sum_at..sum_at + 4].copy_from_slice(&sum.sum().to_le_bytes());
    }
    Ok(file)
}

/// The first sector of an OLE container, and a stream that begins so, with what is behind it
/// scrambled.
fn ole(stream: &[u8], payload: &Payload) -> Vec<u8> {
    let magic = [0xd0, 0xcf, 0x11, 0xe0, 0xa1, 0xb1, 0x1a, 0xe1];
    [&magic, &[0; 504][..], stream, &[0; 16], &reversed(&payload.gzip)].concat()
}

/// Nobody opens this.
fn reversed(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().rev().copied().collect()
}

fn page(body: &[u8]) -> Vec<u8> {
    [b"<html><body>", body, b"</body></html>"].concat()
}

fn entities(text: &[u8]) -> Vec<u8> {
    text.iter().flat_map(|byte| format!("&#{byte};").into_bytes()).collect()
}

fn utf16(text: &[u8]) -> Vec<u8> {
    [0xff, 0xfe].into_iter().chain(text.iter().flat_map(|byte| [*byte, 0])).collect()
}

fn wide(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

pub(super) fn find(haystack: &[u8], needle: &[u8]) -> anyhow::Result<usize> {
    let found = haystack.windows(needle.len()).position(|window| window == needle);
    found.with_context(|| format!("no {needle:02x?} in the file"))
}
