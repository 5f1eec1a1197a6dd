//! Decodes image files: JPEG, PNG, BMP, TIFF, DICOM or NIfTI. The content decides, not the name.

use std::fs::File;
use std::io::{BufRead, BufReader, Cursor};
use std::path::Path;

use image::{DynamicImage, ImageFormat, ImageReader, Limits};

use super::limits::{MAX_DECODED_BYTES, MAX_SIDE};
use super::{Image, ImageOptions, dicom, jpeg, nifti};
use crate::files::{IMAGE_LIMIT, read_bounded};
use crate::{Error, Result};

impl Image {
    /// Decodes a file into RGB. Its content decides what it is, not its name.
    ///
    /// - Gray becomes three equal channels; CMYK is converted as the decoder has it.
    /// - 16 bits become 8 by `round(v * 255 / 65535)`: the full range is mapped, nothing is clipped.
    /// - What is transparent is laid over white, as transformers does.
    /// - An orientation in EXIF is not applied, as Pillow applies none.
    /// - Of DICOM a frame, of NIfTI a slice, gzipped or not, with the window that `view` says. Slices lie
    ///   as radiologists see them: the patient's right or front is on the left, front or head on top.
    ///
    /// Floating-point pictures, whose range is not known, are errors, as are broken files, empty
    /// ones, and those longer than 16,384 pixels or larger than 512 MiB when decoded.
    pub fn decode(path: &Path, view: &ImageOptions) -> Result<Self> {
        let mut file = open(path)?;
        // Of a volume, which may be larger than the memory, a slice is read.
        if nifti::is_nifti(head(path, &mut file)?) {
            return nifti::read(file, view).map_err(|cause| wrong(path, cause));
        }
        let bytes = read_bounded(path, IMAGE_LIMIT)?;
        Self::from_bytes(&bytes, view).map_err(|cause| wrong(path, cause))
    }

    /// Whether a file's header is one that [`Image::decode`] takes; pixels are not looked at.
    pub fn check_header(path: &Path, view: &ImageOptions) -> Result<()> {
        let mut file = open(path)?;
        let head = head(path, &mut file)?;
        if nifti::is_nifti(head) {
            return nifti::check(file, view).map_err(|cause| wrong(path, cause));
        }
        if dicom::is_dicom(head) {
            let bytes = read_bounded(path, IMAGE_LIMIT)?;
            return dicom::check(&bytes, view).map_err(|cause| wrong(path, cause));
        }
        let check = || reader(file)?.into_dimensions().map_err(cause);
        check().map(drop).map_err(|cause| wrong(path, cause))
    }

    /// The same of a file in memory; what is wrong with it is all that is said.
    pub(in crate::data) fn check_bytes(bytes: &[u8], view: &ImageOptions) -> Result<(), String> {
        if nifti::is_nifti(bytes) {
            return nifti::check(bytes, view);
        }
        if dicom::is_dicom(bytes) {
            return dicom::check(bytes, view);
        }
        reader(Cursor::new(bytes))?.into_dimensions().map(drop).map_err(cause)
    }

    /// Decodes a file in memory; what is wrong with it is all that is said.
    pub fn from_bytes(bytes: &[u8], view: &ImageOptions) -> Result<Self, String> {
        if nifti::is_nifti(bytes) {
            return nifti::read(bytes, view);
        }
        if dicom::is_dicom(bytes) {
            return dicom::read(bytes, view);
        }
        let reader = reader(Cursor::new(bytes))?;
        if reader.format() == Some(ImageFormat::Jpeg) && !jpeg::is_whole(bytes) {
            return Err(
                "cannot be decoded: the file is cut short, its end marker is missing".into()
            );
        }
        let decoded = reader.decode().map_err(cause)?;
        let (width, height) = (decoded.width() as usize, decoded.height() as usize);
        let rgb = match decoded {
            DynamicImage::ImageRgb8(picture) => picture.into_raw(),
            DynamicImage::ImageLuma8(_)
            | DynamicImage::ImageLuma16(_)
            | DynamicImage::ImageRgb16(_) => decoded.into_rgb8().into_raw(),
            DynamicImage::ImageLumaA8(_)
            | DynamicImage::ImageRgba8(_)
            | DynamicImage::ImageLumaA16(_)
            | DynamicImage::ImageRgba16(_) => over_white(&decoded.into_rgba8()),
            other => return Err(format!("pixels of type {:?} are not supported", other.color())),
        };
        Ok(Self { width, height, rgb })
    }
}

fn open(path: &Path) -> Result<BufReader<File>> {
    File::open(path).map(BufReader::new).map_err(|e| Error::io(path, &e))
}

/// How a file begins, as far as that tells what it is.
fn head<'a>(path: &Path, file: &'a mut BufReader<File>) -> Result<&'a [u8]> {
    // What is no plain file may give less at a time, and is then no volume and no DICOM file.
    file.fill_buf().map_err(|e| Error::io(path, &e))
}

fn wrong(path: &Path, cause: String) -> Error {
    Error::invalid(path.display(), cause)
}

/// A reader that knows the format from the content and keeps the limits.
fn reader<R: std::io::BufRead + std::io::Seek>(source: R) -> Result<ImageReader<R>, String> {
    let mut reader =
        ImageReader::new(source).with_guessed_format().map_err(|error| error.to_string())?;
    if reader.format().is_none() {
        return Err("is not a picture: its content is none of JPEG, PNG, BMP, TIFF, \
             DICOM, NIfTI"
            .into());
    }
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_DECODED_BYTES);
    reader.limits(limits);
    Ok(reader)
}

fn cause(error: image::ImageError) -> String {
    format!("cannot be decoded: {error}")
}

/// RGBA over white, with the rounding of Pillow's `alpha_composite`: `(v + (v >> 8)) >> 8` stands
/// for a division by 255, after a half is added.
fn over_white(picture: &image::RgbaImage) -> Vec<u8> {
    let over = |value: u8, alpha: u8| {
        let (value, alpha) = (u32::from(value), u32::from(alpha));
        let sum = ((value * alpha + 255 * (255 - alpha)) << 7) + (0x80 << 7);
        ((((sum >> 8) + sum) >> 8) >> 7) as u8
    };
    picture.pixels().flat_map(|&image::Rgba([r, g, b, a])| [r, g, b].map(|v| over(v, a))).collect()
}
