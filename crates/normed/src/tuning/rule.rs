//! A rule: methods, and the towers and blocks where they apply.

use std::fmt;

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::{BlockRange, ConfiguredMethod, ExtraPart, Form, Fraction, Method};
use crate::tensor::{Parameter, Parameters, Role, Tower};

/// Methods, and the towers and blocks where they apply.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// The methods, with their options.
    pub methods: Vec<ConfiguredMethod>,
    /// The towers where they apply; all if absent.
    pub towers: Option<Vec<Tower>>,
    /// The blocks where they apply; if absent, all blocks and all layers outside of blocks.
    pub layers: Option<BlockRange>,
    /// Layers that train in addition, in the same towers, whatever `layers` says.
    pub also: Vec<ExtraPart>,
}

impl Rule {
    /// One method in the whole model.
    pub fn new(method: impl Into<ConfiguredMethod>) -> Self {
        Self::combining([method.into()])
    }

    /// Several methods in the whole model.
    pub fn combining(methods: impl IntoIterator<Item = ConfiguredMethod>) -> Self {
        Self {
            methods: methods.into_iter().collect(),
            towers: None,
            layers: None,
            also: Vec::new(),
        }
    }

    /// Whether the rule trains a parameter of the model that has this role.
    pub fn trains(&self, role: &Role) -> bool {
        self.is_in_range(role) && self.methods.iter().any(|method| method.trains(role))
            || self.also.iter().any(|&extra| self.trains_extra(extra, role))
    }

    /// The forms that the rule's methods plug into the socket of a parameter with this role.
    pub(super) fn forms(&self, role: &Role) -> Vec<(Method, Form)> {
        if !self.is_in_range(role) {
            return Vec::new();
        }
        let form = |method: &ConfiguredMethod| Some((method.method, method.form(role)?));
        self.methods.iter().filter_map(form).collect()
    }

    /// The fraction of its norms that is kept, if that is not all of them.
    pub(super) fn keep(&self) -> Option<Fraction> {
        self.methods.iter().find_map(ConfiguredMethod::keep)
    }

    /// Checks that each method selects something in each tower, and so does each extra part.
    ///
    /// # Errors
    /// The first method or part that selects nothing, and why.
    pub(super) fn check(&self, params: &Parameters) -> Result<(), String> {
        let check = |what: String, selects: &dyn Fn(&Role) -> bool| {
            let selected = || params.iter().map(|(_, p)| p).filter(|p| selects(&p.role()));
            match selected().next() {
                None => Err(format!("the model has no {what}")),
                Some(_) if selected().all(|p| p.inert_reason().is_some()) => {
                    Err(format!("no {what} affects the loss"))
                }
                Some(_) => Ok(()),
            }
        };
        for method in self.methods.iter().filter(|method| method.method != Method::NONE) {
            let name = method.method.name();
            let in_blocks = |role: &Role| self.is_in_layers(role) && method.selects(role);
            match &self.towers {
                None => {
                    let layers = self.describe_layers(params, None);
                    check(format!("{name} parameter{layers}"), &in_blocks)?;
                }
                Some(towers) if towers.is_empty() => {
                    return Err("its list of towers is empty".to_owned());
                }
                Some(towers) => towers.iter().try_for_each(|&tower| {
                    let layers = self.describe_layers(params, Some(tower));
                    check(format!("{name} parameter in {tower}{layers}"), &|role| {
                        role.tower == tower && in_blocks(role)
                    })
                })?,
            }
        }
        self.also.iter().try_for_each(|extra| {
            let what = format!("{} parameter in these towers", extra.name());
            check(what, &|role| self.trains_extra(*extra, role))
        })
    }

    /// Whether the rule trains a parameter of this role as part of `extra`.
    fn trains_extra(&self, extra: ExtraPart, role: &Role) -> bool {
        extra.selects(role.module) && (extra == ExtraPart::Projector || self.is_in_towers(role))
    }

    fn is_in_towers(&self, role: &Role) -> bool {
        self.towers.as_ref().is_none_or(|towers| towers.contains(&role.tower))
    }

    fn is_in_layers(&self, role: &Role) -> bool {
        self.layers.is_none_or(|layers| role.layer.is_some_and(|i| layers.contains(i)))
    }

    fn is_in_range(&self, role: &Role) -> bool {
        self.is_in_towers(role) && self.is_in_layers(role)
    }

    /// For an error: the blocks where the rule applies, and how many there are.
    fn describe_layers(&self, params: &Parameters, tower: Option<Tower>) -> String {
        let Some(layers) = self.layers else { return String::new() };
        let is_here = |p: &&Parameter| tower.is_none_or(|tower| p.role().tower == tower);
        let blocks = params.iter().map(|(_, p)| p).filter(is_here).filter_map(|p| p.role().layer);
        let count = blocks.max().map_or(0, |last| last + 1);
        format!(", layers {layers} (there are {count} blocks)")
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.methods.iter().map(|method| method.method.name()).collect();
        write!(f, "{}", names.join(" + "))?;
        if let Some(towers) = &self.towers {
            let names: Vec<_> = towers.iter().map(|tower| tower.name()).collect();
            write!(f, " in {}", names.join(" and "))?;
        }
        if let Some(layers) = self.layers {
            write!(f, ", layers {layers}")?;
        }
        if let Some(keep) = self.keep() {
            write!(f, ", {keep} of its norms")?;
        }
        self.also.iter().try_for_each(|extra| write!(f, " + {}", extra.name()))
    }
}

/// As a recipe has it: one table, with the options of the methods as keys of it.
impl Serialize for Rule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { methods, towers, layers, also } = self;
        let mut table = serializer.serialize_map(None)?;
        match methods.as_slice() {
            [one] => table.serialize_entry("method", &one.method)?,
            several => {
                let names: Vec<_> = several.iter().map(|method| method.method).collect();
                table.serialize_entry("method", &names)?;
            }
        }
        for (key, value) in methods.iter().flat_map(ConfiguredMethod::written) {
            table.serialize_entry(key, &value)?;
        }
        if let Some(towers) = towers {
            table.serialize_entry("towers", towers)?;
        }
        if let Some(layers) = layers {
            table.serialize_entry("layers", layers)?;
        }
        if !also.is_empty() {
            table.serialize_entry("also", also)?;
        }
        table.end()
    }
}
