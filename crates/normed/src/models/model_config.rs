//! What opening, saving and inspecting need to know of a model family: its config, behind one trait.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use super::model::{Layout, Model};
use crate::data::{ImageProcessor, TemplateName, TextRule, Tokenizer};
use crate::tensor::Parameters;
use crate::weights::Checkpoint;
use crate::{Error, Result};

/// The config of a model: its sizes, and everything else that depends on its family.
pub trait ModelConfig: fmt::Debug + Send + Sync {
    /// The class that config.json's `architectures` names in this layout.
    fn architecture(&self, layout: Layout) -> &'static str;

    /// The model's class in transformers, and the module of that class: adapters name both.
    fn transformers_class(&self) -> [&'static str; 2];

    /// One line for the user: the layout, and how inputs and outputs are marked.
    fn summary(&self, layout: Layout, rule: Option<&TextRule>) -> String;

    /// Declares the parameters; gives the model that computes with them.
    fn declare(&self, params: &mut Parameters) -> Box<dyn Model>;

    /// Height and width of the images in pixels, for a model that reads squares of one size; none for a model
    /// that reads every image at its own size.
    fn image_size(&self) -> Option<usize>;

    /// Sets the size of the images that a model of one size reads.
    ///
    /// # Errors
    /// If the model cannot read that size.
    fn set_image_size(&mut self, size: usize) -> Result<()>;

    /// Sets the number of tokens in the vocabulary of every language model.
    ///
    /// # Errors
    /// If the model cannot have as many.
    fn set_vocabulary(&mut self, tokens: usize) -> Result<()>;

    /// The most positions that an image takes in a prompt; 0 if images are not part of the prompt.
    fn max_image_tokens(&self) -> usize;

    /// How questions and answers become token ids, as far as config.json and the files in `dir` say it: none
    /// if only a tokenizer could, and `dir` has none.
    ///
    /// # Errors
    /// As [`ModelConfig::open_tokenizer`].
    fn describe_text_rule(
        &self,
        overrides: LoadOverrides,
        dir: &Path,
        layout: Layout,
        json: &Value,
    ) -> Result<Option<TextRule>>;

    /// The model's image processor, with the settings in `dir`; `json` is config.json's content.
    ///
    /// # Errors
    /// If its config cannot be read, asks for what the processor does not do, or is for images of another size
    /// than the model reads, unless `overrides` names the size.
    fn open_image_processor(
        &self,
        overrides: LoadOverrides,
        dir: &Path,
        json: &Value,
    ) -> Result<Arc<dyn ImageProcessor>>;

    /// The tokenizer in `dir`, and how questions and answers become token ids; `json` is config.json's content.
    ///
    /// # Errors
    /// If the tokenizer cannot be read, or does not agree with the config.
    fn open_tokenizer(
        &mut self,
        overrides: LoadOverrides,
        dir: &Path,
        layout: Layout,
        json: &Value,
    ) -> Result<(Tokenizer, TextRule)>;

    /// The weights in `dir`, in Hugging Face's names.
    ///
    /// # Errors
    /// If there are none, if they cannot be read, or if they are in another layout.
    fn open_weights(&self, dir: &Path, layout: Layout) -> Result<Checkpoint>;

    /// The name that a checkpoint which was opened in this layout has for the parameter `name`.
    fn stored_name(&self, layout: Layout, name: &str) -> String;

    /// The content of Hugging Face's config.json.
    ///
    /// # Errors
    /// If Hugging Face's layout cannot express the model.
    fn to_hugging_face(&self) -> Result<Value>;

    /// The name that files in Hugging Face's layout get for the parameter `name`.
    fn saved_name(&self, name: &str) -> String {
        name.to_owned()
    }

    /// The layout in which a model that was read in `layout` is written, with its weights kept.
    ///
    /// # Errors
    /// If there is none.
    fn output_layout(&self, _layout: Layout) -> Result<Layout> {
        self.to_hugging_face().map(|_| Layout::HuggingFace)
    }

    /// Writes what a directory in the original layout holds besides config, weights and tokenizer.
    ///
    /// # Errors
    /// If a file cannot be written.
    fn save_companion_files(&self, _dir: &Path) -> Result<()> {
        Ok(())
    }
}

/// Settings that replace those of a checkpoint when it is loaded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LoadOverrides {
    /// Height and width of images in pixels.
    pub image_size: Option<usize>,
    /// The template of prompts.
    pub template: Option<TemplateName>,
}

impl From<Option<usize>> for LoadOverrides {
    fn from(image_size: Option<usize>) -> Self {
        Self { image_size, template: None }
    }
}

/// Checks that a model's table has a row for every token of its tokenizer; `dir` names both in errors. Tables
/// that are padded have more rows than there are tokens.
///
/// # Errors
/// If there are fewer rows.
pub(super) fn check_vocabulary(dir: &Path, tokenizer: &Tokenizer, vocab_size: usize) -> Result<()> {
    if tokenizer.len() <= vocab_size {
        return Ok(());
    }
    let tokens = tokenizer.len();
    let cause = format!("the tokenizer has {tokens} tokens, the model's table {vocab_size} rows");
    Err(Error::invalid(dir.display(), cause)
        .with_remedy("use the tokenizer and the weights of one checkpoint"))
}
