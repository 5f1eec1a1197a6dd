//! Maps values to gray levels: DICOM's VOI functions and simple ranges.

use std::fmt;

use super::options::Window;

/// How values become gray levels from 0 to 255.
///
/// The first three mappings are DICOM's (PS3.3 C.11.2.1.2 and C.11.2.1.3).
#[derive(Debug, Clone, PartialEq)]
pub(super) enum GrayMapping {
    /// LINEAR, C.11.2.1.2.1: a window over whole numbers, each of which reaches half a unit to either side.
    Linear { center: f64, width: f64 },
    /// LINEAR_EXACT, C.11.2.1.3.2: a window over real numbers.
    LinearExact { center: f64, width: f64 },
    /// SIGMOID, C.11.2.1.3.1.
    Sigmoid { center: f64, width: f64 },
    /// Linear between two values. All values are black if both are equal.
    Between { low: f64, high: f64 },
    /// A look-up table that starts at the value `first`, whose entries go up to `most`. Values outside of it
    /// have the first or the last entry.
    Table { first: f64, entries: Vec<u16>, most: f64 },
}

/// In words, for the user.
impl fmt::Display for GrayMapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Linear { center, width } => write!(f, "center {center}, width {width}"),
            Self::LinearExact { center, width } => {
                write!(f, "center {center}, width {width} (LINEAR_EXACT)")
            }
            Self::Sigmoid { center, width } => {
                write!(f, "center {center}, width {width} (SIGMOID)")
            }
            Self::Between { low, high } => write!(f, "{low} to {high}"),
            Self::Table { entries, .. } => {
                write!(f, "a look-up table of {} entries", entries.len())
            }
        }
    }
}

/// The window that `window` chose, in words for the user. `mapping` is that of the file or of the user, if there is
/// one; otherwise the values decide.
pub(super) fn window_name(mapping: Option<&GrayMapping>, window: Window) -> String {
    match (mapping, window) {
        (Some(mapping), Window::Header) => format!("{mapping}, that of the file"),
        (Some(mapping), _) => mapping.to_string(),
        (None, Window::Header) => format!("{} (the file has none)", Window::Range),
        (None, window) => window.to_string(),
    }
}

impl GrayMapping {
    /// Whether its window is one that the standard allows, and its table has entries.
    pub fn is_valid(&self) -> bool {
        match self {
            // NaN is invalid, too.
            Self::Linear { center, width } => center.is_finite() && *width >= 1.0,
            Self::LinearExact { center, width } | Self::Sigmoid { center, width } => {
                center.is_finite() && *width > 0.0
            }
            Self::Between { .. } => true,
            Self::Table { entries, .. } => !entries.is_empty(),
        }
    }

    /// The mapping of `values` by their percentiles, or by their range. The caller handles windows in numbers
    /// and those of the file. Values that are not finite do not count.
    pub fn for_window(window: Window, values: impl Iterator<Item = f64>) -> Self {
        let values = values.filter(|value| value.is_finite());
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

    /// The gray level of the value `x`, from 0 to 255. Without a finite value it is 0: what was not measured is
    /// background.
    pub fn to_gray(&self, x: f64) -> u8 {
        if !x.is_finite() {
            return 0;
        }
        let part = match self {
            // A width of 1 is a threshold; it must not become a division by 0.
            Self::Linear { center, width } if *width <= 1.0 => f64::from(x > center - 0.5),
            Self::Linear { center, width } => (x - (center - 0.5)) / (width - 1.0) + 0.5,
            Self::LinearExact { center, width } => (x - center) / width + 0.5,
            Self::Sigmoid { center, width } => 1.0 / (1.0 + (-4.0 * (x - center) / width).exp()),
            Self::Between { low, high } if low < high => (x - low) / (high - low),
            Self::Between { .. } => 0.0,
            Self::Table { first, entries, most } => {
                // Casts saturate beyond the ends.
                let i = ((x - first) as usize).min(entries.len().saturating_sub(1));
                entries.get(i).map_or(0.0, |&entry| f64::from(entry) / most)
            }
        };
        (part.clamp(0.0, 1.0) * 255.0).round() as u8
    }

    /// As [`GrayMapping::to_gray`], with black and white exchanged; the background stays black.
    pub fn to_inverted_gray(&self, x: f64) -> u8 {
        if x.is_finite() { 255 - self.to_gray(x) } else { 0 }
    }
}

/// The quantile `part` of `sorted`, interpolated linearly as numpy does by default.
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
    fn windows_are_those_of_dicom() {
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
    fn ranges_are_those_of_the_values() {
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
    fn values_that_are_not_finite_are_background() {
        let values = [f64::NAN, 2.0, f64::INFINITY, 4.0, f64::NEG_INFINITY];
        for window in [Window::Range, Window::Percentiles] {
            let curve = GrayMapping::for_window(window, values.into_iter());
            assert_eq!(values.map(|x| curve.to_gray(x))[..2], [0, 0], "{window:?}");
            assert_eq!(values.map(|x| curve.to_gray(x))[2..], [0, 255, 0], "{window:?}");
            assert_eq!(values.map(|x| curve.to_inverted_gray(x))[..2], [0, 255], "{window:?}");
            let empty = GrayMapping::for_window(window, [f64::NAN].into_iter());
            assert_eq!((empty.to_gray(f64::NAN), empty.to_gray(1.0)), (0, 0), "{window:?}");
        }
    }

    #[test]
    fn invalid_windows_are_recognized() {
        for curve in [
            GrayMapping::Linear { center: 0.0, width: 0.5 },
            GrayMapping::Linear { center: 0.0, width: f64::NAN },
            GrayMapping::Linear { center: f64::INFINITY, width: 5.0 },
            GrayMapping::Sigmoid { center: 0.0, width: -1.0 },
            GrayMapping::LinearExact { center: 0.0, width: 0.0 },
            GrayMapping::Table { first: 0.0, entries: vec![], most: 1.0 },
        ] {
            assert!(!curve.is_valid(), "{curve:?}");
        }
        assert!(GrayMapping::Linear { center: 0.0, width: 1.0 }.is_valid());
        assert!(GrayMapping::Sigmoid { center: 0.0, width: 0.5 }.is_valid());
    }
}
