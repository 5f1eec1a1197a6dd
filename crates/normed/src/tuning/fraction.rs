//! A fraction, as recipes write it: `0.3` or `"30 %"`.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

/// A fraction above 0 and at most 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Fraction(f32);

impl Fraction {
    /// The fraction `value`; none unless `0 < value <= 1`.
    pub fn new(value: f32) -> Option<Self> {
        (value > 0.0 && value <= 1.0).then_some(Self(value))
    }

    /// This fraction of `n` items: the nearest whole number, and at least one if there are any.
    pub(super) fn of(self, n: usize) -> usize {
        ((f64::from(self.0) * n as f64).round() as usize).max(1).min(n)
    }
}

impl FromStr for Fraction {
    type Err = String;

    /// Reads `"30 %"` or `"0.3"`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (number, whole) = match text.strip_suffix('%') {
            Some(percent) => (percent, 100.0),
            None => (text, 1.0),
        };
        let value = number.trim().parse::<f32>().ok().and_then(|number| Self::new(number / whole));
        value.ok_or_else(|| format!("`{text}` is not a fraction above 0 and up to 1"))
    }
}

impl fmt::Display for Fraction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} %", 100.0 * self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_fractions_and_percentages() {
        for (text, of_ten) in [("0.3", 3), ("30 %", 3), ("30%", 3), ("1", 10), ("0.01", 1)] {
            assert_eq!(text.parse::<Fraction>().unwrap().of(10), of_ten, "{text}");
        }
        for text in ["0", "1.1", "101 %", "-1", "all", "", "%", "nan"] {
            assert!(text.parse::<Fraction>().is_err(), "{text}");
        }
    }
}
