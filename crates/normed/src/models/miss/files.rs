//! The files of a MISS.
//!
//! Hugging Face's layout has config.json (`model_type` `blip`), model.safetensors (or several files with
//! model.safetensors.index.json, or pytorch_model.bin), tokenizer.json or vocab.txt, and
//! preprocessor_config.json. The original layout has a single *.safetensors or *.pth with BLIP's names,
//! vocab.txt, and a config.json with the keys of BLIP's med_config.json, and `vit` and `image_size` of its
//! `configs/vqa.yaml`.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use super::config::MissConfig;
use super::config_file::HUGGING_FACE;
use super::model::Miss;
use crate::data::{ImageProcessor, TextRule, Tokenizer};
use crate::models::model::{Layout, Model};
use crate::models::model_config::{LoadOverrides, ModelConfig, check_vocabulary};
use crate::models::processor_keys::{BLIP, CLIP, CLIP_EXTRACTOR};
use crate::models::square_processor::SquareProcessor;
use crate::models::weight_files::{is_known_name, open_weight_files};
use crate::tensor::Parameters;
use crate::weights::{self, Checkpoint};
use crate::{Error, Result};

impl ModelConfig for MissConfig {
    fn architecture(&self, layout: Layout) -> &'static str {
        match layout {
            Layout::HuggingFace => HUGGING_FACE,
            Layout::Original => "BLIP_VQA",
        }
    }

    fn transformers_class(&self) -> [&'static str; 2] {
        [HUGGING_FACE, "transformers.models.blip.modeling_blip"]
    }

    fn summary(&self, layout: Layout, rule: Option<&TextRule>) -> String {
        let (layout, question_start) = match layout {
            Layout::HuggingFace => ("Hugging Face layout", "[CLS]"),
            Layout::Original => ("original layout", "[ENC]"),
        };
        let rule =
            rule.and_then(TextRule::as_question).cloned().unwrap_or_else(|| self.text_rule());
        format!(
            "{layout}: questions start with {question_start} ({}), answers with [DEC] ({}); both end \
             with [SEP] ({})",
            rule.question_start, rule.decoder_start, rule.end
        )
    }

    fn declare(&self, params: &mut Parameters) -> Box<dyn Model> {
        Box::new(Miss::declare(self, params))
    }

    fn image_size(&self) -> Option<usize> {
        Some(self.vision_config.image_size)
    }

    fn set_image_size(&mut self, size: usize) -> Result<()> {
        self.vision_config.image_size = size;
        self.check("image_size")
    }

    fn set_vocabulary(&mut self, tokens: usize) -> Result<()> {
        self.text_config.vocab_size = tokens;
        self.check("vocab_size")
    }

    /// The question attends to images; none is part of a prompt.
    fn max_image_tokens(&self) -> usize {
        0
    }

    fn open_image_processor(
        &self,
        overrides: LoadOverrides,
        dir: &Path,
        _: &Value,
    ) -> Result<Arc<dyn ImageProcessor>> {
        let (size, is_chosen) = (self.vision_config.image_size, overrides.image_size.is_some());
        let classes = [BLIP, CLIP, CLIP_EXTRACTOR];
        Ok(Arc::new(SquareProcessor::open_for_size(dir, &classes, size, is_chosen)?))
    }

    fn describe_text_rule(
        &self,
        overrides: LoadOverrides,
        dir: &Path,
        layout: Layout,
        json: &Value,
    ) -> Result<Option<TextRule>> {
        let has_tokenizer = ["tokenizer.json", "vocab.txt"].iter().any(|f| dir.join(f).is_file());
        if has_tokenizer {
            return Ok(Some(self.clone().open_tokenizer(overrides, dir, layout, json)?.1));
        }
        Ok(Some(self.text_rule().into()))
    }

    /// In Hugging Face's layout a question starts with the tokenizer's [CLS], unless the config has our key for
    /// it. In the original layout the tokenizer's files lack [DEC] and [ENC], which its code adds to BERT's.
    fn open_tokenizer(
        &mut self,
        overrides: LoadOverrides,
        dir: &Path,
        layout: Layout,
        json: &Value,
    ) -> Result<(Tokenizer, TextRule)> {
        if let Some(template) = overrides.template {
            let cause = format!(
                "is {}, but this model reads questions without a template",
                template.name()
            );
            return Err(Error::invalid("template", cause).with_remedy("remove `template`"));
        }
        let mut tokenizer = Tokenizer::open(dir)?;
        let mut rule = self.text_rule();
        if layout == Layout::Original {
            tokenizer.add_special("[DEC]", rule.decoder_start)?;
            tokenizer.add_special("[ENC]", rule.question_start)?;
        } else if json["text_config"]["question_token_id"].is_null() {
            rule.question_start = tokenizer.id("[CLS]").ok_or_else(|| {
                Error::invalid(dir.display(), "the tokenizer has no [CLS], which starts a question")
            })?;
        }
        for (token, id, key) in [
            ("[SEP]", rule.end, "sep_token_id"),
            ("[PAD]", rule.pad, "pad_token_id"),
            ("[DEC]", rule.decoder_start, "bos_token_id"),
        ] {
            if tokenizer.id(token).is_some_and(|other| other != id) {
                let cause = format!(
                    "the tokenizer's {token} is not token {id}, as config.json's {key} says"
                );
                return Err(Error::invalid(dir.display(), cause));
            }
        }
        check_vocabulary(dir, &tokenizer, self.text_config.vocab_size)?;
        self.text_config.question_token_id = rule.question_start;
        Ok((tokenizer, rule.into()))
    }

    fn open_weights(&self, dir: &Path, layout: Layout) -> Result<Checkpoint> {
        let checkpoint = match layout {
            Layout::HuggingFace => open_weight_files(dir)?,
            Layout::Original => open_original(dir)?,
        };
        let mut params = Parameters::new();
        Miss::declare(self, &mut params);
        checkpoint.unwrapped(
            |checkpoint| canonical_in(checkpoint, layout, self.text_config.tie_word_embeddings),
            |name| is_known_name(&params, name),
        )
    }

    fn stored_name(&self, layout: Layout, name: &str) -> String {
        match layout {
            Layout::HuggingFace => name.to_owned(),
            Layout::Original => weights::to_original(name),
        }
    }

    fn to_hugging_face(&self) -> Result<Value> {
        if self.vision_config.hidden_size != self.text_config.hidden_size {
            // One key, encoder_hidden_size, is the width of both towers' cross-attention there.
            let (vision, text) = (self.vision_config.hidden_size, self.text_config.hidden_size);
            let cause = format!("the vision tower is {vision} wide and the text towers {text}");
            return Err(Error::invalid("config", cause).with_remedy(
                "make them equally wide: Hugging Face's layout has one key for both",
            ));
        }
        Ok(self.to_hugging_face())
    }
}

