//! MISS's config files: Hugging Face's config.json, and the small one next to a checkpoint in BLIP's own
//! layout. Both are read; the former is written.
//!
//! Absent keys take the defaults of the layout's own code: transformers' `configuration_blip.py`, or BLIP's
//! `configs/med_config.json` and `models/vit.py`.

use serde::Deserialize;
use serde_json::{Value, json};

use super::config::MissConfig;
use crate::models::activation_names::{activation_name, read_activation};
use crate::models::config_keys::ConfigKeys;
use crate::models::model::Layout;
use crate::models::towers::{BertConfig, VitConfig};
use crate::ops::Activation;
use crate::{Error, Result};

/// Hugging Face's class.
pub(super) const HUGGING_FACE: &str = "BlipForQuestionAnswering";

impl MissConfig {
    /// Whether config.json's content `json` is a MISS's or a BLIP's, in either layout.
    pub fn matches(json: &Value) -> bool {
        is_hugging_face(json) || is_original(json)
    }

    /// Reads config.json's content `json`; `place` names the file in errors.
    ///
    /// It is in Hugging Face's layout if it has a `vision_config`, a `text_config` or the model type `blip`;
    /// in the original one if it has `vit` (`"base"` or `"large"`) or `image_size` in addition to the keys of BLIP's
    /// med_config.json.
    ///
    /// # Errors
    /// If it is in neither layout, if a key has a value of another type, or if no model can have these sizes.
    pub fn parse(place: &str, json: &Value) -> Result<(Self, Layout)> {
        let (config, layout) = if is_hugging_face(json) {
            (Self::from_hugging_face(&ConfigKeys::new(place, json)?)?, Layout::HuggingFace)
        } else if is_original(json) {
            (Self::from_original(&ConfigKeys::new(place, json)?)?, Layout::Original)
        } else {
            return Err(Error::invalid(place, "not the config of a BLIP or MISS model")
                .with_remedy(
                    "in Hugging Face's layout it has \"vision_config\" and \"text_config\"; for a \
                 checkpoint in the original layout, write {\"vit\": \"base\", \"image_size\": 480} \
                 into it",
                ));
        };
        config.check(place)?;
        Ok((config, layout))
    }

    fn from_hugging_face(keys: &ConfigKeys) -> Result<Self> {
        let names: Option<Vec<String>> = keys.get("architectures")?;
        if let Some(names) = names
            && !names.iter().any(|name| name == HUGGING_FACE)
        {
            let cause = format!("architectures are {names:?}, not [\"{HUGGING_FACE}\"]");
            return Err(Error::invalid(&keys.place, cause).with_remedy(
                "of BLIP's models, normed reads the one for visual questions (as \
                 Salesforce/blip-vqa-base), not those for captions and retrieval",
            ));
        }
        let vision = VitConfig { layer_norm_eps: 1e-5, ..VitConfig::base(384) };
        let text = BertConfig {
            vocab_size: 30524,
            hidden_size: 768,
            intermediate_size: 3072,
            num_hidden_layers: 12,
            num_attention_heads: 8,
            max_position_embeddings: 512,
            layer_norm_eps: 1e-12,
            hidden_act: Activation::Gelu,
            tie_word_embeddings: true,
            hidden_dropout_prob: 0.0,
            attention_probs_dropout_prob: 0.0,
            bos_token_id: 30522,
            sep_token_id: 102,
            pad_token_id: 0,
            question_token_id: 101,
            max_question_tokens: usize::MAX,
        };
        let mut text_config = match keys.section("text_config")? {
            Some(keys) => text_config(&keys, text)?,
            None => BertConfig { max_question_tokens: text.max_position_embeddings, ..text },
        };
        // In transformers the whole model and its decoder each tie the head.
        text_config.tie_word_embeddings |= keys.get_or("tie_word_embeddings", true)?;
        let vision_config = vision_config(keys.section("vision_config")?.as_ref(), vision)?;
        Ok(Self { vision_config, text_config })
    }

