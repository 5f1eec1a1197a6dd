//! Small copies of pictures, for a page that holds them in itself.

use image::codecs::jpeg::JpegEncoder;
use image::imageops::{FilterType, resize};
use image::{ExtendedColorType, RgbImage};

use super::html::data_url;
use crate::data::ImageSource;
use crate::{Error, Result};

/// The longest side, in pixels.
const SIDE: u32 = 160;
/// Of 100.
const QUALITY: u8 = 80;

/// A small copy of a picture, as a page holds it in itself.
pub fn thumbnail(source: &ImageSource) -> Result<String> {
    let picture = source.load()?;
    let wrong = |cause: &str| Error::failed("a picture", cause);
    let (width, height) = (picture.width as u32, picture.height as u32);
    let whole = RgbImage::from_raw(width, height, picture.rgb.clone());
    let whole = whole.ok_or_else(|| wrong("has not as many pixels as it says"))?;
    let longest = width.max(height);
    let small = match longest > SIDE {
        true => {
            let side = |n: u32| (n * SIDE).div_ceil(longest).max(1);
            resize(&whole, side(width), side(height), FilterType::Triangle)
        }
        false => whole,
    };
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, QUALITY)
        .encode(&small, small.width(), small.height(), ExtendedColorType::Rgb8)
        .map_err(|e| wrong(&e.to_string()))?;
    Ok(data_url("image/jpeg", &bytes))
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::data::Image;

    #[test]
    fn a_copy_is_small_and_in_the_page() {
        let picture = Image { width: 400, height: 100, rgb: vec![7; 3 * 400 * 100] };
        let text = thumbnail(&ImageSource::Drawn(picture.into())).unwrap();
        assert!(text.starts_with("data:image/jpeg;base64,/9j/") && text.len() < 2000, "{text}");
    }
}
