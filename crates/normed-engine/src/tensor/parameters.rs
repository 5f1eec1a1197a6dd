//! The parameters of a model, apart from the model itself.
//!
//! A model is a function of a [`Graph`](super::Graph), which reads parameters by their [`ParamId`].
//! Freezing, counting, saving and planning therefore need the parameters alone.

use std::collections::BTreeMap;

use super::meter::Meter;
use super::parameter::{ParamId, Parameter};
use super::plug::{Plug, PrefixKv};
use super::precision::Precision;
use super::run_precision::RunPrecision;
use super::value::Tensor;

/// Every parameter of a model, in the order of declaration.
///
/// ```
/// use normed_engine::tensor::{Module, NormPosition, ParamKind, Parameters, Tensor, Tower};
///
/// let mut params = Parameters::new();
/// let mut scope = params.scope(Tower::Text, "encoder");
/// let gain = Module::Norm(NormPosition::Final);
/// let norm = scope.declare("norm.weight", &[4], gain, ParamKind::Weight);
/// let matrix = scope.declare("fc.weight", &[2, 4], Module::Fc1, ParamKind::Weight);
/// params.get_mut(norm).set(Tensor::new(&[4], vec![1.0; 4]));
/// params.get_mut(matrix).set(Tensor::zeros(&[2, 4]));
///
/// // Train the norms and freeze everything else.
/// for (_, parameter) in params.iter_mut() {
///     parameter.set_trained(matches!(parameter.role().module, Module::Norm(_)));
/// }
/// assert_eq!((params.element_count(), params.trained_element_count()), (12, 4));
/// assert_eq!(params.get(norm).name(), "encoder.norm.weight");
/// ```
#[derive(Debug, Clone, Default)]
pub struct Parameters {
    list: Vec<Parameter>,
    /// Plugs by the weight of their linear layer.
    pub(super) plugs: BTreeMap<ParamId, Plug>,
    /// Virtual keys and values, by the weight of the key projection.
    pub(super) prefixes: BTreeMap<ParamId, PrefixKv>,
    /// Virtual tokens, by the token embedding.
    pub(super) soft_prompts: BTreeMap<ParamId, ParamId>,
    precision: Precision,
}

impl Parameters {
    /// An empty list.
    pub fn new() -> Self {
        Self::default()
    }

    /// The parameter `id`.
    pub fn get(&self, id: ParamId) -> &Parameter {
        &self.list[id.0]
    }

    /// The parameter `id`, for writing.
    pub fn get_mut(&mut self, id: ParamId) -> &mut Parameter {
        &mut self.list[id.0]
    }

    /// The parameter called `name`.
    pub fn find(&self, name: &str) -> Option<ParamId> {
        self.list.iter().position(|p| p.name() == name).map(ParamId)
    }

