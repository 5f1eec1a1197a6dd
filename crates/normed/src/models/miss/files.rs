//! A MISS in a directory.
//!
//! Hugging Face's layout: config.json (`model_type` `blip`), model.safetensors (or
//! model.safetensors.index.json and what it names, or pytorch_model.bin), tokenizer.json or
//! vocab.txt, preprocessor_config.json. The original one: a single *.safetensors or *.pth with BLIP's
//! names, vocab.txt, and a config.json with the keys of BLIP's med_config.json and `vit` and
//! `image_size` of its `configs/vqa.yaml`. [`MissConfig`] says what absent keys mean in each.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use serde_json::Value;

use super::{Miss, MissConfig};
use crate::data::{TextRule, Tokenizer};
use crate::models::open::{LoadOverrides, ModelConfig, open_weight_files};
use crate::models::{Layout, Model};
use crate::tensor::Parameters;
use crate::weights::{self, Checkpoint};
use crate::{Error, Result};

impl ModelConfig for MissConfig {
    fn architecture(&self, layout: Layout) -> &'static str {
        match layout {
            Layout::HuggingFace => "BlipForQuestionAnswering",
            Layout::Original => "BLIP_VQA",
        }
    }

    fn base_class(&self) -> [&'static str; 2] {
        ["BlipForQuestionAnswering", "transformers.models.blip.modeling_blip"]
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

    fn image_size(&self) -> usize {
        self.vision.image_size
    }

    fn set_image_size(&mut self, size: usize) -> Result<()> {
        self.vision.image_size = size;
        self.check("image_size")
    }

    fn described_text(
        &self,
        overrides: LoadOverrides,
        dir: &Path,
        layout: Layout,
        json: &Value,
    ) -> Result<Option<TextRule>> {
        let has_tokenizer = ["tokenizer.json", "vocab.txt"].iter().any(|f| dir.join(f).is_file());
        if has_tokenizer {
            return Ok(Some(self.clone().open_text(overrides, dir, layout, json)?.1));
        }
        Ok(Some(self.text_rule().into()))
    }

    /// Hugging Face's question starts with whatever the tokenizer's [CLS] is, unless the config has our
    /// key for it; the original layout's tokenizer files lack [DEC] and [ENC], which its code adds to
    /// BERT's.
    fn open_text(
        &mut self,
        overrides: LoadOverrides,
        dir: &Path,
        layout: Layout,
        json: &Value,
    ) -> Result<(Tokenizer, TextRule)> {
        if let Some(template) = overrides.template {
            let cause =
                format!("is {}, but this model is asked questions without one", template.name());
            return Err(Error::invalid("template", cause));
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
        for (token, id, key) in
            [("[SEP]", rule.end, "sep_token_id"), ("[PAD]", rule.pad, "pad_token_id")]
        {
            if tokenizer.id(token).is_some_and(|other| other != id) {
                let cause =
                    format!("{token} is not token {id}, which config.json's {key} says it is");
                return Err(Error::invalid(dir.display(), cause));
            }
        }
        if tokenizer.len() > self.text.vocab_size {
            let (has, room) = (tokenizer.len(), self.text.vocab_size);
            let cause = format!("the tokenizer has {has} tokens, the model's table {room} rows");
            return Err(Error::invalid(dir.display(), cause));
        }
        self.text.question_token_id = rule.question_start;
        Ok((tokenizer, rule.into()))
    }

    fn open_weights(&self, dir: &Path, layout: Layout) -> Result<Checkpoint> {
        let checkpoint = match layout {
            Layout::HuggingFace => open_weight_files(dir)?,
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

    fn stored_name(&self, layout: Layout, name: &str) -> String {
        match layout {
            Layout::HuggingFace => name.to_owned(),
            Layout::Original => weights::to_original(name),
        }
    }

    fn to_hugging_face(&self) -> Result<Value> {
        if self.vision.hidden_size != self.text.hidden_size {
            // One key, encoder_hidden_size, is the width of both towers' cross-attention there.
            let (vision, text) = (self.vision.hidden_size, self.text.hidden_size);
            let cause = format!("the vision tower is {vision} wide and the text towers {text}");
            return Err(Error::invalid("config", cause).with_remedy(
                "Hugging Face's layout has no room for that; make them equally wide",
            ));
        }
        Ok(self.to_hugging_face())
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
            .with_remedy("it must hold one *.safetensors or *.pth")),
        [a, b, ..] => {
            let cause = format!("holds both {} and {}", a.display(), b.display());
            Err(Error::invalid(dir.display(), cause).with_remedy("leave one of them there"))
        }
    }
}
