//! How answers are generated: the settings, and the values that each of them accepts.

use serde::{Deserialize, Serialize};

use crate::data::Task;
use crate::{Error, Range, Result};

/// How answers are generated: greedy search, beam search or sampling.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GenerationConfig {
    /// Number of beams of a beam search; 1 is greedy search.
    pub num_beams: usize,
    /// Maximum length of an answer in tokens, end token included. Training reports are truncated to it.
    pub max_new_tokens: usize,
    /// Length penalty of a beam search, as in transformers: scores are divided by `length ^ length_penalty`.
    pub length_penalty: f32,
    /// Repetition penalty; 1 turns it off. The logit of a token that has already occurred is divided by it if
    /// positive and multiplied by it if negative, as by transformers' `RepetitionPenaltyLogitsProcessor`
    /// (Keskar et al. 2019, arXiv 1909.05858). With several beams it applies to log-probabilities. The tokens
    /// of a language model's prompt count as having occurred; image tokens do not.
    pub repetition_penalty: f32,
    /// Sampling temperature; 0 always takes the most likely token.
    pub temperature: f32,
    /// Nucleus sampling: tokens are sampled from the most likely ones whose probabilities sum to this.
    pub top_p: f32,
    /// Random seed of sampling.
    pub seed: u64,
}

impl Default for GenerationConfig {
    fn default() -> Self {
        Self {
            num_beams: 1,
            max_new_tokens: 10,
            length_penalty: 1.0,
            repetition_penalty: 1.0,
            temperature: 0.0,
            top_p: 1.0,
            seed: 0,
        }
    }
}

impl GenerationConfig {
    /// The range of [`num_beams`](Self::num_beams).
    pub const NUM_BEAMS: Range<usize> = Range::from_to(1, 1000);
    /// The range of [`max_new_tokens`](Self::max_new_tokens). A model may have room for fewer.
    pub const MAX_NEW_TOKENS: Range<usize> = Range::from_to(1, 65_536);
    /// The range of [`length_penalty`](Self::length_penalty).
    pub const LENGTH_PENALTY: Range<f32> = Range::from_to(-100.0, 100.0);
    /// The range of [`repetition_penalty`](Self::repetition_penalty).
    pub const REPETITION_PENALTY: Range<f32> = Range::above_to(0.0, 100.0);
    /// The range of [`temperature`](Self::temperature).
    pub const TEMPERATURE: Range<f32> = Range::from_to(0.0, 100.0);
    /// The range of [`top_p`](Self::top_p).
    pub const TOP_P: Range<f32> = Range::above_to(0.0, 1.0);

    /// The default settings for a task: answers of up to 10 tokens, reports of up to 100.
    pub fn default_for(task: &Task) -> Self {
        match task {
            Task::Vqa => Self::default(),
            Task::Report { .. } => Self { max_new_tokens: 100, ..Self::default() },
        }
    }

    /// Checks every setting against its range, and the settings against each other.
    ///
    /// # Errors
    /// If a setting is outside its range, or sampling is combined with beam search.
    pub fn validate(&self) -> Result<()> {
        check("num_beams", self.num_beams, Self::NUM_BEAMS)?;
        check("max_new_tokens", self.max_new_tokens, Self::MAX_NEW_TOKENS)?;
        check("length_penalty", self.length_penalty, Self::LENGTH_PENALTY)?;
        check("repetition_penalty", self.repetition_penalty, Self::REPETITION_PENALTY)?;
        check("temperature", self.temperature, Self::TEMPERATURE)?;
        check("top_p", self.top_p, Self::TOP_P)?;
        if self.temperature > 0.0 && self.num_beams > 1 {
            return Err(Error::invalid(
                "generate.num_beams",
                "must be 1 while temperature is above 0: sampling has one beam",
            ));
        }
        Ok(())
    }
}

fn check<T: Copy + PartialOrd + std::fmt::Display>(
    key: &str,
    value: T,
    range: Range<T>,
) -> Result<()> {
    match range.contains(value) {
        true => Ok(()),
        false => Err(Error::invalid(
            format!("generate.{key}"),
            format!("must be a number {range}, is {value}"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_setting_is_checked() {
        let good = GenerationConfig::default;
        good().validate().unwrap();
        for (rule, key) in [
            (GenerationConfig { num_beams: 0, ..good() }, "num_beams"),
            (GenerationConfig { max_new_tokens: usize::MAX, ..good() }, "max_new_tokens"),
            (GenerationConfig { length_penalty: f32::INFINITY, ..good() }, "length_penalty"),
            (GenerationConfig { repetition_penalty: 0.0, ..good() }, "repetition_penalty"),
            (GenerationConfig { temperature: -0.5, ..good() }, "temperature"),
            (GenerationConfig { top_p: f32::NAN, ..good() }, "top_p"),
            (GenerationConfig { temperature: 0.5, num_beams: 2, ..good() }, "num_beams"),
        ] {
            let error = rule.validate().unwrap_err();
            assert_eq!(error.place(), format!("generate.{key}"));
        }
    }
}
