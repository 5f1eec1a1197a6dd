//! The sizes of a MISS model, checked.

use super::Miss;
use crate::data::QuestionRule;
use crate::nn::BlockConfig;
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
    pub fn block_config(&self) -> BlockConfig {
        BlockConfig {
            hidden: self.hidden_size,
            intermediate: self.intermediate_size,
            heads: self.num_attention_heads,
            eps: self.layer_norm_eps as f32,
        }
    }
}

impl TextConfig {
    /// A block's sizes.
    pub fn block_config(&self) -> BlockConfig {
        BlockConfig {
            hidden: self.hidden_size,
            intermediate: self.intermediate_size,
            heads: self.num_attention_heads,
            eps: self.layer_norm_eps as f32,
        }
    }
}

impl MissConfig {
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
        params.element_count()
    }

    /// How questions and answers become input.
    pub fn text_rule(&self) -> QuestionRule {
        QuestionRule {
            question_start: self.text.question_token_id,
            decoder_start: self.text.bos_token_id,
            end: self.text.sep_token_id,
            pad: self.text.pad_token_id,
            max_question_tokens: self.text.max_question_tokens,
            max_answer_tokens: self.text.max_position_embeddings,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::Layout;
    use crate::tensor::{Module, Tower};

    fn parse(text: &str) -> Result<(MissConfig, Layout)> {
        MissConfig::parse("config.json", text)
    }

    fn counts(config: &MissConfig, norms: bool) -> [usize; 4] {
        let mut params = Parameters::new();
        Miss::declare(config, &mut params);
        Tower::ALL.map(|tower| {
            params
                .iter()
                .filter(|(_, p)| p.role.tower == tower)
                .filter(|(_, p)| !norms || matches!(p.role.module, Module::Norm(_)))
                .map(|(_, p)| p.len())
                .sum()
        })
    }

    /// The counts of paper.md, which reproduce the percentages that MILE published.
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
            (vision(r#""hidden_act": "quick_gelu""#), "hidden_act is \"quick_gelu\""),
            (vision(r#""attention_dropout": 1.0"#), "attention_dropout is 1"),
            (text(r#""hidden_dropout_prob": -0.1"#), "hidden_dropout_prob is -0.1"),
            (text(r#""vocab_size": 100"#), "bos_token_id 30522 is outside"),
            (text(r#""num_hidden_layers": -1"#), "invalid value"),
            (text(huge), "parameters"),
            (r#"{"vit": "huge"}"#.into(), "vit is \"huge\""),
            (r#"{"vit": "base", "encoder_width": 1024}"#.into(), "encoder_width is 1024"),
            (r#"{"model_type": "llava"}"#.into(), "no BLIP or MISS"),
            (r#"{"model_type": "blip", "architectures": ["BlipModel"]}"#.into(), "architectures"),
            ("[]".into(), "no BLIP or MISS"),
            ("{".into(), "EOF"),
        ] {
            let error = parse(&json).expect_err(&json);
            assert_eq!(error.exit_code(), 2);
            let error = error.to_string();
            assert!(error.starts_with("config.json: ") && error.contains(cause), "{json}: {error}");
        }
    }
}
