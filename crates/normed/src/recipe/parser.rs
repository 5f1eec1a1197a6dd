//! Parsers of single values: what each accepts, in words and as a check.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::de::{DeserializeOwned, IntoDeserializer};

use super::source::{Node, Place, Value};
use crate::{Range, hub};

/// Reads the value of a key, and says in words which values it accepts.
pub(crate) struct Parser<T> {
    accepts: String,
    parse: Box<ParseFn<T>>,
}

/// Reads a node; a relative path in it starts from the directory.
type ParseFn<T> = dyn Fn(&Node, &Path) -> Result<T, ValueError>;

impl<T> Parser<T> {
    /// A parser that accepts what completes "must be ...".
    pub fn new(
        accepts: impl Into<String>,
        parse: impl Fn(&Node) -> Result<T, ValueError> + 'static,
    ) -> Self {
        Self { accepts: accepts.into(), parse: Box::new(move |node, _| parse(node)) }
    }

    /// The accepted values; the text completes "must be ...".
    pub fn accepts(&self) -> &str {
        &self.accepts
    }

    /// Reads a node; a relative path in it starts from `directory`.
    pub fn parse(&self, node: &Node, directory: &Path) -> Result<T, ValueError> {
        (self.parse)(node, directory)
    }

    /// Reads a node that holds no path.
    pub fn read(&self, node: &Node) -> Result<T, ValueError> {
        self.parse(node, Path::new(""))
    }

    /// The same parser, followed by a conversion that may fail.
    pub fn try_map<U>(self, convert: impl Fn(T) -> Result<U, ValueError> + 'static) -> Parser<U>
    where
        T: 'static,
    {
        let parse = self.parse;
        Parser {
            accepts: self.accepts,
            parse: Box::new(move |node, directory| convert(parse(node, directory)?)),
        }
    }

    /// The same parser, followed by a conversion.
    pub fn map<U>(self, convert: impl Fn(T) -> U + 'static) -> Parser<U>
    where
        T: 'static,
    {
        self.try_map(move |value| Ok(convert(value)))
    }

    /// The same parser, with other words for what it accepts.
    pub fn accepting(self, accepts: impl Into<String>) -> Self {
        Self { accepts: accepts.into(), ..self }
    }
}

/// What is wrong with a value, and what could be written instead.
pub(crate) struct ValueError {
    pub(super) cause: String,
    pub(super) hint: Option<String>,
}

impl ValueError {
    /// Without a hint.
    pub fn new(cause: impl Display) -> Self {
        Self { cause: cause.to_string(), hint: None }
    }

    /// The same error, about the value of `key` inside the value.
    pub fn within(self, key: &str) -> Self {
        Self { cause: format!("{key}: {}", self.cause), ..self }
    }
}

/// Text.
pub(crate) fn text(node: &Node) -> Result<String, ValueError> {
    match &node.value {
        Value::Text(text) => Ok(text.clone()),
        other => Err(ValueError::new(format!("must be text, is {other}"))),
    }
}

/// `true` or `false`.
pub(crate) fn boolean(node: &Node) -> Result<bool, ValueError> {
    match &node.value {
        Value::Boolean(value) => Ok(*value),
        other => Err(ValueError::new(format!("must be true or false, is {other}"))),
    }
}

/// A whole number in `range`.
pub(crate) fn integer<T>(range: Range<T>) -> Parser<T>
where
    T: FromStr + Copy + PartialOrd + Display + 'static,
{
    number_of("a whole number", range)
}

/// A finite number in `range`.
pub(crate) fn number(range: Range<f32>) -> Parser<f32> {
    number_of("a number", range).try_map(|x: f32| match x.is_finite() {
        true => Ok(x),
        false => Err(ValueError::new(format!("must be a finite number, is {x}"))),
    })
}

fn number_of<T>(kind: &str, range: Range<T>) -> Parser<T>
where
    T: FromStr + Copy + PartialOrd + Display + 'static,
{
    let accepts = format!("{kind} {range}");
    Parser::new(accepts.clone(), move |node| {
        let read = match &node.value {
            Value::Number(text) => text.parse().ok().filter(|&number| range.contains(number)),
            _ => None,
        };
        let hint = |text: &String| match text.replacen(',', ".", 1) {
            _ if text.parse::<T>().is_ok() => Some("write the number without quotes".to_owned()),
            point if point.parse::<T>().is_ok() => Some(format!("write {point}, with a point")),
            _ => None,
        };
        read.ok_or_else(|| ValueError {
            cause: format!("must be {accepts}, is {}", node.value),
            hint: if let Value::Text(text) = &node.value { hint(text) } else { None },
        })
    })
}

/// A random seed. TOML's whole numbers end at 2^63 - 1.
pub(crate) fn seed() -> Parser<u64> {
    const LARGEST: u64 = i64::MAX as u64;
    integer(Range::from_to(0, LARGEST)).accepting("a whole number from 0 to 2^63 - 1")
}

/// Two values, as a list.
pub(crate) fn pair<T: 'static>(one: Parser<T>) -> Parser<(T, T)> {
    let accepts = format!("a list of two, each {}", one.accepts);
    Parser {
        accepts,
        parse: Box::new(move |node, directory| match &node.value {
            Value::List(list) if list.len() == 2 => {
                Ok((one.parse(&list[0], directory)?, one.parse(&list[1], directory)?))
            }
            other => Err(ValueError::new(format!("must be a list of two, is {other}"))),
        }),
    }
}

/// At least one value, as a list.
pub(crate) fn list<T>(
    read: impl Fn(&Node) -> Result<T, ValueError>,
) -> impl Fn(&Node) -> Result<Vec<T>, ValueError> {
    move |node| match &node.value {
        Value::List(list) if !list.is_empty() => list.iter().map(&read).collect(),
        Value::List(_) => Err(ValueError::new("must not be empty")),
        other => Err(ValueError::new(format!("must be a list, is {other}"))),
    }
}

/// One of an enum's variants, and their names.
pub(crate) fn variant<T: DeserializeOwned + 'static>() -> Parser<T> {
    let unknown = T::deserialize("?".into_deserializer()).err();
    let names = unknown.map_or(&[][..], |Unknown(names)| names);
    Parser::new(one_of_names(names), one_of)
}

