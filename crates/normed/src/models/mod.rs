//! Models: what they compute, how they are read from a directory, how they generate.

mod bert;
mod config;
mod generate;
mod init;
mod miss;
mod vit;

pub use bert::{Bert, Head};
pub use config::{MissConfig, TextConfig, VisionConfig};
pub use generate::{GenerateRule, generate};
pub use init::initialise;
pub use miss::Miss;
pub use vit::Vit;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::Result;
use crate::data::{Batch, ImageRule, TextRule, Tokenizer};
use crate::nn::Mode;
use crate::tensor::{Graph, Parameters, Tensor, Var};

/// What a model computes. It knows nothing of what is tuned; its parameters live in [`Parameters`].
pub trait Model: Send + Sync {
    /// Logits `[B, A, V]` of the decoder's positions, teacher-forced. Fails on a batch that was not
    /// made for this model: another image size, unknown tokens, text longer than its positions.
    fn forward(&self, g: &mut Graph<'_>, batch: &Batch, mode: Mode) -> Result<Var>;

    /// Encodes the images and questions of `batch` for answers of up to `max_new_tokens`. Fails
    /// as [`Model::forward`] does, and where the positions do not go so far.
    fn start<'m>(
        &'m self,
        params: &'m Parameters,
        batch: &Batch,
        max_new_tokens: usize,
    ) -> Result<Box<dyn Decoding + 'm>>;
}

/// A batch being decoded, with its key-value cache: one row a sequence.
pub trait Decoding {
    /// Feeds one token a row; gives the next token's logits `[rows, V]`.
    fn step(&mut self, tokens: &[u32]) -> Tensor;

    /// Row `r` becomes what row `from[r]` was; `from` may be longer or shorter than the rows so far
    /// (examples spread over beams, finished examples dropped).
    fn reorder(&mut self, from: &[usize]);
}

/// Whose names and rules a checkpoint follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// `BlipForQuestionAnswering` of Hugging Face's transformers.
    HuggingFace,
    /// BLIP's and MISS's own.
    Original,
}

/// A model that is ready to run.
pub struct Loaded {
    /// What it computes.
    pub model: Box<dyn Model>,
    /// Its parameters.
    pub params: Parameters,
    /// Its tokenizer.
    pub tokenizer: Arc<Tokenizer>,
    /// How pictures become its input.
    pub image_rule: ImageRule,
    /// How questions and answers become its input.
    pub text_rule: TextRule,
    /// Whose names and rules the checkpoint follows.
    pub layout: Layout,
    /// Where it was read from.
    pub dir: PathBuf,
    /// SHA-256 over the weights as read, hexadecimal.
    pub content_hash: String,
}

/// Reads the model in `dir`. `image_size` asks for another size than the checkpoint's: position
/// embeddings are interpolated then.
pub fn load(dir: &Path, image_size: Option<usize>) -> Result<Loaded> {
    todo!("{dir:?} {image_size:?}")
}

/// Writes `loaded` as a Hugging Face directory (config.json, model.safetensors, tokenizer,
/// preprocessor_config.json); `bf16` halves the file.
pub fn save(loaded: &Loaded, dir: &Path, bf16: bool) -> Result<()> {
    todo!("{:?} {dir:?} {bf16}", loaded.dir)
}

/// What a directory holds, known from its config.json alone: no weights needed.
pub struct Description {
    /// Every parameter, declared but without a value.
    pub params: Parameters,
    /// Whose names and rules the checkpoint follows.
    pub layout: Layout,
    /// How questions and answers become input.
    pub text_rule: TextRule,
    /// config.json's `architectures[0]` or what stands for it.
    pub architecture: String,
}

/// Reads config.json in `dir` and declares the parameters.
pub fn describe(dir: &Path) -> Result<Description> {
    todo!("{dir:?}")
}
