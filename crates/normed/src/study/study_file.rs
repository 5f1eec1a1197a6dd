//! Reads study files. Models, data sets and methods are tables of recipe keys. They are merged in this
//! order, the later ones over the earlier ones, and the result is read as a recipe.

use std::path::{Path, PathBuf};

use super::{Experiment, Study, TestSet};
use crate::recipe::parser::{
    ValueError, boolean, integer, list, number, one_of, seed, text, unknown,
};
use crate::recipe::section::Section;
use crate::recipe::source::{Node, Table, Value, merge};
use crate::recipe::{BestBy, Document, Recipe};
use crate::{Range, Result};

/// How many runs may be under way at once.
const JOBS: Range<usize> = Range::from_to(1, 1024);

impl Study {
    /// Reads the study at `path`, with `key=value` settings that override its keys.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or holds mistakes; one error names all of them.
    pub fn open(path: &Path, settings: &[String]) -> Result<Self> {
        let document = Document::open(path, settings)?;
        let name = document.name();
        document.read(|section| read_study(section, &name))
    }
}

/// The tables of a study file from which recipes are made.
struct Tables<'a> {
    common: Table,
    selection: Table,
    models: Vec<Entry<'a>>,
    data_sets: Vec<Entry<'a>>,
    methods: Vec<Entry<'a>>,
    test_sets: Vec<(&'a str, &'a Table)>,
}

/// A model, a data set or a method: its name and its keys.
struct Entry<'a> {
    name: &'a str,
    keys: Table,
}

/// The section `[efficiency]`: the fractions, and the data sets and methods they apply to (all by default).
struct Efficiency {
    fractions: Vec<f32>,
    data_sets: Option<Vec<String>>,
    methods: Option<Vec<String>>,
}

fn read_study(s: &Section<'_>, name: &str) -> Study {
    let seed = seed();
    let seeds = s.get("seeds", list(|node| seed.read(node))).unwrap_or_else(|| vec![0]);
    let tables = read_tables(s);
    let efficiency = read_efficiency(s, &tables);
    let mut experiments = Vec::new();
    for model in &tables.models {
        for data_set in &tables.data_sets {
            for method in &tables.methods {
                let mut experiment =
                    read_experiment(s, &tables, [model, data_set, method], seeds[0]);
                experiment.other_test_sets = read_other_test_sets(s, &tables, data_set);
                experiment.uses_fractions = efficiency.as_ref().is_some_and(|efficiency| {
                    applies_to(&efficiency.data_sets, data_set)
                        && applies_to(&efficiency.methods, method)
                });
                experiments.push(experiment);
            }
        }
    }
    Study {
        name: name.to_owned(),
        title: s.get("title", text),
        authors: s.get("authors", list(text)).unwrap_or_default(),
        output: s.get("output", text).map_or_else(|| PathBuf::from("runs").join(name), Into::into),
        seeds,
        jobs: s.parse("jobs", &integer(JOBS)).unwrap_or(1),
        report_images: s.get("pictures", one_of).unwrap_or_default(),
        accept_other_builds: s.get("accept_other_builds", boolean).unwrap_or(false),
        experiments,
        test_sets: read_test_sets(s, &tables, name),
        fractions: efficiency.map(|efficiency| efficiency.fractions).unwrap_or_default(),
    }
}

fn read_tables<'a>(s: &Section<'a>) -> Tables<'a> {
    let mut models = read_entries(s, "models");
    if models.is_empty() {
        models.push(Entry { name: "", keys: Table::new() });
    }
    let (data_sets, methods) = (read_entries(s, "data_sets"), read_entries(s, "methods"));
    let cause = match s.table("tuning") {
        Some(_) => "this table is missing or empty: the file is a recipe, which normed train runs",
        None => "this table is missing or empty",
    };
    for (key, entries) in [("data_sets", &data_sets), ("methods", &methods)] {
        if entries.is_empty() {
            s.report(key, cause);
        }
    }
    let test_sets = s.tables("test_sets");
    for (name, _) in &test_sets {
        if data_sets.iter().any(|entry| entry.name == *name) {
            s.report("test_sets", format!("\"{name}\" is also a data set"));
        }
    }
    Tables {
        common: s.table("recipe").cloned().unwrap_or_default(),
        selection: s.table("selection").cloned().unwrap_or_default(),
        models,
        data_sets,
        methods,
        test_sets,
    }
}

