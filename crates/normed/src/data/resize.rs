//! Pillow's resize, bit for bit (`Resample.c`): checkpoints were trained on its output.
//!
//! Two passes, along rows and then along columns. Each output is a weighted sum of the inputs within the
//! filter's reach, which is stretched by the scale when the image shrinks (no aliasing). Weights have 22
//! binary places, and each pass rounds to 8 bits. Faster crates keep fewer places: they are off by one level
//! in up to a fifth of the values.

use std::f64::consts::PI;
use std::ops::Range;

use super::Image;

/// A filter of Pillow's `Image.resize`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resampling {
    /// The nearest pixel alone.
    Nearest,
    /// A sinc under a window that is a sinc too, over three pixels to each side.
    Lanczos,
    /// A triangle.
    Bilinear,
    /// Keys' cubic (1981) with a = -0.5: `(a + 2)|x|^3 - (a + 3)|x|^2 + 1` up to 1 and
    /// `a|x|^3 - 5a|x|^2 + 8a|x| - 4a` up to 2.
    Bicubic,
    /// The mean of the pixels that an output covers.
    Box,
    /// A sinc under a Hamming window, over one pixel to each side.
    Hamming,
}

impl Resampling {
    /// All filters, in the order of Pillow's numbers.
    const ALL: [Self; 6] =
        [Self::Nearest, Self::Lanczos, Self::Bilinear, Self::Bicubic, Self::Box, Self::Hamming];

    /// The filter with this number in Pillow and in preprocessor_config.json.
    pub fn from_number(number: i64) -> Option<Self> {
        Self::ALL.get(usize::try_from(number).ok()?).copied()
    }

    /// The filter's number in Pillow.
    pub fn number(self) -> i64 {
        self as i64
    }

    /// How far the filter reaches, in pixels of the coarser grid.
    fn reach(self) -> f64 {
        match self {
            Self::Nearest => 0.0,
            Self::Box => 0.5,
            Self::Bilinear | Self::Hamming => 1.0,
            Self::Bicubic => 2.0,
            Self::Lanczos => 3.0,
        }
    }

    /// The weight at a distance of `x` pixels of the coarser grid.
    fn weight(self, x: f64) -> f64 {
        let distance = x.abs();
        match self {
            Self::Nearest => 0.0,
            Self::Box => f64::from(u8::from(x > -0.5 && x <= 0.5)),
            Self::Bilinear => (1.0 - distance).max(0.0),
            Self::Hamming if distance >= 1.0 => 0.0,
            Self::Hamming => sinc(distance) * (0.54 + 0.46 * (PI * distance).cos()),
            Self::Bicubic => keys(distance),
            Self::Lanczos if (-3.0..3.0).contains(&x) => sinc(x) * sinc(x / 3.0),
            Self::Lanczos => 0.0,
        }
    }
}

/// `sin(pi x) / (pi x)`.
fn sinc(x: f64) -> f64 {
    if x == 0.0 { 1.0 } else { (PI * x).sin() / (PI * x) }
}

/// Binary places of a weight: 32 bits less 8 of the pixel, a sign, and one for sums above 1.
const PLACES: u32 = 22;

