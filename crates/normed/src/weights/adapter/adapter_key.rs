//! Takes the name of a tensor in an adapter's file apart.

use super::model_names::ModelNames;
use super::peft_parameter::PeftParameter;

/// Components that compilers and distributed training put between those of a name.
const WRAPPERS: [&str; 3] = ["_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"];

/// PEFT's components for the parts of a layer that it wraps.
const PARTS: [&str; 6] =
    ["lora_A", "lora_B", "lora_embedding_A", "lora_embedding_B", "lora_magnitude_vector", "ia3_l"];

/// The name of a tensor in an adapter's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AdapterKey {
    /// What the tensor is.
    pub subject: Subject,
    /// The name of the adapter, where the name has it. Files that PEFT saves do not.
    pub adapter: Option<String>,
}

/// What a tensor of an adapter is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Subject {
    /// A parameter that is added to the layer called `module`.
    Added { module: String, parameter: PeftParameter },
    /// A parameter of the model itself.
    Own { name: String, copy: Copy },
}

/// Which of PEFT's copies of a parameter of the model a tensor is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Copy {
    /// The file does not say.
    Plain,
    /// That of a wrapped layer.
    BaseLayer,
    /// The changed one, of `LN_TUNING`.
    Changed,
    /// The changed one of a module that is saved whole.
    SavedWhole,
    /// The original one of a module that is saved whole: nothing reads it.
    Original,
}

impl AdapterKey {
    /// Takes `key` apart. Prefixes of PEFT and of wrappers around a model are left out.
    pub fn parse(key: &str, names: &ModelNames<'_>) -> Self {
        let parts: Vec<_> = key.split('.').filter(|part| !WRAPPERS.contains(part)).collect();
        let mut parts = &parts[..];
        while let ["base_model", "model", rest @ ..] | ["module", rest @ ..] = parts {
            parts = rest;
        }
        let (mut path, mut copy, mut adapter) = (Vec::new(), Copy::Plain, None);
        while let [part, rest @ ..] = parts {
            parts = rest;
            match *part {
                "modules_to_save" | "ln_tuning_layers" => {
                    if copy != Copy::Original {
                        copy = match *part {
                            "modules_to_save" => Copy::SavedWhole,
                            _ => Copy::Changed,
                        };
                    }
                    let inside = [&path[..], rest].concat().join(".");
                    if let [name, rest @ ..] = rest
                        && !rest.is_empty()
                        && names.parameter(&inside).is_none()
                    {
                        adapter = Some((*name).to_owned());
                        parts = rest;
                    }
                }
                "original_module" => copy = Copy::Original,
                "base_layer" if copy == Copy::Plain => copy = Copy::BaseLayer,
                "base_layer" => {}
                "token_adapter" if rest.first() != Some(&"trainable_tokens_delta") => {}
                part if PARTS.contains(&part) || part == "token_adapter" => {
                    let (name, components) = split_adapter_name(part, rest);
                    if let Some(parameter) = PeftParameter::from_components(&components) {
                        let subject = Subject::Added { module: path.join("."), parameter };
                        return Self { subject, adapter: name.map(str::to_owned).or(adapter) };
                    }
                    path.push(part);
                }
                part => path.push(part),
            }
        }
        Self { subject: Subject::Own { name: path.join("."), copy }, adapter }
    }
}

