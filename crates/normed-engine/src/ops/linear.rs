//! `y = x Wᵀ + b (+ residual)`, as `torch.nn.Linear`: `W` is `[out, in]`.
//!
//! Keeps: nothing of its input when `W` is frozen; `x` when `W` is trained. The residual's
//! gradient is the output's, passed on without a copy of its own.

use super::number::{Number, in_precision};
use super::product::{Matrix, Rows, product, scratch, store};
use super::simd::sum_rows;
use crate::tensor::{GradientSlot, Gradients, Graph, Operation, ParamId, Precision, Tensor, Var};

/// What becomes of a linear layer's output.
#[derive(Debug, Clone, Copy)]
pub enum Output<'a> {
    /// It is f32.
    F32,
    /// It is in the run's precision: for what only products, attention and activations read.
    RunPrecision,
    /// It is added to this, `[.., out]`, in f32.
    AddTo(&'a Var),
}

/// `x [.., in] -> [.., out]`.
pub fn linear(
    g: &mut Graph<'_>,
    x: &Var,
    weight: ParamId,
    bias: Option<ParamId>,
    output: Output<'_>,
) -> Var {
    let layer = Layer::of(g, weight, bias);
    let y = layer.output(&x.value, g.precision(), output);
    let (input, residual) = (x.gradient_slot(), output.residual());
    let needed = input.needs_gradient() || residual.needs_gradient() || layer.trained();
    let kept = layer.train_w.then(|| x.value.clone());
    let (shape, precision) = (x.shape().to_vec(), x.value.precision());
    g.record(y, needed, move |dy, gradients| {
        layer.add_gradients(&dy, kept.as_ref(), gradients);
        if input.needs_gradient() {
            gradients.add(input, layer.input_gradient(&dy, &shape, precision));
        }
        gradients.add(residual, dy);
    })
}

impl<'r> Output<'r> {
    /// Where the residual's gradient goes, if there is a residual that wants one.
    pub(super) fn residual(self) -> GradientSlot {
        match self {
            Output::AddTo(residual) => residual.gradient_slot(),
            Output::F32 | Output::RunPrecision => GradientSlot::none(),
        }
    }

    /// What is added.
    pub(super) fn added(self) -> Option<&'r Tensor> {
        match self {
            Output::AddTo(residual) => Some(&residual.value),
            Output::F32 | Output::RunPrecision => None,
        }
    }

    /// What it is kept in.
    pub(super) fn precision(self, g: &Graph<'_>) -> Precision {
        match self {
            Output::RunPrecision => g.precision(),
            Output::F32 | Output::AddTo(_) => Precision::F32,
        }
    }
}

/// A linear layer as one pass sees it.
pub(super) struct Layer {
    weight: ParamId,
    bias: Option<ParamId>,
    /// `[out, in]`, or a kernel whose trailing dimensions are `in`.
    w: Tensor,
    b: Option<Tensor>,
    /// Of products.
    precision: Precision,
    pub train_w: bool,
    train_b: bool,
}

impl Layer {
    pub fn of(g: &Graph<'_>, weight: ParamId, bias: Option<ParamId>) -> Self {
        Self {
            weight,
            bias,
            w: g.param(weight).value().clone(),
            b: bias.map(|id| g.param(id).value().clone()),
            precision: g.precision(),
            train_w: g.needs_gradient_of(weight),
            train_b: bias.is_some_and(|id| g.needs_gradient_of(id)),
        }
    }

    /// Whether a parameter of it is trained.
    pub fn trained(&self) -> bool {
        self.train_w || self.train_b
    }

    /// `out` and `in`.
    pub fn widths(&self) -> (usize, usize) {
        let out = self.w.shape()[0];
        (out, self.w.len() / out)
    }

    pub fn bias(&self) -> Option<&[f32]> {
        self.b.as_ref().map(Tensor::data)
    }

    /// The shape of the output for such an input.
    pub fn output_shape(&self, x: &Tensor) -> Vec<usize> {
        let (out, inner) = self.widths();
        assert!(x.len().is_multiple_of(inner), "{x:?} times {:?}", self.w);
        let mut shape = x.shape().to_vec();
        if let Some(last) = shape.last_mut() {
            *last = out;
        }
        shape
    }

    /// The output; what is in the run's precision is in `inner`.
    pub fn output(&self, x: &Tensor, inner: Precision, output: Output<'_>) -> Tensor {
        match output {
            Output::F32 => self.forward::<f32>(x, None),
            Output::RunPrecision => in_precision!(inner, self.forward(x, None)),
            Output::AddTo(residual) => self.forward::<f32>(x, Some(&residual.value)),
        }
    }

    /// Counts a product of `rows` rows with the matrix, in either direction, as the work on `x`; true
    /// if it is only planned.
    pub fn plans(&self, x: &Tensor, rows: usize) -> bool {
        let (out, inner) = self.widths();
        self.plans_packing(x, rows, out * inner)
    }

    /// As [`Layer::plans`], of a product whose right factor has `packed` elements.
    fn plans_packing(&self, x: &Tensor, rows: usize, packed: usize) -> bool {
        let (out, inner) = self.widths();
        let scratch = scratch(rows, inner, out, self.precision);
        x.count(Operation::Product { flop: 2 * rows * out * inner, packed, scratch });
        x.is_planned()
    }

