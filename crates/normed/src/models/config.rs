//! The sizes of a MISS model: read from Hugging Face's config.json or from the small file that
//! stands beside a checkpoint in BLIP's own layout, checked, and written as the former.
//!
//! Keys that are absent take the defaults of the layout's own code: transformers'
//! `configuration_blip.py`, or BLIP's `configs/med_config.json` and `models/vit.py`.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Layout, Miss};
use crate::data::TextRule;
use crate::nn::Widths;
use crate::tensor::Parameters;
use crate::{Error, Result};

/// The image encoder's sizes.
#[derive(Debug, Clone, PartialEq)]
pub struct VisionConfig {
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width inside the feed-forward networks.
    pub intermediate_size: usize,
    /// Blocks.
    pub num_hidden_layers: usize,
    /// Attention heads.
    pub num_attention_heads: usize,
    /// Side of the picture in pixels.
    pub image_size: usize,
    /// Side of a patch in pixels.
    pub patch_size: usize,
    /// Of the norms.
    pub layer_norm_eps: f64,
    /// Dropout of attention probabilities.
    pub attention_dropout: f64,
}

/// The text towers' sizes: encoder and decoder have the same.
#[derive(Debug, Clone, PartialEq)]
pub struct TextConfig {
    /// Tokens.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width inside the feed-forward networks.
    pub intermediate_size: usize,
    /// Blocks.
    pub num_hidden_layers: usize,
    /// Attention heads.
    pub num_attention_heads: usize,
    /// The longest text.
    pub max_position_embeddings: usize,
    /// Of the norms.
    pub layer_norm_eps: f64,
    /// Dropout of embeddings and of what a layer adds to the residual stream.
    pub hidden_dropout_prob: f64,
    /// Dropout of attention probabilities.
    pub attention_probs_dropout_prob: f64,
    /// Opens the decoder's input, `[DEC]`.
    pub bos_token_id: u32,
    /// Closes a text, `[SEP]`.
    pub sep_token_id: u32,
    /// Fills short rows, `[PAD]`.
    pub pad_token_id: u32,
    /// Opens a question: `[CLS]` in Hugging Face's layout, `[ENC]` in the original. A key of ours:
    /// transformers leaves it to the tokenizer.
    pub question_token_id: u32,
    /// The longest question, special tokens included. A key of ours: transformers takes all that
    /// the positions allow, MISS 35.
    pub max_question_tokens: usize,
}

/// A whole model's sizes. The text encoder cross-attends to states as wide as the vision tower, the
/// decoder to states as wide as the encoder.
#[derive(Debug, Clone, PartialEq)]
pub struct MissConfig {
    /// The image encoder's.
    pub vision: VisionConfig,
    /// The text towers'.
    pub text: TextConfig,
}

/// More than this is a mistake in the file: 40 GB of weights.
const MAX_PARAMETERS: usize = 10_000_000_000;

impl VisionConfig {
    /// Patches in a picture.
    pub fn num_patches(&self) -> usize {
        (self.image_size / self.patch_size).pow(2)
    }

    /// A block's sizes.
    pub fn widths(&self) -> Widths {
        Widths {
            hidden: self.hidden_size,
            intermediate: self.intermediate_size,
            heads: self.num_attention_heads,
            eps: self.layer_norm_eps as f32,
        }
    }
}

