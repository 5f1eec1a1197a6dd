//! The keys of a study file. Models, data sets and methods are tables of keys of a recipe; laid over
//! one another they are recipes, and are read as such.

use std::path::{Path, PathBuf};

use super::{Cell, Study, TestSet};
use crate::recipe::parser::{
    ValueError, boolean, integer, list, number, one_of, seed, text, unknown,
};
use crate::recipe::section::Section;
use crate::recipe::source::{Node, Table, merge};
use crate::recipe::{BestBy, Document, Recipe};
use crate::{Range, Result};

/// How many runs may be under way at once.
const JOBS: Range<usize> = Range::from_to(1, 1024);

pub(super) fn open(path: &Path, settings: &[String]) -> Result<Study> {
    let document = Document::open(path, settings)?;
    let name = document.name();
    document.read(|s| study(s, &name))
}

fn study(s: &Section<'_>, name: &str) -> Study {
    let seed = seed();
    let seeds = s.get("seeds", list(|node| seed.read(node))).unwrap_or_else(|| vec![0]);
    let common = s.table("recipe").cloned().unwrap_or_default();
    let selection = s.table("selection").cloned().unwrap_or_default();
    let mut models = entries(s, "models");
    if models.is_empty() {
        models.push(Entry { name: "", keys: Table::new() });
    }
    let (data_sets, methods) = (entries(s, "data_sets"), entries(s, "methods"));
    for (key, list) in [("data_sets", &data_sets), ("methods", &methods)] {
        if list.is_empty() {
            s.report(key, "this table is missing or empty");
        }
    }
    let test_sets: Vec<_> = s.tables("test_sets");
    let names: Vec<&str> =
        data_sets.iter().map(|e| e.name).chain(test_sets.iter().map(|(name, _)| *name)).collect();
    for name in names.iter().filter(|&&name| names.iter().filter(|n| **n == name).count() > 1) {
        s.report("test_sets", format!("\"{name}\" is also a data set"));
    }

    let (mut cells, mut all_test_sets) = (Vec::new(), Vec::new());
    let efficiency = s.section("efficiency", |s| {
        let of = |key, entries: &[Entry<'_>]| {
            let known: Vec<_> = entries.iter().map(|e| e.name).collect();
            s.get(key, list(one_name(&known)))
        };
        let fraction = number(Range::between(0.0, 1.0));
        let fractions = s.require("fractions", list(|node| fraction.read(node)));
        let fractions = fractions.unwrap_or_default();
        (fractions, of("data_sets", &data_sets), of("methods", &methods))
    });
    for model in &models {
        for data_set in &data_sets {
            for method in &methods {
                let entries = [model, data_set, method];
                let mut cell = cell(s, &common, entries, &selection, seeds[0]);
                let (keys, _) = own(&data_set.keys, &["test_on"]);
                cell.tested_on = keys
                    .first()
                    .and_then(|node| s.read_value("test_on", node, names_of(&names)))
                    .unwrap_or_else(|| names.iter().map(|name| (*name).to_owned()).collect());
                cell.tested_on.retain(|name| name != data_set.name);
                if let Some((_, data_sets, methods)) = &efficiency {
                    let has = |names: &Option<Vec<String>>, name: &str| {
                        names.as_ref().is_none_or(|names| names.iter().any(|n| n == name))
                    };
                    cell.efficient = has(data_sets, data_set.name) && has(methods, method.name);
                }
                cells.push(cell);
            }
        }
    }
    if let (Some(model), Some(data_set), Some(method)) =
        (models.first(), data_sets.first(), methods.first())
    {
        for (name, keys) in test_sets {
            let (nodes, keys) = own(keys, &["own_task"]);
            let own_task = nodes.first().and_then(|node| s.read_value("own_task", node, boolean));
            // Whatever it is tested with, the data is the set's own; how that is trained on is no matter.
            let mut base = laid_over([&common, &model.keys, &data_set.keys, &method.keys]);
            base.retain(|(key, _)| !["data", "test_on", "lr", "train"].contains(&key.as_str()));
            merge(&mut base, keys);
            let recipe = s.read_as_root(&base, |s| Recipe::from_section(s, name));
            let own_task = own_task.unwrap_or(false);
            all_test_sets.push(TestSet { name: name.to_owned(), data: recipe.data, own_task });
        }
    }
    Study {
        name: name.to_owned(),
        output: s.get("output", text).map_or_else(|| PathBuf::from("runs").join(name), Into::into),
        seeds,
        jobs: s.parse("jobs", &integer(JOBS)).unwrap_or(1),
        pictures: s.get("pictures", one_of).unwrap_or_default(),
        cells,
        test_sets: all_test_sets,
        fractions: efficiency.map(|(fractions, ..)| fractions).unwrap_or_default(),
    }
}

