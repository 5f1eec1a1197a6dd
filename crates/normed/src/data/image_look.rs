//! How an image looks: what remains of it when it is encoded anew, scaled, mirrored, turned, inverted or cropped by
//! a few per cent.
//!
//! Looks are compared in two stages. A hash of 256 bits finds candidates among many images. Then the two images are
//! laid over one another, so that a cropped one fits, and correlated: as they are, and without what is coarser
//! than a few pixels, in which images of different patients differ.

use std::fmt;

use super::Image;

/// The side of the square that an image is scaled to.
const SIDE: usize = 64;
/// The side of the grid of a hash.
const CELLS: usize = 16;
/// How much a second hash leaves out on every side: a cropped image looks more like it.
const INNER: f32 = 0.035;
/// Gray levels by which a cell must be lighter than its surroundings: less is noise.
const MIN_DIFFERENCE: f32 = 1.0;
/// Standard deviation in gray levels below which an image is blank: such images resemble each other by chance.
const MIN_DEVIATION: f32 = 2.0;
/// How far a side of one image may lie inside or outside of the other, as a part of its length.
const MAX_SHIFT: f32 = 0.09;
/// A side that lies farther inside than this is cropped.
const MIN_CROP: f32 = 0.01;
/// Correlation below which two images are not laid over one another at all.
const MIN_START: f32 = 0.4;
/// Correlation below which two images that are roughly laid over one another are not moved further.
const MIN_COARSE: f32 = 0.93;
/// Correlations of two images that look alike, as they are and of their fine details alone: one pair has to be
/// reached. `results/image_overlap.md` has what was measured.
const MIN_CORRELATIONS: [(f32, f32); 2] = [(0.97, 0.72), (0.99, 0.55)];

/// An image as a square of gray levels.
#[derive(Clone)]
pub(super) struct Look {
    /// `[SIDE, SIDE]`: gray levels in parts of 256, from 0 to 255 * 256.
    gray: Vec<u16>,
}

/// Which cells of a grid are lighter than their surroundings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LookHash([u64; 4]);

/// The hashes of an image: of all of it, and of all but its borders.
#[derive(Clone, Copy)]
pub(super) struct LookHashes {
    whole: LookHash,
    inner: LookHash,
}

/// How one image was made of another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Change {
    /// Number of a symmetry of the square: twice the quarter turns, plus 1 if it is mirrored after that.
    symmetry: usize,
    inverted: bool,
    cropped: bool,
}

impl Change {
    /// All changes that a look can be tried under. Cropping is found by laying images over one another.
    pub const ALL: [Self; 16] = {
        let mut all = [Self { symmetry: 0, inverted: false, cropped: false }; 16];
        let mut i = 0;
        while i < 16 {
            all[i].symmetry = i / 2;
            all[i].inverted = i % 2 == 1;
            i += 1;
        }
        all
    };
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SYMMETRIES: [&str; 8] = [
            "",
            "mirrored",
            "rotated by 90 degrees",
            "rotated by 90 degrees and mirrored",
            "rotated by 180 degrees",
            "mirrored top to bottom",
            "rotated by 270 degrees",
            "rotated by 270 degrees and mirrored",
        ];
        let words = [
            SYMMETRIES[self.symmetry],
            if self.inverted { "inverted" } else { "" },
            if self.cropped { "cropped" } else { "" },
        ];
        let words: Vec<_> = words.into_iter().filter(|word| !word.is_empty()).collect();
        match words.is_empty() {
            true => f.write_str("nearly the same"),
            false => f.write_str(&words.join(", ")),
        }
    }
}

impl Look {
    /// The look of `image`: mean gray levels (ITU-R BT.601's luma) of the cells of a grid.
    pub fn new(image: &Image) -> Self {
        let columns = Cells::new(image.width, SIDE, 0.0, 1.0);
        let rows = Cells::new(image.height, SIDE, 0.0, 1.0);
        let mut luma = vec![0.0; image.width];
        let mut gray = vec![0.0; SIDE * SIDE];
        let mut narrow = vec![0.0; SIDE];
        for (y, row) in image.rgb.chunks_exact(3 * image.width).enumerate() {
            for (luma, rgb) in luma.iter_mut().zip(row.chunks_exact(3)) {
                let [r, g, b] = [0, 1, 2].map(|i| f32::from(rgb[i]));
                *luma = 0.299 * r + 0.587 * g + 0.114 * b;
            }
            columns.means(&luma, &mut narrow);
            rows.add_row(y, &narrow, &mut gray);
        }
        Self { gray: gray.into_iter().map(|level| (256.0 * level).round() as u16).collect() }
    }

