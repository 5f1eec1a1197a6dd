//! The image encoder that LLaVA's own layout may keep in a directory of its own.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::files::read_json;
use crate::models::config_keys::ConfigKeys;
use crate::models::towers::ClipConfig;
use crate::{Error, Result};

/// The sizes of the image encoders that OpenAI published under these names.
fn known_tower(name: &str) -> Option<ClipConfig> {
    match Path::new(name).file_name()?.to_str()? {
        "clip-vit-large-patch14" => Some(ClipConfig::large(224)),
        "clip-vit-large-patch14-336" => Some(ClipConfig::large(336)),
        _ => None,
    }
}

/// The directory of an image encoder.
pub(super) struct VisionTower {
    /// Its path.
    pub dir: PathBuf,
}

impl VisionTower {
    /// Looks for the encoder that `mm_vision_tower` calls `tower`: at that path, relative to the working
    /// directory, to the model's `dir` or to the parent of `dir`; and under the last part of that path in `dir` and in
    /// its parent.
    pub fn find(tower: &str, dir: &Path) -> Option<Self> {
        let is_there = |path: &PathBuf| path.join("config.json").is_file();
        places(tower, dir).into_iter().find(is_there).map(|dir| Self { dir })
    }

    /// As [`VisionTower::find`].
    ///
    /// # Errors
    /// If it is not found.
    pub fn open(tower: &str, dir: &Path) -> Result<Self> {
        Self::find(tower, dir).ok_or_else(|| not_found(tower, dir))
    }

    /// The sizes of the encoder that `mm_vision_tower` calls `tower`: those in its directory, or else those that
    /// its name is known for.
    ///
    /// # Errors
    /// If there is no such directory and the name is not known, or if its config cannot be read.
    pub fn config_of(tower: &str, dir: &Path) -> Result<ClipConfig> {
        match Self::find(tower, dir) {
            Some(found) => found.config(),
            None => known_tower(tower).ok_or_else(|| not_found(tower, dir)),
        }
    }

    /// The directory's config.json is a CLIP's or its vision tower's.
    fn config(&self) -> Result<ClipConfig> {
        let path = self.dir.join("config.json");
        let place = path.display().to_string();
        let json: Value = read_json(&path)?;
        let keys = ConfigKeys::new(&place, &json)?;
        keys.expect_one_of("model_type", &["clip", "clip_vision_model"])?;
        match keys.section("vision_config")? {
            Some(vision) => ClipConfig::read(&vision),
            None => ClipConfig::read(&keys),
        }
    }
}

fn places(tower: &str, dir: &Path) -> Vec<PathBuf> {
    let path = Path::new(tower);
    let mut places = vec![path.to_owned(), dir.join(path)];
    let parent = dir.parent().unwrap_or(Path::new(""));
    places.push(parent.join(path));
    if let Some(name) = path.file_name() {
        places.extend([dir.join(name), parent.join(name)]);
    }
    places
}

fn not_found(tower: &str, dir: &Path) -> Error {
    let cause = format!("found no image encoder {tower}, which mm_vision_tower names");
    let name = Path::new(tower).file_name().unwrap_or_default();
    let place = dir.join(name);
    let place = place.display();
    Error::invalid(dir.display(), cause).with_remedy(format!(
        "put its config.json and model.safetensors or pytorch_model.bin into {place} (`normed fetch {tower} \
         --output {place}`, if it is one of the hub's), or let mm_vision_tower in config.json name the \
         directory that holds them"
    ))
}
