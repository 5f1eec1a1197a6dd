//! One frame of a DICOM file as an image.

use super::color::ColorSpace;
use super::data_set::DataSet;
use super::elements::{DOUBLE_PIXEL_DATA, Element, Elements, FLOAT_PIXEL_DATA, PIXEL_DATA, Tag};
use super::frame::Frame;
use super::gray::GrayRule;
use super::kinds;
use super::palette::Palette;
use super::properties::FrameProperties;
use super::samples::Samples;
use super::shape::{Shape, check_shape};
use super::syntax::PixelCoding;
use crate::data::image::header::{ImageHeader, Remark, of};
use crate::data::image::options::ImageOptions;
use crate::data::image::pixels::{Image, gray};

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

const IGNORED_WINDOW: Remark = Remark(
    "a window that is not valid (a width below 1, or no number); their look-up table or full range is shown instead",
);
const OTHER_COLORS: Remark = Remark(
    "a PhotometricInterpretation that their JPEG data contradict; the colors are those of the JPEG data",
);
const NO_SYNTAX: Remark = Remark("no transfer syntax; it is guessed by their first element");

/// Checks that [`read`] supports a file; pixels are not decoded.
pub(in crate::data::image) fn check(
    bytes: &[u8],
    options: &ImageOptions,
) -> Result<ImageHeader, String> {
    let data_set = DataSet::open(bytes)?;
    let DicomFile { shape, frame, meaning, remarks, number: [n, frames] } =
        DicomFile::open(&data_set, options)?;
    let size = [shape.columns, shape.rows];
    let inflated_bytes = if data_set.is_inflated() { data_set.length() } else { 0 };
    // Besides what the decoder takes, values for percentiles.
    let decoder_bytes =
        frame.decoder_bytes(&shape) + shape.pixels() * size_of::<f64>() + inflated_bytes;
    let bits = shape.bits_stored.into();
    let header = ImageHeader::new("DICOM", size, bits, bytes.len() as u64, decoder_bytes as u64);
    let mut view = Vec::new();
    if frames > 1 {
        view.push(("frame", of(n, frames)));
    }
    if let Meaning::Gray(rule) = &meaning {
        view.push(("window", rule.window_name()));
    }
    Ok(ImageHeader { remarks, view, ..header })
}

/// The frame of a DICOM file that `options` name.
pub(in crate::data::image) fn read(bytes: &[u8], options: &ImageOptions) -> Result<Image, String> {
    let data_set = DataSet::open(bytes)?;
    let file = DicomFile::open(&data_set, options)?;
    let samples = file.frame.decode(&file.shape)?;
    let rgb = match (&file.meaning, &samples) {
        (Meaning::Gray(rule), samples) => gray(rule.levels(samples).into_iter()),
        (Meaning::Palette(palette), Samples::Narrow(samples)) => palette.colors(samples),
        (Meaning::Color(space), Samples::Narrow(samples)) => space.to_rgb(samples, file.frame.bits),
        (_, Samples::Wide(_)) => return Err("has colors of more than 16 bits".into()),
    };
    Ok(Image { width: file.shape.columns, height: file.shape.rows, rgb })
}

/// The meaning of decoded samples (C.7.6.3.1.2), as the file states it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Photometric {
    Monochrome { inverted: bool },
    Palette,
    Color(ColorSpace),
}

impl Photometric {
    /// The meaning of samples by the PhotometricInterpretation, and the number of samples per pixel.
    fn from_name(name: &str) -> Result<(Self, usize), String> {
        match name {
            "MONOCHROME1" => Ok((Self::Monochrome { inverted: true }, 1)),
            "MONOCHROME2" => Ok((Self::Monochrome { inverted: false }, 1)),
            "PALETTE COLOR" => Ok((Self::Palette, 1)),
            // The decoders of JPEG 2000 and JPEG XL reverse their color transforms.
            "RGB" | "YBR_ICT" | "YBR_RCT" | "XYB" => Ok((Self::Color(ColorSpace::Rgb), 3)),
            "YBR_FULL" | "YBR_FULL_422" => Ok((Self::Color(ColorSpace::YbrFull), 3)),
            "YBR_PARTIAL_422" | "YBR_PARTIAL_420" => Ok((Self::Color(ColorSpace::YbrPartial), 3)),
            other => Err(format!(
                "its PhotometricInterpretation is {other}, which is not supported; convert it to RGB \
                 or MONOCHROME2"
            )),
        }
    }
}

/// What becomes of decoded samples.
enum Meaning {
    Gray(GrayRule),
    Palette(Palette),
    Color(ColorSpace),
}

/// A file whose header is read, and the chosen frame.
struct DicomFile<'a> {
    shape: Shape,
    frame: Frame<'a>,
    /// The number of the frame, and how many there are.
    number: [usize; 2],
    meaning: Meaning,
    remarks: Vec<Remark>,
}

