//! Single signatures. What is not said to be public is assumed.

use std::fmt::Write as _;

use fastrand::Rng;

use super::Kind;

/// The part of logical signatures that is for Windows programs: 88 of 100 in the public `main.ldb`
/// of 2024, taken for `daily.ldb` too.
const LOGICAL: [(u8, u32); 9] =
    [(1, 880), (0, 9), (2, 30), (3, 20), (6, 30), (7, 5), (9, 6), (10, 15), (12, 5)];

/// Targets of body signatures, in 1,000.
const BODY: [(u8, u32); 7] = [(1, 650), (0, 60), (2, 60), (3, 100), (6, 60), (7, 30), (10, 40)];

/// Subsignatures of a logical signature, in 100. Mean 3.7.
const SUBSIGNATURES: [(u8, u32); 8] =
    [(1, 12), (2, 18), (3, 24), (4, 18), (5, 12), (6, 8), (7, 5), (8, 3)];

/// Wildcards that stand in signatures. Nothing in them is longer than a few bytes.
const WILDCARDS: [&str; 4] = ["??", "{4}", "{2-12}", "*"];

const FAMILIES: [&str; 12] = [
    "Agent",
    "Generic",
    "Emotet",
    "Zbot",
    "Downloader",
    "Ransom",
    "Dropper",
    "Virut",
    "Sality",
    "Upatre",
    "Fareit",
    "Zusy",
];

/// How unevenly bytes follow each other: the weight of the n-th most frequent successor is `n` to
/// this power. Signatures then share as many of their first bytes as real ones, which is what the
/// engine's memory hangs on; chosen so that it comes out as with the public database.
const SKEW: f64 = -1.015;

/// Steps of the inverse distribution.
const STEPS: usize = 4096;

/// Makes one line after the other.
pub(super) struct Lines {
    rng: Rng,
    number: u64,
    /// For each byte the others, most frequent successor first.
    successors: Vec<[u8; 256]>,
    /// Ranks, as often as their weight says.
    ranks: Vec<u8>,
}

impl Lines {
    pub(super) fn new(mut rng: Rng) -> Self {
        let successors = (0..256).map(|_| {
            let mut bytes: [u8; 256] = std::array::from_fn(|n| n.to_le_bytes()[0]);
            rng.shuffle(&mut bytes);
            bytes
        });
        let successors = successors.collect();
        let weights: Vec<f64> = (1..=256_u32).map(|n| f64::from(n).powf(SKEW)).collect();
        let total: f64 = weights.iter().sum();
        let (mut ranks, mut sum) = (Vec::with_capacity(STEPS), 0.0);
        for (rank, weight) in (0..=255_u8).zip(weights) {
            sum += weight;
            while f64::from(u32::try_from(ranks.len()).unwrap_or(u32::MAX))
                < sum / total * f64::from(u32::try_from(STEPS).unwrap_or(u32::MAX))
                && ranks.len() < STEPS
            {
                ranks.push(rank);
            }
        }
        Self { rng, number: 6_000_000, successors, ranks }
    }

    /// Adds a line, newline included.
    pub(super) fn write(&mut self, kind: Kind, line: &mut String) {
        self.number += 1;
        match kind {
            // size:MD5:name; sections are padded to 512 bytes.
            Kind::Mdb => {
                let size = self.size(6.0, 16.0) / 512 * 512 + 512;
                self.hash(&format!("{size}:"), "", line);
            }
            // hash:size:name, here with the functionality level that lines of `main.hsb` end in. 71
            // bytes a line in the public `main.info` leave room for an MD5 and not for a SHA-256.
            Kind::Hsb => {
                let size = self.size(8.0, 14.0);
                self.hash_first(size, line);
                line.push_str(":73");
            }
            Kind::Hdb => {
                let size = self.size(8.0, 14.0);
                self.hash_first(size, line);
            }
            Kind::Ndb => self.body(line),
            Kind::Ldb => self.logical(line),
        }
        line.push('\n');
    }

    fn hash(&mut self, before: &str, after: &str, line: &mut String) {
        let hash = self.rng.u128(..);
        write!(line, "{before}{hash:032x}:{after}").expect("a string takes all");
        self.name("", line);
    }

    fn hash_first(&mut self, size: u32, line: &mut String) {
        let hash = self.rng.u128(..);
        write!(line, "{hash:032x}:{size}:").expect("a string takes all");
        self.name("-0", line);
    }

    fn name(&mut self, after: &str, line: &mut String) {
        let family = FAMILIES[self.rng.usize(..FAMILIES.len())];
        write!(line, "Win.Trojan.{family}-{}{after}", self.number).expect("a string takes all");
    }

    /// Sizes spread over powers of two, the middle ones most.
    fn size(&mut self, from: f64, spread: f64) -> u32 {
        let exponent = from + spread * (self.rng.f64() + self.rng.f64()) / 2.0;
        // At most 2 to the power of 22 or so.
        format!("{:.0}", exponent.exp2()).parse().unwrap_or(u32::MAX)
    }

    /// `name:target:offset:bytes`
    fn body(&mut self, line: &mut String) {
        let target = pick(&mut self.rng, &BODY);
        self.name("", line);
        let offset = match target {
            1 if self.rng.u8(..2) == 0 => "EP+0",
            _ => "*",
        };
        write!(line, ":{target}:{offset}:").expect("a string takes all");
        // 10 MB for 45,000 lines in the public `main.info`: about 90 bytes, a few of them many.
        let length = self.rng.usize(16..96) + self.rng.usize(..96) * usize::from(self.rng.bool());
        // 45 of 100 have wildcards.
        if self.rng.u8(..100) < 45 {
            self.bytes(length / 2, line);
            line.push_str(WILDCARDS[self.rng.usize(..WILDCARDS.len())]);
            self.bytes(length / 2, line);
        } else {
            self.bytes(length, line);
        }
    }

    /// `name;attributes;expression;subsignature;...`
    fn logical(&mut self, line: &mut String) {
        let target = pick(&mut self.rng, &LOGICAL);
        let count = pick(&mut self.rng, &SUBSIGNATURES);
        self.name("-0", line);
        write!(line, ";Engine:51-255,Target:{target};0").expect("a string takes all");
        for n in 1..count {
            write!(line, "&{n}").expect("a string takes all");
        }
        for _ in 0..count {
            line.push(';');
            // 65 MB for 265,000 lines in the public `daily.info`, scaled.
            let length = self.rng.usize(8..40);
            self.bytes(length, line);
            match self.rng.u8(..100) {
                0..8 => line.push_str("::i"),
                8..12 => {
                    line.push_str(WILDCARDS[self.rng.usize(..WILDCARDS.len())]);
                    self.bytes(6, line);
                }
                _ => {}
            }
        }
    }

    /// In hexadecimal.
    fn bytes(&mut self, count: usize, line: &mut String) {
        let mut byte = 0;
        for _ in 0..count {
            let rank = self.ranks[self.rng.usize(..STEPS)];
            byte = self.successors[usize::from(byte)][usize::from(rank)];
            write!(line, "{byte:02x}").expect("a string takes all");
        }
    }
}

/// One of them, by weight.
fn pick(rng: &mut Rng, weighted: &[(u8, u32)]) -> u8 {
    let total: u32 = weighted.iter().map(|(_, weight)| weight).sum();
    let mut left = rng.u32(..total);
    for (value, weight) in weighted {
        if left < *weight {
            return *value;
        }
        left -= weight;
    }
    unreachable!("the sum is above every number below it")
}