/// The columns and rows of a part of the image at a new width and height; the rest is not computed.
///
/// Pillow 13 begins with the columns where the height shrinks by more than twice what the width does;
/// older ones always begin with the rows. As each pass rounds, the order shows (a few levels at most).
pub(crate) fn resize_part(
    image: &Image,
    filter: Resampling,
    (width, across): (usize, Range<usize>),
    (height, down): (usize, Range<usize>),
) -> Image {
    if filter == Resampling::Nearest {
        return nearest_part(image, (width, across), (height, down));
    }
    let rows = |p: Image| {
        if (p.width, 0..p.width) == (width, across.clone()) {
            return p;
        }
        let rgb = along_rows(&p.rgb, p.width, &taps(filter, p.width, width, across.clone()));
        Image { width: across.len(), height: p.height, rgb }
    };
    let columns = |p: Image| {
        if (p.height, 0..p.height) == (height, down.clone()) {
            return p;
        }
        let rgb = along_columns(&p.rgb, p.width, &taps(filter, p.height, height, down.clone()));
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

/// As [`resize_part`], every output the nearest input.
fn nearest_part(
    image: &Image,
    (width, across): (usize, Range<usize>),
    (height, down): (usize, Range<usize>),
) -> Image {
    let columns = nearest(image.width, width, across);
    let rows = nearest(image.height, height, down);
    let mut rgb = Vec::with_capacity(3 * columns.len() * rows.len());
    for row in &rows {
        let line = &image.rgb[3 * image.width * row..][..3 * image.width];
        for column in &columns {
            rgb.extend_from_slice(&line[3 * column..][..3]);
        }
    }
    Image { width: columns.len(), height: rows.len(), rgb }
}

/// The nearest inputs of the outputs `wanted`, of `to` outputs over `from` inputs. The centers are added up, as
/// in Pillow's `ImagingScaleAffine`: a product would round otherwise.
fn nearest(from: usize, to: usize, wanted: Range<usize>) -> Vec<usize> {
    let scale = from as f64 / to as f64;
    let mut center = scale * 0.5;
    let mut inputs = Vec::with_capacity(wanted.len());
    for i in 0..wanted.end {
        if i >= wanted.start {
            inputs.push((center as usize).min(from - 1));
        }
        center += scale;
    }
    inputs
}

/// The inputs of one output: those from `first` on, one for each weight.
struct Taps {
    first: usize,
    weights: Vec<i32>,
}

/// The taps of the outputs `wanted`, of `to` outputs over `from` inputs.
fn taps(filter: Resampling, from: usize, to: usize, wanted: Range<usize>) -> Vec<Taps> {
    let scale = from as f64 / to as f64;
    let stretch = scale.max(1.0);
    let reach = filter.reach() * stretch;
    let tap = |i: usize| {
        let center = (i as f64 + 0.5) * scale;
        // Casts truncate, and what is negative becomes 0.
        let first = (center - reach + 0.5) as usize;
        let end = ((center + reach + 0.5) as usize).min(from);
        let weight = |x: usize| filter.weight((x as f64 - center + 0.5) * (1.0 / stretch));
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

/// Keys' cubic kernel, with a = -0.5, of `x` at least 0.
fn keys(x: f64) -> f64 {
    const A: f64 = -0.5;
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

    /// The image at `width` x `height`.
    fn resize(image: &Image, filter: Resampling, width: usize, height: usize) -> Image {
        resize_part(image, filter, (width, 0..width), (height, 0..height))
    }

    #[test]
    fn weights_sum_to_one_and_stay_within() {
        let sizes = [(100, 7), (7, 100), (1, 5), (5, 1), (33, 33), (1000, 3)];
        let filters = &Resampling::ALL[1..];
        for ((from, to), &filter) in
            sizes.iter().flat_map(|&pair| filters.iter().map(move |f| (pair, f)))
        {
            for (i, tap) in taps(filter, from, to, 0..to).iter().enumerate() {
                let sum: i32 = tap.weights.iter().sum();
                assert!(
                    (sum - (1 << PLACES)).abs() <= tap.weights.len() as i32,
                    "{filter:?} {from} {to} {i}"
                );
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
        let sizes = [(23, 40), (11, 17), (6, 7), (11, 30), (2, 17)];
        for ((width, height), filter) in
            sizes.into_iter().flat_map(|pair| Resampling::ALL.map(|filter| (pair, filter)))
        {
            let whole = resize(&image, filter, width, height);
            let (across, down) = (1..width, 3..height - 2);
            let part = resize_part(&image, filter, (width, across.clone()), (height, down.clone()));
            let rows = whole.rgb.chunks(3 * width).skip(3).take(down.len());
            let cut: Vec<u8> = rows.flat_map(|row| &row[3..]).copied().collect();
            assert_eq!((part.width, part.height), (across.len(), down.len()));
            assert!(part.rgb == cut, "{filter:?} {width}x{height}");
        }
    }

    #[test]
    fn one_color_stays() {
        let image = Image { width: 9, height: 4, rgb: [7, 130, 255].repeat(36) };
        for filter in Resampling::ALL {
            assert_eq!(resize(&image, filter, 5, 31).rgb, [7, 130, 255].repeat(155), "{filter:?}");
            assert_eq!(Resampling::from_number(filter.number()), Some(filter));
        }
        assert_eq!(Resampling::from_number(6), None);
    }
}
