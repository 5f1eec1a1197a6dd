//! What an adapter adds to layers: plugs for those with a socket, changed values for the others.

use std::collections::BTreeMap;

use super::adapter_tensors::AdapterTensors;
use super::config::Config;
use super::layer_adapter::{Layer, LayerAdapter};
use super::model_names::{LayerKind, ModelNames};
use super::patterns::ends_with;
use super::peft_parameter::PeftParameter;
use super::targeting::Targeting;
use crate::tensor::{ParamId, Parameters, Precision, Tensor};

/// What is plugged into the socket of the layer with this weight.
pub(super) type Addition = (ParamId, LayerAdapter);

/// What the additions of an adapter depend on.
#[derive(Clone, Copy)]
pub(super) struct AdditionContext<'a, 'p> {
    pub config: &'a Config,
    pub targeting: &'a Targeting<'p>,
    pub names: &'a ModelNames<'p>,
    pub params: &'a Parameters,
}

impl<'p> AdditionContext<'_, 'p> {
    /// Checks what `tensors` add to each layer. What belongs into a socket is returned; what is added to other layers
    /// is merged into the values in `tensors`.
    pub fn apply(self, tensors: &mut AdapterTensors<'p>) -> Vec<Addition> {
        let mut additions = Vec::new();
        for (module, added) in std::mem::take(&mut tensors.added) {
            match self.apply_to_layer(module, added, &mut tensors.values) {
                Ok(addition) => additions.extend(addition),
                Err(problem) => tensors.problems.push(problem),
            }
        }
        additions
    }

    fn apply_to_layer(
        self,
        module: &'p str,
        mut added: BTreeMap<PeftParameter, Tensor>,
        values: &mut BTreeMap<&'p str, Tensor>,
    ) -> Result<Option<Addition>, String> {
        let layer = self.names.layer(module);
        let (kind, weight) = layer.ok_or_else(|| format!("{module} is no layer"))?;
        let name = format!("{module}.weight");
        if let Some(rows) = added.remove(&PeftParameter::TokenRows) {
            let (name, table) = self.current(values, &name)?;
            values.insert(name, self.with_rows(module, table, &rows)?);
            if added.is_empty() {
                return Ok(None);
            }
        }
        let bias = added.remove(&PeftParameter::LowRankBias);
        let layer = Layer { module, kind, shape: self.params.get(weight).shape() };
        let layer =
            LayerAdapter::new(layer, added, || self.targeting.low_rank(self.config, module))?;
        if let Some(bias) = bias {
            let growth = layer.bias_growth(bias);
            let (name, mut own) = self.current(values, &format!("{module}.bias"))?;
            if own.shape() != growth.shape() {
                let (found, wanted) = (growth.shape(), own.shape());
                return Err(format!("{module}.lora_B.bias is {found:?} instead of {wanted:?}"));
            }
            own.data_mut().iter_mut().zip(growth.data()).for_each(|(own, x)| *own += x);
            values.insert(name, own);
        }
        if kind == LayerKind::Linear {
            return Ok(Some((weight, layer)));
        }
        let (name, own) = self.current(values, &name)?;
        values.insert(name, layer.merged_into(&own, kind));
        Ok(None)
    }

    /// The value of a parameter in the adapter, or else in the model, in f32; with its name in PEFT.
    fn current(
        self,
        values: &BTreeMap<&'p str, Tensor>,
        name: &str,
    ) -> Result<(&'p str, Tensor), String> {
        let known = self.names.parameter(name);
        let (name, id) = known.ok_or_else(|| format!("the model has no {name} to add to"))?;
        let own = || self.params.get(id).value().to_precision(Precision::F32);
        Ok((name, values.get(name).cloned().unwrap_or_else(own)))
    }

    /// The table of `module` with `rows` in place of those that `trainable_token_indices` names.
    fn with_rows(self, module: &str, mut table: Tensor, rows: &Tensor) -> Result<Tensor, String> {
        let is_meant =
            |name: &Option<String>| name.as_ref().is_none_or(|name| ends_with(module, name));
        let indices = self.config.token_rows.iter().find(|(name, _)| is_meant(name));
        let indices = indices.map_or(&[][..], |(_, indices)| indices);
        let (count, width) = (table.shape()[0], table.width());
        if rows.shape() != [indices.len(), width] || indices.iter().any(|&row| row >= count) {
            return Err(format!(
                "{module}{} is {:?}, for {} tokens of trainable_token_indices and a table of {count} rows of {width}",
                PeftParameter::TokenRows.suffix(),
                rows.shape(),
                indices.len()
            ));
        }
        for (&row, values) in indices.iter().zip(rows.data().chunks_exact(width)) {
            table.data_mut()[row * width..][..width].copy_from_slice(values);
        }
        Ok(table)
    }
}
