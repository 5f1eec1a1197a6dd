//! A chat template, and a prompt that it makes.

#![no_main]

use std::fs;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use normed::data::{ImagePlaceholder, PromptRule, PromptSpec, TemplateName, Tokenizer};
use normed_fuzz::{HERE, abort_at_own_panics, golden, write};

static TOKENIZER: LazyLock<Tokenizer> = LazyLock::new(|| {
    fs::copy(golden("causal/sp/tokenizer.model"), HERE.path().join("tokenizer.model"))
        .expect("a golden file");
    Tokenizer::open_causal(HERE.path()).expect("the golden tokenizer is whole")
});

fuzz_target!(|input: &[u8]| {
    abort_at_own_panics();
    let tokenizer = &*TOKENIZER;
    write(&HERE.path().join("chat_template.jinja"), input);
    let spec = PromptSpec {
        template: Some(TemplateName::Chat),
        language_model: "llama".into(),
        image: ImagePlaceholder::Between { start_end: false },
        context: 1000,
        eos_token_ids: vec![2],
        pad_token_id: None,
    };
    if let Ok(rule) = PromptRule::open(HERE.path(), tokenizer, spec) {
        let _ = rule.prompt(tokenizer, "a row", "Is there a fracture?", 1);
    }
});
