//! The vocabulary of all questions, answers and reports.

use std::collections::BTreeSet;

use super::anatomy::{LesionKind, Location, Modality, Organ, Region, Side};
use super::grammar::Topic;
use super::report;
use super::words::{BOTH, LOWER, NO, NUMBERS, UPPER, YES, is_the};

/// The special tokens, in the order of their ids. The model's text rule decides which are used.
const SPECIAL: [&str; 7] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]", "[ENC]"];

/// The lines of a WordPiece vocab.txt: the special tokens, every printable ASCII character, the
/// letters and digits as continuations (so that any lower-case ASCII text can be written), and every
/// word of the questions, answers and reports.
pub fn vocabulary() -> Vec<String> {
    let mut words = BTreeSet::new();
    let mut read = |text: &'static str| {
        words.extend(text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|w| w.len() > 1));
    };
    for topic in [Topic::GENERAL, Topic::SPECIFIC].concat() {
        topic.phrasings().iter().copied().for_each(&mut read);
    }
    Modality::ALL.into_iter().flat_map(|m| [m.name(), m.a_name()]).for_each(&mut read);
    Region::ALL.into_iter().map(Region::name).for_each(&mut read);
    Organ::ALL.into_iter().flat_map(|o| [o.name(), o.all_of_it()]).for_each(&mut read);
    Side::ALL.into_iter().map(Side::name).for_each(&mut read);
    Location::ALL.into_iter().map(Location::name).for_each(&mut read);
    LesionKind::ALL.into_iter().flat_map(|k| [k.name(), k.plural()]).for_each(&mut read);
    Organ::ALL.into_iter().map(is_the).for_each(&mut read);
    NUMBERS.into_iter().for_each(&mut read);
    [YES, NO, BOTH, UPPER, LOWER].into_iter().for_each(&mut read);
    report::WORDING.iter().copied().for_each(&mut read);

    let characters = ('!'..='~').filter(|c| !c.is_ascii_uppercase());
    let continuations = characters.clone().filter(char::is_ascii_alphanumeric);
    SPECIAL
        .into_iter()
        .map(str::to_owned)
        .chain(characters.map(String::from))
        .chain(continuations.map(|c| format!("##{c}")))
        .chain(words.into_iter().map(str::to_owned))
        .collect()
}
