//! Which parameters are trained. A method knows roles, never a model.

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::tensor::{Parameters, Tower};

/// What is trained: the `[tuning]` section of a recipe.
///
/// ```toml
/// [tuning]
/// method = "layer_norm"
/// towers = ["text", "decoder"]   # all if absent
/// layers = "6.."                 # all if absent; norms outside the blocks are left out then
/// also = ["head"]
/// ```
/// or, tower by tower, `tuning.vision.method = "none"`, `tuning.text.method = "full"`, ...
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Tuning {
    /// One rule for all towers it names.
    One(Rule),
    /// A rule a tower.
    PerTower {
        /// The image encoder's.
        vision: Option<Rule>,
        /// The question encoder's.
        text: Option<Rule>,
        /// The decoder's.
        decoder: Option<Rule>,
    },
}

/// One method and where it applies.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    /// What kind of parameters.
    pub method: Method,
    /// In which towers; all if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub towers: Option<Vec<Tower>>,
    /// In which blocks, `"6.."` or `"0..6"`; all, and what stands outside the blocks, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layers: Option<String>,
    /// Roles that train beside.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<Also>,
}

/// The tuning methods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Nothing.
    None,
    /// Everything.
    Full,
    /// The LayerNorms.
    LayerNorm,
    /// The projections of self- and cross-attention.
    Attention,
    /// The feed-forward networks.
    Ffn,
}

/// Roles that can train beside a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Also {
    /// The prediction head.
    Head,
    /// The embeddings.
    Embeddings,
}

/// What a tuning caught.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Tuned {
    /// Elements trained.
    pub trained: usize,
    /// Elements in all.
    pub total: usize,
    /// Names of parameters that were asked for and that no loss can move, with the reason.
    pub inert: Vec<(String, String)>,
}

impl Tuning {
    /// Freezes everything, then selects. To catch nothing (but by `none`) is an error.
    pub fn apply(&self, params: &mut Parameters) -> Result<Tuned> {
        todo!("{params:?}")
    }
}
