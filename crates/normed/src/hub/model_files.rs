//! Which files of a repository a model consists of.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::repo::LeftOutReason;
use crate::files::read_json;

/// The whole weights of a model, in the order in which they are preferred. The same order as in opening a model.
const WHOLE: [&str; 4] = [
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
];

/// Starts of names of weights that belong beside a model's whole weights.
const BESIDE: [&str; 3] = ["adapter_model", "mm_projector", "non_lora_trainables"];

/// Starts of names of files that a training run leaves behind.
const TRAINING: [&str; 9] = [
    "training_args",
    "optimizer",
    "scheduler",
    "rng_state",
    "scaler",
    "trainer_state",
    "all_results",
    "train_results",
    "eval_results",
];

/// The folder of chat templates beside the default one.
const TEMPLATES: &str = "additional_chat_templates/";

/// What the files of a repository name.
#[derive(Debug, Default)]
pub(super) struct NamedFiles {
    /// The image encoder that config.json calls `mm_vision_tower`.
    pub tower: Option<String>,
    /// The files of weights that an index names.
    pub shards: BTreeSet<String>,
}

#[derive(Deserialize)]
struct Index {
    weight_map: std::collections::BTreeMap<String, String>,
}

impl NamedFiles {
    /// The files that must be read before the choice can be made.
    pub fn sources(paths: &BTreeSet<String>) -> Vec<String> {
        let mut sources = Vec::new();
        if paths.contains("config.json") && paths.iter().any(|path| path.contains('/')) {
            sources.push("config.json".to_owned());
        }
        sources
            .extend(weights(paths, "").filter(|name| name.ends_with(".json")).map(str::to_owned));
        sources
    }

    /// Reads the files [`NamedFiles::sources`] in `dir`. Whoever opens the model reports what is wrong with them.
    pub fn read(dir: &Path, sources: &[String]) -> Self {
        let mut named = Self::default();
        for source in sources {
            let path = dir.join(source);
            if source == "config.json" {
                let json: Option<Value> = read_json(&path).ok();
                let tower = json.as_ref().and_then(|json| json["mm_vision_tower"].as_str());
                named.tower = tower.map(str::to_owned);
            } else if let Ok(Index { weight_map }) = read_json(&path) {
                named.shards.extend(weight_map.into_values());
            }
        }
        named
    }

    /// The folder in the repository, with a slash at its end, where the image encoder is looked for: at the path
    /// that config.json has, or under the last part of that path.
    fn tower_folder(&self, paths: &BTreeSet<String>) -> Option<String> {
        let parts = |tower: &str| -> Vec<String> {
            tower.split('/').filter(|part| !matches!(*part, "" | ".")).map(str::to_owned).collect()
        };
        let parts = parts(self.tower.as_deref()?);
        let last = parts.last().cloned()?;
        let folders = [parts.join("/"), last].map(|folder| format!("{folder}/"));
        folders.into_iter().find(|folder| paths.iter().any(|path| path.starts_with(folder)))
    }
}

/// The files of a model in a repository.
pub(super) struct ModelFiles<'a> {
    paths: &'a BTreeSet<String>,
    named: &'a NamedFiles,
    /// The folder of the image encoder.
    tower: Option<String>,
}

impl<'a> ModelFiles<'a> {
    /// The files among `paths`, all paths of the repository.
    pub fn new(paths: &'a BTreeSet<String>, named: &'a NamedFiles) -> Self {
        Self { paths, named, tower: named.tower_folder(paths) }
    }

