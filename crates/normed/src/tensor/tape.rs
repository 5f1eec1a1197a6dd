//! The tape: what was computed from what, as far down as something is trained.

use super::{ParamId, Parameter, Parameters, Precision, Tensor};

/// A value inside a [`Graph`], and where its gradient goes if anything below it is trained.
#[derive(Debug, Clone)]
pub struct Var {
    /// The value.
    pub value: Tensor,
    source: Source,
}

/// Where a value came from, and so where its gradient goes. Backward passes keep this rather than
/// the [`Var`], so that no value outlives its use.
#[derive(Debug, Clone, Copy)]
pub struct Source(Option<usize>);

impl Source {
    /// Whether something below is trained.
    pub fn needs_gradient(self) -> bool {
        self.0.is_some()
    }
}

impl Var {
    /// A value that needs no gradient: an input, or anything below the first trained parameter.
    pub fn constant(value: Tensor) -> Self {
        Self { value, source: Source(None) }
    }

    /// Whether something below this value is trained.
    pub fn needs_gradient(&self) -> bool {
        self.source.needs_gradient()
    }

    /// Where its gradient goes.
    pub fn source(&self) -> Source {
        self.source
    }

    /// The extent of each dimension.
    pub fn shape(&self) -> &[usize] {
        self.value.shape()
    }
}

/// Given the gradient of an operation's output, adds those of its inputs and parameters.
type Backward = Box<dyn FnOnce(Tensor, &mut Gradients) + Send>;

/// One forward pass: the parameters it reads and, when training, the tape it writes.
pub struct Graph<'p> {
    params: &'p Parameters,
    tape: Option<Vec<Backward>>,
}

impl<'p> Graph<'p> {
    /// A pass that records nothing.
    pub fn inference(params: &'p Parameters) -> Self {
        Self { params, tape: None }
    }

    /// A pass that records what the trained parameters' gradients need.
    pub fn training(params: &'p Parameters) -> Self {
        Self { params, tape: Some(Vec::new()) }
    }

    /// The parameter `id`.
    pub fn param(&self, id: ParamId) -> &'p Parameter {
        self.params.get(id)
    }

    /// What products round their factors to.
    pub fn precision(&self) -> Precision {
        self.params.precision()
    }

    /// Whether this pass wants the gradient of `id`.
    pub fn trains(&self, id: ParamId) -> bool {
        self.tape.is_some() && self.params.get(id).trained
    }

    /// The number of operations on the tape.
    pub fn recorded(&self) -> usize {
        self.tape.as_ref().map_or(0, Vec::len)
    }

    /// A parameter as a value that operations can take as input.
    pub fn parameter(&mut self, id: ParamId) -> Var {
        let value = self.param(id).value().clone();
        let trained = self.trains(id);
        self.record(value, trained, move |gradient, gradients| gradients.add_param(id, gradient))
    }

    /// An operation's output. `needed` says whether any input or parameter wants a gradient;
    /// `backward` is only kept if so.
    pub fn record(
        &mut self,
        value: Tensor,
        needed: bool,
        backward: impl FnOnce(Tensor, &mut Gradients) + Send + 'static,
    ) -> Var {
        let node = match &mut self.tape {
            Some(tape) if needed => {
                tape.push(Box::new(backward));
                Some(tape.len() - 1)
            }
            _ => None,
        };
        Var { value, source: Source(node) }
    }

    /// Sends `seed`, the loss's gradient of `output`, down the tape and adds the parameters'
    /// gradients to `gradients`. What an operation kept is freed as soon as it is passed.
    pub fn backward(self, output: &Var, seed: Tensor, gradients: &mut Gradients) {
        let Some(mut tape) = self.tape else { return };
        gradients.nodes.clear();
        gradients.nodes.resize_with(tape.len(), || None);
        gradients.add(output.source, seed);
        while let Some(backward) = tape.pop() {
            if let Some(gradient) = gradients.nodes[tape.len()].take() {
                backward(gradient, gradients);
            }
        }
    }
}

/// Gradients on their way down, and those of the parameters, summed over passes.
#[derive(Debug, Default)]
pub struct Gradients {
    nodes: Vec<Option<Tensor>>,
    params: Vec<Option<Tensor>>,
}

impl Gradients {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds to the gradient of a value; nothing happens if it wants none.
    pub fn add(&mut self, source: Source, gradient: Tensor) {
        if let Some(node) = source.0 {
            accumulate(&mut self.nodes[node], gradient);
        }
    }

    /// What has been added to the gradient of a value so far, for an operation that adds to it in
    /// place and gives it back by [`Gradients::add`].
    pub fn take(&mut self, source: Source) -> Option<Tensor> {
        self.nodes[source.0?].take()
    }

    /// Adds to the gradient of the parameter `id`.
    pub fn add_param(&mut self, id: ParamId, gradient: Tensor) {
        if self.params.len() <= id.index() {
            self.params.resize_with(id.index() + 1, || None);
        }
        accumulate(&mut self.params[id.index()], gradient);
    }

    /// The gradient of the parameter `id`, if any reached it.
    pub fn param(&self, id: ParamId) -> Option<&Tensor> {
        self.params.get(id.index())?.as_ref()
    }

    /// Forgets the parameters' gradients.
    pub fn clear(&mut self) {
        self.params.clear();
    }
}

fn accumulate(slot: &mut Option<Tensor>, gradient: Tensor) {
    match slot {
        Some(sum) => sum.add_assign(&gradient),
        None => *slot = Some(gradient),
    }
}