fn read_entries<'a>(s: &Section<'a>, key: &'static str) -> Vec<Entry<'a>> {
    s.tables(key).into_iter().map(|(name, keys)| Entry { name, keys: keys.clone() }).collect()
}

fn read_efficiency(s: &Section<'_>, tables: &Tables<'_>) -> Option<Efficiency> {
    s.section("efficiency", |s| {
        let names = |key, entries: &[Entry<'_>]| {
            let known: Vec<_> = entries.iter().map(|entry| entry.name).collect();
            s.get(key, list(one_name(&known)))
        };
        let fraction = number(Range::between(0.0, 1.0));
        let fractions = s.require("fractions", list(|node| fraction.read(node)));
        Efficiency {
            fractions: fractions.unwrap_or_default(),
            data_sets: names("data_sets", &tables.data_sets),
            methods: names("methods", &tables.methods),
        }
    })
}

/// Whether `entry` is in a list of names; without a list, every entry is.
fn applies_to(names: &Option<Vec<String>>, entry: &Entry<'_>) -> bool {
    names.as_ref().is_none_or(|names| names.iter().any(|name| name == entry.name))
}

/// The key `test_on` of a data set: names of other sets, by default all.
fn read_other_test_sets(s: &Section<'_>, tables: &Tables<'_>, data_set: &Entry<'_>) -> Vec<String> {
    let data_sets = tables.data_sets.iter().map(|entry| entry.name);
    let names: Vec<&str> =
        data_sets.chain(tables.test_sets.iter().map(|(name, _)| *name)).collect();
    let (keys, _) = split_keys(&data_set.keys, &["test_on"]);
    let mut chosen = keys
        .first()
        .and_then(|node| s.read_value("test_on", node, names_of(&names)))
        .unwrap_or_else(|| names.iter().map(|name| (*name).to_owned()).collect());
    chosen.retain(|name| name != data_set.name);
    chosen
}

fn read_test_sets(s: &Section<'_>, tables: &Tables<'_>, study: &str) -> Vec<TestSet> {
    let first = tables.models.first().zip(tables.data_sets.first()).zip(tables.methods.first());
    let Some(((model, data_set), method)) = first else { return Vec::new() };
    let mut test_sets = Vec::new();
    for &(name, keys) in &tables.test_sets {
        let (own_task, keys) = split_keys(keys, &["own_task"]);
        let own_task = own_task.first().and_then(|node| s.read_value("own_task", node, boolean));
        // A test set brings its own data; the other keys only have to form a valid recipe.
        let mut base = merge_all([&tables.common, &model.keys, &data_set.keys, &method.keys]);
        base.retain(|(key, _)| !["data", "test_on", "lr", "train"].contains(&key.as_str()));
        merge(&mut base, keys);
        let recipe = s.read_as_root(&base, |s| Recipe::from_section(s, study));
        test_sets.push(TestSet {
            name: name.to_owned(),
            data: recipe.data,
            own_task: own_task.unwrap_or(false),
        });
    }
    test_sets
}

