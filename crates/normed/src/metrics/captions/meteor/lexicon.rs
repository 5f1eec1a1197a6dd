//! The lexicon of some texts: stems, synonyms, paraphrases and function words.

use std::collections::{BTreeSet, HashMap};

use rust_stemmers::{Algorithm, Stemmer};

use super::tables::MeteorData;
use crate::Result;

/// The paraphrases of each phrase; words are numbers.
type Phrases = HashMap<Vec<u32>, Vec<Vec<u32>>>;

/// What is known of each word; words are numbers.
pub(crate) struct Lexicon {
    /// The stem of each word, as a number: equal for words with the same stem.
    stems: Vec<u32>,
    /// Whether each word is a function word.
    functional: Vec<bool>,
    /// The sets of synonyms that each word is in.
    senses: Vec<BTreeSet<u32>>,
    phrases: Phrases,
    /// The length of the longest phrase, in words.
    longest: usize,
}

impl Lexicon {
    /// A lexicon of `words`, each at the index that is its number, with stems only.
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

    /// A lexicon of `words`, each at the index that is its number, with the tables of METEOR.
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

    /// The stem of `word`, as a number.
    pub fn stem(&self, word: u32) -> u32 {
        self.stems[word as usize]
    }

    /// Whether `word` is a function word.
    pub fn is_functional(&self, word: u32) -> bool {
        self.functional[word as usize]
    }

    /// Whether the words share a set of synonyms.
    pub fn are_synonyms(&self, a: u32, b: u32) -> bool {
        !self.senses[a as usize].is_disjoint(&self.senses[b as usize])
    }

    /// The paraphrases of the phrases at the start of `text`, shortest phrase first: the phrase's length in
    /// words, and its paraphrase.
    pub fn paraphrases(&self, text: &[u32]) -> impl Iterator<Item = (usize, &[u32])> {
        let lens = 1..=self.longest.min(text.len());
        lens.flat_map(move |len| {
            let others = self.phrases.get(&text[..len]).into_iter().flatten();
            others.map(move |other| (len, other.as_slice()))
        })
    }
}
