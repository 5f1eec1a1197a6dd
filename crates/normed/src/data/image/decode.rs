//! Decodes image files: JPEG, PNG, BMP, TIFF, DICOM or NIfTI. The content decides, not the name.

use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, Seek};
use std::path::Path;

use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};

use super::limits::{MAX_DECODED_BYTES, MAX_SIDE};
use super::nifti::Pair;
use super::{Image, ImageHeader, ImageOptions, dicom, jpeg, nifti};
use crate::data::panics;
use crate::files::{IMAGE_LIMIT, open_regular, read_bounded};
use crate::{Error, Result};

impl Image {
    /// Decodes a file to RGB. The content decides which format it has, not the name.
    ///
    /// - Gray becomes three equal channels; CMYK is converted as the decoder does it.
    /// - 16 bits become 8 by `round(v * 255 / 65535)`: the full range is mapped, nothing is clipped.
    /// - Transparent pixels are laid over white, as in transformers.
    /// - An EXIF orientation is not applied, as Pillow applies none.
    /// - Of a DICOM file one frame is decoded, of a NIfTI volume one slice, as `options` say. Slices are
    ///   shown in radiological orientation: the patient's right is on the left of the image.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, is damaged, or is none of these formats; if its pixels are
    /// floating-point numbers, whose range is not known; if a side is longer than 16,384 pixels or the
    /// decoded image is larger than 512 MiB. A decoder that panics is such an error, too.
    pub fn decode(path: &Path, options: &ImageOptions) -> Result<Self> {
        if let Some(pair) = Pair::of(path) {
            return panics::catch(|| pair.read(options)).map_err(|cause| invalid(path, cause));
        }
        let mut file = open(path)?;
        // A volume may be larger than the memory: only the slice is read.
        let decoded = if nifti::is_nifti(peek(path, &mut file)?) {
            panics::catch(|| nifti::read(file, options))
        } else {
            Self::from_bytes(&read_bounded(path, IMAGE_LIMIT)?, options)
        };
        decoded.map_err(|cause| invalid(path, cause))
    }

    /// Checks the header of a file: whether [`Image::decode`] supports it. Pixels are not decoded.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or its header is not one of a supported image.
    pub fn check_header(path: &Path, options: &ImageOptions) -> Result<ImageHeader> {
        if let Some(pair) = Pair::of(path) {
            return panics::catch(|| pair.check(options)).map_err(|cause| invalid(path, cause));
        }
        let mut file = open(path)?;
        let head = peek(path, &mut file)?;
        let checked = if nifti::is_nifti(head) {
            panics::catch(|| nifti::check(file, options))
        } else if dicom::is_dicom(head) {
            let bytes = read_bounded(path, IMAGE_LIMIT)?;
            panics::catch(|| dicom::check(&bytes, options))
        } else {
            let file_bytes = std::fs::metadata(path).map_err(|e| Error::io(path, &e))?.len();
            panics::catch(|| check_common_format(file, file_bytes))
        };
        checked.map_err(|cause| invalid(path, cause))
    }

    /// Checks the header of an image file in memory; the error is the cause alone.
    pub(in crate::data) fn check_bytes(
        bytes: &[u8],
        options: &ImageOptions,
    ) -> Result<ImageHeader, String> {
        panics::catch(|| {
            if nifti::is_nifti(bytes) {
                return nifti::check(Cursor::new(bytes), options);
            }
            if dicom::is_dicom(bytes) {
                return dicom::check(bytes, options);
            }
            check_common_format(Cursor::new(bytes), bytes.len() as u64)
        })
    }

    /// Decodes an image file in memory, as [`Image::decode`] does.
    ///
    /// # Errors
    ///
    /// As [`Image::decode`]; the error is the cause alone, since there is no file to name.
    pub fn from_bytes(bytes: &[u8], options: &ImageOptions) -> Result<Self, String> {
        panics::catch(|| {
            debug_assert!(!bytes.ends_with(PANIC_ON_PURPOSE), "on purpose");
            if nifti::is_nifti(bytes) {
                nifti::read(Cursor::new(bytes), options)
            } else if dicom::is_dicom(bytes) {
                dicom::read(bytes, options)
            } else {
                from_common_format(bytes)
            }
        })
    }
}

/// A file that ends so makes the decoder panic in builds with debug assertions: tests see what a user sees.
const PANIC_ON_PURPOSE: &[u8] = b"panic on purpose";

