//! Cabinets, for which there is no free packer everywhere (MS-CAB: "Microsoft Cabinet Format").

use std::io::Write as _;

use anyhow::Context as _;
use flate2::Compression;
use flate2::write::DeflateEncoder;
use notifier_common::Reason::Damaged;

use super::Expected::{Beside, No, Opened};
use super::shapes::Made;

pub(super) const CABINETS: [Made; 10] = [
    ("cabinet", |payload| cabinet(&[block(&payload.text, true)?]), Opened),
    ("cabinet, without checksums", |payload| cabinet(&[block(&payload.text, false)?]), Opened),
    (
        "cabinet of two folders",
        |payload| cabinet(&[block(b"text", true)?, block(&payload.text, true)?]),
        Opened,
    ),
    (
        "cabinet, damaged in its data",
        |payload| cabinet(&[damaged(block(&payload.text, true)?)]),
        No(Damaged),
    ),
    (
        "cabinet, damaged in its data, without checksums",
        |payload| cabinet(&[damaged(block(&payload.text, false)?)]),
        No(Damaged),
    ),
    (
        "cabinet, wrong checksum",
        |payload| {
            let (mut block, length) = block(&payload.text, true)?;
            block[0] ^= 1;
            cabinet(&[(block, length)])
        },
        Beside(Damaged),
    ),
    (
        "cabinet of two folders, the first one damaged",
        |payload| cabinet(&[damaged(block(&payload.text, false)?), block(b"text", true)?]),
        No(Damaged),
    ),
    (
        "cabinet, said to be LZX",
        |payload| {
            let mut cabinet = cabinet(&[block(&payload.text, true)?])?;
            cabinet[FOLDER_AT + 6..FOLDER_AT + 8].copy_from_slice(&[3, 21]);
            Ok(cabinet)
        },
        No(Damaged),
    ),
    (
        "cabinet, of a compression that is not known",
        |payload| {
            let mut cabinet = cabinet(&[block(&payload.text, true)?])?;
            cabinet[FOLDER_AT + 6] = 4;
            Ok(cabinet)
        },
        No(Damaged),
    ),
    (
        "cabinet, cut",
        |payload| {
            let mut cabinet = cabinet(&[block(&payload.text, true)?])?;
            cabinet.truncate(cabinet.len() - 40);
            Ok(cabinet)
        },
        No(Damaged),
    ),
];

/// The header has so many bytes; what describes the folders is behind it.
const FOLDER_AT: usize = 36;

/// What is packed, with its header (CFDATA), and how long it was before.
type Block = (Vec<u8>, usize);

/// MSZIP: two letters, and Deflate.
fn block(bytes: &[u8], summed: bool) -> anyhow::Result<Block> {
    let mut deflate = DeflateEncoder::new(b"CK".to_vec(), Compression::default());
    let packed = deflate.write_all(bytes).and_then(|()| deflate.finish()).context("packing")?;
    let lengths = [u16::try_from(packed.len())?, u16::try_from(bytes.len())?];
    let lengths = lengths.map(u16::to_le_bytes).concat();
    let sum = if summed { sum(&packed) ^ sum(&lengths) } else { 0 };
    Ok(([&sum.to_le_bytes(), &*lengths, &packed].concat(), bytes.len()))
}

/// Words of four bytes, of which the last may be shorter and is then the other way round.
fn sum(bytes: &[u8]) -> u32 {
    let words = bytes.chunks_exact(4);
    let rest = words.remainder().iter().fold(0, |rest, byte| rest << 8 | u32::from(*byte));
    words.fold(rest, |sum, word| {
        sum ^ word.iter().rfold(0, |number, byte| number << 8 | u32::from(*byte))
    })
}

fn damaged((mut block, length): Block) -> Block {
    block[20..30].fill(0xff);
    (block, length)
}

/// A folder of one block for each, and in each a file.
fn cabinet(blocks: &[Block]) -> anyhow::Result<Vec<u8>> {
    const FOLDER: usize = 8;
    const NAME: &[u8] = b"file.txt\0";
    let count = u16::try_from(blocks.len())?;
    let files_at = FOLDER_AT + FOLDER * blocks.len();
    let mut data_at = files_at + (16 + NAME.len()) * blocks.len();
    let length = data_at + blocks.iter().map(|(block, _)| block.len()).sum::<usize>();

    let mut cabinet = b"MSCF\0\0\0\0".to_vec();
    for number in [length, 0, files_at, 0] {
        cabinet.extend(u32::try_from(number)?.to_le_bytes());
    }
    // Version 1.3; nothing before or behind it.
    for number in [0x0103, count, count, 0, 0, 0] {
        cabinet.extend(number.to_le_bytes());
    }
    for (block, _) in blocks {
        cabinet.extend(u32::try_from(data_at)?.to_le_bytes());
        // One block, MSZIP.
        cabinet.extend([1, 0, 1, 0]);
        data_at += block.len();
    }
    for (folder, (_, length)) in (0..count).zip(blocks) {
        cabinet.extend(u32::try_from(*length)?.to_le_bytes());
        cabinet.extend([0; 4]);
        cabinet.extend(folder.to_le_bytes());
        cabinet.extend([0; 6]);
        cabinet.extend(NAME);
    }
    for (block, _) in blocks {
        cabinet.extend(block);
    }
    Ok(cabinet)
}
