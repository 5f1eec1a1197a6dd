//! The files of a LLaVA.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use super::config::LlavaConfig;
use super::model::Llava;
use super::vision_tower::VisionTower;
use crate::data::{ImagePlaceholder, ImageProcessor, PromptRule, PromptSpec, TextRule, Tokenizer};
use crate::files::{read_json, write_atomically};
use crate::models::config_keys::ConfigKeys;
use crate::models::model::{Layout, Model};
use crate::models::model_config::{LoadOverrides, ModelConfig, check_vocabulary};
use crate::models::processor_keys::{BLIP, CLIP, CLIP_EXTRACTOR, LLAVA, ProcessorClass};
use crate::models::square_processor::{Fit, SquareProcessor};
use crate::models::stop_tokens::stop_tokens;
use crate::models::weight_files::{is_known_name, open_weight_files};
use crate::tensor::Parameters;
use crate::weights::{self, Checkpoint};
use crate::{Error, Result};

/// The image processors that a LLaVA may have. CLIP's is assumed where none is named.
const PROCESSORS: [ProcessorClass; 4] = [CLIP, CLIP_EXTRACTOR, LLAVA, BLIP];

impl ModelConfig for LlavaConfig {
    fn architecture(&self, layout: Layout) -> &'static str {
        self.architecture(layout)
    }

    fn transformers_class(&self) -> [&'static str; 2] {
        ["LlavaForConditionalGeneration", "transformers.models.llava.modeling_llava"]
    }

    fn summary(&self, layout: Layout, _: Option<&TextRule>) -> String {
        let layout = match layout {
            Layout::HuggingFace => "Hugging Face layout",
            Layout::Original => "LLaVA's own layout",
        };
        let (size, tokens) = (self.vision_config.image_size, self.image_tokens());
        format!("{layout}: an image of {size} x {size} takes {tokens} tokens of the prompt")
    }

    fn declare(&self, params: &mut Parameters) -> Box<dyn Model> {
        Box::new(Llava::declare(self, params))
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

    fn max_image_tokens(&self) -> usize {
        self.image_tokens()
    }

    fn describe_text_rule(
        &self,
        overrides: LoadOverrides,
        dir: &Path,
        layout: Layout,
        json: &Value,
    ) -> Result<Option<TextRule>> {
        let has_tokenizer =
            ["tokenizer.json", "tokenizer.model"].iter().any(|f| dir.join(f).is_file());
        let open = || Ok(self.clone().open_tokenizer(overrides, dir, layout, json)?.1);
        has_tokenizer.then(open).transpose()
    }

    /// LLaVA's own layout keeps the processor's config with the image encoder.
    fn open_image_processor(
        &self,
        overrides: LoadOverrides,
        dir: &Path,
        json: &Value,
    ) -> Result<Arc<dyn ImageProcessor>> {
        let tower = self.mm_vision_tower.as_ref().and_then(|tower| VisionTower::find(tower, dir));
        let dir_of_processor = match &tower {
            Some(tower) if !SquareProcessor::is_in(dir) => tower.dir.as_path(),
            _ => dir,
        };
        let (size, is_chosen) = (self.vision_config.image_size, overrides.image_size.is_some());
        let processor =
            SquareProcessor::open_for_size(dir_of_processor, &PROCESSORS, size, is_chosen)?;
        self.check_processor_keys(dir)?;
        let fit = fit_of_aspect_ratio(json["image_aspect_ratio"].as_str(), processor.fit)
            .map_err(|cause| Error::invalid(dir.join("config.json").display(), cause))?;
        Ok(Arc::new(SquareProcessor { num_tokens: self.image_tokens(), fit, ..processor }))
    }

    fn open_tokenizer(
        &mut self,
        overrides: LoadOverrides,
        dir: &Path,
        _: Layout,
        json: &Value,
    ) -> Result<(Tokenizer, TextRule)> {
        let tokenizer = Tokenizer::open_causal(dir)?;
        check_vocabulary(dir, &tokenizer, self.text_config.vocab_size)?;
        let start_end = json["mm_use_im_start_end"].as_bool().unwrap_or(false);
        let between = ImagePlaceholder::Between { start_end };
        let spec = PromptSpec {
            template: overrides.template,
            language_model: self.text_config.model_type.name().to_owned(),
            image: self.image_token_index.map_or(between, ImagePlaceholder::Token),
            context: self.text_config.positions(),
            eos_token_ids: stop_tokens(
                dir,
                &self.text_config.eos_token_id,
                self.text_config.vocab_size,
            )?,
            pad_token_id: self.text_config.pad_token_id,
        };
        let rule = PromptRule::open(dir, &tokenizer, spec)?;
        Ok((tokenizer, rule.into()))
    }

    fn open_weights(&self, dir: &Path, layout: Layout) -> Result<Checkpoint> {
        let mut params = Parameters::new();
        Llava::declare(self, &mut params);
        let mut checkpoint = open_weight_files(dir)?
            .unwrapped(|c| self.canonical_in(c, layout), |name| is_known_name(&params, name))?;
        if let Some(tower) = &self.mm_vision_tower
            && !checkpoint.has_vision_tower()
        {
            let tower = open_weight_files(&VisionTower::open(tower, dir)?.dir)?;
            checkpoint.add_vision_tower(&tower)?;
        }
        Ok(checkpoint)
    }

    fn stored_name(&self, layout: Layout, name: &str) -> String {
        match layout {
            Layout::HuggingFace => name.to_owned(),
            Layout::Original => weights::to_llava_original(name, self.mm_projector_type.layers()),
        }
    }

    fn to_hugging_face(&self) -> Result<Value> {
        self.to_hugging_face()
    }

    fn saved_name(&self, name: &str) -> String {
        weights::to_hugging_face_llava(name)
    }

    /// LLaVA's own layout is kept: in it no token stands for an image, which Hugging Face's layout needs.
    fn output_layout(&self, layout: Layout) -> Result<Layout> {
        match layout {
            Layout::HuggingFace => self.to_hugging_face().map(|_| layout),
            Layout::Original => Ok(layout),
        }
    }

    /// The image encoder's config, in a directory of the name that config.json has for it.
    fn save_companion_files(&self, dir: &Path) -> Result<()> {
        let tower = self.mm_vision_tower.as_deref().map(Path::new).and_then(Path::file_name);
        let Some(name) = tower else { return Ok(()) };
        let dir = dir.join(name);
        fs::create_dir_all(&dir).map_err(|e| Error::io(&dir, &e))?;
        let file = self.vision_config.to_json();
        write_atomically(&dir.join("config.json"), |out| writeln!(out, "{file:#}"))
    }
}

