//! Options for reading images: which frame or slice of a file becomes the image, which values are black and white,
//! and whether it is turned upright.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};
use sha2::{Digest, Sha256};

use crate::Range;

/// How files become images: the `[data.image]` section of a recipe.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct ImageOptions {
    /// Which values become black and white, in DICOM and NIfTI files and in others of more than 8 bits.
    pub window: Window,
    /// Which frame of a DICOM file, which page of a TIFF file, or which volume of a four-dimensional NIfTI file.
    pub frame: SliceIndex,
    /// The plane of the slices of a volume.
    pub axis: Axis,
    /// Which slice of a volume, counted from the feet, the back or the left.
    pub slice: SliceIndex,
    /// What becomes of the EXIF orientation of JPEG, PNG and WebP files.
    #[serde(skip_serializing_if = "OrientationUse::is_default")]
    pub orientation: OrientationUse,
}

/// What becomes of an EXIF orientation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrientationUse {
    /// The image is turned upright, as viewers, `datasets` and `transformers.image_utils.load_image` show it.
    #[default]
    Apply,
    /// The pixels stay as they are stored, as after `PIL.Image.open`.
    Ignore,
}

impl OrientationUse {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl ImageOptions {
    /// Whether these are the default options.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// SHA-256 over the hash of an image, `image`, and these options.
    pub fn hash(&self, image: &[u8]) -> [u8; 32] {
        let Self { window, frame, axis, slice, orientation } = self;
        let orientation = match orientation {
            OrientationUse::Apply => "",
            OrientationUse::Ignore => "as stored ",
        };
        let options = format!("viewed {window:?} {frame:?} {axis:?} {slice:?} {orientation}");
        Sha256::new().chain_update(options).chain_update(image).finalize().into()
    }
}

/// Which values become black and white: the VOI window.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Window {
    /// The window in the file: DICOM's first window, or else its VOI LUT; NIfTI's `cal_min` to `cal_max`.
    /// [`Window::Range`] if the file has none.
    #[default]
    Header,
    /// From the smallest to the largest value of the frame or slice.
    Range,
    /// From the 0.5th to the 99.5th percentile of the frame or slice.
    Percentiles,
    /// A center and a width, in rescaled values (Hounsfield units of a CT).
    At {
        /// The value that becomes middle gray.
        center: f32,
        /// The distance between black and white.
        width: f32,
    },
}

impl Window {
    /// The windows that have a name in recipes.
    pub const NAMED: [(&str, Self); 3] =
        [("header", Self::Header), ("range", Self::Range), ("percentiles", Self::Percentiles)];

    /// The range of a width: DICOM's linear function has no narrower window (PS3.3, C.11.2.1.2).
    pub const WIDTH: Range<f32> = Range::at_least(1.0);
}

/// In words, for the user.
impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header => f.write_str("that of the file"),
            Self::Range => f.write_str("from the smallest to the largest value"),
            Self::Percentiles => f.write_str("from the 0.5th to the 99.5th percentile"),
            Self::At { center, width } => write!(f, "center {center}, width {width}"),
        }
    }
}

impl Serialize for Window {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::At { center, width } => (center, width).serialize(serializer),
            _ => {
                let named = Self::NAMED.iter().find(|(_, window)| window == self);
                named.map(|(name, _)| name).serialize(serializer)
            }
        }
    }
}

/// Which slice or frame of several, counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SliceIndex {
    /// The middle one: number `n / 2` of `n`.
    #[default]
    Middle,
    /// The one with this number.
    At(usize),
}

impl SliceIndex {
    /// The range of a number.
    pub const NUMBERS: Range<usize> = Range::from_to(0, 1_000_000);

    /// The number of the chosen one among `n`. `what` is their name in errors.
    pub(super) fn resolve(self, n: usize, what: &str) -> Result<usize, String> {
        match self {
            Self::Middle => Ok(n / 2),
            Self::At(i) if i < n => Ok(i),
            Self::At(i) => {
                let last = n.saturating_sub(1);
                Err(format!(
                    "has no {what} {i}: its {what}s are 0 to {last}. Choose another in data.image"
                ))
            }
        }
    }
}

impl Serialize for SliceIndex {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Middle => "middle".serialize(serializer),
            Self::At(i) => i.serialize(serializer),
        }
    }
}

/// An anatomical plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Axis {
    /// Across the body, as in most CT and MR images.
    #[default]
    Axial,
    /// Seen from the front.
    Coronal,
    /// Seen from the side.
    Sagittal,
}

impl Axis {
    /// All planes.
    pub const ALL: [Self; 3] = [Self::Axial, Self::Coronal, Self::Sagittal];

    /// The name in recipes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Axial => "axial",
            Self::Coronal => "coronal",
            Self::Sagittal => "sagittal",
        }
    }
}
