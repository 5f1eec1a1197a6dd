//! Linear layer, as `torch.nn.Linear`: `y = x Wᵀ + b (+ residual)`, where `W` is `[out, in]`.
//!
//! Keeps for backward: nothing of its input if `W` is frozen, `x` if `W` is trained. The residual's
//! gradient is the output's gradient, passed on without a copy.

use super::element::{Element, dispatch};
use super::product::{
    Matrix, Rows, code_scratch_bytes, multiply, multiply_codes, scratch_bytes, store,
};
use super::simd::sum_rows;
use crate::tensor::{GradientSlot, Gradients, Graph, Operation, ParamId, Precision, Tensor, Var};

/// The form of a linear layer's output.
#[derive(Debug, Clone, Copy)]
pub enum Output<'a> {
    /// The output is f32.
    F32,
    /// The output is in the run's precision, for values that only products, attention and activations
    /// read.
    RunPrecision,
    /// The output is added to this residual, `[.., out]`, in f32.
    AddTo(&'a Var),
}

/// `x Wᵀ + b`: `x [.., in]` becomes `[.., out]`, with the weight `[out, in]` and the bias `[out]`.
///
/// A weight with more than two dimensions, as a convolution's kernel, counts as `[out, in]` with `in` the
/// product of its trailing dimensions.
///
/// # Panics
/// If the number of elements of `x` is not a multiple of `in`.
///
/// # Example
/// ```
/// use normed_engine::ops::{Output, linear};
/// use normed_engine::tensor::{
///     AttentionProjection, Graph, Module, ParamKind, Parameters, Tensor, Tower, Var,
/// };
///
/// let mut params = Parameters::new();
/// let mut scope = params.scope(Tower::Vision, "query");
/// let module = Module::Attention(AttentionProjection::Query);
/// let weight = scope.declare("weight", &[2, 3], module, ParamKind::Weight);
/// let bias = scope.declare("bias", &[2], module, ParamKind::Bias);
/// params.get_mut(weight).set(Tensor::new(&[2, 3], vec![1.0, 0.0, 0.0, 0.0, 1.0, 1.0]));
/// params.get_mut(bias).set(Tensor::new(&[2], vec![0.5, -0.5]));
///
/// let mut g = Graph::inference(&params);
/// let x = Var::constant(Tensor::new(&[1, 3], vec![1.0, 2.0, 3.0]));
/// let y = linear(&mut g, &x, weight, Some(bias), Output::F32);
/// assert_eq!(y.shape(), [1, 2]);
/// assert_eq!(y.value.data(), &[1.5, 4.5]);
/// ```
pub fn linear(
    g: &mut Graph<'_>,
    x: &Var,
    weight: ParamId,
    bias: Option<ParamId>,
    output: Output<'_>,
) -> Var {
    let layer = LinearLayer::new(g, weight, bias);
    let y = layer.forward(&x.value, g.precision(), output);
    let (input, residual) = (x.gradient_slot(), output.residual_slot());
    let needed = input.needs_gradient() || residual.needs_gradient() || layer.is_trained();
    let kept = layer.train_weight.then(|| x.value.clone());
    let (shape, precision) = (x.shape().to_vec(), x.value.precision());
    g.record(y, needed, move |dy, gradients| {
        layer.add_parameter_gradients(&dy, kept.as_ref(), gradients);
        if input.needs_gradient() {
            gradients.add(input, layer.input_gradient(&dy, &shape, precision));
        }
        gradients.add(residual, dy);
    })
}

impl<'r> Output<'r> {
    /// Where the residual's gradient goes. The empty slot without a residual.
    pub(super) fn residual_slot(self) -> GradientSlot {
        match self {
            Output::AddTo(residual) => residual.gradient_slot(),
            Output::F32 | Output::RunPrecision => GradientSlot::none(),
        }
    }

    /// The residual's value.
    pub(super) fn residual_value(self) -> Option<&'r Tensor> {
        match self {
            Output::AddTo(residual) => Some(&residual.value),
            Output::F32 | Output::RunPrecision => None,
        }
    }

    /// The precision of the output.
    pub(super) fn precision(self, g: &Graph<'_>) -> Precision {
        match self {
            Output::RunPrecision => g.precision(),
            Output::F32 | Output::AddTo(_) => Precision::F32,
        }
    }
}

/// The parameters of a linear layer in one pass, with its products. Operations that fuse several layers
/// are made of these.
pub(super) struct LinearLayer {
    weight: ParamId,
    bias: Option<ParamId>,
    /// `[out, in]`, or a kernel whose trailing dimensions are `in`.
    weight_value: Tensor,
    /// `[out]`.
    bias_value: Option<Tensor>,
    /// What factors of products are rounded to.
    precision: Precision,
    /// Whether this pass wants the weight's gradient.
    pub train_weight: bool,
    /// Whether this pass wants the bias's gradient.
    train_bias: bool,
}