impl LlavaConfig {
    /// The tensors of a checkpoint in this layout under transformers 5's names.
    fn canonical_in(&self, checkpoint: Checkpoint, layout: Layout) -> Result<Checkpoint> {
        let is_original = checkpoint.has_llava_original_names();
        let (config, names, differs) = match layout {
            Layout::HuggingFace => ("Hugging Face's", "LLaVA's own", is_original),
            Layout::Original => {
                ("LLaVA's own", "Hugging Face's", checkpoint.has_llava_hugging_face_names())
            }
        };
        if differs {
            let cause = format!("the tensors have {names} names, but config.json is {config}");
            return Err(Error::invalid(checkpoint.path.display(), cause)
                .with_remedy("use the config.json that belongs to these weights"));
        }
        checkpoint.canonical_llava(self.text_config.tie_word_embeddings)
    }

    /// Checks the keys of processor_config.json that repeat config.json's: transformers places an image's tokens by
    /// the former, and fills them by the latter.
    fn check_processor_keys(&self, dir: &Path) -> Result<()> {
        let path = dir.join("processor_config.json");
        if !path.is_file() {
            return Ok(());
        }
        let (place, json): (_, Value) = (path.display().to_string(), read_json(&path)?);
        let keys = ConfigKeys::new(&place, &json)?;
        let strategy = self.vision_feature_select_strategy.name();
        let differs = |key: &str, here: String, there: String| {
            let cause = format!("{key} is {here}, and {there} in config.json");
            let remedy = "copy the value of the file that belongs to the weights into the other";
            Err(Error::invalid(&place, cause).with_remedy(remedy))
        };
        match keys.get::<usize>("patch_size")? {
            Some(patch) if patch != self.vision_config.patch_size => {
                let own = self.vision_config.patch_size.to_string();
                return differs("patch_size", patch.to_string(), own);
            }
            _ => {}
        }
        match keys.get::<String>("vision_feature_select_strategy")? {
            Some(other) if other != strategy => {
                differs("vision_feature_select_strategy", other, strategy.to_owned())
            }
            _ => Ok(()),
        }
    }
}

/// How LLaVA's key `image_aspect_ratio` makes images square: `pad` pads them; `square`, or no key, leaves it to
/// the processor's own `fit`. Other values would make several images of one, or keep its size.
fn fit_of_aspect_ratio(image_aspect_ratio: Option<&str>, fit: Fit) -> Result<Fit, String> {
    match image_aspect_ratio {
        None | Some("square") => Ok(fit),
        Some("pad") => Ok(Fit::Pad),
        Some(other) => Err(format!("image_aspect_ratio is `{other}`; supported: square, pad")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_aspect_ratio_decides_how_images_become_square() {
        for (ratio, fit) in
            [(None, Fit::Crop), (Some("square"), Fit::Crop), (Some("pad"), Fit::Pad)]
        {
            assert_eq!(fit_of_aspect_ratio(ratio, Fit::Crop).unwrap(), fit);
        }
        assert!(fit_of_aspect_ratio(Some("anyres"), Fit::Crop).unwrap_err().contains("`anyres`"));
    }
}
