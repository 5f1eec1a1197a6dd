//! What the matchers know of the words of some texts.

use std::collections::{BTreeSet, HashMap};

use rust_stemmers::{Algorithm, Stemmer};

use super::data::MeteorData;
use crate::Result;

/// Phrases that can be said in another way: the number of words of the one, and the other.
type Phrases = HashMap<Vec<u32>, Vec<Vec<u32>>>;

/// Words by number.
pub(in super::super) struct Lexicon {
    /// Equal where stems are.
    stems: Vec<u32>,
    functional: Vec<bool>,
    senses: Vec<BTreeSet<u32>>,
    phrases: Phrases,
    /// Words of the longest phrase.
    longest: usize,
}

impl Lexicon {
    /// Of `words`, which stand at their numbers, without the program's tables.
    pub fn plain(words: Vec<String>) -> Self {
        let stemmer = Stemmer::create(Algorithm::English);
        let mut numbers = HashMap::new();
        let stem = |word: &String| {
            let next = numbers.len() as u32;
            *numbers.entry(stemmer.stem(word).into_owned()).or_insert(next)
        };
        Self {
            stems: words.iter().map(stem).collect(),
            functional: vec![false; words.len()],
            senses: vec![BTreeSet::new(); words.len()],
            phrases: Phrases::new(),
            longest: 0,
        }
    }

    /// Of `words`, which stand at their numbers.
    pub fn with(words: Vec<String>, data: &MeteorData) -> Result<Self> {
        let functional = words.iter().map(|word| data.is_functional(word)).collect();
        let senses = words.iter().map(|word| data.senses(word)).collect();
        let numbers: HashMap<&str, u32> =
            words.iter().enumerate().map(|(i, word)| (word.as_str(), i as u32)).collect();
        let (mut phrases, mut longest) = (Phrases::new(), 0);
        data.paraphrases(&numbers, |phrase, other| {
            longest = longest.max(phrase.len());
            phrases.entry(phrase).or_default().push(other);
        })?;
        Ok(Self { functional, senses, phrases, longest, ..Self::plain(words) })
    }

    pub fn stem(&self, word: u32) -> u32 {
        self.stems[word as usize]
    }

    pub fn is_functional(&self, word: u32) -> bool {
        self.functional[word as usize]
    }

    pub fn are_synonyms(&self, a: u32, b: u32) -> bool {
        !self.senses[a as usize].is_disjoint(&self.senses[b as usize])
    }

    /// What the first words of `text` can be said by, the shortest phrases first: the number of those
    /// words, and the other phrase.
    pub fn paraphrases(&self, text: &[u32]) -> impl Iterator<Item = (usize, &[u32])> {
        let lens = 1..=self.longest.min(text.len());
        lens.flat_map(move |len| {
            let others = self.phrases.get(&text[..len]).into_iter().flatten();
            others.map(move |other| (len, other.as_slice()))
        })
    }
}
