//! A range of blocks, as recipes write it.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// The blocks from `start` to `end`, which is not among them: `"6.."`, `"0..6"`, `"..6"`, or one: `"3"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layers {
    start: usize,
    end: Option<usize>,
}

impl Layers {
    /// Whether block `layer` is among them.
    pub fn contains(self, layer: usize) -> bool {
        layer >= self.start && self.end.is_none_or(|end| layer < end)
    }
}

impl FromStr for Layers {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| {
            text.trim().parse::<usize>().map_err(|_| {
                format!("`{text}` is not a block's number; write \"6..\", \"0..6\" or \"3\"")
            })
        };
        let layers = match text.split_once("..") {
            None => {
                let start = number(text)?;
                Self { start, end: start.checked_add(1) }
            }
            Some((start, end)) => Self {
                start: if start.trim().is_empty() { 0 } else { number(start)? },
                end: if end.trim().is_empty() { None } else { Some(number(end)?) },
            },
        };
        match layers.end {
            Some(end) if end <= layers.start => {
                Err(format!("`{text}` is empty: the end is not among the blocks"))
            }
            _ => Ok(layers),
        }
    }
}

impl fmt::Display for Layers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..", self.start)?;
        self.end.map_or(Ok(()), |end| write!(f, "{end}"))
    }
}

impl Serialize for Layers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes_and_counts_without_the_end() {
        for (text, among) in [
            ("6..", [false, false, true, true]),
            ("0..6", [true, true, false, false]),
            ("..6", [true, true, false, false]),
            ("6", [false, false, true, false]),
            ("5 .. 7", [false, true, true, false]),
        ] {
            let layers: Layers = text.parse().unwrap();
            assert_eq!([0, 5, 6, 7].map(|i| layers.contains(i)), among, "{text}");
            assert_eq!(layers.to_string().parse(), Ok(layers), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_range() {
        for text in ["", "x", "6...", "6..6", "7..6", "-1..", "1.5"] {
            assert!(text.parse::<Layers>().is_err(), "{text}");
        }
    }
}
