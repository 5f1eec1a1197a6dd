//! Where the states that a frozen prefix makes of pictures are kept: the `[cache]` section.

use std::path::PathBuf;

use serde::{Serialize, Serializer};

/// The cache of a frozen prefix. It changes no byte of what a run computes.
///
/// ```toml
/// [cache]
/// place = "run"    # or "off", or a directory that several runs share
/// max_gib = 16
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CacheSpec {
    /// Where it is.
    pub place: CachePlace,
    /// The most that the pictures of one run may take, in GiB; a run that needs more does without.
    pub max_gib: f32,
}

impl Default for CacheSpec {
    fn default() -> Self {
        Self { place: CachePlace::Run, max_gib: 16.0 }
    }
}

/// Where a cache is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CachePlace {
    /// In the run directory, until the run is over; `"run"` in a recipe.
    Run,
    /// Nowhere; `"off"` in a recipe.
    Off,
    /// In a directory that several runs share, and that nobody empties.
    At(PathBuf),
}

impl Serialize for CachePlace {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Run => serializer.serialize_str("run"),
            Self::Off => serializer.serialize_str("off"),
            Self::At(path) => path.serialize(serializer),
        }
    }
}
