//! Tables of recipe keys. Each row says what a key is called, which values it accepts, what it does and
//! where its value goes. The reader reads by these tables, and the reference of recipe keys is written
//! from them.

use serde::Serialize;

use super::parser::Parser;
use super::section::Section;

/// A key that fills one field of an `S`.
pub(crate) struct Field<S> {
    key: KeyDescription,
    read: Box<ReadFn<S>>,
}

/// Reads a key from a section into its field.
type ReadFn<S> = dyn Fn(&Section<'_>, &mut S);

/// A key as the reference shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyDescription {
    /// The key's name in its section.
    pub name: &'static str,
    /// The accepted values: the text completes "must be ...".
    pub accepts: String,
    /// The value, or what happens, if the key is absent.
    pub default: String,
    /// What the key does, in one or two sentences.
    pub meaning: &'static str,
}

impl<S: 'static> Field<S> {
    /// A key whose field keeps its value if the key is absent. The reference shows the value that it has in a
    /// default `S`.
    pub fn new<T: Serialize + 'static>(
        name: &'static str,
        parser: Parser<T>,
        meaning: &'static str,
        field: fn(&mut S) -> &mut T,
    ) -> Self
    where
        S: Default,
    {
        let default = serde_json::to_string(field(&mut S::default())).unwrap_or_default();
        Self::keeping(name, parser, &format!("`{default}`"), meaning, field)
    }

    /// As [`new`](Self::new), with the text of the default, for an `S` that has no default of its own.
    pub fn keeping<T: 'static>(
        name: &'static str,
        parser: Parser<T>,
        default: &str,
        meaning: &'static str,
        field: fn(&mut S) -> &mut T,
    ) -> Self {
        let set = move |value, into: &mut S| *field(into) = value;
        Self::reading(name, default.to_owned(), meaning, parser, set)
    }

    /// A key that may be absent; `default` says what that means.
    pub fn optional<T: 'static>(
        name: &'static str,
        parser: Parser<T>,
        default: &str,
        meaning: &'static str,
        field: fn(&mut S) -> &mut Option<T>,
    ) -> Self {
        Self::reading(name, default.to_owned(), meaning, parser, move |value, into| {
            *field(into) = Some(value);
        })
    }

    /// A key whose absence is a mistake.
    pub fn required<T: 'static>(
        name: &'static str,
        parser: Parser<T>,
        meaning: &'static str,
        field: fn(&mut S) -> &mut T,
    ) -> Self {
        let set = move |value, into: &mut S| *field(into) = value;
        let Self { key, read } = Self::reading(name, "required".to_owned(), meaning, parser, set);
        let read = move |s: &Section<'_>, into: &mut S| {
            if !s.has(name) {
                s.report(name, "is missing");
            }
            read(s, into);
        };
        Self { key, read: Box::new(read) }
    }

    fn reading<T: 'static>(
        name: &'static str,
        default: String,
        meaning: &'static str,
        parser: Parser<T>,
        set: impl Fn(T, &mut S) + 'static,
    ) -> Self {
        let accepts = parser.accepts().to_owned();
        let read = move |s: &Section<'_>, into: &mut S| {
            if let Some(value) = s.parse(name, &parser) {
                set(value, into);
            }
        };
        Self { key: KeyDescription { name, accepts, default, meaning }, read: Box::new(read) }
    }

    /// The same key, with other words for its default.
    pub fn with_default(mut self, default: &str) -> Self {
        default.clone_into(&mut self.key.default);
        self
    }

    /// The key as the reference shows it.
    pub fn describe(&self) -> KeyDescription {
        self.key.clone()
    }
}

/// Reads all keys of `fields` from a section, over the values that `into` has.
pub(crate) fn read_fields<S>(s: &Section<'_>, fields: &[Field<S>], mut into: S) -> S {
    for field in fields {
        (field.read)(s, &mut into);
    }
    into
}

/// The keys of `fields` as the reference shows them.
pub(crate) fn describe_fields<S: 'static>(fields: &[Field<S>]) -> Vec<KeyDescription> {
    fields.iter().map(Field::describe).collect()
}
