//! Reads a checkpoint in several files, with an index that says which tensor is in which file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::safetensors_reader::read_safetensors;
use super::stored::Checkpoint;
use super::torch_reader::read_torch;
use crate::files::read_json;
use crate::{Error, Result};

/// Reads the files that `path`, a `model.safetensors.index.json`, names.
///
/// # Errors
/// If a file is missing or damaged, or the index does not agree with the files.
pub fn read_sharded(path: &Path) -> Result<Checkpoint> {
    read_indexed(path, read_safetensors)
}

/// Reads the files that `path`, a `pytorch_model.bin.index.json`, names.
///
/// # Errors
/// As [`read_sharded`].
pub fn read_sharded_torch(path: &Path) -> Result<Checkpoint> {
    read_indexed(path, read_torch)
}

#[derive(serde::Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// Reads the files of an index. Index and files must agree on every tensor.
fn read_indexed(path: &Path, read: fn(&Path) -> Result<Checkpoint>) -> Result<Checkpoint> {
    let index: Index = read_json(path)?;
    let dir = path.parent().unwrap_or(Path::new("."));
    let mut tensors = BTreeMap::new();
    for file in index.weight_map.values().collect::<BTreeSet<_>>() {
        if Path::new(file).components().count() != 1 || file.contains(['/', '\\']) || file == ".." {
            let cause = format!("`{file}` is not a file in the same folder");
            return Err(Error::invalid(path.display(), cause));
        }
        let at = dir.join(file);
        if !at.exists() {
            return Err(Error::invalid(at.display(), "no such file").with_remedy(format!(
                "{} names it; download or copy it as well",
                path.file_name().unwrap_or_default().display()
            )));
        }
        for (name, stored) in read(&at)?.tensors {
            let cause = match index.weight_map.get(&name) {
                Some(there) if there == file => {
                    tensors.insert(name, stored);
                    continue;
                }
                Some(there) => format!("holds `{name}`, which the index places in {there}"),
                None => format!("holds `{name}`, which is not in the index"),
            };
            return Err(Error::invalid(at.display(), cause).with_remedy(
                "files and index belong to different checkpoints; copy or download them again",
            ));
        }
    }
    match index.weight_map.iter().find(|(name, _)| !tensors.contains_key(*name)) {
        Some((name, file)) => {
            Err(Error::invalid(dir.join(file).display(), format!("lacks `{name}`"))
                .with_remedy("the index places it here; copy or download the file again"))
        }
        None => Ok(Checkpoint { path: path.to_owned(), tensors, metadata: BTreeMap::new() }),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::tensor::{Precision, Tensor};
    use crate::weights::write_safetensors;

    fn one(dir: &Path, file: &str, name: &str) {
        let tensor = Tensor::new(&[1], vec![1.0]);
        let list = [(name, &tensor)];
        write_safetensors(&dir.join(file), &list, Precision::F32, &BTreeMap::new()).unwrap();
    }

    #[test]
    fn an_index_must_agree_with_its_files() {
        let dir = tempfile::tempdir().unwrap();
        let index = dir.path().join("model.safetensors.index.json");
        one(dir.path(), "1.safetensors", "a");
        one(dir.path(), "2.safetensors", "b");
        one(dir.path(), "3.safetensors", "a");
        fs::write(dir.path().join("cut.safetensors"), [0; 4]).unwrap();
        let with = |map: &str| {
            fs::write(&index, format!(r#"{{"weight_map":{map}}}"#)).unwrap();
            read_sharded(&index).map(|c| c.tensors.len()).map_err(|e| e.to_string())
        };
        assert_eq!(with(r#"{"a":"1.safetensors"}"#), Ok(1));
        assert_eq!(with(r#"{"a":"1.safetensors","b":"2.safetensors"}"#), Ok(2));
        let fails = |map: &str, cause: &str| {
            let error = with(map).unwrap_err();
            assert!(error.contains(cause), "{error}");
        };
        fails(r#"{"a":"1.safetensors","b":"1.safetensors"}"#, "lacks `b`");
        fails(r#"{"b":"1.safetensors"}"#, "which is not in the index");
        fails(r#"{"a":"4.safetensors"}"#, "4.safetensors: no such file");
        fails(r#"{"a":"cut.safetensors"}"#, "cut.safetensors: not a valid safetensors file");
        for outside in ["../1.safetensors", "/1.safetensors", "..", "a/1.safetensors", "a\\\\b", ""]
        {
            fails(&format!(r#"{{"a":"{outside}"}}"#), "not a file in the same folder");
        }
        fails(r#"{"a":1}"#, "model.safetensors.index.json: invalid type");
        // In two files, whether the index names it once or twice.
        fails(r#"{"a":"1.safetensors","c":"3.safetensors"}"#, "which the index places in 1");
        fails(r#"{"a":"1.safetensors","a":"3.safetensors","b":"1.safetensors"}"#, "places in 3");
    }
}