/// Reads the header of a JPEG, PNG, BMP or TIFF file of `file_bytes` bytes.
fn check_common_format(
    source: impl BufRead + Seek,
    file_bytes: u64,
) -> Result<ImageHeader, String> {
    let reader = reader(source)?;
    let format = match reader.format() {
        Some(ImageFormat::Jpeg) => "JPEG",
        Some(ImageFormat::Png) => "PNG",
        Some(ImageFormat::Bmp) => "BMP",
        _ => "TIFF",
    };
    let decoder = reader.into_decoder().map_err(cause_of)?;
    let (width, height) = decoder.dimensions();
    let color = decoder.original_color_type();
    let bits = color.bits_per_pixel() / u16::from(color.channel_count().max(1));
    let size = [width as usize, height as usize];
    Ok(ImageHeader::new(format, size, bits.into(), file_bytes, decoder.total_bytes()))
}

/// Decodes JPEG, PNG, BMP or TIFF.
fn from_common_format(bytes: &[u8]) -> Result<Image, String> {
    let reader = reader(Cursor::new(bytes))?;
    if reader.format() == Some(ImageFormat::Jpeg) && !jpeg::is_whole(bytes) {
        return Err("cannot be decoded: the file is cut short, its end marker is missing".into());
    }
    let decoded = reader.decode().map_err(cause_of)?;
    let (width, height) = (decoded.width() as usize, decoded.height() as usize);
    let rgb = match decoded {
        DynamicImage::ImageRgb8(image) => image.into_raw(),
        DynamicImage::ImageLuma8(_)
        | DynamicImage::ImageLuma16(_)
        | DynamicImage::ImageRgb16(_) => decoded.into_rgb8().into_raw(),
        DynamicImage::ImageLumaA8(_)
        | DynamicImage::ImageRgba8(_)
        | DynamicImage::ImageLumaA16(_)
        | DynamicImage::ImageRgba16(_) => over_white(&decoded.into_rgba8()),
        other => return Err(format!("pixels of type {:?} are not supported", other.color())),
    };
    Ok(Image { width, height, rgb })
}

fn open(path: &Path) -> Result<BufReader<File>> {
    open_regular(path).map(BufReader::new)
}

/// The first bytes of a file, enough to recognize NIfTI and DICOM.
fn peek<'a>(path: &Path, file: &'a mut BufReader<File>) -> Result<&'a [u8]> {
    // A pipe may give fewer bytes at a time, and is then taken for neither.
    file.fill_buf().map_err(|e| Error::io(path, &e))
}

fn invalid(path: &Path, cause: String) -> Error {
    Error::invalid(path.display(), cause)
}

/// A reader that recognizes the format by the content and keeps the limits.
fn reader<R: BufRead + Seek>(source: R) -> Result<ImageReader<R>, String> {
    let mut reader =
        ImageReader::new(source).with_guessed_format().map_err(|error| error.to_string())?;
    if reader.format().is_none() {
        return Err(
            "is not a supported image: the content is none of JPEG, PNG, BMP, TIFF, DICOM, \
             NIfTI. Convert it to PNG"
                .into(),
        );
    }
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_DECODED_BYTES);
    reader.limits(limits);
    Ok(reader)
}

fn cause_of(error: image::ImageError) -> String {
    format!("cannot be decoded: {error}")
}

/// RGBA over white, with the rounding of Pillow's `alpha_composite`: `(v + (v >> 8)) >> 8` stands
/// for a division by 255, after a half is added.
fn over_white(image: &image::RgbaImage) -> Vec<u8> {
    let over = |value: u8, alpha: u8| {
        let (value, alpha) = (u32::from(value), u32::from(alpha));
        let sum = ((value * alpha + 255 * (255 - alpha)) << 7) + (0x80 << 7);
        ((((sum >> 8) + sum) >> 8) >> 7) as u8
    };
    image.pixels().flat_map(|&image::Rgba([r, g, b, a])| [r, g, b].map(|v| over(v, a))).collect()
}

#[cfg(test)]
pub(in crate::data) mod tests {
    use super::*;

    /// Writes a PNG file whose header is right, and on which the decoder panics.
    pub fn write_image_that_panics(path: &Path) {
        image::RgbImage::new(2, 2).save_with_format(path, ImageFormat::Png).unwrap();
        let bytes = [std::fs::read(path).unwrap().as_slice(), PANIC_ON_PURPOSE].concat();
        std::fs::write(path, bytes).unwrap();
    }

    #[test]
    fn a_decoder_that_panics_is_an_error_of_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("broken.png");
        write_image_that_panics(&path);
        Image::check_header(&path, &ImageOptions::default()).unwrap();
        let error = Image::decode(&path, &ImageOptions::default()).unwrap_err();
        assert!(error.place().ends_with("broken.png"), "{error}");
        assert_eq!(error.cause(), "cannot be decoded: the decoder failed (on purpose)");
        assert_eq!(error.kind(), crate::ErrorKind::Invalid);
    }
}
