//! Models in directories: what a config.json describes, read, and written again.
//!
//! Two layouts of every kind of model are read: Hugging Face's, and that of the model's own code. What
//! each kind of model keeps where is in a file of its own, which implements [`ModelConfig`].

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};

use super::{Layout, LlavaConfig, MissConfig, Model};
use crate::data::{Collator, ImageRule, TemplateName, TextRule, Tokenizer};
use crate::files::{CONFIG_LIMIT, read_bounded, write_atomically};
use crate::tensor::{Parameter, Parameters, Precision, Tensor};
use crate::weights::{self, Checkpoint, ContentHash, QuantisationConfig};
use crate::{Error, Result};

/// What a config.json says of a model: its sizes, and all that depends on what kind of model it is.
pub trait ModelConfig: fmt::Debug + Send + Sync {
    /// What config.json's `architectures` has in this layout.
    fn architecture(&self, layout: Layout) -> &'static str;

    /// The class of transformers that the model is, and the module that has it: adapters name them.
    fn base_class(&self) -> [&'static str; 2];

    /// In a line, what goes in and what comes out.
    fn summary(&self, layout: Layout, rule: Option<&TextRule>) -> String;

    /// Declares the parameters.
    fn declare(&self, params: &mut Parameters) -> Box<dyn Model>;

    /// Side of the pictures in pixels.
    fn image_size(&self) -> usize;

    /// Chooses another one. Fails where the model cannot have it.
    fn set_image_size(&mut self, size: usize) -> Result<()>;

    /// How questions and answers become input, as far as that is known where the directory may hold no
    /// tokenizer.
    fn described_text(
        &self,
        overrides: LoadOverrides,
        dir: &Path,
        layout: Layout,
        json: &Value,
    ) -> Result<Option<TextRule>>;

    /// How pictures become input, but for their size, which [`ModelConfig::image_size`] says; `json` is
    /// config.json's content.
    fn open_image(&self, dir: &Path, _json: &Value) -> Result<ImageRule> {
        ImageRule::open(dir)
    }

    /// The tokenizer in `dir` and how questions and answers become input, which must agree; `json` is
    /// config.json's content.
    fn open_text(
        &mut self,
        overrides: LoadOverrides,
        dir: &Path,
        layout: Layout,
        json: &Value,
    ) -> Result<(Tokenizer, TextRule)>;

    /// The weights in `dir`, under the parameters' names.
    fn open_weights(&self, dir: &Path, layout: Layout) -> Result<Checkpoint>;

    /// What a file of this layout calls the parameter `name`.
    fn stored_name(&self, layout: Layout, name: &str) -> String;

    /// As config.json of Hugging Face's layout. Fails for a model that it has no room for.
    fn to_hugging_face(&self) -> Result<Value>;

    /// What a file that [`save`] writes calls the parameter `name`.
    fn saved_name(&self, name: &str) -> String {
        name.to_owned()
    }

    /// The layout that a model which was read in `layout` is written in again, its weights otherwise
    /// kept. Fails where there is none.
    fn written_layout(&self, _layout: Layout) -> Result<Layout> {
        self.to_hugging_face().map(|_| Layout::HuggingFace)
    }

    /// Writes what a directory in the layout of the model's own code holds besides.
    fn save_beside(&self, _dir: &Path) -> Result<()> {
        Ok(())
    }
}

/// Reads config.json's content, which stands in a directory; the place names the file in errors.
type Read = fn(&str, &Value, &Path) -> Result<(Box<dyn ModelConfig>, Layout)>;

/// Whether config.json's content is a kind of model's.
type IsMeant = fn(&Value) -> bool;

/// Each kind of model: whether a config.json means it, and what reads that. The first that is meant.
const KINDS: [(IsMeant, Read); 2] = [
    (LlavaConfig::is_meant, |place, json, dir| {
        let (config, layout) = LlavaConfig::parse(place, json, dir)?;
        Ok((Box::new(config), layout))
    }),
    (MissConfig::is_meant, |place, json, _| {
        let (config, layout) = MissConfig::parse(place, &json.to_string())?;
        Ok((Box::new(config), layout))
    }),
];

/// A model that is ready to run.
pub struct LoadedModel {
    /// What it computes.
    pub model: Box<dyn Model>,
    /// Its sizes.
    pub config: Box<dyn ModelConfig>,
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
    /// SHA-256 over the weights as read, hexadecimal, taken when it is asked for.
    pub content_hash: ContentHash,
}

impl LoadedModel {
    /// What makes batches by its rules.
    pub fn collator(&self) -> Collator {
        let tokenizer = Arc::clone(&self.tokenizer);
        Collator::new(tokenizer, self.image_rule.clone(), self.text_rule.clone())
    }
}

/// A model without its weights: what a plan needs to know.
pub struct UnloadedModel {
    /// What it computes.
    pub model: Box<dyn Model>,
    /// Its sizes.
    pub config: Box<dyn ModelConfig>,
    /// Its parameters, without values.
    pub params: Parameters,
    /// Its tokenizer.
    pub tokenizer: Arc<Tokenizer>,
    /// How pictures become its input.
    pub image_rule: ImageRule,
    /// How questions and answers become its input.
    pub text_rule: TextRule,
    /// Whose names and rules it follows.
    pub layout: Layout,
}

impl UnloadedModel {
    /// What a table's elements are in the files in `dir`, the model's own; none where there are no such
    /// files yet, or where they hold it otherwise.
    pub fn stored_precision(&self, dir: &Path, table: &Parameter) -> Option<Precision> {
        let checkpoint = self.config.open_weights(dir, self.layout).ok()?;
        let name = self.config.stored_name(self.layout, &table.name);
        checkpoint.tensors.get(&name)?.precision()
    }

