//! A linear layer that ends a sublayer, with an adapter plugged in: after the sublayer (sequential) or
//! parallel to it.

use crate::ops::{self, Activation, Output};
use crate::tensor::{Bottleneck, Graph, ParamId, Var};

/// The layer's output for `x` plus the adapter's, f32. A sequential adapter reads the layer's output, a parallel
/// one the sublayer's `input`.
pub(super) fn output(
    g: &mut Graph<'_>,
    x: &Var,
    input: &Var,
    layer: (ParamId, Option<ParamId>),
    adapter: Bottleneck,
    output: Output<'_>,
) -> Var {
    if adapter.parallel {
        let y = ops::linear(g, x, layer.0, layer.1, output);
        return add_adapter(g, input, adapter, &y);
    }
    let y = ops::linear(g, x, layer.0, layer.1, Output::F32);
    let sum = match output {
        Output::AddTo(residual) => ops::add(g, y.clone(), residual),
        Output::F32 | Output::RunPrecision => y.clone(),
    };
    add_adapter(g, &y, adapter, &sum)
}

/// `sum + up(gelu(down(x)))`.
fn add_adapter(g: &mut Graph<'_>, x: &Var, adapter: Bottleneck, sum: &Var) -> Var {
    let Bottleneck { down, up, .. } = adapter;
    let h = ops::linear(g, x, down[0], Some(down[1]), Output::RunPrecision);
    let h = ops::activate(g, &h, Activation::Gelu);
    ops::linear(g, &h, up[0], Some(up[1]), Output::AddTo(sum))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::{Module, ParamKind, Parameters, Tensor, Tower};

    fn numbers(len: usize, start: f32) -> Vec<f32> {
        (0..len).map(|i| (start + i as f32).sin()).collect()
    }

    /// `x Wᵀ + b`, `W [out, in]`.
    fn linear(x: &[f32], w: &[f32], b: &[f32]) -> Vec<f32> {
        let row = |w: &[f32]| x.iter().zip(w).map(|(x, w)| x * w).sum::<f32>();
        w.chunks(x.len()).zip(b).map(|(w, b)| row(w) + b).collect()
    }

    /// A sequential and a parallel adapter, with and without a residual. A large bias `d` keeps GELU far from 0,
    /// where it is the identity.
    #[test]
    fn the_output_follows_the_definition() {
        let (inner, width, rank) = (2, 3, 2);
        let mut params = Parameters::new();
        let mut scope = params.scope(Tower::Text, "text");
        let sizes: [&[usize]; 6] =
            [&[width, inner], &[width], &[rank, width], &[rank], &[width, rank], &[width]];
        let ids = [0, 1, 2, 3, 4, 5]
            .map(|i| scope.declare(&format!("{i}"), sizes[i], Module::Fc2, ParamKind::Weight));
        let [w, b, down, d, up, u] = [0, 1, 2, 3, 4, 5].map(|i| {
            let shift = if i == 3 { 20.0 } else { 0.0 };
            let len = sizes[i].iter().product();
            numbers(len, 7.0 * i as f32).into_iter().map(|x| x + shift).collect::<Vec<_>>()
        });
        for (id, (size, values)) in ids.iter().zip(sizes.iter().zip([&w, &b, &down, &d, &up, &u])) {
            params.get_mut(*id).set(Tensor::new(size, values.clone()));
        }
        let (x, input, residual) = (numbers(2, 50.0), numbers(3, 60.0), numbers(3, 70.0));
        let sum = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a + b).collect::<Vec<_>>();
        let y = linear(&x, &w, &b);
        let raised = |z: &[f32]| linear(&linear(z, &down, &d), &up, &u);

        let var = |values: &[f32]| Var::constant(Tensor::new(&[1, values.len()], values.to_vec()));
        for (parallel, z) in [(false, &y), (true, &input)] {
            for with_residual in [false, true] {
                let adapter = Bottleneck { down: [ids[2], ids[3]], up: [ids[4], ids[5]], parallel };
                let mut g = Graph::inference(&params);
                let residual_var = var(&residual);
                let how = if with_residual { Output::AddTo(&residual_var) } else { Output::F32 };
                let layer = (ids[0], Some(ids[1]));
                let found = output(&mut g, &var(&x), &var(&input), layer, adapter, how);
                let mut expected = sum(&y, &raised(z));
                if with_residual {
                    expected = sum(&expected, &residual);
                }
                for (a, b) in found.value.data().iter().zip(&expected) {
                    assert!((a - b).abs() < 1e-4, "{parallel} {with_residual}: {a} {b}");
                }
            }
        }
    }
}
