//! preprocessor_config.json of the image processors that make every image a square of one size:
//! transformers' `BlipImageProcessor`, `CLIPImageProcessor` and `LlavaImageProcessor`.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::processor_keys::{
    BLIP, CLIP, Channels, Framing, LLAVA, NestedConfig, ProcessorClass, ProcessorConfig,
};
use super::square_processor::{Fit, SquareProcessor};
use crate::data::{Image, ImageProcessor, ImageSize, ImageSource, Resampling};
use crate::files::{read_json, write_atomically};
use crate::{Error, Result};

/// The mean and standard deviation of the images that CLIP was trained on; BLIP and LLaVA use them too.
const CLIP_MEAN: [f32; 3] = [0.481_454_66, 0.457_827_5, 0.408_210_73];
const CLIP_STD: [f32; 3] = [0.268_629_54, 0.261_302_6, 0.275_777_1];

impl SquareProcessor {
    /// The processor of a class with the class's default values.
    pub fn new(class: ProcessorClass) -> Self {
        Self {
            size: class.size,
            num_tokens: 0,
            fit: class.fit,
            resample: Resampling::Bicubic,
            margin: 0,
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

    /// Reads the `image_processor` of processor_config.json in `dir`, or else preprocessor_config.json.
    ///
    /// `classes` are those that the model reads. The first is assumed if no class is named; its defaults
    /// replace absent keys, and an absent file.
    ///
    /// # Errors
    /// If a file cannot be read or parsed, names another class, or asks for a step that
    /// [`ImageProcessor::apply`] does not make; or if both files are there and differ.
    pub fn open(dir: &Path, classes: &[ProcessorClass]) -> Result<Self> {
        Ok(OpenedConfig::open(dir, classes)?.processor)
    }

    /// As [`SquareProcessor::open`], for a model that reads images of `size` x `size` pixels. Unless the user
    /// chose that size (`is_chosen`), a size in the file must be the model's.
    ///
    /// # Errors
    /// As [`SquareProcessor::open`]; or if the file has another size than the model.
    pub fn open_for_size(
        dir: &Path,
        classes: &[ProcessorClass],
        size: usize,
        is_chosen: bool,
    ) -> Result<Self> {
        let OpenedConfig { path, processor, states_size } = OpenedConfig::open(dir, classes)?;
        if states_size && processor.size != size && !is_chosen {
            let own = processor.size;
            let cause = format!(
                "makes images of {own} x {own} pixels, but the model reads {size} x {size}"
            );
            return Err(Error::invalid(path.display(), cause).with_remedy(format!(
                "correct `size` (and `crop_size`) here or `image_size` in config.json; to read images of \
                 another size than the model was trained on, set `image_size = {own}` in the recipe"
            )));
        }
        Ok(Self { size, ..processor })
    }

    /// Whether `dir` has a file that [`SquareProcessor::open`] reads.
    pub fn is_in(dir: &Path) -> bool {
        ["preprocessor_config.json", "processor_config.json"].iter().any(|f| dir.join(f).is_file())
    }

    fn from_config(config: ProcessorConfig, class: ProcessorClass) -> Result<Self, String> {
        let default = Self::new(class);
        for (key, value) in
            [("do_resize", config.do_resize), ("do_convert_rgb", config.do_convert_rgb)]
        {
            if value == Some(false) {
                return Err(format!("{key} is false; only true is supported"));
            }
        }
        let resample = config.resample.map_or(Ok(default.resample), |number| {
            Resampling::from_number(number)
                .ok_or_else(|| format!("resample is {number}; Pillow's filters are 0 to 5"))
        })?;
        let Framing { size, margin, fit } = Framing::of(&config, class)?;
        let mut processor = Self {
            size,
            num_tokens: 0,
            fit,
            resample,
            margin,
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
        let square = |side: usize| json!({"height": side, "width": side});
        let (enlarged, cut) = (self.size + self.margin, square(self.size));
        let (class, size, crop_size) = match self.fit {
            Fit::Stretch => (BLIP, square(enlarged), (self.margin > 0).then_some(cut)),
            Fit::Crop => (CLIP, json!({"shortest_edge": enlarged}), Some(cut)),
            Fit::Pad => (LLAVA, json!({"shortest_edge": enlarged}), Some(cut)),
        };
        let config = ProcessorConfig {
            image_processor_type: Some(class.name.into()),
            size: Some(size),
            do_resize: Some(true),
            resample: Some(self.resample.number()),
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

/// The file of an image processor, and what it says.
struct OpenedConfig {
    /// The file; that of the usual name if there is none.
    path: PathBuf,
    processor: SquareProcessor,
    /// Whether the file has a key for the size of images.
    states_size: bool,
}

impl OpenedConfig {
    /// As [`SquareProcessor::open`].
    fn open(dir: &Path, classes: &[ProcessorClass]) -> Result<Self> {
        let (plain, nested) =
            (dir.join("preprocessor_config.json"), dir.join("processor_config.json"));
        let of_plain = plain.is_file().then(|| read_json(&plain)).transpose()?;
        let of_nested: Option<NestedConfig> =
            nested.is_file().then(|| read_json(&nested)).transpose()?;
        match (of_nested.and_then(|file| file.image_processor), of_plain) {
            (Some(first), Some(second)) => {
                let opened = Self::new(nested, first, classes)?;
                let other = Self::new(plain, second, classes)?;
                if opened.processor == other.processor {
                    return Ok(opened);
                }
                let cause = format!("prepares images otherwise than {}", opened.path.display());
                Err(Error::invalid(other.path.display(), cause).with_remedy(
                    "remove the file that does not belong to the model: transformers 5 reads \
                     processor_config.json, older versions preprocessor_config.json",
                ))
            }
            (Some(config), None) => Self::new(nested, config, classes),
            (None, config) => Self::new(plain, config.unwrap_or_default(), classes),
        }
    }

    fn new(path: PathBuf, config: ProcessorConfig, classes: &[ProcessorClass]) -> Result<Self> {
        let states_size = config.size.is_some() || config.crop_size.is_some();
        let class = config.class(classes);
        match class.and_then(|class| SquareProcessor::from_config(config, class)) {
            Ok(processor) => Ok(Self { path, processor, states_size }),
            Err(cause) => Err(Error::invalid(path.display(), cause)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use safetensors::SafeTensors;

    use super::super::processor_keys::CLIP_EXTRACTOR;
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
    fn a_size_in_the_file_must_be_the_models() {
        let dir = tempfile::tempdir().unwrap();
        let file = |text: &str| {
            std::fs::write(dir.path().join("preprocessor_config.json"), text).unwrap();
        };
        let open = |size, is_chosen| {
            SquareProcessor::open_for_size(dir.path(), &[BLIP, CLIP, LLAVA], size, is_chosen)
        };
        let clip =
            |keys: &str| format!(r#"{{"image_processor_type": "CLIPImageProcessor", {keys}}}"#);
        for text in [
            r#"{"size": 40}"#.to_owned(),
            r#"{"size": {"height": 40, "width": 40}}"#.to_owned(),
            clip(r#""size": 40, "crop_size": 40"#),
            clip(r#""size": {"shortest_edge": 32}, "crop_size": {"height": 40, "width": 40}"#)
                .replace("32", "48"),
            clip(r#""size": {"shortest_edge": 40}, "crop_size": 40, "do_pad": true"#)
                .replace("CLIP", "Llava"),
        ] {
            file(&text);
            let error = open(32, false).unwrap_err().to_string();
            assert!(
                error.contains("40 x 40") && error.contains("reads 32 x 32"),
                "{text}: {error}"
            );
            assert!(
                error.contains("preprocessor_config.json") && error.contains("image_size = 40")
            );
            assert_eq!(open(40, false).unwrap().size, 40, "{text}");
            assert_eq!(open(32, true).unwrap().size, 32, "{text}");
        }
        // A processor that crops does so to 224 pixels if the file does not say the size.
        file(&clip(r#""size": {"shortest_edge": 336}"#));
        assert!(open(336, false).unwrap_err().to_string().contains("224 x 224"));
        file("{}");
        assert_eq!(open(32, false).unwrap().size, 32);
    }

    /// Against transformers' processors (goldens by reference/make_image_goldens.py).
    #[test]
    fn every_filter_and_framing_is_transformers() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/processors.safetensors");
        let bytes = std::fs::read(path).unwrap();
        let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
        let configs = &metadata.metadata().as_ref().unwrap()["configs"];
        let configs: Vec<serde_json::Value> = serde_json::from_str(configs).unwrap();
        let goldens = SafeTensors::deserialize(&bytes).unwrap();
        for (i, config) in configs.iter().enumerate() {
            let rule = open("preprocessor_config.json", &config.to_string()).unwrap();
            for n in 0..2 {
                let picture = goldens.tensor(&format!("picture.{n}")).unwrap();
                let &[height, width, 3] = picture.shape() else { panic!("{:?}", picture.shape()) };
                let image = Image { width, height, rgb: picture.data().to_vec() };
                let theirs = goldens.tensor(&format!("{i}.{n}")).unwrap();
                let theirs =
                    theirs.data().as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b));
                let ours = rule.apply(&image);
                assert_eq!(ours.len(), theirs.len(), "{config}");
                let worst = ours.iter().zip(theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(worst < 1e-5, "{config}, picture {n}: off by {worst}");
            }
        }
    }

    #[test]
    fn two_files_that_differ_are_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let write = |file: &str, text: &str| std::fs::write(dir.path().join(file), text).unwrap();
        write("preprocessor_config.json", r#"{"size": 32, "resample": 3}"#);
        write("processor_config.json", r#"{"image_processor": {"size": 32}}"#);
        assert_eq!(SquareProcessor::open(dir.path(), &CLASSES).unwrap().size, 32);
        write("processor_config.json", r#"{"image_processor": {"size": 32, "resample": 2}}"#);
        let error = SquareProcessor::open(dir.path(), &CLASSES).unwrap_err().to_string();
        assert!(error.contains("otherwise than") && error.contains("remove the file"), "{error}");
        write("processor_config.json", r#"{"processor_class": "BlipProcessor"}"#);
        assert_eq!(SquareProcessor::open(dir.path(), &CLASSES).unwrap().size, 32);
    }

    #[test]
    fn saving_and_opening_changes_nothing() {
        let rule = SquareProcessor {
            size: 96,
            num_tokens: 0,
            fit: Fit::Crop,
            resample: Resampling::Bilinear,
            margin: 3,
            rescale_factor: 1.0 / 65025.0,
            image_mean: [0.1, 0.485, 1.0 / 3.0],
            image_std: [0.229; 3],
        };
        let padded = SquareProcessor { fit: Fit::Pad, ..rule.clone() };
        let stretched = SquareProcessor { fit: Fit::Stretch, ..rule.clone() };
        for rule in [rule, padded, stretched, SquareProcessor::clip(), SquareProcessor::blip()] {
            let dir = tempfile::tempdir().unwrap();
            rule.save(dir.path()).unwrap();
            assert_eq!(SquareProcessor::open(dir.path(), &CLASSES).unwrap(), rule);
        }
    }

    #[test]
    fn unsupported_settings_are_errors() {
        for (text, cause) in [
            (r#"{"size": {"height": 8, "width": 9}}"#, "only a square"),
            (r#"{"size": {"shortest_edge": 224}}"#, "do_center_crop is false"),
            (r#"{"size": {"longest_edge": 224}}"#, "only a square"),
            (r#"{"size": {"shortest_edge": 224, "longest_edge": 300}}"#, "only a square"),
            (r#"{"size": 0}"#, "only a square"),
            (r#"{"size": 1000000}"#, "only a square"),
            (r#"{"resample": 6}"#, "resample is 6"),
            (r#"{"image_mean": [0.5, 0.5]}"#, "one number or three"),
            (r#"{"do_center_crop": true}"#, "no crop_size"),
            (r#"{"do_pad": true, "pad_size": {"height": 400, "width": 400}}"#, "pad_size is"),
            (
                r#"{"image_processor_type": "CLIPImageProcessor", "do_center_crop": false, "do_pad": true}"#,
                "do_center_crop is false",
            ),
            (r#"{"do_resize": false}"#, "do_resize is false"),
            (r#"{"do_center_crop": true, "crop_size": 9, "size": 8}"#, "a black frame"),
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
