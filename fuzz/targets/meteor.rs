//! METEOR's tables: the jar and the compressed table of paraphrases, and two captions that they score.

#![no_main]

use std::fs;

use libfuzzer_sys::fuzz_target;
use normed::metrics::MeteorData;
use normed_fuzz::{HERE, abort_at_own_panics, parted, score_by_meteor, write};

fuzz_target!(|input: &[u8]| {
    abort_at_own_panics();
    let Some((jar, paraphrases)) = parted(input) else { return };
    fs::create_dir_all(HERE.path().join("data")).expect("memory for the directory");
    write(&HERE.path().join("meteor-1.5.jar"), jar);
    write(&HERE.path().join("data/paraphrase-en.gz"), paraphrases);
    if let Ok(tables) = MeteorData::open(HERE.path()) {
        score_by_meteor(&tables);
    }
});
