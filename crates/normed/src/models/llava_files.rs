//! A LLaVA in a directory.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::llava_config::{LlavaConfig, VisionTower};
use super::open::{ModelConfig, open_weight_files};
use super::{Layout, Llava, Model};
use crate::data::{TextRule, Tokenizer};
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

    fn summary(&self, layout: Layout, rule: &TextRule) -> String {
        let layout = match layout {
            Layout::HuggingFace => "Hugging Face layout",
            Layout::Original => "LLaVA's own layout",
        };
        let (size, states) = (self.vision.image_size, self.states());
        format!(
            "{layout}: a picture of {size} x {size} is {states} tokens of the prompt; answers end \
             with token {}",
            rule.end
        )
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

    fn text_rule(&self) -> TextRule {
        self.text_rule()
    }

    fn open_text(&mut self, dir: &Path, _: Layout, _: &Value) -> Result<(Tokenizer, TextRule)> {
        let tokenizer = Tokenizer::open(dir)?;
        // Padded tables have rows that no token uses; the reverse cannot be.
        if tokenizer.len() > self.text.vocab_size {
            let (has, room) = (tokenizer.len(), self.text.vocab_size);
            let cause = format!("the tokenizer has {has} tokens, the model's table {room} rows");
            return Err(Error::invalid(dir.display(), cause));
        }
        Ok((tokenizer, self.text_rule()))
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
    fn image_dir(&self, dir: &Path) -> PathBuf {
        let own = dir.join("preprocessor_config.json").is_file();
        let tower = self.vision_tower.as_ref().filter(|_| !own);
        let tower = tower.and_then(|tower| VisionTower::find(tower, dir));
        tower.map_or_else(|| dir.to_owned(), |tower| tower.0)
    }

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
}
