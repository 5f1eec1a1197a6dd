//! Gray levels of stored values: the modality and VOI transforms, and padding.

use super::elements::{Elements, Tag};
use super::look_up_table::{Descriptor, entries};
use super::properties::FrameProperties;
use super::samples::Samples;
use super::shape::Shape;
use crate::data::image::gray_mapping::{GrayMapping, window_name};
use crate::data::image::options::Window;

/// Padding and its range limit: of whole numbers, of `f32`, of `f64` (C.7.5.1.1.2).
const PADDING: [Tag; 2] = [(0x0028, 0x0120), (0x0028, 0x0121)];
const FLOAT_PADDING: [Tag; 2] = [(0x0028, 0x0122), (0x0028, 0x0124)];
const DOUBLE_PADDING: [Tag; 2] = [(0x0028, 0x0123), (0x0028, 0x0125)];
const WINDOW_CENTER: Tag = (0x0028, 0x1050);
const WINDOW_WIDTH: Tag = (0x0028, 0x1051);
const INTERCEPT: Tag = (0x0028, 0x1052);
const SLOPE: Tag = (0x0028, 0x1053);
const VOI_FUNCTION: Tag = (0x0028, 0x1056);
const MODALITY_LUT: Tag = (0x0028, 0x3000);
const VOI_LUT: Tag = (0x0028, 0x3010);
const LUT_DESCRIPTOR: Tag = (0x0028, 0x3002);
const LUT_DATA: Tag = (0x0028, 0x3006);
/// The functional groups of windows and of rescaling.
const FRAME_VOI: Tag = (0x0028, 0x9132);
const FRAME_TRANSFORMATION: Tag = (0x0028, 0x9145);

/// How the stored values of a frame become gray levels.
pub(super) struct GrayRule {
    modality: ModalityTransform,
    /// The smallest and the largest stored value that stand for no measurement.
    padding: Option<[f64; 2]>,
    /// The mapping to gray levels, if it does not depend on the values.
    mapping: Option<GrayMapping>,
    window: Window,
    /// Whether the smallest value is white.
    inverted: bool,
    /// Whether the file's window is not valid, and therefore ignored.
    pub ignores_window: bool,
}

impl GrayRule {
    /// Reads the rule of a frame. `window` chooses the window.
    pub fn read(
        properties: FrameProperties<'_, '_>,
        shape: &Shape,
        window: Window,
        inverted: bool,
    ) -> Result<Self, String> {
        let modality = ModalityTransform::read(properties, shape)?;
        let (mapping, ignores_window) = match window {
            Window::At { center, width } => {
                let mapping = GrayMapping::Linear { center: center.into(), width: width.into() };
                if !mapping.is_valid() {
                    return Err(format!(
                        "cannot be shown in the window [{center}, {width}] of data.image.window: the \
                         width must be 1 or more"
                    ));
                }
                (Some(mapping), false)
            }
            Window::Header => {
                let of_file = window_of(properties)?;
                let is_valid = of_file.as_ref().is_none_or(GrayMapping::is_valid);
                match of_file.filter(|_| is_valid) {
                    Some(mapping) => (Some(mapping), false),
                    None => (voi_table(properties.elements, shape)?, !is_valid),
                }
            }
            Window::Range | Window::Percentiles => (None, false),
        };
        let padding = padding(properties.elements, shape);
        Ok(Self { modality, padding, mapping, window, inverted, ignores_window })
    }

    /// The window, in words for the user.
    pub fn window_name(&self) -> String {
        window_name(self.mapping.as_ref(), self.window)
    }

    /// The gray levels of a frame. Padding is black.
    pub fn levels(&self, samples: &Samples) -> Vec<u8> {
        let values = || samples.numbers().map(|stored| self.value(stored));
        let of_values;
        let mapping = match &self.mapping {
            Some(mapping) => mapping,
            None => {
                of_values = GrayMapping::for_window(self.window, values());
                &of_values
            }
        };
        match self.inverted {
            true => values().map(|value| mapping.to_inverted_gray(value)).collect(),
            false => values().map(|value| mapping.to_gray(value)).collect(),
        }
    }

    /// The value in the units of windows; NaN of padding.
    fn value(&self, stored: f64) -> f64 {
        match self.padding {
            Some([low, high]) if (low..=high).contains(&stored) => f64::NAN,
            _ => self.modality.apply(stored),
        }
    }
}