/// A model, a data set or a method: a name and the keys it has.
struct Entry<'a> {
    name: &'a str,
    keys: Table,
}

fn entries<'a>(s: &Section<'a>, key: &'static str) -> Vec<Entry<'a>> {
    s.tables(key).into_iter().map(|(name, keys)| Entry { name, keys: keys.clone() }).collect()
}

/// The nodes of keys that are the study's, and the keys that are the recipe's.
fn own(table: &Table, names: &[&str]) -> (Vec<Node>, Table) {
    let mut keys = table.clone();
    let own = keys.extract_if(.., |(key, _)| names.contains(&key.as_str()));
    let own = own.map(|(_, node)| node).collect();
    (own, keys)
}

fn laid_over<'t>(tables: impl IntoIterator<Item = &'t Table>) -> Table {
    let mut whole = Table::new();
    for table in tables {
        merge(&mut whole, table.clone());
    }
    whole
}

fn cell(
    s: &Section<'_>,
    common: &Table,
    [model, data_set, method]: [&Entry<'_>; 3],
    selection: &Table,
    seed: u64,
) -> Cell {
    let (_, data_keys) = own(&data_set.keys, &["test_on"]);
    let (rates, method_keys) = own(&method.keys, &["lr"]);
    let whole = laid_over([common, &model.keys, &data_keys, &method_keys]);
    for (key, cause) in [
        ("seed", "the study's `seeds` say it for all runs"),
        ("output", "every run has a directory of its own in the study's `output`"),
    ] {
        if let Some((_, node)) = whole.iter().find(|(name, _)| name == key) {
            s.read_value(key, node, |_| Err::<(), _>(ValueError::new(cause)));
        }
    }
    let recipe = s.read_as_root(&whole, |s| Recipe::from_section(s, method.name));
    let mut chosen_by = s.read_as_root(&laid_over([&whole, selection]), |s| {
        let mut recipe = Recipe::from_section(s, method.name);
        recipe.seed = if s.has("seed") { recipe.seed } else { seed };
        recipe
    });
    chosen_by.train.fraction = recipe.train.fraction;
    let above = recipe.train.min_lr.max(chosen_by.train.min_lr);
    let positive = number(Range::above(0.0));
    let rate = |node: &Node| match positive.read(node)? {
        rate if rate >= above => Ok(rate),
        rate => Err(ValueError::new(format!("must not be below train.min_lr {above}, is {rate}"))),
    };
    let name = format!("methods.{}.lr", method.name);
    let rates = match rates.first() {
        Some(node) => s.read_value(&name, node, list(rate)).unwrap_or_default(),
        None => vec![recipe.train.lr],
    };
    if rates.len() > 1 && chosen_by.train.metric == BestBy::Last {
        s.report(
            "selection",
            "train.metric = \"last\" tells no rate from another; let [selection] have one that does",
        );
    }
    Cell {
        model: model.name.to_owned(),
        data_set: data_set.name.to_owned(),
        method: method.name.to_owned(),
        rates,
        recipe,
        selection: chosen_by,
        efficient: false,
        tested_on: Vec::new(),
    }
}

/// Reads one of `names`.
fn one_name<'n>(names: &'n [&str]) -> impl Fn(&Node) -> Result<String, ValueError> + 'n {
    |node| {
        let name = text(node)?;
        if names.contains(&name.as_str()) { Ok(name) } else { Err(unknown(&name, names)) }
    }
}

/// Reads some of `names`, perhaps none.
fn names_of<'n>(names: &'n [&str]) -> impl Fn(&Node) -> Result<Vec<String>, ValueError> + 'n {
    |node| match &node.value {
        crate::recipe::source::Value::List(list) => list.iter().map(one_name(names)).collect(),
        other => Err(ValueError::new(format!("must be a list, is {other}"))),
    }
}
