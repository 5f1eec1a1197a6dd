//! Gradients on their way through a backward pass.

use super::parameter::ParamId;
use super::value::Tensor;

/// Where the gradient of a value is accumulated; nowhere, if nothing before the value is trained.
///
/// The backward of an operation keeps the slots of its inputs rather than the inputs themselves, so that
/// no value outlives its use.
#[derive(Debug, Clone, Copy)]
pub struct GradientSlot(pub(super) Option<usize>);

impl GradientSlot {
    /// The slot of a value that needs no gradient.
    pub fn none() -> Self {
        Self(None)
    }

    /// Whether the value needs a gradient: whether something that it was computed from is trained.
    pub fn needs_gradient(self) -> bool {
        self.0.is_some()
    }
}

/// The gradients of values during a backward pass, and those of parameters, summed over passes.
#[derive(Debug, Default)]
pub struct Gradients {
    /// Those of values, by the index of their operation on the tape.
    slots: Vec<Option<Tensor>>,
    params: Vec<Option<Tensor>>,
}

impl Gradients {
    /// No gradients yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds to the gradient of a value. Does nothing if the value needs none.
    pub fn add(&mut self, slot: GradientSlot, gradient: Tensor) {
        if let Some(index) = slot.0 {
            accumulate(&mut self.slots[index], gradient);
        }
    }

    /// Takes what has been added to the gradient of a value so far. An operation that adds to it in
    /// place gives it back by [`Gradients::add`].
    pub fn take(&mut self, slot: GradientSlot) -> Option<Tensor> {
        self.slots[slot.0?].take()
    }

    /// Adds to the gradient of the parameter `id`.
    pub fn add_param(&mut self, id: ParamId, gradient: Tensor) {
        if self.params.len() <= id.index() {
            self.params.resize_with(id.index() + 1, || None);
        }
        accumulate(&mut self.params[id.index()], gradient);
    }

    /// The gradient of the parameter `id`. `None` if nothing was added to it.
    pub fn param(&self, id: ParamId) -> Option<&Tensor> {
        self.params.get(id.index())?.as_ref()
    }

    /// Removes the gradients of all parameters.
    pub fn clear(&mut self) {
        self.params.clear();
    }

    /// Begins the backward of a tape with this many operations. Returns the gradients of values of the
    /// tape that is interrupted by it, for [`Gradients::end_tape`].
    pub(super) fn begin_tape(&mut self, operations: usize) -> InterruptedTape {
        let mut slots = Vec::new();
        slots.resize_with(operations, || None);
        InterruptedTape(std::mem::replace(&mut self.slots, slots))
    }

    /// Ends the backward of a tape, and resumes the interrupted one. Returns the gradients of the
    /// tape's values that nobody took.
    pub(super) fn end_tape(&mut self, interrupted: InterruptedTape) -> Vec<Option<Tensor>> {
        std::mem::replace(&mut self.slots, interrupted.0)
    }
}

/// The gradients of a tape's values while the backward of another tape runs.
pub(super) struct InterruptedTape(Vec<Option<Tensor>>);

fn accumulate(sum: &mut Option<Tensor>, gradient: Tensor) {
    match sum {
        Some(sum) => sum.add_assign(&gradient),
        None => *sum = Some(gradient),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(x: f32) -> Tensor {
        Tensor::new(&[1], vec![x])
    }

    #[test]
    fn gradients_of_values_are_summed_and_taken_once() {
        let mut gradients = Gradients::new();
        let interrupted = gradients.begin_tape(2);
        let slot = GradientSlot(Some(1));
        gradients.add(slot, one(1.0));
        gradients.add(slot, one(2.0));
        gradients.add(GradientSlot::none(), one(9.0));
        assert_eq!(gradients.take(slot).unwrap().data(), [3.0]);
        assert!(gradients.take(slot).is_none() && gradients.take(GradientSlot::none()).is_none());
        gradients.add(slot, one(4.0));
        let left = gradients.end_tape(interrupted);
        assert!(left[0].is_none());
        assert_eq!(left[1].as_ref().unwrap().data(), [4.0]);
    }

    #[test]
    fn another_tape_interrupts_without_a_trace() {
        let mut gradients = Gradients::new();
        let slot = GradientSlot(Some(0));
        let nothing = gradients.begin_tape(1);
        gradients.add(slot, one(1.0));
        let interrupted = gradients.begin_tape(1);
        assert!(gradients.take(slot).is_none());
        gradients.add(slot, one(5.0));
        gradients.end_tape(interrupted);
        assert_eq!(gradients.take(slot).unwrap().data(), [1.0]);
        assert!(gradients.end_tape(nothing)[0].is_none());
    }

    #[test]
    fn gradients_of_parameters_are_summed_until_they_are_cleared() {
        let (mut gradients, id) = (Gradients::new(), ParamId(3));
        assert!(gradients.param(id).is_none());
        gradients.add_param(id, one(1.0));
        gradients.add_param(id, one(0.5));
        assert_eq!(gradients.param(id).unwrap().data(), [1.5]);
        assert!(gradients.param(ParamId(2)).is_none());
        gradients.clear();
        assert!(gradients.param(id).is_none());
    }
}
