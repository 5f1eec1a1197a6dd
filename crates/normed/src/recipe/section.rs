//! Reading a table key by key.

use std::cell::{Cell, RefCell};
use std::fmt::Display;
use std::path::Path;

use super::mistakes::Mistakes;
use super::other_names::own_name;
use super::parser::{Parser, ValueError, suggest};
use super::source::{Node, Place, Table, Value};

/// A table being read. The keys that are asked for are the known keys: any other key is a mistake.
pub(crate) struct Section<'a> {
    name: String,
    place: Option<Place>,
    table: &'a Table,
    directory: &'a Path,
    known: RefCell<Vec<&'static str>>,
    ignores_unknown_keys: Cell<bool>,
    mistakes: &'a Mistakes,
}

impl<'a> Section<'a> {
    /// Reads a document from its root table. Relative paths in it start from `directory`.
    pub fn root<T>(
        table: &'a Table,
        directory: &'a Path,
        mistakes: &'a Mistakes,
        read: impl FnOnce(&Section<'a>) -> T,
    ) -> T {
        Section {
            name: String::new(),
            place: None,
            table,
            directory,
            known: RefCell::default(),
            ignores_unknown_keys: Cell::default(),
            mistakes,
        }
        .finish(read)
    }

    /// The value of `key`, if it is there and `parser` accepts it. A value that it refuses is a mistake.
    pub fn parse<T>(&self, key: &'static str, parser: &Parser<T>) -> Option<T> {
        self.get(key, |node| parser.parse(node, self.directory))
    }

    /// As [`parse`](Self::parse), with a function for a parser.
    pub fn get<T>(
        &self,
        key: &'static str,
        read: impl Fn(&Node) -> Result<T, ValueError>,
    ) -> Option<T> {
        self.read_value(&self.path(key), self.find(key)?, read)
    }

    /// The value of a node, by the name that mistakes give it. A value that `read` refuses is a mistake.
    pub fn read_value<T>(
        &self,
        name: &str,
        node: &Node,
        read: impl Fn(&Node) -> Result<T, ValueError>,
    ) -> Option<T> {
        read(node)
            .map_err(|ValueError { cause, hint }| {
                self.mistakes.add(Some(&node.place), format!("{name}: {cause}"), hint);
            })
            .ok()
    }

    /// The table `key` unread, if it is there.
    pub fn table(&self, key: &'static str) -> Option<&'a Table> {
        match &self.find(key)?.value {
            Value::Table(table) => Some(table),
            other => {
                self.report(key, format!("must be a table, is {other}"));
                None
            }
        }
    }

    /// The tables inside the table `key` unread, in the order of writing.
    pub fn tables(&self, key: &'static str) -> Vec<(&'a str, &'a Table)> {
        let Some(tables) = self.table(key) else { return Vec::new() };
        let is_table = |(name, node): &'a (String, Node)| match &node.value {
            Value::Table(table) => Some((name.as_str(), table)),
            other => {
                let cause = format!("{}.{name}: must be a table, is {other}", self.path(key));
                self.mistakes.add(Some(&node.place), cause, None);
                None
            }
        };
        tables.iter().filter_map(is_table).collect()
    }

    /// Reads another table as if it were the root of this document.
    pub fn read_as_root<T>(&self, table: &Table, read: impl FnOnce(&Section<'_>) -> T) -> T {
        Section::root(table, self.directory, self.mistakes, read)
    }

    /// As [`get`](Self::get), but an absent key is a mistake.
    pub fn require<T>(
        &self,
        key: &'static str,
        read: impl Fn(&Node) -> Result<T, ValueError>,
    ) -> Option<T> {
        if !self.has(key) {
            self.report(key, "is missing");
        }
        self.get(key, read)
    }

    /// Reads the table `key`, if it is there.
    pub fn section<T>(&self, key: &'static str, read: impl FnOnce(&Section<'a>) -> T) -> Option<T> {
        let node = self.find(key)?;
        let Value::Table(table) = &node.value else {
            self.report(key, format!("must be a table, is {}", node.value));
            return None;
        };
        let below = Section {
            name: self.path(key),
            place: Some(node.place.clone()),
            table,
            directory: self.directory,
            known: RefCell::default(),
            ignores_unknown_keys: Cell::default(),
            mistakes: self.mistakes,
        };
        Some(below.finish(read))
    }

    /// Reads the table `key`; an absent table is a mistake.
    pub fn require_section<T>(
        &self,
        key: &'static str,
        read: impl FnOnce(&Section<'a>) -> T,
    ) -> Option<T> {
        if !self.has(key) {
            self.report(key, "this table is missing");
        }
        self.section(key, read)
    }

    /// Whether `key` is there.
    pub fn has(&self, key: &str) -> bool {
        self.table.iter().any(|(name, _)| name == key)
    }

    /// Adds a mistake about `key`: at its place, or at this table's if the key is absent.
    pub fn report(&self, key: &'static str, cause: impl Display) {
        self.known.borrow_mut().push(key);
        let node = self.table.iter().find(|(name, _)| name == key).map(|(_, node)| &node.place);
        let cause = format!("{}: {cause}", self.path(key));
        self.mistakes.add(node.or(self.place.as_ref()), cause, None);
    }

    /// Stops looking for unknown keys in this table: without knowing what the table describes, its keys
    /// cannot be judged.
    pub fn ignore_unknown_keys(&self) {
        self.ignores_unknown_keys.set(true);
    }

    fn find(&self, key: &'static str) -> Option<&'a Node> {
        self.known.borrow_mut().push(key);
        self.table.iter().find(|(name, _)| name == key).map(|(_, node)| node)
    }

    fn path(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) }
    }

    fn finish<T>(self, read: impl FnOnce(&Section<'a>) -> T) -> T {
        let result = read(&self);
        let mut known = self.known.borrow_mut();
        known.sort_unstable();
        known.dedup();
        for (key, node) in self.table {
            if !known.contains(&key.as_str()) && !self.ignores_unknown_keys.get() {
                let cause = format!("{}: no such key", self.path(key));
                let hint = own_name(&self.name, key).unwrap_or_else(|| suggest(key, &known));
                self.mistakes.add(Some(&node.place), cause, Some(hint));
            }
        }
        drop(known);
        result
    }
}
