//! The model families, and the config.json that each reads. A new family is a folder and a line here.

use std::path::Path;

use serde_json::Value;

use super::llava::LlavaConfig;
use super::miss::MissConfig;
use super::model::Layout;
use super::model_config::ModelConfig;
use super::unsupported::{no_model, unsupported_config};
use crate::Result;
use crate::files::read_json;

/// Whether the content of a config.json describes a model of the family.
type Matches = fn(&Value) -> bool;

/// Reads the content of a config.json. The arguments are its place for errors, the content, and its directory.
type Parse = fn(&str, &Value, &Path) -> Result<(Box<dyn ModelConfig>, Layout)>;

/// Every family. The first that matches reads the file.
const FAMILIES: [(Matches, Parse); 2] = [
    (LlavaConfig::matches, |place, json, dir| {
        let (config, layout) = LlavaConfig::parse(place, json, dir)?;
        Ok((Box::new(config), layout))
    }),
    (MissConfig::matches, |place, json, _| {
        let (config, layout) = MissConfig::parse(place, json)?;
        Ok((Box::new(config), layout))
    }),
];

/// A config.json that was read.
pub(super) struct ConfigFile {
    /// The config of the model.
    pub config: Box<dyn ModelConfig>,
    /// The layout that it is in.
    pub layout: Layout,
    /// Its content.
    pub json: Value,
}

impl ConfigFile {
    /// Reads config.json in `dir`.
    ///
    /// # Errors
    /// If it cannot be read, or is of no known family.
    pub fn open(dir: &Path) -> Result<Self> {
        let path = dir.join("config.json");
        let json = read_json(&path).map_err(|e| {
            let is_there = path.exists();
            let error = e.with_remedy("a model directory holds config.json and the weights");
            if is_there { error } else { no_model(dir, error) }
        })?;
        Self::parse(&path.display().to_string(), json, dir)
    }

    /// Reads config.json's content `json`; `place` names the file in errors.
    ///
    /// # Errors
    /// If it is of no known family, or if no model can have its values.
    pub fn parse(place: &str, json: Value, dir: &Path) -> Result<Self> {
        let family = FAMILIES.iter().find(|(matches, _)| matches(&json));
        let (_, parse) = family.ok_or_else(|| unsupported_config(place, &json))?;
        let (config, layout) = parse(place, &json, dir)?;
        Ok(Self { config, layout, json })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_config_of_no_family_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        for (text, cause) in [
            ("{}", "not the config of a BLIP, MISS or LLaVA"),
            ("[]", "not the config of a BLIP, MISS or LLaVA"),
            (r#"{"model_type": "bert"}"#, "BERT alone"),
            (r#"{"model_type": "gemma3", "vision_config": {}, "text_config": {}}"#, "Gemma 3"),
            (r#"{"model_type": "siglip_vision_model", "image_size": 384}"#, "SigLIP alone"),
            (r#"{"model_type": "llava_next", "vision_config": {}}"#, "LLaVA-NeXT"),
            (
                r#"{"model_type": "llava_qwen", "architectures": ["LlavaQwenForCausalLM"]}"#,
                "over Qwen",
            ),
        ] {
            std::fs::write(dir.path().join("config.json"), text).unwrap();
            let error = ConfigFile::open(dir.path()).err().unwrap();
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().contains(cause), "{error}");
        }
        // What BLIP's med_config.json says of the text towers.
        let own = r#"{"architectures": ["BertModel"], "model_type": "bert", "vit": "base"}"#;
        std::fs::write(dir.path().join("config.json"), own).unwrap();
        assert_eq!(ConfigFile::open(dir.path()).unwrap().layout, Layout::Original);
    }
}