    /// Whether the image has next to no contrast.
    pub fn is_blank(&self) -> bool {
        let levels = self.levels();
        let mean = levels.iter().sum::<f32>() / levels.len() as f32;
        let variance = levels.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / levels.len() as f32;
        variance.sqrt() < MIN_DEVIATION
    }

    fn levels(&self) -> Vec<f32> {
        self.gray.iter().map(|&level| f32::from(level) / 256.0).collect()
    }

    /// The look of the image that this one was made of by `change`. Cropping is not undone.
    pub fn under(&self, change: Change) -> Self {
        let last = SIDE - 1;
        let (turns, is_mirrored) = (change.symmetry / 2, change.symmetry % 2 == 1);
        let gray = (0..SIDE * SIDE).map(|i| {
            let (mut y, mut x) = (i / SIDE, i % SIDE);
            for _ in 0..turns {
                (y, x) = (x, last - y);
            }
            if is_mirrored {
                x = last - x;
            }
            let level = self.gray[SIDE * y + x];
            if change.inverted { 255 * 256 - level } else { level }
        });
        Self { gray: gray.collect() }
    }

    /// The hashes of the look.
    pub fn hashes(&self) -> LookHashes {
        let levels = self.levels();
        LookHashes { whole: hash(&levels, 0.0), inner: hash(&levels, INNER) }
    }

    /// How `self` was made of `other`, if it looks like it under `change`; with the correlation of the details.
    pub fn compare(&self, other: &Self, change: Change) -> Option<(f32, Change)> {
        let score = self.under(change).overlay(other);
        let is_similar = MIN_CORRELATIONS
            .iter()
            .any(|(levels, detail)| score.correlation >= *levels && score.detail >= *detail);
        is_similar.then_some((score.detail, Change { cropped: score.cropped, ..change }))
    }

    /// Lays the two looks over one another: moves the sides of `self` in `other` to where they correlate most.
    fn overlay(&self, other: &Self) -> Overlay {
        let (own, others) = (self.levels(), other.levels());
        // Sides are moved over smooth images first: fine structures correlate only where they lie on one another.
        let (smooth, others_smooth) = (local_means(&own, SIDE, 2), local_means(&others, SIDE, 2));
        let mut window = Window::WHOLE;
        let mut best = window.correlation(&smooth, &others_smooth, 2);
        if best < MIN_START {
            return Overlay { correlation: best, detail: 0.0, cropped: false };
        }
        for step in [0.04, 0.02, 0.01, 0.005, 0.0025] {
            let is_coarse = step >= 0.01;
            if !is_coarse && best < MIN_COARSE {
                return Overlay { correlation: best, detail: 0.0, cropped: false };
            }
            let (own, others, stride) =
                if is_coarse { (&smooth, &others_smooth, 2) } else { (&own, &others, 1) };
            best = window.correlation(own, others, stride);
            loop {
                let moved = window.neighbors(step).map(|near| {
                    let correlation = near.correlation(own, others, stride);
                    (correlation, near)
                });
                let Some((correlation, near)) =
                    moved.max_by(|(a, _), (b, _)| a.total_cmp(b)).filter(|(c, _)| *c > best + 1e-5)
                else {
                    break;
                };
                (best, window) = (correlation, near);
            }
        }
        let detail = window.correlation(&details(&own), &details(&others), 1);
        Overlay { correlation: best, detail, cropped: window.is_cropped() }
    }
}

/// How well two looks fit on one another.
struct Overlay {
    /// Correlation of the gray levels.
    correlation: f32,
    /// Correlation of the details alone; 0 where the levels correlate too little.
    detail: f32,
    /// Whether one of the two lies inside of the other.
    cropped: bool,
}

impl LookHashes {
    /// The number of bits in which two images differ at least: whole, or one of them without its borders.
    pub fn distance(&self, other: &Self) -> u32 {
        let count = |a: LookHash, b: LookHash| -> u32 {
            a.0.iter().zip(b.0).map(|(a, b)| (a ^ b).count_ones()).sum()
        };
        count(self.whole, other.whole)
            .min(count(self.whole, other.inner))
            .min(count(self.inner, other.whole))
    }
}

/// Where a look lies in another one: its sides, as parts of the other's length.
#[derive(Clone, Copy)]
struct Window {
    x: [f32; 2],
    y: [f32; 2],
}

impl Window {
    const WHOLE: Self = Self { x: [0.0, 1.0], y: [0.0, 1.0] };

    fn is_cropped(self) -> bool {
        self.x[0].abs().max(self.y[0].abs()) > MIN_CROP
            || (self.x[1] - 1.0).abs().max((self.y[1] - 1.0).abs()) > MIN_CROP
    }