    fn from_original(keys: &ConfigKeys) -> Result<Self> {
        let [hidden_size, layers, heads] = match keys.get::<String>("vit")?.as_deref() {
            None | Some("base") => [768, 12, 12],
            Some("large") => [1024, 24, 16],
            Some(other) => {
                let cause = format!("vit is {other:?}");
                return Err(Error::invalid(&keys.place, cause)
                    .with_remedy("set it to \"base\" or \"large\""));
            }
        };
        // Sizes that differ from those of `vit`.
        let sizes = keys.section("vision")?;
        let own_width = sizes.as_ref().map(|sizes| sizes.get("hidden_size")).transpose()?.flatten();
        let vision = VitConfig {
            hidden_size,
            // BLIP's ViT has this ratio at all of its sizes.
            intermediate_size: own_width.unwrap_or(hidden_size).saturating_mul(4),
            num_hidden_layers: layers,
            num_attention_heads: heads,
            ..VitConfig::base(keys.get_or("image_size", 480)?)
        };
        let vocab_size = keys.get_or("vocab_size", 30524usize)?;
        // [DEC] and [ENC] are the last two, appended to BERT's vocabulary.
        let from_end = |n| u32::try_from(vocab_size.saturating_sub(n)).unwrap_or(u32::MAX);
        let text = BertConfig {
            vocab_size,
            hidden_size: 768,
            intermediate_size: 3072,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            max_position_embeddings: 512,
            layer_norm_eps: 1e-12,
            hidden_act: Activation::Gelu,
            tie_word_embeddings: true,
            hidden_dropout_prob: 0.1,
            attention_probs_dropout_prob: 0.1,
            bos_token_id: from_end(2),
            sep_token_id: 102,
            pad_token_id: 0,
            question_token_id: from_end(1),
            max_question_tokens: 35,
        };
        // BLIP's own code ties the head, whatever the file says.
        let text_config = BertConfig { tie_word_embeddings: true, ..text_config(keys, text)? };
        // The width of the states that the decoder cross-attends to.
        if let Some(width) = keys.get::<usize>("encoder_width")?
            && width != text_config.hidden_size
        {
            let cause =
                format!("encoder_width is {width}, hidden_size {}", text_config.hidden_size);
            return Err(Error::invalid(&keys.place, cause)
                .with_remedy("the decoder cross-attends to states as wide as the encoder's"));
        }
        Ok(Self { vision_config: vision_config(sizes.as_ref(), vision)?, text_config })
    }

    /// The content of transformers' config.json, with every key.
    pub fn to_hugging_face(&self) -> Value {
        let (v, t) = (&self.vision_config, &self.text_config);
        json!({
            "architectures": [HUGGING_FACE],
            "model_type": "blip",
            "tie_word_embeddings": t.tie_word_embeddings,
            "vision_config": {
                "model_type": "blip_vision_model",
                "hidden_size": v.hidden_size,
                "intermediate_size": v.intermediate_size,
                "num_hidden_layers": v.num_hidden_layers,
                "num_attention_heads": v.num_attention_heads,
                "image_size": v.image_size,
                "patch_size": v.patch_size,
                "layer_norm_eps": v.layer_norm_eps,
                "attention_dropout": v.attention_dropout,
                "hidden_act": activation_name(v.hidden_act),
            },
            "text_config": {
                "model_type": "blip_text_model",
                "vocab_size": t.vocab_size,
                "hidden_size": t.hidden_size,
                "encoder_hidden_size": v.hidden_size,
                "intermediate_size": t.intermediate_size,
                "num_hidden_layers": t.num_hidden_layers,
                "num_attention_heads": t.num_attention_heads,
                "max_position_embeddings": t.max_position_embeddings,
                "layer_norm_eps": t.layer_norm_eps,
                "hidden_dropout_prob": t.hidden_dropout_prob,
                "attention_probs_dropout_prob": t.attention_probs_dropout_prob,
                "bos_token_id": t.bos_token_id,
                "sep_token_id": t.sep_token_id,
                "pad_token_id": t.pad_token_id,
                "question_token_id": t.question_token_id,
                "max_question_tokens": t.max_question_tokens,
                "hidden_act": activation_name(t.hidden_act),
                "tie_word_embeddings": t.tie_word_embeddings,
            },
        })
    }
}

fn is_hugging_face(json: &Value) -> bool {
    let has_parts = json.get("vision_config").is_some() || json.get("text_config").is_some();
    let named = json["architectures"].as_array();
    let is_unnamed = named.is_none_or(|names| names.iter().any(|name| name == HUGGING_FACE));
    json["model_type"] == "blip" || (json["model_type"].is_null() && has_parts && is_unnamed)
}

