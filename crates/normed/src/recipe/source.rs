//! The values of a TOML file and of settings, with the place of each.

use std::fmt;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Where a value was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// A line of the recipe, counted from 1.
    Line(usize),
    /// The n-th `key=value` setting, and its text.
    Setting(usize, String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(f, "line {line}"),
            Self::Setting(_, text) => write!(f, "--set {text}"),
        }
    }
}

/// A value, and its place.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub place: Place,
    pub value: Value,
}

/// A TOML value. Numbers stay text, as only the reader of a key knows which type it needs.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Text(String),
    Number(String),
    Boolean(bool),
    Date(String),
    List(Vec<Node>),
    Table(Table),
}

/// Keys and values in the order of writing.
pub(crate) type Table = Vec<(String, Node)>;

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "\"{text}\""),
            Self::Number(text) | Self::Date(text) => f.write_str(text),
            Self::Boolean(value) => write!(f, "{value}"),
            Self::List(_) => f.write_str("a list"),
            Self::Table(_) => f.write_str("a table"),
        }
    }
}

/// Parses TOML.
///
/// # Errors
/// All syntax errors, each with its line.
pub(crate) fn parse(text: &str) -> Result<Table, Vec<(Place, String)>> {
    let line = |offset| Place::Line(line_of(text, offset));
    let (table, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        return Ok(table_of(table.get_ref(), &line));
    }
    let offset = |error: &toml::de::Error| error.span().map_or(0, |span| span.start);
    Err(errors.iter().map(|error| (line(offset(error)), error.message().to_owned())).collect())
}

/// Applies the n-th setting, such as `train.lr=1e-3`, to `table`. A value that is not TOML is text, so that
/// names and paths need no quotes.
///
/// # Errors
/// If the setting does not have the form `key=value`.
pub(crate) fn apply_setting(table: &mut Table, n: usize, setting: &str) -> Result<(), String> {
    let (key, text) = setting.split_once('=').ok_or("a setting is written key=value")?;
    let names: Vec<_> = key.split('.').map(str::trim).collect();
    if names.iter().any(|name| name.is_empty()) {
        return Err("a setting is written key=value, with a key such as train.lr".to_owned());
    }
    let place = |_| Place::Setting(n, setting.to_owned());
    let value = match DeValue::parse(text.trim()) {
        Ok(value) => value_of(value.get_ref(), &place),
        Err(_) => Value::Text(text.trim().to_owned()),
    };
    let node = |value| Node { place: place(0), value };
    let leaf = names[1..]
        .iter()
        .rev()
        .fold(node(value), |below, name| node(Value::Table(vec![((*name).to_owned(), below)])));
    merge(table, vec![(names[0].to_owned(), leaf)]);
    Ok(())
}

/// Overrides `below` by `above`, key by key.
pub(crate) fn merge(below: &mut Table, above: Table) {
    for (name, node) in above {
        match below.iter_mut().find(|(known, _)| *known == name) {
            None => below.push((name, node)),
            Some((_, old)) => match (&mut old.value, node) {
                (Value::Table(below), Node { value: Value::Table(above), .. }) => {
                    merge(below, above);
                }
                (_, node) => *old = node,
            },
        }
    }
}

fn table_of(table: &DeTable<'_>, place: &dyn Fn(usize) -> Place) -> Table {
    let node = |offset, value: &Spanned<DeValue<'_>>| Node {
        place: place(offset),
        value: value_of(value.get_ref(), place),
    };
    table
        .iter()
        .map(|(key, value)| (key.get_ref().to_string(), node(key.span().start, value)))
        .collect()
}

fn value_of(value: &DeValue<'_>, place: &dyn Fn(usize) -> Place) -> Value {
    match value {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(number) => {
            // The parser has checked the digits. A number beyond 128 bits stays text, and is refused
            // where its key is read.
            let read = i128::from_str_radix(number.as_str(), number.radix());
            Value::Number(read.map_or_else(|_| number.to_string(), |n| n.to_string()))
        }
        DeValue::Float(number) => Value::Number(number.as_str().to_owned()),
        DeValue::Boolean(value) => Value::Boolean(*value),
        DeValue::Datetime(date) => Value::Date(date.to_string()),
        DeValue::Array(list) => Value::List(
            list.iter()
                .map(|item| Node {
                    place: place(item.span().start),
                    value: value_of(item.get_ref(), place),
                })
                .collect(),
        ),
        DeValue::Table(table) => Value::Table(table_of(table, place)),
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|&byte| byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find<'a>(table: &'a Table, key: &str) -> &'a Node {
        let (first, rest) = key.split_once('.').map_or((key, None), |(a, b)| (a, Some(b)));
        let node = &table.iter().find(|(name, _)| name == first).unwrap().1;
        match (rest, &node.value) {
            (None, _) => node,
            (Some(rest), Value::Table(table)) => find(table, rest),
            (Some(_), value) => panic!("{key}: {value}"),
        }
    }

    #[test]
    fn knows_the_line_of_every_key() {
        let table = parse("a = 1\n\n[b]\nc.d = \"x\"\ne = [\n 1,\n 0x10]\n").unwrap();
        for (key, line) in [("a", 1), ("b", 3), ("b.c", 4), ("b.c.d", 4), ("b.e", 5)] {
            assert_eq!(find(&table, key).place, Place::Line(line), "{key}");
        }
        let Value::List(list) = &find(&table, "b.e").value else { panic!() };
        assert_eq!(
            (list[1].place.clone(), list[1].value.to_string()),
            (Place::Line(7), "16".into())
        );
    }

    #[test]
    fn reports_every_syntax_error_with_its_line() {
        let errors = parse("a = \nb = 2\nc = = 3\n").unwrap_err();
        let lines: Vec<_> = errors.into_iter().map(|(place, _)| place).collect();
        assert!(lines.contains(&Place::Line(1)) && lines.contains(&Place::Line(3)), "{lines:?}");
    }

    #[test]
    fn settings_replace_values_and_add_to_tables() {
        let mut table = parse("[a]\nb = 1\nc = 2\n").unwrap();
        for (n, setting) in ["a.b=3", "a.d.e = full", "f=1.", "g=a=b"].into_iter().enumerate() {
            apply_setting(&mut table, n, setting).unwrap();
        }
        let shown = |key| find(&table, key).value.to_string();
        assert_eq!(
            ["a.b", "a.c", "a.d.e", "f", "g"].map(shown),
            ["3", "2", "\"full\"", "\"1.\"", "\"a=b\""]
        );
        assert_eq!(find(&table, "a.b").place, Place::Setting(0, "a.b=3".to_owned()));
        assert_eq!(find(&table, "a.c").place, Place::Line(3));
        for wrong in ["a", "=1", "a..b=1"] {
            assert!(apply_setting(&mut table, 0, wrong).is_err(), "{wrong}");
        }
    }
}
