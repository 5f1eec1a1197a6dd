//! The tensors of an adapter's file, each where it belongs in the model.

use std::collections::{BTreeMap, BTreeSet};

use super::adapter_key::{AdapterKey, Copy, Subject};
use super::config::{Config, PeftType};
use super::layout::{module_of, peft_name, tied};
use super::model_names::{LayerKind, ModelNames};
use super::naming::Naming;
use super::peft_parameter::PeftParameter;
use super::targeting::Targeting;
use crate::tensor::{ParamId, Parameters, Precision, Tensor};
use crate::weights::stored::{Checkpoint, Stored};

/// The tensors of an adapter.
#[derive(Default)]
pub(super) struct AdapterTensors<'p> {
    /// Values of the model's own parameters, by PEFT's names.
    pub values: BTreeMap<&'p str, Tensor>,
    /// Those of them that belong to a whole module in the adapter.
    in_modules: BTreeSet<&'p str>,
    /// Those of them that the configuration does not mention.
    pub unmentioned: BTreeSet<&'p str>,
    /// Values of added parameters, by their layers.
    pub added: BTreeMap<&'p str, BTreeMap<PeftParameter, Tensor>>,
    /// What does not fit.
    pub problems: Vec<String>,
}

/// The keys of a file, taken apart.
pub(super) struct AdapterKeys<'f> {
    keys: Vec<(&'f str, AdapterKey, &'f Stored)>,
    /// The scheme of most of the names.
    pub naming: Naming,
}

impl<'f> AdapterKeys<'f> {
    /// Takes the keys of `stored` apart.
    ///
    /// # Errors
    /// If they are of several adapters.
    pub fn parse(
        stored: &'f BTreeMap<String, Stored>,
        names: &ModelNames<'_>,
    ) -> Result<Self, String> {
        let parse = |(key, stored): (&'f String, &'f Stored)| {
            (key.as_str(), AdapterKey::parse(key, names), stored)
        };
        let keys: Vec<_> = stored.iter().map(parse).collect();
        let adapters: BTreeSet<_> =
            keys.iter().filter_map(|(_, k, _)| k.adapter.as_deref()).collect();
        if adapters.len() > 1 {
            let list = adapters.into_iter().collect::<Vec<_>>().join(", ");
            return Err(format!(
                "it holds several adapters ({list}), of which one must be saved alone"
            ));
        }
        let mut votes = [0; Naming::ALL.len()];
        for (_, key, _) in &keys {
            let found = match &key.subject {
                Subject::Added { module, .. } => names.module(module).map(|found| (module, found)),
                Subject::Own { name, .. } => names.parameter(name).map(|(found, _)| (name, found)),
            };
            let Some((name, found)) = found else { continue };
            for (votes, naming) in votes.iter_mut().zip(Naming::ALL) {
                *votes += usize::from(names.translate(found, naming) == *name);
            }
        }
        // Of equally many, the first: the newest scheme.
        let most = votes.iter().max().copied().unwrap_or(0);
        let winner = votes.iter().position(|&count| count == most).unwrap_or(0);
        Ok(Self { keys, naming: Naming::ALL[winner] })
    }
}

/// Where a tensor of an adapter belongs.
enum Destination<'p> {
    /// A parameter of the model, by PEFT's name.
    Base {
        name: &'p str,
        id: ParamId,
        /// Whether the adapter has the whole module of the parameter.
        in_module: bool,
        /// Whether the configuration mentions it.
        is_mentioned: bool,
    },
    /// A parameter that is added to a layer.
    Added(&'p str, PeftParameter),
    /// Nowhere: nothing reads it.
    Nowhere,
}

impl<'p> AdapterTensors<'p> {
    /// Collects the tensors of a file.
    pub fn collect(
        keys: &AdapterKeys<'_>,
        config: &Config,
        targeting: &Targeting<'p>,
        names: &ModelNames<'p>,
        params: &Parameters,
    ) -> Self {
        let mut tensors = Self::default();
        for (key, parsed, stored) in &keys.keys {
            match find_destination(parsed, config, targeting, names) {
                Some(destination) => {
                    let problem = tensors.insert(key, stored, destination, params);
                    tensors.problems.extend(problem.err());
                }
                None => tensors.problems.push(format!("{key} is unexpected")),
            }
        }
        tensors
    }

    /// Adds values of the model's own parameters that are in a file of their own. Problems name that file.
    pub fn add_own(&mut self, file: &Checkpoint, names: &ModelNames<'p>, params: &Parameters) {
        let place = file.path.file_name().unwrap_or_default().to_string_lossy();
        for (key, stored) in &file.tensors {
            let parsed = AdapterKey::parse(key, names);
            let key = &format!("{place}: {key}");
            let own = match parsed.subject {
                Subject::Own { name, .. } => names.parameter(&name),
                Subject::Added { .. } => None,
            };
            let Some((name, id)) = own else {
                self.problems.push(format!("{key} is unexpected"));
                continue;
            };
            let destination = Destination::Base { name, id, in_module: false, is_mentioned: true };
            let problem = self.insert(key, stored, destination, params);
            self.problems.extend(problem.err());
        }
    }

