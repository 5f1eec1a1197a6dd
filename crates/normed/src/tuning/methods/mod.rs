//! The registry of tuning methods. To add a method, write its file here and add a line to `built_in!`; nothing else
//! in the program lists methods.

use std::sync::{PoisonError, RwLock};

use serde::de::{Deserialize, Deserializer, Error as _};

use super::{Method, MethodDescription};
use crate::tensor::Tower;
use crate::{Error, Result};

/// Declares the files of methods, and lists the methods.
macro_rules! built_in {
    ($($file:ident: $method:ident,)*) => {
        $(mod $file;)*

        /// The methods that the program comes with.
        const BUILT_IN: &[Method] = &[$(Method::$method,)*];
    };
}

built_in! {
    none: NONE,
    full: FULL,
    layer_norm: LAYER_NORM,
    attention: ATTENTION,
    ffn: FFN,
    bitfit: BITFIT,
    lora: LORA,
    ia3: IA3,
    prefix: PREFIX,
    p_tuning_v2: P_TUNING_V2,
    prompt: PROMPT,
    adapter: ADAPTER,
}

/// The methods that [`register`] added.
static REGISTERED: RwLock<Vec<Method>> = RwLock::new(Vec::new());

/// Every method, the built-in ones first.
pub fn methods() -> Vec<Method> {
    let registered = REGISTERED.read().unwrap_or_else(PoisonError::into_inner);
    BUILT_IN.iter().chain(registered.iter()).copied().collect()
}

/// The method with this name, as recipes write it.
pub fn find_method(name: &str) -> Option<Method> {
    methods().into_iter().find(|method| method.name() == name)
}

/// Registers a method that a program defines which uses this library. From then on, recipes find it by its name.
///
/// ```
/// use normed::tensor::{AttentionProjection, Module};
/// use normed::tuning::{MethodDescription, Tuning, register};
///
/// static VALUES: MethodDescription = MethodDescription {
///     name: "values",
///     summary: "Trains the value projections of self-attentions.",
///     keys: &[],
///     default_lr: 3e-4,
///     trains: |role, _| role.module == Module::Attention(AttentionProjection::Value),
///     adds: None,
///     keep: None,
///     adapter_types: &["LN_TUNING"],
/// };
///
/// let values = register(&VALUES)?;
/// let tuning = normed::recipe::parse_tuning(&["method=values".to_owned()])?;
/// assert_eq!(tuning, Tuning::new(values));
/// # Ok::<(), normed::Error>(())
/// ```
///
/// # Errors
/// If its name is taken, or one of its keys has the name of a key that every rule has.
pub fn register(description: &'static MethodDescription) -> Result<Method> {
    let method = Method::new(description);
    let invalid = |cause: String| Error::invalid(format!("tuning method {method}"), cause);
    let of_rules = ["method", "towers", "layers", "also"].into_iter();
    let of_rules: Vec<_> = of_rules.chain(Tower::ALL.map(Tower::name)).collect();
    for (i, key) in description.keys.iter().enumerate() {
        if of_rules.contains(&key.name) {
            return Err(invalid(format!("its key `{}` is a key of every method", key.name)));
        }
        if description.keys[..i].iter().any(|other| other.name == key.name) {
            return Err(invalid(format!("it has two keys called `{}`", key.name)));
        }
    }
    let mut registered = REGISTERED.write().unwrap_or_else(PoisonError::into_inner);
    if BUILT_IN.iter().chain(registered.iter()).any(|other| *other == method) {
        return Err(invalid("there is a method of this name already".to_owned()));
    }
    registered.push(method);
    Ok(method)
}

/// Reads a method by its name, as recipes write it.
impl<'de> Deserialize<'de> for Method {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        find_method(&name).ok_or_else(|| D::Error::custom(format!("there is no method {name}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tuning::{KeyDefault, OptionValue, Options};

    #[test]
    fn names_differ_and_defaults_are_values_of_their_keys() {
        for (i, method) in BUILT_IN.iter().enumerate() {
            assert!(!BUILT_IN[..i].contains(method), "{method} is listed twice");
            let MethodDescription { keys, summary, adapter_types, .. } = method.description();
            assert!(summary.ends_with('.'), "{method}: {summary}");
            assert_eq!(adapter_types.is_empty(), *method == Method::NONE, "{method}");
            for key in *keys {
                assert!(key.meaning.ends_with('.'), "{method}.{}: {}", key.name, key.meaning);
                match key.resolve(&Options::default()) {
                    Some(value) => assert_eq!(key.accept(value.clone()), Some(value), "{method}"),
                    None => assert!(matches!(key.default, KeyDefault::Absent(_)), "{method}"),
                }
            }
        }
        let rank = Method::LORA.description().keys.iter().find(|key| key.name == "rank").unwrap();
        assert_eq!(rank.accept(OptionValue::Integer(0)), None);
    }

    #[test]
    fn a_name_is_registered_once() {
        let error = register(Method::LORA.description()).unwrap_err();
        assert!(error.to_string().contains("already"), "{error}");
    }
}
