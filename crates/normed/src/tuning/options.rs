//! What methods can be told.

use serde::Serialize;

use super::{
    AdapterOptions, AttentionOptions, Ia3Options, LoraOptions, NormOptions, PrefixOptions,
    PromptOptions,
};

/// The options of every method that has any; those of methods that a rule does not use say nothing.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Options {
    /// Of `layer_norm`.
    pub layer_norm: NormOptions,
    /// Of `attention`.
    pub attention: AttentionOptions,
    /// Of `lora`.
    pub lora: LoraOptions,
    /// Of `ia3`.
    pub ia3: Ia3Options,
    /// Of `prefix` and `p_tuning_v2`.
    pub prefix: PrefixOptions,
    /// Of `prompt`.
    pub prompt: PromptOptions,
    /// Of `adapter`.
    pub adapter: AdapterOptions,
}