    /// Why a file is not needed; none if it is: configs, tokenizer and weights at the top of the repository and in
    /// the folder of the image encoder. Weights are fetched once: safetensors rather than PyTorch files, and no
    /// second precision (`model.fp16.safetensors`) or second naming (`consolidated`) next to the usual files.
    pub fn reason_against(&self, path: &str) -> Option<LeftOutReason> {
        let tower = self.tower.as_deref().filter(|folder| path.starts_with(*folder));
        let folder = tower.unwrap_or_default();
        let name = &path[folder.len()..];
        if name.contains('/') {
            let is_template = name.starts_with(TEMPLATES) && name.ends_with(".jinja");
            return (!is_template).then_some(LeftOutReason::UnnamedFolder);
        }
        let Some((stem, extension)) = name.rsplit_once('.') else {
            return Some(LeftOutReason::NotPart);
        };
        if TRAINING.iter().any(|start| stem.starts_with(start)) {
            return Some(LeftOutReason::TrainingState);
        }
        match extension {
            "safetensors" | "bin" | "pt" | "pth" => self.reason_against_weights(folder, name),
            "json" if self.is_index_of_others(folder, name) => Some(LeftOutReason::SameWeights),
            "json" | "model" | "jinja" | "tiktoken" => None,
            "txt" => (!["vocab", "merges"].contains(&stem)).then_some(LeftOutReason::NotPart),
            "h5" | "msgpack" | "gguf" | "onnx" | "ot" | "ckpt" | "npz" | "ggml" => {
                Some(LeftOutReason::OtherFormat)
            }
            _ => Some(LeftOutReason::NotPart),
        }
    }

    fn reason_against_weights(&self, folder: &str, name: &str) -> Option<LeftOutReason> {
        let has = |name: &str| self.paths.contains(&format!("{folder}{name}"));
        let (stem, extension) = name.rsplit_once('.').unwrap_or((name, ""));
        let is_safetensors = extension == "safetensors";
        if BESIDE.iter().any(|start| stem.starts_with(start)) {
            let twin = !is_safetensors && has(&format!("{stem}.safetensors"));
            return twin.then_some(LeftOutReason::SameWeights);
        }
        let needed = match weights(self.paths, folder).next() {
            Some(index) if index.ends_with(".json") && folder.is_empty() => {
                match self.named.shards.is_empty() {
                    true => is_usual(stem) && is_safetensors == index.contains("safetensors"),
                    false => self.named.shards.contains(name),
                }
            }
            Some(whole) => is_usual(stem) && is_safetensors == whole.contains(".safetensors"),
            None => self.is_best_of_others(folder, name, is_safetensors),
        };
        (!needed).then_some(LeftOutReason::SameWeights)
    }

    /// Whether weights under no known name are to be fetched: safetensors rather than PyTorch files, the usual
    /// names rather than others.
    fn is_best_of_others(&self, folder: &str, name: &str, is_safetensors: bool) -> bool {
        let others = || {
            let inside = self.paths.iter().filter_map(|path| path.strip_prefix(folder));
            let whole = inside.filter(|name| !name.contains('/'));
            whole
                .filter_map(|name| name.strip_suffix(".safetensors"))
                .filter(|stem| !BESIDE.iter().any(|start| stem.starts_with(start)))
        };
        let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
        match is_safetensors {
            true => is_usual(stem) || !others().any(is_usual),
            false => others().next().is_none(),
        }
    }

    /// Whether it is the index of weights that are left out.
    fn is_index_of_others(&self, folder: &str, name: &str) -> bool {
        let is_index = name.ends_with(".index.json");
        is_index && weights(self.paths, folder).next().is_some_and(|chosen| chosen != name)
    }
}

/// Whether weights have neither a second precision (`model.fp16`) nor a second naming.
fn is_usual(stem: &str) -> bool {
    !stem.contains('.') && !stem.starts_with("consolidated")
}

