//! Answers end at each token that generation_config.json names, as in transformers
//! (reference/make_stop_token_goldens.py).

use std::fs;

use normed::models::{self, GenerationConfig};
use serde::Deserialize;
use serde_json::Value;

#[allow(dead_code, reason = "not every test that includes this module needs it")]
mod tiny_llava;
#[allow(dead_code, reason = "not every test that includes this module needs it")]
mod weights_common;
use tiny_llava::{llava_example, with_words};
use weights_common::golden;

#[derive(Deserialize)]
struct Golden {
    generation_config: Value,
    max_new_tokens: usize,
    searches: Vec<Search>,
}

#[derive(Deserialize)]
struct Search {
    num_beams: usize,
    length_penalty: f32,
    answers: Vec<Vec<u32>>,
}

#[test]
fn an_answer_ends_at_each_token_of_the_generation_config() {
    let file = fs::read(golden("stop_tokens.json")).unwrap();
    let golden: Golden = serde_json::from_slice(&file).unwrap();
    let work = tempfile::tempdir().unwrap();
    let (own, saved) = (work.path().join("own"), work.path().join("saved"));
    with_words(&own);
    fs::write(own.join("generation_config.json"), golden.generation_config.to_string()).unwrap();
    let loaded = models::load(&own, None).unwrap();
    // A model that is written keeps the tokens.
    models::save(&loaded, &saved, false).unwrap();
    let again = models::load(&saved, None).unwrap();
    for (loaded, search) in
        [&loaded, &again].iter().flat_map(|loaded| golden.searches.iter().map(move |s| (loaded, s)))
    {
        let rule = GenerationConfig {
            num_beams: search.num_beams,
            length_penalty: search.length_penalty,
            max_new_tokens: golden.max_new_tokens,
            ..GenerationConfig::default()
        };
        let stop = loaded.text_rule.stop_rule(&loaded.tokenizer);
        assert_eq!(stop.tokens, [2, 63, 41], "config.json's end is the one of training");
        for (i, answer) in search.answers.iter().enumerate() {
            let batch = llava_example(i);
            let found =
                models::generate(&*loaded.model, &loaded.params, &batch, &rule, stop).unwrap();
            assert_eq!(found[0].tokens, *answer, "example {i}, {rule:?}");
        }
    }
}