/// One of some named values, or what `other` accepts.
pub(crate) fn name_or<T: Clone + 'static>(
    names: Vec<(&'static str, T)>,
    other: Parser<T>,
) -> Parser<T> {
    let quoted: Vec<_> = names.iter().map(|(name, _)| format!("\"{name}\"")).collect();
    Parser {
        accepts: format!("{} or {}", quoted.join(", "), other.accepts),
        parse: Box::new(move |node, directory| {
            let named = match &node.value {
                Value::Text(text) => names.iter().find(|(name, _)| name == text),
                _ => None,
            };
            match named {
                Some((_, value)) => Ok(value.clone()),
                None => other.parse(node, directory),
            }
        }),
    }
}

/// In words: one of `names`.
pub(crate) fn one_of_names(names: &[&str]) -> String {
    let quoted: Vec<_> = names.iter().map(|name| format!("\"{name}\"")).collect();
    match quoted.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

/// A path. It is relative to the recipe if it was written there, and to the current directory if it came as a
/// setting.
pub(crate) fn path() -> Parser<PathBuf> {
    Parser { accepts: "a path".to_owned(), parse: Box::new(resolve_path) }
}

fn resolve_path(node: &Node, directory: &Path) -> Result<PathBuf, ValueError> {
    let path = PathBuf::from(text(node)?);
    let path = match node.place {
        Place::Line(_) => directory.join(path),
        Place::Setting(..) => path,
    };
    let absolute = path.canonicalize().or_else(|_| std::path::absolute(&path));
    absolute.map_err(|error| ValueError::new(format!("{}: {error}", path.display())))
}

/// A path. If it does not exist, but the same path below `$NORMED_DATA` does, that one is used.
pub(crate) fn path_or_data() -> Parser<PathBuf> {
    let parse = |node: &Node, directory: &Path| {
        let (path, text) = (resolve_path(node, directory)?, text(node)?);
        let in_data = std::env::var_os("NORMED_DATA").map(|data| PathBuf::from(data).join(text));
        Ok(in_data.filter(|in_data| !path.exists() && in_data.exists()).unwrap_or(path))
    };
    Parser { accepts: "a path, also below $NORMED_DATA".to_owned(), parse: Box::new(parse) }
}

/// A path, or the `ORG/NAME` of a repository in the hub's cache: the path of its snapshot.
pub(crate) fn path_or_repo(kind: hub::RepoKind) -> Parser<PathBuf> {
    let parse = move |node: &Node, directory: &Path| {
        let path = resolve_path(node, directory)?;
        if path.exists() {
            return Ok(path);
        }
        match hub::find_cached(&text(node)?, kind).map_err(ValueError::new)? {
            hub::CacheLookup::Found(snapshot) => Ok(snapshot),
            hub::CacheLookup::Missing { cause, hint } => {
                Err(ValueError { cause, hint: Some(hint) })
            }
            hub::CacheLookup::NotARepoName => Ok(path),
        }
    };
    Parser {
        accepts: "a path, or the ORG/NAME of a fetched repository".to_owned(),
        parse: Box::new(parse),
    }
}

/// The directory of a model.
pub(crate) fn model() -> Parser<PathBuf> {
    path_or_repo(hub::RepoKind::Model)
        .try_map(|path| is_there(path, Path::is_dir, "directory"))
        .accepting("a model folder, or the ORG/NAME of a fetched model")
}

/// A directory that exists.
pub(crate) fn directory() -> Parser<PathBuf> {
    path().try_map(|path| is_there(path, Path::is_dir, "directory")).accepting("a folder")
}

/// `path`, if it exists and is of the right kind.
pub(crate) fn is_there(
    path: PathBuf,
    is_right: fn(&Path) -> bool,
    kind: &str,
) -> Result<PathBuf, ValueError> {
    match is_right(&path) {
        true => Ok(path),
        false => Err(ValueError::new(format!("there is no {kind} {}", path.display()))),
    }
}

/// One of an enum's variants, by its serde name.
pub(crate) fn one_of<T: DeserializeOwned>(node: &Node) -> Result<T, ValueError> {
    let name = text(node)?;
    T::deserialize(name.as_str().into_deserializer())
        .map_err(|Unknown(names)| unknown(&name, names))
}

/// The error for a name that is none of `names`.
pub(crate) fn unknown(name: &str, names: &[&str]) -> ValueError {
    ValueError { cause: format!("there is no \"{name}\""), hint: Some(suggest(name, names)) }
}

/// An enum's names, as serde reports them when it meets an unknown one.
#[derive(Debug)]
struct Unknown(&'static [&'static str]);

impl serde::de::Error for Unknown {
    fn custom<T: Display>(_: T) -> Self {
        Self(&[])
    }

    fn unknown_variant(_: &str, names: &'static [&'static str]) -> Self {
        Self(names)
    }
}

impl std::error::Error for Unknown {}

impl Display for Unknown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "one of {}", self.0.join(", "))
    }
}

/// A hint: the most similar of `names`, or all of them if none is similar.
pub(super) fn suggest(name: &str, names: &[&str]) -> String {
    let name = name.to_lowercase();
    let name = name.as_str();
    let within = |a: &str, b: &str| a.len() >= 3 && b.contains(a);
    let distance = |known: &str| match strsim::damerau_levenshtein(name, known) {
        _ if within(name, known) || within(known, name) => 1,
        distance => distance,
    };
    match names.iter().map(|known| (distance(known), known)).min() {
        Some((distance, known)) if distance <= 1 + known.len() / 4 => {
            format!("did you mean `{known}`?")
        }
        _ => format!("there are {}", names.join(", ")),
    }
}
