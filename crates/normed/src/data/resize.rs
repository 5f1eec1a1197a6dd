//! Pillow's bicubic resize, bit for bit (`Resample.c`): checkpoints were trained on its output.
//!
//! Two passes, along rows and then along columns. Each output is a weighted sum of the inputs within
//! reach: `w(x) = (a + 2)|x|^3 - (a + 3)|x|^2 + 1` up to 1 and `a|x|^3 - 5a|x|^2 + 8a|x| - 4a` up to
//! 2 (Keys 1981, a = -0.5), stretched by the scale when the image shrinks (no aliasing). Weights
//! have 22 binary places, and each pass rounds to 8 bits. Faster crates keep fewer places: they are
//! off by one level in up to a fifth of the values.

use std::ops::Range;

use super::Image;

/// How far the filter reaches, in pixels of the coarser grid.
const REACH: f64 = 2.0;
/// Binary places of a weight: 32 bits less 8 of the pixel, a sign, and one for sums above 1.
const PLACES: u32 = 22;

/// The image at `width` x `height`.
pub(crate) fn bicubic(image: &Image, width: usize, height: usize) -> Image {
    bicubic_part(image, (width, 0..width), (height, 0..height))
}

/// The columns and rows of a part of the image at a new width and height; the rest is not computed.
///
/// Pillow 13 begins with the columns where the height shrinks by more than twice what the width does;
/// older ones always begin with the rows. As each pass rounds, the order shows (a few levels at most).
pub(crate) fn bicubic_part(
    image: &Image,
    (width, across): (usize, Range<usize>),
    (height, down): (usize, Range<usize>),
) -> Image {
    let rows = |p: Image| {
        if (p.width, 0..p.width) == (width, across.clone()) {
            return p;
        }
        let rgb = along_rows(&p.rgb, p.width, &taps(p.width, width, across.clone()));
        Image { width: across.len(), height: p.height, rgb }
    };
    let columns = |p: Image| {
        if (p.height, 0..p.height) == (height, down.clone()) {
            return p;
        }
        let rgb = along_columns(&p.rgb, p.width, &taps(p.height, height, down.clone()));
        Image { width: p.width, height: down.len(), rgb }
    };
    let shrinks = |from: usize, to: usize| from as i64 - to as i64;
    let (less_high, less_wide) = (shrinks(image.height, height), shrinks(image.width, width));
    if less_high > 0 && less_high > 2 * less_wide {
        rows(columns(image.clone()))
    } else {
        columns(rows(image.clone()))
    }
}

/// The inputs of one output: those from `first` on, one for each weight.
struct Taps {
    first: usize,
    weights: Vec<i32>,
}

/// The taps of the outputs `wanted`, of `to` outputs over `from` inputs.
fn taps(from: usize, to: usize, wanted: Range<usize>) -> Vec<Taps> {
    let scale = from as f64 / to as f64;
    let stretch = scale.max(1.0);
    let reach = REACH * stretch;
    let tap = |i: usize| {
        let center = (i as f64 + 0.5) * scale;
        // Casts truncate, and what is negative becomes 0.
        let first = (center - reach + 0.5) as usize;
        let end = ((center + reach + 0.5) as usize).min(from);
        let weight = |x: usize| keys((x as f64 - center + 0.5) * (1.0 / stretch));
        let weights: Vec<f64> = (first..end).map(weight).collect();
        let sum: f64 = weights.iter().sum();
        let fixed = |w: &f64| {
            let w = w / sum * f64::from(1 << PLACES);
            (if w < 0.0 { w - 0.5 } else { w + 0.5 }) as i32
        };
        Taps { first, weights: weights.iter().map(fixed).collect() }
    };
    wanted.map(tap).collect()
}

/// Keys' cubic kernel, with a = -0.5.
fn keys(x: f64) -> f64 {
    const A: f64 = -0.5;
    let x = x.abs();
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}

/// A sum in fixed point, rounded and cut to 8 bits.
fn to_byte(sum: i32) -> u8 {
    ((sum + (1 << (PLACES - 1))) >> PLACES).clamp(0, 255) as u8
}

/// `[h, from, 3]` to `[h, to, 3]`, an output for each of the taps.
fn along_rows(rgb: &[u8], from: usize, taps: &[Taps]) -> Vec<u8> {
    let mut out = Vec::with_capacity(rgb.len() / from * taps.len());
    for row in rgb.chunks_exact(3 * from) {
        for Taps { first, weights } in taps {
            let mut sums = [0; 3];
            for (pixel, weight) in row[3 * first..].chunks_exact(3).zip(weights) {
                for (sum, &value) in sums.iter_mut().zip(pixel) {
                    *sum += i32::from(value) * weight;
                }
            }
            out.extend(sums.map(to_byte));
        }
    }
    out
}

/// `[from, width, 3]` to `[to, width, 3]`, a row for each of the taps.
fn along_columns(rgb: &[u8], width: usize, taps: &[Taps]) -> Vec<u8> {
    let row = 3 * width;
    let mut out = Vec::with_capacity(taps.len() * row);
    let mut sums = vec![0; row];
    for Taps { first, weights } in taps {
        sums.fill(0);
        for (values, weight) in rgb[first * row..].chunks_exact(row).zip(weights) {
            for (sum, &value) in sums.iter_mut().zip(values) {
                *sum += i32::from(value) * weight;
            }
        }
        out.extend(sums.iter().map(|&sum| to_byte(sum)));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_sum_to_one_and_stay_within() {
        for (from, to) in [(100, 7), (7, 100), (1, 5), (5, 1), (33, 33), (1000, 3)] {
            for (i, tap) in taps(from, to, 0..to).iter().enumerate() {
                let sum: i32 = tap.weights.iter().sum();
                assert!((sum - (1 << PLACES)).abs() <= tap.weights.len() as i32, "{from} {to} {i}");
                assert!(tap.first + tap.weights.len() <= from);
                let most: i64 = tap.weights.iter().map(|&w| i64::from(w.abs()) * 255).sum();
                assert!(most + (1 << (PLACES - 1)) < i64::from(i32::MAX), "no sum can overflow");
            }
        }
    }

    #[test]
    fn a_part_is_of_the_whole() {
        let rgb: Vec<u8> = (0..3 * 11 * 17).map(|i| (i * i / 7) as u8).collect();
        let image = Image { width: 11, height: 17, rgb };
        for (width, height) in [(23, 40), (11, 17), (6, 7), (11, 30), (2, 17)] {
            let whole = bicubic(&image, width, height);
            let (across, down) = (1..width, 3..height - 2);
            let part = bicubic_part(&image, (width, across.clone()), (height, down.clone()));
            let rows = whole.rgb.chunks(3 * width).skip(3).take(down.len());
            let cut: Vec<u8> = rows.flat_map(|row| &row[3..]).copied().collect();
            assert_eq!((part.width, part.height), (across.len(), down.len()));
            assert!(part.rgb == cut, "{width}x{height}");
        }
    }

    #[test]
    fn one_color_stays() {
        let image = Image { width: 9, height: 4, rgb: [7, 130, 255].repeat(36) };
        assert_eq!(bicubic(&image, 5, 31).rgb, [7, 130, 255].repeat(155));
    }
}
