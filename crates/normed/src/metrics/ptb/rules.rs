//! All rules, and the choice among their matches.

use super::symbol_rules::{
    dollar_code, ellipsis, email_address, entity, fraction, handle, joined_capitals, markup,
    number, phone, quote, repeated_marks, smiley, symbol, web_address,
};
use super::token_match::{Form, Remaining, TokenMatch};
use super::word_rules::{
    abbreviation_with_stop, compound, contracted_pair, decimal_compound, enclitic, initials,
    inner_apostrophe, leading_apostrophe, negation, sentence_final_letter, slashed_words,
    stop_before_punctuation, word,
};

const RULES: [fn(Remaining<'_>) -> Option<TokenMatch>; 28] = [
    markup,
    entity,
    contracted_pair,
    negation,
    leading_apostrophe,
    enclitic,
    inner_apostrophe,
    sentence_final_letter,
    abbreviation_with_stop,
    initials,
    stop_before_punctuation,
    decimal_compound,
    word,
    compound,
    slashed_words,
    joined_capitals,
    dollar_code,
    web_address,
    email_address,
    handle,
    phone,
    fraction,
    number,
    smiley,
    ellipsis,
    repeated_marks,
    quote,
    symbol,
];

/// The token at the start of `text`, which is not empty and does not start with white space: the match
/// with the longest reach; of equals, that of the first rule.
pub(super) fn longest_match(text: &[char]) -> TokenMatch {
    let mut best = TokenMatch { len: 1, reach: 0, form: Form::Omitted };
    for found in RULES.iter().filter_map(|rule| rule(Remaining { chars: text })) {
        if found.reach > best.reach {
            best = found;
        }
    }
    best
}