    /// All parameters.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (ParamId, &Parameter)> {
        self.list.iter().enumerate().map(|(i, p)| (ParamId(i), p))
    }

    /// All parameters, for writing.
    pub fn iter_mut(&mut self) -> impl ExactSizeIterator<Item = (ParamId, &mut Parameter)> {
        self.list.iter_mut().enumerate().map(|(i, p)| (ParamId(i), p))
    }

    /// The trained parameters.
    pub fn trained(&self) -> impl Iterator<Item = (ParamId, &Parameter)> {
        self.iter().filter(|(_, p)| p.is_trained())
    }

    /// The number of parameters (tensors).
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The number of elements of all parameters together.
    pub fn element_count(&self) -> usize {
        self.list.iter().map(Parameter::len).sum()
    }

    /// The number of elements of the trained parameters together.
    pub fn trained_element_count(&self) -> usize {
        self.trained().map(|(_, p)| p.len()).sum()
    }

    /// The dtype that matrix products round their factors to.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Sets the arithmetic of matrix products, and converts frozen matrices to it. Trained parameters and
    /// vectors are always f32. Call it again after changing which parameters are trained.
    ///
    /// Quantized matrices stay quantized, and are multiplied in bf16 also in int8. In bf16, f16 weights stay
    /// f16, which takes as much memory. In int8, frozen matrices of linear layers other than the prediction
    /// head become codes, which no later call makes exact again.
    pub fn set_precision(&mut self, precision: impl Into<RunPrecision>) {
        let precision = precision.into();
        self.precision = precision.values();
        for p in &mut self.list {
            let Some(value) = p.take_value() else { continue };
            let target = p.stored_precision(self.precision);
            let half = value.is_f16() && target == Precision::Bf16 && p.role().is_linear_weight();
            let value = match value.quantization() {
                Some(_) => value,
                None if p.is_coded(precision) => value.into_codes(),
                None if half => value,
                None => value.into_precision(target),
            };
            p.set(value);
        }
    }

    /// Gives every parameter a planned value, in the dtype that [`Parameters::set_precision`] would
    /// give it, or quantized as expected. Its bytes are claimed on `meter`.
    pub fn plan_values(&mut self, precision: impl Into<RunPrecision>, meter: &Meter) {
        let precision = precision.into();
        self.precision = precision.values();
        for p in &mut self.list {
            let value = match p.quantization() {
                Some(to) => Tensor::planned_quantized(p.shape(), to, meter),
                None if p.is_coded(precision) => Tensor::planned_codes(p.shape(), meter),
                None => Tensor::planned(p.shape(), p.stored_precision(self.precision), meter),
            };
            p.set(value);
        }
    }

    /// Appends a parameter.
    pub(super) fn push(&mut self, parameter: Parameter) -> ParamId {
        self.list.push(parameter);
        ParamId(self.list.len() - 1)
    }

    /// Removes the parameters from `len` on.
    pub(super) fn truncate(&mut self, len: usize) {
        self.list.truncate(len);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::quantized::Quantization;
    use crate::tensor::role::{EmbeddingKind, Module, NormPosition, ParamKind, Tower};

    /// A frozen and a trained matrix, a bias, a norm's gain and a table of positions, all `[2, 2]`.
    fn five() -> (Parameters, [ParamId; 5]) {
        let mut params = Parameters::new();
        let mut scope = params.scope(Tower::Text, "");
        let mut declare = |name, module, kind| scope.declare(name, &[2, 2], module, kind);
        let ids = [
            declare("frozen", Module::Fc1, ParamKind::Weight),
            declare("trained", Module::Fc2, ParamKind::Weight),
            declare("bias", Module::Fc1, ParamKind::Bias),
            declare("norm", Module::Norm(NormPosition::Ffn), ParamKind::Weight),
            declare("table", Module::Embedding(EmbeddingKind::Position), ParamKind::Weight),
        ];
        params.get_mut(ids[1]).set_trained(true);
        (params, ids)
    }

    #[test]
    fn exactly_the_frozen_matrices_are_bf16() {
        let (mut params, [frozen, f32s @ ..]) = five();
        for (_, p) in params.iter_mut() {
            p.set(Tensor::new(&[2, 2], vec![1.0, 1.0 / 3.0, -2.0, 0.0]));
        }
        params.set_precision(Precision::Bf16);
        let precision = |id| params.get(id).value().precision();
        assert_eq!(precision(frozen), Precision::Bf16);
        for id in f32s {
            assert_eq!(precision(id), Precision::F32);
        }
        // Training another matrix, or computing in f32, makes it f32 again.
        params.set_precision(Precision::F32);
        let values = params.get(frozen).value().data();
        assert_eq!(values, [1.0, 0.333_984_38, -2.0, 0.0]);
    }

    #[test]
    fn planned_values_claim_the_bytes_of_real_ones() {
        let (mut params, [frozen, ..]) = five();
        let meter = Meter::new();
        params.plan_values(Precision::Bf16, &meter);
        assert_eq!(meter.live_bytes(), 4 * 2 + 4 * 4 * 4);
        assert!(params.iter().all(|(_, p)| p.value().is_planned()));
        // A quantized matrix: a byte an element and an f32 a row.
        let (mut params, _) = five();
        params.get_mut(frozen).expect_quantized(Quantization::Int8);
        let meter = Meter::new();
        params.plan_values(Precision::Bf16, &meter);
        assert_eq!(meter.live_bytes(), (4 + 2 * 4) + 4 * 4 * 4);
    }

    #[test]
    fn trained_elements_are_those_of_trained_parameters() {
        let (params, [_, trained, ..]) = five();
        assert_eq!((params.element_count(), params.trained_element_count()), (20, 4));
        assert_eq!(params.trained().map(|(id, _)| id).collect::<Vec<_>>(), [trained]);
        assert_eq!((params.find("norm").map(ParamId::index), params.find("no")), (Some(3), None));
    }
}