impl LinearLayer {
    /// The layer with this weight `[out, in]` and bias `[out]`.
    pub fn new(g: &Graph<'_>, weight: ParamId, bias: Option<ParamId>) -> Self {
        Self {
            weight,
            bias,
            weight_value: g.param(weight).value().clone(),
            bias_value: bias.map(|id| g.param(id).value().clone()),
            precision: g.precision(),
            train_weight: g.needs_gradient_of(weight),
            train_bias: bias.is_some_and(|id| g.needs_gradient_of(id)),
        }
    }

    /// Whether this pass wants the gradient of the weight or of the bias.
    pub fn is_trained(&self) -> bool {
        self.train_weight || self.train_bias
    }

    /// `out` and `in`.
    pub fn dims(&self) -> (usize, usize) {
        let out = self.weight_value.shape()[0];
        (out, self.weight_value.len() / out)
    }

    /// The elements of the bias, `[out]`.
    pub fn bias(&self) -> Option<&[f32]> {
        self.bias_value.as_ref().map(Tensor::data)
    }

    /// The shape of the output for the input `x`.
    pub fn output_shape(&self, x: &Tensor) -> Vec<usize> {
        let (out, inner) = self.dims();
        assert!(
            x.len().is_multiple_of(inner),
            "a linear layer with the weight {:?} takes no input of shape {:?}",
            self.weight_value.shape(),
            x.shape()
        );
        let mut shape = x.shape().to_vec();
        if let Some(last) = shape.last_mut() {
            *last = out;
        }
        shape
    }

    /// The output for `x`, in the given form. `run_precision` is the precision of
    /// [`Output::RunPrecision`].
    pub fn forward(&self, x: &Tensor, run_precision: Precision, output: Output<'_>) -> Tensor {
        match output {
            Output::F32 => self.forward_in::<f32>(x, None),
            Output::RunPrecision => dispatch!(run_precision, self.forward_in(x, None)),
            Output::AddTo(residual) => self.forward_in::<f32>(x, Some(&residual.value)),
        }
    }

    /// Counts a product of `rows` rows with the transposed weight as the work on `x`.
    pub fn count_product(&self, x: &Tensor, rows: usize) {
        let (out, inner) = self.dims();
        self.count_packed_product(x, rows, out * inner);
    }

    /// Counts a product of `rows` rows with the weight, for the input's gradient, as the work on `x`.
    pub fn count_backward_product(&self, x: &Tensor, rows: usize) {
        self.weight_value.claim_backward_codes();
        self.count_product(x, rows);
    }

    /// [`LinearLayer::count_product`] with a right factor of `packed` elements.
    fn count_packed_product(&self, x: &Tensor, rows: usize, packed: usize) {
        let (out, inner) = self.dims();
        let scratch = if self.weight_value.has_codes() {
            code_scratch_bytes(rows, inner.max(out))
        } else {
            scratch_bytes(rows, inner, out, self.precision)
        };
        x.count(Operation::Product { flop: 2 * rows * out * inner, packed, scratch });
    }

    /// `x Wᵀ + b + residual`.
    fn forward_in<T: Element>(&self, x: &Tensor, residual: Option<&Tensor>) -> Tensor {
        let width = self.dims().0;
        let mut y = T::empty_like(x, &self.output_shape(x));
        self.count_product(&y, y.len() / width);
        if y.is_planned() {
            return y;
        }
        let (bias, residual) = (self.bias(), residual.map(Tensor::data));
        let out = Rows::new(T::slice_mut(&mut y), width);
        self.forward_product(
            x,
            #[inline(always)]
            |row, col, sums| {
                // SAFETY: `out` is this function's own tensor of the product's size, and every element
                // is handed out once.
                let out = unsafe { out.at(row, col, sums.len()) };
                let bias = bias.map(|b| &b[col..][..sums.len()]);
                let residual = residual.map(|r| &r[row * width + col..][..sums.len()]);
                // Plain loops, because the compiler does not inline iterator adapters into the
                // function that is compiled for the instruction set.
                match (bias, residual) {
                    (None, None) => {
                        for i in 0..sums.len() {
                            out[i] = T::from_f32(sums[i]);
                        }
                    }
                    (Some(term), None) | (None, Some(term)) => {
                        for i in 0..sums.len() {
                            out[i] = T::from_f32(sums[i] + term[i]);
                        }
                    }
                    (Some(bias), Some(residual)) => {
                        for i in 0..sums.len() {
                            out[i] = T::from_f32(sums[i] + bias[i] + residual[i]);
                        }
                    }
                }
            },
        );
        y
    }

    /// Calls `epilogue` with the sums of `x Wᵀ`, `[rows, out]`.
    pub fn forward_product(&self, x: &Tensor, epilogue: impl Fn(usize, usize, &[f32]) + Sync) {
        let (out, inner) = self.dims();
        let x = Matrix::new(x.elements(), x.len() / inner, inner, inner);
        if let Some(codes) = self.weight_value.codes() {
            return multiply_codes(x, codes.forward(), epilogue);
        }
        let w = Matrix::new(self.weight_value.factor(), out, inner, inner);
        multiply(x, w.transposed(), self.precision, epilogue);
    }

