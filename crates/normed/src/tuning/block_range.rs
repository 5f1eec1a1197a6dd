//! A range of a tower's blocks, as recipes write it under `layers`.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// A range of blocks, counted from 0 and without its end: `"6.."`, `"0..6"`, `"..6"`, or a single block `"3"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockRange {
    start: usize,
    end: Option<usize>,
}

impl BlockRange {
    /// Whether the range contains block `layer`.
    pub fn contains(self, layer: usize) -> bool {
        layer >= self.start && self.end.is_none_or(|end| layer < end)
    }
}

impl FromStr for BlockRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| {
            text.trim().parse::<usize>().map_err(|_| {
                format!("`{text}` is not the number of a block; write \"6..\", \"0..6\" or \"3\"")
            })
        };
        let range = match text.split_once("..") {
            None => {
                let start = number(text)?;
                Self { start, end: start.checked_add(1) }
            }
            Some((start, end)) => Self {
                start: if start.trim().is_empty() { 0 } else { number(start)? },
                end: if end.trim().is_empty() { None } else { Some(number(end)?) },
            },
        };
        match range.end {
            Some(end) if end <= range.start => {
                Err(format!("`{text}` is empty: a range does not contain its end"))
            }
            _ => Ok(range),
        }
    }
}

impl fmt::Display for BlockRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..", self.start)?;
        self.end.map_or(Ok(()), |end| write!(f, "{end}"))
    }
}

impl Serialize for BlockRange {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_comes_back_as_written_and_excludes_its_end() {
        for (text, contained) in [
            ("6..", [false, false, true, true]),
            ("0..6", [true, true, false, false]),
            ("..6", [true, true, false, false]),
            ("6", [false, false, true, false]),
            ("5 .. 7", [false, true, true, false]),
        ] {
            let range: BlockRange = text.parse().unwrap();
            assert_eq!([0, 5, 6, 7].map(|i| range.contains(i)), contained, "{text}");
            assert_eq!(range.to_string().parse(), Ok(range), "{text}");
        }
    }

    #[test]
    fn text_that_is_no_range_is_refused() {
        for text in ["", "x", "6...", "6..6", "7..6", "-1..", "1.5"] {
            assert!(text.parse::<BlockRange>().is_err(), "{text}");
        }
    }
}
