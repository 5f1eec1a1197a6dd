//! Adapters, against what Python's peft wrote (reference/make_peft_goldens.py).

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use normed::models::{self, LoadedModel};
use normed::tensor::{Module, Precision, Tensor, Tower};
use normed::weights::{self, AdapterCard, BaseCheck, load_adapter, read_safetensors, save_adapter};

mod weights_common;
use weights_common::{assert_close, golden, kept, logits};

fn base() -> LoadedModel {
    models::load(&golden("weights/hugging_face"), None).unwrap()
}

fn value<'a>(loaded: &'a LoadedModel, name: &str) -> &'a Tensor {
    loaded.params.get(loaded.params.find(name).unwrap()).value()
}

fn tensor(path: &Path, name: &str) -> Tensor {
    read_safetensors(path).unwrap().tensors[name].to_tensor().unwrap()
}

#[test]
fn what_peft_wrote_lands_in_the_right_places() {
    for (name, count) in [("layer_norm", 2 * 20), ("mixed", 12)] {
        let dir = golden("peft").join(name);
        let mut loaded = base();
        let read = load_adapter(&dir, &mut loaded.params, BaseCheck::Is("any")).unwrap();
        assert_eq!(read.warnings.len(), 1, "PEFT does not name the base's hash");
        assert_eq!(read.set.len(), count);
        let expected = tensor(&dir.join("golden.safetensors"), "logits");
        assert_close(&logits(&loaded), &expected, 1e-4);
    }
}

#[test]
fn a_parameter_has_the_value_that_peft_gave_it() {
    let dir = golden("peft/mixed");
    let mut loaded = base();
    load_adapter(&dir, &mut loaded.params, BaseCheck::Skip).unwrap();
    let file = dir.join("adapter_model.safetensors");
    for (key, name) in [
        ("vision_model.embeddings.class_embedding", "vision_model.embeddings.class_embedding"),
        (
            "text_decoder.cls.predictions.decoder.ln_tuning_layers.bias",
            "text_decoder.cls.predictions.bias",
        ),
        (
            "text_decoder.bert.encoder.layer.0.crossattention.self.key.ln_tuning_layers.weight",
            "text_decoder.bert.encoder.layer.0.crossattention.self.key.weight",
        ),
    ] {
        let expected = tensor(&file, &format!("base_model.model.{key}"));
        assert_eq!(value(&loaded, name).data(), expected.data());
    }
}

/// Trains `chosen` in name: changes every element.
fn change(loaded: &mut LoadedModel, chosen: impl Fn(&normed::tensor::Parameter) -> bool) {
    for (id, parameter) in loaded.params.iter_mut() {
        parameter.set_trained(chosen(parameter));
        if parameter.is_trained() {
            for (i, x) in parameter.value_mut().data_mut().iter_mut().enumerate() {
                *x += 0.3 * ((id.index() * 31 + i) as f32).sin();
            }
        }
    }
}

fn card(hash: &str) -> AdapterCard<'_> {
    AdapterCard {
        base: "somewhere/base",
        base_hash: hash,
        base_class: ["BlipForQuestionAnswering", "transformers.models.blip.modeling_blip"],
        readme: "---\nlibrary_name: peft\n---\n",
    }
}

/// Leaves its directories where `make_peft_goldens.py --check` can read them.
#[test]
fn what_is_saved_is_loaded_again() {
    type Choice = fn(&normed::tensor::Parameter) -> bool;
    let choices: [(&str, Choice); 6] = [
        ("norms", |p| matches!(p.role().module, Module::Norm(_))),
        ("full", |_| true),
        ("head", |p| p.role().module == Module::Head),
        ("attention", |p| {
            matches!(p.role().module, Module::Attention(_)) && !p.name().contains("key.bias")
        }),
        ("embeddings", |p| matches!(p.role().module, Module::Embedding(_))),
        ("class", |p| p.name().ends_with("class_embedding") && p.role().tower == Tower::Vision),
    ];
    for (name, chosen) in choices {
        let mut loaded = base();
        change(&mut loaded, chosen);
        let dir = kept(&format!("adapter_{name}"));
        save_adapter(&dir, &loaded.params, &card(&loaded.content_hash)).unwrap();
        let found = logits(&loaded);
        let list = [("logits", &found)];
        let path = dir.join("logits.safetensors");
        weights::write_safetensors(&path, &list, Precision::F32, &BTreeMap::new()).unwrap();

        let mut again = base();
        let hash = again.content_hash.clone();
        let read = load_adapter(&dir, &mut again.params, BaseCheck::Is(&hash)).unwrap();
        assert!(read.warnings.is_empty());
        for ((id, a), (_, b)) in again.params.iter().zip(loaded.params.iter()) {
            assert_eq!(a.value().data(), b.value().data(), "{name}: {}", a.name());
            assert!(!b.is_trained() || read.set.contains(&id), "{name}: {}", a.name());
        }
    }
}

