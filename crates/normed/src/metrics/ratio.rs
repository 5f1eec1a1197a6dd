//! A fraction whose numerator and denominator are sums over examples.

/// A mean over examples, kept as the two sums it is made of, so that parts of a set can be added.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Ratio {
    pub numerator: f64,
    pub denominator: f64,
}

impl Ratio {
    /// One example that earns `credit`.
    pub fn one(credit: f64) -> Self {
        Self { numerator: credit, denominator: 1.0 }
    }

    /// Numerator over denominator; `None` if the denominator is zero.
    pub fn value(self) -> Option<f64> {
        (self.denominator > 0.0).then(|| self.numerator / self.denominator)
    }
}

impl std::ops::AddAssign for Ratio {
    fn add_assign(&mut self, other: Self) {
        self.numerator += other.numerator;
        self.denominator += other.denominator;
    }
}
