//! Reading models from directories.
//!
//! Two layouts of every family are read: Hugging Face's, and that of the model's own code. A family's
//! [`ModelConfig`] knows the files of both.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use super::families::ConfigFile;
use super::model::{Layout, Model};
use super::model_config::{LoadOverrides, ModelConfig};
use super::resize::resize_positions;
use crate::Result;
use crate::data::{Collator, ImageProcessor, TextRule, Tokenizer};
use crate::tensor::{Parameter, Parameters, Precision};
use crate::weights::{self, ContentHash, QuantizationConfig};

/// A model that is ready to run.
pub struct LoadedModel {
    /// The layers, which compute.
    pub model: Box<dyn Model>,
    /// Its config.
    pub config: Box<dyn ModelConfig>,
    /// Its parameters, with their values.
    pub params: Parameters,
    /// Its tokenizer.
    pub tokenizer: Arc<Tokenizer>,
    /// Turns images into pixel values.
    pub image_processor: Arc<dyn ImageProcessor>,
    /// How questions and answers become token ids.
    pub text_rule: TextRule,
    /// The layout that the checkpoint was read in.
    pub layout: Layout,
    /// The directory that it was read from; empty for a new model.
    pub dir: PathBuf,
    /// SHA-256 of the weights as read, in hexadecimal; computed on first use.
    pub content_hash: ContentHash,
}

impl LoadedModel {
    /// A collator that makes batches for this model.
    pub fn collator(&self) -> Collator {
        let (tokenizer, processor) =
            (Arc::clone(&self.tokenizer), Arc::clone(&self.image_processor));
        Collator::new(tokenizer, processor, self.text_rule.clone())
    }
}

/// A model without its weights, which is enough to plan memory and time.
pub struct UnloadedModel {
    /// The layers, which compute.
    pub model: Box<dyn Model>,
    /// Its config.
    pub config: Box<dyn ModelConfig>,
    /// Its parameters, without values.
    pub params: Parameters,
    /// Its tokenizer.
    pub tokenizer: Arc<Tokenizer>,
    /// Turns images into pixel values.
    pub image_processor: Arc<dyn ImageProcessor>,
    /// How questions and answers become token ids.
    pub text_rule: TextRule,
    /// The layout that its checkpoint is in.
    pub layout: Layout,
}

impl UnloadedModel {
    /// The precision in which the files in `dir`, the model's own, hold `parameter`. None if there are no such
    /// files, or if they hold it in another form.
    pub fn stored_precision(&self, dir: &Path, parameter: &Parameter) -> Option<Precision> {
        let checkpoint = self.config.open_weights(dir, self.layout).ok()?;
        let name = self.config.stored_name(self.layout, parameter.name());
        checkpoint.tensors.get(&name)?.precision()
    }

    /// The loaded model, once its parameters have their values from `dir`.
    pub(super) fn into_loaded(self, dir: PathBuf, content_hash: ContentHash) -> LoadedModel {
        let Self { model, config, params, tokenizer, image_processor, text_rule, layout } = self;
        LoadedModel {
            model,
            config,
            params,
            tokenizer,
            image_processor,
            text_rule,
            layout,
            dir,
            content_hash,
        }
    }
}

/// What config.json alone determines about a model.
pub struct ModelDeclaration {
    /// Every parameter, without values.
    pub params: Parameters,
    /// The layout that config.json is in.
    pub layout: Layout,
    /// How questions and answers become token ids; none if that depends on a
    /// tokenizer and there is none.
    pub text_rule: Option<TextRule>,
    /// The most positions that an image takes in a prompt; 0 if images are not part of the prompt.
    pub max_image_tokens: usize,
    /// The class that config.json names.
    pub architecture: String,
    /// One line for the user: the layout, and how inputs and outputs are marked.
    pub summary: String,
}

/// Declares the parameters of the model in `dir` from its config.json. Neither weights nor a tokenizer are
/// needed.
///
/// ```
/// use normed::models::declare_model;
/// use normed::tensor::Module;
///
/// let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/phantom");
/// let params = declare_model(dir.as_ref(), None)?.params;
/// let norms = params.iter().filter(|(_, p)| matches!(p.role().module, Module::Norm(_)));
/// let count: usize = norms.map(|(_, p)| p.len()).sum();
/// assert!(count * 50 < params.element_count(), "norms are a small part of the parameters");
/// # Ok::<(), normed::Error>(())
/// ```
///
/// # Errors
/// If config.json cannot be read or is of no known family, or if a tokenizer or an image processor is there and
/// does not fit it.
pub fn declare_model(dir: &Path, overrides: impl Into<LoadOverrides>) -> Result<ModelDeclaration> {
    let ConfigFile { config, layout, json } = ConfigFile::open(dir)?;
    let mut params = Parameters::new();
    config.declare(&mut params);
    expect_quantized(dir, &json, &mut params)?;
    let overrides = overrides.into();
    config.open_image_processor(overrides, dir, &json)?;
    let text_rule = config.describe_text_rule(overrides, dir, layout, &json)?;
    let named = json["architectures"][0].as_str();
    let architecture = named.unwrap_or_else(|| config.architecture(layout));
    Ok(ModelDeclaration {
        params,
        layout,
        max_image_tokens: config.max_image_tokens(),
        architecture: architecture.to_owned(),
        summary: config.summary(layout, text_rule.as_ref()),
        text_rule,
    })
}

