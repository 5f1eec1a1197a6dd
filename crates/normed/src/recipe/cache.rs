//! The `[cache]` section: where the outputs of a frozen image encoder are kept.

use std::path::PathBuf;

use serde::{Serialize, Serializer};

/// The cache of a frozen image encoder. The results of a run are bit-identical with and without it.
///
/// ```toml
/// [cache]
/// place = "run"    # or "off", or a directory that several runs share
/// max_gib = 16
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CacheSpec {
    /// Where the cache is.
    pub place: CachePlace,
    /// Largest size of the outputs of one run, in GiB. A run that needs more runs without a cache.
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
    /// In the run directory until the run is over; `"run"` in a recipe.
    Run,
    /// There is none; `"off"` in a recipe.
    Off,
    /// In a directory that several runs share, and that is never emptied.
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
