//! One parameter of a model.

use super::precision::Precision;
use super::quantized::Quantization;
use super::role::{Module, Role};
use super::run_precision::RunPrecision;
use super::value::Tensor;

/// The index of a parameter in its [`Parameters`](super::Parameters).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ParamId(pub(crate) usize);

impl ParamId {
    /// The position in [`Parameters::iter`](super::Parameters::iter).
    pub fn index(self) -> usize {
        self.0
    }
}

/// A parameter: name, shape, role, value, and whether it is trained.
///
/// A parameter has no value until [`Parameter::set`] gives it one, so that a model can be counted and
/// inspected without its weights.
#[derive(Debug, Clone)]
pub struct Parameter {
    name: String,
    shape: Vec<usize>,
    role: Role,
    trained: bool,
    inert: Option<&'static str>,
    added_training: Option<AddedTraining>,
    /// How the value will be quantized, as far as is known before it is loaded.
    expected: Option<Quantization>,
    value: Option<Tensor>,
}

/// How a parameter trains that a tuning method added, as that method states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddedTraining {
    /// Whether weight decay applies to it.
    pub decays: bool,
    /// Whether its gradient is zero until another parameter of the same socket has changed: for example
    /// that of LoRA's `A` while `B` is zero.
    pub starts_without_gradient: bool,
}

impl Parameter {
    /// A frozen parameter without a value.
    pub(super) fn new(name: String, shape: &[usize], role: Role) -> Self {
        let shape = shape.to_vec();
        Self {
            name,
            shape,
            role,
            trained: false,
            inert: None,
            added_training: None,
            expected: None,
            value: None,
        }
    }

    /// The name that the tensor has in Hugging Face transformers; for an added parameter, in PEFT.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The shape: `[out, in]` for a linear layer, `[C]` for a norm or a bias.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// What it is for.
    pub fn role(&self) -> Role {
        self.role
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it has no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether a tuning method added it.
    pub fn is_added(&self) -> bool {
        matches!(self.role.module, Module::Added(_))
    }

    /// Whether it is trained; frozen otherwise.
    pub fn is_trained(&self) -> bool {
        self.trained
    }

    /// Trains (true) or freezes (false) it. An inert parameter stays frozen.
    pub fn set_trained(&mut self, trained: bool) {
        self.trained = trained && self.inert.is_none();
    }

    /// The reason why no loss depends on it, if none does. Such a parameter is inert: it is loaded,
    /// counted and saved, but never trained.
    pub fn inert_reason(&self) -> Option<&'static str> {
        self.inert
    }

    /// Marks it as inert for `reason`, and freezes it.
    pub(super) fn mark_inert(&mut self, reason: &'static str) {
        self.inert = Some(reason);
        self.trained = false;
    }

    /// How it trains, if a tuning method added it and stated that.
    pub fn added_training(&self) -> Option<AddedTraining> {
        self.added_training
    }

    /// States how it trains, on behalf of the tuning method that added it.
    pub fn set_added_training(&mut self, training: AddedTraining) {
        self.added_training = Some(training);
    }

    /// How its value is quantized; before it has a value, how that is expected to be quantized.
    pub fn quantization(&self) -> Option<Quantization> {
        match &self.value {
            Some(value) => value.quantization(),
            None => self.expected,
        }
    }

    /// Declares how its value will be quantized, for a model that is planned without its weights.
    pub fn expect_quantized(&mut self, to: Quantization) {
        self.expected = Some(to);
    }

    /// The dtype its value is stored in when products round their factors to `precision`.
    pub(super) fn stored_precision(&self, precision: Precision) -> Precision {
        let narrow = self.role.is_matmul_operand() && !self.trained;
        if narrow { precision } else { Precision::F32 }
    }

    /// Whether its value is kept as codes in a run of this precision: a frozen matrix of a linear layer
    /// other than the prediction head.
    pub(super) fn is_coded(&self, precision: RunPrecision) -> bool {
        precision == RunPrecision::Int8 && self.role.is_quantizable() && !self.trained
    }

    /// The value.
    ///
    /// # Panics
    /// If it has none yet.
    pub fn value(&self) -> &Tensor {
        match &self.value {
            Some(value) => value,
            None => panic!("parameter {} {:?} has no value yet", self.name, self.shape),
        }
    }

    /// The value, for writing.
    ///
    /// # Panics
    /// If it has none yet.
    pub fn value_mut(&mut self) -> &mut Tensor {
        match &mut self.value {
            Some(value) => value,
            None => panic!("parameter {} {:?} has no value yet", self.name, self.shape),
        }
    }

    /// Sets the value.
    ///
    /// # Panics
    /// If the value's shape is not the declared one.
    pub fn set(&mut self, value: Tensor) {
        assert_eq!(
            value.shape(),
            self.shape,
            "parameter {} was declared with another shape",
            self.name
        );
        self.value = Some(value);
    }

    pub(super) fn take_value(&mut self) -> Option<Tensor> {
        self.value.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::role::{ParamKind, Tower};

    fn parameter() -> Parameter {
        let role =
            Role { tower: Tower::Text, layer: None, module: Module::Fc1, kind: ParamKind::Weight };
        Parameter::new("fc1.weight".to_owned(), &[2, 3], role)
    }

    #[test]
    fn an_inert_parameter_is_never_trained() {
        let mut p = parameter();
        p.set_trained(true);
        assert!(p.is_trained());
        // Marking it freezes it, and it cannot be trained from then on.
        p.mark_inert("above the output");
        assert_eq!((p.is_trained(), p.inert_reason()), (false, Some("above the output")));
        p.set_trained(true);
        assert!(!p.is_trained());
    }

    #[test]
    #[should_panic(expected = "parameter fc1.weight [2, 3] has no value yet")]
    fn a_missing_value_is_named() {
        parameter().value();
    }

    #[test]
    #[should_panic(expected = "parameter fc1.weight was declared with another shape")]
    fn a_value_of_another_shape_is_refused() {
        parameter().set(Tensor::zeros(&[3, 2]));
    }
}
