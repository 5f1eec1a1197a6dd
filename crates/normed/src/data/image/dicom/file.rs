//! DICOM files as pictures: the gray or colored pixels of one frame, in 8 bits.
//!
//! Chapters are those of the standard (PS3.3, PS3.5, 2024). Pixels become one to one those of the
//! picture: their aspect ratio, overlays and pixel padding change nothing.

use super::color::Palette;
use super::elements::{Elements, PIXEL_DATA, Tag};
use super::frames::Syntax;
use super::shape::{Shape, check_shape};
use super::{color, frames, stored};
use crate::data::image::gray_mapping::GrayMapping;
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
/// Of enhanced multi-frame files: what is said of all frames, of each, and where windows and rescaling
/// lie in it.
const SHARED: Tag = (0x5200, 0x9229);
const PER_FRAME: Tag = (0x5200, 0x9230);
const FRAME_VOI: Tag = (0x0028, 0x9132);
const FRAME_TRANSFORMATION: Tag = (0x0028, 0x9145);

/// Whether `bytes` begin as a DICOM file does (PS3.10, 7.1).
pub(in crate::data::image) fn is_dicom(bytes: &[u8]) -> bool {
    bytes.get(128..132) == Some(b"DICM")
}

/// Whether a file is one that [`read`] takes; pixels are not decoded.
pub(in crate::data::image) fn check(bytes: &[u8], view: &ImageOptions) -> Result<(), String> {
    DicomFile::open(bytes, view).map(drop)
}

/// The frame of a DICOM file that `view` names.
pub(in crate::data::image) fn read(bytes: &[u8], view: &ImageOptions) -> Result<Image, String> {
    let image = DicomFile::open(bytes, view)?;
    let stored = image.stored()?;
    let rgb = match image.photometric {
        Photometric::Monochrome { inverted } => {
            let modality = image.modality()?;
            let curve = image.curve(view.window, stored.iter().map(|&v| modality.value(v)))?;
            let flip = if inverted { 255 } else { 0 };
            gray(stored.iter().map(|&v| curve.to_gray(modality.value(v)) ^ flip))
        }
        Photometric::Palette => Palette::read(&image.elements)?.colors(&stored),
        Photometric::Rgb => color::rgb(&stored, image.shape.bits_stored),
        Photometric::YbrFull => color::ybr_full(&stored, image.shape.bits_stored),
    };
    Ok(Image { width: image.shape.columns, height: image.shape.rows, rgb })
}

/// What samples mean (C.7.6.3.1.2), once they are decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Photometric {
    Monochrome { inverted: bool },
    Palette,
    Rgb,
    YbrFull,
}

/// A file whose header is read, and what is chosen of it.
struct DicomFile<'a> {
    elements: Elements<'a>,
    syntax: Syntax,
    photometric: Photometric,
    shape: Shape,
    frames: usize,
    /// The one that becomes a picture.
    frame: usize,
}

