//! Reading the `[init]` section.

use super::read::{a_model, at_least_1, existing};
use super::section::{Section, boolean, one_of, text, unknown};
use super::source::{Node, Value};
use super::{FromInit, InitSpec, LanguageSize, LlavaInit, MissInit, TextSize, VisionSize, Vocab};
use crate::models::LlamaKind;

/// What a new model can be.
const ARCHITECTURES: [&str; 2] = ["miss", "llava"];

pub(super) fn init(s: &Section<'_>) -> InitSpec {
    if s.has("from") {
        return InitSpec::From(FromInit {
            from: s.get("from", a_model(s)).unwrap_or_default(),
            save_bf16: save_bf16(s),
        });
    }
    let architecture = s.get("architecture", |node| {
        let name = text(node)?;
        let known = ARCHITECTURES.contains(&name.as_str());
        if known { Ok(name) } else { Err(unknown(&name, &ARCHITECTURES)) }
    });
    match architecture.as_deref() {
        Some("llava") => InitSpec::Llava(llava(s)),
        _ => InitSpec::Miss(miss(s)),
    }
}

fn miss(s: &Section<'_>) -> MissInit {
    let vision = vision(s);
    let text = s.require_section("text", |s| TextSize {
        hidden_size: size(s, "hidden_size"),
        num_hidden_layers: size(s, "num_hidden_layers"),
        num_attention_heads: divisor(s, "num_attention_heads", "hidden_size"),
        intermediate_size: size(s, "intermediate_size"),
        max_position_embeddings: s.get("max_position_embeddings", at_least_1()).unwrap_or(512),
    });
    let vocab = |node: &Node| match &node.value {
        Value::Text(name) if name == "phantom" => Ok(Vocab::Phantom),
        _ => existing(s.a_path(), |_| true, "file or directory")(node).map(Vocab::At),
    };
    MissInit {
        vocab: s.require("vocab", vocab).unwrap_or(Vocab::Phantom),
        text_from: s.get("text_from", a_model(s)),
        vision_from: s.get("vision_from", a_model(s)),
        save_bf16: save_bf16(s),
        vision,
        text: text.unwrap_or(TextSize {
            hidden_size: 1,
            num_hidden_layers: 1,
            num_attention_heads: 1,
            intermediate_size: 1,
            max_position_embeddings: 1,
        }),
    }
}

fn llava(s: &Section<'_>) -> LlavaInit {
    let tokenizer = existing(s.a_path(), |path| path.is_dir(), "directory");
    let language = s.require_section("language", |s| {
        let heads = divisor(s, "num_attention_heads", "hidden_size");
        LanguageSize {
            model_type: s.get("model_type", one_of).unwrap_or(LlamaKind::Mistral),
            hidden_size: size(s, "hidden_size"),
            num_hidden_layers: size(s, "num_hidden_layers"),
            num_attention_heads: heads,
            num_key_value_heads: match s.has("num_key_value_heads") {
                true => divisor(s, "num_key_value_heads", "num_attention_heads"),
                false => heads,
            },
            intermediate_size: size(s, "intermediate_size"),
            max_position_embeddings: s.get("max_position_embeddings", at_least_1()).unwrap_or(512),
            tie_word_embeddings: s.get("tie_word_embeddings", boolean).unwrap_or(false),
        }
    });
    LlavaInit {
        tokenizer: s.require("tokenizer", tokenizer).unwrap_or_default(),
        save_bf16: save_bf16(s),
        vision: vision(s),
        language: language.unwrap_or(LanguageSize {
            model_type: LlamaKind::Mistral,
            hidden_size: 1,
            num_hidden_layers: 1,
            num_attention_heads: 1,
            num_key_value_heads: 1,
            intermediate_size: 1,
            max_position_embeddings: 1,
            tie_word_embeddings: false,
        }),
    }
}

fn vision(s: &Section<'_>) -> VisionSize {
    let vision = s.require_section("vision", |s| VisionSize {
        hidden_size: size(s, "hidden_size"),
        num_hidden_layers: size(s, "num_hidden_layers"),
        num_attention_heads: divisor(s, "num_attention_heads", "hidden_size"),
        intermediate_size: size(s, "intermediate_size"),
        image_size: size(s, "image_size"),
        patch_size: divisor(s, "patch_size", "image_size"),
    });
    vision.unwrap_or(VisionSize {
        hidden_size: 1,
        num_hidden_layers: 1,
        num_attention_heads: 1,
        intermediate_size: 1,
        image_size: 1,
        patch_size: 1,
    })
}

fn save_bf16(s: &Section<'_>) -> bool {
    s.get("save_bf16", boolean).unwrap_or(true)
}

fn size(s: &Section<'_>, key: &'static str) -> usize {
    s.require(key, at_least_1()).unwrap_or(1)
}

/// A size that must divide the size `of`.
fn divisor(s: &Section<'_>, key: &'static str, of: &'static str) -> usize {
    let (part, whole) = (size(s, key), s.get(of, at_least_1()));
    if let Some(whole) = whole.filter(|whole| whole % part != 0) {
        s.wrong(key, format!("{part} does not divide {of} {whole}"));
    }
    part
}