impl TextConfig {
    /// A block's sizes.
    pub fn widths(&self) -> Widths {
        Widths {
            hidden: self.hidden_size,
            intermediate: self.intermediate_size,
            heads: self.num_attention_heads,
            eps: self.layer_norm_eps as f32,
        }
    }
}

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
            return Err(Error::invalid(place, "this is no BLIP or MISS model's config").hint(
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
                return Err(Error::invalid(place, cause).hint("it is \"base\" or \"large\""));
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
                .hint("the decoder cross-attends to states as wide as the encoder's"));
        }
        Ok(Self { vision: raw.over(place, vision)?, text })
    }

    /// Whether a model of these sizes can be; every size is at least 1, and none absurd.
    pub fn check(&self, place: &str) -> Result<()> {
        let (v, t) = (&self.vision, &self.text);
        let sizes = [
            ("vision_config.hidden_size", v.hidden_size, 1 << 16),
            ("vision_config.intermediate_size", v.intermediate_size, 1 << 20),
            ("vision_config.num_hidden_layers", v.num_hidden_layers, 1000),
            ("vision_config.num_attention_heads", v.num_attention_heads, 1 << 16),
            ("vision_config.image_size", v.image_size, 1 << 14),
            ("vision_config.patch_size", v.patch_size, 1 << 14),
            ("text_config.vocab_size", t.vocab_size, 1 << 24),
            ("text_config.hidden_size", t.hidden_size, 1 << 16),
            ("text_config.intermediate_size", t.intermediate_size, 1 << 20),
            ("text_config.num_hidden_layers", t.num_hidden_layers, 1000),
            ("text_config.num_attention_heads", t.num_attention_heads, 1 << 16),
            ("text_config.max_position_embeddings", t.max_position_embeddings, 1 << 20),
        ];
        for (key, value, most) in sizes {
            if value == 0 || value > most {
                return Err(Error::invalid(place, format!("{key} is {value}, not 1 to {most}")));
            }
        }
        let multiples = [
            (
                "vision_config",
                "hidden_size",
                v.hidden_size,
                "num_attention_heads",
                v.num_attention_heads,
            ),
            ("vision_config", "image_size", v.image_size, "patch_size", v.patch_size),
            (
                "text_config",
                "hidden_size",
                t.hidden_size,
                "num_attention_heads",
                t.num_attention_heads,
            ),
        ];
        for (part, key, value, of, unit) in multiples {
            if value % unit != 0 {
                let cause = format!("{part}.{key} {value} is not a multiple of {of} {unit}");
                return Err(Error::invalid(place, cause));
            }
        }
        for (key, eps) in [
            ("vision_config.layer_norm_eps", v.layer_norm_eps),
            ("text_config.layer_norm_eps", t.layer_norm_eps),
        ] {
            if !(eps > 0.0 && eps < 1.0) {
                let cause = format!("{key} is {eps}, not between 0 and 1");
                return Err(Error::invalid(place, cause));
            }
        }
        for (key, rate) in [
            ("vision_config.attention_dropout", v.attention_dropout),
            ("text_config.hidden_dropout_prob", t.hidden_dropout_prob),
            ("text_config.attention_probs_dropout_prob", t.attention_probs_dropout_prob),
        ] {
            if !(0.0..1.0).contains(&rate) {
                let cause = format!("{key} is {rate}, not from 0 to below 1");
                return Err(Error::invalid(place, cause));
            }
        }
        for (key, id) in [
            ("bos_token_id", t.bos_token_id),
            ("sep_token_id", t.sep_token_id),
            ("pad_token_id", t.pad_token_id),
            ("question_token_id", t.question_token_id),
        ] {
            if id as usize >= t.vocab_size {
                let cause = format!("text_config.{key} {id} is outside {} tokens", t.vocab_size);
                return Err(Error::invalid(place, cause));
            }
        }
        let count = self.num_parameters();
        if count > MAX_PARAMETERS {
            return Err(Error::invalid(place, format!("these sizes make {count} parameters")));
        }
        Ok(())
    }

    /// The number of parameters.
    pub fn num_parameters(&self) -> usize {
        let mut params = Parameters::new();
        Miss::declare(self, &mut params);
        params.count()
    }

    /// How questions and answers become input.
    pub fn text_rule(&self) -> TextRule {
        TextRule {
            question_start: self.text.question_token_id,
            decoder_start: self.text.bos_token_id,
            end: self.text.sep_token_id,
            pad: self.text.pad_token_id,
            max_question_tokens: self.text.max_question_tokens,
            max_answer_tokens: self.text.max_position_embeddings,
        }
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
