//! A chat template, and a prompt that it makes.

#![no_main]

use std::fs;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use normed::data::{ImagePlaceholder, PromptRule, PromptSpec, Role, TemplateName, Tokenizer, Turn};
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
        let turns = [
            Turn::user("Is there a fracture?", 1),
            Turn { role: Role::Assistant, text: "yes".into(), images: 0 },
            Turn::user("Where?", 0),
        ];
        let _ = rule.prompt(tokenizer, "a row", &turns);
        let _ = rule.prompt(tokenizer, "a row", &turns[..1]);
    }
});