/// The padding of a file: the smallest and the largest value.
fn padding(elements: &Elements<'_>, shape: &Shape) -> Option<[f64; 2]> {
    let number = |tag: Tag| {
        let element = elements.get(tag)?;
        let big_endian = element.encoding.big_endian;
        if !shape.floating {
            let word = element.words().next()?;
            // The value's representation is that of the pixels, whatever the element states.
            return Some(if shape.signed { f64::from(word as i16) } else { word.into() });
        }
        let mut bytes = element.value.to_vec();
        if big_endian {
            bytes.reverse();
        }
        match shape.bits_allocated {
            32 => bytes.first_chunk().map(|&bytes| f32::from_le_bytes(bytes).into()),
            _ => bytes.first_chunk().map(|&bytes| f64::from_le_bytes(bytes)),
        }
    };
    let [value, limit] = match (shape.floating, shape.bits_allocated) {
        (false, _) => PADDING,
        (true, 32) => FLOAT_PADDING,
        (true, _) => DOUBLE_PADDING,
    };
    let value = number(value)?;
    let limit = number(limit).unwrap_or(value);
    Some([value.min(limit), value.max(limit)])
}

/// The window of a frame, which may not be valid.
fn window_of(properties: FrameProperties<'_, '_>) -> Result<Option<GrayMapping>, String> {
    properties.find(FRAME_VOI, |e| {
        // What is no number makes the window invalid.
        let number = |tag| e.number(tag, "window").unwrap_or(Some(f64::NAN));
        let Some((center, width)) = number(WINDOW_CENTER).zip(number(WINDOW_WIDTH)) else {
            return Ok(None);
        };
        let function = e.text(VOI_FUNCTION).unwrap_or("LINEAR");
        match function.to_ascii_uppercase().as_str() {
            "LINEAR" => Ok(Some(GrayMapping::Linear { center, width })),
            "LINEAR_EXACT" => Ok(Some(GrayMapping::LinearExact { center, width })),
            "SIGMOID" => Ok(Some(GrayMapping::Sigmoid { center, width })),
            _ => Err(format!(
                "its VOILUTFunction is {function}, which is not supported. Choose a window in data.image.window"
            )),
        }
    })
}

/// The first VOI look-up table of a file.
fn voi_table(elements: &Elements<'_>, shape: &Shape) -> Result<Option<GrayMapping>, String> {
    let Some(item) = elements.item(VOI_LUT, 0)? else { return Ok(None) };
    let intercept = elements.number(INTERCEPT, "RescaleIntercept")?;
    let (descriptor, entries) = table(&item, shape.signed || intercept.is_some_and(|i| i < 0.0))?;
    let most = f64::from((1_u32 << descriptor.bits) - 1);
    Ok(Some(GrayMapping::Table { first: descriptor.first.into(), entries, most }))
}

/// A look-up table of gray values: its descriptor and its entries.
fn table(item: &Elements<'_>, signed: bool) -> Result<(Descriptor, Vec<u16>), String> {
    let descriptor = Descriptor::read(item, LUT_DESCRIPTOR, signed);
    let (descriptor, data) = descriptor
        .zip(item.get(LUT_DATA))
        .ok_or("its look-up table has no complete LUTDescriptor, or no LUTData")?;
    if !(8..=16).contains(&descriptor.bits) {
        let bits = descriptor.bits;
        return Err(format!("its look-up table has entries of {bits} bits; 8 to 16 are supported"));
    }
    let (entries, _) = entries(&data, descriptor.length)?;
    Ok((descriptor, entries))
}

/// From stored values to units such as Hounsfield's (C.11.1).
enum ModalityTransform {
    Rescale { slope: f64, intercept: f64 },
    Table { descriptor: Descriptor, entries: Vec<u16> },
}

impl ModalityTransform {
    fn read(properties: FrameProperties<'_, '_>, shape: &Shape) -> Result<Self, String> {
        if let Some(item) = properties.elements.item(MODALITY_LUT, 0)? {
            let (descriptor, entries) = table(&item, shape.signed)?;
            return Ok(Self::Table { descriptor, entries });
        }
        let rescale = |e: &Elements<'_>| {
            let slope = e.number(SLOPE, "RescaleSlope")?;
            let intercept = e.number(INTERCEPT, "RescaleIntercept")?;
            let is_stated = slope.is_some() || intercept.is_some();
            Ok(is_stated.then(|| (slope.unwrap_or(1.0), intercept.unwrap_or(0.0))))
        };
        let rescaling = properties.find(FRAME_TRANSFORMATION, rescale)?;
        let (slope, intercept) = rescaling.unwrap_or((1.0, 0.0));
        Ok(Self::Rescale { slope, intercept })
    }

    fn apply(&self, stored: f64) -> f64 {
        match self {
            Self::Rescale { slope, intercept } => slope * stored + intercept,
            // Casts saturate beyond the ends. The table has all entries of its descriptor.
            Self::Table { descriptor, entries } => {
                f64::from(entries[descriptor.index(stored as i32)])
            }
        }
    }
}