    /// The same, its parameters having got their values from `dir`.
    pub(super) fn loaded(self, dir: PathBuf, content_hash: ContentHash) -> LoadedModel {
        let Self { model, config, params, tokenizer, image_rule, text_rule, layout } = self;
        LoadedModel {
            model,
            config,
            params,
            tokenizer,
            image_rule,
            text_rule,
            layout,
            dir,
            content_hash,
        }
    }
}

/// What is asked of a model otherwise than its checkpoint says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LoadOverrides {
    /// Another side of its pictures, in pixels.
    pub image_size: Option<usize>,
    /// Another template of its prompts.
    pub template: Option<TemplateName>,
}

impl From<Option<usize>> for LoadOverrides {
    fn from(image_size: Option<usize>) -> Self {
        Self { image_size, template: None }
    }
}

/// What a directory holds, known from its config.json alone: no weights needed.
pub struct ModelDeclaration {
    /// Every parameter, declared but without a value.
    pub params: Parameters,
    /// Whose names and rules the checkpoint follows.
    pub layout: Layout,
    /// How questions and answers become input; none where only a tokenizer can say it, and there is none.
    pub text_rule: Option<TextRule>,
    /// config.json's `architectures[0]` or what stands for it.
    pub architecture: String,
    /// In a line, what goes in and what comes out.
    pub summary: String,
}

/// Reads config.json in `dir` and declares the parameters.
pub fn declare_model(dir: &Path, overrides: impl Into<LoadOverrides>) -> Result<ModelDeclaration> {
    let ConfigFile { config, layout, json } = ConfigFile::open(dir)?;
    let mut params = Parameters::new();
    config.declare(&mut params);
    expect_quantized(dir, &json, &mut params)?;
    let text_rule = config.described_text(overrides.into(), dir, layout, &json)?;
    let named = json["architectures"][0].as_str();
    let architecture = named.unwrap_or_else(|| config.architecture(layout));
    Ok(ModelDeclaration {
        params,
        layout,
        architecture: architecture.to_owned(),
        summary: config.summary(layout, text_rule.as_ref()),
        text_rule,
    })
}

/// The model in `dir` without its weights.
pub fn load_without_weights(
    dir: &Path,
    overrides: impl Into<LoadOverrides>,
) -> Result<UnloadedModel> {
    let overrides = overrides.into();
    let ConfigFile { mut config, layout, json } = ConfigFile::open(dir)?;
    let (tokenizer, text_rule) = config.open_text(overrides, dir, layout, &json)?;
    if let Some(size) = overrides.image_size {
        config.set_image_size(size)?;
    }
    let image_rule = ImageRule { size: config.image_size(), ..config.open_image(dir, &json)? };
    let mut params = Parameters::new();
    let model = config.declare(&mut params);
    expect_quantized(dir, &json, &mut params)?;
    let tokenizer = Arc::new(tokenizer);
    Ok(UnloadedModel { model, config, params, tokenizer, image_rule, text_rule, layout })
}