/// The file of a model's whole weights in a folder, or their index; at most one.
fn weights<'p>(paths: &'p BTreeSet<String>, folder: &str) -> impl Iterator<Item = &'p str> {
    let found = WHOLE.iter().find_map(|name| paths.get(&format!("{folder}{name}")));
    found.map(|path| path.rsplit('/').next().unwrap_or(path)).into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The files that are fetched, and the others with the reason.
    fn judged(all: &[&str], named: &NamedFiles) -> (Vec<String>, Vec<(String, LeftOutReason)>) {
        let paths: BTreeSet<String> = all.iter().map(|path| (*path).to_owned()).collect();
        let model = ModelFiles::new(&paths, named);
        let (mut chosen, mut left) = (Vec::new(), Vec::new());
        for path in all {
            match model.reason_against(path) {
                None => chosen.push((*path).to_owned()),
                Some(reason) => left.push(((*path).to_owned(), reason)),
            }
        }
        (chosen, left)
    }

    #[test]
    fn a_model_is_fetched_once_and_whole() {
        let common = ["config.json", "tokenizer.model", "vocab.txt", "chat_template.jinja"];
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
        let bins = ["pytorch_model-1.bin", "pytorch_model.bin.index.json"];
        for (weights, duplicates) in [
            (
                &["model-1.safetensors", "model.safetensors.index.json"][..],
                &["pytorch_model-1.bin", "consolidated.safetensors", "model.fp16.safetensors"][..],
            ),
            (&["pytorch_model-1.bin", "mm_projector.bin"], &[]),
            (&["model.safetensors", "mm_projector.bin"], &["model_base.pth", bins[0], bins[1]]),
            (&["model_base.pth"], &[]),
            (&["model.fp16.safetensors"], &[]),
            (&["adapter_model.bin", "non_lora_trainables.bin"], &[]),
            (&["adapter_model.safetensors", "non_lora_trainables.bin"], &["adapter_model.bin"]),
            // Safetensors beside PyTorch's files are not the same weights.
            (&[bins[0], bins[1], "mm_projector.safetensors", "adapter_model.safetensors"], &[]),
            (&["pytorch_model.bin", "adapter_model.safetensors"], &["pytorch_model.fp16.bin"]),
        ] {
            let wanted = [&common[..], weights].concat();
            let all = [&wanted[..], duplicates, &never[..]].concat();
            let (chosen, left) = judged(&all, &NamedFiles::default());
            assert_eq!(chosen, wanted);
            for (path, reason) in left {
                let duplicate = duplicates.contains(&path.as_str());
                assert_eq!(reason == LeftOutReason::SameWeights, duplicate, "{path}");
            }
        }
    }

    #[test]
    fn an_index_names_the_weights() {
        let all = ["pytorch_model.bin.index.json", "a.bin", "b.bin", "half.bin", "x.safetensors"];
        let named =
            NamedFiles { shards: ["a.bin", "b.bin"].map(str::to_owned).into(), tower: None };
        assert_eq!(judged(&all, &named).0, all[..3]);
    }

    #[test]
    fn the_folder_of_the_image_encoder_is_fetched_where_config_json_names_it() {
        let all = [
            "config.json",
            "vit/clip/config.json",
            "vit/clip/model.safetensors",
            "vit/clip/pytorch_model.bin",
            "vit/clip/onnx/config.json",
            "vit/other/config.json",
            "additional_chat_templates/default.jinja",
        ];
        let named =
            |tower: &str| NamedFiles { tower: Some(tower.to_owned()), ..NamedFiles::default() };
        for tower in ["./vit/clip", "vit/clip/", "vit/clip"] {
            let (chosen, left) = judged(&all, &named(tower));
            assert_eq!(chosen, [all[0], all[1], all[2], all[6]], "{tower}");
            assert_eq!(left[0], (all[3].to_owned(), LeftOutReason::SameWeights));
            assert_eq!(left[1], (all[4].to_owned(), LeftOutReason::UnnamedFolder));
        }
        let elsewhere = ["config.json", "clip/config.json", "vit/config.json"];
        assert_eq!(judged(&elsewhere, &named("/data/towers/clip")).0, elsewhere[..2]);
        assert_eq!(judged(&elsewhere, &named("openai/other")).0, elsewhere[..1]);
    }
}
