//! From values to gray levels.

use super::options::Window;

/// Which level a value becomes.
///
/// The first three are DICOM's (PS3.3 C.11.2.1.2 and C.11.2.1.3), with 0 to 255 as the output's range.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum GrayMapping {
    /// C.11.2.1.2.1: a window over whole numbers, half of each on either side of it.
    Linear { center: f64, width: f64 },
    /// C.11.2.1.3.2: a window over real numbers.
    LinearExact { center: f64, width: f64 },
    /// C.11.2.1.3.1.
    Sigmoid { center: f64, width: f64 },
    /// From black to white. What is all alike is black.
    Between { low: f64, high: f64 },
    /// An entry a value, from `first` on; values before and behind have the first and the last. Entries
    /// go up to `most`.
    Table { first: f64, entries: Vec<u16>, most: f64 },
}

impl GrayMapping {
    /// The same, if a window is one.
    pub fn validated(self) -> Result<Self, String> {
        let wrong = |width: f64, least: &str| {
            Err(format!(
                "its window is {width} wide, and must be {least}; data.image.window says another"
            ))
        };
        match self {
            // Also not a number.
            Self::Linear { width, .. } if width < 1.0 || width.is_nan() => {
                wrong(width, "1 or more")
            }
            Self::LinearExact { width, .. } | Self::Sigmoid { width, .. }
                if width <= 0.0 || width.is_nan() =>
            {
                wrong(width, "more than 0")
            }
            Self::Table { entries, .. } if entries.is_empty() => {
                Err("its look-up table has no entries".into())
            }
            curve => Ok(curve),
        }
    }

    /// What `window` says of `values`; what the file says itself is for the caller to know, and so are
    /// windows in numbers.
    pub fn for_window(window: Window, values: impl Iterator<Item = f64>) -> Self {
        match window {
            Window::Percentiles => {
                let mut sorted: Vec<f64> = values.collect();
                sorted.sort_unstable_by(f64::total_cmp);
                Self::Between { low: quantile(&sorted, 0.005), high: quantile(&sorted, 0.995) }
            }
            _ => {
                let start = (f64::INFINITY, f64::NEG_INFINITY);
                let (low, high) = values.fold(start, |(l, h), x| (x.min(l), x.max(h)));
                Self::Between { low, high }
            }
        }
    }

    /// From 0 to 255.
    pub fn to_gray(&self, x: f64) -> u8 {
        let part = match self {
            // A width of 1 is a threshold, and never divided by.
            Self::Linear { center, width } if *width <= 1.0 => f64::from(x > center - 0.5),
            Self::Linear { center, width } => (x - (center - 0.5)) / (width - 1.0) + 0.5,
            Self::LinearExact { center, width } => (x - center) / width + 0.5,
            Self::Sigmoid { center, width } => 1.0 / (1.0 + (-4.0 * (x - center) / width).exp()),
            Self::Between { low, high } if low < high => (x - low) / (high - low),
            Self::Between { .. } => 0.0,
            Self::Table { first, entries, most } => {
                // Beyond the ends `as` stops there.
                let i = ((x - first) as usize).min(entries.len().saturating_sub(1));
                entries.get(i).map_or(0.0, |&entry| f64::from(entry) / most)
            }
        };
        (part.clamp(0.0, 1.0) * 255.0).round() as u8
    }
}

/// Between the two nearest of `sorted`, as numpy's default.
fn quantile(sorted: &[f64], part: f64) -> f64 {
    let at = part * sorted.len().saturating_sub(1) as f64;
    let (below, rest) = (at as usize, at.fract());
    match sorted.get(below..) {
        Some([a, b, ..]) => a + (b - a) * rest,
        Some([a]) => *a,
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_dicoms() {
        // The standard's own example of C.11.2.1.2.1: c = 2048, w = 4096 maps 0 to black, 4095 to white.
        let linear = GrayMapping::Linear { center: 2048.0, width: 4096.0 };
        assert_eq!([-1.0, 0.0, 4095.0, 9e9].map(|x| linear.to_gray(x)), [0, 0, 255, 255]);
        // c = 0, w = 100: black up to -50, white above 49; c = 0, w = 1: a threshold at 0.
        let linear = GrayMapping::Linear { center: 0.0, width: 100.0 };
        assert_eq!([-50.0, -49.0, 48.0, 49.0].map(|x| linear.to_gray(x)), [0, 3, 252, 255]);
        let linear = GrayMapping::Linear { center: 0.0, width: 1.0 };
        assert_eq!([-1.0, 0.0].map(|x| linear.to_gray(x)), [0, 255]);
        let exact = GrayMapping::LinearExact { center: 0.0, width: 1.0 };
        assert_eq!([-0.5, 0.0, 0.5].map(|x| exact.to_gray(x)), [0, 128, 255]);
        let sigmoid = GrayMapping::Sigmoid { center: 10.0, width: 4.0 };
        assert_eq!([10.0, 11.0].map(|x| sigmoid.to_gray(x)), [128, 186]);
        let table = GrayMapping::Table { first: 5.0, entries: vec![0, 7, 15], most: 15.0 };
        assert_eq!([-9.0, 5.0, 6.0, 7.0, 99.0].map(|x| table.to_gray(x)), [0, 0, 119, 255, 255]);
    }

    #[test]
    fn ranges_are_of_the_values() {
        let values = || (0..=200).map(f64::from);
        assert_eq!(
            GrayMapping::for_window(Window::Range, values()),
            GrayMapping::Between { low: 0.0, high: 200.0 }
        );
        let curve = GrayMapping::for_window(Window::Percentiles, values().chain([1e6]));
        let GrayMapping::Between { low, high } = curve else { panic!("{curve:?}") };
        assert!((low - 1.005).abs() < 1e-9 && (high - 199.995).abs() < 1e-9, "{low} to {high}");
        assert_eq!(GrayMapping::Between { low: 3.0, high: 3.0 }.to_gray(3.0), 0);
    }

    #[test]
    fn no_window_is_an_error() {
        for curve in [
            GrayMapping::Linear { center: 0.0, width: 0.0 },
            GrayMapping::Linear { center: 0.0, width: f64::NAN },
            GrayMapping::Sigmoid { center: 0.0, width: -1.0 },
            GrayMapping::Table { first: 0.0, entries: vec![], most: 1.0 },
        ] {
            assert!(curve.validated().is_err());
        }
    }
}
