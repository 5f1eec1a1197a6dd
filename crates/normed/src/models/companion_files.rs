//! The files of a model besides its weights: config, tokenizer, chat templates, settings of generation.

use std::fs;
use std::path::Path;

use super::stop_tokens::GENERATION_CONFIG;
use crate::{Error, Result};

/// Extensions of files that hold weights in some form. They are not copied.
const WEIGHTS: [&str; 12] = [
    "safetensors",
    "bin",
    "pth",
    "pt",
    "ckpt",
    "h5",
    "msgpack",
    "onnx",
    "ot",
    "gguf",
    "npz",
    "tflite",
];

/// The configuration of an adapter. A copy would make transformers look for the adapter's weights.
const ADAPTER_CONFIG: &str = "adapter_config.json";

/// The folder where transformers keeps chat templates besides the default one.
const TEMPLATES: &str = "additional_chat_templates";

/// The files of chat templates that stand alone.
const TEMPLATE_FILES: [&str; 2] = ["chat_template.jinja", "chat_template.json"];

/// Files that hold a whole tokenizer, of which one is enough.
const TOKENIZERS: [&str; 4] = ["tokenizer.json", "tokenizer.model", "vocab.txt", "vocab.json"];

/// Files that belong to one tokenizer alone.
const TOKENIZER_PARTS: [&str; 3] = ["merges.txt", "special_tokens_map.json", "added_tokens.json"];

/// The settings and special tokens of a tokenizer, often with its chat template.
const TOKENIZER_CONFIG: &str = "tokenizer_config.json";

/// Whether `dir` holds a tokenizer.
pub(super) fn has_tokenizer(dir: &Path) -> bool {
    TOKENIZERS.iter().any(|file| dir.join(file).is_file())
}

/// Copies all files of the model in `dir` but its weights to `output`, which exists: those at the top, and chat
/// templates. Hidden files and other folders, such as checkpoints, are no part of the model.
///
/// # Errors
/// If a file cannot be read or written.
pub(super) fn copy_companion_files(dir: &Path, output: &Path) -> Result<()> {
    copy_files(dir, output, |name, extension| {
        let is_weights = WEIGHTS.contains(&extension) || name.ends_with(".index.json");
        !is_weights && name != ADAPTER_CONFIG
    })?;
    copy_templates(dir, output)
}

/// Replaces the tokenizer in `output` by the one in `dir`, together with its settings and its chat templates if it has
/// any.
///
/// # Errors
/// If a file cannot be read, removed or written.
pub(super) fn replace_tokenizer(dir: &Path, output: &Path) -> Result<()> {
    let has_templates = TEMPLATE_FILES.iter().any(|file| dir.join(file).is_file());
    let has_config = dir.join(TOKENIZER_CONFIG).is_file();
    let replaced: Vec<_> = (TOKENIZERS.iter().chain(&TOKENIZER_PARTS))
        .chain([&TOKENIZER_CONFIG].into_iter().filter(|_| has_config))
        .chain(TEMPLATE_FILES.iter().filter(|_| has_templates))
        .copied()
        .collect();
    for path in replaced.iter().map(|file| output.join(file)).filter(|path| path.is_file()) {
        fs::remove_file(&path).map_err(|e| Error::io(&path, &e))?;
    }
    copy_files(dir, output, |name, _| replaced.contains(&name))?;
    copy_templates(dir, output)
}

/// Copies generation_config.json from `dir` to `output`, if there is one.
///
/// # Errors
/// If it cannot be read or written.
pub(super) fn copy_generation_config(dir: &Path, output: &Path) -> Result<()> {
    copy_files(dir, output, |name, _| name == GENERATION_CONFIG)
}

/// Copies the chat templates in the folder for those besides the default one.
fn copy_templates(dir: &Path, output: &Path) -> Result<()> {
    let (from, to) = (dir.join(TEMPLATES), output.join(TEMPLATES));
    if !from.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(&to).map_err(|e| Error::io(&to, &e))?;
    copy_files(&from, &to, |_, extension| extension == "jinja")
}

/// Copies the files at the top of `dir` that are not hidden and that `is_meant` accepts, given name and extension.
fn copy_files(dir: &Path, output: &Path, is_meant: impl Fn(&str, &str) -> bool) -> Result<()> {
    for entry in fs::read_dir(dir).map_err(|e| Error::io(dir, &e))? {
        let path = entry.map_err(|e| Error::io(dir, &e))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let extension = path.extension().unwrap_or_default().to_string_lossy();
        // In the hub's cache, files are links.
        if path.is_file() && !name.starts_with('.') && is_meant(&name, &extension) {
            fs::copy(&path, output.join(&name)).map_err(|e| Error::io(&path, &e))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        dir
    }

    /// The files in `dir`, with their text.
    fn files(dir: &Path) -> Vec<(String, String)> {
        let mut found = Vec::new();
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                let inside = files(&path).into_iter();
                found.extend(inside.map(|(file, text)| (format!("{name}/{file}"), text)));
            } else {
                found.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
        found.sort();
        found
    }

    #[test]
    fn what_belongs_to_a_model_is_copied() {
        let base = folder(&[
            ("config.json", "c"),
            ("generation_config.json", "g"),
            ("tokenizer.json", "base"),
            ("tokenizer_config.json", "base"),
            ("chat_template.jinja", "base"),
            ("additional_chat_templates/tool.jinja", "base"),
            ("additional_chat_templates/notes.txt", "-"),
            ("modeling_custom.py", "p"),
            ("model.safetensors", "-"),
            ("model.safetensors.index.json", "-"),
            ("adapter_config.json", "-"),
            (".gitattributes", "-"),
            ("checkpoint-5/config.json", "-"),
            ("onnx/model.onnx", "-"),
        ]);
        let out = tempfile::tempdir().unwrap();
        copy_companion_files(base.path(), out.path()).unwrap();
        let all = files(out.path());
        let names: Vec<_> = all.iter().map(|(name, _)| name.as_str()).collect();
        let kept = [
            "additional_chat_templates/tool.jinja",
            "chat_template.jinja",
            "config.json",
            "generation_config.json",
            "modeling_custom.py",
            "tokenizer.json",
            "tokenizer_config.json",
        ];
        assert_eq!(names, kept);

        // Another tokenizer: of the base's, settings and templates stay that it does not have itself.
        let adapter = folder(&[
            ("tokenizer.model", "adapter"),
            ("added_tokens.json", "adapter"),
            ("adapter_config.json", "-"),
            ("README.md", "-"),
        ]);
        assert!(has_tokenizer(adapter.path()));
        replace_tokenizer(adapter.path(), out.path()).unwrap();
        let all = files(out.path());
        let of = |text: &str| -> Vec<_> {
            all.iter().filter(|(_, t)| t == text).map(|(name, _)| name.as_str()).collect()
        };
        assert_eq!(of("adapter"), ["added_tokens.json", "tokenizer.model"]);
        let stayed = [
            "additional_chat_templates/tool.jinja",
            "chat_template.jinja",
            "tokenizer_config.json",
        ];
        assert_eq!(of("base"), stayed);
        let new = ["chat_template.jinja", "tokenizer.json", "tokenizer_config.json"];
        let adapter = folder(&new.map(|name| (name, "new")));
        replace_tokenizer(adapter.path(), out.path()).unwrap();
        let all = files(out.path());
        let found: Vec<_> =
            all.iter().filter(|(_, text)| text == "new").map(|(name, _)| name.as_str()).collect();
        assert_eq!(found, new, "{all:?}");
        assert!(!all.iter().any(|(name, _)| name == "tokenizer.model"), "{all:?}");
    }
}