impl<'a> DicomFile<'a> {
    fn open(data_set: &'a DataSet<'_>, options: &ImageOptions) -> Result<Self, String> {
        let elements = data_set.elements()?;
        let pixels = [PIXEL_DATA, FLOAT_PIXEL_DATA, DOUBLE_PIXEL_DATA]
            .into_iter()
            .find_map(|tag| Some((tag, elements.get(tag)?)));
        let Some((tag, pixels)) = pixels else {
            return Err(kinds::without_pixels(&elements, data_set.class.as_deref()));
        };
        let name = elements.text(PHOTOMETRIC).ok_or("its PhotometricInterpretation is missing")?;
        let (photometric, samples) = Photometric::from_name(name)?;
        let is_raw = is_raw(data_set.pixels, &pixels);
        let shape = read_shape(&elements, tag, name, samples, is_raw)?;
        let frames = read_frames(&elements, data_set.length())?;
        let n = options.frame.resolve(frames, "frame")?;
        let frame = Frame::find(&elements, &pixels, data_set.pixels, &shape, [n, frames])?;
        let mut remarks = Vec::new();
        if data_set.pixels == PixelCoding::Unnamed {
            remarks.push(NO_SYNTAX);
        }
        let meaning = match photometric {
            Photometric::Monochrome { inverted } => {
                let properties = FrameProperties { elements: &elements, frame: n };
                let rule = GrayRule::read(properties, &shape, options.window, inverted)?;
                remarks.extend(rule.ignores_window.then_some(IGNORED_WINDOW));
                Meaning::Gray(rule)
            }
            Photometric::Palette if shape.is_wide() => {
                return Err("is PALETTE COLOR with more than 16 bits".into());
            }
            Photometric::Palette => Meaning::Palette(Palette::read(&elements, shape.signed)?),
            Photometric::Color(_) if frame.transforms_colors => Meaning::Color(ColorSpace::Rgb),
            Photometric::Color(stated) => {
                let space = stated.corrected(frame.colors);
                remarks.extend((space != stated).then_some(OTHER_COLORS));
                Meaning::Color(space)
            }
        };
        Ok(Self { shape, frame, number: [n, frames], meaning, remarks })
    }
}

/// Whether pixels are uncompressed.
fn is_raw(coding: PixelCoding, pixels: &Element<'_>) -> bool {
    match coding {
        PixelCoding::Native | PixelCoding::Fragments => true,
        PixelCoding::Unnamed => !pixels.undefined,
        PixelCoding::Rle | PixelCoding::Jpeg | PixelCoding::Jpeg2000 | PixelCoding::JpegXl => false,
    }
}

/// Reads the shape of frames whose pixels are under `tag`, and checks it. `name` is the
/// PhotometricInterpretation, which has `samples` samples per pixel.
fn read_shape(
    elements: &Elements<'_>,
    tag: Tag,
    name: &str,
    samples: usize,
    is_raw: bool,
) -> Result<Shape, String> {
    let word = |tag, name: &str| elements.word(tag).ok_or_else(|| format!("its {name} is missing"));
    let floating = tag != PIXEL_DATA;
    let bits_allocated = match tag {
        FLOAT_PIXEL_DATA => 32,
        DOUBLE_PIXEL_DATA => 64,
        _ => word(BITS_ALLOCATED, "BitsAllocated")?,
    };
    let bits_stored = elements.word(BITS_STORED).filter(|_| !floating).unwrap_or(bits_allocated);
    let high_bit = elements.word(HIGH_BIT).filter(|_| !floating);
    let shape = Shape {
        rows: word(ROWS, "Rows")?.into(),
        columns: word(COLUMNS, "Columns")?.into(),
        samples,
        bits_allocated,
        bits_stored,
        high_bit: high_bit.unwrap_or(bits_stored.saturating_sub(1)),
        signed: elements.word(REPRESENTATION) == Some(1),
        floating,
        planar: samples > 1 && elements.word(PLANAR) == Some(1),
        halved: name.ends_with("_422") && is_raw,
    };
    if name.ends_with("_420") && is_raw {
        return Err(format!(
            "is {name} without compression, which is not supported; convert it to RGB"
        ));
    }
    check_shape(&shape, elements.word(SAMPLES_PER_PIXEL).unwrap_or(samples as u16), name)?;
    Ok(shape)
}

/// The number of frames of a file of so many bytes; files without a number, or with 0, have one.
fn read_frames(elements: &Elements<'_>, bytes: usize) -> Result<usize, String> {
    let frames = elements.number(FRAMES, "NumberOfFrames")?.filter(|&frames| frames != 0.0);
    let frames = frames.unwrap_or(1.0);
    // A file cannot have more frames than bits.
    match (1.0..=8.0 * bytes as f64).contains(&frames) {
        true => Ok(frames as usize),
        false => Err(format!("claims {frames} frames, which cannot be in {bytes} bytes")),
    }
}
