//! Names of tensors in checkpoints that were saved with a wrapper around the model, as `DistributedDataParallel`,
//! `torch.compile`, FSDP and Lightning are.

use std::collections::BTreeMap;

use super::names_list::list_names;
use super::stored::Checkpoint;
use crate::{Error, Result};

/// Parts of names that wrappers insert at any depth.
const INSERTED: [&str; 4] =
    ["module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"];

impl Checkpoint {
    /// The tensors under the names that `canonical` gives them. If some of these are not the model's (`is_known`),
    /// parts of names that wrappers insert, and prefixes that all names share, are taken off as far as all names
    /// are the model's then.
    ///
    /// # Errors
    /// If `canonical` fails for the names as they are; or if the names have a prefix, and some are not the model's
    /// even without it.
    pub fn unwrapped(
        self,
        canonical: impl Fn(Self) -> Result<Self>,
        is_known: impl Fn(&str) -> bool,
    ) -> Result<Self> {
        let unknown = |checkpoint: &Self| -> Vec<String> {
            checkpoint.tensors.keys().filter(|name| !is_known(name)).cloned().collect()
        };
        let all = self.tensors.len();
        let direct = canonical(self.clone());
        let least = match &direct {
            Ok(direct) => unknown(direct).len(),
            Err(_) => all,
        };
        if least == 0 && all > 0 {
            return direct;
        }
        let mut best: Option<(String, Vec<String>)> = None;
        let mut refused = None;
        for (taken_off, candidate) in self.without_wrappers() {
            let candidate = match canonical(candidate) {
                Ok(candidate) => candidate,
                Err(error) => {
                    refused.get_or_insert(error);
                    continue;
                }
            };
            let left = unknown(&candidate);
            if left.is_empty() {
                return Ok(candidate);
            }
            if left.len() < best.as_ref().map_or(least, |(_, best)| best.len()) {
                best = Some((taken_off, left));
            }
        }
        match best {
            // Most names are the model's without a prefix: that prefix is why they were not before.
            Some((taken_off, left)) if 2 * left.len() < all => {
                let cause = format!(
                    "the names have `{taken_off}` in them; without it, {} of {all} are still not the \
                     model's: {}",
                    left.len(),
                    list_names(&left)
                );
                Err(Error::invalid(self.path.display(), cause)
                    .with_remedy("config.json in the same folder must describe the same model"))
            }
            // The names are those of something else, which shows without the prefix only.
            _ if least == all => refused.map_or(direct, Err),
            _ => direct,
        }
    }

    /// The same tensors under shorter names, and what was taken off: first what wrappers insert, then also one part
    /// after the other with which all names begin.
    fn without_wrappers(&self) -> Vec<(String, Self)> {
        let split = |name: &str| -> (Vec<String>, Vec<String>) {
            name.split('.').map(str::to_owned).partition(|part| INSERTED.contains(&part.as_str()))
        };
        let mut inserted = Vec::new();
        let mut names: Vec<(Vec<String>, &str)> = Vec::new();
        for name in self.tensors.keys() {
            let (wrappers, rest) = split(name);
            for part in wrappers {
                if !inserted.contains(&part) {
                    inserted.push(part);
                }
            }
            names.push((rest, name));
        }
        let mut candidates = Vec::new();
        let mut taken_off: String = inserted.iter().map(|part| format!("{part}.")).collect();
        loop {
            let renamed: BTreeMap<_, _> = names
                .iter()
                .map(|(parts, name)| (parts.join("."), self.tensors[*name].clone()))
                .collect();
            // Two tensors of one name would be a different mistake.
            if !taken_off.is_empty() && renamed.len() == self.tensors.len() {
                candidates.push((taken_off.clone(), Self { tensors: renamed, ..self.clone() }));
            }
            let Some(first) = names.first().and_then(|(parts, _)| parts.first().cloned()) else {
                return candidates;
            };
            if !names.iter().all(|(parts, _)| parts.len() > 1 && parts[0] == first) {
                return candidates;
            }
            for (parts, _) in &mut names {
                parts.remove(0);
            }
            taken_off.push_str(&format!("{first}."));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::tensor::{Precision, Tensor};
    use crate::weights::{read_safetensors, write_safetensors};

    const KNOWN: [&str; 3] = ["vision.a.weight", "vision.b.weight", "head.bias"];

    fn unwrapped(names: &[&str]) -> Result<Vec<String>> {
        let file = tempfile::NamedTempFile::new().unwrap();
        let tensor = Tensor::new(&[1], vec![1.0]);
        let list: Vec<_> = names.iter().map(|name| (*name, &tensor)).collect();
        write_safetensors(file.path(), &list, Precision::F32, &BTreeMap::new()).unwrap();
        assert!(fs::metadata(file.path()).unwrap().len() > 0);
        let checkpoint = read_safetensors(file.path()).unwrap();
        let found = checkpoint.unwrapped(Ok, |name| KNOWN.contains(&name))?;
        Ok(found.tensors.into_keys().collect())
    }

    #[test]
    fn wrappers_are_taken_off_if_all_names_fit_then() {
        let mut sorted = KNOWN.to_vec();
        sorted.sort_unstable();
        for prefix in [
            "",
            "module.",
            "model.",
            "_orig_mod.",
            "module._orig_mod.",
            "_orig_mod.module.",
            "state_dict.model.",
            "model.module.",
            "student.net.",
        ] {
            let names = KNOWN.map(|name| format!("{prefix}{name}"));
            assert_eq!(
                unwrapped(&names.each_ref().map(String::as_str)).unwrap(),
                sorted,
                "{prefix}"
            );
        }
        let inside = ["vision._orig_mod.a.weight", "vision.b.weight", "head.module.bias"];
        assert_eq!(unwrapped(&inside).unwrap(), sorted);
        // A prefix that all names of a part of the model share is theirs.
        assert_eq!(unwrapped(&["vision.a.weight", "vision.b.weight"]).unwrap(), sorted[1..]);
    }

    #[test]
    fn names_that_do_not_fit_stay_or_name_the_prefix() {
        let strange = ["x.a", "x.b"];
        assert_eq!(unwrapped(&strange).unwrap(), strange);
        let names = ["module.vision.a.weight", "module.vision.b.weight", "module.new.weight"];
        let error = unwrapped(&names).unwrap_err().to_string();
        assert!(error.contains("`module.`") && error.contains("1 of 3"), "{error}");
        assert!(error.contains("new.weight"), "{error}");
    }
}
