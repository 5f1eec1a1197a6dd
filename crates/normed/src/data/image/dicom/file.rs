//! One frame of a DICOM file as an image.

use super::color::Palette;
use super::elements::{Elements, PIXEL_DATA, Tag};
use super::frames::Syntax;
use super::shape::{Shape, check_shape};
use super::{color, frames, stored};
use crate::data::image::gray_mapping::GrayMapping;
use crate::data::image::header::ImageHeader;
use crate::data::image::options::{ImageOptions, Window};
use crate::data::image::pixels::{Image, gray};

const TRANSFER_SYNTAX: Tag = (0x0002, 0x0010);
const SAMPLES_PER_PIXEL: Tag = (0x0028, 0x0002);
const PHOTOMETRIC: Tag = (0x0028, 0x0004);
const PLANAR: Tag = (0x0028, 0x0006);
const FRAMES: Tag = (0x0028, 0x0008);
const ROWS: Tag = (0x0028, 0x0010);
const COLUMNS: Tag = (0x0028, 0x0011);
const BITS_ALLOCATED: Tag = (0x0028, 0x0100);
const BITS_STORED: Tag = (0x0028, 0x0101);
const HIGH_BIT: Tag = (0x0028, 0x0102);
const REPRESENTATION: Tag = (0x0028, 0x0103);
const WINDOW_CENTER: Tag = (0x0028, 0x1050);
const WINDOW_WIDTH: Tag = (0x0028, 0x1051);
const INTERCEPT: Tag = (0x0028, 0x1052);
const SLOPE: Tag = (0x0028, 0x1053);
const VOI_FUNCTION: Tag = (0x0028, 0x1056);
const MODALITY_LUT: Tag = (0x0028, 0x3000);
const VOI_LUT: Tag = (0x0028, 0x3010);
const LUT_DESCRIPTOR: Tag = (0x0028, 0x3002);
const LUT_DATA: Tag = (0x0028, 0x3006);
/// Enhanced multi-frame files: the functional groups of all frames and of each frame, and the groups of windows
/// and of rescaling.
const SHARED: Tag = (0x5200, 0x9229);
const PER_FRAME: Tag = (0x5200, 0x9230);
const FRAME_VOI: Tag = (0x0028, 0x9132);
const FRAME_TRANSFORMATION: Tag = (0x0028, 0x9145);

/// Whether `bytes` start as a DICOM file does (PS3.10, 7.1).
pub(in crate::data::image) fn is_dicom(bytes: &[u8]) -> bool {
    bytes.get(128..132) == Some(b"DICM")
}

/// Checks that [`read`] supports a file; pixels are not decoded.
pub(in crate::data::image) fn check(
    bytes: &[u8],
    options: &ImageOptions,
) -> Result<ImageHeader, String> {
    let DicomFile { shape, .. } = DicomFile::open(bytes, options)?;
    let size = [shape.columns, shape.rows];
    // Decoded samples, stored values and values for percentiles.
    let decoder_bytes =
        (shape.pixels() * (2 * shape.samples * size_of::<i32>() + size_of::<f64>())) as u64;
    Ok(ImageHeader::new("DICOM", size, shape.bits_stored.into(), bytes.len() as u64, decoder_bytes))
}

/// The frame of a DICOM file that `options` name.
pub(in crate::data::image) fn read(bytes: &[u8], options: &ImageOptions) -> Result<Image, String> {
    let image = DicomFile::open(bytes, options)?;
    let stored = image.stored_values()?;
    let rgb = match image.photometric {
        Photometric::Monochrome { inverted } => {
            let modality = image.modality_transform()?;
            let mapping =
                image.gray_mapping(options.window, stored.iter().map(|&v| modality.apply(v)))?;
            let flip = if inverted { 255 } else { 0 };
            gray(stored.iter().map(|&v| mapping.to_gray(modality.apply(v)) ^ flip))
        }
        Photometric::Palette => Palette::read(&image.elements)?.colors(&stored),
        Photometric::Rgb => color::rgb(&stored, image.shape.bits_stored),
        Photometric::YbrFull => color::ybr_full(&stored, image.shape.bits_stored),
    };
    Ok(Image { width: image.shape.columns, height: image.shape.rows, rgb })
}

/// The meaning of decoded samples (C.7.6.3.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Photometric {
    Monochrome { inverted: bool },
    Palette,
    Rgb,
    YbrFull,
}

