//! A LLaVA that is made, not read: drawn from a seed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::config::LlavaConfig;
use crate::data::{Fit, ImagePlaceholder, ImageRule, PromptRule, PromptSpec, Tokenizer};
use crate::models::miss::content_hash;
use crate::models::open::ModelConfig;
use crate::models::{Layout, LoadedModel, UnloadedModel, initialize};
use crate::tensor::Parameters;
use crate::{Error, Result};

/// The picture's place in a text; and what stands around a text where no file names it.
const IMAGE: &str = "<image>";
const BEGIN: &str = "<s>";
const END: &str = "</s>";

/// Makes a LLaVA in Hugging Face's layout, every weight drawn as [`initialize`] says. Of `config`, what
/// the tokenizer in `tokenizer` says is filled in: the size of the vocabulary, to which `<image>` is
/// appended if it is not there, and the special tokens' ids. Pictures that are no squares are padded, as
/// LLaVA-Med 1.5 has it; prompts are those of the tokenizer's chat template, or the usual ones of the
/// language model's kind.
pub fn create_llava(config: LlavaConfig, tokenizer: &Path, seed: u64) -> Result<LoadedModel> {
    let mut declared = declare_new_llava(config, tokenizer)?;
    initialize(&mut declared.params, seed);
    let content_hash = content_hash(&declared.params).into();
    Ok(declared.loaded(PathBuf::new(), content_hash))
}

/// As [`create_llava`], without weights.
pub fn declare_new_llava(mut config: LlavaConfig, dir: &Path) -> Result<UnloadedModel> {
    let mut tokenizer = Tokenizer::open_causal(dir)?;
    let image = match tokenizer.id(IMAGE) {
        Some(id) => id,
        None => u32::try_from(tokenizer.len()).map_err(|e| Error::invalid(IMAGE, e))?,
    };
    tokenizer.add_special(IMAGE, image)?;
    let named = tokenizer.special_token_ids().clone();
    let end = named.eos.or_else(|| tokenizer.id(END)).ok_or_else(|| {
        Error::invalid(dir.display(), format!("names no eos_token, and has no `{END}`"))
    })?;
    config.image_token_index = Some(image);
    let text = &mut config.text;
    text.vocab_size = tokenizer.len();
    text.bos_token_id = named.bos.or_else(|| tokenizer.id(BEGIN));
    text.eos_token_ids = vec![end];
    text.pad_token_id = named.pad;
    config.check("init")?;
    let spec = PromptSpec {
        template: None,
        language_model: config.text.kind.name().to_owned(),
        picture: ImagePlaceholder::Token(image),
        image_tokens: config.states(),
        context: config.text.positions(),
        eos_token_ids: config.text.eos_token_ids.clone(),
        pad_token_id: config.text.pad_token_id,
    };
    let text_rule = PromptRule::open(dir, &tokenizer, spec)?.into();
    let mut params = Parameters::new();
    let model = ModelConfig::declare(&config, &mut params);
    Ok(UnloadedModel {
        model,
        params,
        tokenizer: Arc::new(tokenizer),
        image_rule: ImageRule {
            size: config.vision.image_size,
            fit: Fit::Pad,
            ..ImageRule::clip()
        },
        text_rule,
        config: Box::new(config),
        layout: Layout::HuggingFace,
    })
}
