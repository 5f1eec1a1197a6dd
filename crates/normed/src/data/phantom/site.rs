//! Where an image was taken: what one site's machines do to every image.

use super::canvas::{Canvas, waves};
use super::random::RandomStream;
use crate::data::PhantomDomain;

/// The rendering of a site, applied to an image in 0..1 in the order of the fields.
///
/// Patients and questions are the same at every site, so that a model's loss from one site to another is due to
/// the rendering alone. Strengths are the same for every image of a site, as those of a scanner.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Site {
    /// Share of a 3x3 binomial blur that is mixed in, 0 to 1.
    pub blur: f32,
    /// Exponent: above 1 darkens the middle grays, below 1 lightens them.
    pub gamma: f32,
    /// Relative strength of a slow brightness drift over the image, another one in each image.
    pub bias_field: f32,
    /// Contrast about middle gray.
    pub gain: f32,
    /// Brightness added.
    pub offset: f32,
    /// Whether black and white are exchanged, as in DICOM's MONOCHROME1.
    pub invert: bool,
    /// Deviation of the noise added to each pixel.
    pub noise: f32,
    /// Width of the collimator's black border, as a fraction of the side.
    pub collimator: f32,
}

impl Site {
    /// The site that base models are trained on.
    pub const SOURCE: Self = Self {
        blur: 0.0,
        gamma: 1.0,
        bias_field: 0.0,
        gain: 1.0,
        offset: 0.0,
        invert: false,
        noise: 0.02,
        collimator: 0.0,
    };

    /// The other site: a flatter, lighter, softer and noisier image. The strength of the shift is
    /// set here and nowhere else. It was chosen with a vision transformer of 0.6 M parameters that
    /// reads modality, region, count, kind, sides and enlargement off the image: its mean accuracy
    /// falls from 0.975 to 0.75, and 300 steps on its LayerNorms alone bring back 0.95. (A stronger
    /// shift, inverted and at a gain of 0.65, left 0.37, which LayerNorms raised to 0.43 only.)
    pub const SHIFTED: Self = Self {
        blur: 0.5,
        gamma: 0.75,
        bias_field: 0.15,
        gain: 0.75,
        offset: 0.0,
        invert: false,
        noise: 0.038,
        collimator: 0.03,
    };

    /// The site of a domain.
    pub fn of(domain: PhantomDomain) -> Self {
        match domain {
            PhantomDomain::Source => Self::SOURCE,
            PhantomDomain::Shifted => Self::SHIFTED,
        }
    }

    /// Renders an ideal image as the machines of this site show it.
    pub fn render(&self, canvas: &mut Canvas, random: &mut RandomStream) {
        if self.blur > 0.0 {
            blur(canvas, self.blur);
        }
        // Drawn at every site, so that the noise that follows is the same at all of them.
        let drift = waves(canvas.side, 3, random);
        canvas.map(|_, _, gray| gray.clamp(0.0, 1.0));
        if self.gamma != 1.0 {
            canvas.map(|_, _, gray| gray.powf(self.gamma));
        }
        canvas.modulate(&drift, self.bias_field);
        canvas.map(|x, y, gray| {
            let gray = 0.5 + self.gain * (gray - 0.5) + self.offset;
            let gray = if self.invert { 1.0 - gray } else { gray };
            let gray = gray + self.noise * random.normal();
            let border = x.min(1.0 - x).min(y).min(1.0 - y) < self.collimator;
            if border { 0.0 } else { gray.clamp(0.0, 1.0) }
        });
    }
}

/// Mixes in `share` of a 3x3 binomial blur; the edge repeats.
fn blur(canvas: &mut Canvas, share: f32) {
    let side = canvas.side;
    let mix = |a: f32, b: f32, c: f32| b + share * (0.25 * (a + c) - 0.5 * b);
    let mut rows = canvas.gray.clone();
    for (line, out) in canvas.gray.chunks_exact(side).zip(rows.chunks_exact_mut(side)) {
        for i in 0..side {
            out[i] = mix(line[i.saturating_sub(1)], line[i], line[(i + 1).min(side - 1)]);
        }
    }
    for i in 0..side * side {
        let (row, column) = (i / side, i % side);
        let at = |r: usize| rows[r * side + column];
        canvas.gray[i] = mix(at(row.saturating_sub(1)), rows[i], at((row + 1).min(side - 1)));
    }
}

#[cfg(test)]
mod tests {
    use super::super::random::Purpose;
    use super::*;

    const SIDE: usize = 16;

    /// Does nothing to an image.
    const PLAIN: Site = Site { noise: 0.0, ..Site::SOURCE };

    /// A bright square on dark ground, exposed.
    fn exposed(site: Site) -> Vec<f32> {
        let mut random = RandomStream::new(0, 0, 0, Purpose::Draw);
        let mut canvas = Canvas::new(SIDE, 0.0, &mut random);
        let inside = |t: f32| (0.25..0.75).contains(&t);
        canvas.map(|x, y, _| if inside(x) && inside(y) { 0.8 } else { 0.2 });
        site.render(&mut canvas, &mut random);
        canvas.gray
    }

    #[test]
    fn each_setting_does_what_it_says() {
        let (dark, bright) = (0, SIDE * SIDE / 2 + SIDE / 2);
        let near = |a: f32, b: f32| assert!((a - b).abs() < 1e-6, "{a} is not {b}");
        let both = |site| (exposed(site)[dark], exposed(site)[bright]);

        let (low, high) = both(PLAIN);
        near(low, 0.2);
        near(high, 0.8);
        let (low, high) = both(Site { invert: true, ..PLAIN });
        near(low, 0.8);
        near(high, 0.2);
        let (low, high) = both(Site { gamma: 2.0, ..PLAIN });
        near(low, 0.04);
        near(high, 0.64);
        let (low, high) = both(Site { gain: 0.5, offset: 0.1, ..PLAIN });
        near(low, 0.45);
        near(high, 0.75);
        near(both(Site { collimator: 0.1, ..PLAIN }).0, 0.0);
        assert_ne!(exposed(Site { bias_field: 0.2, ..PLAIN }), exposed(PLAIN));
    }

    #[test]
    fn blur_softens_the_edge_and_keeps_the_sum() {
        let (sharp, soft) = (exposed(PLAIN), exposed(Site { blur: 1.0, ..PLAIN }));
        let sum = |gray: &[f32]| gray.iter().sum::<f32>();
        assert!((sum(&sharp) - sum(&soft)).abs() < 1e-3);
        // A straight edge between columns 3 and 4: a quarter of the step crosses it either way.
        let middle = SIDE * SIDE / 2;
        assert!((soft[middle + 3] - 0.35).abs() < 1e-5, "{}", soft[middle + 3]);
        assert!((soft[middle + 4] - 0.65).abs() < 1e-5, "{}", soft[middle + 4]);
    }

    #[test]
    fn noise_has_the_deviation_it_says() {
        let (plain, noisy) = (exposed(PLAIN), exposed(Site { noise: 0.04, ..PLAIN }));
        let squares = plain.iter().zip(&noisy).map(|(a, b)| (a - b).powi(2)).sum::<f32>();
        let deviation = (squares / plain.len() as f32).sqrt();
        assert!((deviation - 0.04).abs() < 0.006, "{deviation}");
    }
}
