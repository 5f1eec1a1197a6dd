//! One method and where it applies.

use std::fmt;

use serde::Serialize;

use super::{Also, Keep, Layers, Method};
use crate::tensor::{Parameter, Parameters, Role, Tower};

/// One method and where it applies.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Rule {
    /// What kind of parameters.
    pub method: Method,
    /// In which towers; all if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub towers: Option<Vec<Tower>>,
    /// In which blocks; if absent, in all of them and in what stands outside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layers: Option<Layers>,
    /// Of its norms, the part of largest Fisher information; all if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep: Option<Keep>,
    /// Roles that train beside, in the same towers, whatever `layers` says.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<Also>,
}

impl Rule {
    /// `method`, everywhere.
    pub fn new(method: Method) -> Self {
        Self { method, towers: None, layers: None, keep: None, also: Vec::new() }
    }

    /// Whether the rule asks for a parameter of this role.
    pub fn selects(&self, role: &Role) -> bool {
        self.in_tower(role) && self.by_method(role)
            || self.also.iter().any(|&also| self.beside(also, role))
    }

    /// Whether every part of the rule catches something; if not, which does not, and why.
    pub(super) fn check(&self, params: &Parameters) -> Result<(), String> {
        let check = |what: String, wanted: &dyn Fn(&Role) -> bool| {
            let caught: Vec<_> =
                params.iter().map(|(_, p)| p).filter(|p| wanted(&p.role)).collect();
            match caught.first() {
                None => Err(format!("the model has no {what}")),
                Some(_) if caught.iter().all(|p| p.inert.is_some()) => {
                    Err(format!("no loss can move any {what}"))
                }
                Some(_) => Ok(()),
            }
        };
        if self.method != Method::None {
            let what = |place: String| format!("{} parameter{place}", self.method);
            match &self.towers {
                None => check(what(self.describe_layers(params, None)), &|r| self.by_method(r))?,
                Some(towers) if towers.is_empty() => return Err("it names no tower".to_owned()),
                Some(towers) => {
                    for &tower in towers {
                        let layers = self.describe_layers(params, Some(tower));
                        check(what(format!(" in {tower}{layers}")), &|r| {
                            r.tower == tower && self.by_method(r)
                        })?;
                    }
                }
            }
        }
        self.also.iter().try_for_each(|also| {
            check(format!("{} parameter there", also.name()), &|r| self.beside(*also, r))
        })
    }

    /// Whether `also` asks for a parameter of this role.
    fn beside(&self, also: Also, role: &Role) -> bool {
        also.selects(role.part) && (also == Also::Projector || self.in_tower(role))
    }

    fn in_tower(&self, role: &Role) -> bool {
        self.towers.as_ref().is_none_or(|towers| towers.contains(&role.tower))
    }

    fn by_method(&self, role: &Role) -> bool {
        let in_layers =
            self.layers.is_none_or(|layers| role.layer.is_some_and(|i| layers.contains(i)));
        in_layers && self.method.selects(role.part)
    }

    /// For an error: the blocks asked for, and how many there are.
    fn describe_layers(&self, params: &Parameters, tower: Option<Tower>) -> String {
        let here = |p: &&Parameter| tower.is_none_or(|tower| p.role.tower == tower);
        let blocks = params.iter().map(|(_, p)| p).filter(here).filter_map(|p| p.role.layer).max();
        match self.layers {
            Some(layers) => {
                format!(
                    ", layers {layers} (there are {} blocks)",
                    blocks.map_or(0, |last| last + 1)
                )
            }
            None => String::new(),
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.method)?;
        if let Some(towers) = &self.towers {
            let names: Vec<_> = towers.iter().map(|tower| tower.name()).collect();
            write!(f, " in {}", names.join(" and "))?;
        }
        if let Some(layers) = self.layers {
            write!(f, ", layers {layers}")?;
        }
        if let Some(keep) = self.keep {
            write!(f, ", {keep} of its norms")?;
        }
        self.also.iter().try_for_each(|also| write!(f, " + {}", also.name()))
    }
}