    /// `x Wᵀ + b + added`.
    fn forward<T: Number>(&self, x: &Tensor, added: Option<&Tensor>) -> Tensor {
        let width = self.widths().0;
        let mut y = T::empty_like(x, &self.output_shape(x));
        if self.plans(&y, y.len() / width) {
            return y;
        }
        let (bias, added) = (self.bias(), added.map(Tensor::data));
        let out = Rows::new(T::of_mut(&mut y), width);
        self.product(
            x,
            #[inline(always)]
            |row, col, sums| {
                // SAFETY: every element is handed out once.
                let out = unsafe { out.at(row, col, sums.len()) };
                let bias = bias.map(|b| &b[col..][..sums.len()]);
                let added = added.map(|a| &a[row * width + col..][..sums.len()]);
                // Plain loops: the compiler leaves adapters out of the vectorised function.
                match (bias, added) {
                    (None, None) => {
                        for i in 0..sums.len() {
                            out[i] = T::nearest(sums[i]);
                        }
                    }
                    (Some(t), None) | (None, Some(t)) => {
                        for i in 0..sums.len() {
                            out[i] = T::nearest(sums[i] + t[i]);
                        }
                    }
                    (Some(b), Some(a)) => {
                        for i in 0..sums.len() {
                            out[i] = T::nearest(sums[i] + b[i] + a[i]);
                        }
                    }
                }
            },
        );
        y
    }

    /// Hands the sums of `x Wᵀ` to `epilogue`.
    pub fn product(&self, x: &Tensor, epilogue: impl Fn(usize, usize, &[f32]) + Sync) {
        let (out, inner) = self.widths();
        let x = Matrix::new(x.elements(), x.len() / inner, inner, inner);
        let w = Matrix::new(self.w.factor(), out, inner, inner);
        product(x, w.transposed(), self.precision, epilogue);
    }

    /// Hands the sums of `dy W` to `epilogue`.
    pub fn product_back(&self, dy: &Tensor, epilogue: impl Fn(usize, usize, &[f32]) + Sync) {
        let (out, inner) = self.widths();
        let dy = Matrix::new(dy.elements(), dy.len() / out, out, out);
        let w = Matrix::new(self.w.factor(), out, inner, inner);
        product(dy, w, self.precision, epilogue);
    }

    /// `dy W`, of this shape and precision: a gradient is kept in the precision of its value.
    pub fn input_gradient(&self, dy: &Tensor, shape: &[usize], precision: Precision) -> Tensor {
        in_precision!(precision, self.input_gradient_in(dy, shape))
    }

    fn input_gradient_in<T: Number>(&self, dy: &Tensor, shape: &[usize]) -> Tensor {
        let mut dx = T::empty_like(dy, shape);
        if self.plans(&dx, dy.len() / self.widths().0) {
            return dx;
        }
        let out = Rows::new(T::of_mut(&mut dx), self.widths().1);
        self.product_back(dy, store(out));
        dx
    }

    /// Adds the gradients of what is trained; `x` is the input, wanted if the matrix is.
    pub fn add_gradients(&self, dy: &Tensor, x: Option<&Tensor>, gradients: &mut Gradients) {
        if let Some(id) = self.bias.filter(|_| self.train_b) {
            let db = in_precision!(dy.precision(), column_sums(dy));
            gradients.add_param(id, db);
        }
        if let Some(x) = x.filter(|_| self.train_w) {
            let (out, inner) = self.widths();
            let rows = dy.len() / out;
            let mut dw = dy.empty_like(self.w.shape(), Precision::F32);
            if self.plans_packing(&dw, rows, rows * inner) {
                return gradients.add_param(self.weight, dw);
            }
            let d = Matrix::new(dy.elements(), rows, out, out);
            let x = Matrix::new(x.elements(), rows, inner, inner);
            let to = Rows::new(dw.data_mut(), inner);
            product(d.transposed(), x, self.precision, store(to));
            gradients.add_param(self.weight, dw);
        }
    }
}

/// `[C]`, of `x [.., C]`.
pub(super) fn column_sums<T: Number>(x: &Tensor) -> Tensor {
    let width = x.width();
    sum_rows(
        x,
        x.rows(),
        width,
        #[inline(always)]
        |i, sums| {
            for (s, x) in sums.iter_mut().zip(&T::of(x)[i * width..][..width]) {
                *s += x.wide();
            }
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::check::{close, finite_differences, parameters};

    #[test]
    fn equals_the_plain_sum() {
        let (params, id) = parameters(&[&[2, 3, 5], &[4, 5], &[4], &[2, 3, 4]]);
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
        close(y.value.data(), &want, 1e-6);
    }

    #[test]
    fn finite_differences_agree() {
        let (mut params, id) = parameters(&[&[2, 3, 5], &[4, 5], &[4], &[2, 3, 4]]);
        finite_differences(
            &mut params,
            |g| {
                let (x, r) = (g.parameter(id[0]), g.parameter(id[3]));
                linear(g, &x, id[1], Some(id[2]), Output::AddTo(&r))
            },
            1e-3,
        );
    }
}