/// The tensors of a checkpoint in this layout under Hugging Face's names. What absent keys of config.json mean
/// depends on the layout, so config and weights must be in the same one.
fn canonical_in(checkpoint: Checkpoint, layout: Layout, tied: bool) -> Result<Checkpoint> {
    let has_names = |start: &str| checkpoint.tensors.keys().any(|name| name.starts_with(start));
    let (other, config, names) = match layout {
        Layout::HuggingFace => ("visual_encoder.", "Hugging Face's", "the original layout's"),
        Layout::Original => ("vision_model.", "the original layout's", "Hugging Face's"),
    };
    if has_names(other) {
        let cause = format!("the tensors have {names} names, but config.json is {config}");
        return Err(Error::invalid(checkpoint.path.display(), cause)
            .with_remedy("use the config.json that belongs to these weights"));
    }
    checkpoint.canonical(tied)
}

/// Opens the only file of weights in `dir`.
fn open_original(dir: &Path) -> Result<Checkpoint> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).map_err(|e| Error::io(dir, &e))? {
        let path = entry.map_err(|e| Error::io(dir, &e))?.path();
        let is_weights =
            |e: &OsStr| ["safetensors", "pth", "pt", "bin"].iter().any(|known| e == *known);
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.extension().is_some_and(is_weights) && !name.starts_with("training_args") {
            files.push(path);
        }
    }
    files.sort();
    match files.as_slice() {
        [file] if file.extension() == Some(OsStr::new("safetensors")) => {
            weights::read_safetensors(file)
        }
        [file] => weights::read_torch(file),
        [] => Err(Error::invalid(dir.display(), "holds no weights")
            .with_remedy("put one *.safetensors, *.pth, *.pt or *.bin file there")),
        [a, b, ..] => {
            let cause = format!("holds both {} and {}", a.display(), b.display());
            Err(Error::invalid(dir.display(), cause).with_remedy("keep one of them there"))
        }
    }
}
