//! Reading a table key by key. The keys asked for are the keys there are: what nobody asks for is a
//! mistake, and so no list of valid names can go stale.

use std::cell::{Cell, RefCell};
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::de::{DeserializeOwned, IntoDeserializer};

use super::source::{Node, Place, Table, Value};
use crate::{Error, hub};

/// Everything that is wrong with a recipe.
#[derive(Default)]
pub(crate) struct Mistakes(RefCell<Vec<Mistake>>);

#[derive(PartialEq)]
struct Mistake {
    place: Option<Place>,
    cause: String,
    hint: Option<String>,
}

impl Mistakes {
    /// Notes one, once. Without a place, it is about the recipe as a whole.
    pub fn add(&self, place: Option<&Place>, cause: String, hint: Option<String>) {
        let mistake = Mistake { place: place.cloned(), cause, hint };
        let mut list = self.0.borrow_mut();
        if !list.contains(&mistake) {
            list.push(mistake);
        }
    }

    /// One error that lists them all, in the order of writing; none if nothing is wrong.
    pub fn take(&self, recipe: &Path) -> Option<Error> {
        let mut list = self.0.take();
        list.sort_by_key(|mistake| match mistake.place {
            None => (0, 0),
            Some(Place::Line(line)) => (1, line),
            Some(Place::Setting(n, _)) => (2, n),
        });
        let at = |place: Option<Place>| place.map(|p| format!("{p}: ")).unwrap_or_default();
        match list.len() {
            0 => None,
            1 => list.pop().map(|Mistake { place, cause, hint }| {
                let error = Error::invalid(recipe.display(), at(place) + &cause);
                if let Some(hint) = hint { error.with_remedy(hint) } else { error }
            }),
            n => {
                let mut text = format!("{n} mistakes");
                for Mistake { place, cause, hint } in list {
                    let hint = hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
                    text.push_str(&format!("\n  {}{cause}{hint}", at(place)));
                }
                Some(Error::invalid(recipe.display(), text))
            }
        }
    }
}

/// A table being read.
pub(crate) struct Section<'a> {
    name: String,
    place: Option<Place>,
    table: &'a Table,
    directory: &'a Path,
    asked: RefCell<Vec<&'static str>>,
    abandoned: Cell<bool>,
    mistakes: &'a Mistakes,
}

