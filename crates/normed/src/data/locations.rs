//! Where the rows of a data set are on disk.

use std::path::PathBuf;

use super::rows::dataset_directory;
use super::{DataSpec, open_i, path_vqa, r2gen, slake, tables, vqa_rad};
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

    /// The files with the rows, as far as they exist; none where rows are drawn.
    ///
    /// # Errors
    ///
    /// As [`DataSpec::location`]; if a directory of tables cannot be searched or has none.
    pub fn row_files(&self) -> Result<Vec<PathBuf>> {
        let Some(place) = self.location()? else { return Ok(Vec::new()) };
        let files = match self {
            Self::Jsonl { .. } => vec![place],
            Self::Parquet { .. } => tables::row_files(&place)?,
            Self::VqaRad { .. } => vec![place.join(vqa_rad::ROWS)],
            Self::Slake { .. } => slake::row_files(&place),
            Self::PathVqa { .. } => path_vqa::row_files(&place),
            Self::IuXray { .. } | Self::MimicCxr { .. } => vec![place.join(r2gen::ANNOTATION)],
            Self::OpenI { .. } => {
                [open_i::REPORTS, open_i::PROJECTIONS].map(|name| place.join(name)).into()
            }
            Self::Phantom { .. } => Vec::new(),
        };
        Ok(files.into_iter().filter(|file| file.exists()).collect())
    }
}
