//! Decodes image files. The content decides which format a file has, not its name.

use std::fs::File;
use std::io::{BufRead, BufReader, Cursor};
use std::path::Path;

use image::ImageFormat;

use super::format::Format;
use super::nifti::Pair;
use super::source::{Source, length, read_at};
use super::{
    Image, ImageHeader, ImageOptions, common, dicom, jpeg, jpeg_2000, jpeg_xl, nifti, png, tiff,
};
use crate::data::decoding_gate::within_bounds;
use crate::data::panics;
use crate::files::{IMAGE_LIMIT, open_regular, read_bounded};
use crate::{Error, Result};

impl Image {
    /// Decodes a file to RGB. The content decides which format it has, not the name.
    ///
    /// - Gray becomes three equal channels; CMYK is converted as Pillow converts it.
    /// - Samples of 9 to 16 bits become 8 by `round(v * 255 / m)`, where m is the largest value of so many bits:
    ///   the full range is mapped, nothing is clipped. The window of `options` maps another range.
    /// - Signed and floating-point samples are mapped from the smallest to the largest of the image.
    /// - Transparent pixels are laid over white, as in transformers.
    /// - An EXIF orientation is applied unless `options` say otherwise; that of TIFF always is, as in Pillow.
    /// - Of an animation the first frame is decoded, of a TIFF file one page, of a DICOM file one frame, of a
    ///   NIfTI volume one slice, as `options` say. Slices are shown in radiological orientation: the patient's
    ///   right is on the left of the image.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, is damaged, or is none of these formats; if a side is longer than 16,384
    /// pixels or the decoded image is larger than 512 MiB. A decoder that panics is such an error, too.
    pub fn decode(path: &Path, options: &ImageOptions) -> Result<Self> {
        let decoded = if let Some(pair) = Pair::of(path) {
            panics::catch(|| pair.decoding_bytes(options))
                .and_then(|bytes| within_bounds(bytes, || panics::catch(|| pair.read(options))))
        } else {
            let mut file = open(path)?;
            // A volume may be larger than the memory: only the slice is read.
            if nifti::is_nifti(peek(path, &mut file)?) {
                panics::catch(|| nifti::decoding_bytes(&mut file, options)).and_then(|bytes| {
                    within_bounds(bytes, || panics::catch(|| nifti::read(file, options)))
                })
            } else {
                Self::from_bytes(&read_bounded(path, IMAGE_LIMIT)?, options)
            }
        };
        decoded.map_err(|cause| invalid(path, cause))
    }

    /// Checks the header of a file: whether [`Image::decode`] supports it, and whether it is cut short. Pixels are
    /// decoded only where nothing else tells whether all are there.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or its header is not one of a supported image.
    pub fn check_header(path: &Path, options: &ImageOptions) -> Result<ImageHeader> {
        if let Some(pair) = Pair::of(path) {
            return panics::catch(|| pair.check(options)).map_err(|cause| invalid(path, cause));
        }
        let mut file = open(path)?;
        let head = peek(path, &mut file)?.to_vec();
        panics::catch(|| match Format::recognize(&head)? {
            Format::Nifti => nifti::check(file, options),
            format => check(format, &mut file, options),
        })
        .map_err(|cause| invalid(path, cause))
    }

    /// Checks the header of an image file in memory; the error is the cause alone.
    pub(in crate::data) fn check_bytes(
        bytes: &[u8],
        options: &ImageOptions,
    ) -> Result<ImageHeader, String> {
        panics::catch(|| match Format::recognize(bytes)? {
            Format::Nifti => nifti::check(Cursor::new(bytes), options),
            format => check(format, &mut Cursor::new(bytes), options),
        })
    }

    /// Decodes an image file in memory, as [`Image::decode`] does.
    ///
    /// # Errors
    ///
    /// As [`Image::decode`]; the error is the cause alone, since there is no file to name.
    pub fn from_bytes(bytes: &[u8], options: &ImageOptions) -> Result<Self, String> {
        let decoding_bytes = panics::catch(|| match Format::recognize(bytes)? {
            // A check reads the slice, too.
            Format::Nifti => nifti::decoding_bytes(Cursor::new(bytes), options),
            format => Ok(check(format, &mut Cursor::new(bytes), options)?.decoding_bytes),
        })?;
        within_bounds(decoding_bytes, || panics::catch(|| decode(bytes, options)))
    }
}

fn decode(bytes: &[u8], options: &ImageOptions) -> Result<Image, String> {
    debug_assert!(!bytes.ends_with(PANIC_ON_PURPOSE), "on purpose");
    match Format::recognize(bytes)? {
        Format::Nifti => nifti::read(Cursor::new(bytes), options),
        Format::Dicom => dicom::read(bytes, options),
        Format::Jpeg => jpeg::decode(bytes, options),
        Format::Png => png::decode(bytes, options),
        Format::Tiff => tiff::decode(bytes, options),
        Format::Jpeg2000 => jpeg_2000::decode(bytes, options),
        Format::JpegXl => jpeg_xl::decode(bytes, options),
        Format::Bmp => common::decode(bytes, ImageFormat::Bmp, options),
        Format::Gif => common::decode(bytes, ImageFormat::Gif, options),
        Format::Pnm => common::decode(bytes, ImageFormat::Pnm, options),
        Format::WebP => common::decode(bytes, ImageFormat::WebP, options),
    }
}

/// Checks the header of a file of any format but NIfTI.
fn check(
    format: Format,
    source: &mut dyn Source,
    options: &ImageOptions,
) -> Result<ImageHeader, String> {
    let name = format.name();
    match format {
        Format::Jpeg => jpeg::check(source, options),
        Format::Png => png::check(source, options),
        Format::Tiff => tiff::check(source, options),
        Format::Bmp => common::check(source, ImageFormat::Bmp, name, options),
        Format::Gif => common::check(source, ImageFormat::Gif, name, options),
        Format::Pnm => common::check(source, ImageFormat::Pnm, name, options),
        Format::WebP => common::check(source, ImageFormat::WebP, name, options),
        Format::Dicom | Format::Jpeg2000 | Format::JpegXl | Format::Nifti => {
            let length = length(source)?;
            if length > IMAGE_LIMIT {
                return Err(format!("is larger than {} MiB", IMAGE_LIMIT >> 20));
            }
            let bytes = read_at(source, 0, length as usize)?;
            match format {
                Format::Dicom => dicom::check(&bytes, options),
                Format::Jpeg2000 => jpeg_2000::check(&bytes, options),
                Format::JpegXl => jpeg_xl::check(&bytes, options),
                _ => nifti::check(Cursor::new(bytes), options),
            }
        }
    }
}

/// A file that ends so makes the decoder panic in builds with debug assertions: tests see what a user sees.
const PANIC_ON_PURPOSE: &[u8] = b"panic on purpose";

fn open(path: &Path) -> Result<BufReader<File>> {
    open_regular(path).map(BufReader::new)
}

/// The first bytes of a file, enough to recognize NIfTI and DICOM.
fn peek<'a>(path: &Path, file: &'a mut BufReader<File>) -> Result<&'a [u8]> {
    file.fill_buf().map_err(|e| Error::io(path, &e))
}

fn invalid(path: &Path, cause: String) -> Error {
    Error::invalid(path.display(), cause)
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
