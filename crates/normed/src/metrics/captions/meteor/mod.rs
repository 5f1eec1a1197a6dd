//! METEOR 1.5 (Denkowski & Lavie 2014) as its program computes it for English with `-norm`, which is how
//! the COCO caption tools call it. Without the program's tables there are neither synonyms nor paraphrases
//! nor function words: another score, which bears another name.

mod align;
mod data;
mod lexicon;
mod normalise;

use std::iter::zip;

use rayon::prelude::*;

pub use data::MeteorData;

use super::Vocabulary;
use align::{WEIGHTS, align, chunks};
pub(super) use lexicon::Lexicon;

/// The parameters for English: how much recall weighs against precision, the shape and the weight of
/// the penalty for chunks, and how much words with a content weigh against function words.
const ALPHA: f64 = 0.85;
const BETA: f64 = 0.2;
const GAMMA: f64 = 0.6;
const DELTA: f64 = 0.75;

/// What a text shares with its best reference; sums over texts. Pairs are of the text and the
/// reference.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Counts {
    /// Words, by what they weigh.
    words: [f64; 2],
    /// Matched words, by what they and their matches weigh.
    matches: [f64; 2],
    /// Matched words.
    matched: f64,
    /// None of a text that is its reference, word by word.
    chunks: f64,
}

impl Counts {
    fn new(lexicon: &Lexicon, pair: [&[u32]; 2]) -> Self {
        let weight = |&word: &u32| if lexicon.is_functional(word) { 1.0 - DELTA } else { DELTA };
        let found = align(lexicon, pair[0], pair[1]);
        let mut counts = Self { chunks: chunks(&found) as f64, ..Self::default() };
        for (side, words) in pair.iter().enumerate() {
            counts.words[side] = words.iter().map(weight).sum();
            for one in &found {
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
        // Where nothing is matched, or there are no words.
        if score.is_nan() { 0.0 } else { score.max(0.0) }
    }
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        for side in [0, 1] {
            self.words[side] += other.words[side];
            self.matches[side] += other.matches[side];
        }
        self.matched += other.matched;
        self.chunks += other.chunks;
    }
}

/// The counts of each of some texts against the one of its references that it scores most with; texts
/// and references are tokenised. `lexicon` says what is known of their words.
pub(super) fn counts<E>(
    texts: &[Vec<String>],
    references: &[Vec<Vec<String>>],
    lexicon: impl FnOnce(Vec<String>) -> Result<Lexicon, E>,
) -> Result<Vec<Counts>, E> {
    let mut vocabulary = Vocabulary::default();
    let mut numbers = |tokens: &Vec<String>| -> Vec<u32> {
        normalise::words(tokens).iter().map(|word| vocabulary.number(word)).collect()
    };
    let texts: Vec<Vec<u32>> = texts.iter().map(&mut numbers).collect();
    let references: Vec<Vec<Vec<u32>>> =
        references.iter().map(|lines| lines.iter().map(&mut numbers).collect()).collect();
    let lexicon = lexicon(vocabulary.words())?;
    let best = |(text, lines): (&Vec<u32>, &Vec<Vec<u32>>)| {
        let counts = lines.iter().map(|line| Counts::new(&lexicon, [text, line]));
        // The first of the best.
        counts.reduce(|best, next| if next.value() > best.value() { next } else { best })
    };
    let pairs: Vec<_> = zip(&texts, &references).collect();
    Ok(pairs.into_par_iter().map(|pair| best(pair).unwrap_or_default()).collect())
}