/// Reads the model in `dir`, in f32: see [`load_as_stored`].
pub fn load(dir: &Path, overrides: impl Into<LoadOverrides>) -> Result<LoadedModel> {
    let mut loaded = load_as_stored(dir, overrides)?;
    loaded.params.set_precision(Precision::F32);
    Ok(loaded)
}

/// Reads the model in `dir`, without a copy of weights that are f32 or bf16: to be used after
/// [`Parameters::set_precision`]. Where another image size than the checkpoint's is asked for, position
/// embeddings are interpolated. Pictures are always made the size that the model takes, what
/// preprocessor_config.json says of it notwithstanding.
pub fn load_as_stored(dir: &Path, overrides: impl Into<LoadOverrides>) -> Result<LoadedModel> {
    let overrides = overrides.into();
    let mut declared = load_without_weights(dir, LoadOverrides { image_size: None, ..overrides })?;
    let UnloadedModel { params, config, layout, .. } = &mut declared;
    let checkpoint = config.open_weights(dir, *layout)?;
    weights::fill(params, &checkpoint, |name| config.stored_name(*layout, name))?;
    let content_hash = ContentHash::of(checkpoint);
    if let Some(size) = overrides.image_size.filter(|&size| size != config.image_size()) {
        config.set_image_size(size)?;
        let (model, params) = resized(&**config, params)?;
        (declared.model, declared.params) = (model, params);
        declared.image_rule.size = size;
    }
    Ok(declared.loaded(dir.to_owned(), content_hash))
}

/// Writes `loaded` as a Hugging Face directory (config.json, model.safetensors, tokenizer,
/// preprocessor_config.json); `bf16` halves the file. Python's transformers reads it. The weights
/// come last, so that a directory with weights is complete.
pub fn save(loaded: &LoadedModel, dir: &Path, bf16: bool) -> Result<()> {
    let mut file = loaded.config.to_hugging_face()?;
    file["dtype"] = json!(if bf16 { "bfloat16" } else { "float32" });
    save_description(loaded, dir, &file)?;
    let saved = |(_, p): (_, &Parameter)| loaded.config.saved_name(&p.name);
    let names: Vec<_> = loaded.params.iter().map(saved).collect();
    let values = loaded.params.iter().map(|(_, p)| p.value());
    let tensors: Vec<_> = names.iter().map(String::as_str).zip(values).collect();
    let precision = if bf16 { Precision::Bf16 } else { Precision::F32 };
    weights::write_safetensors(
        &dir.join("model.safetensors"),
        &tensors,
        precision,
        &Default::default(),
    )
}

/// What config.json in `dir` says, which is a model's that is known.
pub fn read_config(dir: &Path) -> Result<Value> {
    Ok(ConfigFile::open(dir)?.json)
}

/// Writes all that a directory holds but the weights; `file` is config.json's content.
pub(super) fn save_description(loaded: &LoadedModel, dir: &Path, file: &Value) -> Result<()> {
    fs::create_dir_all(dir).map_err(|e| Error::io(dir, &e))?;
    write_atomically(&dir.join("config.json"), |out| writeln!(out, "{file:#}"))?;
    loaded.tokenizer.save(dir)?;
    loaded.image_rule.save(dir)
}

/// Says of every parameter whether config.json has it quantised.
fn expect_quantized(dir: &Path, json: &Value, params: &mut Parameters) -> Result<()> {
    let place = dir.join("config.json");
    if let Some(config) = QuantisationConfig::parse(&place.display().to_string(), json)? {
        config.expect(params);
    }
    Ok(())
}

/// config.json, read.
struct ConfigFile {
    config: Box<dyn ModelConfig>,
    layout: Layout,
    json: Value,
}

impl ConfigFile {
    fn open(dir: &Path) -> Result<Self> {
        let path = dir.join("config.json");
        let text = read_bounded(&path, CONFIG_LIMIT)
            .map_err(|e| e.with_remedy("a model directory holds config.json and the weights"))?;
        let place = path.display().to_string();
        let json = serde_json::from_slice(&text).map_err(|e| Error::invalid(&place, e))?;
        let kind = KINDS.iter().find(|(is_meant, _)| is_meant(&json));
        let (_, read) = kind.ok_or_else(|| {
            Error::invalid(&place, "this is no config of a BLIP, MISS or LLaVA model").with_remedy(
                "Hugging Face's has \"vision_config\" and \"text_config\"; beside a MISS in the \
                 original layout put {\"vit\": \"base\", \"image_size\": 480}",
            )
        })?;
        let (config, layout) = read(&place, &json, dir)?;
        Ok(Self { config, layout, json })
    }
}

