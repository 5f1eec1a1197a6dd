//! The choice of the files to fetch.

use std::collections::BTreeSet;

use glob::Pattern;

use super::RepoKind;
use super::model_files::{ModelFiles, NamedFiles};
use super::repo::{LeftOutFile, LeftOutReason, ListedFile};
use crate::{Error, Result};

/// Divides files into those to fetch and the others. `named` is what the repository's own files name.
///
/// # Errors
/// If no file of a model or a data set is among them, or if a pattern is wrong or matches no file.
pub(super) fn select(
    id: &impl std::fmt::Display,
    kind: RepoKind,
    files: Vec<ListedFile>,
    include: &[String],
    named: &NamedFiles,
) -> Result<(Vec<ListedFile>, Vec<LeftOutFile>)> {
    if !include.is_empty() {
        return by_pattern(id, files, include);
    }
    let paths: BTreeSet<String> = files.iter().map(|file| file.path.clone()).collect();
    let model = ModelFiles::new(&paths, named);
    let (mut chosen, mut left) = (Vec::new(), Vec::new());
    for file in files {
        let reason = match kind {
            _ if is_about(&file.path) => None,
            RepoKind::Model => model.reason_against(&file.path),
            RepoKind::Dataset => dataset_reason_against(&file.path, &paths),
        };
        match reason {
            None => chosen.push(file),
            Some(reason) => left.push(LeftOutFile { file, reason }),
        }
    }
    if chosen.iter().all(|file| is_about(&file.path)) {
        let cause = format!("has no file of a {}", kind.name());
        return Err(Error::invalid(id, cause).with_remedy(match left.first() {
            Some(LeftOutFile { file, .. }) => {
                format!("choose files yourself, as with --include \"{}\"", file.path)
            }
            None => "the repository is empty".into(),
        }));
    }
    Ok((chosen, left))
}

/// Chooses the files that match a pattern. `*` also matches `/`, as in Python's `huggingface_hub`.
fn by_pattern(
    id: &impl std::fmt::Display,
    files: Vec<ListedFile>,
    include: &[String],
) -> Result<(Vec<ListedFile>, Vec<LeftOutFile>)> {
    let mut patterns = Vec::new();
    for text in include {
        let pattern = Pattern::new(text).map_err(|error| {
            Error::invalid(format!("--include \"{text}\""), error)
                .with_remedy("write it like \"*.json\"")
        })?;
        if !files.iter().any(|file| pattern.matches(&file.path)) {
            let some: Vec<_> = files.iter().take(8).map(|file| file.path.as_str()).collect();
            let and = if files.len() > some.len() { ", ..." } else { "" };
            return Err(Error::invalid(id, format!("no file matches \"{text}\""))
                .with_remedy(format!("the repository has {}{and}", some.join(", "))));
        }
        patterns.push(pattern);
    }
    let (chosen, left): (Vec<_>, Vec<_>) =
        files.into_iter().partition(|file| patterns.iter().any(|p| p.matches(&file.path)));
    let left_out = |file| LeftOutFile { file, reason: LeftOutReason::NotIncluded };
    Ok((chosen, left.into_iter().map(left_out).collect()))
}

/// Whether a file describes the repository itself.
fn is_about(path: &str) -> bool {
    let name = path.to_lowercase();
    !path.contains('/')
        && ["readme", "license", "licence", "notice", "use_policy"]
            .iter()
            .any(|start| name.starts_with(start))
}

/// Why a file is not needed of a data set, which is its parquet files, or everything if there are none.
fn dataset_reason_against(path: &str, all: &BTreeSet<String>) -> Option<LeftOutReason> {
    let is_parquet = |path: &str| path.ends_with(".parquet");
    let needed = is_parquet(path) || !all.iter().any(|path| is_parquet(path));
    (!needed).then_some(LeftOutReason::BesideParquet)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(kind: RepoKind, paths: &[&str], include: &[&str]) -> Result<Vec<String>> {
        let files =
            paths.iter().map(|path| ListedFile { path: (*path).into(), size: None }).collect();
        let include: Vec<String> = include.iter().map(|text| (*text).into()).collect();
        let (chosen, left) = select(&"a/b", kind, files, &include, &NamedFiles::default())?;
        assert_eq!(chosen.len() + left.len(), paths.len());
        Ok(chosen.into_iter().map(|file| file.path).collect())
    }

    #[test]
    fn a_repository_without_a_model_is_an_error() {
        let error = chosen(RepoKind::Model, &["README.md", "x.gguf"], &[]).unwrap_err().to_string();
        assert!(error.contains("no file of a model") && error.contains("x.gguf"), "{error}");
    }

    #[test]
    fn a_data_set_is_its_parquet_or_all_of_it() {
        let paths = ["README.md", "data/train-0.parquet", "raw.zip"];
        assert_eq!(chosen(RepoKind::Dataset, &paths, &[]).unwrap(), paths[..2]);
        let paths = ["README.md", "train.json", "imgs/a.jpg"];
        assert_eq!(chosen(RepoKind::Dataset, &paths, &[]).unwrap(), paths);
    }

    #[test]
    fn patterns_choose_alone() {
        let paths = ["config.json", "onnx/config.json", "model.safetensors"];
        assert_eq!(chosen(RepoKind::Model, &paths, &["*.json"]).unwrap(), paths[..2]);
        assert_eq!(chosen(RepoKind::Model, &paths, &["onnx/*", "model.*"]).unwrap(), paths[1..]);
        let error = chosen(RepoKind::Model, &paths, &["*.bin"]).unwrap_err().to_string();
        assert!(
            error.contains("no file matches \"*.bin\"") && error.contains("config.json"),
            "{error}"
        );
        assert!(chosen(RepoKind::Model, &paths, &["[a"]).is_err());
    }
}
