//! A cell of a table.

use serde_json::Value;

use crate::data::text_of;

/// A cell of a table.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) enum Cell {
    /// Nothing, or white space alone.
    #[default]
    Empty,
    /// A text, a number, true or false.
    Value(Value),
    /// An error of a formula, by its name in the program.
    Error(String),
}

impl Cell {
    /// The cell of a text as written.
    pub fn of_text(text: &str) -> Self {
        if text.trim().is_empty() { Self::Empty } else { Self::Value(text.into()) }
    }

    pub fn is_empty(&self) -> bool {
        *self == Self::Empty
    }

    /// The text without white space at its ends, by the rule of [`text_of`]; `None` if the cell is empty.
    ///
    /// # Errors
    ///
    /// If the cell holds an error of a formula, or a number with more digits than were kept.
    pub fn text(&self) -> Result<Option<String>, String> {
        match self {
            Self::Empty => Ok(None),
            Self::Value(value) => Ok(text_of(value)?.map(|text| text.trim().to_owned())),
            Self::Error(name) => Err(format!("holds the error {name} of a formula")),
        }
    }
}