/// The weights in `dir`, in the files that Hugging Face's libraries write.
pub(super) fn open_weight_files(dir: &Path) -> Result<Checkpoint> {
    type Read = fn(&Path) -> Result<Checkpoint>;
    const FILES: [(&str, Read); 4] = [
        ("model.safetensors", weights::read_safetensors),
        ("model.safetensors.index.json", weights::read_sharded),
        ("pytorch_model.bin", weights::read_torch),
        ("pytorch_model.bin.index.json", weights::read_sharded_torch),
    ];
    match FILES.iter().find(|(name, _)| dir.join(name).is_file()) {
        Some((name, read)) => read(&dir.join(name)),
        None => Err(Error::invalid(dir.display(), "holds no weights").with_remedy(format!(
            "it must hold one of {}",
            FILES.map(|(name, _)| name).join(", ")
        ))),
    }
}

/// The model for `config`'s image size, out of the parameters for another one.
fn resized(config: &dyn ModelConfig, old: &Parameters) -> Result<(Box<dyn Model>, Parameters)> {
    let mut params = Parameters::new();
    let model = config.declare(&mut params);
    for ((_, new), (_, old)) in params.iter_mut().zip(old.iter()) {
        let value: Tensor = if new.shape == old.shape {
            old.value().clone()
        } else {
            let shape = new.shape.clone();
            let positions = old.value().to_precision(Precision::F32);
            let (rows, width) = (positions.rows(), positions.width());
            let side = (new.len() / width - 1).isqrt();
            let positions = positions.reshape(&[1, rows, width]);
            let positions = weights::interpolate_positions(&positions, side).ok_or_else(|| {
                let cause = format!("{:?} is no square grid of positions", old.shape);
                Error::invalid(&old.name, cause)
            })?;
            positions.reshape(&shape)
        };
        new.set(value);
    }
    Ok((model, params))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::initialize;

    #[test]
    fn a_tower_takes_pictures_of_another_size() {
        let json = json!({
            "architectures": ["LlavaForConditionalGeneration"],
            "vision_config": { "hidden_size": 4, "num_attention_heads": 2, "image_size": 16, "patch_size": 8,
                "num_hidden_layers": 2, "intermediate_size": 4 },
            "text_config": { "hidden_size": 4, "num_attention_heads": 2, "intermediate_size": 4,
                "num_hidden_layers": 1, "vocab_size": 4 },
        });
        let (_, read) = KINDS.iter().find(|(is_meant, _)| is_meant(&json)).unwrap();
        let (mut config, _) = read("test", &json, Path::new("")).unwrap();
        let mut params = Parameters::new();
        config.declare(&mut params);
        initialize(&mut params, 1);
        config.set_image_size(40).unwrap();
        let (_, resized) = resized(&*config, &params).unwrap();
        let of = |params: &Parameters| {
            let name = "model.vision_tower.embeddings.position_embedding.weight";
            params.get(params.find(name).unwrap()).value().clone()
        };
        let (old, new) = (of(&params), of(&resized));
        assert_eq!((old.shape(), new.shape()), (&[5, 4][..], &[26, 4][..]));
        assert_eq!(old.data()[..4], new.data()[..4], "the class token's");
        assert!(config.set_image_size(4).unwrap_err().to_string().contains("patch_size 8"));
        let wanted = weights::interpolate_positions(&old.reshape(&[1, 5, 4]), 5).unwrap();
        assert_eq!(wanted.data(), new.data());
    }

    #[test]
    fn what_is_no_model_is_said() {
        let dir = tempfile::tempdir().unwrap();
        for text in ["{}", "[]", r#"{"model_type": "bert"}"#] {
            fs::write(dir.path().join("config.json"), text).unwrap();
            let error = declare_model(dir.path(), None).err().unwrap();
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().contains("no config of a BLIP, MISS or LLaVA"), "{error}");
        }
    }
}