impl Photometric {
    /// The meaning of samples by the PhotometricInterpretation, and the number of samples per pixel.
    fn from_name(name: &str) -> Result<(Self, usize), String> {
        match name {
            "MONOCHROME1" => Ok((Photometric::Monochrome { inverted: true }, 1)),
            "MONOCHROME2" => Ok((Photometric::Monochrome { inverted: false }, 1)),
            "PALETTE COLOR" => Ok((Photometric::Palette, 1)),
            // The decoder of JPEG 2000 reverses its color transform.
            "RGB" | "YBR_ICT" | "YBR_RCT" => Ok((Photometric::Rgb, 3)),
            "YBR_FULL" | "YBR_FULL_422" => Ok((Photometric::YbrFull, 3)),
            other => Err(format!(
                "its PhotometricInterpretation is {other}, which is not supported; convert it to RGB \
                 or MONOCHROME2"
            )),
        }
    }
}

/// A file whose header is read, and the chosen frame.
struct DicomFile<'a> {
    elements: Elements<'a>,
    syntax: Syntax,
    photometric: Photometric,
    shape: Shape,
    frames: usize,
    /// The frame that becomes the image.
    frame: usize,
}

impl<'a> DicomFile<'a> {
    fn open(bytes: &'a [u8], options: &ImageOptions) -> Result<Self, String> {
        let body = bytes.get(132..).unwrap_or_default();
        let (meta, at) = Elements::read(body, true, |(group, _)| group == 2)?;
        let syntax = meta.text(TRANSFER_SYNTAX).ok_or("its transfer syntax is missing")?;
        let syntax = Syntax::named(syntax)?;
        let (elements, _) = Elements::read(&body[at..], syntax != Syntax::Implicit, |_| true)?;

        let word = |tag, name: &str| {
            let words = elements.words(tag).and_then(|words| words.first().copied());
            words.ok_or_else(|| format!("its {name} is missing"))
        };
        if elements.get(PIXEL_DATA).is_none() {
            return Err("has no pixels (7FE0,0010); floating-point pixels are not supported".into());
        }
        let name = elements.text(PHOTOMETRIC).ok_or("its PhotometricInterpretation is missing")?;
        let (photometric, samples) = Photometric::from_name(name)?;
        let shape = Shape {
            rows: word(ROWS, "Rows")?.into(),
            columns: word(COLUMNS, "Columns")?.into(),
            samples,
            bits_allocated: word(BITS_ALLOCATED, "BitsAllocated")?,
            bits_stored: word(BITS_STORED, "BitsStored")?,
            high_bit: word(HIGH_BIT, "HighBit")?,
            signed: word(REPRESENTATION, "PixelRepresentation")? == 1,
            planar: samples > 1 && word(PLANAR, "PlanarConfiguration").is_ok_and(|p| p == 1),
            halved: name == "YBR_FULL_422" && !syntax.is_compressed(),
        };
        check_shape(&shape, word(SAMPLES_PER_PIXEL, "SamplesPerPixel")?, name)?;
        let frames = match elements.get(FRAMES) {
            None => 1.0,
            Some(_) => elements.number(FRAMES).ok_or("its NumberOfFrames is not a number")?,
        };
        // A file cannot have more frames than bytes.
        if !(1.0..=bytes.len() as f64).contains(&frames) {
            return Err(format!(
                "claims {frames} frames, which cannot be in {} bytes",
                bytes.len()
            ));
        }
        let frames = frames as usize;
        let frame = options.frame.resolve(frames, "frame")?;
        let image = Self { elements, syntax, photometric, shape, frames, frame };
        // Fails if the frame is not in the file.
        image.frame_bytes()?;
        if photometric == Photometric::Palette {
            Palette::read(&image.elements)?;
        }
        Ok(image)
    }

