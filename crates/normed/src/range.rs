//! The numbers that a recipe key or an option accepts.

use std::fmt;
use std::ops::Bound;

/// A range of numbers. Its text completes "a number ...": "from 1 to 1000", "above 0".
///
/// ```
/// use normed::Range;
///
/// const PROBABILITY: Range<f32> = Range::from_to(0.0, 1.0);
/// assert!(PROBABILITY.contains(0.5) && !PROBABILITY.contains(f32::NAN));
/// assert_eq!(PROBABILITY.to_string(), "from 0 to 1");
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Range<T> {
    low: Bound<T>,
    high: Bound<T>,
}

impl<T: Copy + PartialOrd> Range<T> {
    /// From `low` to `high`, both ends included.
    pub const fn from_to(low: T, high: T) -> Self {
        Self { low: Bound::Included(low), high: Bound::Included(high) }
    }

    /// From `low` to less than `high`.
    pub const fn from_to_less_than(low: T, high: T) -> Self {
        Self { low: Bound::Included(low), high: Bound::Excluded(high) }
    }

    /// `low` or more.
    pub const fn at_least(low: T) -> Self {
        Self { low: Bound::Included(low), high: Bound::Unbounded }
    }

    /// More than `low`.
    pub const fn above(low: T) -> Self {
        Self { low: Bound::Excluded(low), high: Bound::Unbounded }
    }

    /// More than `low`, and `high` at most.
    pub const fn above_to(low: T, high: T) -> Self {
        Self { low: Bound::Excluded(low), high: Bound::Included(high) }
    }

    /// More than `low`, and less than `high`.
    pub const fn between(low: T, high: T) -> Self {
        Self { low: Bound::Excluded(low), high: Bound::Excluded(high) }
    }

    /// Every number.
    pub const fn any() -> Self {
        Self { low: Bound::Unbounded, high: Bound::Unbounded }
    }

    /// Whether `number` is in the range. NaN is in no range.
    pub fn contains(&self, number: T) -> bool {
        let is_high_enough = match self.low {
            Bound::Included(low) => number >= low,
            Bound::Excluded(low) => number > low,
            Bound::Unbounded => number.partial_cmp(&number).is_some(),
        };
        let is_low_enough = match self.high {
            Bound::Included(high) => number <= high,
            Bound::Excluded(high) => number < high,
            Bound::Unbounded => true,
        };
        is_high_enough && is_low_enough
    }
}

impl<T: fmt::Display> fmt::Display for Range<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.low, &self.high) {
            (Bound::Unbounded, Bound::Unbounded) => f.write_str("of any size"),
            (Bound::Included(low), Bound::Unbounded) => write!(f, "of at least {low}"),
            (Bound::Excluded(low), Bound::Unbounded) => write!(f, "above {low}"),
            (Bound::Unbounded, Bound::Included(high)) => write!(f, "of at most {high}"),
            (Bound::Unbounded, Bound::Excluded(high)) => write!(f, "below {high}"),
            (Bound::Included(low), Bound::Included(high)) => write!(f, "from {low} to {high}"),
            (Bound::Included(low), Bound::Excluded(high)) => {
                write!(f, "from {low} to less than {high}")
            }
            (Bound::Excluded(low), Bound::Included(high)) => {
                write!(f, "above {low} and at most {high}")
            }
            (Bound::Excluded(low), Bound::Excluded(high)) => {
                write!(f, "above {low} and below {high}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_contains_what_its_text_says() {
        for (range, text, inside, outside) in [
            (Range::from_to(1.0, 3.0), "from 1 to 3", [1.0, 3.0], [0.9, 3.1]),
            (Range::from_to_less_than(0.0, 1.0), "from 0 to less than 1", [0.0, 0.9], [-0.1, 1.0]),
            (Range::at_least(2.0), "of at least 2", [2.0, 9.0], [1.9, f32::NAN]),
            (Range::above(0.0), "above 0", [0.1, 9.0], [0.0, f32::NAN]),
            (Range::above_to(0.0, 1.0), "above 0 and at most 1", [0.1, 1.0], [0.0, 1.1]),
            (Range::between(0.0, 1.0), "above 0 and below 1", [0.1, 0.9], [0.0, 1.0]),
            (Range::any(), "of any size", [-9.0, 9.0], [f32::NAN, f32::NAN]),
        ] {
            assert_eq!(range.to_string(), text);
            assert!(inside.iter().all(|&x| range.contains(x)), "{text}");
            assert!(!outside.iter().any(|&x| range.contains(x)), "{text}");
        }
    }
}
