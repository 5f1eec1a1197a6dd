//! Addresses: names for outcomes, made from everything that an outcome depends on. Tasks with the same
//! address have the same outcome, byte for byte.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use toml::Table;

use super::names::file_name;
use super::stored_builds::{StoredBuilds, own_address};
use super::{Experiment, Study, Task, TaskKind};
use crate::data::DataSection;
use crate::files::hex;
use crate::recipe::{Base, BestBy, Recipe};
use crate::train::fingerprint_data;
use crate::{Error, Result};

/// Digits of the hash of an address's content.
const DIGITS: usize = 20;

/// Makes the tasks of a study with their addresses.
///
/// An address has two parts. The first is a hash of the resolved recipe, in which hashes of the base
/// model's weights and of the data's rows replace their paths. Images count by their names and by how
/// they are converted. The second is the start of [`SOURCE_HASH`](crate::build::SOURCE_HASH): if code
/// changes that results depend on, stored outcomes are not used again by mistake.
pub struct Addresses<'a> {
    study: &'a Study,
    bases: HashMap<PathBuf, String>,
    data: Vec<(DataSection, String)>,
    stored_runs: StoredBuilds,
    stored_predictions: StoredBuilds,
}

impl<'a> Addresses<'a> {
    /// Prepares the addresses of a study. It looks for what is stored already.
    ///
    /// # Errors
    ///
    /// If the output directory of the study cannot be read.
    pub fn new(study: &'a Study) -> Result<Self> {
        Ok(Self {
            study,
            bases: HashMap::new(),
            data: Vec::new(),
            stored_runs: StoredBuilds::read(&study.output.join("runs"))?,
            stored_predictions: StoredBuilds::read(&study.output.join("answers"))?,
        })
    }

    /// The runs that select the learning rate of an experiment; none if there is only one candidate.
    pub(super) fn candidate_runs(&mut self, experiment: &Experiment) -> Result<Vec<Task>> {
        if experiment.learning_rates.len() < 2 {
            return Ok(Vec::new());
        }
        let task = |&lr: &f32| {
            let label = format!("{}, candidate learning rate {lr:e}", experiment.label());
            let name = format!("{}-lr{lr:e}-candidate", self.experiment_name(experiment));
            self.run(experiment.candidate_recipe(lr), (label, &name), false)
        };
        experiment.learning_rates.iter().map(task).collect()
    }

    /// The reported run for a seed and a fraction of the training examples.
    pub(super) fn reported_run(
        &mut self,
        experiment: &Experiment,
        learning_rate: f32,
        seed: u64,
        fraction: f32,
    ) -> Result<Task> {
        let (part, part_name) = match fraction {
            1.0 => (String::new(), String::new()),
            part => {
                let percent = 100.0 * part;
                (format!(", {percent:.0} % of the examples"), format!("-{percent:.0}percent"))
            }
        };
        let label = format!("{}, seed {seed}{part}", experiment.label());
        let rate =
            if experiment.trains() { format!("-lr{learning_rate:e}") } else { String::new() };
        let name = format!("{}-seed{seed}{rate}{part_name}", self.experiment_name(experiment));
        let recipe = experiment.reported_recipe(learning_rate, seed, fraction);
        self.run(recipe, (label, &name), true)
    }

    /// The model, data set and method of an experiment in the names of its runs, as far as the study has several.
    fn experiment_name(&self, experiment: &Experiment) -> String {
        let several = |of: fn(&Experiment) -> &str| {
            let others = &self.study.experiments;
            others.iter().any(|other| of(other) != of(experiment)).then(|| of(experiment))
        };
        let model = several(|experiment| experiment.model.as_str()).unwrap_or_default();
        let data_set = several(|experiment| experiment.data_set.as_str()).unwrap_or_default();
        file_name([model, data_set, &experiment.method])
    }

    fn run(
        &mut self,
        recipe: Recipe,
        (label, name): (String, &str),
        evaluates_test: bool,
    ) -> Result<Task> {
        let purpose = if evaluates_test { "reported" } else { "judged" };
        let content = self.hash_content(&recipe, purpose)?;
        let other = self.stored_runs.newest(&content);
        let directory = self.study.output.join("runs");
        let name = file_name([name]);
        let path = |address: &str| directory.join(self.stored_runs.name_of(address, &name));
        let is_stored = |address: &str| Ok(crate::train::read_outcome(&path(address))?.is_some());
        let (address, other_build) = self.resolve(&content, other, is_stored)?;
        let recipe = Box::new(Recipe { output: path(&address), ..recipe });
        self.stored_runs.reserve(&address, &name);
        Ok(Task { label, address, other_build, kind: TaskKind::Run { recipe, evaluates_test } })
    }

