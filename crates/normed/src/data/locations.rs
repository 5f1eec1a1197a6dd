//! Where the rows of a data set are on disk.

use std::path::PathBuf;

use super::DataSpec;
use super::rows::dataset_directory;
use crate::Result;

impl DataSpec {
    /// The file with the rows, or the directory that is searched for them; none where rows are drawn.
    ///
    /// # Errors
    ///
    /// If neither the recipe nor the environment names the directory of the data set.
    pub fn location(&self) -> Result<Option<PathBuf>> {
        let directory = |root: &Option<PathBuf>, name| dataset_directory(root.as_deref(), name);
        Ok(Some(match self {
            Self::Jsonl { file, .. } => file.clone(),
            Self::Parquet { root, .. } => root.clone(),
            Self::VqaRad { root, .. } => directory(root, "vqa-rad")?,
            Self::Slake { root, .. } => directory(root, "slake")?,
            Self::PathVqa { root, .. } => directory(root, "pvqa")?,
            Self::IuXray { root, .. } => directory(root, "iu_xray")?,
            Self::MimicCxr { root, .. } => directory(root, "mimic_cxr")?,
            Self::OpenI { root, .. } => directory(root, "open_i")?,
            Self::Phantom { .. } => return Ok(None),
        }))
    }
}