    /// The bytes that hold the samples of the frame.
    fn frame_bytes(&self) -> Result<std::borrow::Cow<'a, [u8]>, String> {
        // `open` has checked that the element exists.
        let pixels = self.elements.get(PIXEL_DATA).ok_or("has no pixels")?;
        match self.syntax.is_compressed() {
            true => frames::fragments(&pixels, self.frame, self.frames),
            false => frames::native(&pixels, &self.shape, self.frame, self.frames).map(Into::into),
        }
    }

    /// The stored values of the frame, the samples of each pixel adjacent (PS3.5, 8.1.1).
    fn stored_values(&self) -> Result<Vec<i32>, String> {
        let bytes = self.frame_bytes()?;
        let samples = self.syntax.decode(&bytes, &self.shape)?;
        Ok(stored::values(samples, &self.shape))
    }

    /// Reads a property of the frame: from the file as a whole, or else from the functional group `within` of
    /// the frame, or else from the shared one (C.7.6.16).
    fn read_property<T>(
        &self,
        within: Tag,
        read: impl Fn(&Elements<'a>) -> Result<Option<T>, String>,
    ) -> Result<Option<T>, String> {
        if let Some(value) = read(&self.elements)? {
            return Ok(Some(value));
        }
        for (groups, n) in [(PER_FRAME, self.frame), (SHARED, 0)] {
            let Some(group) = self.elements.item(groups, n)? else { continue };
            let Some(item) = group.item(within, 0)? else { continue };
            if let Some(value) = read(&item)? {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }

    /// The modality transform: from stored values to those that windows are given in (C.11.1).
    fn modality_transform(&self) -> Result<ModalityTransform, String> {
        if let Some(item) = self.elements.item(MODALITY_LUT, 0)? {
            let (first, entries, _) = self.table(&item, self.shape.signed)?;
            return Ok(ModalityTransform::Table { first, entries });
        }
        let rescale = |e: &Elements<'a>| {
            Ok((e.get(SLOPE).is_some() || e.get(INTERCEPT).is_some())
                .then(|| (e.number(SLOPE).unwrap_or(1.0), e.number(INTERCEPT).unwrap_or(0.0))))
        };
        let (slope, intercept) =
            self.read_property(FRAME_TRANSFORMATION, rescale)?.unwrap_or((1.0, 0.0));
        Ok(ModalityTransform::Rescale { slope, intercept })
    }

    /// The mapping from these values to gray levels (C.11.2).
    fn gray_mapping(
        &self,
        window: Window,
        values: impl Iterator<Item = f64>,
    ) -> Result<GrayMapping, String> {
        let mapping = match window {
            Window::At { center, width } => {
                Some(GrayMapping::Linear { center: center.into(), width: width.into() })
            }
            Window::Header => self.voi()?,
            Window::Range | Window::Percentiles => None,
        };
        mapping.map_or_else(|| Ok(GrayMapping::for_window(window, values)), GrayMapping::validated)
    }

    /// The mapping in the file: its first window, or else its VOI LUT.
    fn voi(&self) -> Result<Option<GrayMapping>, String> {
        let window = |e: &Elements<'a>| {
            let Some((center, width)) = e.number(WINDOW_CENTER).zip(e.number(WINDOW_WIDTH)) else {
                return Ok(None);
            };
            match e.text(VOI_FUNCTION).unwrap_or("LINEAR") {
                "LINEAR" => Ok(Some(GrayMapping::Linear { center, width })),
                "LINEAR_EXACT" => Ok(Some(GrayMapping::LinearExact { center, width })),
                "SIGMOID" => Ok(Some(GrayMapping::Sigmoid { center, width })),
                other => Err(format!(
                    "its VOILUTFunction is {other}, which is not supported. Choose a window in data.image.window"
                )),
            }
        };
        if let Some(curve) = self.read_property(FRAME_VOI, window)? {
            return Ok(Some(curve));
        }
        let Some(item) = self.elements.item(VOI_LUT, 0)? else { return Ok(None) };
        let rescaled = self.elements.number(INTERCEPT).is_some_and(|intercept| intercept < 0.0);
        let (first, entries, bits) = self.table(&item, self.shape.signed || rescaled)?;
        let most = f64::from((1_u32 << bits) - 1);
        Ok(Some(GrayMapping::Table { first, entries, most }))
    }

    /// A look-up table (C.11.1.1): the first mapped value, the entries, and their number of bits.
    fn table(&self, item: &Elements<'a>, signed: bool) -> Result<(f64, Vec<u16>, u32), String> {
        let (descriptor, data) = item
            .words(LUT_DESCRIPTOR)
            .zip(item.get(LUT_DATA))
            .ok_or("its look-up table has no LUTDescriptor or no LUTData")?;
        let &[length, first, bits] = descriptor.as_slice() else {
            return Err("its look-up table has an incomplete LUTDescriptor".into());
        };
        let first = if signed { f64::from(first as i16) } else { f64::from(first) };
        if !(8..=16).contains(&bits) {
            return Err(format!(
                "its look-up table has entries of {bits} bits; 8 to 16 are supported"
            ));
        }
        Ok((first, stored::entries(data.value, length)?, bits.into()))
    }
}

/// From stored values to units such as Hounsfield's (C.11.1).
enum ModalityTransform {
    Rescale { slope: f64, intercept: f64 },
    Table { first: f64, entries: Vec<u16> },
}

impl ModalityTransform {
    fn apply(&self, stored: i32) -> f64 {
        let x = f64::from(stored);
        match self {
            Self::Rescale { slope, intercept } => slope * x + intercept,
            Self::Table { first, entries } => {
                let i = ((x - first) as usize).min(entries.len().saturating_sub(1));
                entries.get(i).copied().map_or(0.0, f64::from)
            }
        }
    }
}