/// The adapter's name in `[part, rest...]`, and the components without it.
fn split_adapter_name<'k>(part: &'k str, rest: &[&'k str]) -> (Option<&'k str>, Vec<&'k str>) {
    let is_leaf = |name: &str| ["weight", "bias", "trainable_tokens_delta"].contains(&name);
    match *rest {
        [name] if !is_leaf(name) => (Some(name), vec![part]),
        [name, leaf] if is_leaf(leaf) && !is_leaf(name) => (Some(name), vec![part, leaf]),
        ["trainable_tokens_delta", name] => (Some(name), vec![part, "trainable_tokens_delta"]),
        _ => (None, [&[part], rest].concat()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::{Module, ParamKind, Parameters, Tower};

    fn model() -> Parameters {
        let mut params = Parameters::new();
        let mut scope = params.scope(Tower::Decoder, "model.language_model.layers.0");
        scope.declare("up.weight", &[2, 2], Module::Up, ParamKind::Weight);
        scope.declare("up.bias", &[2], Module::Up, ParamKind::Bias);
        params
    }

    #[test]
    fn prefixes_and_adapter_names_are_taken_off() {
        let params = model();
        let names = ModelNames::new(&params);
        let module = "model.language_model.layers.0.up";
        for key in [
            "base_model.model.M.lora_A.weight",
            "M.lora_A.weight",
            "base_model.model.M.lora_A.default.weight",
            "module.base_model.model.M.lora_A.weight",
            "_orig_mod.module.base_model.model._orig_mod.M.lora_A.mine.weight",
            "base_model.model._fsdp_wrapped_module.M.lora_A.weight",
        ] {
            let parsed = AdapterKey::parse(&key.replace('M', module), &names);
            let parameter = PeftParameter::LowRankA;
            assert_eq!(
                parsed.subject,
                Subject::Added { module: module.into(), parameter },
                "{key}"
            );
            assert_eq!(parsed.adapter.is_some(), key.contains("default") || key.contains("mine"));
        }
        for (tail, parameter) in [
            ("lora_B.default.bias", PeftParameter::LowRankBias),
            ("lora_embedding_A.default", PeftParameter::TableA),
            ("lora_embedding_B", PeftParameter::TableB),
            ("lora_magnitude_vector.default.weight", PeftParameter::Magnitude),
            ("lora_magnitude_vector.weight", PeftParameter::Magnitude),
            ("lora_magnitude_vector.default", PeftParameter::Magnitude),
            ("ia3_l.default", PeftParameter::Scale),
            ("token_adapter.trainable_tokens_delta.default", PeftParameter::TokenRows),
            ("token_adapter.trainable_tokens_delta", PeftParameter::TokenRows),
        ] {
            let parsed = AdapterKey::parse(&format!("base_model.model.{module}.{tail}"), &names);
            assert_eq!(
                parsed.subject,
                Subject::Added { module: module.into(), parameter },
                "{tail}"
            );
        }
    }

    #[test]
    fn copies_of_the_models_own_parameters_are_told_apart() {
        let params = model();
        let names = ModelNames::new(&params);
        let own = "model.language_model.layers.0.up.bias";
        for (key, copy, adapter) in [
            ("up.bias", Copy::Plain, None),
            ("up.base_layer.bias", Copy::BaseLayer, None),
            ("up.ln_tuning_layers.bias", Copy::Changed, None),
            ("up.ln_tuning_layers.default.bias", Copy::Changed, Some("default")),
            ("up.modules_to_save.bias", Copy::SavedWhole, None),
            ("up.modules_to_save.mine.bias", Copy::SavedWhole, Some("mine")),
            ("modules_to_save.up.bias", Copy::SavedWhole, None),
            ("modules_to_save.default.up.bias", Copy::SavedWhole, Some("default")),
            ("up.original_module.bias", Copy::Original, None),
            ("up.token_adapter.base_layer.bias", Copy::BaseLayer, None),
        ] {
            let key = format!("base_model.model.model.language_model.layers.0.{key}");
            let parsed = AdapterKey::parse(&key, &names);
            assert_eq!(parsed.subject, Subject::Own { name: own.into(), copy }, "{key}");
            assert_eq!(parsed.adapter.as_deref(), adapter, "{key}");
        }
        // What is not known stays in the name, which no model has.
        let parsed = AdapterKey::parse("base_model.model.a.lora_A.extra.more.weight", &names);
        let Subject::Own { name, .. } = parsed.subject else { panic!("{parsed:?}") };
        assert_eq!(name, "a.lora_A.extra.more.weight");
    }
}
