//! The samples of a page, taken from the bytes of its chunks.

use half::f16;

use super::layout::{Layout, SampleKind};

/// The samples of a page `[height, width, samples]`, by the memory that they take.
pub(super) enum Samples {
    /// Unsigned, up to 8 bits.
    Bytes(Vec<u8>),
    /// Unsigned, 9 to 16 bits.
    Words(Vec<u16>),
    /// All others.
    Reals(Vec<f64>),
}

impl Samples {
    /// Samples of which none is known yet.
    pub fn new(layout: &Layout) -> Self {
        let count = layout.width * layout.height * layout.samples;
        match (layout.kind, layout.bits) {
            (SampleKind::Unsigned, ..=8) => Self::Bytes(vec![0; count]),
            (SampleKind::Unsigned, 9..=16) => Self::Words(vec![0; count]),
            _ => Self::Reals(vec![0.0; count]),
        }
    }

    /// Puts the first `count` samples of `row` at `at`, `step` apart.
    pub fn put(&mut self, layout: &Layout, row: &[u8], (at, step, count): (usize, usize, usize)) {
        let reader =
            Reader { row, bits: layout.bits as usize, is_big_endian: layout.is_big_endian };
        match self {
            Self::Bytes(samples) if layout.bits == 8 && step == 1 => {
                samples[at..at + count].copy_from_slice(&row[..count]);
            }
            Self::Bytes(samples) => {
                let places = samples[at..].iter_mut().step_by(step).take(count);
                places.enumerate().for_each(|(i, place)| *place = reader.word(i) as u8);
            }
            Self::Words(samples) => {
                let places = samples[at..].iter_mut().step_by(step).take(count);
                places.enumerate().for_each(|(i, place)| *place = reader.word(i));
            }
            Self::Reals(samples) => {
                let places = samples[at..].iter_mut().step_by(step).take(count);
                places.enumerate().for_each(|(i, place)| *place = reader.real(i, layout.kind));
            }
        }
    }
}

/// Reads the samples of a row.
struct Reader<'a> {
    row: &'a [u8],
    bits: usize,
    is_big_endian: bool,
}

impl Reader<'_> {
    /// Sample `i`, unsigned and of at most 16 bits.
    fn word(&self, i: usize) -> u16 {
        match self.bits {
            8 => self.row[i].into(),
            16 => self.number(i) as u16,
            bits => {
                // Samples of other sizes are packed from the highest bit on, in either byte order.
                let bit = |at: usize| u16::from(self.row[at / 8] >> (7 - at % 8) & 1);
                (i * bits..(i + 1) * bits).fold(0, |sum, at| (sum << 1) | bit(at))
            }
        }
    }

    /// Sample `i` of whole bytes, by its bits.
    fn number(&self, i: usize) -> u64 {
        let length = self.bits / 8;
        let bytes = &self.row[i * length..(i + 1) * length];
        let append = |sum: u64, &byte: &u8| (sum << 8) | u64::from(byte);
        match self.is_big_endian {
            true => bytes.iter().fold(0, append),
            false => bytes.iter().rev().fold(0, append),
        }
    }

    /// Sample `i` of whole bytes.
    fn real(&self, i: usize, kind: SampleKind) -> f64 {
        let number = self.number(i);
        match (kind, self.bits) {
            (SampleKind::Unsigned, _) => number as f64,
            (SampleKind::Signed, 8) => (number as i8).into(),
            (SampleKind::Signed, 16) => (number as i16).into(),
            (SampleKind::Signed, 32) => (number as i32).into(),
            (SampleKind::Signed, _) => number as i64 as f64,
            (SampleKind::Float, 16) => f16::from_bits(number as u16).into(),
            (SampleKind::Float, 32) => f32::from_bits(number as u32).into(),
            (SampleKind::Float, _) => f64::from_bits(number),
        }
    }
}
