//! Image patches as rows, and the sequence that a vision transformer starts from.
//!
//! A convolution whose stride is its kernel's size is a linear layer over patches, so
//! [`extract_patches`] only reorders pixels and the product is [`super::linear`]'s.

use super::simd::{for_rows, sum_rows};
use crate::tensor::{Graph, Operation, ParamId, Precision, Tensor, Var};

/// `pixels [B, 3, H, W] -> [B, H/p * W/p, 3 * p * p]`, patches row by row, each in the order of a
/// convolution's kernel (channel, row, column).
pub fn extract_patches(pixels: &Tensor, patch: usize) -> Tensor {
    let &[b, channels, h, w] = pixels.shape() else {
        panic!("pixel_values are [B, 3, H, W], not {:?}", pixels.shape())
    };
    let (rows, cols) = (h / patch, w / patch);
    let width = channels * patch * patch;
    let mut out = pixels.empty_like(&[b, rows * cols, width], Precision::F32);
    out.count(Operation::Pass(pixels.len()));
    if out.is_planned() {
        return out;
    }
    let data = pixels.data();
    for_rows(out.data_mut(), width, |i, row| {
        let (image, r, c) = (i / (rows * cols), i / cols % rows, i % cols);
        for (line, out) in row.chunks_exact_mut(patch).enumerate() {
            let (channel, y) = (line / patch, r * patch + line % patch);
            let start = ((image * channels + channel) * h + y) * w + c * patch;
            out.copy_from_slice(&data[start..start + patch]);
        }
    });
    out
}

/// `x [B, N, C] -> [B, N + 1, C]`: the class token `[1, 1, C]` first, then positions
/// `[1, N + 1, C]` added.
pub fn prepend_class_and_add_positions(
    g: &mut Graph<'_>,
    x: &Var,
    class: ParamId,
    positions: ParamId,
) -> Var {
    let (c, p) = (g.param(class).value().clone(), g.param(positions).value().clone());
    let &[b, n, width] = x.shape() else { panic!("patches are [B, N, C]") };
    assert_eq!(p.len(), (n + 1) * width, "{}", g.param(positions).name);
    let mut out = x.value.empty_like(&[b, n + 1, width], Precision::F32);
    out.count(Operation::Pass(b * (n + 1) * width));
    if !out.is_planned() {
        for_rows(out.data_mut(), width, |i, row| {
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
                gradients.add_param(class, dp.copied(0, c.shape()));
            }
            if train_positions {
                gradients.add_param(positions, dp.reshape(p.shape()));
            }
        }
        if input.needs_gradient() {
            let mut dx = dy.empty_like(&[b, n, width], Precision::F32);
            dx.count(Operation::Pass(b * n * width));
            if !dx.is_planned() {
                for_rows(dx.data_mut(), n * width, |i, row| {
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
    use crate::ops::check::{finite_differences, parameters};

    #[test]
    fn patches_are_in_the_order_of_a_convolution() {
        let pixels = Tensor::new(&[1, 3, 4, 4], (0..48).map(|i| i as f32).collect());
        let rows = extract_patches(&pixels, 2);
        assert_eq!(rows.shape(), [1, 4, 12]);
        assert_eq!(rows.data()[..6], [0.0, 1.0, 4.0, 5.0, 16.0, 17.0]);
        assert_eq!(rows.data()[12..16], [2.0, 3.0, 6.0, 7.0]);
        assert_eq!(rows.data()[24..26], [8.0, 9.0]);
    }

    #[test]
    fn finite_differences_agree() {
        let (mut params, id) = parameters(&[&[2, 3, 4], &[1, 1, 4], &[1, 4, 4]]);
        finite_differences(
            &mut params,
            |g| {
                let x = g.parameter(id[0]);
                prepend_class_and_add_positions(g, &x, id[1], id[2])
            },
            1e-3,
        );
    }
}
