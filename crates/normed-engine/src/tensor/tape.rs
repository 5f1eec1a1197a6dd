//! The tape: recording a forward pass, and sending gradients back through it.
//!
//! An operation computes its output, and calls [`Graph::record`] with a closure that computes its
//! gradients from exactly what it kept. [`Graph::backward`] calls these closures in reverse order, and
//! drops each when it is done. Nothing is recorded for an output that depends on no trained parameter.
//!
//! [`Graph::recompute_in_backward`] trades time for memory: of a function it keeps the inputs alone, and
//! calls it again in the backward pass, on a tape of its own.

use std::cell::Cell;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::gradients::{GradientSlot, Gradients};
use super::meter::Meter;
use super::parameter::{ParamId, Parameter};
use super::parameters::Parameters;
use super::plug::{Plug, PrefixKv};
use super::precision::Precision;
use super::value::Tensor;

/// Which activations are computed again in the backward pass instead of being kept.
///
/// Each level includes the ones before it, takes more time and less memory, and gives the same gradients
/// bit for bit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Recompute {
    /// None: whatever the backward pass needs is kept.
    #[default]
    None,
    /// The input of the activation in each feed-forward network.
    Ffn,
    /// Also queries, keys and values, and the attention over them.
    Attention,
    /// Whole blocks: only their inputs are kept (Chen et al. 2016, arXiv 1604.06174).
    Blocks,
}

impl Recompute {
    /// Every level, from the fastest to the one that takes the least memory.
    pub const ALL: [Recompute; 4] =
        [Recompute::None, Recompute::Ffn, Recompute::Attention, Recompute::Blocks];

    /// The name in recipes.
    pub fn name(self) -> &'static str {
        match self {
            Recompute::None => "none",
            Recompute::Ffn => "ffn",
            Recompute::Attention => "attention",
            Recompute::Blocks => "blocks",
        }
    }
}

/// A value of a [`Graph`], with the slot of its gradient.
#[derive(Debug, Clone)]
pub struct Var {
    /// The value.
    pub value: Tensor,
    slot: GradientSlot,
}

impl Var {
    /// A value that needs no gradient, such as an input of the model.
    pub fn constant(value: Tensor) -> Self {
        Self { value, slot: GradientSlot::none() }
    }

    /// Whether the value needs a gradient: whether something that it was computed from is trained.
    pub fn needs_gradient(&self) -> bool {
        self.slot.needs_gradient()
    }

    /// Where the value's gradient is accumulated.
    pub fn gradient_slot(&self) -> GradientSlot {
        self.slot
    }

    /// The size of each dimension.
    pub fn shape(&self) -> &[usize] {
        self.value.shape()
    }
}

/// The backward of an operation: given the gradient of the output, it adds the gradients of inputs and
/// parameters.
type Backward = Box<dyn FnOnce(Tensor, &mut Gradients) + Send>;

/// The backward of a recomputed function, which reads the parameters again.
type RecomputeBackward = Box<dyn FnOnce(&Parameters, Tensor, &mut Gradients) + Send>;

/// An entry of the tape.
enum Node {
    /// An input of a recomputed function. Its gradient stays in its slot until the function's backward
    /// is over.
    Input,
    Operation(Backward),
    Recomputed(RecomputeBackward),
}

/// What a pass does with the output of the operation that it is computing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OutputUse {
    /// The output is read.
    Needed,
    /// The pass is repeated for its tape alone: its final output is not read, but others are.
    Unneeded,
    /// As `Unneeded`, and the operation is the final one, so that it need not compute its output.
    Skipped,
}

/// The seeds of random numbers in one training pass: of what the dropout inside plugs drops.
#[derive(Debug, Clone)]
pub struct DropoutSeeds {
    /// The run's seed.
    pub seed: u64,
    /// A key for each example of the batch, `[B]`.
    pub keys: Arc<[u64]>,
}

