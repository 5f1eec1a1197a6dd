//! Config files: Hugging Face's config.json, and the small one that stands beside a checkpoint in
//! BLIP's own layout. Both are read; the former is written.
//!
//! Keys that are absent take the defaults of the layout's own code: transformers'
//! `configuration_blip.py`, or BLIP's `configs/med_config.json` and `models/vit.py`.

use serde::Deserialize;
use serde_json::{Value, json};

use super::config::{MissConfig, TextConfig, VisionConfig};
use crate::models::Layout;
use crate::{Error, Result};

/// Absent and null keys are alike.
#[derive(Debug, Default, Deserialize)]
struct RawVision {
    hidden_size: Option<usize>,
    intermediate_size: Option<usize>,
    num_hidden_layers: Option<usize>,
    num_attention_heads: Option<usize>,
    image_size: Option<Side>,
    patch_size: Option<Side>,
    layer_norm_eps: Option<f64>,
    attention_dropout: Option<f64>,
    hidden_act: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct RawText {
    vocab_size: Option<usize>,
    hidden_size: Option<usize>,
    intermediate_size: Option<usize>,
    num_hidden_layers: Option<usize>,
    num_attention_heads: Option<usize>,
    max_position_embeddings: Option<usize>,
    layer_norm_eps: Option<f64>,
    hidden_dropout_prob: Option<f64>,
    attention_probs_dropout_prob: Option<f64>,
    bos_token_id: Option<u32>,
    sep_token_id: Option<u32>,
    pad_token_id: Option<u32>,
    question_token_id: Option<u32>,
    max_question_tokens: Option<usize>,
    hidden_act: Option<String>,
}

/// Hugging Face writes a square's side as a number or twice in a list.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(untagged)]
enum Side {
    One(usize),
    Two([usize; 2]),
}

#[derive(Debug, Deserialize)]
struct HuggingFaceFile {
    architectures: Option<Vec<String>>,
    #[serde(default)]
    vision_config: Option<RawVision>,
    #[serde(default)]
    text_config: Option<RawText>,
}

#[derive(Debug, Deserialize)]
struct OriginalFile {
    vit: Option<String>,
    image_size: Option<usize>,
    /// Sizes that differ from those that `vit` names.
    #[serde(default)]
    vision: Option<RawVision>,
    /// Of the states that the decoder cross-attends to.
    encoder_width: Option<usize>,
    #[serde(flatten)]
    text: RawText,
}

impl MissConfig {
    /// Whether config.json's `json` is a MISS's or a BLIP's, in either layout.
    pub fn is_meant(json: &Value) -> bool {
        let has = |key| json.get(key).is_some();
        ["vision_config", "text_config", "vit", "image_size"].into_iter().any(has)
            || json["model_type"] == "blip"
    }

    /// Reads a config file's `text`; `place` names it in errors. It is Hugging Face's if it has a
    /// `vision_config`, a `text_config` or the model type `blip`, and the original's if it has `vit`
    /// (`"base"` or `"large"`) or `image_size` beside the keys of BLIP's med_config.json.
    pub fn parse(place: &str, text: &str) -> Result<(Self, Layout)> {
        let malformed = |e: serde_json::Error| Error::invalid(place, e);
        let json: Value = serde_json::from_str(text).map_err(malformed)?;
        let has = |key| json.get(key).is_some();
        let blip = json.get("model_type").and_then(Value::as_str) == Some("blip");
        let (config, layout) = if has("vision_config") || has("text_config") || blip {
            let file = serde_json::from_str(text).map_err(malformed)?;
            (Self::from_hugging_face(place, file)?, Layout::HuggingFace)
        } else if has("vit") || has("image_size") {
            let file = serde_json::from_str(text).map_err(malformed)?;
            (Self::from_original(place, file)?, Layout::Original)
        } else {
            return Err(Error::invalid(place, "this is no BLIP or MISS model's config").with_remedy(
                "Hugging Face's has \"vision_config\" and \"text_config\"; beside a checkpoint in \
                 the original layout put {\"vit\": \"base\", \"image_size\": 480}",
            ));
        };
        config.check(place)?;
        Ok((config, layout))
    }

