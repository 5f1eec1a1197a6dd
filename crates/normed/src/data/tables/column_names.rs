//! Which column of a table holds what.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The columns that a recipe names: what each holds, and the column's name.
///
/// ```toml
/// [data]
/// name = "parquet"
/// root = "scans"
/// columns = { image = "picture", question = "prompt", answer = "label" }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ColumnNames(BTreeMap<String, String>);

impl ColumnNames {
    /// What a column can be named for.
    pub const ROLES: [&str; 7] =
        ["image", "question", "answer", "answer_type", "conversations", "report", "group"];

    /// Names columns: each of [`ColumnNames::ROLES`] and the column that holds it.
    pub fn new(names: BTreeMap<String, String>) -> Self {
        Self(names)
    }

    /// Whether no column is named.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The name of the column that holds `role`, if it is named.
    pub(super) fn of(&self, role: &str) -> Option<&str> {
        self.0.get(role).map(String::as_str)
    }
}
