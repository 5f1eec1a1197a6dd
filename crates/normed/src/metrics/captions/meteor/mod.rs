//! METEOR 1.5 (Denkowski & Lavie 2014, Meteor Universal, section 2) as its program computes it for English
//! with `-norm`, as the COCO caption tools call it. Without the program's tables there are no synonyms,
//! paraphrases and function words; that score has another name, `meteor_exact_stem`.

mod alignment;
mod lexicon;
mod normalize;
mod tables;

use std::iter::zip;

use rayon::prelude::*;

pub(super) use lexicon::Lexicon;
pub use tables::MeteorData;

use super::text::Vocabulary;
use alignment::{WEIGHTS, align, count_chunks};

// The parameters for English (Denkowski & Lavie 2014, table 1).
/// Weight of recall against precision.
const ALPHA: f64 = 0.85;
/// Shape of the penalty for chunks.
const BETA: f64 = 0.2;
/// Weight of the penalty for chunks.
const GAMMA: f64 = 0.6;
/// Weight of content words against function words.
const DELTA: f64 = 0.75;

/// What METEOR is computed from: the matches of a text with its best reference, summed over texts. Arrays
/// hold the text's value, then the reference's.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct MeteorCounts {
    /// Sum of the words' weights.
    words: [f64; 2],
    /// Sum of the matched words' weights, times the weight of the matcher.
    matches: [f64; 2],
    /// Number of matched words, of both sides together.
    matched: f64,
    /// Number of chunks; 0 where the text equals its reference.
    chunks: f64,
}

impl MeteorCounts {
    fn new(lexicon: &Lexicon, pair: [&[u32]; 2]) -> Self {
        let weight = |&word: &u32| if lexicon.is_functional(word) { 1.0 - DELTA } else { DELTA };
        let matches = align(lexicon, pair[0], pair[1]);
        let mut counts = Self { chunks: count_chunks(&matches) as f64, ..Self::default() };
        for (side, words) in pair.iter().enumerate() {
            counts.words[side] = words.iter().map(weight).sum();
            for one in &matches {
                let matched: f64 = words[one.words(side)].iter().map(weight).sum();
                counts.matches[side] += WEIGHTS[one.matcher] * matched;
                counts.matched += one.len[side] as f64;
            }
        }
        let all = pair[0].len() + pair[1].len();
        if counts.chunks == 1.0 && counts.matched == all as f64 {
            counts.chunks = 0.0;
        }
        counts
    }

    /// The score, 0 to 1.
    pub fn value(&self) -> f64 {
        let [precision, recall] = [0, 1].map(|side| self.matches[side] / self.words[side]);
        let mean = 1.0 / ((1.0 - ALPHA) / precision + ALPHA / recall);
        let penalty = GAMMA * (self.chunks / (self.matched / 2.0)).powf(BETA);
        let score = mean * (1.0 - penalty);
        // It is NaN where nothing matches or there are no words.
        if score.is_nan() { 0.0 } else { score.max(0.0) }
    }
}

impl std::ops::AddAssign for MeteorCounts {
    fn add_assign(&mut self, other: Self) {
        for side in [0, 1] {
            self.words[side] += other.words[side];
            self.matches[side] += other.matches[side];
        }
        self.matched += other.matched;
        self.chunks += other.chunks;
    }
}

/// The counts of each text with the reference that gives the highest score. Texts and references are
/// tokenized; `lexicon` makes the lexicon of all words that occur.
pub(super) fn count_matches<E>(
    texts: &[Vec<String>],
    references: &[Vec<Vec<String>>],
    lexicon: impl FnOnce(Vec<String>) -> Result<Lexicon, E>,
) -> Result<Vec<MeteorCounts>, E> {
    let mut vocabulary = Vocabulary::default();
    let mut numbers = |tokens: &Vec<String>| -> Vec<u32> {
        normalize::split_words(tokens).iter().map(|word| vocabulary.number(word)).collect()
    };
    let texts: Vec<Vec<u32>> = texts.iter().map(&mut numbers).collect();
    let references: Vec<Vec<Vec<u32>>> =
        references.iter().map(|lines| lines.iter().map(&mut numbers).collect()).collect();
    let lexicon = lexicon(vocabulary.words())?;
    let best = |(text, lines): (&Vec<u32>, &Vec<Vec<u32>>)| {
        let counts = lines.iter().map(|line| MeteorCounts::new(&lexicon, [text, line]));
        // The first one if several are best.
        counts.reduce(|best, next| if next.value() > best.value() { next } else { best })
    };
    let pairs: Vec<_> = zip(&texts, &references).collect();
    Ok(pairs.into_par_iter().map(|pair| best(pair).unwrap_or_default()).collect())
}