impl<'a> DicomFile<'a> {
    fn open(bytes: &'a [u8], view: &ImageOptions) -> Result<Self, String> {
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
            return Err("has no pixels (7FE0,0010): only pictures in whole numbers are read".into());
        }
        let name = elements.text(PHOTOMETRIC).ok_or("its PhotometricInterpretation is missing")?;
        let (photometric, samples) = match name {
            "MONOCHROME1" => (Photometric::Monochrome { inverted: true }, 1),
            "MONOCHROME2" => (Photometric::Monochrome { inverted: false }, 1),
            "PALETTE COLOR" => (Photometric::Palette, 1),
            // What JPEG 2000 does to colors its decoder undoes.
            "RGB" | "YBR_ICT" | "YBR_RCT" => (Photometric::Rgb, 3),
            "YBR_FULL" | "YBR_FULL_422" => (Photometric::YbrFull, 3),
            other => {
                return Err(format!(
                    "its PhotometricInterpretation is {other}, which is not read here; convert it to RGB \
                     or MONOCHROME2"
                ));
            }
        };
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
            Some(_) => elements.number(FRAMES).ok_or("its NumberOfFrames is no number")?,
        };
        // More frames than bytes are a claim that nothing stands behind.
        if !(1.0..=bytes.len() as f64).contains(&frames) {
            return Err(format!(
                "claims {frames} frames, which cannot be in {} bytes",
                bytes.len()
            ));
        }
        let frames = frames as usize;
        let frame = view.frame.of(frames, "frame")?;
        let image = Self { elements, syntax, photometric, shape, frames, frame };
        // Whether the frame is there is found out by looking for it.
        image.frame_bytes()?;
        if photometric == Photometric::Palette {
            Palette::read(&image.elements)?;
        }
        Ok(image)
    }

    /// What the frame's samples are stored in.
    fn frame_bytes(&self) -> Result<std::borrow::Cow<'a, [u8]>, String> {
        // It is there: see `open`.
        let pixels = self.elements.get(PIXEL_DATA).ok_or("has no pixels")?;
        match self.syntax.is_compressed() {
            true => frames::fragments(&pixels, self.frame, self.frames),
            false => frames::native(&pixels, &self.shape, self.frame, self.frames).map(Into::into),
        }
    }

    /// The stored values of the frame, each pixel's samples together (PS3.5, 8.1.1).
    fn stored(&self) -> Result<Vec<i32>, String> {
        let bytes = self.frame_bytes()?;
        let samples = self.syntax.decode(&bytes, &self.shape)?;
        Ok(stored::values(samples, &self.shape))
    }

    /// What `tag` in the functional group `within` says of the frame: where the file says nothing of it
    /// as a whole, its own group, else the shared one (C.7.6.16).
    fn with<T>(
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

    /// From stored values to those that windows are said in (C.11.1).
    fn modality(&self) -> Result<Modality, String> {
        if let Some(item) = self.elements.item(MODALITY_LUT, 0)? {
            let (first, entries, _) = self.table(&item, self.shape.signed)?;
            return Ok(Modality::Table { first, entries });
        }
        let rescale = |e: &Elements<'a>| {
            Ok((e.get(SLOPE).is_some() || e.get(INTERCEPT).is_some())
                .then(|| (e.number(SLOPE).unwrap_or(1.0), e.number(INTERCEPT).unwrap_or(0.0))))
        };
        let (slope, intercept) = self.with(FRAME_TRANSFORMATION, rescale)?.unwrap_or((1.0, 0.0));
        Ok(Modality::Rescale { slope, intercept })
    }

    /// From these values to levels (C.11.2).
    fn curve(
        &self,
        window: Window,
        values: impl Iterator<Item = f64>,
    ) -> Result<GrayMapping, String> {
        let said = match window {
            Window::At { center, width } => {
                Some(GrayMapping::Linear { center: center.into(), width: width.into() })
            }
            Window::Header => self.voi()?,
            Window::Range | Window::Percentiles => None,
        };
        said.map_or_else(|| Ok(GrayMapping::for_window(window, values)), GrayMapping::validated)
    }

    /// The file's first window; its VOI LUT, if it has no window.
    fn voi(&self) -> Result<Option<GrayMapping>, String> {
        let window = |e: &Elements<'a>| {
            let Some((center, width)) = e.number(WINDOW_CENTER).zip(e.number(WINDOW_WIDTH)) else {
                return Ok(None);
            };
            match e.text(VOI_FUNCTION).unwrap_or("LINEAR") {
                "LINEAR" => Ok(Some(GrayMapping::Linear { center, width })),
                "LINEAR_EXACT" => Ok(Some(GrayMapping::LinearExact { center, width })),
                "SIGMOID" => Ok(Some(GrayMapping::Sigmoid { center, width })),
                other => {
                    Err(format!("its VOILUTFunction is {other}; data.image.window says another"))
                }
            }
        };
        if let Some(curve) = self.with(FRAME_VOI, window)? {
            return Ok(Some(curve));
        }
        let Some(item) = self.elements.item(VOI_LUT, 0)? else { return Ok(None) };
        let rescaled = self.elements.number(INTERCEPT).is_some_and(|intercept| intercept < 0.0);
        let (first, entries, bits) = self.table(&item, self.shape.signed || rescaled)?;
        let most = f64::from((1_u32 << bits) - 1);
        Ok(Some(GrayMapping::Table { first, entries, most }))
    }

    /// The first value mapped, the entries and their bits of a look-up table (C.11.1.1).
    fn table(&self, item: &Elements<'a>, signed: bool) -> Result<(f64, Vec<u16>, u32), String> {
        let (descriptor, data) = item
            .words(LUT_DESCRIPTOR)
            .zip(item.get(LUT_DATA))
            .ok_or("its look-up table has no LUTDescriptor or no LUTData")?;
        let &[length, first, bits] = descriptor.as_slice() else {
            return Err("its look-up table has no whole LUTDescriptor".into());
        };
        let first = if signed { f64::from(first as i16) } else { f64::from(first) };
        if !(8..=16).contains(&bits) {
            return Err(format!("its look-up table has entries of {bits} bits, and not 8 to 16"));
        }
        Ok((first, stored::entries(data.value, length)?, bits.into()))
    }
}

/// Stored values in units (C.11.1).
enum Modality {
    Rescale { slope: f64, intercept: f64 },
    Table { first: f64, entries: Vec<u16> },
}

impl Modality {
    fn value(&self, stored: i32) -> f64 {
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