    /// Calls `epilogue` with the sums of `dy W`, `[rows, in]`.
    pub fn backward_product(&self, dy: &Tensor, epilogue: impl Fn(usize, usize, &[f32]) + Sync) {
        let (out, inner) = self.dims();
        let dy = Matrix::new(dy.elements(), dy.len() / out, out, out);
        if let Some(codes) = self.weight_value.codes() {
            return multiply_codes(dy, codes.backward(), epilogue);
        }
        let w = Matrix::new(self.weight_value.factor(), out, inner, inner);
        multiply(dy, w, self.precision, epilogue);
    }

    /// The input's gradient `dy W`, in the shape and the precision of the input.
    pub fn input_gradient(&self, dy: &Tensor, shape: &[usize], precision: Precision) -> Tensor {
        dispatch!(precision, self.input_gradient_in(dy, shape))
    }

    fn input_gradient_in<T: Element>(&self, dy: &Tensor, shape: &[usize]) -> Tensor {
        let (out, inner) = self.dims();
        let mut dx = T::empty_like(dy, shape);
        self.count_backward_product(&dx, dy.len() / out);
        if dx.is_planned() {
            return dx;
        }
        // SAFETY: One product of the size of `dx`, which is this function's own.
        let epilogue = unsafe { store(Rows::new(T::slice_mut(&mut dx), inner)) };
        self.backward_product(dy, epilogue);
        dx
    }

    /// Adds the gradients of the trained parameters to `gradients`. `x` is the input, which is needed if
    /// the weight is trained.
    pub fn add_parameter_gradients(
        &self,
        dy: &Tensor,
        x: Option<&Tensor>,
        gradients: &mut Gradients,
    ) {
        if let Some(id) = self.bias.filter(|_| self.train_bias) {
            let db = dispatch!(dy.precision(), column_sums(dy));
            gradients.add_param(id, db);
        }
        if let Some(x) = x.filter(|_| self.train_weight) {
            gradients.add_param(self.weight, self.weight_gradient(dy, x));
        }
    }

    /// `dyᵀ x`, in the shape of the weight, f32.
    fn weight_gradient(&self, dy: &Tensor, x: &Tensor) -> Tensor {
        let (out, inner) = self.dims();
        let rows = dy.len() / out;
        let mut dw = dy.empty_like(self.weight_value.shape(), Precision::F32);
        self.count_packed_product(&dw, rows, rows * inner);
        if dw.is_planned() {
            return dw;
        }
        let dy = Matrix::new(dy.elements(), rows, out, out);
        let x = Matrix::new(x.elements(), rows, inner, inner);
        // SAFETY: One product of the size of `dw`, which is this function's own.
        let epilogue = unsafe { store(Rows::new(dw.data_mut(), inner)) };
        multiply(dy.transposed(), x, self.precision, epilogue);
        dw
    }
}

/// The sums of the columns, `[C]`, of `x [.., C]`.
pub(super) fn column_sums<T: Element>(x: &Tensor) -> Tensor {
    let width = x.width();
    sum_rows(
        x,
        x.rows(),
        width,
        #[inline(always)]
        |i, sums| {
            for (s, x) in sums.iter_mut().zip(&T::slice(x)[i * width..][..width]) {
                *s += x.to_f32();
            }
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{assert_close, check_gradients, random_parameters};

    #[test]
    fn matches_the_plain_formula() {
        let (params, id) = random_parameters(&[&[2, 3, 5], &[4, 5], &[4], &[2, 3, 4]]);
        let mut g = Graph::inference(&params);
        let (x, r) = (g.parameter(id[0]), g.parameter(id[3]));
        let y = linear(&mut g, &x, id[1], Some(id[2]), Output::AddTo(&r));
        let [x, w, b, r] = [0, 1, 2, 3].map(|i| params.get(id[i]).value().data().to_vec());
        let want: Vec<f32> = (0..24)
            .map(|i| {
                let (row, o) = (i / 4, i % 4);
                let dot: f32 = (0..5).map(|j| x[row * 5 + j] * w[o * 5 + j]).sum();
                dot + b[o] + r[i]
            })
            .collect();
        assert_eq!(y.shape(), [2, 3, 4]);
        assert_close(y.value.data(), &want, 1e-6);
    }

    #[test]
    fn gradients_match_finite_differences() {
        let (mut params, id) = random_parameters(&[&[2, 3, 5], &[4, 5], &[4], &[2, 3, 4]]);
        check_gradients(
            &mut params,
            |g| {
                let (x, r) = (g.parameter(id[0]), g.parameter(id[3]));
                linear(g, &x, id[1], Some(id[2]), Output::AddTo(&r))
            },
            1e-3,
        );
    }
}
