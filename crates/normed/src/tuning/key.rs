//! The recipe keys of tuning methods: one table for the recipe reader, the recipe writer and the manual.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Serialize, Serializer};

use super::Fraction;
use crate::Range;

/// A recipe key of a tuning method, such as `rank` of `lora`.
///
/// A key is plain data: the recipe reader takes names and ranges from it, the writer
/// takes defaults, and the manual prints its meaning.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// The name, as recipes write it under `[tuning]`.
    pub name: &'static str,
    /// The type of its values, and their range.
    pub kind: KeyKind,
    /// The value where the recipe has none.
    pub default: KeyDefault,
    /// Whether a resolved recipe leaves the key out while it has its default value.
    pub omit_default: bool,
    /// What the key does, in one sentence.
    pub meaning: &'static str,
}

/// The type of a key's values, and their range. Its [`Display`](fmt::Display) completes "must be ...".
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum KeyKind {
    /// A whole number in this range.
    Integer(Range<usize>),
    /// A finite number in this range.
    Number(Range<f32>),
    /// `true` or `false`.
    Boolean,
    /// One of these names.
    OneOf(&'static [&'static str]),
    /// One of these names, or a list of them that is not empty.
    SomeOf(&'static [&'static str]),
    /// A fraction above 0 and up to 1, as in `0.3` or `"30 %"`.
    Fraction,
}

/// The value of a key that a recipe does not mention.
#[derive(Debug, Clone, Copy)]
pub enum KeyDefault {
    /// A whole number.
    Integer(usize),
    /// A number.
    Number(f32),
    /// `true` or `false`.
    Boolean(bool),
    /// A name.
    Name(&'static str),
    /// A list of names.
    Names(&'static [&'static str]),
    /// A value that follows from other keys.
    Computed {
        /// What it is, for the manual.
        text: &'static str,
        /// Computes it.
        compute: fn(&Options) -> OptionValue,
    },
    /// No value; what that means, for the manual.
    Absent(&'static str),
}

/// The value of a key.
#[derive(Debug, Clone, PartialEq)]
pub enum OptionValue {
    /// A whole number.
    Integer(usize),
    /// A number.
    Number(f32),
    /// `true` or `false`.
    Boolean(bool),
    /// A name.
    Name(String),
    /// A list of names.
    Names(Vec<String>),
    /// A fraction.
    Fraction(Fraction),
}

impl Key {
    /// Returns `value` as a value of this key, if it has the right type and is in range. A whole number is
    /// accepted as a number, and one name as a list.
    pub fn accept(&self, value: OptionValue) -> Option<OptionValue> {
        use OptionValue as V;
        let is_known = |names: &[&str], name: &String| names.contains(&name.as_str());
        match (self.kind, value) {
            (KeyKind::Integer(range), V::Integer(n)) => range.contains(n).then_some(V::Integer(n)),
            (KeyKind::Number(_), V::Integer(n)) => self.accept(V::Number(n as f32)),
            (KeyKind::Number(range), V::Number(x)) => {
                (x.is_finite() && range.contains(x)).then_some(V::Number(x))
            }
            (KeyKind::Boolean, V::Boolean(value)) => Some(V::Boolean(value)),
            (KeyKind::OneOf(names), V::Name(name)) if is_known(names, &name) => Some(V::Name(name)),
            (KeyKind::SomeOf(_), V::Name(name)) => self.accept(V::Names(vec![name])),
            (KeyKind::SomeOf(names), V::Names(given)) => {
                let all_known = given.iter().all(|name| is_known(names, name));
                (all_known && !given.is_empty()).then_some(V::Names(given))
            }
            (KeyKind::Fraction, V::Fraction(fraction)) => Some(V::Fraction(fraction)),
            (KeyKind::Fraction, V::Number(x)) => Fraction::new(x).map(V::Fraction),
            (KeyKind::Fraction, V::Integer(n)) => Fraction::new(n as f32).map(V::Fraction),
            (KeyKind::Fraction, V::Name(text)) => text.parse().ok().map(V::Fraction),
            _ => None,
        }
    }

