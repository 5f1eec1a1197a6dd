//! The tape: what was computed from what, as far down as something is trained.

use std::cell::Cell;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Meter, ParamId, Parameter, Parameters, Plug, Precision, PrefixKv, Tensor};

/// What is computed again in backward rather than kept. Each includes those before it, takes more
/// time and less memory, and gives the same gradients.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Recompute {
    /// Nothing: what backward needs is kept.
    #[default]
    None,
    /// What feed-forward networks put into their activation.
    Ffn,
    /// Queries, keys and values, and the attention over them.
    Attention,
    /// Whole blocks: only what they start from is kept (Chen et al. 2016, arXiv 1604.06174).
    Blocks,
}

impl Recompute {
    /// Every level, from the fastest to the smallest.
    pub const ALL: [Recompute; 4] =
        [Recompute::None, Recompute::Ffn, Recompute::Attention, Recompute::Blocks];

    /// The name that recipes use.
    pub fn name(self) -> &'static str {
        match self {
            Recompute::None => "none",
            Recompute::Ffn => "ffn",
            Recompute::Attention => "attention",
            Recompute::Blocks => "blocks",
        }
    }
}

/// A value inside a [`Graph`], and where its gradient goes if anything below it is trained.
#[derive(Debug, Clone)]
pub struct Var {
    /// The value.
    pub value: Tensor,
    source: GradientSlot,
}

/// Where a value came from, and so where its gradient goes. Backward passes keep this rather than
/// the [`Var`], so that no value outlives its use.
#[derive(Debug, Clone, Copy)]
pub struct GradientSlot(Option<usize>);

impl GradientSlot {
    /// Of a value that needs no gradient.
    pub fn none() -> Self {
        Self(None)
    }

    /// Whether something below is trained.
    pub fn needs_gradient(self) -> bool {
        self.0.is_some()
    }
}

impl Var {
    /// A value that needs no gradient: an input, or anything below the first trained parameter.
    pub fn constant(value: Tensor) -> Self {
        Self { value, source: GradientSlot::none() }
    }

    /// Whether something below this value is trained.
    pub fn needs_gradient(&self) -> bool {
        self.source.needs_gradient()
    }

    /// Where its gradient goes.
    pub fn gradient_slot(&self) -> GradientSlot {
        self.source
    }

    /// The extent of each dimension.
    pub fn shape(&self) -> &[usize] {
        self.value.shape()
    }
}

/// Given the gradient of an operation's output, adds those of its inputs and parameters.
type Backward = Box<dyn FnOnce(Tensor, &mut Gradients) + Send>;

/// As [`Backward`], of operations that are computed again, which takes the parameters.
type RecomputeBackward = Box<dyn FnOnce(&Parameters, Tensor, &mut Gradients) + Send>;

enum Node {
    /// What a checkpoint computes again from: its gradient stays where it is.
    Input,
    Operation(Backward),
    Checkpoint(RecomputeBackward),
}

/// One forward pass: the parameters it reads and, when training, the tape it writes.
pub struct Graph<'p> {
    params: &'p Parameters,
    tape: Option<Vec<Node>>,
    recompute: Recompute,
    /// What is dropped inside sockets is drawn from this, where anything is.
    dropout_seeds: Option<DropoutSeeds>,
    /// Whether the pass came upon a parameter that is trained.
    met_trained: Cell<bool>,
    last: OutputUse,
}

/// What a training pass dropout_seeds its random numbers from.
#[derive(Debug, Clone)]
pub struct DropoutSeeds {
    /// The run's.
    pub seed: u64,
    /// `[B]`: one an example.
    pub keys: Arc<[u64]>,
}

/// What a pass does with the value that it ends in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OutputUse {
    /// Somebody reads it.
    Needed,
    /// The pass is made again, for its tape alone.
    Unneeded,
    /// That, and it is being computed.
    Skipped,
}

impl<'p> Graph<'p> {
    /// A pass that records nothing.
    pub fn inference(params: &'p Parameters) -> Self {
        Self::new(params, None)
    }

    /// A pass that records what the trained parameters' gradients need.
    pub fn training(params: &'p Parameters) -> Self {
        Self::new(params, Some(Vec::new()))
    }

    fn new(params: &'p Parameters, tape: Option<Vec<Node>>) -> Self {
        Self {
            params,
            tape,
            recompute: Recompute::None,
            dropout_seeds: None,
            met_trained: Cell::new(false),
            last: OutputUse::Needed,
        }
    }

    /// The same pass, computing again in backward what `recompute` says.
    #[must_use]
    pub fn with_recompute(self, recompute: Recompute) -> Self {
        Self { recompute, ..self }
    }

    /// The same pass, in which sockets drop elements.
    #[must_use]
    pub fn with_dropout_seeds(self, dropout_seeds: DropoutSeeds) -> Self {
        Self { dropout_seeds: Some(dropout_seeds), ..self }
    }

    /// What sockets draw from, where they drop anything.
    pub fn dropout_seeds(&self) -> Option<&DropoutSeeds> {
        self.dropout_seeds.as_ref()
    }

    /// What is plugged into the linear layer with this weight.
    pub fn plug(&self, weight: ParamId) -> Option<Plug> {
        self.params.plug(weight)
    }

    /// What stands before the keys that this weight makes, and their values.
    pub fn prefix(&self, key: ParamId) -> Option<PrefixKv> {
        self.params.prefix(key)
    }

    /// The virtual tokens before those that this table embeds.
    pub fn soft_prompt(&self, table: ParamId) -> Option<ParamId> {
        self.params.soft_prompt(table)
    }

