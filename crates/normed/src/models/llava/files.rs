//! A LLaVA in a directory.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::Llava;
use super::config::{LlavaConfig, VisionTower};
use crate::data::{ImagePlaceholder, ImageRule, PromptRule, PromptSpec, TextRule, Tokenizer};
use crate::files::write_atomically;
use crate::models::open::{LoadOverrides, ModelConfig, open_weight_files};
use crate::models::{Layout, Model};
use crate::tensor::Parameters;
use crate::weights::{self, Checkpoint};
use crate::{Error, Result};

impl ModelConfig for LlavaConfig {
    fn architecture(&self, layout: Layout) -> &'static str {
        self.architecture(layout)
    }

    fn base_class(&self) -> [&'static str; 2] {
        ["LlavaForConditionalGeneration", "transformers.models.llava.modeling_llava"]
    }

    fn summary(&self, layout: Layout, _: Option<&TextRule>) -> String {
        let layout = match layout {
            Layout::HuggingFace => "Hugging Face layout",
            Layout::Original => "LLaVA's own layout",
        };
        let (size, states) = (self.vision.image_size, self.states());
        format!("{layout}: a picture of {size} x {size} is {states} tokens of the prompt")
    }

    fn declare(&self, params: &mut Parameters) -> Box<dyn Model> {
        Box::new(Llava::declare(self, params))
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
        let has_tokenizer =
            ["tokenizer.json", "tokenizer.model"].iter().any(|f| dir.join(f).is_file());
        let open = || Ok(self.clone().open_text(overrides, dir, layout, json)?.1);
        has_tokenizer.then(open).transpose()
    }

    /// LLaVA's own layout leaves the processor with the image encoder.
    fn open_image(&self, dir: &Path, json: &Value) -> Result<ImageRule> {
        let tower = self.vision_tower.as_ref().and_then(|tower| VisionTower::find(tower, dir));
        let rule = match &tower {
            Some(VisionTower(tower)) if !ImageRule::is_in(dir) => ImageRule::open_clip(tower)?,
            _ => ImageRule::open_clip(dir)?,
        };
        let place = dir.join("config.json");
        rule.with_aspect_ratio(json["image_aspect_ratio"].as_str())
            .map_err(|cause| Error::invalid(place.display(), cause))
    }

    fn open_text(
        &mut self,
        overrides: LoadOverrides,
        dir: &Path,
        _: Layout,
        json: &Value,
    ) -> Result<(Tokenizer, TextRule)> {
        let tokenizer = Tokenizer::open_causal(dir)?;
        // Padded tables have rows that no token uses; the reverse cannot be.
        if tokenizer.len() > self.text.vocab_size {
            let (has, room) = (tokenizer.len(), self.text.vocab_size);
            let cause = format!("the tokenizer has {has} tokens, the model's table {room} rows");
            return Err(Error::invalid(dir.display(), cause).with_remedy(
                "tokenizer and model are of different checkpoints; copy both from where they came from",
            ));
        }
        let start_end = json["mm_use_im_start_end"].as_bool().unwrap_or(false);
        let between = ImagePlaceholder::Between { start_end };
        let spec = PromptSpec {
            template: overrides.template,
            language_model: self.text.kind.name().to_owned(),
            picture: self.image_token_index.map_or(between, ImagePlaceholder::Token),
            image_tokens: self.states(),
            context: self.text.positions(),
            eos_token_ids: self.text.eos_token_ids.clone(),
            pad_token_id: self.text.pad_token_id,
        };
        let rule = PromptRule::open(dir, &tokenizer, spec)?;
        Ok((tokenizer, rule.into()))
    }

    fn open_weights(&self, dir: &Path, layout: Layout) -> Result<Checkpoint> {
        let mut checkpoint = open_weight_files(dir)?;
        if checkpoint.is_llavas_own() != (layout == Layout::Original) {
            let (config, names) = match layout {
                Layout::HuggingFace => ("Hugging Face's", "LLaVA's own"),
                Layout::Original => ("LLaVA's own", "Hugging Face's"),
            };
            let cause = format!("the names are {names}, config.json is {config}");
            return Err(Error::invalid(checkpoint.path.display(), cause));
        }
        checkpoint = checkpoint.canonical_llava(self.text.tie_word_embeddings)?;
        if let Some(tower) = &self.vision_tower
            && !checkpoint.holds_vision_tower()
        {
            let VisionTower(dir) = VisionTower::open(tower, dir)?;
            let tower = open_weight_files(&dir)?;
            checkpoint.take_vision_tower(&tower)?;
        }
        Ok(checkpoint)
    }

    /// An image encoder in a directory of its own has its rule there.
    fn stored_name(&self, layout: Layout, name: &str) -> String {
        match layout {
            Layout::HuggingFace => name.to_owned(),
            Layout::Original => weights::to_llavas_own(name, self.projector.layers()),
        }
    }

    fn to_hugging_face(&self) -> Result<Value> {
        self.to_hugging_face()
    }

    fn saved_name(&self, name: &str) -> String {
        weights::to_saved_llava(name)
    }

    /// LLaVA-Med's have no room in Hugging Face's: no token stands for the picture.
    fn written_layout(&self, layout: Layout) -> Result<Layout> {
        match layout {
            Layout::HuggingFace => self.to_hugging_face().map(|_| layout),
            Layout::Original => Ok(layout),
        }
    }

    /// The image encoder's sizes, under the name by which config.json knows it.
    fn save_beside(&self, dir: &Path) -> Result<()> {
        let tower = self.vision_tower.as_deref().map(Path::new).and_then(Path::file_name);
        let Some(name) = tower else { return Ok(()) };
        let dir = dir.join(name);
        fs::create_dir_all(&dir).map_err(|e| Error::io(&dir, &e))?;
        let file = self.vision.to_json();
        write_atomically(&dir.join("config.json"), |out| writeln!(out, "{file:#}"))
    }
}