fn read_experiment(
    s: &Section<'_>,
    tables: &Tables<'_>,
    [model, data_set, method]: [&Entry<'_>; 3],
    seed: u64,
) -> Experiment {
    let (_, data_keys) = split_keys(&data_set.keys, &["test_on"]);
    let (rates, method_keys) = split_keys(&method.keys, &["lr"]);
    let merged = merge_all([&tables.common, &model.keys, &data_keys, &method_keys]);
    for (key, cause) in [
        ("seed", "the study's `seeds` apply to all runs"),
        ("output", "each run has its own directory in the study's `output`"),
    ] {
        if let Some((_, node)) = merged.iter().find(|(name, _)| name == key) {
            s.read_value(key, node, |_| Err::<(), _>(ValueError::new(cause)));
        }
    }
    let recipe = s.read_as_root(&merged, |s| Recipe::from_section(s, method.name));
    let mut selection_recipe = s.read_as_root(&merge_all([&merged, &tables.selection]), |s| {
        let mut recipe = Recipe::from_section(s, method.name);
        recipe.seed = if s.has("seed") { recipe.seed } else { seed };
        recipe
    });
    selection_recipe.train.fraction = recipe.train.fraction;
    let lowest = recipe.train.min_lr.max(selection_recipe.train.min_lr);
    let positive = number(Range::above(0.0));
    let rate = |node: &Node| match positive.read(node)? {
        rate if rate >= lowest => Ok(rate),
        rate => Err(ValueError::new(format!("must not be below train.min_lr {lowest}, is {rate}"))),
    };
    let key = format!("methods.{}.lr", method.name);
    let rates = rates.first().and_then(|node| rates_for(s, &key, node, tables, data_set));
    let learning_rates = match rates {
        Some((key, node)) => s.read_value(&key, node, list(rate)).unwrap_or_default(),
        None => vec![recipe.train.lr],
    };
    if learning_rates.len() > 1 && selection_recipe.train.metric == BestBy::Last {
        s.report(
            "selection",
            "train.metric = \"last\" cannot compare learning rates; set another metric in [selection]",
        );
    }
    Experiment {
        model: model.name.to_owned(),
        data_set: data_set.name.to_owned(),
        method: method.name.to_owned(),
        learning_rates,
        recipe,
        selection_recipe,
        uses_fractions: false,
        other_test_sets: Vec::new(),
    }
}

/// The candidate learning rates of a method on one data set, unread, and the key that they are under: the method's
/// list, or in a table of lists the one of the data set, if it has one.
fn rates_for<'n>(
    s: &Section<'_>,
    key: &str,
    rates: &'n Node,
    tables: &Tables<'_>,
    data_set: &Entry<'_>,
) -> Option<(String, &'n Node)> {
    let Value::Table(lists) = &rates.value else { return Some((key.to_owned(), rates)) };
    let known: Vec<&str> = tables.data_sets.iter().map(|entry| entry.name).collect();
    for (name, node) in lists.iter().filter(|(name, _)| !known.contains(&name.as_str())) {
        s.read_value(&format!("{key}.{name}"), node, |_| Err::<(), _>(unknown(name, &known)));
    }
    let (name, node) = lists.iter().find(|(name, _)| name == data_set.name)?;
    Some((format!("{key}.{name}"), node))
}

/// Splits the keys of a table: the values of the study's own keys, `names`, and the recipe's keys.
fn split_keys(table: &Table, names: &[&str]) -> (Vec<Node>, Table) {
    let mut keys = table.clone();
    let own = keys.extract_if(.., |(key, _)| names.contains(&key.as_str()));
    let own = own.map(|(_, node)| node).collect();
    (own, keys)
}

/// Merges tables, the later ones over the earlier ones.
fn merge_all<'t>(tables: impl IntoIterator<Item = &'t Table>) -> Table {
    let mut merged = Table::new();
    for table in tables {
        merge(&mut merged, table.clone());
    }
    merged
}

/// A parser of one of `names`.
fn one_name<'n>(names: &'n [&str]) -> impl Fn(&Node) -> Result<String, ValueError> + 'n {
    |node| {
        let name = text(node)?;
        if names.contains(&name.as_str()) { Ok(name) } else { Err(unknown(&name, names)) }
    }
}

/// A parser of a list of `names`, which may be empty.
fn names_of<'n>(names: &'n [&str]) -> impl Fn(&Node) -> Result<Vec<String>, ValueError> + 'n {
    |node| match &node.value {
        Value::List(list) => list.iter().map(one_name(names)).collect(),
        other => Err(ValueError::new(format!("must be a list, is {other}"))),
    }
}