    /// Windows with one side, or several together, moved by `step`.
    fn neighbors(self, step: f32) -> impl Iterator<Item = Self> {
        /// Left, right, top, bottom.
        const MOVES: [[f32; 4]; 9] = [
            [1.0, 0.0, 0.0, 0.0],
            [0.0, 1.0, 0.0, 0.0],
            [0.0, 0.0, 1.0, 0.0],
            [0.0, 0.0, 0.0, 1.0],
            [1.0, 1.0, 0.0, 0.0],
            [0.0, 0.0, 1.0, 1.0],
            [1.0, -1.0, 0.0, 0.0],
            [0.0, 0.0, 1.0, -1.0],
            [1.0, -1.0, 1.0, -1.0],
        ];
        let moved = move |by: [f32; 4]| Self {
            x: [self.x[0] + by[0], self.x[1] + by[1]],
            y: [self.y[0] + by[2], self.y[1] + by[3]],
        };
        let near = MOVES.into_iter().flat_map(move |by| {
            [step, -step].map(|step| moved(by.map(|direction| direction * step)))
        });
        near.filter(|window| {
            let [a, b] = [window.x, window.y].map(|side| side[0].abs().max((side[1] - 1.0).abs()));
            a.max(b) <= MAX_SHIFT
        })
    }

    /// The correlation of `own`, which lies in this window of `other`, with what is there. Every `stride`th pixel
    /// counts.
    fn correlation(self, own: &[f32], other: &[f32], stride: usize) -> f32 {
        let (columns, rows) = (samples(self.x, stride), samples(self.y, stride));
        let n = (rows.len() * columns.len()) as f32;
        let (mut a1, mut b1, mut aa, mut bb, mut ab) = (0.0, 0.0, 0.0, 0.0, 0.0);
        for row in &rows {
            let upper = &other[SIDE * row.at..][..SIDE];
            let lower = &other[SIDE * (row.at + 1)..][..SIDE];
            let own = &own[SIDE * row.own..][..SIDE];
            for column in &columns {
                let mix = |line: &[f32]| {
                    line[column.at] + column.part * (line[column.at + 1] - line[column.at])
                };
                let (upper, lower) = (mix(upper), mix(lower));
                let (a, b) = (own[column.own], upper + row.part * (lower - upper));
                (a1, b1) = (a1 + a, b1 + b);
                (aa, bb, ab) = (aa + a * a, bb + b * b, ab + a * b);
            }
        }
        let product = (aa - a1 * a1 / n) * (bb - b1 * b1 / n);
        if product > 0.0 { (ab - a1 * b1 / n) / product.sqrt() } else { 0.0 }
    }
}

/// A pixel of one look, and where it lies between two of the other.
struct Sample {
    own: usize,
    at: usize,
    part: f32,
}

/// The pixels of a side that lie in the other look, whose part from `start` to `end` the side covers.
fn samples([start, end]: [f32; 2], stride: usize) -> Vec<Sample> {
    let sample = |own: usize| {
        let place = start + (end - start) * (own as f32 + 0.5) / SIDE as f32;
        let place = (0.0..=1.0).contains(&place).then_some(place)?;
        let place = (place * SIDE as f32 - 0.5).clamp(0.0, (SIDE - 1) as f32);
        let at = (place as usize).min(SIDE - 2);
        Some(Sample { own, at, part: place - at as f32 })
    };
    (stride / 2..SIDE).step_by(stride).filter_map(sample).collect()
}

/// The levels without their means over 5 x 5 pixels.
fn details(levels: &[f32]) -> Vec<f32> {
    let means = local_means(levels, SIDE, 2);
    levels.iter().zip(means).map(|(level, mean)| level - mean).collect()
}

/// The means over squares of `2 * radius + 1` pixels; beyond the border, its pixels go on.
fn local_means(levels: &[f32], side: usize, radius: usize) -> Vec<f32> {
    let last = side as isize - 1;
    let near = |at: usize| {
        (-(radius as isize)..=radius as isize)
            .map(move |d| (at as isize + d).clamp(0, last) as usize)
    };
    let size = (2 * radius + 1) as f32;
    let mut wide = vec![0.0; side * side];
    for (row, out) in levels.chunks_exact(side).zip(wide.chunks_exact_mut(side)) {
        for (x, out) in out.iter_mut().enumerate() {
            *out = near(x).map(|x| row[x]).sum::<f32>() / size;
        }
    }
    let mut means = vec![0.0; side * side];
    for (y, out) in means.chunks_exact_mut(side).enumerate() {
        for y in near(y) {
            for (out, value) in out.iter_mut().zip(&wide[side * y..][..side]) {
                *out += value / size;
            }
        }
    }
    means
}

