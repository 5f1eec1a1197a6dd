//! Thumbnails of images, embedded in a page.

use image::RgbImage;
use image::imageops::{FilterType, resize};
use libjpeg_turbo_rs::{PixelFormat, Subsampling, compress};

use super::html::data_url;
use crate::data::ImageSource;
use crate::{Error, Result};

/// The longest side of a thumbnail, in pixels.
const SIDE: u32 = 160;
/// JPEG quality, of 100.
const QUALITY: u8 = 80;

/// A thumbnail of an image, as a data URL.
pub fn thumbnail_url(source: &ImageSource) -> Result<String> {
    let image = source.load()?;
    let failed = |cause: &str| Error::failed("an image of the report", cause);
    let (width, height) = (image.width as u32, image.height as u32);
    let full = RgbImage::from_raw(width, height, image.rgb.clone());
    let full = full.ok_or_else(|| failed("its size does not match its number of pixels"))?;
    let longest = width.max(height);
    let small = match longest > SIDE {
        true => {
            let side = |n: u32| (n * SIDE).div_ceil(longest).max(1);
            resize(&full, side(width), side(height), FilterType::Triangle)
        }
        false => full,
    };
    let (width, height) = (small.width() as usize, small.height() as usize);
    let bytes = compress(&small, width, height, PixelFormat::Rgb, QUALITY, Subsampling::S420)
        .map_err(|e| failed(&e.to_string()))?;
    Ok(data_url("image/jpeg", &bytes))
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::data::Image;

    #[test]
    fn a_thumbnail_is_a_small_data_url() {
        let image = Image { width: 400, height: 100, rgb: vec![7; 3 * 400 * 100] };
        let text = thumbnail_url(&ImageSource::Drawn(image.into())).unwrap();
        assert!(text.starts_with("data:image/jpeg;base64,/9j/") && text.len() < 2000, "{text}");
    }
}
