//! What a tuning method is: the description that each file of `methods/` holds.

use std::fmt;

use serde::{Serialize, Serializer};

use super::{AddedParameter, Form, Fraction, Key, OptionValue, Options};
use crate::tensor::{AddedTraining, Parameters, Role, Tensor};
use crate::{Error, Result};

/// Everything that the program knows of a tuning method. It knows roles of parameters, never a model.
///
/// A method trains parameters of the model (`trains`), adds parameters of its own (`adds`), or both.
#[derive(Debug)]
pub struct MethodDescription {
    /// The name, as recipes write it.
    pub name: &'static str,
    /// What the method trains, in one sentence for help texts and the manual.
    pub summary: &'static str,
    /// The recipe keys that the method reads.
    pub keys: &'static [Key],
    /// The learning rate that a run starts from where the recipe has none.
    pub default_lr: f32,
    /// Whether it trains a parameter of the model that has this role.
    pub trains: fn(&Role, &Options) -> bool,
    /// What it adds to the model, if anything.
    pub adds: Option<Additions>,
    /// The key for the fraction of its norms that is kept by Fisher information, if the method has one.
    pub keep: Option<&'static Key>,
    /// `peft_type` of the adapters that hold what the method trains, where it is the only method: PEFT's name,
    /// and `NORMED` for the format of this program.
    pub adapter_types: &'static [&'static str],
}

/// What a method adds to a model.
#[derive(Debug)]
pub struct Additions {
    /// The form that it plugs into the socket of a parameter with this role, if any.
    pub form: fn(&Role, &Options) -> Option<Form>,
    /// The value that a parameter starts from, drawn from `seed`. The model has its own values, and so have the
    /// parameters that come before this one in their form.
    pub initial_value: fn(&Parameters, &AddedParameter, u64) -> Tensor,
    /// How a parameter trains: whether it decays, and whether it has a gradient in the first step.
    pub training: fn(&AddedParameter) -> AddedTraining,
}

/// A tuning method. Methods are equal if their names are.
#[derive(Clone, Copy)]
pub struct Method(&'static MethodDescription);

impl Method {
    /// The method with this description. [`register`](super::register) makes recipes find it.
    pub const fn new(description: &'static MethodDescription) -> Self {
        Self(description)
    }

    /// Its description.
    pub fn description(self) -> &'static MethodDescription {
        self.0
    }

    /// The name that recipes use.
    pub fn name(self) -> &'static str {
        self.0.name
    }

    /// The learning rate that a run starts from where the recipe has none.
    pub fn default_lr(self) -> f32 {
        self.0.default_lr
    }

    /// The method with one option set; the others have their defaults.
    ///
    /// # Errors
    /// As [`ConfiguredMethod::with`].
    pub fn with(self, key: &str, value: impl Into<OptionValue>) -> Result<ConfiguredMethod> {
        ConfiguredMethod::from(self).with(key, value)
    }
}

impl PartialEq for Method {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Eq for Method {}

impl fmt::Debug for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Method({})", self.name())
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Serialize for Method {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.name().serialize(serializer)
    }
}

/// A method with its options. Two are equal if all their options have equal values, given or by default.
#[derive(Debug, Clone)]
pub struct ConfiguredMethod {
    /// The method.
    pub method: Method,
    options: Options,
}

impl From<Method> for ConfiguredMethod {
    /// The method with all options at their defaults.
    fn from(method: Method) -> Self {
        Self { method, options: Options::default() }
    }
}

impl ConfiguredMethod {
    /// The same method with the option `key` set.
    ///
    /// ```
    /// use normed::tuning::Method;
    ///
    /// let lora = Method::LORA.with("rank", 4)?.with("targets", ["query", "value"])?;
    /// assert!(lora.with("rank", 0).is_err());
    /// # Ok::<(), normed::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the method has no such key, or the value is not one of its values.
    pub fn with(mut self, key: &str, value: impl Into<OptionValue>) -> Result<Self> {
        let keys = self.method.description().keys;
        let place = format!("tuning.{key}");
        let Some(known) = keys.iter().find(|known| known.name == key) else {
            let names: Vec<_> = keys.iter().map(|key| key.name).collect();
            let cause = format!("{} has no such key", self.method);
            let remedy = match names.is_empty() {
                true => "it has no keys at all".to_owned(),
                false => format!("its keys are {}", names.join(", ")),
            };
            return Err(Error::invalid(place, cause).with_remedy(remedy));
        };
        let value = value.into();
        let cause = || format!("must be {}, is {value}", known.kind);
        let accepted = known.accept(value.clone()).ok_or_else(|| Error::invalid(place, cause()))?;
        self.options.insert(known, accepted);
        Ok(self)
    }

    /// Sets the option `key` to a value that [`Key::accept`] returned.
    pub(crate) fn set(&mut self, key: &Key, accepted: OptionValue) {
        self.options.insert(key, accepted);
    }

    /// Whether it trains a parameter of the model that has this role.
    pub(super) fn trains(&self, role: &Role) -> bool {
        (self.method.0.trains)(role, &self.options)
    }

    /// What it plugs into the socket of a parameter with this role.
    pub(super) fn form(&self, role: &Role) -> Option<Form> {
        (self.method.0.adds.as_ref()?.form)(role, &self.options)
    }

    /// Whether it trains, or adds something to, a parameter with this role.
    pub(super) fn selects(&self, role: &Role) -> bool {
        self.trains(role) || self.form(role).is_some()
    }

    /// The fraction of its norms that is kept, if that is not all of them.
    pub(super) fn keep(&self) -> Option<Fraction> {
        self.options.fraction(self.method.0.keep?)
    }

    /// The keys and values that a resolved recipe has for it.
    pub(super) fn written(&self) -> impl Iterator<Item = (&'static str, OptionValue)> {
        let keys = self.method.0.keys.iter();
        keys.filter_map(|key| Some((key.name, key.written(&self.options)?)))
    }
}

impl PartialEq for ConfiguredMethod {
    fn eq(&self, other: &Self) -> bool {
        let equal = |key: &Key| key.resolve(&self.options) == key.resolve(&other.options);
        self.method == other.method && self.method.0.keys.iter().all(equal)
    }
}