impl<'a> Section<'a> {
    /// Reads a whole recipe, whose relative paths start from `directory`.
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
            asked: RefCell::default(),
            abandoned: Cell::default(),
            mistakes,
        }
        .finish(read)
    }

    /// The value of `key`, if it is there and `read` takes it; what `read` says against it is a
    /// mistake.
    pub fn get<T>(
        &self,
        key: &'static str,
        read: impl Fn(&Node) -> Result<T, ValueError>,
    ) -> Option<T> {
        self.take(&self.path(key), self.find(key)?, read)
    }

    /// What `read` makes of a value that is called `name` here; what it says against it is a mistake.
    pub fn take<T>(
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

    /// The table `key`, if it is there, for the caller to read.
    pub fn raw(&self, key: &'static str) -> Option<&'a Table> {
        match &self.find(key)?.value {
            Value::Table(table) => Some(table),
            other => {
                self.wrong(key, format!("must be a table, is {other}"));
                None
            }
        }
    }

    /// The tables in the table `key`, in the order of writing, for the caller to read.
    pub fn tables(&self, key: &'static str) -> Vec<(&'a str, &'a Table)> {
        let Some(tables) = self.raw(key) else { return Vec::new() };
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

    /// Reads another table as if it were a whole file in the place of this one.
    pub fn read_as_root<T>(&self, table: &Table, read: impl FnOnce(&Section<'_>) -> T) -> T {
        Section::root(table, self.directory, self.mistakes, read)
    }

    /// As [`get`](Self::get), but to be absent is a mistake.
    pub fn require<T>(
        &self,
        key: &'static str,
        read: impl Fn(&Node) -> Result<T, ValueError>,
    ) -> Option<T> {
        if !self.has(key) {
            self.wrong(key, "is missing");
        }
        self.get(key, read)
    }

    /// The table `key`, if it is there.
    pub fn section<T>(&self, key: &'static str, read: impl FnOnce(&Section<'a>) -> T) -> Option<T> {
        let node = self.find(key)?;
        let Value::Table(table) = &node.value else {
            self.wrong(key, format!("must be a table, is {}", node.value));
            return None;
        };
        let below = Section {
            name: self.path(key),
            place: Some(node.place.clone()),
            table,
            directory: self.directory,
            asked: RefCell::default(),
            abandoned: Cell::default(),
            mistakes: self.mistakes,
        };
        Some(below.finish(read))
    }

    /// The table `key`; to be absent is a mistake.
    pub fn require_section<T>(
        &self,
        key: &'static str,
        read: impl FnOnce(&Section<'a>) -> T,
    ) -> Option<T> {
        if !self.has(key) {
            self.wrong(key, "this table is missing");
        }
        self.section(key, read)
    }

    /// Whether `key` is there.
    pub fn has(&self, key: &str) -> bool {
        self.table.iter().any(|(name, _)| name == key)
    }

    /// Says that something is wrong with `key`: at its place, or at this table's if it is absent.
    pub fn wrong(&self, key: &'static str, cause: impl Display) {
        self.asked.borrow_mut().push(key);
        let node = self.table.iter().find(|(name, _)| name == key).map(|(_, node)| &node.place);
        let cause = format!("{}: {cause}", self.path(key));
        self.mistakes.add(node.or(self.place.as_ref()), cause, None);
    }

    /// Gives up: without knowing what this table describes, nothing can be said of its other keys.
    pub fn abandon(&self) {
        self.abandoned.set(true);
    }

    /// Reads a path: relative to the recipe if it was written there, to the current directory if it
    /// came as a setting.
    pub fn a_path(&self) -> impl Fn(&Node) -> Result<PathBuf, ValueError> {
        let directory = self.directory.to_owned();
        move |node| {
            let path = PathBuf::from(text(node)?);
            let path = match node.place {
                Place::Line(_) => directory.join(path),
                Place::Setting(..) => path,
            };
            let absolute = path.canonicalize().or_else(|_| std::path::absolute(&path));
            absolute.map_err(|error| ValueError::new(format!("{}: {error}", path.display())))
        }
    }

    /// Reads a path, or one from `$NORMED_DATA` on, where that is there and the other is not.
    pub fn a_path_or_data(&self) -> impl Fn(&Node) -> Result<PathBuf, ValueError> {
        let a_path = self.a_path();
        move |node| {
            let (path, text) = (a_path(node)?, text(node)?);
            let in_data =
                std::env::var_os("NORMED_DATA").map(|data| PathBuf::from(data).join(text));
            Ok(in_data.filter(|in_data| !path.exists() && in_data.exists()).unwrap_or(path))
        }
    }

    /// Reads a path, or the name of a repository of the hub that is in the cache: the path is its
    /// snapshot's then.
    pub fn a_path_or_repo(&self, kind: hub::Kind) -> impl Fn(&Node) -> Result<PathBuf, ValueError> {
        let a_path = self.a_path();
        move |node| {
            let path = a_path(node)?;
            if path.exists() {
                return Ok(path);
            }
            match hub::find(&text(node)?, kind).map_err(ValueError::new)? {
                hub::FromHub::Here(snapshot) => Ok(snapshot),
                hub::FromHub::Absent { cause, hint } => Err(ValueError { cause, hint: Some(hint) }),
                hub::FromHub::NotAName => Ok(path),
            }
        }
    }

    fn find(&self, key: &'static str) -> Option<&'a Node> {
        self.asked.borrow_mut().push(key);
        self.table.iter().find(|(name, _)| name == key).map(|(_, node)| node)
    }

    fn path(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) }
    }

    fn finish<T>(self, read: impl FnOnce(&Section<'a>) -> T) -> T {
        let result = read(&self);
        let mut asked = self.asked.borrow_mut();
        asked.sort_unstable();
        asked.dedup();
        for (key, node) in self.table {
            if !asked.contains(&key.as_str()) && !self.abandoned.get() {
                let cause = format!("{}: no such key", self.path(key));
                self.mistakes.add(Some(&node.place), cause, Some(suggest(key, &asked)));
            }
        }
        drop(asked);
        result
    }
}

/// What is wrong with a value.
pub(crate) struct ValueError {
    cause: String,
    hint: Option<String>,
}

impl ValueError {
    /// Without a remedy.
    pub fn new(cause: impl Display) -> Self {
        Self { cause: cause.to_string(), hint: None }
    }

    /// The same, of what stands under `key`.
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

/// A whole number that is `wanted` ("from 1 up").
pub(crate) fn integer<T: FromStr>(
    wanted: &str,
    right: impl Fn(&T) -> bool,
) -> impl Fn(&Node) -> Result<T, ValueError> {
    number("a whole number", wanted, right)
}

/// A finite number that is `wanted` ("above 0").
pub(crate) fn real(
    wanted: &str,
    right: impl Fn(&f32) -> bool,
) -> impl Fn(&Node) -> Result<f32, ValueError> {
    number("a number", wanted, move |x: &f32| x.is_finite() && right(x))
}

fn number<T: FromStr>(
    kind: &str,
    wanted: &str,
    right: impl Fn(&T) -> bool,
) -> impl Fn(&Node) -> Result<T, ValueError> {
    move |node| {
        let read = match &node.value {
            Value::Number(text) => text.parse().ok().filter(|number| right(number)),
            _ => None,
        };
        read.ok_or_else(|| ValueError::new(format!("must be {kind} {wanted}, is {}", node.value)))
    }
}

/// Two values, as a list.
pub(crate) fn pair<T>(
    read: impl Fn(&Node) -> Result<T, ValueError>,
) -> impl Fn(&Node) -> Result<(T, T), ValueError> {
    move |node| match &node.value {
        Value::List(list) if list.len() == 2 => Ok((read(&list[0])?, read(&list[1])?)),
        other => Err(ValueError::new(format!("must be a list of two, is {other}"))),
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

/// One of an enum's variants, by the name that serde knows it by.
pub(crate) fn one_of<T: DeserializeOwned>(node: &Node) -> Result<T, ValueError> {
    let name = text(node)?;
    T::deserialize(name.as_str().into_deserializer())
        .map_err(|Unknown(names)| unknown(&name, names))
}

/// What is wrong with a name that is none of `names`.
pub(crate) fn unknown(name: &str, names: &[&str]) -> ValueError {
    ValueError { cause: format!("there is no \"{name}\""), hint: Some(suggest(name, names)) }
}

/// The names that an enum has, as serde reports them when it is asked for another.
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

/// The nearest of `names`, or all of them where none is near.
fn suggest(name: &str, names: &[&str]) -> String {
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
