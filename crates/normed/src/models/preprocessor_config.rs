//! preprocessor_config.json of the image processors that make every image a square of one size:
//! transformers' `BlipImageProcessor`, `CLIPImageProcessor` and `LlavaImageProcessor`.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::square_processor::{Fit, SquareProcessor};
use crate::data::{Image, ImageProcessor, ImageSize, ImageSource};
use crate::files::{read_json, write_atomically};
use crate::{Error, Result};

/// An image processor class of transformers. A model declares which classes it reads.
#[derive(Debug, Clone, Copy)]
pub struct ProcessorClass {
    /// How `image_processor_type` begins: some versions of transformers append `Fast` or `Pil`.
    name: &'static str,
    fit: Fit,
    /// The size if the file names none.
    size: usize,
}

/// BLIP's class.
pub(super) const BLIP: ProcessorClass =
    ProcessorClass { name: "BlipImageProcessor", fit: Fit::Stretch, size: 384 };
/// CLIP's class.
pub(super) const CLIP: ProcessorClass =
    ProcessorClass { name: "CLIPImageProcessor", fit: Fit::Crop, size: 224 };
/// The name of CLIP's class before transformers 4.26.
pub(super) const CLIP_EXTRACTOR: ProcessorClass =
    ProcessorClass { name: "CLIPFeatureExtractor", ..CLIP };
/// LLaVA's class: CLIP's, which can also pad.
pub(super) const LLAVA: ProcessorClass = ProcessorClass { name: "LlavaImageProcessor", ..CLIP };

/// The largest size that is accepted.
const MAX_SIZE: usize = 4096;
/// Pillow's number for bicubic.
const BICUBIC: i64 = 3;

/// The mean and standard deviation of the images that CLIP was trained on; BLIP and LLaVA use them too.
const CLIP_MEAN: [f32; 3] = [0.481_454_66, 0.457_827_5, 0.408_210_73];
const CLIP_STD: [f32; 3] = [0.268_629_54, 0.261_302_6, 0.275_777_1];

/// The keys of preprocessor_config.json that are read and written; others do not matter to these classes.
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

/// processor_config.json, where transformers 5 keeps the same settings.
#[derive(Deserialize)]
struct NestedConfig {
    image_processor: Option<ProcessorConfig>,
}

impl SquareProcessor {
    /// The processor of a class with the class's default values.
    pub fn new(class: ProcessorClass) -> Self {
        Self {
            size: class.size,
            num_tokens: 0,
            fit: class.fit,
            rescale_factor: 1.0 / 255.0,
            image_mean: CLIP_MEAN,
            image_std: CLIP_STD,
        }
    }

    /// `BlipImageProcessor` with its default values: 384 pixels, stretched.
    pub fn blip() -> Self {
        Self::new(BLIP)
    }

    /// `CLIPImageProcessor` with its default values: 224 pixels, cropped.
    pub fn clip() -> Self {
        Self::new(CLIP)
    }

    /// Reads preprocessor_config.json in `dir`, or else the `image_processor` of processor_config.json.
    ///
    /// `classes` are those that the model reads. The first is assumed if no class is named; its defaults
    /// replace absent keys, and an absent file.
    ///
    /// # Errors
    /// If a file cannot be read or parsed, names another class, or asks for a step that
    /// [`ImageProcessor::apply`] does not make.
    pub fn open(dir: &Path, classes: &[ProcessorClass]) -> Result<Self> {
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
        let class = config.class(classes).map_err(|cause| Error::invalid(path.display(), cause))?;
        Self::from_config(config, class).map_err(|cause| Error::invalid(path.display(), cause))
    }

    /// Whether `dir` has a file that [`SquareProcessor::open`] reads.
    pub fn is_in(dir: &Path) -> bool {
        ["preprocessor_config.json", "processor_config.json"].iter().any(|f| dir.join(f).is_file())
    }

