//! Pictures: decoded, and made ready for a model.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::Result;

/// A decoded picture, 8 bits a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// In pixels.
    pub width: usize,
    /// In pixels.
    pub height: usize,
    /// `[height, width, 3]`.
    pub rgb: Vec<u8>,
}

impl Picture {
    /// Decodes a file: grey, CMYK and 16-bit pictures become RGB.
    pub fn decode(path: &Path) -> Result<Self> {
        todo!("{path:?}")
    }
}

/// How a picture becomes pixel values: preprocessor_config.json's `BlipImageProcessor`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ImageRule {
    /// Height and width of the result.
    pub size: usize,
    /// Mean of each channel, on the scale 0..1.
    pub image_mean: [f32; 3],
    /// Deviation of each channel.
    pub image_std: [f32; 3],
}

impl ImageRule {
    /// Reads preprocessor_config.json in `dir`; BLIP's values where it is absent.
    pub fn open(dir: &Path) -> Result<Self> {
        todo!("{dir:?}")
    }

    /// Pixel values `[3, size, size]`: bicubic (Pillow's), rescaled to 0..1, normalised.
    pub fn apply(&self, picture: &Picture) -> Vec<f32> {
        todo!("{picture:?}")
    }
}