/// One forward pass: the parameters that it reads, and in training the tape that it records.
///
/// ```
/// use normed_engine::tensor::*;
///
/// // Multiplies by a parameter of one element.
/// fn scale(g: &mut Graph<'_>, x: &Var, id: ParamId) -> Var {
///     let factor = g.param(id).value().data()[0];
///     let (slot, trained) = (x.gradient_slot(), g.needs_gradient_of(id));
///     let scaled = |x: &Tensor, factor: f32| {
///         Tensor::new(x.shape(), x.data().iter().map(|x| x * factor).collect())
///     };
///     let y = scaled(&x.value, factor);
///     let kept = trained.then(|| x.value.clone());
///     g.record(y, x.needs_gradient() || trained, move |dy, gradients| {
///         if let Some(x) = kept {
///             let dot = dy.data().iter().zip(x.data()).map(|(dy, x)| dy * x).sum();
///             gradients.add_param(id, Tensor::new(&[1], vec![dot]));
///         }
///         gradients.add(slot, scaled(&dy, factor));
///     })
/// }
///
/// let mut params = Parameters::new();
/// let mut scope = params.scope(Tower::Text, "");
/// let [a, b] = ["a", "b"].map(|name| scope.declare(name, &[1], Module::Fc1, ParamKind::Weight));
/// params.get_mut(a).set(Tensor::new(&[1], vec![2.0]));
/// params.get_mut(b).set(Tensor::new(&[1], vec![3.0]));
/// params.get_mut(b).set_trained(true);
///
/// // y = b (a x). Only the second operation is recorded, since `a` is frozen.
/// let mut g = Graph::training(&params);
/// let x = Var::constant(Tensor::new(&[2], vec![1.0, -4.0]));
/// let h = scale(&mut g, &x, a);
/// let y = scale(&mut g, &h, b);
/// assert_eq!((y.value.data(), g.recorded_operations()), (&[6.0, -24.0][..], 1));
///
/// let mut gradients = Gradients::new();
/// g.backward(y.gradient_slot(), Tensor::new(&[2], vec![1.0, 1.0]), &mut gradients);
/// assert_eq!(gradients.param(b).unwrap().data(), [2.0 - 8.0]);
/// assert!(gradients.param(a).is_none());
/// ```
pub struct Graph<'p> {
    params: &'p Parameters,
    tape: Option<Vec<Node>>,
    recompute: Recompute,
    dropout_seeds: Option<DropoutSeeds>,
    /// Whether the pass has read a trained parameter.
    read_trained: Cell<bool>,
    output_use: OutputUse,
}

impl<'p> Graph<'p> {
    /// A pass that records nothing.
    pub fn inference(params: &'p Parameters) -> Self {
        Self::new(params, None)
    }

    /// A pass that records what the gradients of the trained parameters need.
    pub fn training(params: &'p Parameters) -> Self {
        Self::new(params, Some(Vec::new()))
    }

    fn new(params: &'p Parameters, tape: Option<Vec<Node>>) -> Self {
        Self {
            params,
            tape,
            recompute: Recompute::None,
            dropout_seeds: None,
            read_trained: Cell::new(false),
            output_use: OutputUse::Needed,
        }
    }

    /// The same pass at this level of recomputation.
    #[must_use]
    pub fn with_recompute(self, recompute: Recompute) -> Self {
        Self { recompute, ..self }
    }

    /// The same pass with dropout inside plugs.
    #[must_use]
    pub fn with_dropout_seeds(self, seeds: DropoutSeeds) -> Self {
        Self { dropout_seeds: Some(seeds), ..self }
    }

    /// The seeds of dropout inside plugs. `None` if nothing is dropped, as in inference.
    pub fn dropout_seeds(&self) -> Option<&DropoutSeeds> {
        self.dropout_seeds.as_ref()
    }

    /// The plug of the linear layer with this weight.
    pub fn plug(&self, weight: ParamId) -> Option<Plug> {
        self.params.plug(weight)
    }

    /// The virtual keys and values of the self-attention whose key projection has this weight.
    pub fn prefix(&self, key: ParamId) -> Option<PrefixKv> {
        self.params.prefix(key)
    }

    /// The virtual tokens before the tokens that this table embeds.
    pub fn soft_prompt(&self, table: ParamId) -> Option<ParamId> {
        self.params.soft_prompt(table)
    }

    /// The dtype that matrix products round their factors to.
    pub fn precision(&self) -> Precision {
        self.params.precision()
    }

