//! The keys of `[tuning]`. Those of methods come from the methods' own descriptions.

use std::collections::BTreeMap;

use super::field::KeyDescription;
use super::parser::{ValueError, list, one_of, one_of_names, text, unknown};
use super::section::Section;
use super::source::{Node, Value};
use crate::tensor::Tower;
use crate::tuning::{
    BlockRange, ConfiguredMethod, Key, KeyDefault, KeyKind, Method, OptionValue, Rule, Tuning,
    find_method, methods,
};

pub(super) fn tuning(s: &Section<'_>) -> Tuning {
    let rules = Tower::ALL
        .into_iter()
        .filter_map(|tower| Some((tower, s.section(tower.name(), |s| rule(s, None))?)));
    let rules: BTreeMap<_, _> = rules.collect();
    if rules.is_empty() {
        return Tuning::One(rule(s, s.get("towers", list(one_of))));
    }
    let of_rules = ["method", "towers", "layers", "also"].into_iter();
    let of_methods = methods().into_iter().flat_map(|m| m.description().keys).map(|key| key.name);
    for key in of_rules.chain(of_methods).filter(|key| s.has(key)) {
        s.report(key, "cannot be combined with a rule for a single tower; write it for that tower");
    }
    Tuning::PerTower(rules)
}

fn rule(s: &Section<'_>, towers: Option<Vec<Tower>>) -> Rule {
    let layers = |node: &Node| -> Result<BlockRange, ValueError> {
        match &node.value {
            Value::Number(text) | Value::Text(text) => text.parse().map_err(ValueError::new),
            other => Err(ValueError::new(format!(
                "must be a range of blocks, as in \"6..\", is {other}"
            ))),
        }
    };
    Rule {
        methods: configured_methods(s),
        towers,
        layers: s.get("layers", layers),
        also: s.get("also", list(one_of)).unwrap_or_default(),
    }
}

/// The keys that every rule has, as the reference shows them.
pub(super) fn rule_keys() -> Vec<KeyDescription> {
    let names: Vec<_> = methods().iter().map(|method| method.name()).collect();
    let key = |name, accepts: &str, default: &str, meaning| {
        let (accepts, default) = (accepts.to_owned(), default.to_owned());
        KeyDescription { name, accepts, default, meaning }
    };
    let accepts = format!("{}, or a list of them", one_of_names(&names));
    let towers = format!("a list of {}", one_of_names(&Tower::ALL.map(Tower::name)));
    let layers = "a range of blocks, as in \"6..\", \"0..6\" or 3";
    let also = "a list of \"head\", \"embeddings\" or \"projector\"";
    vec![
        key("method", &accepts, "required", "The tuning methods."),
        key("towers", &towers, "all towers", "The towers where the methods apply."),
        key(
            "layers",
            layers,
            "all blocks, and the layers outside of blocks",
            "The blocks where the methods apply, counted from 0.",
        ),
        key("also", also, "nothing", "Layers of these towers that train in addition."),
    ]
}

/// The keys of a method, as the reference shows them.
pub(super) fn method_keys(method: Method) -> Vec<KeyDescription> {
    let keys = method.description().keys.iter();
    keys.map(|key| KeyDescription {
        name: key.name,
        accepts: key.kind.to_string(),
        default: match key.default {
            KeyDefault::Absent(text) | KeyDefault::Computed { text, .. } => text.to_owned(),
            value => format!("`{value}`"),
        },
        meaning: key.meaning,
    })
    .collect()
}

/// The methods of a rule with their options. The keys of other methods are not read, and so are mistakes.
fn configured_methods(s: &Section<'_>) -> Vec<ConfiguredMethod> {
    let chosen = s.require("method", one_or_more_methods).unwrap_or_default();
    let mut keys: Vec<(Method, &Key)> = Vec::new();
    let mut configured = Vec::new();
    for (i, &method) in chosen.iter().enumerate() {
        if chosen[..i].contains(&method) {
            s.report("method", format!("{method} appears twice"));
            continue;
        }
        let mut with_options = ConfiguredMethod::from(method);
        for key in method.description().keys {
            if let Some((other, _)) = keys.iter().find(|(_, other)| other.name == key.name) {
                let cause = format!(
                    "{other} and {method} share `{}`; give each a tower of its own",
                    key.name
                );
                s.report("method", cause);
                break;
            }
            keys.push((method, key));
            if let Some(value) = s.get(key.name, |node| option_value(node, key)) {
                with_options.set(key, value);
            }
        }
        configured.push(with_options);
    }
    configured
}

/// The name of a method, or a list of names.
fn one_or_more_methods(node: &Node) -> Result<Vec<Method>, ValueError> {
    let method = |node: &Node| {
        let name = text(node)?;
        let names = || methods().iter().map(|method| method.name()).collect::<Vec<_>>();
        find_method(&name).ok_or_else(|| unknown(&name, &names()))
    };
    match &node.value {
        Value::List(_) => list(method)(node),
        _ => method(node).map(|method| vec![method]),
    }
}

/// The value of a method's key.
fn option_value(node: &Node, key: &Key) -> Result<OptionValue, ValueError> {
    let known = match key.kind {
        KeyKind::OneOf(names) | KeyKind::SomeOf(names) => names,
        _ => &[],
    };
    let name = |node: &Node| match text(node)? {
        name if known.is_empty() || known.contains(&name.as_str()) => Ok(name),
        name => Err(unknown(&name, known)),
    };
    let value = match &node.value {
        Value::Text(_) => Some(OptionValue::Name(name(node)?)),
        Value::Boolean(value) => Some(OptionValue::Boolean(*value)),
        Value::List(_) => Some(OptionValue::Names(list(name)(node)?)),
        Value::Number(text) => match (text.parse(), text.parse()) {
            (Ok(n), _) => Some(OptionValue::Integer(n)),
            (_, Ok(x)) => Some(OptionValue::Number(x)),
            _ => None,
        },
        Value::Date(_) | Value::Table(_) => None,
    };
    let accepted = value.and_then(|value| key.accept(value));
    accepted.ok_or_else(|| ValueError::new(format!("must be {}, is {}", key.kind, node.value)))
}
