//! The value of a column in a row: what parquet and Arrow files have in common.

use serde_json::{Map, Number, Value};

/// One value of a table.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::data) enum Cell {
    Null,
    Bool(bool),
    Int(i64),
    UInt(u64),
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
    List(Vec<Cell>),
    Struct(Vec<(String, Cell)>),
    /// A value that no field takes; its kind, as in `a timestamp`.
    Other(&'static str),
}

impl Cell {
    /// A number of 32 bits as the shortest decimal number that means it: 0.1 is 0.1, not 0.10000000149011612.
    pub fn from_f32(value: f32) -> Self {
        Self::Float(value.to_string().parse().unwrap_or(f64::from(value)))
    }

    /// The value as JSON; the error says what it is instead, as in `is a timestamp`.
    pub fn into_json(self) -> Result<Value, String> {
        Ok(match self {
            Self::Null => Value::Null,
            Self::Bool(truth) => truth.into(),
            Self::Int(number) => number.into(),
            Self::UInt(number) => number.into(),
            Self::Float(number) => match Number::from_f64(number) {
                Some(number) => number.into(),
                // pandas writes a number that is missing so.
                None if number.is_nan() => return Err("is NaN".into()),
                None => return Err("is infinite".into()),
            },
            Self::Text(text) => text.into(),
            // Some writers do not say that bytes are text.
            Self::Bytes(bytes) => match String::from_utf8(bytes) {
                Ok(text) => text.into(),
                Err(_) => return Err("is binary data, not text".into()),
            },
            Self::List(cells) => {
                cells.into_iter().map(Self::into_json).collect::<Result<Vec<_>, _>>()?.into()
            }
            Self::Struct(fields) => {
                let field = |(name, cell): (String, Self)| Ok((name, cell.into_json()?));
                fields.into_iter().map(field).collect::<Result<Map<_, _>, String>>()?.into()
            }
            Self::Other(kind) => return Err(format!("is {kind}, not a text or a number")),
        })
    }

    /// A struct of lists as a list of structs: `datasets` stores a list of structs so if it is declared a `Sequence`.
    #[must_use]
    pub fn rows_of_columns(self) -> Self {
        let lengths = |fields: &[(String, Self)]| -> Option<Vec<usize>> {
            let length = |(_, cell): &(String, Self)| match cell {
                Self::List(cells) => Some(cells.len()),
                _ => None,
            };
            fields.iter().map(length).collect()
        };
        let Self::Struct(fields) = self else { return self };
        match lengths(&fields).as_deref() {
            Some([first, others @ ..]) if others.iter().all(|other| other == first) => {
                let mut rows = vec![Vec::with_capacity(fields.len()); *first];
                for (name, cell) in fields {
                    let Self::List(cells) = cell else { continue };
                    for (row, cell) in rows.iter_mut().zip(cells) {
                        row.push((name.clone(), cell));
                    }
                }
                Self::List(rows.into_iter().map(Self::Struct).collect())
            }
            _ => Self::Struct(fields),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn text(text: &str) -> Cell {
        Cell::Text(text.into())
    }

    #[test]
    fn values_are_those_of_json() {
        let turn = Cell::Struct(vec![("from".into(), text("human")), ("n".into(), Cell::Int(-1))]);
        let cell = Cell::List(vec![turn, Cell::Null, Cell::UInt(u64::MAX), Cell::from_f32(0.1)]);
        let json = cell.into_json().unwrap();
        assert_eq!(json, json!([{"from": "human", "n": -1}, null, u64::MAX, 0.1]));
        assert_eq!(Cell::Bytes(b"a".to_vec()).into_json().unwrap(), json!("a"));
        for (cell, cause) in [
            (Cell::Float(f64::NAN), "is NaN"),
            (Cell::Float(f64::INFINITY), "is infinite"),
            (Cell::Bytes(vec![0xff]), "is binary data, not text"),
            (Cell::List(vec![Cell::Other("a date")]), "is a date, not a text or a number"),
        ] {
            assert_eq!(cell.into_json().unwrap_err(), cause);
        }
    }

    #[test]
    fn a_struct_of_lists_becomes_a_list_of_structs() {
        let columns = |a: &[&str], b: &[&str]| {
            let list = |texts: &[&str]| Cell::List(texts.iter().map(|t| text(t)).collect());
            Cell::Struct(vec![("from".into(), list(a)), ("value".into(), list(b))])
        };
        let rows = columns(&["human", "gpt"], &["q", "a"]).rows_of_columns().into_json().unwrap();
        assert_eq!(rows, json!([{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]));
        let uneven = columns(&["human"], &[]);
        assert_eq!(uneven.clone().rows_of_columns(), uneven);
    }
}