    /// The evaluation of the outcome of `run` on the test split of the data set `name`.
    pub(super) fn evaluation(&mut self, run: &Task, name: &str) -> Result<Task> {
        let mut recipe = run.recipe().clone();
        recipe.data = self.study.test_data(name)?.clone();
        if recipe.data.task.is_vqa() != run.recipe().data.task.is_vqa() {
            // The metric chooses a checkpoint, which is not done here; but it must fit the task.
            recipe.train.metric = BestBy::default_for(&recipe.data.task);
        }
        let content = self.hash_content(&recipe, &format!("answers of {}", run.address))?;
        let other = self.stored_predictions.newest(&content);
        let directory = self.study.output.join("answers");
        let run_name = run.name();
        let run_name = run_name.strip_suffix(&run.address).unwrap_or(&run_name);
        let file_label = file_name([&format!("{run_name}on-{name}")]);
        let file = |address: &str| {
            let name = self.stored_predictions.name_of(address, &file_label);
            directory.join(format!("{name}.jsonl"))
        };
        let (address, other_build) = self.resolve(&content, other, |a| Ok(file(a).exists()))?;
        let adapter = match recipe.tuning.is_none() {
            true => None,
            false => Some(run.recipe().output.join("adapter")),
        };
        let label = format!("{}, tested on {name}", run.label);
        let kind = TaskKind::Evaluate { recipe: Box::new(recipe), adapter, out: file(&address) };
        self.stored_predictions.reserve(&address, &file_label);
        Ok(Task { label, address, other_build, kind })
    }

    /// The address of an outcome, and the other build to name in its task. It is this build's address
    /// unless the study accepts the outcome of another build and this build has none.
    fn resolve(
        &self,
        content: &str,
        other: Option<(&str, &str)>,
        is_stored: impl Fn(&str) -> Result<bool>,
    ) -> Result<(String, Option<String>)> {
        let own = own_address(content);
        Ok(match other {
            Some((address, version)) if !is_stored(&own)? => {
                let address = if self.study.accept_other_builds { address.to_owned() } else { own };
                (address, Some(version.to_owned()))
            }
            _ => (own, None),
        })
    }

    /// A hash of everything but the code that the outcome of `recipe` depends on.
    fn hash_content(&mut self, recipe: &Recipe, purpose: &str) -> Result<String> {
        let Base::Model(dir) = &recipe.base else {
            return Err(Error::invalid(
                "study",
                "a study tunes existing models; it cannot create one",
            )
            .with_remedy("create it with `normed pretrain`, and name it as `model`"));
        };
        let (base, data) = (self.hash_base(dir, recipe)?, self.hash_data(&recipe.data)?);
        let mut table: Table =
            toml::from_str(&recipe.to_toml()?).map_err(|e| Error::failed("recipe", e))?;
        for key in ["output", "cache", "model", "data"] {
            table.remove(key);
        }
        let mut hash = Sha256::new();
        for text in [purpose, &base, &data, &table.to_string()] {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        }
        let mut content = hex(&hash.finalize());
        content.truncate(DIGITS);
        Ok(content)
    }

    fn hash_base(&mut self, dir: &Path, recipe: &Recipe) -> Result<String> {
        if let Some(hash) = self.bases.get(dir) {
            return Ok(hash.clone());
        }
        let hash = recipe.open_base()?.content_hash.to_string();
        self.bases.insert(dir.to_owned(), hash.clone());
        Ok(hash)
    }

    fn hash_data(&mut self, data: &DataSection) -> Result<String> {
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
    use crate::study::ReportImages;

    fn study(accept_other_builds: bool) -> Study {
        Study {
            name: "s".into(),
            title: None,
            authors: vec![],
            output: "no-such-directory".into(),
            seeds: vec![0],
            jobs: 1,
            report_images: ReportImages::None,
            accept_other_builds,
            experiments: vec![],
            test_sets: vec![],
            fractions: vec![],
        }
    }

    #[test]
    fn the_same_images_converted_in_another_way_are_other_data() {
        let domain = PhantomDomain::Source;
        let set = DataSpec::Phantom { domain, train: 1, validate: 0, test: 1, seed: 0 };
        let image = ImageOptions { window: Window::Range, ..ImageOptions::default() };
        let (usual, other) = (set.clone().into(), DataSection { image, ..set.into() });
        let study = study(false);
        let mut addresses = Addresses::new(&study).unwrap();
        let [a, b, c] = [&usual, &other, &usual].map(|data| addresses.hash_data(data).unwrap());
        assert!(a != b && a == c);
    }

    #[test]
    fn an_outcome_of_another_build_is_used_only_if_it_is_accepted_and_there_is_no_own_one() {
        let own = own_address("abc");
        assert!(own.starts_with("abc-") && crate::build::SOURCE_HASH.starts_with(&own[4..]));
        let other = Some(("abc-00000001", "0.1.9"));
        let named = Some("0.1.9".to_owned());
        for (accept, stored, want) in [
            (false, false, (own.clone(), named.clone())),
            (true, false, ("abc-00000001".to_owned(), named)),
            (false, true, (own.clone(), None)),
            (true, true, (own.clone(), None)),
        ] {
            let study = study(accept);
            let addresses = Addresses::new(&study).unwrap();
            let found = addresses.resolve("abc", other, |address| Ok(stored && address == own));
            assert_eq!(found.unwrap(), want, "{accept} {stored}");
            let alone = addresses.resolve("abc", None, |_| Ok(stored)).unwrap();
            assert_eq!(alone, (own.clone(), None));
        }
    }
}