/// Reads all of the model in `dir` but its weights.
///
/// # Errors
/// If a file cannot be read, if the files do not fit each other, or if the model cannot have what `overrides`
/// asks for.
pub fn load_without_weights(
    dir: &Path,
    overrides: impl Into<LoadOverrides>,
) -> Result<UnloadedModel> {
    let overrides = overrides.into();
    let mut file = ConfigFile::open(dir)?;
    if let Some(size) = overrides.image_size {
        file.config.set_image_size(size)?;
    }
    declare(file, dir, overrides)
}

/// Reads the model in `dir`, with its weights in f32.
///
/// ```
/// let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/phantom");
/// let loaded = normed::models::load(dir.as_ref(), None)?;
/// assert_eq!(loaded.config.architecture(loaded.layout), "BlipForQuestionAnswering");
/// println!("{} parameters", loaded.params.element_count());
/// # Ok::<(), normed::Error>(())
/// ```
///
/// # Errors
/// As [`load_as_stored`].
pub fn load(dir: &Path, overrides: impl Into<LoadOverrides>) -> Result<LoadedModel> {
    let mut loaded = load_as_stored(dir, overrides)?;
    loaded.params.set_precision(Precision::F32);
    Ok(loaded)
}

/// Reads the model in `dir`. Weights that are f32 or bf16 stay in their mapped file; call
/// [`Parameters::set_precision`] before computing with them.
///
/// If `overrides` has another image size than the checkpoint, position embeddings are interpolated, and images
/// get that size whatever preprocessor_config.json says.
///
/// # Errors
/// If a file cannot be read, if the files do not fit each other, or if the model cannot have what `overrides`
/// asks for.
pub fn load_as_stored(dir: &Path, overrides: impl Into<LoadOverrides>) -> Result<LoadedModel> {
    let overrides = overrides.into();
    let file = ConfigFile::open(dir)?;
    let json = file.json.clone();
    let mut unloaded = declare(file, dir, overrides)?;
    let UnloadedModel { params, config, layout, .. } = &mut unloaded;
    let checkpoint = config.open_weights(dir, *layout)?;
    weights::load_parameters(params, &checkpoint, |name| config.stored_name(*layout, name))?;
    let content_hash = ContentHash::lazy(checkpoint);
    if let Some(size) = overrides.image_size.filter(|&size| config.image_size() != Some(size)) {
        config.set_image_size(size)?;
        let (model, params) = resize_positions(&**config, params)?;
        let image_processor = config.open_image_processor(overrides, dir, &json)?;
        unloaded = UnloadedModel { model, params, image_processor, ..unloaded };
    }
    Ok(unloaded.into_loaded(dir.to_owned(), content_hash))
}

/// The content of config.json in `dir`.
///
/// # Errors
/// If it cannot be read, or is of no known family.
pub fn read_config(dir: &Path) -> Result<Value> {
    Ok(ConfigFile::open(dir)?.json)
}

/// The model that a config file describes, with the tokenizer and the image processor in `dir`.
fn declare(file: ConfigFile, dir: &Path, overrides: LoadOverrides) -> Result<UnloadedModel> {
    let ConfigFile { mut config, layout, json } = file;
    let (tokenizer, text_rule) = config.open_tokenizer(overrides, dir, layout, &json)?;
    let image_processor = config.open_image_processor(overrides, dir, &json)?;
    let mut params = Parameters::new();
    let model = config.declare(&mut params);
    expect_quantized(dir, &json, &mut params)?;
    let tokenizer = Arc::new(tokenizer);
    Ok(UnloadedModel { model, config, params, tokenizer, image_processor, text_rule, layout })
}

/// Marks the parameters that config.json says are quantized.
fn expect_quantized(dir: &Path, json: &Value, params: &mut Parameters) -> Result<()> {
    let place = dir.join("config.json");
    if let Some(config) = QuantizationConfig::parse(&place.display().to_string(), json)? {
        config.mark_parameters(params);
    }
    Ok(())
}
