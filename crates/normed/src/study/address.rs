//! What a task's outcome depends on, as a name: the same address, the same bytes.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use toml::Table;

use super::{Cell, Study, Task, Work};
use crate::data::DataSection;
use crate::files::hex;
use crate::recipe::{Base, BestBy, Recipe};
use crate::train::fingerprint_data;
use crate::{Error, Result};

/// Digits of an address.
const DIGITS: usize = 20;

/// Makes addresses: a hash of the resolved recipe, of the base's weights in the place of its path, of
/// the data's rows in the place of theirs, and of the program's version. Pictures count by their names
/// and by how they are looked at.
#[derive(Default)]
pub struct Addresses {
    bases: HashMap<PathBuf, String>,
    data: Vec<(DataSection, String)>,
}

impl Addresses {
    /// The runs that judge the rates of `cell`; none where there is only one.
    pub(super) fn candidates(&mut self, study: &Study, cell: &Cell) -> Result<Vec<Task>> {
        if cell.rates.len() < 2 {
            return Ok(Vec::new());
        }
        let task = |&rate: &f32| {
            let label = format!("{}, to choose a rate: {rate:.1e}", cell.label());
            self.run(study, cell.candidate(rate), label, false)
        };
        cell.rates.iter().map(task).collect()
    }

    /// The run that is reported for a seed and a part of the training examples.
    pub(super) fn reported(
        &mut self,
        study: &Study,
        cell: &Cell,
        rate: f32,
        (seed, fraction): (u64, f32),
    ) -> Result<Task> {
        let part = match fraction {
            1.0 => String::new(),
            part => format!(", {:.0} % of the examples", 100.0 * part),
        };
        let label = format!("{}, seed {seed}{part}", cell.label());
        self.run(study, cell.reported(rate, seed, fraction), label, true)
    }

    fn run(&mut self, study: &Study, recipe: Recipe, label: String, test: bool) -> Result<Task> {
        let purpose = if test { "reported" } else { "judged" };
        let address = self.of(&recipe, purpose)?;
        let output = study.output.join("runs").join(&address);
        let recipe = Box::new(Recipe { output, ..recipe });
        Ok(Task { label, address, work: Work::Run { recipe, test } })
    }

    /// The answers of the outcome of `run` to the test split of the set `name`.
    pub(super) fn answer(&mut self, study: &Study, run: &Task, name: &str) -> Result<Task> {
        let mut recipe = run.recipe().clone();
        recipe.data = study.test_data(name)?.clone();
        if recipe.data.task.is_vqa() != run.recipe().data.task.is_vqa() {
            // Answers are not chosen by a metric of reports; nothing is chosen here.
            recipe.train.metric = BestBy::default_for(&recipe.data.task);
        }
        let address = self.of(&recipe, &format!("answers of {}", run.address))?;
        let adapter = match recipe.tuning.is_none() {
            true => None,
            false => Some(run.recipe().output.join("adapter")),
        };
        let out = study.output.join("answers").join(format!("{address}.jsonl"));
        let label = format!("{}, tested on {name}", run.label);
        let recipe = Box::new(recipe);
        Ok(Task { label, address, work: Work::Answer { recipe, adapter, out } })
    }

    fn of(&mut self, recipe: &Recipe, purpose: &str) -> Result<String> {
        let Base::Model(dir) = &recipe.base else {
            return Err(Error::invalid(
                "study",
                "a study tunes models that there are; it makes none",
            )
            .with_remedy("make it with `normed pretrain`, and name it as `model`"));
        };
        let (base, data) = (self.base(dir, recipe)?, self.data(&recipe.data)?);
        let mut table: Table =
            toml::from_str(&recipe.to_toml()?).map_err(|e| Error::failed("recipe", e))?;
        for key in ["output", "cache", "model", "data"] {
            table.remove(key);
        }
        let mut hash = Sha256::new();
        let version = env!("CARGO_PKG_VERSION");
        for text in [version, purpose, &base, &data, &table.to_string()] {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        }
        let mut address = hex(&hash.finalize());
        address.truncate(DIGITS);
        Ok(address)
    }

    fn base(&mut self, dir: &Path, recipe: &Recipe) -> Result<String> {
        if let Some(hash) = self.bases.get(dir) {
            return Ok(hash.clone());
        }
        let hash = recipe.open_base()?.content_hash.to_string();
        self.bases.insert(dir.to_owned(), hash.clone());
        Ok(hash)
    }

    fn data(&mut self, data: &DataSection) -> Result<String> {
        if let Some((_, fingerprint)) = self.data.iter().find(|(known, _)| known == data) {
            return Ok(fingerprint.clone());
        }
        let mut fingerprint = fingerprint_data(&*data.open()?.dataset)?;
        if !data.image.is_default() {
            fingerprint.push_str(&hex(&data.image.hash(b"")));
        }
        self.data.push((data.clone(), fingerprint.clone()));
        Ok(fingerprint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{DataSpec, ImageOptions, PhantomDomain, Window};

    #[test]
    fn the_same_pictures_seen_in_another_way_are_other_data() {
        let domain = PhantomDomain::Source;
        let set = DataSpec::Phantom { domain, train: 1, validate: 0, test: 1, seed: 0 };
        let image = ImageOptions { window: Window::Range, ..ImageOptions::default() };
        let (usual, other) = (set.clone().into(), DataSection { image, ..set.into() });
        let mut addresses = Addresses::default();
        let [a, b, c] = [&usual, &other, &usual].map(|data| addresses.data(data).unwrap());
        assert!(a != b && a == c);
    }
}