/// BLIP's med_config.json calls the text towers' type `bert`.
fn is_original(json: &Value) -> bool {
    let is_text = json["model_type"].is_null() || json["model_type"] == "bert";
    is_text && (json.get("vit").is_some() || json.get("image_size").is_some())
}

/// The keys of a vision tower, and `default` where they are absent.
fn vision_config(keys: Option<&ConfigKeys>, default: VitConfig) -> Result<VitConfig> {
    let Some(keys) = keys else { return Ok(default) };
    Ok(VitConfig {
        hidden_size: keys.get_or("hidden_size", default.hidden_size)?,
        intermediate_size: keys.get_or("intermediate_size", default.intermediate_size)?,
        num_hidden_layers: keys.get_or("num_hidden_layers", default.num_hidden_layers)?,
        num_attention_heads: keys.get_or("num_attention_heads", default.num_attention_heads)?,
        image_size: side(keys, "image_size", default.image_size)?,
        patch_size: side(keys, "patch_size", default.patch_size)?,
        layer_norm_eps: keys.get_or("layer_norm_eps", default.layer_norm_eps)?,
        hidden_act: read_activation(keys, "hidden_act", default.hidden_act)?,
        attention_dropout: keys.get_or("attention_dropout", default.attention_dropout)?,
    })
}

/// The keys of the text towers, and `default` where they are absent.
fn text_config(keys: &ConfigKeys, default: BertConfig) -> Result<BertConfig> {
    let positions = keys.get_or("max_position_embeddings", default.max_position_embeddings)?;
    let question = keys.get_or("max_question_tokens", default.max_question_tokens)?;
    let (hidden, probs) = ("hidden_dropout_prob", "attention_probs_dropout_prob");
    Ok(BertConfig {
        vocab_size: keys.get_or("vocab_size", default.vocab_size)?,
        hidden_size: keys.get_or("hidden_size", default.hidden_size)?,
        intermediate_size: keys.get_or("intermediate_size", default.intermediate_size)?,
        num_hidden_layers: keys.get_or("num_hidden_layers", default.num_hidden_layers)?,
        num_attention_heads: keys.get_or("num_attention_heads", default.num_attention_heads)?,
        max_position_embeddings: positions,
        layer_norm_eps: keys.get_or("layer_norm_eps", default.layer_norm_eps)?,
        hidden_act: read_activation(keys, "hidden_act", default.hidden_act)?,
        tie_word_embeddings: keys.get_or("tie_word_embeddings", default.tie_word_embeddings)?,
        hidden_dropout_prob: keys.get_or(hidden, default.hidden_dropout_prob)?,
        attention_probs_dropout_prob: keys.get_or(probs, default.attention_probs_dropout_prob)?,
        bos_token_id: keys.get_or("bos_token_id", default.bos_token_id)?,
        sep_token_id: keys.get_or("sep_token_id", default.sep_token_id)?,
        pad_token_id: keys.get_or("pad_token_id", default.pad_token_id)?,
        question_token_id: keys.get_or("question_token_id", default.question_token_id)?,
        max_question_tokens: question.min(positions),
    })
}

/// Hugging Face writes the side of a square as a number, or twice in a list.
#[derive(Deserialize)]
#[serde(untagged)]
enum Side {
    One(usize),
    Two([usize; 2]),
}

