//! A gray canvas with soft brushes.

use super::anatomy::Ellipse;
use super::random::RandomStream;

/// Gray values `[side, side]`, nominally 0 (black) to 1 (white), and a gentle warp that makes the
/// outlines drawn on it uneven.
pub struct Canvas {
    /// In pixels.
    pub side: usize,
    /// Row-major.
    pub gray: Vec<f32>,
    /// Where each pixel lies for the brushes that follow the warp.
    warped: Vec<(f32, f32)>,
}

/// The greatest displacement of the warp.
const WARP: f32 = 0.022;

impl Canvas {
    /// An even canvas.
    pub fn new(side: usize, gray: f32, random: &mut RandomStream) -> Self {
        let (dx, dy) = (waves(side, 5, random), waves(side, 5, random));
        let warped = dx.iter().zip(&dy).enumerate().map(|(i, (dx, dy))| {
            let (x, y) = center(side, i);
            (x + WARP * dx, y + WARP * dy)
        });
        Self { side, gray: vec![gray; side * side], warped: warped.collect() }
    }

    /// Blends an ellipse towards `level`; the edge fades over a width of `soft`.
    pub fn fill(&mut self, ellipse: Ellipse, level: f32, soft: f32) {
        let small = ellipse.rx.min(ellipse.ry);
        self.blend(ellipse, soft, level, 1.0, |reach| (1.0 - reach) * small / soft + 0.5);
    }

    /// Blends the outline of an ellipse, `width` thick, towards `level` by `opacity`.
    pub fn stroke(&mut self, ellipse: Ellipse, width: f32, level: f32, opacity: f32) {
        let small = ellipse.rx.min(ellipse.ry);
        let pixel = 1.0 / self.side as f32;
        self.blend(ellipse, width, level, opacity, |reach| {
            (0.5 * width - (1.0 - reach).abs() * small) / pixel + 0.5
        });
    }

    /// Blends towards `level` where `cover`, a function of the distance in radii, is above 0.
    fn blend(
        &mut self,
        ellipse: Ellipse,
        margin: f32,
        level: f32,
        opacity: f32,
        cover: impl Fn(f32) -> f32,
    ) {
        // An edge that is `margin` wide along the short axis is wider along the long one.
        let reach = 1.0 + (margin / ellipse.rx.min(ellipse.ry)).min(1.0);
        let columns = self.span(ellipse.x, ellipse.rx * reach + WARP);
        for row in self.span(ellipse.y, ellipse.ry * reach + WARP) {
            for i in (row * self.side)..(row * self.side + self.side) {
                if !columns.contains(&(i - row * self.side)) {
                    continue;
                }
                let (x, y) = self.warped[i];
                let share = opacity * cover(ellipse.reach(x, y)).clamp(0.0, 1.0);
                self.gray[i] += share * (level - self.gray[i]);
            }
        }
    }

    /// Blends by a function of the offset from `(x, y)`, in unwarped fractions of the side: it
    /// returns a level and a share. Only pixels within `radius` in either direction are touched.
    pub fn stamp(
        &mut self,
        (x, y): (f32, f32),
        radius: f32,
        brush: impl Fn(f32, f32, f32) -> (f32, f32),
    ) {
        for row in self.span(y, radius) {
            for column in self.span(x, radius) {
                let i = row * self.side + column;
                let (px, py) = center(self.side, i);
                let (level, share) = brush(px - x, py - y, self.gray[i]);
                self.gray[i] += share.clamp(0.0, 1.0) * (level - self.gray[i]);
            }
        }
    }

    /// Replaces every pixel by a function of its place and its value.
    pub fn map(&mut self, mut change: impl FnMut(f32, f32, f32) -> f32) {
        for (i, gray) in self.gray.iter_mut().enumerate() {
            let (x, y) = center(self.side, i);
            *gray = change(x, y, *gray);
        }
    }

    /// Multiplies every pixel by `1 + amount * field`.
    pub fn modulate(&mut self, field: &[f32], amount: f32) {
        for (gray, f) in self.gray.iter_mut().zip(field) {
            *gray *= 1.0 + amount * f;
        }
    }

