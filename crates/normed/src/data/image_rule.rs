//! From a decoded picture to a model's pixel values: preprocessor_config.json.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Image, resize};
use crate::files::{read_json, write_atomically};
use crate::{Error, Result};

/// How a picture becomes pixel values: what transformers' `BlipImageProcessor`, `CLIPImageProcessor`
/// and `LlavaImageProcessor` do with Pillow.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageRule {
    /// Height and width of the result.
    pub size: usize,
    /// How a picture that is no square becomes one.
    pub fit: Fit,
    /// What a channel's 0..255 is multiplied by; 1/255 nearly always.
    pub rescale_factor: f64,
    /// Mean of each channel, after rescaling.
    pub image_mean: [f32; 3],
    /// Deviation of each channel, after rescaling.
    pub image_std: [f32; 3],
}

/// How a picture that is no square becomes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// It is stretched: BLIP's way.
    Stretch,
    /// What its longer sides have beyond the shorter ones is cut off, half at each end: CLIP's way.
    Crop,
    /// The mean colour is put beside its shorter sides, half at each end: LLaVA's
    /// `image_aspect_ratio = "pad"`.
    Pad,
}

/// `BlipImageProcessor`'s values: 384 pixels, CLIP's means and deviations.
impl Default for ImageRule {
    fn default() -> Self {
        Self {
            size: 384,
            fit: Fit::Stretch,
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

/// The processors that are known, by the beginning of their names (others go on with `Fast`, `Pil`),
/// and what each does with a picture that is no square.
const PROCESSORS: [(&str, Fit); 4] = [
    ("BlipImageProcessor", Fit::Stretch),
    ("CLIPImageProcessor", Fit::Crop),
    ("CLIPFeatureExtractor", Fit::Crop),
    ("LlavaImageProcessor", Fit::Crop),
];

/// What is read and written of preprocessor_config.json; other keys do not matter to these processors.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct ProcessorConfig {
    image_processor_type: Option<String>,
    #[serde(skip_serializing)]
    feature_extractor_type: Option<String>,
    size: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    crop_size: Option<Value>,
    do_resize: Option<bool>,
    resample: Option<i64>,
    do_rescale: Option<bool>,
    rescale_factor: Option<f64>,
    do_normalize: Option<bool>,
    image_mean: Option<Channels>,
    image_std: Option<Channels>,
    do_convert_rgb: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    do_center_crop: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
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
    /// `CLIPImageProcessor`'s values: 224 pixels.
    pub fn clip() -> Self {
        Self { size: 224, fit: Fit::Crop, ..Self::default() }
    }

    /// Reads preprocessor_config.json in `dir`, or else processor_config.json's `image_processor`.
    /// `BlipImageProcessor`'s values stand for absent keys, and for absent files; a value that
    /// [`ImageRule::apply`] could not honour is an error.
    pub fn open(dir: &Path) -> Result<Self> {
        Self::open_or(dir, Fit::Stretch)
    }

    /// As [`ImageRule::open`], for a model that sees as CLIP does: where no processor is named, it is a
    /// `CLIPImageProcessor`.
    pub fn open_clip(dir: &Path) -> Result<Self> {
        Self::open_or(dir, Fit::Crop)
    }

    /// Whether `dir` holds a file that [`ImageRule::open`] reads.
    pub fn is_in(dir: &Path) -> bool {
        ["preprocessor_config.json", "processor_config.json"].iter().any(|f| dir.join(f).is_file())
    }

    /// The rule as LLaVA's `image_aspect_ratio` changes it: `pad` puts the mean colour around a
    /// picture, `square` and an absent one change nothing. Others, which make several pictures of one
    /// or one of any size, are errors.
    pub fn with_aspect_ratio(self, image_aspect_ratio: Option<&str>) -> Result<Self, String> {
        match image_aspect_ratio {
            None | Some("square") => Ok(self),
            Some("pad") => Ok(Self { fit: Fit::Pad, ..self }),
            Some(other) => {
                Err(format!("image_aspect_ratio is `{other}`; known are square and pad"))
            }
        }
    }

    fn open_or(dir: &Path, fit: Fit) -> Result<Self> {
        let (plain, nested) =
            (dir.join("preprocessor_config.json"), dir.join("processor_config.json"));
        let (path, config) = if plain.is_file() {
            let config: ProcessorConfig = read_json(&plain)?;
            (plain, config)
        } else if nested.is_file() {
            let config: NestedConfig = read_json(&nested)?;
            (nested, config.image_processor.unwrap_or_default())
        } else {
            (plain, ProcessorConfig::default())
        };
        Self::from_config(config, fit).map_err(|cause| Error::invalid(path.display(), cause))
    }

    /// `fit` is that of a processor without a name.
    fn from_config(config: ProcessorConfig, fit: Fit) -> Result<Self, String> {
        let name = config.image_processor_type.as_ref().or(config.feature_extractor_type.as_ref());
        let fit = match name {
            None => fit,
            Some(name) => {
                let known = PROCESSORS.iter().find(|(known, _)| name.starts_with(known));
                let names = PROCESSORS.map(|(known, _)| known).join(", ");
                known
                    .ok_or_else(|| format!("image_processor_type is `{name}`; known are {names}"))?
                    .1
            }
        };
        let default = if fit == Fit::Crop { Self::clip() } else { Self::default() };
        for (key, value) in
            [("do_resize", config.do_resize), ("do_convert_rgb", config.do_convert_rgb)]
        {
            if value == Some(false) {
                return Err(format!("{key} is false; only true is supported"));
            }
        }
        if let Some(resample) = config.resample.filter(|&resample| resample != BICUBIC) {
            return Err(format!("resample is {resample}; only {BICUBIC} (bicubic) is supported"));
        }
        let shape = |size: Value| shape(&size, fit).ok_or_else(|| wrong_size("size", &size));
        let (size, fit) = config.size.map_or(Ok((default.size, fit)), shape)?;
        let crops = config.do_center_crop.unwrap_or(default.fit == Fit::Crop);
        let cropped = config.crop_size.as_ref().filter(|_| crops);
        let cropped = cropped.map(|crop| square(crop).ok_or_else(|| wrong_size("crop_size", crop)));
        if let Some(crop) = cropped.transpose()?.filter(|&crop| crop != size) {
            return Err(format!(
                "size is {size} and crop_size {crop}; only equal ones are supported"
            ));
        }
        let pads = config.do_pad == Some(true);
        if fit == Fit::Crop && !crops && !pads {
            return Err("do_center_crop is false, so that pictures would differ in size".into());
        }
        let mut rule = Self {
            size,
            fit: if pads { Fit::Pad } else { fit },
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
        let square = json!({"height": self.size, "width": self.size});
        let (name, size, crop_size) = match self.fit {
            Fit::Stretch => ("BlipImageProcessor", square, None),
            Fit::Crop => ("CLIPImageProcessor", json!({"shortest_edge": self.size}), Some(square)),
            Fit::Pad => ("LlavaImageProcessor", json!({"shortest_edge": self.size}), Some(square)),
        };
        let config = ProcessorConfig {
            image_processor_type: Some(name.into()),
            size: Some(size),
            do_resize: Some(true),
            resample: Some(BICUBIC),
            do_center_crop: crop_size.is_some().then_some(true),
            crop_size,
            do_pad: (self.fit == Fit::Pad).then_some(true),
            do_rescale: Some(true),
            rescale_factor: Some(self.rescale_factor),
            do_normalize: Some(true),
            image_mean: Some(Channels::Each(self.image_mean)),
            image_std: Some(Channels::Each(self.image_std)),
            do_convert_rgb: Some(true),
            ..ProcessorConfig::default()
        };
        let text = serde_json::to_string_pretty(&config).expect("numbers and flags serialise");
        write_atomically(&path, |out| writeln!(out, "{text}"))
    }

    /// Pixel values `[3, size, size]`: bicubic (Pillow's), rescaled, normalised.
    pub fn apply(&self, picture: &Image) -> Vec<f32> {
        self.normalise(&self.resize(picture))
    }

    /// The picture at `size` x `size`, by Pillow's bicubic.
    pub fn resize(&self, picture: &Image) -> Image {
        let size = self.size;
        match self.fit {
            Fit::Stretch => resize::bicubic(picture, size, size),
            Fit::Crop => {
                // Only what is not cut off is made: a line of pixels would be huge at this width.
                let short = picture.width.min(picture.height).max(1);
                let side = |of: usize| {
                    let whole = size * of / short;
                    let first = (whole - size) / 2;
                    (whole, first..first + size)
                };
                resize::bicubic_part(picture, side(picture.width), side(picture.height))
            }
            Fit::Pad => {
                let mean = self.image_mean.map(|mean| (f64::from(mean) * 255.0) as u8);
                resize::bicubic(&padded(picture, mean), size, size)
            }
        }
    }

    /// Pixel values `[3, H, W]` of a picture that is not resized: rescaled in f64, normalised in f32.
    pub fn normalise(&self, picture: &Image) -> Vec<f32> {
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

/// The picture in the middle of a square of `colour`.
fn padded(picture: &Image, colour: [u8; 3]) -> Image {
    let Image { width, height, .. } = *picture;
    let side = width.max(height);
    let mut rgb = colour.repeat(side * side);
    let (left, top) = ((side - width) / 2, (side - height) / 2);
    let into = rgb.chunks_exact_mut(3 * side).skip(top);
    for (to, row) in into.zip(picture.rgb.chunks_exact(3 * width)) {
        to[3 * left..3 * (left + width)].copy_from_slice(row);
    }
    Image { width: side, height: side, rgb }
}

/// What `size` says: a number, which means the shorter sides to a processor that crops, or
/// `{"shortest_edge": n}`, or `{"height": n, "width": n}`, to which pictures are stretched.
fn shape(size: &Value, fit: Fit) -> Option<(usize, Fit)> {
    match size.as_object() {
        Some(sides) if sides.len() == 1 && fit == Fit::Crop => {
            Some((square(sides.get("shortest_edge")?)?, Fit::Crop))
        }
        Some(_) => Some((square(size)?, Fit::Stretch)),
        None => Some((square(size)?, fit)),
    }
}

/// One number: an integer, or `{"height": n, "width": n}`.
fn square(size: &Value) -> Option<usize> {
    let side = match size {
        Value::Object(sides) => {
            sides.get("height").filter(|height| Some(*height) == sides.get("width"))
        }
        other => Some(other),
    };
    side.and_then(Value::as_u64)
        .and_then(|side| usize::try_from(side).ok())
        .filter(|side| (1..=MAX_SIZE).contains(side))
}

fn wrong_size(key: &str, size: &Value) -> String {
    format!("{key} is {size}; only a square of 1 to {MAX_SIZE} is supported")
}

#[cfg(test)]
mod tests {
    use std::fs;

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
        let picture = Image { width: 8, height: 8, rgb: (0..192).collect() };
        assert_eq!(rule.apply(&picture)[..3], [0.0, 3.0, 6.0]);
        assert_eq!(rule.apply(&picture)[64], 1.0);
    }

    #[test]
    fn clips_and_llavas_processors_are_told_apart() {
        let old = r#"{"crop_size": 224, "do_center_crop": true, "do_resize": true, "resample": 3,
            "feature_extractor_type": "CLIPFeatureExtractor", "size": 224}"#;
        assert_eq!(open("preprocessor_config.json", old).unwrap(), ImageRule::clip());
        let new = r#"{"crop_size": {"height": 336, "width": 336}, "size": {"shortest_edge": 336},
            "image_processor_type": "CLIPImageProcessor"}"#;
        let larger = ImageRule { size: 336, ..ImageRule::clip() };
        assert_eq!(open("preprocessor_config.json", new).unwrap(), larger);
        let llava = new
            .replace("CLIPImageProcessor", "LlavaImageProcessorFast")
            .replace("{\"crop", "{\"do_pad\": true, \"crop");
        let padded = ImageRule { fit: Fit::Pad, ..larger.clone() };
        assert_eq!(open("preprocessor_config.json", &llava).unwrap(), padded);
        let square = r#"{"image_processor_type": "CLIPImageProcessor", "do_center_crop": false,
            "size": {"height": 336, "width": 336}}"#;
        let stretched = ImageRule { fit: Fit::Stretch, ..larger.clone() };
        assert_eq!(open("preprocessor_config.json", square).unwrap(), stretched);
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(ImageRule::open_clip(dir.path()).unwrap(), ImageRule::clip());
        let ratio = |ratio| larger.clone().with_aspect_ratio(ratio);
        assert_eq!(ratio(Some("pad")).unwrap(), padded);
        assert_eq!(
            (ratio(None).unwrap(), ratio(Some("square")).unwrap()),
            (larger.clone(), larger.clone())
        );
        assert!(ratio(Some("anyres")).unwrap_err().contains("`anyres`"));
    }

    #[test]
    fn a_line_of_pixels_stays_small() {
        let line = Image { width: 16_384, height: 1, rgb: [9].repeat(3 * 16_384) };
        for fit in [Fit::Crop, Fit::Stretch] {
            let rule = ImageRule { size: 4, fit, ..ImageRule::default() };
            assert_eq!(rule.resize(&line), Image { width: 4, height: 4, rgb: vec![9; 48] });
        }
    }

    #[test]
    fn saving_and_opening_changes_nothing() {
        let rule = ImageRule {
            size: 96,
            fit: Fit::Crop,
            rescale_factor: 1.0 / 65025.0,
            image_mean: [0.1, 0.485, 1.0 / 3.0],
            image_std: [0.229; 3],
        };
        let padded = ImageRule { fit: Fit::Pad, ..rule.clone() };
        for rule in [rule, padded, ImageRule::clip(), ImageRule::default()] {
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
            (r#"{"do_center_crop": true, "crop_size": 9, "size": 8}"#, "only equal ones"),
            (
                r#"{"image_processor_type": "CLIPImageProcessor", "do_center_crop": false}"#,
                "do_center_crop is false",
            ),
            (r#"{"image_processor_type": "CLIPImageProcessor", "crop_size": "x"}"#, "crop_size is"),
            (
                r#"{"image_processor_type": "CLIPImageProcessor", "size": {"x": 1}}"#,
                "only a square",
            ),
            (r#"{"do_convert_rgb": false}"#, "do_convert_rgb is false"),
            (r#"{"image_std": [1, 0, 1]}"#, "image_std"),
            (
                r#"{"image_processor_type": "SiglipImageProcessor"}"#,
                "`SiglipImageProcessor`; known",
            ),
            (
                r#"{"feature_extractor_type": "ViTFeatureExtractor"}"#,
                "`ViTFeatureExtractor`; known",
            ),
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
