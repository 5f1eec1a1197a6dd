//! Methods and where they apply.

use std::fmt;

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::{Also, Layers, Method, NormOptions, Options};
use crate::tensor::{Parameter, Parameters, Role, Tower};

/// Methods and where they apply: one, or several together.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// What is done.
    pub methods: Vec<Method>,
    /// What they were told.
    pub options: Options,
    /// In which towers; all if absent.
    pub towers: Option<Vec<Tower>>,
    /// In which blocks; if absent, in all of them and in what stands outside.
    pub layers: Option<Layers>,
    /// Roles that train beside, in the same towers, whatever `layers` says.
    pub also: Vec<Also>,
}

impl Rule {
    /// `method`, everywhere, its options as they are by default.
    pub fn new(method: Method) -> Self {
        Self {
            methods: vec![method],
            options: Options::default(),
            towers: None,
            layers: None,
            also: Vec::new(),
        }
    }

    /// Whether the rule trains a parameter of the model that has this role.
    pub fn trains(&self, role: &Role) -> bool {
        let trains = |method: &Method| method.trains(role, &self.options);
        self.in_place(role) && self.methods.iter().any(trains)
            || self.also.iter().any(|&also| self.beside(also, role))
    }

    /// Those of its methods that plug something into the layer with such a weight.
    pub(super) fn plugs(&self, role: &Role) -> impl Iterator<Item = Method> {
        let in_place = self.in_place(role);
        let plugs = move |method: &Method| in_place && method.plugs_into(role, &self.options);
        self.methods.iter().copied().filter(plugs)
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
        for &method in self.methods.iter().filter(|method| **method != Method::None) {
            let what = |place: String| format!("{method} parameter{place}");
            match &self.towers {
                None => {
                    check(what(self.describe_layers(params, None)), &|r| self.by_method(method, r))?
                }
                Some(towers) if towers.is_empty() => return Err("it names no tower".to_owned()),
                Some(towers) => {
                    for &tower in towers {
                        let layers = self.describe_layers(params, Some(tower));
                        check(what(format!(" in {tower}{layers}")), &|r| {
                            r.tower == tower && self.by_method(method, r)
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
        also.selects(role.module) && (also == Also::Projector || self.in_tower(role))
    }

    fn in_tower(&self, role: &Role) -> bool {
        self.towers.as_ref().is_none_or(|towers| towers.contains(&role.tower))
    }

    fn in_layers(&self, role: &Role) -> bool {
        self.layers.is_none_or(|layers| role.layer.is_some_and(|i| layers.contains(i)))
    }

    fn in_place(&self, role: &Role) -> bool {
        self.in_tower(role) && self.in_layers(role)
    }

    /// Whether `method` does something with such a parameter, in whatever tower.
    fn by_method(&self, method: Method, role: &Role) -> bool {
        let options = &self.options;
        self.in_layers(role) && (method.trains(role, options) || method.plugs_into(role, options))
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
        let names: Vec<_> = self.methods.iter().map(|method| method.name()).collect();
        write!(f, "{}", names.join(" + "))?;
        if let Some(towers) = &self.towers {
            let names: Vec<_> = towers.iter().map(|tower| tower.name()).collect();
            write!(f, " in {}", names.join(" and "))?;
        }
        if let Some(layers) = self.layers {
            write!(f, ", layers {layers}")?;
        }
        if let Some(keep) = self.options.layer_norm.keep {
            write!(f, ", {keep} of its norms")?;
        }
        self.also.iter().try_for_each(|also| write!(f, " + {}", also.name()))
    }
}

/// As a recipe has it: the options of its methods beside them, in one table.
impl Serialize for Rule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { methods, options, towers, layers, also } = self;
        let mut table = serializer.serialize_map(None)?;
        match methods.as_slice() {
            [method] => table.serialize_entry("method", method)?,
            methods => table.serialize_entry("method", methods)?,
        }
        for method in methods {
            match method {
                Method::LayerNorm => {
                    let default = NormOptions::default();
                    if options.layer_norm.parts != default.parts {
                        table.serialize_entry("parts", &options.layer_norm.parts)?;
                    }
                    if options.layer_norm.which != default.which {
                        table.serialize_entry("which", &options.layer_norm.which)?;
                    }
                    if let Some(keep) = &options.layer_norm.keep {
                        table.serialize_entry("keep", keep)?;
                    }
                }
                Method::Attention if options.attention.norms => {
                    table.serialize_entry("norms", &true)?;
                }
                Method::Lora => {
                    let lora = &options.lora;
                    table.serialize_entry("rank", &lora.rank)?;
                    table.serialize_entry("alpha", &lora.alpha)?;
                    table.serialize_entry("dropout", &lora.dropout)?;
                    table.serialize_entry("targets", &lora.targets)?;
                    table.serialize_entry("use_rslora", &lora.use_rslora)?;
                    table.serialize_entry("use_dora", &lora.use_dora)?;
                }
                Method::Prefix => {
                    table.serialize_entry("length", &options.prefix.length)?;
                    table.serialize_entry("projection", &options.prefix.projection)?;
                }
                Method::PTuningV2 => table.serialize_entry("length", &options.prefix.length)?,
                Method::Prompt => table.serialize_entry("length", &options.prompt.length)?,
                Method::Adapter => {
                    table.serialize_entry("bottleneck", &options.adapter.bottleneck)?;
                    table.serialize_entry("parallel", &options.adapter.parallel)?;
                }
                Method::Ia3 => table.serialize_entry("targets", &options.ia3.targets)?,
                _ => {}
            }
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