    fn from_hugging_face(place: &str, file: HuggingFaceFile) -> Result<Self> {
        const ARCHITECTURE: &str = "BlipForQuestionAnswering";
        if let Some(names) = &file.architectures
            && !names.iter().any(|name| name == ARCHITECTURE)
        {
            let cause = format!("architectures are {names:?}, not [\"{ARCHITECTURE}\"]");
            return Err(Error::invalid(place, cause));
        }
        let vision = VisionConfig {
            hidden_size: 768,
            intermediate_size: 3072,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            image_size: 384,
            patch_size: 16,
            layer_norm_eps: 1e-5,
            attention_dropout: 0.0,
        };
        let text = TextConfig {
            vocab_size: 30524,
            hidden_size: 768,
            intermediate_size: 3072,
            num_hidden_layers: 12,
            num_attention_heads: 8,
            max_position_embeddings: 512,
            layer_norm_eps: 1e-12,
            hidden_dropout_prob: 0.0,
            attention_probs_dropout_prob: 0.0,
            bos_token_id: 30522,
            sep_token_id: 102,
            pad_token_id: 0,
            question_token_id: 101,
            max_question_tokens: usize::MAX,
        };
        Ok(Self {
            vision: file.vision_config.unwrap_or_default().over(place, vision)?,
            text: file.text_config.unwrap_or_default().over(place, text)?,
        })
    }

    fn from_original(place: &str, file: OriginalFile) -> Result<Self> {
        let [hidden_size, layers, heads] = match file.vit.as_deref() {
            None | Some("base") => [768, 12, 12],
            Some("large") => [1024, 24, 16],
            Some(other) => {
                let cause = format!("vit is {other:?}");
                return Err(Error::invalid(place, cause).with_remedy("it is \"base\" or \"large\""));
            }
        };
        let raw = file.vision.unwrap_or_default();
        let vision = VisionConfig {
            hidden_size,
            // BLIP's ViT has one ratio for all its sizes.
            intermediate_size: raw.hidden_size.unwrap_or(hidden_size).saturating_mul(4),
            num_hidden_layers: layers,
            num_attention_heads: heads,
            image_size: file.image_size.unwrap_or(480),
            patch_size: 16,
            layer_norm_eps: 1e-6,
            attention_dropout: 0.0,
        };
        let vocab_size = file.text.vocab_size.unwrap_or(30524);
        // [DEC] and [ENC] are the last two, appended to BERT's vocabulary.
        let from_end = |n| u32::try_from(vocab_size.saturating_sub(n)).unwrap_or(u32::MAX);
        let text = TextConfig {
            vocab_size,
            hidden_size: 768,
            intermediate_size: 3072,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            max_position_embeddings: 512,
            layer_norm_eps: 1e-12,
            hidden_dropout_prob: 0.1,
            attention_probs_dropout_prob: 0.1,
            bos_token_id: from_end(2),
            sep_token_id: 102,
            pad_token_id: 0,
            question_token_id: from_end(1),
            max_question_tokens: 35,
        };
        let text = file.text.over(place, text)?;
        if let Some(width) = file.encoder_width
            && width != text.hidden_size
        {
            let cause = format!("encoder_width is {width}, hidden_size {}", text.hidden_size);
            return Err(Error::invalid(place, cause)
                .with_remedy("the decoder cross-attends to states as wide as the encoder's"));
        }
        Ok(Self { vision: raw.over(place, vision)?, text })
    }

    /// As transformers' config.json, every key written out.
    pub fn to_hugging_face(&self) -> Value {
        let (v, t) = (&self.vision, &self.text);
        json!({
            "architectures": ["BlipForQuestionAnswering"],
            "model_type": "blip",
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
                "hidden_act": "gelu",
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
                "hidden_act": "gelu",
            },
        })
    }
}

