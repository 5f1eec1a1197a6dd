//! A tokenizer.json, and a text that it tokenizes.

#![no_main]

use libfuzzer_sys::fuzz_target;
use normed::data::Tokenizer;
use normed_fuzz::{HERE, abort_at_own_panics, tokenize, write};

fuzz_target!(|input: &[u8]| {
    abort_at_own_panics();
    write(&HERE.path().join("tokenizer.json"), input);
    if let Ok(tokenizer) = Tokenizer::open_causal(HERE.path()) {
        tokenize(&tokenizer);
    }
});
