//! From a decoded picture to a model's pixel values: preprocessor_config.json.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Picture, resize};
use crate::{Error, Result};

/// How a picture becomes pixel values: what transformers' `BlipImageProcessor` does.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageRule {
    /// Height and width of the result.
    pub size: usize,
    /// What a channel's 0..255 is multiplied by; 1/255 nearly always.
    pub rescale_factor: f64,
    /// Mean of each channel, after rescaling.
    pub image_mean: [f32; 3],
    /// Deviation of each channel, after rescaling.
    pub image_std: [f32; 3],
}

/// `BlipImageProcessor`'s values: 384 pixels, CLIP's means and deviations.
impl Default for ImageRule {
    fn default() -> Self {
        Self {
            size: 384,
            rescale_factor: 1.0 / 255.0,
            image_mean: [0.481_454_66, 0.457_827_5, 0.408_210_73],
            image_std: [0.268_629_54, 0.261_302_6, 0.275_777_1],
        }
    }
}

/// The largest size that is believed.
const MAX_SIZE: usize = 4096;
/// Pillow's number for bicubic.
const BICUBIC: i64 = 3;

/// What is read and written of preprocessor_config.json; other keys do not matter to a
/// `BlipImageProcessor`.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct ProcessorConfig {
    image_processor_type: Option<String>,
    size: Option<Value>,
    do_resize: Option<bool>,
    resample: Option<i64>,
    do_rescale: Option<bool>,
    rescale_factor: Option<f64>,
    do_normalize: Option<bool>,
    image_mean: Option<Channels>,
    image_std: Option<Channels>,
    do_convert_rgb: Option<bool>,
    #[serde(skip_serializing)]
    do_center_crop: Option<bool>,
    #[serde(skip_serializing)]
    do_pad: Option<bool>,
}

/// One number for all channels or one for each.
#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "image_mean and image_std take one number or three")]
enum Channels {
    One(f32),
    Each([f32; 3]),
}

impl Channels {
    fn each(self) -> [f32; 3] {
        match self {
            Self::One(value) => [value; 3],
            Self::Each(values) => values,
        }
    }
}

/// What is read of processor_config.json, where transformers 5 keeps the same settings.
#[derive(Deserialize)]
struct NestedConfig {
    image_processor: Option<ProcessorConfig>,
}

impl ImageRule {
    /// Reads preprocessor_config.json in `dir`, or else processor_config.json's `image_processor`.
    /// `BlipImageProcessor`'s values stand for absent keys, and for absent files; a value that
    /// [`ImageRule::apply`] could not honour is an error.
    pub fn open(dir: &Path) -> Result<Self> {
        let (plain, nested) =
            (dir.join("preprocessor_config.json"), dir.join("processor_config.json"));
        let (path, config) = if plain.is_file() {
            let config: ProcessorConfig = read(&plain)?;
            (plain, Some(config))
        } else if nested.is_file() {
            let config: NestedConfig = read(&nested)?;
            (nested, config.image_processor)
        } else {
            return Ok(Self::default());
        };
        config.map_or_else(
            || Ok(Self::default()),
            |config| {
                Self::from_config(config).map_err(|cause| Error::invalid(path.display(), cause))
            },
        )
    }

    fn from_config(config: ProcessorConfig) -> Result<Self, String> {
        if let Some(kind) = &config.image_processor_type
            && !kind.starts_with("BlipImageProcessor")
        {
            return Err(format!("image_processor_type is `{kind}`, not `BlipImageProcessor`"));
        }
        for (key, value, wanted) in [
            ("do_resize", config.do_resize, true),
            ("do_convert_rgb", config.do_convert_rgb, true),
            ("do_center_crop", config.do_center_crop, false),
            ("do_pad", config.do_pad, false),
        ] {
            if value.is_some_and(|value| value != wanted) {
                return Err(format!("{key} is {}; only {wanted} is supported", !wanted));
            }
        }
        if let Some(resample) = config.resample.filter(|&resample| resample != BICUBIC) {
            return Err(format!("resample is {resample}; only {BICUBIC} (bicubic) is supported"));
        }
        let default = Self::default();
        let mut rule = Self {
            size: config.size.map_or(Ok(default.size), |size| square(&size))?,
            rescale_factor: config.rescale_factor.unwrap_or(default.rescale_factor),
            image_mean: config.image_mean.map_or(default.image_mean, Channels::each),
            image_std: config.image_std.map_or(default.image_std, Channels::each),
        };
        if config.do_rescale == Some(false) {
            rule.rescale_factor = 1.0;
        }
        if config.do_normalize == Some(false) {
            (rule.image_mean, rule.image_std) = ([0.0; 3], [1.0; 3]);
        }
        if !rule.image_std.iter().all(|&std| std > 0.0) {
            return Err(format!("image_std is {:?}; each must be above 0", rule.image_std));
        }
        Ok(rule)
    }

    /// Writes preprocessor_config.json into `dir`, as transformers reads it.
    pub fn save(&self, dir: &Path) -> Result<()> {
        let path = dir.join("preprocessor_config.json");
        let config = ProcessorConfig {
            image_processor_type: Some("BlipImageProcessor".into()),
            size: Some(json!({"height": self.size, "width": self.size})),
            do_resize: Some(true),
            resample: Some(BICUBIC),
            do_rescale: Some(true),
            rescale_factor: Some(self.rescale_factor),
            do_normalize: Some(true),
            image_mean: Some(Channels::Each(self.image_mean)),
            image_std: Some(Channels::Each(self.image_std)),
            do_convert_rgb: Some(true),
            ..ProcessorConfig::default()
        };
        let text = serde_json::to_string_pretty(&config).expect("numbers and flags serialise");
        fs::write(&path, text + "\n").map_err(|e| Error::io(&path, &e))
    }

