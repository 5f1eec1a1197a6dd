//! Interpolates a vision tower's position embeddings to another image size.

use crate::tensor::Tensor;

/// The bicubic coefficient of `torch.nn.functional.interpolate`.
const A: f32 = -0.75;

/// Resamples position embeddings `[1, 1 + n * n, C]` of a class token and an `n` x `n` grid to a grid of `side` x
/// `side`; none if the grid is not square. The class token's row is kept.
///
/// The interpolation is bicubic without antialiasing and with `align_corners=False`, as in BLIP's
/// `interpolate_pos_embed` and transformers' `interpolate_pos_encoding`.
pub fn interpolate_positions(positions: &Tensor, side: usize) -> Option<Tensor> {
    let &[1, rows, width] = positions.shape() else { return None };
    let old = rows.checked_sub(1)?.isqrt();
    if old == 0 || old * old + 1 != rows || side == 0 {
        return None;
    }
    let (class, grid) = positions.data().split_at(width);
    let taps: Vec<_> = (0..side).map(|i| taps(i, old, side)).collect();
    let mut data = Vec::with_capacity((1 + side * side) * width);
    data.extend(class);
    for y in &taps {
        for x in &taps {
            for c in 0..width {
                let row = |r: usize| -> f32 {
                    x.iter().map(|&(i, weight)| weight * grid[(r * old + i) * width + c]).sum()
                };
                data.push(y.iter().map(|&(r, weight)| weight * row(r)).sum());
            }
        }
    }
    Some(Tensor::new(&[1, 1 + side * side, width], data))
}

/// The four old positions that contribute to new position `i`, with their weights (Keys' cubic convolution).
/// Positions outside repeat the border.
fn taps(i: usize, old: usize, new: usize) -> [(usize, f32); 4] {
    let at = (i as f32 + 0.5) * (old as f32 / new as f32) - 0.5;
    let floor = at.floor();
    let t = at - floor;
    let near = |x: f32| ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0;
    let far = |x: f32| ((A * x - 5.0 * A) * x + 8.0 * A) * x - 4.0 * A;
    let weights = [far(t + 1.0), near(t), near(1.0 - t), far(2.0 - t)];
    std::array::from_fn(|k| {
        let position = floor as isize + k as isize - 1;
        (position.clamp(0, old as isize - 1) as usize, weights[k])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_size_changes_nothing() {
        let data: Vec<f32> = (0..2 * 10).map(|i| (i as f32).sin()).collect();
        let positions = Tensor::new(&[1, 10, 2], data.clone());
        assert_eq!(interpolate_positions(&positions, 3).unwrap().data(), data);
    }

    #[test]
    fn a_grid_must_be_square() {
        assert!(interpolate_positions(&Tensor::zeros(&[1, 7, 2]), 3).is_none());
        assert!(interpolate_positions(&Tensor::zeros(&[1, 1, 2]), 3).is_none());
        assert!(interpolate_positions(&Tensor::zeros(&[10, 2]), 3).is_none());
    }
}