/// The hash of a look without `border` on every side.
fn hash(levels: &[f32], border: f32) -> LookHash {
    let cells = Cells::new(SIDE, CELLS, border, 1.0 - border);
    let mut grid = vec![0.0; CELLS * CELLS];
    let mut narrow = vec![0.0; CELLS];
    for (y, row) in levels.chunks_exact(SIDE).enumerate() {
        cells.means(row, &mut narrow);
        cells.add_row(y, &narrow, &mut grid);
    }
    let around = local_means(&grid, CELLS, 3);
    let mut bits = [0; 4];
    for (i, (cell, around)) in grid.iter().zip(around).enumerate() {
        bits[i / 64] |= u64::from(*cell > around + MIN_DIFFERENCE) << (i % 64);
    }
    LookHash(bits)
}

/// A side of an image, divided into cells of equal length, which need not be whole pixels.
struct Cells {
    /// For each cell, its first pixel and the share that each pixel has in it.
    cells: Vec<(usize, Vec<f32>)>,
}

impl Cells {
    /// Divides the part from `start` to `end` of a side of `pixels` into `count` cells.
    fn new(pixels: usize, count: usize, start: f32, end: f32) -> Self {
        let (start, end) = (f64::from(start) * pixels as f64, f64::from(end) * pixels as f64);
        let length = (end - start) / count as f64;
        let cell = |i: usize| {
            let (from, to) = (start + length * i as f64, start + length * (i + 1) as f64);
            let first = (from as usize).min(pixels - 1);
            let last = (to.ceil() as usize).clamp(first + 1, pixels);
            let share = |at: usize| {
                let covered = to.min((at + 1) as f64) - from.max(at as f64);
                (covered.max(0.0) / length) as f32
            };
            (first, (first..last).map(share).collect())
        };
        Self { cells: (0..count).map(cell).collect() }
    }

    /// The means of the cells of a row.
    fn means(&self, row: &[f32], out: &mut [f32]) {
        for (out, (first, shares)) in out.iter_mut().zip(&self.cells) {
            *out = row[*first..].iter().zip(shares).map(|(level, share)| level * share).sum();
        }
    }

    /// Adds what row `y` has in the cells of a column to `out`, a row of means a cell.
    fn add_row(&self, y: usize, means: &[f32], out: &mut [f32]) {
        for (out, (first, shares)) in out.chunks_exact_mut(means.len()).zip(&self.cells) {
            let Some(&share) = y.checked_sub(*first).and_then(|at| shares.get(at)) else {
                continue;
            };
            for (out, mean) in out.iter_mut().zip(means) {
                *out += share * mean;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An image without any symmetry.
    fn image(width: usize, height: usize) -> Image {
        let gray = |x: usize, y: usize| {
            let part = |at: usize, side: usize| (at as f32 + 0.5) / side as f32;
            let (u, v) = (part(x, width), part(y, height));
            (128.0 + 60.0 * (9.0 * u + 4.0 * v * v).sin() + 50.0 * (7.0 * v - 5.0 * u * v).cos())
                as u8
        };
        let pixels = (0..height).flat_map(|y| (0..width).flat_map(move |x| [gray(x, y); 3]));
        Image { width, height, rgb: pixels.collect() }
    }

    #[test]
    fn a_look_does_not_depend_on_the_size_of_the_image() {
        let [small, large] = [image(64, 64), image(300, 211)].map(|image| Look::new(&image));
        let differences = small.gray.iter().zip(&large.gray).map(|(a, b)| a.abs_diff(*b));
        assert!(differences.max().unwrap() < 5 * 256);
        assert!(small.hashes().distance(&large.hashes()) < 8);
        assert_eq!(
            Look::new(&Image { width: 1, height: 1, rgb: vec![200; 3] }).gray,
            [200 * 256; 4096]
        );
    }

    #[test]
    fn every_change_but_the_right_one_is_another_image() {
        let look = Look::new(&image(90, 70));
        for made in Change::ALL {
            // Under a symmetry that is its own inverse, done and undone are one.
            let changed = look.under(made);
            let matching = Change::ALL.into_iter().filter(|&c| changed.compare(&look, c).is_some());
            assert_eq!(matching.count(), 1, "{made}");
        }
    }

    #[test]
    fn blank_images_are_recognized() {
        let mut flat = Image { width: 9, height: 9, rgb: vec![7; 243] };
        assert!(Look::new(&flat).is_blank());
        flat.rgb[..120].fill(90);
        assert!(!Look::new(&flat).is_blank());
    }
}