    /// The rows or columns whose centers lie within `radius` of `at`.
    fn span(&self, at: f32, radius: f32) -> std::ops::Range<usize> {
        let side = self.side as f32;
        let first = ((at - radius) * side).floor().clamp(0.0, side) as usize;
        let last = ((at + radius) * side).ceil().clamp(0.0, side) as usize;
        first..last
    }
}

/// The center of pixel `i`.
fn center(side: usize, i: usize) -> (f32, f32) {
    let pixel = 1.0 / side as f32;
    (((i % side) as f32 + 0.5) * pixel, ((i / side) as f32 + 0.5) * pixel)
}

/// Smooth random values in `-1..1`, `[side, side]`: `knots` by `knots` of them, joined linearly.
pub fn waves(side: usize, knots: usize, random: &mut RandomStream) -> Vec<f32> {
    let lattice: Vec<f32> = (0..knots * knots).map(|_| random.between(-1.0, 1.0)).collect();
    // Positions along one axis: the knot before, and how far on to the next.
    let steps: Vec<(usize, f32)> = (0..side)
        .map(|i| {
            let at = (i as f32 + 0.5) / side as f32 * (knots - 1) as f32;
            let before = (at as usize).min(knots - 2);
            (before, at - before as f32)
        })
        .collect();
    let mut field = Vec::with_capacity(side * side);
    for &(row, v) in &steps {
        let line: Vec<f32> = (0..knots)
            .map(|k| {
                let above = lattice[row * knots + k];
                above + v * (lattice[(row + 1) * knots + k] - above)
            })
            .collect();
        field.extend(steps.iter().map(|&(k, u)| line[k] + u * (line[k + 1] - line[k])));
    }
    field
}

#[cfg(test)]
mod tests {
    use super::super::random::Purpose;
    use super::*;

    const OVAL: Ellipse = Ellipse { x: 0.5, y: 0.5, rx: 0.3, ry: 0.2 };

    fn canvas() -> Canvas {
        Canvas::new(64, 0.1, &mut RandomStream::new(0, 0, 0, Purpose::Draw))
    }

    #[test]
    fn brushes_stay_in_their_ovals() {
        let (mut filled, mut stroked) = (canvas(), canvas());
        filled.fill(OVAL, 0.9, 0.02);
        stroked.stroke(OVAL, 0.04, 0.9, 1.0);
        for i in 0..64 * 64 {
            let (x, y) = center(64, i);
            // As far in or out as warp and soft edge reach.
            let (inside, outside) = (OVAL.reach(x, y) < 0.75, OVAL.reach(x, y) > 1.25);
            if inside {
                assert_eq!((filled.gray[i], stroked.gray[i]), (0.9, 0.1), "at {x}, {y}");
            }
            if outside {
                assert_eq!((filled.gray[i], stroked.gray[i]), (0.1, 0.1), "at {x}, {y}");
            }
        }
        assert!(stroked.gray.iter().filter(|&&gray| gray > 0.8).count() > 100);
    }

    #[test]
    fn a_stamp_is_centered_where_it_is_put() {
        let mut canvas = canvas();
        canvas.stamp((0.25, 0.75), 0.1, |dx, dy, _| (1.0, f32::from(dx.hypot(dy) < 0.1)));
        let (mut sum_x, mut sum_y, mut count) = (0.0, 0.0, 0.0);
        for (i, _) in canvas.gray.iter().enumerate().filter(|(_, gray)| **gray == 1.0) {
            let (x, y) = center(64, i);
            (sum_x, sum_y, count) = (sum_x + x, sum_y + y, count + 1.0);
        }
        assert!((sum_x / count - 0.25).abs() < 1e-3 && (sum_y / count - 0.75).abs() < 1e-3);
    }

    #[test]
    fn waves_are_smooth_and_bounded() {
        let field = waves(64, 5, &mut RandomStream::new(0, 0, 0, Purpose::Draw));
        assert!(field.iter().all(|f| f.abs() <= 1.0));
        // Four spans over 64 pixels: a step of at most 2 / 16 a pixel.
        for row in field.chunks_exact(64) {
            assert!(row.windows(2).all(|pair| (pair[1] - pair[0]).abs() <= 0.126));
        }
    }
}