fn side(keys: &ConfigKeys, key: &str, default: usize) -> Result<usize> {
    match keys.get(key)? {
        None => Ok(default),
        Some(Side::One(side)) => Ok(side),
        Some(Side::Two([a, b])) if a == b => Ok(a),
        Some(Side::Two([a, b])) => {
            let cause = format!("{key} is {a} by {b}; only squares are supported");
            Err(Error::invalid(&keys.place, cause))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::Miss;
    use crate::tensor::{Module, Parameters, Tower};

    fn parse(text: &str) -> Result<(MissConfig, Layout)> {
        MissConfig::parse("config.json", &serde_json::from_str(text).unwrap())
    }

    #[test]
    fn absent_keys_take_the_defaults_of_their_layout() {
        let (hf, layout) = parse(r#"{"model_type": "blip"}"#).unwrap();
        assert_eq!(layout, Layout::HuggingFace);
        let (vision, text) = (&hf.vision_config, &hf.text_config);
        assert_eq!((text.num_attention_heads, vision.layer_norm_eps), (8, 1e-5));
        assert_eq!((vision.image_size, text.hidden_dropout_prob), (384, 0.0));
        let rule = hf.text_rule();
        assert_eq!((rule.question_start, rule.decoder_start, rule.end), (101, 30522, 102));
        assert_eq!(rule.max_question_tokens, 512);

        let (original, _) = parse(r#"{"vit": "large"}"#).unwrap();
        let (vision, text) = (&original.vision_config, &original.text_config);
        assert_eq!((text.num_attention_heads, vision.layer_norm_eps), (12, 1e-6));
        assert_eq!((vision.hidden_size, vision.intermediate_size), (1024, 4096));
        assert_eq!((vision.image_size, text.hidden_dropout_prob), (480, 0.1));
        let rule = original.text_rule();
        assert_eq!((rule.question_start, rule.decoder_start, rule.end), (30523, 30522, 102));
        assert_eq!(rule.max_question_tokens, 35);
    }

    #[test]
    fn what_is_written_reads_back() {
        let (original, _) =
            parse(r#"{"vit": "base", "hidden_size": 384, "vision": {"hidden_size": 192}}"#)
                .unwrap();
        let (read, layout) = parse(&original.to_hugging_face().to_string()).unwrap();
        assert_eq!((read, layout), (original, Layout::HuggingFace));
    }

    fn counts(config: &MissConfig, norms: bool) -> [usize; 4] {
        let mut params = Parameters::new();
        Miss::declare(config, &mut params);
        Tower::ALL.map(|tower| {
            params
                .iter()
                .filter(|(_, p)| p.role().tower == tower)
                .filter(|(_, p)| !norms || matches!(p.role().module, Module::Norm(_)))
                .map(|(_, p)| p.len())
                .sum()
        })
    }

    /// These counts reproduce the percentages that MILE published (arXiv 2403.06407).
    #[test]
    fn miss_base_has_the_known_counts() {
        let (config, layout) = parse(r#"{"vit": "base", "image_size": 480}"#).unwrap();
        assert_eq!(layout, Layout::Original);
        assert_eq!(config.num_parameters(), 361_478_972);
        assert_eq!(counts(&config, false), [86_339_328, 0, 137_258_496, 137_881_148]);
        assert_eq!(counts(&config, true), [38_400, 0, 56_832, 58_368]);
    }

    #[test]
    fn impossible_configs_are_named() {
        let vision = |keys: &str| format!(r#"{{"vision_config": {{{keys}}}}}"#);
        let text = |keys: &str| format!(r#"{{"text_config": {{{keys}}}}}"#);
        let huge = r#""hidden_size": 65536, "num_attention_heads": 64, "num_hidden_layers": 999"#;
        for (json, cause) in [
            (vision(r#""num_attention_heads": 0"#), "num_attention_heads is 0"),
            (vision(r#""num_attention_heads": 7"#), "hidden_size 768 is not a multiple"),
            (vision(r#""patch_size": 0"#), "patch_size is 0"),
            (vision(r#""image_size": 380"#), "image_size 380 is not a multiple"),
            (vision(r#""image_size": [384, 256]"#), "only squares"),
            (
                vision(r#""hidden_size": 18446744073709551615"#),
                "hidden_size is 18446744073709551615",
            ),
            (vision(r#""layer_norm_eps": 0.0"#), "layer_norm_eps is 0"),
            (vision(r#""hidden_act": "prelu""#), "hidden_act is \"prelu\""),
            (vision(r#""attention_dropout": 1.0"#), "attention_dropout is 1"),
            (text(r#""hidden_dropout_prob": -0.1"#), "hidden_dropout_prob is -0.1"),
            (text(r#""vocab_size": 100"#), "bos_token_id 30522 is outside"),
            (text(r#""num_hidden_layers": -1"#), "invalid value"),
            (text(huge), "parameters"),
            (r#"{"vit": "huge"}"#.into(), "vit is \"huge\""),
            (r#"{"vit": "base", "encoder_width": 1024}"#.into(), "encoder_width is 1024"),
            (r#"{"model_type": "llava"}"#.into(), "not the config of a BLIP or MISS"),
            (r#"{"model_type": "blip", "architectures": ["BlipModel"]}"#.into(), "architectures"),
            ("[]".into(), "not the config of a BLIP or MISS"),
        ] {
            let error = parse(&json).expect_err(&json);
            assert_eq!(error.exit_code(), 2);
            let error = error.to_string();
            assert!(error.starts_with("config.json: ") && error.contains(cause), "{json}: {error}");
        }
    }
}
