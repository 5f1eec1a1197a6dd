//! What of a DICOM file or a NIfTI volume becomes a picture: which frame or slice, and which of its
//! values are black and white.

use serde::{Deserialize, Serialize, Serializer};
use sha2::{Digest, Sha256};

/// The `[data.image]` section of a recipe. Of files that are pictures already (JPEG, PNG, BMP, TIFF) it
/// says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct ImageOptions {
    /// Which values become black and white.
    pub window: Window,
    /// Of a DICOM file with several frames, or of a NIfTI volume of four dimensions.
    pub frame: SliceIndex,
    /// The plane that a volume is cut in.
    pub axis: Axis,
    /// Of a volume, along that axis: from the feet, the back or the left on.
    pub slice: SliceIndex,
}

impl ImageOptions {
    /// Whether it is what stands where a recipe says nothing.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// SHA-256 over `image` and how it is looked at.
    pub fn hash(&self, image: &[u8]) -> [u8; 32] {
        let Self { window, frame, axis, slice } = self;
        let how = format!("viewed {window:?} {frame:?} {axis:?} {slice:?} ");
        Sha256::new().chain_update(how).chain_update(image).finalize().into()
    }
}

/// Which values become black and white.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Window {
    /// What the file says: DICOM's first window or, without one, its VOI LUT; NIfTI's `cal_min` to
    /// `cal_max`. Where it says nothing, [`Window::Range`].
    #[default]
    Header,
    /// The least and the largest value of the frame or slice.
    Range,
    /// Its 0.5th and its 99.5th percentile.
    Percentiles,
    /// A centre and a width, in the values after the file's rescaling (Hounsfield units of a CT).
    At {
        /// What becomes gray.
        center: f32,
        /// From black to white.
        width: f32,
    },
}

impl Window {
    /// The windows that have names.
    pub const NAMED: [(&str, Self); 3] =
        [("header", Self::Header), ("range", Self::Range), ("percentiles", Self::Percentiles)];
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

/// One of several, counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SliceIndex {
    /// Number `n / 2` of `n`.
    #[default]
    Middle,
    /// This one.
    At(usize),
}

impl SliceIndex {
    /// Its number among `n`, which are called `what` where there are too few.
    pub(super) fn of(self, n: usize, what: &str) -> Result<usize, String> {
        match self {
            Self::Middle => Ok(n / 2),
            Self::At(i) if i < n => Ok(i),
            Self::At(i) => {
                let last = n.saturating_sub(1);
                Err(format!("has no {what} {i}: its {what}s are 0 to {last} (see data.image)"))
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

/// A plane through a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Axis {
    /// Across: head and feet are in front of it and behind.
    #[default]
    Axial,
    /// As a face is seen from the front.
    Coronal,
    /// As it is seen from the side.
    Sagittal,
}
