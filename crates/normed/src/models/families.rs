//! The model families, and the config.json that each reads. A new family is a folder and a line here.

use std::path::Path;

use serde_json::Value;

use super::llava::LlavaConfig;
use super::miss::MissConfig;
use super::model::Layout;
use super::model_config::ModelConfig;
use crate::files::read_json;
use crate::{Error, Result};

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
        let json = read_json(&path)
            .map_err(|e| e.with_remedy("a model directory holds config.json and the weights"))?;
        Self::parse(&path.display().to_string(), json, dir)
    }

    /// Reads config.json's content `json`; `place` names the file in errors.
    ///
    /// # Errors
    /// If it is of no known family, or if no model can have its values.
    pub fn parse(place: &str, json: Value, dir: &Path) -> Result<Self> {
        let family = FAMILIES.iter().find(|(matches, _)| matches(&json));
        let (_, parse) = family.ok_or_else(|| {
            Error::invalid(place, "not the config of a BLIP, MISS or LLaVA model").with_remedy(
                "in Hugging Face's layout it has \"vision_config\" and \"text_config\"; for a MISS in \
                 the original layout, write {\"vit\": \"base\", \"image_size\": 480} into it",
            )
        })?;
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
        for text in ["{}", "[]", r#"{"model_type": "bert"}"#] {
            std::fs::write(dir.path().join("config.json"), text).unwrap();
            let error = ConfigFile::open(dir.path()).err().unwrap();
            assert_eq!(error.exit_code(), 2);
            assert!(
                error.to_string().contains("not the config of a BLIP, MISS or LLaVA"),
                "{error}"
            );
        }
    }
}