#[test]
fn the_config_has_the_keys_that_peft_writes() {
    let dir = tempfile::tempdir().unwrap();
    let mut loaded = base();
    change(&mut loaded, |p| matches!(p.role().module, Module::Norm(_)));
    save_adapter(dir.path(), &loaded.params, &card("hash")).unwrap();
    let read = |dir: &Path| -> serde_json::Value {
        serde_json::from_slice(&fs::read(dir.join("adapter_config.json")).unwrap()).unwrap()
    };
    let (ours, theirs) = (read(dir.path()), read(&golden("peft/layer_norm")));
    let keys = |json: &serde_json::Value| {
        let mut keys: Vec<_> = json.as_object().unwrap().keys().cloned().collect();
        keys.sort();
        keys
    };
    assert_eq!(keys(&ours), keys(&theirs));
    for key in ["auto_mapping", "peft_type", "peft_version", "inference_mode", "task_type"] {
        assert_eq!(ours[key], theirs[key]);
    }
    assert_eq!(ours["target_modules"].as_array().unwrap().len(), 20);
    let keys = |dir: &Path| {
        let file = read_safetensors(&dir.join("adapter_model.safetensors")).unwrap();
        file.tensors.into_keys().collect::<Vec<_>>()
    };
    assert_eq!(keys(dir.path()), keys(&golden("peft/layer_norm")));
}

#[test]
fn another_base_is_an_error_unless_the_check_is_skipped() {
    let dir = tempfile::tempdir().unwrap();
    let mut loaded = base();
    change(&mut loaded, |p| matches!(p.role().module, Module::Norm(_)));
    save_adapter(dir.path(), &loaded.params, &card("0123456789abcdef")).unwrap();
    let error = load_adapter(dir.path(), &mut loaded.params, BaseCheck::Is("fedcba9876543210"))
        .unwrap_err();
    assert_eq!(error.exit_code(), 2);
    assert!(
        error
            .to_string()
            .contains("trained on the base 0123456789ab, and this base is fedcba987654")
    );
    assert!(load_adapter(dir.path(), &mut loaded.params, BaseCheck::Skip).is_ok());
}

/// Rewrites the adapter `from` of peft's with `edit`, and says why it is turned down.
#[track_caller]
fn complaint(from: &str, edit: impl FnOnce(&mut BTreeMap<String, Tensor>)) -> String {
    let from = golden("peft").join(from);
    let dir = tempfile::tempdir().unwrap();
    fs::copy(from.join("adapter_config.json"), dir.path().join("adapter_config.json")).unwrap();
    let file = read_safetensors(&from.join("adapter_model.safetensors")).unwrap();
    let mut tensors: BTreeMap<_, _> = file
        .tensors
        .iter()
        .map(|(name, stored)| (name.clone(), stored.to_tensor().unwrap()))
        .collect();
    edit(&mut tensors);
    let list: Vec<_> = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    let path = dir.path().join("adapter_model.safetensors");
    weights::write_safetensors(&path, &list, Precision::F32, &BTreeMap::new()).unwrap();
    let mut loaded = base();
    let error = load_adapter(dir.path(), &mut loaded.params, BaseCheck::Skip).unwrap_err();
    let before = base();
    for ((_, a), (_, b)) in loaded.params.iter().zip(before.params.iter()) {
        assert_eq!(a.value().data(), b.value().data(), "{} was changed all the same", a.name());
    }
    error.to_string()
}

#[test]
fn what_does_not_fit_is_one_error() {
    let norm = "text_encoder.embeddings.LayerNorm";
    let key = |leaf: &str| format!("base_model.model.{norm}.ln_tuning_layers.{leaf}");
    let text = complaint("layer_norm", |tensors| {
        tensors.remove(&key("bias"));
        tensors.insert(key("weight"), Tensor::zeros(&[9]));
        tensors.insert("base_model.model.nothing.lora_A.weight".into(), Tensor::zeros(&[1]));
    });
    assert!(text.contains("problems (3)"), "{text}");
    assert!(text.contains("[9] instead of [8]"), "{text}");
    assert!(text.contains("nothing.lora_A.weight is unexpected"), "{text}");
    assert!(text.contains(&format!("{norm}.bias is missing")), "{text}");
}

#[test]
fn a_whole_module_that_is_missing_is_noticed() {
    let text = complaint("layer_norm", |tensors| {
        tensors.retain(|name, _| !name.contains("text_decoder.bert.encoder.layer.1."));
    });
    assert!(text.contains("problems (6)"), "{text}");
}

#[test]
fn tied_tensors_that_would_differ_are_an_error() {
    let table = "text_decoder.bert.embeddings.word_embeddings";
    for dropped in [table, "text_decoder.cls.predictions.decoder.ln_tuning_layers.weight"] {
        let text = complaint("mixed", |tensors| {
            tensors.retain(|name, _| !name.contains(dropped));
        });
        assert!(text.contains("tied") || text.contains("missing"), "{text}");
    }
    let text = complaint("mixed", |tensors| {
        let name = format!("base_model.model.{table}.ln_tuning_layers.weight");
        tensors.get_mut(&name).unwrap().data_mut()[0] += 1.0;
    });
    assert!(text.contains("but they are tied"), "{text}");
}

#[test]
fn unsupported_adapter_types_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let config = r#"{"peft_type": "BOFT", "r": 8}"#;
    fs::write(dir.path().join("adapter_config.json"), config).unwrap();
    let error = load_adapter(dir.path(), &mut base().params, BaseCheck::Skip).unwrap_err();
    assert!(error.to_string().contains("adapters of type BOFT are not supported"), "{error}");
}

#[test]
fn nothing_trained_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let error = save_adapter(dir.path(), &base().params, &card("")).unwrap_err();
    assert!(error.to_string().contains("nothing is trained"));
}