    /// The parameter `id`.
    pub fn param(&self, id: ParamId) -> &'p Parameter {
        let parameter = self.params.get(id);
        self.read_trained.set(self.read_trained.get() | parameter.is_trained());
        parameter
    }

    /// The parameter `id` as a value that operations take as input.
    pub fn parameter(&mut self, id: ParamId) -> Var {
        let value = self.param(id).value().clone();
        let trained = self.needs_gradient_of(id);
        self.record(value, trained, move |gradient, gradients| gradients.add_param(id, gradient))
    }

    /// Whether this pass needs the gradient of the parameter `id`.
    pub fn needs_gradient_of(&self, id: ParamId) -> bool {
        self.tape.is_some() && self.params.get(id).is_trained()
    }

    /// Whether this pass computes again in the backward pass what `level` names.
    pub fn is_recomputed(&self, level: Recompute) -> bool {
        self.tape.is_some() && self.recompute >= level
    }

    /// The number of operations on the tape. A recomputed function counts as one.
    pub fn recorded_operations(&self) -> usize {
        self.tape.as_ref().map_or(0, Vec::len)
    }

    /// Returns an operation's output as a value of this graph, and records its backward.
    ///
    /// `needed` says whether an input or a parameter of the operation needs a gradient; otherwise
    /// `backward` is dropped. `backward` is given the gradient of the output, of its shape and dtype.
    pub fn record(
        &mut self,
        value: Tensor,
        needed: bool,
        backward: impl FnOnce(Tensor, &mut Gradients) + Send + 'static,
    ) -> Var {
        let node = needed.then(|| Node::Operation(Box::new(backward)));
        Var { value, slot: self.push(node) }
    }

    fn push(&mut self, node: Option<Node>) -> GradientSlot {
        GradientSlot(self.tape.as_mut().zip(node).map(|(tape, node)| {
            tape.push(node);
            tape.len() - 1
        }))
    }

    /// Calls `f`, whose output is the output of a recomputed function.
    ///
    /// When the function is called again in the backward pass, nobody reads that output. The operation
    /// that makes it may then return [`Graph::skipped_output`] instead of computing it.
    pub fn as_final_op(&mut self, f: impl FnOnce(&mut Self) -> Var) -> Var {
        if self.output_use == OutputUse::Unneeded {
            self.output_use = OutputUse::Skipped;
        }
        let y = f(self);
        if self.output_use == OutputUse::Skipped {
            self.output_use = OutputUse::Unneeded;
        }
        y
    }

    /// A planned value in place of an output that nobody reads; see [`Graph::as_final_op`]. `None` if the
    /// output is read and has to be computed.
    pub fn skipped_output(&self, shape: &[usize], precision: Precision) -> Option<Tensor> {
        let skipped = self.output_use == OutputUse::Skipped;
        skipped.then(|| Tensor::planned(shape, precision, &Meter::new()))
    }

    /// Computes `f(inputs)`. If this pass recomputes `level`, only the inputs are kept, and `f` is called
    /// once more in the backward pass. It must compute the same both times.
    pub fn recompute_in_backward<const N: usize>(
        &mut self,
        level: Recompute,
        inputs: [&Var; N],
        f: impl Fn(&mut Graph<'_>, [&Var; N]) -> Var + Send + 'static,
    ) -> Var {
        if !self.is_recomputed(level) {
            return f(self, inputs);
        }
        let seeds = self.dropout_seeds.clone();
        let mut first = Graph { dropout_seeds: seeds.clone(), ..Graph::inference(self.params) };
        let value = f(&mut first, inputs).value;
        if !first.read_trained.get() && inputs.iter().all(|x| !x.needs_gradient()) {
            return Var::constant(value);
        }
        let inputs = inputs.map(Var::clone);
        let backward = move |params: &Parameters, dy: Tensor, gradients: &mut Gradients| {
            let mut g = Graph {
                dropout_seeds: seeds,
                output_use: OutputUse::Unneeded,
                ..Graph::training(params)
            };
            let outer_slots = inputs.each_ref().map(Var::gradient_slot);
            let inputs = inputs.map(|x| {
                let node = x.needs_gradient().then_some(Node::Input);
                Var { value: x.value, slot: g.push(node) }
            });
            let output = f(&mut g, inputs.each_ref()).slot;
            let inner_slots = inputs.map(|x| x.slot);
            let mut left = g.run_backward(output, dy, gradients);
            for (outer, inner) in outer_slots.into_iter().zip(inner_slots) {
                if let Some(gradient) = inner.0.and_then(|index| left[index].take()) {
                    gradients.add(outer, gradient);
                }
            }
        };
        Var { value, slot: self.push(Some(Node::Recomputed(Box::new(backward)))) }
    }

    /// Sends `seed`, the gradient of the loss with respect to the value of `output`, back through the
    /// tape, and adds the parameters' gradients to `gradients`. What an operation kept is dropped as soon
    /// as its backward is done.
    pub fn backward(self, output: GradientSlot, seed: Tensor, gradients: &mut Gradients) {
        self.run_backward(output, seed, gradients);
    }

    /// As [`Graph::backward`]; returns the gradients that are left in the slots of [`Node::Input`].
    fn run_backward(
        self,
        output: GradientSlot,
        seed: Tensor,
        gradients: &mut Gradients,
    ) -> Vec<Option<Tensor>> {
        let Some(mut tape) = self.tape else { return Vec::new() };
        let interrupted = gradients.begin_tape(tape.len());
        gradients.add(output, seed);
        while let Some(node) = tape.pop() {
            let slot = GradientSlot(Some(tape.len()));
            match node {
                Node::Input => {}
                Node::Operation(backward) => {
                    if let Some(gradient) = gradients.take(slot) {
                        backward(gradient, gradients);
                    }
                }
                Node::Recomputed(backward) => {
                    if let Some(gradient) = gradients.take(slot) {
                        backward(self.params, gradient, gradients);
                    }
                }
            }
        }
        gradients.end_tape(interrupted)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::tensor::role::{Module, ParamKind, Tower};

    /// Scalar parameters with these values, of which those are trained.
    fn scalars<const N: usize>(values: [f32; N], trained: &[usize]) -> (Parameters, [ParamId; N]) {
        let mut params = Parameters::new();
        let mut scope = params.scope(Tower::Text, "");
        let ids = std::array::from_fn(|i| {
            scope.declare(&i.to_string(), &[1], Module::Fc1, ParamKind::Weight)
        });
        for (i, &id) in ids.iter().enumerate() {
            params.get_mut(id).set(scalar(values[i]));
            params.get_mut(id).set_trained(trained.contains(&i));
        }
        (params, ids)
    }

    fn scalar(x: f32) -> Tensor {
        Tensor::new(&[1], vec![x])
    }

    fn times(x: &Tensor, y: &Tensor) -> Tensor {
        scalar(x.data()[0] * y.data()[0])
    }

    /// `w x`.
    fn scale(g: &mut Graph<'_>, x: &Var, w: ParamId) -> Var {
        let (factor, slot) = (g.param(w).value().clone(), x.gradient_slot());
        let trained = g.needs_gradient_of(w);
        let (y, kept) = (times(&x.value, &factor), trained.then(|| x.value.clone()));
        g.record(y, trained || x.needs_gradient(), move |dy, gradients| {
            if let Some(x) = kept {
                gradients.add_param(w, times(&dy, &x));
            }
            if slot.needs_gradient() {
                gradients.add(slot, times(&dy, &factor));
            }
        })
    }

    /// `x y`.
    fn product(g: &mut Graph<'_>, x: &Var, y: &Var) -> Var {
        let (a, b) = (x.value.clone(), y.value.clone());
        let (of_a, of_b) = (x.gradient_slot(), y.gradient_slot());
        let needed = x.needs_gradient() || y.needs_gradient();
        g.record(times(&a, &b), needed, move |dy, gradients| {
            gradients.add(of_a, times(&dy, &b));
            gradients.add(of_b, times(&dy, &a));
        })
    }

    fn input(x: f32) -> Var {
        Var::constant(scalar(x))
    }

    fn backward(g: Graph<'_>, y: &Var) -> Gradients {
        let mut gradients = Gradients::new();
        g.backward(y.gradient_slot(), scalar(1.0), &mut gradients);
        gradients
    }

    fn of(gradients: &Gradients, id: ParamId) -> Option<f32> {
        gradients.param(id).map(|gradient| gradient.data()[0])
    }

    #[test]
    fn nothing_before_the_first_trained_parameter_is_recorded() {
        let (params, [a, b, c]) = scalars([2.0, 3.0, 5.0], &[1]);
        let mut g = Graph::training(&params);
        let x = scale(&mut g, &input(7.0), a);
        assert_eq!((g.recorded_operations(), x.needs_gradient()), (0, false));
        let x = scale(&mut g, &x, b);
        let y = scale(&mut g, &x, c);
        assert_eq!((g.recorded_operations(), y.needs_gradient()), (2, true));
        let gradients = backward(g, &y);
        assert_eq!([a, b, c].map(|id| of(&gradients, id)), [None, Some(2.0 * 7.0 * 5.0), None]);
    }

    #[test]
    fn inference_records_nothing() {
        let (params, [a]) = scalars([2.0], &[0]);
        let mut g = Graph::inference(&params);
        let y = scale(&mut g, &input(7.0), a);
        assert_eq!((y.value.data(), y.needs_gradient()), (&[14.0][..], false));
        assert_eq!((g.recorded_operations(), g.needs_gradient_of(a)), (0, false));
        assert!(of(&backward(g, &y), a).is_none());
    }

    #[test]
    fn a_value_that_is_read_twice_sums_its_gradients() {
        let (params, [a]) = scalars([3.0], &[0]);
        let mut g = Graph::training(&params);
        let w = g.parameter(a);
        let square = product(&mut g, &w, &w);
        let cube = product(&mut g, &square, &w);
        let gradients = backward(g, &cube);
        assert_eq!((cube.value.data()[0], of(&gradients, a)), (27.0, Some(3.0 * 9.0)));
    }

    #[test]
    fn gradients_of_parameters_are_summed_over_passes() {
        let (params, [a]) = scalars([3.0], &[0]);
        let mut gradients = Gradients::new();
        for x in [1.0, 10.0] {
            let mut g = Graph::training(&params);
            let y = scale(&mut g, &input(x), a);
            g.backward(y.gradient_slot(), scalar(1.0), &mut gradients);
        }
        assert_eq!(of(&gradients, a), Some(11.0));
    }

    #[test]
    fn operations_run_in_reverse_and_are_dropped_one_by_one() {
        let (params, [a]) = scalars([1.0], &[0]);
        let mut g = Graph::training(&params);
        // Each operation keeps a share of `kept`, and notes its number and the shares left before it.
        let (kept, log) = (Arc::new(()), Arc::new(Mutex::new(Vec::new())));
        let mut x = g.parameter(a);
        for i in 0..3 {
            let (share, log, slot) = (Arc::clone(&kept), Arc::clone(&log), x.gradient_slot());
            x = g.record(scalar(0.0), true, move |dy, gradients| {
                log.lock().unwrap().push((i, Arc::strong_count(&share) - 1));
                gradients.add(slot, dy);
            });
        }
        // Its gradient is never asked for, so it is dropped without a call.
        let (share, unread) = (Arc::clone(&kept), Arc::clone(&log));
        g.record(scalar(0.0), true, move |_, _| {
            unread.lock().unwrap().push((9, Arc::strong_count(&share)))
        });
        assert_eq!(Arc::strong_count(&kept), 1 + 4);
        let gradients = backward(g, &x);
        assert_eq!(*log.lock().unwrap(), [(2, 3), (1, 2), (0, 1)]);
        assert_eq!((Arc::strong_count(&kept), of(&gradients, a)), (1, Some(1.0)));
    }

    /// `d (c (b (a x)))`, the middle two recomputed at `Blocks`, with the number of calls of the
    /// recomputed function.
    fn chain(g: &mut Graph<'_>, [a, b, c, d]: [ParamId; 4]) -> (Var, Arc<AtomicUsize>) {
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        let x = scale(g, &input(0.3), a);
        let x = g.recompute_in_backward(Recompute::Blocks, [&x], move |g, [x]| {
            counted.fetch_add(1, Ordering::Relaxed);
            let x = scale(g, x, b);
            scale(g, &x, c)
        });
        (scale(g, &x, d), calls)
    }

    #[test]
    fn recomputation_gives_the_same_bits() {
        for trained in [&[0, 1, 2, 3][..], &[0], &[1], &[2], &[0, 3]] {
            let (params, ids) = scalars([0.1, 0.7, 1.3, 3.1], trained);
            let mut plain = Graph::training(&params);
            let (y, _) = chain(&mut plain, ids);
            let mut again = Graph::training(&params).with_recompute(Recompute::Blocks);
            let (z, calls) = chain(&mut again, ids);
            assert_eq!(y.value.data(), z.value.data());
            assert_eq!(calls.load(Ordering::Relaxed), 1);
            // The recomputed function is one operation on the tape.
            assert!(again.recorded_operations() <= plain.recorded_operations());
            let (plain, again) = (backward(plain, &y), backward(again, &z));
            assert_eq!(calls.load(Ordering::Relaxed), 2);
            for (i, id) in ids.into_iter().enumerate() {
                assert_eq!(of(&plain, id).is_some(), trained.contains(&i));
                assert_eq!(of(&plain, id).map(f32::to_bits), of(&again, id).map(f32::to_bits));
            }
        }
    }

    #[test]
    fn nothing_is_recomputed_without_need() {
        // Below the level, in inference, and where nothing in the function or before it is trained.
        let (params, ids) = scalars([0.1, 0.7, 1.3, 3.1], &[3]);
        let graphs = [
            Graph::training(&params).with_recompute(Recompute::Attention),
            Graph::inference(&params).with_recompute(Recompute::Blocks),
            Graph::training(&params).with_recompute(Recompute::Blocks),
        ];
        for mut g in graphs {
            let (y, calls) = chain(&mut g, ids);
            assert!(g.recorded_operations() <= 1);
            backward(g, &y);
            assert_eq!(calls.load(Ordering::Relaxed), 1);
        }
    }

    #[test]
    fn levels_include_the_ones_before() {
        let params = Parameters::new();
        let g = Graph::training(&params).with_recompute(Recompute::Attention);
        let recomputed = Recompute::ALL.map(|level| g.is_recomputed(level));
        assert_eq!(recomputed, [true, true, true, false]);
    }

    #[test]
    fn only_the_final_output_is_skipped_and_only_in_the_backward() {
        let (params, [a, b]) = scalars([2.0, 3.0], &[0]);
        let log = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&log);
        let mut g = Graph::training(&params).with_recompute(Recompute::Ffn);
        assert!(g.skipped_output(&[1], Precision::F32).is_none());
        let y = g.recompute_in_backward(Recompute::Ffn, [&input(7.0)], move |g, [x]| {
            let note = |g: &Graph<'_>| {
                let skipped = g.skipped_output(&[1], Precision::F32);
                noted.lock().unwrap().push(skipped.is_some());
                skipped
            };
            note(g);
            let x = scale(g, x, a);
            let y = g.as_final_op(|g| {
                let (slot, factor) = (x.gradient_slot(), g.param(b).value().clone());
                let y = note(g).unwrap_or_else(|| times(&x.value, &factor));
                g.record(y, x.needs_gradient(), move |dy, gradients| {
                    gradients.add(slot, times(&dy, &factor));
                })
            });
            note(g);
            y
        });
        assert_eq!(y.value.data(), [2.0 * 3.0 * 7.0]);
        let gradients = backward(g, &y);
        // The first call computes everything, the second all but the final output.
        assert_eq!(*log.lock().unwrap(), [false, false, false, false, true, false]);
        assert_eq!(of(&gradients, a), Some(3.0 * 7.0));
    }

    #[test]
    fn a_recomputed_function_reads_the_same_seeds() {
        let (params, [a]) = scalars([2.0], &[0]);
        let log = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&log);
        let seeds = DropoutSeeds { seed: 5, keys: [3, 4].into() };
        let mut g =
            Graph::training(&params).with_recompute(Recompute::Blocks).with_dropout_seeds(seeds);
        let y = g.recompute_in_backward(Recompute::Blocks, [&input(1.0)], move |g, [x]| {
            let seeds = g.dropout_seeds().unwrap();
            noted.lock().unwrap().push((seeds.seed, seeds.keys.to_vec()));
            scale(g, x, a)
        });
        backward(g, &y);
        assert_eq!(*log.lock().unwrap(), [(5, vec![3, 4]), (5, vec![3, 4])]);
    }

    #[test]
    fn recomputed_functions_nest() {
        let (params, [a, b]) = scalars([2.0, 3.0], &[0, 1]);
        let mut g = Graph::training(&params).with_recompute(Recompute::Blocks);
        let y = g.recompute_in_backward(Recompute::Blocks, [&input(7.0)], move |g, [x]| {
            let x = g.recompute_in_backward(Recompute::Ffn, [x], move |g, [x]| scale(g, x, a));
            scale(g, &x, b)
        });
        let gradients = backward(g, &y);
        assert_eq!([a, b].map(|id| of(&gradients, id)), [Some(21.0), Some(14.0)]);
    }
}