    /// The parameter `id`.
    pub fn param(&self, id: ParamId) -> &'p Parameter {
        let parameter = self.params.get(id);
        self.met_trained.set(self.met_trained.get() | parameter.trained);
        parameter
    }

    /// Whether this pass computes again in backward what `level` names.
    pub fn is_recomputed(&self, level: Recompute) -> bool {
        self.tape.is_some() && self.recompute >= level
    }

    /// What products round their factors to.
    pub fn precision(&self) -> Precision {
        self.params.precision()
    }

    /// Whether this pass wants the gradient of `id`.
    pub fn needs_gradient_of(&self, id: ParamId) -> bool {
        self.tape.is_some() && self.params.get(id).trained
    }

    /// The number of operations on the tape.
    pub fn recorded(&self) -> usize {
        self.tape.as_ref().map_or(0, Vec::len)
    }

    /// A parameter as a value that operations can take as input.
    pub fn parameter(&mut self, id: ParamId) -> Var {
        let value = self.param(id).value().clone();
        let trained = self.needs_gradient_of(id);
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
        let node = needed.then(|| Node::Operation(Box::new(backward)));
        Var { value, source: self.push(node) }
    }

    fn push(&mut self, node: Option<Node>) -> GradientSlot {
        GradientSlot(self.tape.as_mut().zip(node).map(|(tape, node)| {
            tape.push(node);
            tape.len() - 1
        }))
    }

    /// `f`, in whose value a recomputed function ends. When that function is called again, nobody reads
    /// it, and an operation may give [`Graph::skipped_output`] for it.
    pub fn as_final_op(&mut self, f: impl FnOnce(&mut Self) -> Var) -> Var {
        if self.last == OutputUse::Unneeded {
            self.last = OutputUse::Skipped;
        }
        let y = f(self);
        if self.last == OutputUse::Skipped {
            self.last = OutputUse::Unneeded;
        }
        y
    }

    /// What stands for a value that nobody reads, where this pass comes upon one: it has a shape and no
    /// elements, and what is made of it has none.
    pub fn skipped_output(&self, shape: &[usize], precision: Precision) -> Option<Tensor> {
        (self.last == OutputUse::Skipped).then(|| Tensor::planned(shape, precision, &Meter::new()))
    }

    /// `f(inputs)`. If this pass computes `level` again, only the inputs are kept of it, and `f` is
    /// called once more in backward. `f` must be the same function then.
    pub fn recompute_in_backward<const N: usize>(
        &mut self,
        level: Recompute,
        inputs: [&Var; N],
        f: impl Fn(&mut Graph<'_>, [&Var; N]) -> Var + Send + 'static,
    ) -> Var {
        if !self.is_recomputed(level) {
            return f(self, inputs);
        }
        let dropout_seeds = self.dropout_seeds.clone();
        let mut plain =
            Graph { dropout_seeds: dropout_seeds.clone(), ..Graph::inference(self.params) };
        let value = f(&mut plain, inputs).value;
        if !plain.met_trained.get() && inputs.iter().all(|x| !x.needs_gradient()) {
            return Var::constant(value);
        }
        let inputs = inputs.map(Var::clone);
        let again = move |params: &Parameters, dy: Tensor, gradients: &mut Gradients| {
            let mut g =
                Graph { dropout_seeds, last: OutputUse::Unneeded, ..Graph::training(params) };
            let sources = inputs.each_ref().map(Var::gradient_slot);
            let inputs = inputs.map(|x| {
                let node = x.needs_gradient().then_some(Node::Input);
                Var { value: x.value, source: g.push(node) }
            });
            let output = f(&mut g, inputs.each_ref()).source;
            let places = inputs.map(|x| x.source);
            let outer = std::mem::take(&mut gradients.nodes);
            g.backward(output, dy, gradients);
            let mut inner = std::mem::replace(&mut gradients.nodes, outer);
            for (source, place) in sources.into_iter().zip(places) {
                if let Some(gradient) = place.0.and_then(|place| inner[place].take()) {
                    gradients.add(source, gradient);
                }
            }
        };
        Var { value, source: self.push(Some(Node::Checkpoint(Box::new(again)))) }
    }

    /// Sends `seed`, the loss's gradient of the value from `output`, down the tape and adds the parameters'
    /// gradients to `gradients`. What an operation kept is freed as soon as it is passed.
    pub fn backward(self, output: GradientSlot, seed: Tensor, gradients: &mut Gradients) {
        let Some(mut tape) = self.tape else { return };
        gradients.nodes.clear();
        gradients.nodes.resize_with(tape.len(), || None);
        gradients.add(output, seed);
        while let Some(node) = tape.pop() {
            let mut gradient = || gradients.nodes[tape.len()].take();
            match node {
                Node::Input => {}
                Node::Operation(backward) => {
                    if let Some(gradient) = gradient() {
                        backward(gradient, gradients);
                    }
                }
                Node::Checkpoint(again) => {
                    if let Some(gradient) = gradient() {
                        again(self.params, gradient, gradients);
                    }
                }
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
    pub fn add(&mut self, source: GradientSlot, gradient: Tensor) {
        if let Some(node) = source.0 {
            accumulate(&mut self.nodes[node], gradient);
        }
    }

    /// What has been added to the gradient of a value so far, for an operation that adds to it in
    /// place and gives it back by [`Gradients::add`].
    pub fn take(&mut self, source: GradientSlot) -> Option<Tensor> {
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