    /// The key's value in `options`: the given one, else the default; none if both are absent.
    pub fn resolve(&self, options: &Options) -> Option<OptionValue> {
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        options.given.get(self.name).cloned().or_else(|| {
            Some(match self.default {
                KeyDefault::Integer(n) => OptionValue::Integer(n),
                KeyDefault::Number(x) => OptionValue::Number(x),
                KeyDefault::Boolean(value) => OptionValue::Boolean(value),
                KeyDefault::Name(name) => OptionValue::Name(name.to_owned()),
                KeyDefault::Names(list) => OptionValue::Names(names(list)),
                KeyDefault::Computed { compute, .. } => compute(options),
                KeyDefault::Absent(_) => return None,
            })
        })
    }

    /// The value that a resolved recipe has for the key, if any.
    pub(super) fn written(&self, options: &Options) -> Option<OptionValue> {
        let value = self.resolve(options)?;
        let is_default = self.resolve(&Options::default()).is_some_and(|default| default == value);
        (!self.omit_default || !is_default).then_some(value)
    }
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(range) => write!(f, "a whole number {range}"),
            Self::Number(range) => write!(f, "a number {range}"),
            Self::Boolean => f.write_str("true or false"),
            Self::OneOf(names) => f.write_str(&alternatives(names)),
            Self::SomeOf(names) => write!(f, "{}, or a list of them", alternatives(names)),
            Self::Fraction => f.write_str("a fraction above 0 and up to 1, as in 0.3 or \"30 %\""),
        }
    }
}

/// `"a", "b" or "c"`.
fn alternatives(names: &[&str]) -> String {
    let quoted: Vec<_> = names.iter().map(|name| format!("\"{name}\"")).collect();
    match quoted.as_slice() {
        [first @ .., last] if !first.is_empty() => format!("{} or {last}", first.join(", ")),
        quoted => quoted.concat(),
    }
}

impl fmt::Display for KeyDefault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(n) => write!(f, "{n}"),
            Self::Number(x) => write!(f, "{x}"),
            Self::Boolean(value) => write!(f, "{value}"),
            Self::Name(name) => write!(f, "\"{name}\""),
            Self::Names(names) => write!(f, "[\"{}\"]", names.join("\", \"")),
            Self::Computed { text, .. } | Self::Absent(text) => f.write_str(text),
        }
    }
}

impl fmt::Display for OptionValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(n) => write!(f, "{n}"),
            Self::Number(x) => write!(f, "{x}"),
            Self::Boolean(value) => write!(f, "{value}"),
            Self::Name(name) => write!(f, "\"{name}\""),
            Self::Names(names) => write!(f, "[\"{}\"]", names.join("\", \"")),
            Self::Fraction(fraction) => write!(f, "{fraction}"),
        }
    }
}

impl Serialize for OptionValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Integer(n) => n.serialize(serializer),
            Self::Number(x) => x.serialize(serializer),
            Self::Boolean(value) => value.serialize(serializer),
            Self::Name(name) => name.serialize(serializer),
            Self::Names(names) => names.serialize(serializer),
            Self::Fraction(fraction) => fraction.serialize(serializer),
        }
    }
}

impl From<usize> for OptionValue {
    fn from(n: usize) -> Self {
        Self::Integer(n)
    }
}

impl From<f32> for OptionValue {
    fn from(x: f32) -> Self {
        Self::Number(x)
    }
}

impl From<bool> for OptionValue {
    fn from(value: bool) -> Self {
        Self::Boolean(value)
    }
}

impl From<&str> for OptionValue {
    fn from(name: &str) -> Self {
        Self::Name(name.to_owned())
    }
}

impl<const N: usize> From<[&str; N]> for OptionValue {
    fn from(names: [&str; N]) -> Self {
        Self::Names(names.map(str::to_owned).to_vec())
    }
}

impl From<Fraction> for OptionValue {
    fn from(fraction: Fraction) -> Self {
        Self::Fraction(fraction)
    }
}

