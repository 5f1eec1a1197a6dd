//! Finds a model's parameters and modules by the names that adapters have for them.

use std::collections::{BTreeMap, BTreeSet};

use super::layout::{module_of, peft_name, tied};
use super::naming::{Naming, candidates};
use crate::tensor::{EmbeddingKind, Module, ParamId, Parameter, Parameters};

/// The names of a model's own parameters and modules, as PEFT and transformers 5 have them.
pub(super) struct ModelNames<'p> {
    params: &'p Parameters,
    /// Every parameter, by all of its names: a tied one has two.
    ids: BTreeMap<&'p str, ParamId>,
    /// Every module, containers included.
    modules: BTreeSet<&'p str>,
    /// Layers of a LLaVA's projector.
    projector_layers: usize,
}

/// What can be added to a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LayerKind {
    /// A linear layer or a convolution with a socket.
    Linear,
    /// A linear layer whose matrix is tied to an embedding table.
    TiedHead,
    /// A table that is looked up.
    Table,
}

impl<'p> ModelNames<'p> {
    /// The names of the model with these parameters.
    pub fn new(params: &'p Parameters) -> Self {
        let mut ids = BTreeMap::new();
        for (id, parameter) in params.iter().filter(|(_, p)| !p.is_added()) {
            ids.insert(parameter.name(), id);
            ids.insert(peft_name(parameter.name()), id);
        }
        for (second, first) in tied(params) {
            ids.extend(params.find(first).map(|id| (second, id)));
        }
        let mut modules = BTreeSet::new();
        for name in ids.keys() {
            let mut module = module_of(name);
            while !module.is_empty() && modules.insert(module) {
                module = module_of(module);
            }
        }
        let second = "model.multi_modal_projector.linear_2.weight";
        let projector_layers = if ids.contains_key(second) { 2 } else { 1 };
        Self { params, ids, modules, projector_layers }
    }

    /// The parameter that some scheme of names calls `name`, with its name in PEFT.
    pub fn parameter(&self, name: &str) -> Option<(&'p str, ParamId)> {
        let found = |name: &String| self.ids.get_key_value(name.as_str());
        candidates(name).iter().find_map(found).map(|(&name, &id)| (name, id))
    }

    /// The module that some scheme of names calls `name`.
    pub fn module(&self, name: &str) -> Option<&'p str> {
        candidates(name).iter().find_map(|name| self.modules.get(name.as_str()).copied())
    }

    /// Every module.
    pub fn modules(&self) -> impl Iterator<Item = &'p str> {
        self.modules.iter().copied()
    }

    /// The name of `module` in this scheme.
    pub fn translate(&self, module: &str, naming: Naming) -> String {
        naming.translate(module, self.projector_layers)
    }

    /// What kind of layer `module` is, and its weight. `None` if nothing can be added to it.
    pub fn layer(&self, module: &str) -> Option<(LayerKind, ParamId)> {
        let name = format!("{module}.weight");
        let &id = self.ids.get(name.as_str())?;
        let weight = self.params.get(id);
        let kind = if weight.role().is_linear_weight() {
            LayerKind::Linear
        } else if weight.name() != name {
            LayerKind::TiedHead
        } else if is_table(weight) {
            LayerKind::Table
        } else {
            return None;
        };
        Some((kind, id))
    }
}

fn is_table(weight: &Parameter) -> bool {
    let looked_up = [EmbeddingKind::Token, EmbeddingKind::Position].map(Module::Embedding);
    looked_up.contains(&weight.role().module) && weight.shape().len() == 2
}