    fn from_config(config: ProcessorConfig, class: ProcessorClass) -> Result<Self, String> {
        let (fit, default) = (class.fit, Self::new(class));
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
            return Err("do_center_crop is false, so the images would differ in size".into());
        }
        let mut processor = Self {
            size,
            num_tokens: 0,
            fit: if pads { Fit::Pad } else { fit },
            rescale_factor: config.rescale_factor.unwrap_or(default.rescale_factor),
            image_mean: config.image_mean.map_or(default.image_mean, Channels::each),
            image_std: config.image_std.map_or(default.image_std, Channels::each),
        };
        if config.do_rescale == Some(false) {
            processor.rescale_factor = 1.0;
        }
        if config.do_normalize == Some(false) {
            (processor.image_mean, processor.image_std) = ([0.0; 3], [1.0; 3]);
        }
        if !processor.image_std.iter().all(|&std| std > 0.0) {
            return Err(format!("image_std is {:?}; each must be above 0", processor.image_std));
        }
        Ok(processor)
    }

    fn write(&self, dir: &Path) -> Result<()> {
        let square = json!({"height": self.size, "width": self.size});
        let (class, size, crop_size) = match self.fit {
            Fit::Stretch => (BLIP, square, None),
            Fit::Crop => (CLIP, json!({"shortest_edge": self.size}), Some(square)),
            Fit::Pad => (LLAVA, json!({"shortest_edge": self.size}), Some(square)),
        };
        let config = ProcessorConfig {
            image_processor_type: Some(class.name.into()),
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
        let path = dir.join("preprocessor_config.json");
        let text =
            serde_json::to_string_pretty(&config).map_err(|e| Error::failed(path.display(), e))?;
        write_atomically(&path, |out| writeln!(out, "{text}"))
    }
}

impl ImageProcessor for SquareProcessor {
    fn processed_size(&self, _: &ImageSource) -> Result<ImageSize> {
        Ok(self.largest_size())
    }

    fn largest_size(&self) -> ImageSize {
        ImageSize::square(self.size)
    }

    fn num_tokens(&self, _: ImageSize) -> usize {
        self.num_tokens
    }

    fn resize(&self, image: &Image) -> Image {
        self.resize_to_square(image)
    }

    fn normalize(&self, resized: &Image) -> Vec<f32> {
        self.normalize_channels(resized)
    }

    fn save(&self, dir: &Path) -> Result<()> {
        self.write(dir)
    }
}

impl ProcessorConfig {
    /// Which of the model's classes the file names; the first if it names none.
    fn class(&self, classes: &[ProcessorClass]) -> Result<ProcessorClass, String> {
        match self.image_processor_type.as_ref().or(self.feature_extractor_type.as_ref()) {
            None => Ok(classes[0]),
            Some(name) => {
                let known = classes.iter().find(|class| name.starts_with(class.name));
                known.copied().ok_or_else(|| {
                    let names = classes.iter().map(|class| class.name).collect::<Vec<_>>();
                    let names = names.join(", ");
                    format!("image_processor_type is `{name}`; this model supports {names}")
                })
            }
        }
    }
}

/// The key `size`: a number or `{"shortest_edge": n}`, which processors that crop read as the shorter side;
/// or `{"height": n, "width": n}`, to which images are stretched.
fn shape(size: &Value, fit: Fit) -> Option<(usize, Fit)> {
    match size.as_object() {
        Some(sides) if sides.len() == 1 && fit == Fit::Crop => {
            Some((square(sides.get("shortest_edge")?)?, Fit::Crop))
        }
        Some(_) => Some((square(size)?, Fit::Stretch)),
        None => Some((square(size)?, fit)),
    }
}

