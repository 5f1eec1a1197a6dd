//! How many of the values that a tuning changed are still changed after rounding.

use std::ops::AddAssign;

use serde::Serialize;

/// A count of changed values, and of those that rounding leaves changed.
///
/// The step from one bf16 value to the next is 0.4 % to 0.8 % of the value, so a small change of a norm's gain, which
/// is near 1, is rounded away entirely.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct ChangedValues {
    /// Values that differ from the base's.
    pub changed: usize,
    /// Those of them that still differ once they are rounded.
    pub surviving: usize,
}

impl ChangedValues {
    /// Compares `values` with the base's, and again once they are rounded by `round`.
    pub fn count(base: &[f32], values: &[f32], round: impl Fn(f32) -> f32) -> Self {
        let mut counted = Self::default();
        for (&before, &value) in base.iter().zip(values) {
            counted.changed += usize::from(before != value);
            counted.surviving += usize::from(before != value && before != round(value));
        }
        counted
    }
}

impl AddAssign for ChangedValues {
    fn add_assign(&mut self, other: Self) {
        self.changed += other.changed;
        self.surviving += other.surviving;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::bf16;

    #[test]
    fn a_change_survives_if_the_rounded_value_differs_from_the_base() {
        let base = [1.0, 1.0, 2.0, 0.5];
        let values = [1.001, 1.01, 2.0, -0.5];
        let exact = ChangedValues::count(&base, &values, |x| x);
        assert_eq!(exact, ChangedValues { changed: 3, surviving: 3 });
        let rounded = ChangedValues::count(&base, &values, |x| bf16::from_f32(x).to_f32());
        assert_eq!(rounded, ChangedValues { changed: 3, surviving: 2 });
    }
}
