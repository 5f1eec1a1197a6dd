//! The keys of `[init]`, which describes a new base model.

use super::field::{Field, read_fields};
use super::parser::{
    Parser, boolean, directory, integer, is_there, model, name_or, path, text, unknown, variant,
};
use super::section::Section;
use super::{FromInit, InitSpec, LanguageSize, LlavaInit, MissInit, TextSize, VisionSize, Vocab};
use crate::Range;

/// The architectures of new models.
pub(super) const ARCHITECTURES: [&str; 2] = ["miss", "llava"];

/// Channels between layers.
const HIDDEN: Range<usize> = Range::from_to(1, 65_536);
/// Channels inside feed-forward networks.
const INTERMEDIATE: Range<usize> = Range::from_to(1, 262_144);
/// Blocks of a tower.
const LAYERS: Range<usize> = Range::from_to(1, 1024);
/// Heads of an attention.
const HEADS: Range<usize> = Range::from_to(1, 1024);
/// Positions of a text.
const POSITIONS: Range<usize> = Range::from_to(1, 1_048_576);
/// Pixels of an image's side.
pub(super) const IMAGE_SIZE: Range<usize> = Range::from_to(1, 4096);

/// Reads `[init]`.
pub(super) fn init(s: &Section<'_>) -> InitSpec {
    if s.has("from") {
        let start = FromInit { from: Default::default(), save_bf16: true };
        return InitSpec::From(read_fields(s, &from_fields(), start));
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

/// The keys of `[init]` with `from`.
pub(super) fn from_fields() -> Vec<Field<FromInit>> {
    let meaning = "A model to train further, with its weights, tokenizer and settings.";
    vec![
        Field::required("from", model(), meaning, |i: &mut FromInit| &mut i.from),
        save_bf16(|i| &mut i.save_bf16),
    ]
}

/// The keys of `[init]` for a MISS, its towers aside.
pub(super) fn miss_fields() -> Vec<Field<MissInit>> {
    vec![
        Field::required(
            "vocab",
            vocab(),
            "Word pieces: those of the phantom data set, a vocab.txt, or a folder with a tokenizer.",
            |i: &mut MissInit| &mut i.vocab,
        ),
        Field::optional(
            "text_from",
            model(),
            "random weights",
            "BERT checkpoint whose weights fill both text towers.",
            |i| &mut i.text_from,
        ),
        Field::optional(
            "vision_from",
            model(),
            "random weights",
            "normed checkpoint whose vision tower is copied.",
            |i| &mut i.vision_from,
        ),
        save_bf16(|i| &mut i.save_bf16),
    ]
}

fn miss(s: &Section<'_>) -> MissInit {
    let start = MissInit {
        vocab: Vocab::Phantom,
        text_from: None,
        vision_from: None,
        save_bf16: true,
        vision: vision(s),
        text: text_tower(s),
    };
    read_fields(s, &miss_fields(), start)
}

/// The keys of `[init]` for a LLaVA, its towers aside.
pub(super) fn llava_fields() -> Vec<Field<LlavaInit>> {
    let meaning = "Folder of the language model's tokenizer: tokenizer.json or tokenizer.model.";
    vec![
        Field::required("tokenizer", directory(), meaning, |i: &mut LlavaInit| &mut i.tokenizer),
        save_bf16(|i| &mut i.save_bf16),
    ]
}

fn llava(s: &Section<'_>) -> LlavaInit {
    let start = LlavaInit {
        tokenizer: Default::default(),
        save_bf16: true,
        vision: vision(s),
        language: language(s),
    };
    read_fields(s, &llava_fields(), start)
}

/// The keys of `[init.vision]`.
pub(super) fn vision_fields() -> Vec<Field<VisionSize>> {
    vec![
        size("hidden_size", HIDDEN, "Channels; a multiple of the heads.", |v: &mut VisionSize| {
            &mut v.hidden_size
        }),
        size("num_hidden_layers", LAYERS, "Blocks.", |v| &mut v.num_hidden_layers),
        size("num_attention_heads", HEADS, "Heads per attention.", |v| &mut v.num_attention_heads),
        size("intermediate_size", INTERMEDIATE, "Channels of the feed-forward network.", |v| {
            &mut v.intermediate_size
        }),
        size("image_size", IMAGE_SIZE, "Pixels per side; a multiple of the patch.", |v| {
            &mut v.image_size
        }),
        size("patch_size", IMAGE_SIZE, "Pixels per side of a patch.", |v| &mut v.patch_size),
    ]
}

fn vision(s: &Section<'_>) -> VisionSize {
    let start = || VisionSize {
        hidden_size: 1,
        num_hidden_layers: 1,
        num_attention_heads: 1,
        intermediate_size: 1,
        image_size: 1,
        patch_size: 1,
    };
    let read = s.require_section("vision", |s| {
        let v = read_fields(s, &vision_fields(), start());
        check_divides(
            s,
            ("num_attention_heads", v.num_attention_heads),
            ("hidden_size", v.hidden_size),
        );
        check_divides(s, ("patch_size", v.patch_size), ("image_size", v.image_size));
        v
    });
    read.unwrap_or_else(start)
}

/// The keys of `[init.text]`.
pub(super) fn text_fields() -> Vec<Field<TextSize>> {
    vec![
        size("hidden_size", HIDDEN, "Channels; a multiple of the heads.", |t: &mut TextSize| {
            &mut t.hidden_size
        }),
        size("num_hidden_layers", LAYERS, "Blocks.", |t| &mut t.num_hidden_layers),
        size("num_attention_heads", HEADS, "Heads per attention.", |t| &mut t.num_attention_heads),
        size("intermediate_size", INTERMEDIATE, "Channels of the feed-forward network.", |t| {
            &mut t.intermediate_size
        }),
        Field::new(
            "max_position_embeddings",
            integer(POSITIONS),
            "Maximum length of a text in tokens.",
            |t: &mut TextSize| &mut t.max_position_embeddings,
        ),
    ]
}

fn text_tower(s: &Section<'_>) -> TextSize {
    let read = s.require_section("text", |s| {
        let t = read_fields(s, &text_fields(), TextSize::default());
        check_divides(
            s,
            ("num_attention_heads", t.num_attention_heads),
            ("hidden_size", t.hidden_size),
        );
        t
    });
    read.unwrap_or_default()
}

/// The keys of `[init.language]`.
pub(super) fn language_fields() -> Vec<Field<LanguageSize>> {
    vec![
        Field::new(
            "model_type",
            variant(),
            "LLaMA or Mistral: decides the layout of config.json and the format of prompts.",
            |l: &mut LanguageSize| &mut l.model_type,
        ),
        size("hidden_size", HIDDEN, "Channels; a multiple of the heads.", |l| &mut l.hidden_size),
        size("num_hidden_layers", LAYERS, "Blocks.", |l| &mut l.num_hidden_layers),
        size("num_attention_heads", HEADS, "Query heads per attention.", |l| {
            &mut l.num_attention_heads
        }),
        Field::new(
            "num_key_value_heads",
            integer(HEADS),
            "Key and value heads; a divisor of the query heads.",
            |l: &mut LanguageSize| &mut l.num_key_value_heads,
        )
        .with_default("`num_attention_heads`"),
        size("intermediate_size", INTERMEDIATE, "Channels of the feed-forward network.", |l| {
            &mut l.intermediate_size
        }),
        Field::new(
            "max_position_embeddings",
            integer(POSITIONS),
            "Maximum length of prompt and answer in tokens, image tokens included.",
            |l: &mut LanguageSize| &mut l.max_position_embeddings,
        ),
        Field::new(
            "tie_word_embeddings",
            Parser::new("true or false", boolean),
            "Whether the prediction head shares the token embeddings.",
            |l: &mut LanguageSize| &mut l.tie_word_embeddings,
        ),
    ]
}

fn language(s: &Section<'_>) -> LanguageSize {
    let read = s.require_section("language", |s| {
        let mut l = read_fields(s, &language_fields(), LanguageSize::default());
        let heads = ("num_attention_heads", l.num_attention_heads);
        check_divides(s, heads, ("hidden_size", l.hidden_size));
        match s.has("num_key_value_heads") {
            true => check_divides(s, ("num_key_value_heads", l.num_key_value_heads), heads),
            false => l.num_key_value_heads = l.num_attention_heads,
        }
        l
    });
    read.unwrap_or_default()
}

fn save_bf16<S: 'static>(field: fn(&mut S) -> &mut bool) -> Field<S> {
    let meaning = "Whether the model is saved in bfloat16, half the size of float32.";
    Field::keeping("save_bf16", Parser::new("true or false", boolean), "`true`", meaning, field)
}

fn vocab() -> Parser<Vocab> {
    let there = |path| is_there(path, std::path::Path::exists, "file or directory");
    let at = path().try_map(there).map(Vocab::At).accepting("a file or a folder");
    name_or(vec![("phantom", Vocab::Phantom)], at)
}

fn size<S: 'static>(
    name: &'static str,
    range: Range<usize>,
    meaning: &'static str,
    field: fn(&mut S) -> &mut usize,
) -> Field<S> {
    Field::required(name, integer(range), meaning, field)
}

/// Adds a mistake if both sizes are given and the first does not divide the second.
fn check_divides(s: &Section<'_>, (key, part): (&'static str, usize), (of, whole): (&str, usize)) {
    if s.has(key) && s.has(of) && !whole.is_multiple_of(part) {
        s.report(key, format!("{part} does not divide {of} {whole}"));
    }
}
