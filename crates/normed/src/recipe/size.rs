//! Sizes in bytes, written as `6GiB` or `900MB`.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// A size in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

/// Units from the largest to the smallest; binary units come first.
const UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

impl FromStr for ByteSize {
    type Err = String;

    /// Parses `6GiB`, `1.5 GB` or `900MB`.
    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let wrong = || format!("`{text}` is not a size: write it as 6GiB, 1.5GiB or 900MiB");
        let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit = &text[number.len()..];
        let unit = UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit));
        let (unit, number) = unit.zip(number.trim().parse::<f64>().ok()).ok_or_else(wrong)?;
        let bytes = number * unit.1 as f64;
        if !(1.0..=i64::MAX as f64).contains(&bytes) {
            return Err(wrong());
        }
        Ok(Self(bytes.round() as u64))
    }
}

impl ByteSize {
    /// The size as it is written, and in MiB if it is in another unit: `10MB (9.5 MiB)`. Needs are told in MiB.
    pub fn with_mebibytes(self) -> String {
        let text = self.to_string();
        match text.ends_with("MiB") {
            true => text,
            false => format!("{text} ({:.1} MiB)", self.0 as f64 / f64::from(1 << 20)),
        }
    }
}

impl fmt::Display for ByteSize {
    /// Writes the size in the largest unit that gives a whole number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = UNITS.iter().find(|(_, bytes)| self.0.is_multiple_of(*bytes) && self.0 > 0);
        let (name, bytes) = unit.unwrap_or(&("B", 1));
        write!(f, "{}{name}", self.0 / bytes)
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_come_back() {
        for (text, bytes, shown) in [
            ("6GiB", 6 << 30, "6GiB"),
            ("1.5 GiB", 3 << 29, "1536MiB"),
            ("900MB", 900_000_000, "900MB"),
            ("7gb", 7_000_000_000, "7GB"),
            ("1000B", 1000, "1kB"),
            ("1001 B", 1001, "1001B"),
        ] {
            let size: ByteSize = text.parse().unwrap();
            assert_eq!((size.0, size.to_string()), (bytes, shown.to_owned()), "{text}");
            assert_eq!(shown.parse(), Ok(size));
        }
        let with = ["10MB", "512MiB", "6GiB"]
            .map(|size| size.parse::<ByteSize>().unwrap().with_mebibytes());
        assert_eq!(with, ["10MB (9.5 MiB)", "512MiB", "6GiB (6144.0 MiB)"]);
        for text in ["", "6", "GiB", "-1GiB", "0GiB", "1e400GB", "nanGB", "infGB", "6 G", "6GiBs"] {
            let error = text.parse::<ByteSize>().expect_err(text);
            assert!(error.contains("write it as 6GiB"), "{error}");
        }
    }
}
