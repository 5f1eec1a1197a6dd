//! What turns a decoded image into a model's pixel values. Each model brings its own.

use std::fmt;
use std::path::Path;

use super::{Image, ImageSize, ImageSource};
use crate::Result;

/// Turns decoded images into a model's pixel values, as an image processor of transformers does.
pub trait ImageProcessor: fmt::Debug + Send + Sync {
    /// The size of the pixel values of `image`.
    ///
    /// # Errors
    /// If the size depends on the image, and the image cannot be read.
    fn processed_size(&self, image: &ImageSource) -> Result<ImageSize>;

    /// The largest size that pixel values can have: plans of memory and time assume it.
    fn largest_size(&self) -> ImageSize;

    /// The positions that an image of this processed size takes in a language model's prompt; 0 where images
    /// are not part of the prompt.
    fn num_tokens(&self, size: ImageSize) -> usize;

    /// The image at its processed size.
    fn resize(&self, image: &Image) -> Image;

    /// Pixel values `[3, H, W]` of an image that has its processed size.
    fn normalize(&self, resized: &Image) -> Vec<f32>;

    /// Pixel values `[3, H, W]`: resized, then normalized.
    fn apply(&self, image: &Image) -> Vec<f32> {
        self.normalize(&self.resize(image))
    }

    /// Writes preprocessor_config.json into `dir`, as transformers reads it.
    ///
    /// # Errors
    /// If the file cannot be written.
    fn save(&self, dir: &Path) -> Result<()>;
}
