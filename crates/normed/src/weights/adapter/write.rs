//! Writing an adapter.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::json;

use super::{
    BASE_HASH, CONFIG, COPY, PEFT_TYPE, PREFIX, WEIGHTS, added, is_within, module_of, peft_name,
    prefix, tied,
};
use crate::tensor::{Parameters, Part, Precision, Tensor};
use crate::weights::{write_atomically, write_safetensors};
use crate::{Error, Result};

/// What an adapter says of itself.
#[derive(Debug, Clone, Copy)]
pub struct AdapterCard<'a> {
    /// `base_model_name_or_path` of the config.
    pub base: &'a str,
    /// The base's [`content_hash`](crate::weights::content_hash).
    pub base_hash: &'a str,
    /// The class of transformers that the base is, and the module that has it.
    pub base_class: [&'a str; 2],
    /// README.md.
    pub readme: &'a str,
}

/// Writes the modules of `params` that are trained to `dir`, which is made if need be. The weights
/// come last, so that a directory with weights is complete.
pub fn save_adapter(dir: &Path, params: &Parameters, card: &AdapterCard<'_>) -> Result<()> {
    if prefix::is_all(params) {
        return prefix::save(dir, params, card);
    }
    if added::is_needed(params) {
        return added::save(dir, params, card);
    }
    let Contents { targets, whole, tensors } = Contents::of(params);
    if tensors.is_empty() {
        return Err(Error::invalid(dir.display(), "nothing is trained: no adapter to save"));
    }
    let config = json!({
        "auto_mapping": {
            "base_model_class": card.base_class[0],
            "parent_library": card.base_class[1],
        },
        "base_model_name_or_path": card.base,
        "exclude_modules": null,
        "inference_mode": true,
        "modules_to_save": if whole.is_empty() { None } else { Some(whole) },
        "peft_type": PEFT_TYPE,
        "peft_version": "0.21.2",
        "revision": null,
        "target_modules": targets,
        "task_type": null,
    });
    fs::create_dir_all(dir).map_err(|e| Error::io(dir, &e))?;
    write_atomically(&dir.join("README.md"), |out| out.write_all(card.readme.as_bytes()))?;
    write_atomically(&dir.join(CONFIG), |out| writeln!(out, "{config:#}"))?;
    let list: Vec<_> = tensors.iter().map(|(name, tensor)| (name.as_str(), *tensor)).collect();
    let metadata = BTreeMap::from([(BASE_HASH.to_owned(), card.base_hash.to_owned())]);
    write_safetensors(&dir.join(WEIGHTS), &list, Precision::F32, &metadata)
}

/// What goes into the files.
struct Contents<'a> {
    /// `target_modules`.
    targets: BTreeSet<String>,
    /// `modules_to_save`.
    whole: BTreeSet<String>,
    /// Under PEFT's names.
    tensors: BTreeMap<String, &'a Tensor>,
}

impl<'a> Contents<'a> {
    fn of(params: &'a Parameters) -> Self {
        let tied = tied(params);
        // Every parameter under every name that PEFT knows it by.
        let mut named: BTreeMap<&str, (bool, &'a Tensor)> = BTreeMap::new();
        for (_, parameter) in params.iter() {
            let entry = (parameter.trained, parameter.value());
            named.insert(peft_name(&parameter.name), entry);
            let second = tied.iter().find(|(_, first)| *first == parameter.name);
            if let Some(&(second, _)) = second
                && parameter.trained
            {
                named.insert(second, entry);
            }
        }
        let trained: BTreeSet<_> =
            named.iter().filter(|(_, (t, _))| *t).map(|(name, _)| module_of(name)).collect();
        let mut contents =
            Self { targets: BTreeSet::new(), whole: BTreeSet::new(), tensors: BTreeMap::new() };
        for &module in &trained {
            if trained.iter().any(|outer| is_within(module, outer)) {
                continue; // a part of what is written whole
            }
            // A module with modules of its own can only be kept whole.
            let is_whole = named.keys().any(|name| is_within(module_of(name), module));
            if is_whole {
                contents.whole.insert(module.to_owned());
            } else {
                contents.targets.insert(module.to_owned());
            }
            contents.add(&named, module, !is_whole);
        }
        // PEFT refuses an empty list of targets; an unchanged norm satisfies it.
        if contents.targets.is_empty() && !contents.whole.is_empty() {
            let norm = params.iter().find(|(_, p)| {
                let name = p.name.as_str();
                matches!(p.role.part, Part::Norm(_))
                    && !contents.whole.iter().any(|module| is_within(name, module))
            });
            if let Some((_, norm)) = norm {
                let module = module_of(&norm.name);
                contents.targets.insert(module.to_owned());
                contents.add(&named, module, true);
            }
        }
        contents
    }

    fn add(&mut self, named: &BTreeMap<&str, (bool, &'a Tensor)>, module: &str, is_target: bool) {
        for (name, (_, tensor)) in named.iter().filter(|(name, _)| is_within(name, module)) {
            let name = match name.rsplit_once('.') {
                Some((module, leaf)) if is_target => format!("{PREFIX}{module}.{COPY}.{leaf}"),
                _ => format!("{PREFIX}{name}"),
            };
            self.tensors.insert(name, tensor);
        }
    }
}
