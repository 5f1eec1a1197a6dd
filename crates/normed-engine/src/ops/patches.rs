//! Image patches as rows, and the input sequence of a vision transformer.
//!
//! A convolution whose stride is the size of its kernel is a linear layer over patches:
//! [`extract_patches`] reorders the pixels, and [`linear`](super::linear()) does the rest.

use super::simd::{for_each_row, sum_rows};
use crate::tensor::{Graph, Operation, ParamId, Precision, Tensor, Var};

/// The patches of `p` by `p` pixels of `pixels [B, 3, H, W]`, f32: `[B, H/p * W/p, 3 * p * p]`, row by row.
/// The elements of a patch have the order of a convolution's kernel: channel, row, column.
///
/// # Panics
/// If `pixels` has not four dimensions.
pub fn extract_patches(pixels: &Tensor, patch: usize) -> Tensor {
    let &[b, channels, h, w] = pixels.shape() else {
        panic!("pixel values have the shape [B, 3, H, W], not {:?}", pixels.shape())
    };
    let (rows, cols) = (h / patch, w / patch);
    let width = channels * patch * patch;
    let mut out = pixels.empty_like(&[b, rows * cols, width], Precision::F32);
    out.count(Operation::Elementwise(pixels.len()));
    if out.is_planned() {
        return out;
    }
    let data = pixels.data();
    for_each_row(out.data_mut(), width, |i, row| {
        let (image, r, c) = (i / (rows * cols), i / cols % rows, i % cols);
        for (line, out) in row.chunks_exact_mut(patch).enumerate() {
            let (channel, y) = (line / patch, r * patch + line % patch);
            let start = ((image * channels + channel) * h + y) * w + c * patch;
            out.copy_from_slice(&data[start..start + patch]);
        }
    });
    out
}

/// Puts the class token `[1, 1, C]` before the patches `x [B, N, C]`, and adds the position embeddings
/// `[1, N + 1, C]`: `[B, N + 1, C]`, f32.
///
/// # Panics
/// If `x` has not three dimensions, or if there are not `N + 1` position embeddings.
pub fn prepend_class_and_add_positions(
    g: &mut Graph<'_>,
    x: &Var,
    class: ParamId,
    positions: ParamId,
) -> Var {
    let (c, p) = (g.param(class).value().clone(), g.param(positions).value().clone());
    let &[b, n, width] = x.shape() else {
        panic!("patches have the shape [B, N, C], not {:?}", x.shape())
    };
    assert_eq!(
        p.len(),
        (n + 1) * width,
        "{} has not one position embedding for each of {n} patches and the class token",
        g.param(positions).name()
    );
    let mut out = x.value.empty_like(&[b, n + 1, width], Precision::F32);
    out.count(Operation::Elementwise(b * (n + 1) * width));
    if !out.is_planned() {
        for_each_row(out.data_mut(), width, |i, row| {
            let (image, t) = (i / (n + 1), i % (n + 1));
            let source = match t {
                0 => c.data(),
                _ => &x.value.data()[(image * n + t - 1) * width..][..width],
            };
            for ((y, x), p) in row.iter_mut().zip(source).zip(&p.data()[t * width..]) {
                *y = x + p;
            }
        });
    }
    let (train_class, train_positions) =
        (g.needs_gradient_of(class), g.needs_gradient_of(positions));
    let input = x.gradient_slot();
    let needed = train_class || train_positions || input.needs_gradient();
    g.record(out, needed, move |dy, gradients| {
        if train_class || train_positions {
            let dp = sum_rows(&dy, b, (n + 1) * width, |i, sums| {
                for (s, d) in sums.iter_mut().zip(&dy.data()[i * (n + 1) * width..]) {
                    *s += d;
                }
            });
            if train_class {
                gradients.add_param(class, dp.copy_elements(0, c.shape()));
            }
            if train_positions {
                gradients.add_param(positions, dp.reshape(p.shape()));
            }
        }
        if input.needs_gradient() {
            let mut dx = dy.empty_like(&[b, n, width], Precision::F32);
            dx.count(Operation::Elementwise(b * n * width));
            if !dx.is_planned() {
                for_each_row(dx.data_mut(), n * width, |i, row| {
                    row.copy_from_slice(&dy.data()[(i * (n + 1) + 1) * width..][..n * width]);
                });
            }
            gradients.add(input, dx);
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{check_gradients, random_parameters};

    #[test]
    fn patches_have_the_order_of_a_convolution_kernel() {
        let pixels = Tensor::new(&[1, 3, 4, 4], (0..48).map(|i| i as f32).collect());
        let rows = extract_patches(&pixels, 2);
        assert_eq!(rows.shape(), [1, 4, 12]);
        assert_eq!(rows.data()[..6], [0.0, 1.0, 4.0, 5.0, 16.0, 17.0]);
        assert_eq!(rows.data()[12..16], [2.0, 3.0, 6.0, 7.0]);
        assert_eq!(rows.data()[24..26], [8.0, 9.0]);
    }

    #[test]
    fn gradients_match_finite_differences() {
        let (mut params, id) = random_parameters(&[&[2, 3, 4], &[1, 1, 4], &[1, 4, 4]]);
        check_gradients(
            &mut params,
            |g| {
                let x = g.parameter(id[0]);
                prepend_class_and_add_positions(g, &x, id[1], id[2])
            },
            1e-3,
        );
    }
}
