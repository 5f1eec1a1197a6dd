//! The image encoder that LLaVA's own layout may keep in a directory of its own.

use std::path::{Component, Path, PathBuf};

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
    /// Looks for the encoder that `mm_vision_tower` calls `tower`: at that path, relative to the model's `dir`, to
    /// the working directory or to the parent of `dir`; and under the last part of that path in `dir` and in its
    /// parent.
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
    let mut places = vec![dir.join(path), path.to_owned()];
    let parent = dir.parent().unwrap_or(Path::new(""));
    places.push(parent.join(path));
    if let Some(name) = path.file_name() {
        places.extend([dir.join(name), parent.join(name)]);
    }
    places
}

fn not_found(tower: &str, dir: &Path) -> Error {
    let cause = format!("found no image encoder {tower}, which mm_vision_tower names");
    let files = "config.json and model.safetensors or pytorch_model.bin";
    let remedy = if is_hub_name(tower) {
        let place = dir.join(Path::new(tower).file_name().unwrap_or_default());
        let place = place.display();
        format!(
            "put its {files} into {place} (`normed fetch {tower} --output {place}`, if it is one of the \
             hub's), or let mm_vision_tower in config.json name the directory that holds them"
        )
    } else {
        let plain = Path::new(tower).components().filter(|part| *part != Component::CurDir);
        let place = dir.join(plain.collect::<PathBuf>());
        format!(
            "it is a path, not a name on the hub: put the encoder's {files} into {} (if the model is from \
             the hub, `normed fetch` brings the folder with it), or let mm_vision_tower in config.json \
             name the directory that holds them",
            place.display()
        )
    };
    Error::invalid(dir.display(), cause).with_remedy(remedy)
}

/// Whether `tower` is written like the name of a repository on the hub, `ORG/NAME`, and not like a path.
fn is_hub_name(tower: &str) -> bool {
    let parts: Vec<_> = tower.split('/').collect();
    let plain = |part: &&str| {
        part.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    parts.len() == 2 && parts.iter().all(plain)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_tower_is_found_where_the_config_says() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("vit/clip");
        fs::create_dir_all(&place).unwrap();
        let found = |tower: &str| VisionTower::find(tower, dir.path()).map(|tower| tower.dir);
        assert_eq!(found("./vit/clip"), None);
        fs::write(place.join("config.json"), "{}").unwrap();
        for tower in ["./vit/clip", "vit/clip", "vit/clip/"] {
            let found = fs::canonicalize(found(tower).unwrap()).unwrap();
            assert_eq!(found, fs::canonicalize(&place).unwrap(), "{tower}");
        }
        // A folder of the model before one that only has the same last part.
        fs::create_dir_all(dir.path().join("clip")).unwrap();
        fs::write(dir.path().join("clip/config.json"), "{}").unwrap();
        assert!(found("vit/clip").unwrap().ends_with("vit/clip"));
        assert!(found("/elsewhere/clip").unwrap().ends_with("clip"));
    }

    #[test]
    fn the_hint_is_true_of_paths_and_of_names() {
        let hint = |tower: &str| not_found(tower, Path::new("model")).to_string();
        let name = hint("openai/clip-vit-base-patch32");
        assert!(
            name.contains("normed fetch openai/clip-vit-base-patch32 --output model/clip-vit-base")
        );
        for tower in [
            "./vit/clip_large",
            "vit/a/clip_large",
            "/data/clip_large",
            "../clip_large",
            "clip_large",
        ] {
            let path = hint(tower);
            assert!(!path.contains("--output"), "{path}");
            assert!(path.contains("it is a path"), "{path}");
        }
        assert!(hint("./vit/clip_large").contains("into model/vit/clip_large ("));
    }
}