    /// Pixel values `[3, size, size]`: bicubic (Pillow's), rescaled, normalised.
    pub fn apply(&self, picture: &Picture) -> Vec<f32> {
        self.normalise(&self.resize(picture))
    }

    /// The picture at `size` x `size`, by Pillow's bicubic.
    pub fn resize(&self, picture: &Picture) -> Picture {
        resize::bicubic(picture, self.size, self.size)
    }

    /// Pixel values `[3, H, W]` of a picture that is not resized: rescaled in f64, normalised in f32.
    pub fn normalise(&self, picture: &Picture) -> Vec<f32> {
        let mut values = Vec::with_capacity(picture.rgb.len());
        for channel in 0..3 {
            let (mean, std) = (self.image_mean[channel], self.image_std[channel]);
            let table: [f32; 256] = std::array::from_fn(|value| {
                ((value as f64 * self.rescale_factor) as f32 - mean) / std
            });
            values.extend(picture.rgb.iter().skip(channel).step_by(3).map(|&v| table[v as usize]));
        }
        values
    }
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    let bytes = fs::read(path).map_err(|e| Error::io(path, &e))?;
    serde_json::from_slice(&bytes).map_err(|e| Error::invalid(path.display(), e))
}

/// `size` as one number: an integer, or `{"height": n, "width": n}`.
fn square(size: &Value) -> Result<usize, String> {
    let side = match size {
        Value::Object(sides) => {
            sides.get("height").filter(|height| Some(*height) == sides.get("width"))
        }
        other => Some(other),
    };
    side.and_then(Value::as_u64)
        .and_then(|side| usize::try_from(side).ok())
        .filter(|side| (1..=MAX_SIZE).contains(side))
        .ok_or_else(|| format!("size is {size}; only a square of 1 to {MAX_SIZE} is supported"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(file: &str, text: &str) -> Result<ImageRule> {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(file), text).unwrap();
        ImageRule::open(dir.path())
    }

    #[test]
    fn absent_values_are_blips() {
        let nothing = tempfile::tempdir().unwrap();
        assert_eq!(ImageRule::open(nothing.path()).unwrap(), ImageRule::default());
        assert_eq!(open("preprocessor_config.json", "{}").unwrap(), ImageRule::default());
        assert_eq!(open("processor_config.json", "{}").unwrap(), ImageRule::default());
    }

    #[test]
    fn values_are_heard_in_either_file() {
        let text = r#"{"image_processor_type": "BlipImageProcessorFast", "size": 480, "resample": 3,
            "image_mean": 0.5, "do_normalize": true, "image_std": [0.1, 0.2, 0.3], "new_key": {}}"#;
        let rule = open("preprocessor_config.json", text).unwrap();
        assert_eq!((rule.size, rule.image_mean, rule.image_std), (480, [0.5; 3], [0.1, 0.2, 0.3]));
        let nested = format!(r#"{{"image_processor": {text}}}"#);
        assert_eq!(open("processor_config.json", &nested).unwrap(), rule);
        let raw =
            r#"{"size": {"height": 8, "width": 8}, "do_rescale": false, "do_normalize": false}"#;
        let rule = open("preprocessor_config.json", raw).unwrap();
        let picture = Picture { width: 8, height: 8, rgb: (0..192).collect() };
        assert_eq!(rule.apply(&picture)[..3], [0.0, 3.0, 6.0]);
        assert_eq!(rule.apply(&picture)[64], 1.0);
    }

    #[test]
    fn saving_and_opening_changes_nothing() {
        let rule = ImageRule {
            size: 96,
            rescale_factor: 1.0 / 65025.0,
            image_mean: [0.1, 0.485, 1.0 / 3.0],
            image_std: [0.229; 3],
        };
        for rule in [rule, ImageRule::default()] {
            let dir = tempfile::tempdir().unwrap();
            rule.save(dir.path()).unwrap();
            assert_eq!(ImageRule::open(dir.path()).unwrap(), rule);
        }
    }

    #[test]
    fn what_cannot_be_honoured_is_an_error() {
        for (text, cause) in [
            (r#"{"size": {"height": 8, "width": 9}}"#, "only a square"),
            (r#"{"size": {"shortest_edge": 224}}"#, "only a square"),
            (r#"{"size": 0}"#, "only a square"),
            (r#"{"size": 1000000}"#, "only a square"),
            (r#"{"resample": 2}"#, "resample is 2"),
            (r#"{"do_resize": false}"#, "do_resize is false"),
            (r#"{"do_center_crop": true}"#, "do_center_crop is true"),
            (r#"{"do_convert_rgb": false}"#, "do_convert_rgb is false"),
            (r#"{"image_std": [1, 0, 1]}"#, "image_std"),
            (r#"{"image_processor_type": "CLIPImageProcessor"}"#, "CLIPImageProcessor"),
            (r#"{"image_mean": "high"}"#, "one number or three"),
            ("{", "EOF"),
        ] {
            let error = open("preprocessor_config.json", text).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            let text = error.to_string();
            assert!(text.contains("preprocessor_config.json") && text.contains(cause), "{text}");
        }
    }
}
