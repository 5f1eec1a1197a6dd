//! Abbreviations, words that open a sentence, and words that are split in two.

use std::collections::HashSet;
use std::sync::LazyLock;

/// The kind of an abbreviation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Abbreviation {
    /// A title or a month; a hyphen may join it to another word.
    Joining,
    /// Any other abbreviation.
    Plain,
    /// An abbreviation only before a number, such as `no. 5`.
    Numbered,
}

/// Titles and months.
const TITLES: &str = "adj adm adv alex asst ave brig capt cf cie cmdr col comdr cpl dept det dr drs \
    ens ft gen gov hon insp jos lt maj messrs mfg mlle mme mr mrs ms msgr mt mtg pfc ph pres prof \
    pvt rep reps rev sen sens sfc sgt spc st ste supt vs wm \
    jan feb mar apr jun jul aug sep sept oct nov dec";

/// Other abbreviations.
const OTHERS: &str = "al ala ariz assn assoc atty attys bhd bldg blvd bros calif co colo conn corp cos ct dak elec esq \
    est etc ext feb fla fri ga govs inc ind intl invt jr kan kans ky lieut ltd md mich minn mo mon mont natl neb nev \
    okla penn plc ppte ppty profs pte ptes pty ptys rd rt seq sq sr sys tel supts tenn thu treas tue tues univ va vt wed wis wisc wyo ph.d";

/// Abbreviations only with a capital; in lower case these are words.
const CAPITAL_ONLY: &str = "ark az del ill la mass miss ore pa tex wash";

/// Abbreviations only before a number.
const NUMBERED: &str = "art ca fig figs no nos op pp prop";

/// Words that open a sentence: a full stop between a single letter and one of these ends a sentence.
const OPENERS: &str = "A About After An As At But Earlier He Her Here However If In It Last Many \
    More Now Once One Other Our She Since So Some Such That The Their Then There These They This \
    We What When While Yet You";

/// Words that are split in two, with the length of the first part.
const PAIRS: [(&str, usize); 6] =
    [("cannot", 3), ("gonna", 3), ("gotta", 3), ("lemme", 3), ("gimme", 3), ("wanna", 3)];

fn set(words: &'static str) -> HashSet<&'static str> {
    words.split_whitespace().collect()
}

/// The kind of abbreviation that `word` (without its full stop) is; `None` for other words.
pub(super) fn abbreviation(word: &str) -> Option<Abbreviation> {
    static ALL: LazyLock<[HashSet<&str>; 4]> =
        LazyLock::new(|| [TITLES, OTHERS, CAPITAL_ONLY, NUMBERED].map(set));
    let [titles, others, capital_only, numbered] = &*ALL;
    let lower = word.to_ascii_lowercase();
    let capital = word.starts_with(|c: char| c.is_ascii_uppercase());
    let word = lower.as_str();
    if titles.contains(word) {
        Some(Abbreviation::Joining)
    } else if others.contains(word) || capital && capital_only.contains(word) {
        Some(Abbreviation::Plain)
    } else if numbered.contains(word) {
        Some(Abbreviation::Numbered)
    } else {
        None
    }
}

/// Whether `word` is assumed to open a sentence.
pub(super) fn opens_sentence(word: &str) -> bool {
    static ALL: LazyLock<HashSet<&str>> = LazyLock::new(|| set(OPENERS));
    ALL.contains(word)
}

/// The number of letters of the first part, if `word` is split in two.
pub(super) fn split_point(word: &str) -> Option<usize> {
    PAIRS.iter().find(|(pair, _)| pair.eq_ignore_ascii_case(word)).map(|(_, at)| *at)
}