/// The side of a square: an integer, or `{"height": n, "width": n}`.
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

    const CLASSES: [ProcessorClass; 4] = [BLIP, CLIP, CLIP_EXTRACTOR, LLAVA];

    fn open(file: &str, text: &str) -> Result<SquareProcessor> {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(file), text).unwrap();
        SquareProcessor::open(dir.path(), &CLASSES)
    }

    #[test]
    fn absent_keys_have_the_values_of_blip() {
        let nothing = tempfile::tempdir().unwrap();
        assert_eq!(
            SquareProcessor::open(nothing.path(), &CLASSES).unwrap(),
            SquareProcessor::blip()
        );
        assert_eq!(open("preprocessor_config.json", "{}").unwrap(), SquareProcessor::blip());
        assert_eq!(open("processor_config.json", "{}").unwrap(), SquareProcessor::blip());
    }

    #[test]
    fn values_are_read_from_either_file() {
        let text = r#"{"image_processor_type": "BlipImageProcessorFast", "size": 480, "resample": 3,
            "image_mean": 0.5, "do_normalize": true, "image_std": [0.1, 0.2, 0.3], "new_key": {}}"#;
        let rule = open("preprocessor_config.json", text).unwrap();
        assert_eq!((rule.size, rule.image_mean, rule.image_std), (480, [0.5; 3], [0.1, 0.2, 0.3]));
        let nested = format!(r#"{{"image_processor": {text}}}"#);
        assert_eq!(open("processor_config.json", &nested).unwrap(), rule);
        let raw =
            r#"{"size": {"height": 8, "width": 8}, "do_rescale": false, "do_normalize": false}"#;
        let rule = open("preprocessor_config.json", raw).unwrap();
        let image = Image { width: 8, height: 8, rgb: (0..192).collect() };
        assert_eq!(rule.apply(&image)[..3], [0.0, 3.0, 6.0]);
        assert_eq!(rule.apply(&image)[64], 1.0);
    }

    #[test]
    fn clip_and_llava_processors_are_distinguished() {
        let old = r#"{"crop_size": 224, "do_center_crop": true, "do_resize": true, "resample": 3,
            "feature_extractor_type": "CLIPFeatureExtractor", "size": 224}"#;
        assert_eq!(open("preprocessor_config.json", old).unwrap(), SquareProcessor::clip());
        let new = r#"{"crop_size": {"height": 336, "width": 336}, "size": {"shortest_edge": 336},
            "image_processor_type": "CLIPImageProcessor"}"#;
        let larger = SquareProcessor { size: 336, ..SquareProcessor::clip() };
        assert_eq!(open("preprocessor_config.json", new).unwrap(), larger);
        let llava = new
            .replace("CLIPImageProcessor", "LlavaImageProcessorFast")
            .replace("{\"crop", "{\"do_pad\": true, \"crop");
        let padded = SquareProcessor { fit: Fit::Pad, ..larger.clone() };
        assert_eq!(open("preprocessor_config.json", &llava).unwrap(), padded);
        let square = r#"{"image_processor_type": "CLIPImageProcessor", "do_center_crop": false,
            "size": {"height": 336, "width": 336}}"#;
        let stretched = SquareProcessor { fit: Fit::Stretch, ..larger.clone() };
        assert_eq!(open("preprocessor_config.json", square).unwrap(), stretched);
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(
            SquareProcessor::open(dir.path(), &[CLIP, LLAVA]).unwrap(),
            SquareProcessor::clip()
        );
    }

    #[test]
    fn saving_and_opening_changes_nothing() {
        let rule = SquareProcessor {
            size: 96,
            num_tokens: 0,
            fit: Fit::Crop,
            rescale_factor: 1.0 / 65025.0,
            image_mean: [0.1, 0.485, 1.0 / 3.0],
            image_std: [0.229; 3],
        };
        let padded = SquareProcessor { fit: Fit::Pad, ..rule.clone() };
        for rule in [rule, padded, SquareProcessor::clip(), SquareProcessor::blip()] {
            let dir = tempfile::tempdir().unwrap();
            rule.save(dir.path()).unwrap();
            assert_eq!(SquareProcessor::open(dir.path(), &CLASSES).unwrap(), rule);
        }
    }

    #[test]
    fn unsupported_settings_are_errors() {
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
                "`SiglipImageProcessor`; this model supports",
            ),
            (
                r#"{"feature_extractor_type": "ViTFeatureExtractor"}"#,
                "`ViTFeatureExtractor`; this model supports",
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

    #[test]
    fn a_class_that_the_model_does_not_declare_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        SquareProcessor::clip().save(dir.path()).unwrap();
        assert!(SquareProcessor::open(dir.path(), &[CLIP]).is_ok());
        let error = SquareProcessor::open(dir.path(), &[BLIP]).unwrap_err().to_string();
        assert!(error.contains("this model supports BlipImageProcessor"), "{error}");
    }
}
