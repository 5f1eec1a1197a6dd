//! The choice of the files to fetch.

use glob::Pattern;

use super::RepoKind;
use super::repo::ListedFile;
use crate::{Error, Result};

/// Divides files into those to fetch and the others.
pub(super) fn select(
    id: &impl std::fmt::Display,
    kind: RepoKind,
    files: Vec<ListedFile>,
    include: &[String],
) -> Result<(Vec<ListedFile>, Vec<ListedFile>)> {
    if !include.is_empty() {
        return by_pattern(id, files, include);
    }
    let paths: Vec<String> = files.iter().map(|file| file.path.clone()).collect();
    let (chosen, left): (Vec<_>, Vec<_>) = files.into_iter().partition(|file| match kind {
        RepoKind::Model => is_model_file(&file.path, &paths),
        RepoKind::Dataset => is_dataset_file(&file.path, &paths),
    });
    if chosen.iter().all(|file| is_about(&file.path)) {
        let cause = format!("has no file of a {}", kind.name());
        return Err(Error::invalid(id, cause).with_remedy(match left.first() {
            Some(file) => format!("choose files yourself, as with --include \"{}\"", file.path),
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
) -> Result<(Vec<ListedFile>, Vec<ListedFile>)> {
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
    Ok(files.into_iter().partition(|file| patterns.iter().any(|p| p.matches(&file.path))))
}

/// Whether a file describes the repository itself.
fn is_about(path: &str) -> bool {
    let name = path.to_lowercase();
    !path.contains('/')
        && ["readme", "license", "licence", "notice", "use_policy"]
            .iter()
            .any(|start| name.starts_with(start))
}

/// Whether a file is needed of a model: configs, tokenizer and weights at the top of the repository. Weights are
/// fetched once: safetensors rather than PyTorch files, and no second precision (`model.fp16.safetensors`)
/// or second naming (`consolidated`) next to the usual files.
fn is_model_file(path: &str, all: &[String]) -> bool {
    if path.contains('/') {
        return false;
    }
    let Some((stem, extension)) = path.rsplit_once('.') else { return is_about(path) };
    let any =
        |right: &dyn Fn(&str) -> bool| all.iter().any(|path| !path.contains('/') && right(path));
    match extension {
        "safetensors" => {
            let usual = |path: &str| {
                path.strip_suffix(".safetensors")
                    .is_some_and(|stem| !stem.contains('.') && !stem.starts_with("consolidated"))
            };
            usual(path) || !any(&usual)
        }
        "bin" | "pt" | "pth" => {
            const TRAINING_FILES: [&str; 4] =
                ["training_args", "optimizer", "scheduler", "rng_state"];
            let whole = !stem.starts_with("mm_projector");
            let safetensors = any(&|path| path.ends_with(".safetensors"));
            !(whole && safetensors || TRAINING_FILES.iter().any(|start| stem.starts_with(start)))
        }
        "json" => {
            !["trainer_state", "all_results", "train_results", "eval_results"].contains(&stem)
        }
        "txt" => ["vocab", "merges"].contains(&stem) || is_about(path),
        "model" | "jinja" | "tiktoken" => true,
        _ => is_about(path),
    }
}

/// Whether a file is needed of a data set: parquet files, or everything if there are none.
fn is_dataset_file(path: &str, all: &[String]) -> bool {
    let is_parquet = |path: &str| path.ends_with(".parquet");
    is_parquet(path) || is_about(path) || !all.iter().any(|path| is_parquet(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(kind: RepoKind, paths: &[&str], include: &[&str]) -> Result<Vec<String>> {
        let files =
            paths.iter().map(|path| ListedFile { path: (*path).into(), size: None }).collect();
        let include: Vec<String> = include.iter().map(|text| (*text).into()).collect();
        let (chosen, left) = select(&"a/b", kind, files, &include)?;
        assert_eq!(chosen.len() + left.len(), paths.len());
        Ok(chosen.into_iter().map(|file| file.path).collect())
    }

    #[test]
    fn a_model_is_fetched_once_and_whole() {
        let common = ["README.md", "LICENSE.txt", "config.json", "tokenizer.model", "vocab.txt"];
        let never = [
            ".gitattributes",
            "flax_model.msgpack",
            "tf_model.h5",
            "onnx/model.onnx",
            "onnx/config.json",
            "training_args.bin",
            "trainer_state.json",
            "photo.png",
            "requirements.txt",
        ];
        for (weights, duplicates) in [
            (
                &["model-1.safetensors", "model.safetensors.index.json"][..],
                &["pytorch_model-1.bin", "consolidated.safetensors", "model.fp16.safetensors"][..],
            ),
            (&["pytorch_model-1.bin", "mm_projector.bin"], &[]),
            (&["model.safetensors", "mm_projector.bin"], &["model_base.pth"]),
            (&["model_base.pth"], &[]),
            (&["model.fp16.safetensors"], &[]),
        ] {
            let wanted = [&common[..], weights].concat();
            let all = [&wanted[..], duplicates, &never[..]].concat();
            assert_eq!(chosen(RepoKind::Model, &all, &[]).unwrap(), wanted);
        }
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
