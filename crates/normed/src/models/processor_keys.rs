//! The keys of an image processor's config file, and how they make a square of an image.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::square_processor::Fit;

/// An image processor class of transformers. A model declares which classes it reads.
#[derive(Debug, Clone, Copy)]
pub struct ProcessorClass {
    /// How `image_processor_type` begins: some versions of transformers append `Fast` or `Pil`.
    pub(super) name: &'static str,
    /// How it makes images square.
    pub(super) fit: Fit,
    /// The size if the file names none.
    pub(super) size: usize,
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

/// The keys of preprocessor_config.json that are read and written; others do not matter to these classes.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct ProcessorConfig {
    pub image_processor_type: Option<String>,
    #[serde(skip_serializing)]
    pub feature_extractor_type: Option<String>,
    pub size: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crop_size: Option<Value>,
    pub do_resize: Option<bool>,
    pub resample: Option<i64>,
    pub do_rescale: Option<bool>,
    pub rescale_factor: Option<f64>,
    pub do_normalize: Option<bool>,
    pub image_mean: Option<Channels>,
    pub image_std: Option<Channels>,
    pub do_convert_rgb: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub do_center_crop: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub do_pad: Option<bool>,
    #[serde(skip_serializing)]
    pub pad_size: Option<Value>,
}

/// One number for all channels or one for each.
#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "image_mean and image_std take one number or three")]
pub(super) enum Channels {
    One(f32),
    Each([f32; 3]),
}

impl Channels {
    /// The number of each channel.
    pub fn each(self) -> [f32; 3] {
        match self {
            Self::One(value) => [value; 3],
            Self::Each(values) => values,
        }
    }
}

/// processor_config.json, where transformers 5 keeps the same settings.
#[derive(Deserialize)]
pub(super) struct NestedConfig {
    pub image_processor: Option<ProcessorConfig>,
}

impl ProcessorConfig {
    /// Which of the model's classes the file names; the first if it names none.
    ///
    /// # Errors
    /// If it names another one.
    pub fn class(&self, classes: &[ProcessorClass]) -> Result<ProcessorClass, String> {
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

/// How an image becomes a square of one size.
pub(super) struct Framing {
    /// Height and width of the result in pixels.
    pub size: usize,
    /// The pixels of either side that are cut off after the resize.
    pub margin: usize,
    /// How an image that is not square becomes one.
    pub fit: Fit,
}

impl Framing {
    /// As the keys `size`, `do_center_crop`, `crop_size` and `do_pad` say it.
    ///
    /// # Errors
    /// Which key asks for what would not make every image a square of one size.
    pub fn of(config: &ProcessorConfig, class: ProcessorClass) -> Result<Self, String> {
        let crops = config.do_center_crop.unwrap_or(class.fit == Fit::Crop);
        let (enlarged, fit) = match &config.size {
            Some(size) => resized(size, class.fit).ok_or_else(|| wrong_size("size", size))?,
            None => (class.size, class.fit),
        };
        let size = match &config.crop_size {
            _ if !crops => enlarged,
            Some(crop) => square(crop).ok_or_else(|| wrong_size("crop_size", crop))?,
            // Only processors that crop by default have a default size of the crop.
            None if class.fit == Fit::Crop => class.size,
            None => return Err("do_center_crop is true, but there is no crop_size".into()),
        };
        let margin = enlarged.checked_sub(size).ok_or_else(|| {
            format!(
                "crop_size {size} is larger than size {enlarged}, so images would get a black frame"
            )
        })?;
        let pads = config.do_pad == Some(true);
        // LLaVA's processor pads before it resizes; all others fill up after all other steps.
        let pads_to_square = pads && class.name == LLAVA.name;
        if pads && !pads_to_square {
            let filled = config.pad_size.as_ref();
            if let Some(other) = filled.filter(|filled| square(filled) != Some(size)) {
                return Err(format!(
                    "pad_size is {other}; images of {size} x {size} are not padded"
                ));
            }
        }
        if fit == Fit::Crop && !crops && !pads_to_square {
            return Err("do_center_crop is false, so the images would differ in size".into());
        }
        Ok(Self { size, margin, fit: if pads_to_square { Fit::Pad } else { fit } })
    }
}

/// The key `size`: `{"shortest_edge": n}`, the shorter side; `{"height": n, "width": n}`, to which images are
/// stretched; or a number, which is the one or the other by the class's own `fit`.
fn resized(size: &Value, fit: Fit) -> Option<(usize, Fit)> {
    match size.as_object() {
        Some(sides) if sides.len() == 1 => Some((square(sides.get("shortest_edge")?)?, Fit::Crop)),
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