/// The values that a method was given for its keys. A method reads them through its [`Key`]s, which know the
/// defaults.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Options {
    given: BTreeMap<&'static str, OptionValue>,
}

impl Options {
    /// Gives `key` a value that [`Key::accept`] returned.
    pub(super) fn insert(&mut self, key: &Key, value: OptionValue) {
        self.given.insert(key.name, value);
    }

    /// The value of a key of whole numbers.
    ///
    /// # Panics
    /// If the key is of another kind, or has no default and no value: a mistake in the method.
    pub fn integer(&self, key: &Key) -> usize {
        match key.resolve(self) {
            Some(OptionValue::Integer(n)) => n,
            other => panic!("{} is no whole number: {other:?}", key.name),
        }
    }

    /// The value of a key of numbers.
    ///
    /// # Panics
    /// If the key is of another kind, or has no default and no value: a mistake in the method.
    pub fn number(&self, key: &Key) -> f32 {
        match key.resolve(self) {
            Some(OptionValue::Number(x)) => x,
            other => panic!("{} is not a number: {other:?}", key.name),
        }
    }

    /// The value of a key that is true or false.
    ///
    /// # Panics
    /// If the key is of another kind, or has no default and no value: a mistake in the method.
    pub fn boolean(&self, key: &Key) -> bool {
        match key.resolve(self) {
            Some(OptionValue::Boolean(value)) => value,
            other => panic!("{} is not true or false: {other:?}", key.name),
        }
    }

    /// Whether the value of a key of one name is `name`.
    pub fn is(&self, key: &Key, name: &str) -> bool {
        matches!(key.resolve(self), Some(OptionValue::Name(value)) if value == name)
    }

    /// The names that a key of names has; none if it is absent.
    pub fn names(&self, key: &Key) -> Vec<String> {
        match key.resolve(self) {
            Some(OptionValue::Names(names)) => names,
            _ => Vec::new(),
        }
    }

    /// The value of a key of fractions, if it has one.
    pub fn fraction(&self, key: &Key) -> Option<Fraction> {
        match key.resolve(self) {
            Some(OptionValue::Fraction(fraction)) => Some(fraction),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn key(kind: KeyKind) -> Key {
        Key {
            name: "key",
            kind,
            default: KeyDefault::Absent("nothing"),
            omit_default: false,
            meaning: "A test.",
        }
    }

    #[test]
    fn a_key_takes_values_of_its_kind_in_its_range() {
        use OptionValue as V;
        let names = key(KeyKind::SomeOf(&["a", "b"]));
        assert_eq!(names.accept("a".into()), Some(V::Names(vec!["a".to_owned()])));
        assert_eq!(names.accept(["a", "c"].into()), None);
        assert_eq!(names.accept(V::Names(Vec::new())), None);
        let one = key(KeyKind::OneOf(&["a", "b"]));
        assert_eq!(one.accept("b".into()), Some("b".into()));
        assert_eq!(one.accept("c".into()), None);
        let size = key(KeyKind::Integer(Range::from_to(1, 8)));
        assert_eq!(
            [0, 1, 8, 9].map(|n| size.accept(V::Integer(n)).is_some()),
            [false, true, true, false]
        );
        assert_eq!(size.accept(2.0.into()), None);
        let positive = key(KeyKind::Number(Range::above(0.0)));
        assert_eq!(positive.accept(3.into()), Some(V::Number(3.0)));
        for x in [0.0, -1.0, f32::INFINITY, f32::NAN] {
            assert_eq!(positive.accept(x.into()), None, "{x}");
        }
        let probability = key(KeyKind::Number(Range::from_to_less_than(0.0, 1.0)));
        assert_eq!(
            [0.0, 0.5, 1.0].map(|x| probability.accept(x.into()).is_some()),
            [true, true, false]
        );
        assert_eq!(key(KeyKind::Boolean).accept(1.into()), None);
        assert_eq!(
            key(KeyKind::Fraction).accept("30 %".into()),
            Fraction::new(0.3).map(V::Fraction)
        );
    }
}