impl RawVision {
    /// These keys, and `defaults` where they are absent.
    fn over(self, place: &str, defaults: VisionConfig) -> Result<VisionConfig> {
        check_activation(place, self.hidden_act.as_deref())?;
        Ok(VisionConfig {
            hidden_size: self.hidden_size.unwrap_or(defaults.hidden_size),
            intermediate_size: self.intermediate_size.unwrap_or(defaults.intermediate_size),
            num_hidden_layers: self.num_hidden_layers.unwrap_or(defaults.num_hidden_layers),
            num_attention_heads: self.num_attention_heads.unwrap_or(defaults.num_attention_heads),
            image_size: side(place, "image_size", self.image_size, defaults.image_size)?,
            patch_size: side(place, "patch_size", self.patch_size, defaults.patch_size)?,
            layer_norm_eps: self.layer_norm_eps.unwrap_or(defaults.layer_norm_eps),
            attention_dropout: self.attention_dropout.unwrap_or(defaults.attention_dropout),
        })
    }
}

impl RawText {
    /// These keys, and `defaults` where they are absent.
    fn over(self, place: &str, defaults: TextConfig) -> Result<TextConfig> {
        check_activation(place, self.hidden_act.as_deref())?;
        let positions = self.max_position_embeddings.unwrap_or(defaults.max_position_embeddings);
        let question = self.max_question_tokens.unwrap_or(defaults.max_question_tokens);
        let attention_dropout = defaults.attention_probs_dropout_prob;
        Ok(TextConfig {
            vocab_size: self.vocab_size.unwrap_or(defaults.vocab_size),
            hidden_size: self.hidden_size.unwrap_or(defaults.hidden_size),
            intermediate_size: self.intermediate_size.unwrap_or(defaults.intermediate_size),
            num_hidden_layers: self.num_hidden_layers.unwrap_or(defaults.num_hidden_layers),
            num_attention_heads: self.num_attention_heads.unwrap_or(defaults.num_attention_heads),
            max_position_embeddings: positions,
            layer_norm_eps: self.layer_norm_eps.unwrap_or(defaults.layer_norm_eps),
            hidden_dropout_prob: self.hidden_dropout_prob.unwrap_or(defaults.hidden_dropout_prob),
            attention_probs_dropout_prob: self
                .attention_probs_dropout_prob
                .unwrap_or(attention_dropout),
            bos_token_id: self.bos_token_id.unwrap_or(defaults.bos_token_id),
            sep_token_id: self.sep_token_id.unwrap_or(defaults.sep_token_id),
            pad_token_id: self.pad_token_id.unwrap_or(defaults.pad_token_id),
            question_token_id: self.question_token_id.unwrap_or(defaults.question_token_id),
            max_question_tokens: question.min(positions),
        })
    }
}

fn side(place: &str, key: &str, given: Option<Side>, default: usize) -> Result<usize> {
    match given {
        None => Ok(default),
        Some(Side::One(n)) => Ok(n),
        Some(Side::Two([a, b])) if a == b => Ok(a),
        Some(Side::Two([a, b])) => {
            Err(Error::invalid(place, format!("{key} is {a} by {b}; only squares are supported")))
        }
    }
}

fn check_activation(place: &str, name: Option<&str>) -> Result<()> {
    match name {
        None | Some("gelu") => Ok(()),
        Some(other) => Err(Error::invalid(
            place,
            format!("hidden_act is {other:?}; only \"gelu\" is supported"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<(MissConfig, Layout)> {
        MissConfig::parse("config.json", text)
    }

    #[test]
    fn absent_keys_take_the_defaults_of_their_layout() {
        let (hf, layout) = parse(r#"{"model_type": "blip"}"#).unwrap();
        assert_eq!(layout, Layout::HuggingFace);
        assert_eq!((hf.text.num_attention_heads, hf.vision.layer_norm_eps), (8, 1e-5));
        assert_eq!((hf.vision.image_size, hf.text.hidden_dropout_prob), (384, 0.0));
        let rule = hf.text_rule();
        assert_eq!((rule.question_start, rule.decoder_start, rule.end), (101, 30522, 102));
        assert_eq!(rule.max_question_tokens, 512);

        let (original, _) = parse(r#"{"vit": "large"}"#).unwrap();
        assert_eq!((original.text.num_attention_heads, original.vision.layer_norm_eps), (12, 1e-6));
        assert_eq!((original.vision.hidden_size, original.vision.intermediate_size), (1024, 4096));
        assert_eq!((original.vision.image_size, original.text.hidden_dropout_prob), (480, 0.1));
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
}