    fn insert(
        &mut self,
        key: &str,
        stored: &Stored,
        destination: Destination<'p>,
        params: &Parameters,
    ) -> Result<(), String> {
        let value =
            stored.to_tensor().ok_or_else(|| format!("{key} is of type {:?}", stored.dtype()))?;
        let is_finite = value.data().iter().all(|x| x.is_finite());
        match destination {
            Destination::Base { name, id, in_module, is_mentioned } => {
                let shape = params.get(id).shape();
                if in_module {
                    self.in_modules.insert(name);
                }
                if !is_mentioned {
                    self.unmentioned.insert(name);
                }
                if value.shape() != shape {
                    return Err(format!("{key} is {:?} instead of {shape:?}", value.shape()));
                }
                // With biases, PEFT saves those of whole modules twice.
                let before = self.values.insert(name, value.clone());
                if before.is_some_and(|before| before.data() != value.data()) {
                    return Err(format!("{key} appears twice, with different values"));
                }
            }
            Destination::Added(module, parameter) => {
                self.added.entry(module).or_default().insert(parameter, value);
            }
            Destination::Nowhere => return Ok(()),
        }
        if is_finite { Ok(()) } else { Err(format!("{key} has a value that is not finite")) }
    }

    /// What the configuration promises and the file lacks: of whole modules, and of adapted layers.
    pub fn missing(
        &self,
        config: &Config,
        targeting: &Targeting<'p>,
        names: &ModelNames<'p>,
        params: &Parameters,
    ) -> Missing {
        let modules: BTreeSet<_> = self.in_modules.iter().map(|name| module_of(name)).collect();
        let has_copies = config.peft_type == PeftType::LnTuning;
        let lacking = |is_wanted: &dyn Fn(&str) -> bool| -> Vec<String> {
            let own = params.iter().filter(|(_, p)| !p.is_added());
            own.map(|(_, parameter)| peft_name(parameter.name()))
                .filter(|name| is_wanted(module_of(name)) && !self.in_modules.contains(name))
                .map(str::to_owned)
                .collect()
        };
        let parts = lacking(&|module| modules.contains(module) || targeting.saves_whole(module));
        let is_copied =
            |module: &str| targeting.adapted.contains(module) && !modules.contains(module);
        let layers = match has_copies {
            true => lacking(&is_copied),
            false => {
                let expected =
                    targeting.adapted.iter().filter(|module| names.layer(module).is_some());
                let absent = expected.filter(|module| !self.added.contains_key(**module));
                absent.map(|module| format!("{} {module}", config.peft_type.name())).collect()
            }
        };
        Missing { parts, layers }
    }

    /// Tied tensors that would differ: PEFT's copies can, but the model has only one tensor for both.
    pub fn untied(&self, config: &Config, params: &Parameters) -> Vec<String> {
        let base = |name: &str| {
            params.find(name).map(|id| params.get(id).value().to_precision(Precision::F32))
        };
        let found = &self.values;
        let differ = |(second, first): &(&str, &str)| match (found.get(*second), found.get(*first))
        {
            (Some(a), Some(b)) => a.data() != b.data(),
            // The bias has one place in PEFT's model as well. The weight has two: if the adapter has one, the
            // other keeps the base's value.
            (Some(one), None) | (None, Some(one)) => {
                !config.keeps_ties
                    && second.ends_with(".weight")
                    && base(first).is_some_and(|b| b.data() != one.data())
            }
            (None, None) => false,
        };
        tied(params)
            .iter()
            .filter(|pair| differ(pair))
            .map(|(second, first)| format!("{second} would differ from {first}, but they are tied"))
            .collect()
    }
}

/// What an adapter's file lacks.
pub(super) struct Missing {
    /// Parameters of modules that the file has in part, or that are saved whole.
    pub parts: Vec<String>,
    /// Layers that are adapted, and parameters of copied modules.
    pub layers: Vec<String>,
}

/// Where the tensor `key` of an adapter belongs; none if the adapter should not have it.
fn find_destination<'p>(
    key: &AdapterKey,
    config: &Config,
    targeting: &Targeting<'p>,
    names: &ModelNames<'p>,
) -> Option<Destination<'p>> {
    let (name, copy) = match &key.subject {
        Subject::Added { module, parameter } => {
            let module = names.module(module)?;
            let (kind, _) = names.layer(module)?;
            let is_of_table = matches!(
                parameter,
                PeftParameter::TableA | PeftParameter::TableB | PeftParameter::TokenRows
            );
            let fits = is_of_table == (kind == LayerKind::Table)
                || *parameter == PeftParameter::Magnitude && kind == LayerKind::Table;
            return (fits && parameter.belongs_to(config.peft_type))
                .then_some(Destination::Added(module, *parameter));
        }
        Subject::Own { name, copy } => (name, *copy),
    };
    let (name, id) = names.parameter(name)?;
    let base =
        |in_module, is_mentioned| Some(Destination::Base { name, id, in_module, is_mentioned });
    let has_copies = config.peft_type == PeftType::LnTuning;
    match copy {
        Copy::Changed if has_copies => base(true, true),
        Copy::Changed => None,
        Copy::SavedWhole => base(true, true),
        Copy::Original => Some(Destination::Nowhere),
        // The changed copy is read in place of the wrapped layer.
        Copy::BaseLayer if has_copies => Some(Destination::Nowhere),
        Copy::BaseLayer => base(false, true),
        Copy::Plain if targeting.saves_whole(module_of(name)) => base(true, true),
        Copy::Plain if config.has_biases && name.ends_with(".bias") => base(false, true),
        // PEFT has the parameters of adapted layers under other names, and reads none of these.
        Copy::Plain if targeting.adapted.contains(module_of(name)) => None,
        Copy::Plain => base(false, false),
    }
}
