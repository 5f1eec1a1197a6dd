//! What a run was made with: the program, the machine and the data files.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::timestamp::utc_now;
use crate::Result;
use crate::build::FULL_VERSION;
use crate::data::DataSection;
use crate::files::{hash_file, hex};

/// What a run was made with. Two runs that differ in nothing but `began` have the same weights, predictions and
/// scores.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// The version of normed, with its commit and the commit's date where they are known.
    pub version: String,
    /// When the process began that completed the run, in UTC (RFC 3339).
    pub began: String,
    /// The name of the processor.
    pub processor: String,
    /// The SHA-256, in hexadecimal, of each file with rows of the data set, by name; empty where they are drawn.
    pub data_files: BTreeMap<String, String>,
}

impl Provenance {
    /// Records this program, this machine, this moment, and the data files as they are.
    ///
    /// # Errors
    ///
    /// If the data files cannot be found or read. A file that does not exist is left out: opening the data set
    /// reports it.
    pub fn record(data: &DataSection) -> Result<Self> {
        let root = data.set.location()?.filter(|place| place.is_dir());
        let mut data_files = BTreeMap::new();
        for file in data.set.row_files()?.iter().filter(|file| file.is_file()) {
            let name = match &root {
                Some(root) => file.strip_prefix(root).unwrap_or(file),
                None => file.file_name().map_or(file.as_path(), Path::new),
            };
            let mut hash = Sha256::new();
            hash_file(file, &mut hash)?;
            data_files.insert(name.to_string_lossy().into_owned(), hex(&hash.finalize()));
        }
        Ok(Self {
            version: FULL_VERSION.to_owned(),
            began: utc_now(),
            processor: processor_name(),
            data_files,
        })
    }

    /// As comments of a TOML file, a line each.
    pub fn to_toml_comments(&self) -> String {
        let Self { version, began, processor, data_files } = self;
        let mut lines = vec![format!("normed {version}, {began}, {processor}")];
        lines.extend(data_files.iter().map(|(name, hash)| format!("{name}: SHA-256 {hash}")));
        // A line end in a name would end the comment.
        let plain = |line: &String| line.replace(char::is_control, "?");
        lines.iter().map(|line| format!("# {}\n", plain(line))).collect()
    }
}

/// The processor's name as it gives it itself; on others than x86 the name of the architecture.
fn processor_name() -> String {
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    {
        let brand = raw_cpuid::CpuId::new().get_processor_brand_string();
        let name = brand.map(|brand| brand.as_str().trim().to_owned());
        if let Some(name) = name.filter(|name| !name.is_empty()) {
            return name;
        }
    }
    std::env::consts::ARCH.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{DataSpec, OnBadExample};

    #[test]
    fn data_files_are_named_without_their_place_and_have_checksums() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("rows.jsonl");
        let record = || {
            let (file, image_root) = (file.clone(), None);
            let on_bad_example = OnBadExample::Stop;
            Provenance::record(&DataSpec::Jsonl { file, image_root, on_bad_example }.into())
        };
        assert!(record().unwrap().data_files.is_empty());
        std::fs::write(&file, "abc").unwrap();
        let made = record().unwrap();
        // The example of FIPS 180-4.
        let hash = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let want = BTreeMap::from([("rows.jsonl".to_owned(), hash.to_owned())]);
        assert_eq!(made.data_files, want);
        assert_eq!(made.version, FULL_VERSION);
        assert!(!made.processor.is_empty());
    }

    #[test]
    fn comments_stay_comments() {
        let made = Provenance {
            version: "1".into(),
            began: "2026-12-01T09:00:00Z".into(),
            processor: "x".into(),
            data_files: BTreeMap::from([("a\nseed = 7".into(), "00".into())]),
        };
        let text = made.to_toml_comments();
        assert_eq!(text, "# normed 1, 2026-12-01T09:00:00Z, x\n# a?seed = 7: SHA-256 00\n");
        assert!(toml::from_str::<toml::Table>(&text).unwrap().is_empty());
    }
}
