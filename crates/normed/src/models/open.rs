//! Models in directories.
//!
//! Two layouts are read. Hugging Face's: config.json (`model_type` `blip`), model.safetensors or
//! pytorch_model.bin (or *.index.json of either and what it names), tokenizer.json or vocab.txt,
//! preprocessor_config.json. The original one: a single *.safetensors or *.pth with BLIP's
//! names, vocab.txt, and a config.json with the keys of BLIP's med_config.json and `vit` and
//! `image_size` of its `configs/vqa.yaml`. [`MissConfig`] says what absent keys mean in each.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};

use super::{Layout, Miss, MissConfig, Model};
use crate::data::{Collator, ImageRule, TextRule, Tokenizer};
use crate::tensor::{Parameters, Precision, Tensor};
use crate::weights::{self, Checkpoint, ContentHash, QuantisationConfig};
use crate::{Error, Result};

/// A model that is ready to run.
pub struct Loaded {
    /// What it computes.
    pub model: Box<dyn Model>,
    /// Its sizes.
    pub config: MissConfig,
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

impl Loaded {
    /// What makes batches by its rules.
    pub fn collator(&self) -> Collator {
        let tokenizer = Arc::clone(&self.tokenizer);
        Collator::new(tokenizer, self.image_rule.clone(), self.text_rule.clone())
    }
}

/// A model without its weights: what a plan needs to know.
pub struct Declared {
    /// What it computes.
    pub model: Box<dyn Model>,
    /// Its sizes.
    pub config: MissConfig,
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

impl Declared {
    /// The same, its parameters having got their values from `dir`.
    pub(super) fn loaded(self, dir: PathBuf, content_hash: ContentHash) -> Loaded {
        let Self { model, config, params, tokenizer, image_rule, text_rule, layout } = self;
        Loaded {
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
    let ConfigFile { config, layout, json } = ConfigFile::open(dir)?;
    let mut params = Parameters::new();
    Miss::declare(&config, &mut params);
    expect_quantised(dir, &json, &mut params)?;
    let has_tokenizer = ["tokenizer.json", "vocab.txt"].iter().any(|f| dir.join(f).is_file());
    let text_rule =
        if has_tokenizer { open_text(dir, &config, layout, &json)?.1 } else { config.text_rule() };
    let architecture = match (layout, json["architectures"][0].as_str()) {
        (Layout::HuggingFace, Some(name)) => name.to_owned(),
        (Layout::HuggingFace, None) => "BlipForQuestionAnswering".to_owned(),
        (Layout::Original, _) => "BLIP_VQA".to_owned(),
    };
    Ok(Description { params, layout, text_rule, architecture })
}

/// The model in `dir`, its pictures `image_size` large if that is given, without reading weights.
pub fn declare(dir: &Path, image_size: Option<usize>) -> Result<Declared> {
    let ConfigFile { mut config, layout, json } = ConfigFile::open(dir)?;
    let (tokenizer, text_rule) = open_text(dir, &config, layout, &json)?;
    config.text.question_token_id = text_rule.question_start;
    if let Some(size) = image_size {
        config.vision.image_size = size;
        config.check("image_size")?;
    }
    let image_rule = ImageRule { size: config.vision.image_size, ..ImageRule::open(dir)? };
    let mut params = Parameters::new();
    let model = Box::new(Miss::declare(&config, &mut params));
    expect_quantised(dir, &json, &mut params)?;
    let tokenizer = Arc::new(tokenizer);
    Ok(Declared { model, config, params, tokenizer, image_rule, text_rule, layout })
}

/// Reads the model in `dir`, in f32: see [`load_as_stored`].
pub fn load(dir: &Path, image_size: Option<usize>) -> Result<Loaded> {
    let mut loaded = load_as_stored(dir, image_size)?;
    loaded.params.set_precision(Precision::F32);
    Ok(loaded)
}

/// Reads the model in `dir`, without a copy of weights that are f32 or bf16: to be used after
/// [`Parameters::set_precision`]. `image_size` asks for another size than the checkpoint's: position
/// embeddings are interpolated then. Pictures are always made the size that the model takes, what
/// preprocessor_config.json says of it notwithstanding.
pub fn load_as_stored(dir: &Path, image_size: Option<usize>) -> Result<Loaded> {
    let mut declared = declare(dir, None)?;
    let Declared { params, config, layout, .. } = &mut declared;
    let checkpoint = open_weights(dir, *layout)?;
    let show: fn(&str) -> String = match layout {
        Layout::HuggingFace => str::to_owned,
        Layout::Original => weights::to_original,
    };
    weights::fill(params, &checkpoint, show)?;
    let content_hash = ContentHash::of(checkpoint);
    if let Some(size) = image_size.filter(|&size| size != config.vision.image_size) {
        config.vision.image_size = size;
        config.check("image_size")?;
        let (model, params) = resized(config, params)?;
        (declared.model, declared.params) = (Box::new(model), params);
        declared.image_rule.size = size;
    }
    Ok(declared.loaded(dir.to_owned(), content_hash))
}

/// Writes `loaded` as a Hugging Face directory (config.json, model.safetensors, tokenizer,
/// preprocessor_config.json); `bf16` halves the file. Python's transformers reads it. The weights
/// come last, so that a directory with weights is complete.
pub fn save(loaded: &Loaded, dir: &Path, bf16: bool) -> Result<()> {
    save_description(loaded, dir, if bf16 { "bfloat16" } else { "float32" }, None)?;
    let tensors: Vec<_> = loaded.params.iter().map(|(_, p)| (p.name.as_str(), p.value())).collect();
    let precision = if bf16 { Precision::Bf16 } else { Precision::F32 };
    weights::write_safetensors(
        &dir.join("model.safetensors"),
        &tensors,
        precision,
        &Default::default(),
    )
}

/// Writes all that a Hugging Face directory holds but the weights; `dtype` is what they mostly are.
pub(super) fn save_description(
    loaded: &Loaded,
    dir: &Path,
    dtype: &str,
    quantisation: Option<Value>,
) -> Result<()> {
    let config = &loaded.config;
    if config.vision.hidden_size != config.text.hidden_size {
        // One key, encoder_hidden_size, is the width of both towers' cross-attention there.
        let (vision, text) = (config.vision.hidden_size, config.text.hidden_size);
        let cause = format!("the vision tower is {vision} wide and the text towers {text}");
        return Err(Error::invalid(dir.display(), cause)
            .hint("Hugging Face's layout has no room for that; make them equally wide"));
    }
    let mut file = config.to_hugging_face();
    file["dtype"] = json!(dtype);
    if let Some(quantisation) = quantisation {
        file["quantization_config"] = quantisation;
    }
    fs::create_dir_all(dir).map_err(|e| Error::io(dir, &e))?;
    weights::write_atomically(&dir.join("config.json"), |out| writeln!(out, "{file:#}"))?;
    loaded.tokenizer.save(dir)?;
    loaded.image_rule.save(dir)
}

/// Says of every parameter whether config.json has it quantised.
fn expect_quantised(dir: &Path, json: &Value, params: &mut Parameters) -> Result<()> {
    let place = dir.join("config.json");
    if let Some(config) = QuantisationConfig::parse(&place.display().to_string(), json)? {
        config.expect(params);
    }
    Ok(())
}

/// config.json, read.
struct ConfigFile {
    config: MissConfig,
    layout: Layout,
    json: Value,
}

impl ConfigFile {
    fn open(dir: &Path) -> Result<Self> {
        let path = dir.join("config.json");
        let text = fs::read_to_string(&path).map_err(|e| {
            Error::io(&path, &e).hint("a model directory holds config.json and the weights")
        })?;
        let (config, layout) = MissConfig::parse(&path.display().to_string(), &text)?;
        let json = serde_json::from_str(&text).map_err(|e| Error::invalid(path.display(), e))?;
        Ok(Self { config, layout, json })
    }
}

/// The tokenizer, and the config's rule, which must agree. Hugging Face's question starts with
/// whatever the tokenizer's [CLS] is, unless the config has our key for it; the original layout's
/// tokenizer files lack [DEC] and [ENC], which its code adds to BERT's.
fn open_text(
    dir: &Path,
    config: &MissConfig,
    layout: Layout,
    json: &Value,
) -> Result<(Tokenizer, TextRule)> {
    let mut tokenizer = Tokenizer::open(dir)?;
    let mut rule = config.text_rule();
    if layout == Layout::Original {
        tokenizer.add_special("[DEC]", rule.decoder_start)?;
        tokenizer.add_special("[ENC]", rule.question_start)?;
    } else if json["text_config"]["question_token_id"].is_null() {
        rule.question_start = tokenizer.id("[CLS]").ok_or_else(|| {
            Error::invalid(dir.display(), "the tokenizer has no [CLS], which starts a question")
        })?;
    }
    for (token, id, key) in
        [("[SEP]", rule.end, "sep_token_id"), ("[PAD]", rule.pad, "pad_token_id")]
    {
        if tokenizer.id(token).is_some_and(|other| other != id) {
            let cause = format!("{token} is not token {id}, which config.json's {key} says it is");
            return Err(Error::invalid(dir.display(), cause));
        }
    }
    if tokenizer.len() > config.text.vocab_size {
        let (has, room) = (tokenizer.len(), config.text.vocab_size);
        let cause = format!("the tokenizer has {has} tokens, the model's table {room} rows");
        return Err(Error::invalid(dir.display(), cause));
    }
    Ok((tokenizer, rule))
}

/// The weights in `dir` under Hugging Face's names.
fn open_weights(dir: &Path, layout: Layout) -> Result<Checkpoint> {
    let checkpoint = match layout {
        Layout::HuggingFace => open_hugging_face(dir)?,
        Layout::Original => open_original(dir)?,
    };
    // The rules that absent keys follow depend on the layout, so the config must not belong to
    // another one than the weights.
    if checkpoint.has_original_names() != (layout == Layout::Original) {
        let (config, names) = match layout {
            Layout::HuggingFace => ("Hugging Face's", "the original layout's"),
            Layout::Original => ("the original layout's", "Hugging Face's"),
        };
        let cause = format!("the names are {names}, config.json is {config}");
        return Err(Error::invalid(checkpoint.path.display(), cause));
    }
    checkpoint.canonical()
}

fn open_hugging_face(dir: &Path) -> Result<Checkpoint> {
    type Read = fn(&Path) -> Result<Checkpoint>;
    const FILES: [(&str, Read); 4] = [
        ("model.safetensors", weights::read_safetensors),
        ("model.safetensors.index.json", weights::read_sharded),
        ("pytorch_model.bin", weights::read_torch),
        ("pytorch_model.bin.index.json", weights::read_sharded_torch),
    ];
    match FILES.iter().find(|(name, _)| dir.join(name).is_file()) {
        Some((name, read)) => read(&dir.join(name)),
        None => Err(Error::invalid(dir.display(), "holds no weights")
            .hint(format!("it must hold one of {}", FILES.map(|(name, _)| name).join(", ")))),
    }
}

fn open_original(dir: &Path) -> Result<Checkpoint> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).map_err(|e| Error::io(dir, &e))? {
        let path = entry.map_err(|e| Error::io(dir, &e))?.path();
        if path.extension().is_some_and(|e| e == "safetensors" || e == "pth") {
            files.push(path);
        }
    }
    files.sort();
    match files.as_slice() {
        [file] if file.extension() == Some(OsStr::new("pth")) => weights::read_torch(file),
        [file] => weights::read_safetensors(file),
        [] => Err(Error::invalid(dir.display(), "holds no weights")
            .hint("it must hold one *.safetensors or *.pth")),
        [a, b, ..] => {
            let cause = format!("holds both {} and {}", a.display(), b.display());
            Err(Error::invalid(dir.display(), cause).hint("leave one of them there"))
        }
    }
}

/// The model for `config`'s image size, out of the parameters for another one.
fn resized(config: &MissConfig, old: &Parameters) -> Result<(Miss, Parameters)> {
    let mut params = Parameters::new();
    let model = Miss::declare(config, &mut params);
    let side = config.vision.image_size / config.vision.patch_size;
    for ((_, new), (_, old)) in params.iter_mut().zip(old.iter()) {
        let value: Tensor = if new.shape == old.shape {
            old.value().clone()
        } else {
            let positions = old.value().to_precision(Precision::F32);
            weights::interpolate_positions(&positions, side).ok_or_else(|| {
                let cause = format!("{:?} is no square grid of positions", old.shape);
                Error::invalid(&old.name, cause)
            })?
        };
        new.set(value);
    }
    Ok((model, params))
}
