//! Adapters that add parameters, against Python's peft (reference/make_peft_goldens.py): read, their
//! gradients, written again, merged.

use std::collections::BTreeMap;
use std::path::Path;

use normed::models::{self, LoadedModel, MergedModel, NormDtype};
use normed::nn::Mode;
use normed::tensor::{
    ChangedValues, Gradients, Graph, Module, ParamKind, Parameter, Plug, Precision, Tensor,
};
use normed::tuning::{ConfiguredMethod, Method, ModelDiff, Rule, Tuning};
use normed::weights::{
    self, AdapterCard, BaseCheck, check_adapter, load_adapter, read_safetensors, save_adapter,
};

mod tiny_llava;
mod weights_common;
use tiny_llava::{llava_batch, with_words};
use weights_common::{assert_close, golden, kept, logits as blip_logits};

/// Adapters of PEFT's, and how many parameters each sets or adds.
const ADAPTERS: [(&str, usize); 8] = [
    ("lora", 2 * 49),
    ("rslora", 2 * 16 + 4),
    ("dora", 3 * 25),
    ("ia3", 32),
    ("biases", 2 + 71),
    ("llava_layer_norm", 21),
    ("llava_lora", 2 * 25),
    ("llava_ia3", 15),
];

/// Those that no merged model can have.
const VIRTUAL_TOKENS: [(&str, usize); 2] = [("llava_prefix", 2), ("llava_prompt", 1)];

fn base_of(name: &str) -> LoadedModel {
    match name.strip_prefix("llava") {
        Some(_) => {
            // The tests' own directory has no tokenizer: one that has every token.
            let dir = kept("llava_with_words");
            with_words(&dir);
            models::load(&dir, None).unwrap()
        }
        None => models::load(&golden("weights/hugging_face"), None).unwrap(),
    }
}

fn logits(loaded: &LoadedModel) -> Tensor {
    if loaded.model.image_token_id().is_none() {
        return blip_logits(loaded);
    }
    let mut g = Graph::inference(&loaded.params);
    loaded.model.forward(&mut g, &llava_batch(), Mode::Evaluate).unwrap().value
}

fn tensor(path: &Path, name: &str) -> Tensor {
    read_safetensors(path).unwrap().tensors[name].to_tensor().unwrap()
}

/// With an adapter of PEFT's.
fn adapted(name: &str) -> LoadedModel {
    let mut loaded = base_of(name);
    load_adapter(&golden("peft").join(name), &mut loaded.params, BaseCheck::Skip).unwrap();
    loaded
}

#[test]
fn what_peft_wrote_computes_what_peft_computes() {
    for (name, count) in ADAPTERS.into_iter().chain(VIRTUAL_TOKENS) {
        let mut loaded = base_of(name);
        let dir = golden("peft").join(name);
        let read = load_adapter(&dir, &mut loaded.params, BaseCheck::Is("any")).unwrap();
        assert_eq!(read.warnings.len(), 1, "PEFT does not name the base's hash");
        assert_eq!(read.set.len(), count, "{name}");
        let expected = tensor(&dir.join("golden.safetensors"), "logits");
        assert_close(&logits(&loaded), &expected, 1e-4);
    }
}

#[test]
fn gradients_are_pefts() {
    for name in ["layer_norm", "lora", "rslora", "dora", "ia3", "biases"].into_iter().chain([
        "llava_layer_norm",
        "llava_lora",
        "llava_ia3",
    ]) {
        let mut loaded = adapted(name);
        for (_, parameter) in loaded.params.iter_mut() {
            parameter.set_trained(true);
        }
        let batch = match loaded.model.image_token_id() {
            Some(_) => llava_batch(),
            None => weights_common::batch(&loaded),
        };
        let mut g = Graph::training(&loaded.params);
        let y = loaded.model.forward(&mut g, &batch, Mode::Evaluate).unwrap();
        let seed = (0..y.value.len()).map(|i| (i as f64).sin() as f32).collect();
        let seed = Tensor::new(y.shape(), seed);
        let mut gradients = Gradients::new();
        g.backward(y.gradient_slot(), seed, &mut gradients);

        let file = read_safetensors(&golden("peft").join(name).join("golden.safetensors")).unwrap();
        let mut compared = 0;
        for (key, stored) in &file.tensors {
            let Some(key) = key.strip_prefix("grad.base_model.model.") else { continue };
            let own = key.replace(".ln_tuning_layers", "").replace(".base_layer", "");
            let id = loaded.params.find(&own).unwrap_or_else(|| panic!("{name}: {own}"));
            let want = stored.to_tensor().unwrap();
            let Some(got) = gradients.param(id) else {
                assert!(
                    loaded.params.get(id).inert_reason().is_some(),
                    "{name}: no gradient of {own}"
                );
                assert!(want.data().iter().all(|x| x.abs() < 1e-4), "{name}: {own}");
                continue;
            };
            let scale = want.data().iter().fold(1.0f32, |m, x| m.max(x.abs()));
            for (x, y) in got.data().iter().zip(want.data()) {
                assert!((x - y).abs() <= 1e-4 * scale, "{name}: {own}: {x} {y}");
            }
            compared += 1;
        }
        assert!(compared >= 12, "{name}: {compared} gradients");
    }
}

fn card(loaded: &LoadedModel) -> AdapterCard<'_> {
    AdapterCard {
        base: "base",
        base_hash: &loaded.content_hash,
        base_class: loaded.config.transformers_class(),
        readme: "---\nlibrary_name: peft\n---\n",
    }
}

fn keep_logits(loaded: &LoadedModel, dir: &Path) -> Tensor {
    let found = logits(loaded);
    let path = dir.join("logits.safetensors");
    weights::write_safetensors(&path, &[("logits", &found)], Precision::F32, &BTreeMap::new())
        .unwrap();
    found
}

/// Leaves its directories where `make_peft_goldens.py --check` can read them.
#[test]
fn what_is_saved_is_loaded_again_to_the_bit() {
    for (name, _) in ADAPTERS.into_iter().chain(VIRTUAL_TOKENS) {
        let mut loaded = adapted(name);
        let dir = golden("peft").join(name);
        let theirs = read_safetensors(&dir.join("adapter_model.safetensors")).unwrap();
        // The model's own parameters that the adapter has.
        for key in theirs.tensors.keys().filter_map(|key| key.strip_prefix("base_model.model.")) {
            let own = key.replace(".ln_tuning_layers", "");
            let own = own.replace(".base_layer", "");
            if let Some(id) = loaded.params.find(&own) {
                let parameter = loaded.params.get_mut(id);
                parameter.set_trained(true);
            }
        }
        let out = kept(&format!("saved_{name}"));
        save_adapter(&out, &loaded.params, &card(&loaded)).unwrap();
        let before = keep_logits(&loaded, &out);
        let ours = read_safetensors(&out.join("adapter_model.safetensors")).unwrap();
        let keys = |file: &weights::Checkpoint| file.tensors.keys().cloned().collect::<Vec<_>>();
        if name != "biases" {
            // PEFT saves norms that no loss can move, too; here they are never trained.
            let moves = |key: &String| {
                let own = key.replace("base_model.model.", "").replace(".ln_tuning_layers", "");
                let id = loaded.params.find(&own);
                id.is_none_or(|id| loaded.params.get(id).inert_reason().is_none())
            };
            let theirs: Vec<_> = keys(&theirs).into_iter().filter(moves).collect();
            assert_eq!(keys(&ours), theirs, "{name}");
        }
        let config = |dir: &Path| -> serde_json::Value {
            let text = std::fs::read(dir.join("adapter_config.json")).unwrap();
            serde_json::from_slice(&text).unwrap()
        };
        let (ours, theirs) = (config(&out), config(&dir));
        let keys = |json: &serde_json::Value| {
            json.as_object().unwrap().keys().cloned().collect::<Vec<_>>()
        };
        assert_eq!(keys(&ours), keys(&theirs), "{name}");
        for key in
            ["r", "lora_alpha", "use_dora", "use_rslora", "bias", "peft_type", "lora_dropout"]
        {
            assert_eq!(ours[key], theirs[key], "{name}: {key}");
        }

        // PEFT keeps modules whole or not at all: nothing of biases goes there.
        assert!(name != "biases" || ours["modules_to_save"].is_null());

        let mut again = base_of(name);
        let hash = again.content_hash.clone();
        load_adapter(&out, &mut again.params, BaseCheck::Is(&hash)).unwrap();
        assert!(logits(&again).data() == before.data(), "{name}");
    }
}

/// Leaves its directories where `make_peft_goldens.py --merged` can read them.
#[test]
fn what_is_merged_computes_the_same_and_is_another_base() {
    for (name, _) in ADAPTERS {
        let base = base_of(name);
        let out = kept(&format!("merged_{name}"));
        let _ = std::fs::remove_dir_all(&out);
        let adapter = golden("peft").join(name);
        let made =
            models::merge(&base.dir, &adapter, &out, NormDtype::F32, &mut |_, _| {}).unwrap();
        assert!(made.merged.changed > 0);
        let merged = models::load(&out, None).unwrap();
        assert_eq!(merged.params.plugs().len(), 0);
        let (found, expected) = (keep_logits(&merged, &out), logits(&adapted(name)));
        // The LLaVA is in bf16, and stays so.
        let scale = expected.data().iter().fold(1.0f32, |m, x| m.max(x.abs()));
        let tolerance = if name.starts_with("llava") { 3e-2 } else { 1e-5 };
        assert_close(&found, &expected, tolerance * scale);

        // What was trained on the base does not go onto what came of it.
        let mut loaded = adapted(name);
        for (_, parameter) in loaded.params.iter_mut() {
            let norm = name.ends_with("layer_norm") && parameter.name().contains("norm");
            parameter.set_trained(parameter.is_trained() || norm);
        }
        let trained = tempfile::tempdir().unwrap();
        if name == "biases" || name.starts_with("llava") {
            continue; // one of each is enough
        }
        save_adapter(trained.path(), &loaded.params, &card(&loaded)).unwrap();
        let twice = trained.path().join("twice");
        let error = models::merge(&out, trained.path(), &twice, NormDtype::F32, &mut |_, _| {})
            .unwrap_err();
        assert!(error.to_string().contains("trained on the base"), "{error}");
        assert!(!twice.exists());
    }
}

#[test]
fn a_merged_layer_norm_has_the_adapters_values() {
    let base = base_of("");
    let out = kept("merged_values");
    let _ = std::fs::remove_dir_all(&out);
    let adapter = golden("peft/layer_norm");
    models::merge(&base.dir, &adapter, &out, NormDtype::F32, &mut |_, _| {}).unwrap();
    let merged = read_safetensors(&out.join("model.safetensors")).unwrap();
    let before = read_safetensors(&base.dir.join("model.safetensors")).unwrap();
    let changed = read_safetensors(&adapter.join("adapter_model.safetensors")).unwrap();
    for (name, stored) in &merged.tensors {
        let (module, leaf) = name.rsplit_once('.').unwrap();
        let key = format!("base_model.model.{module}.ln_tuning_layers.{leaf}");
        let want = changed.tensors.get(&key).unwrap_or_else(|| &before.tensors[name]);
        assert_eq!((stored.dtype(), stored.bytes()), (want.dtype(), want.bytes()), "{name}");
    }
    for file in ["config.json", "vocab.txt", "preprocessor_config.json"] {
        let read = |dir: &Path| std::fs::read(dir.join(file)).unwrap();
        assert!(read(&out) == read(&base.dir), "{file}");
    }
}

/// A change by a thousandth is less than half of bf16's step.
#[test]
fn small_changes_of_norms_survive_a_merge_into_half_precision() {
    let mut loaded = models::load_as_stored(&base_of("llava").dir, None).unwrap();
    let is_gain = |p: &Parameter| matches!(p.role().module, Module::Norm(_));
    let mut changed = 0;
    for (_, p) in loaded.params.iter_mut().filter(|(_, p)| is_gain(p)) {
        p.set_trained(true);
        if p.is_trained() && p.role().kind == ParamKind::Weight {
            let mut value = p.value().to_precision(Precision::F32);
            value.data_mut().iter_mut().for_each(|x| *x *= 1.001);
            changed += value.len();
            p.set(value);
        }
    }
    let work = tempfile::tempdir().unwrap();
    let adapter = work.path().join("adapter");
    save_adapter(&adapter, &loaded.params, &card(&loaded)).unwrap();
    let base = models::load_as_stored(&loaded.dir, None).unwrap();
    for (norm_dtype, surviving) in [(NormDtype::F32, changed), (NormDtype::Base, 0)] {
        let out = work.path().join(norm_dtype.name());
        let merge = models::merge(&loaded.dir, &adapter, &out, norm_dtype, &mut |_, _| {});
        let MergedModel { merged, warnings, .. } = merge.unwrap();
        assert_eq!(merged.values, ChangedValues { changed, surviving });
        assert_eq!(merged.changed > 0, surviving > 0);
        assert_eq!(merged.widened, surviving > 0);
        assert!(warnings.iter().any(|w| w.contains("half precision")), "{warnings:?}");
        // What is compared with the base agrees, and the f32 norms are read as they are.
        let merged = models::load_as_stored(&out, None).unwrap();
        let found = ModelDiff::between(&base.params, &merged.params).unwrap();
        assert_eq!(found.values.changed, surviving);
        let found = ModelDiff::between(&loaded.params, &merged.params).unwrap();
        assert_eq!(found.values.changed, changed - surviving);
    }
    let found = ModelDiff::between(&base.params, &loaded.params).unwrap();
    assert_eq!(found.values, ChangedValues { changed, surviving: changed });
}

#[test]
fn what_peft_has_no_form_for_is_refused_before_anything_is_trained() {
    let refused = |methods: Vec<ConfiguredMethod>| {
        let mut loaded = base_of("");
        let tuning = Tuning::One(Rule::combining(methods));
        tuning.apply(&mut loaded.params).unwrap();
        tuning.initialize(&mut loaded.params, 1);
        check_adapter(&loaded.params).map_err(|e| e.to_string())
    };
    let lora = Method::LORA.with("targets", ["fc1"]).unwrap();
    for (methods, cause) in [
        (vec![Method::FFN.into(), lora.clone()], "is both trained and adapted"),
        (
            vec![Method::BITFIT.into(), Method::IA3.into()],
            "biases of linear layers are trained together with IA3",
        ),
    ] {
        let error = refused(methods).unwrap_err();
        assert!(error.contains(cause), "{error}");
    }
    let mut two = base_of("");
    let towers = [
        (normed::tensor::Tower::Text, Rule::new(lora)),
        (normed::tensor::Tower::Decoder, Rule::new(Method::IA3)),
    ];
    let tuning = Tuning::PerTower(towers.into());
    tuning.apply(&mut two.params).unwrap();
    tuning.initialize(&mut two.params, 1);
    let error = check_adapter(&two.params).unwrap_err().to_string();
    assert!(error.contains("LoRA and IA3 are in one model"), "{error}");
    for methods in [
        vec![Method::LAYER_NORM, Method::LORA],
        vec![Method::LAYER_NORM, Method::IA3],
        vec![Method::BITFIT, Method::LORA],
        vec![Method::BITFIT],
        vec![Method::LAYER_NORM, Method::BITFIT],
    ] {
        refused(methods.into_iter().map(ConfiguredMethod::from).collect()).unwrap();
    }
}

/// Adapters of several methods together, left where `make_peft_goldens.py --check` can read them.
#[test]
fn combined_methods_are_saved_and_loaded_again() {
    for (name, methods) in [
        ("norms_and_lora", vec![Method::LAYER_NORM, Method::LORA]),
        ("norms_and_ia3", vec![Method::LAYER_NORM, Method::IA3]),
        ("biases_and_lora", vec![Method::BITFIT, Method::LORA]),
        ("biases_alone", vec![Method::BITFIT]),
    ] {
        let mut loaded = base_of("");
        let tuning = Tuning::One(Rule::combining(methods.into_iter().map(ConfiguredMethod::from)));
        tuning.apply(&mut loaded.params).unwrap();
        tuning.initialize(&mut loaded.params, 1);
        for (id, parameter) in loaded.params.iter_mut().filter(|(_, p)| p.is_trained()) {
            for (i, x) in parameter.value_mut().data_mut().iter_mut().enumerate() {
                *x += 0.3 * ((id.index() * 31 + i) as f32).sin();
            }
        }
        let out = kept(&format!("saved_{name}"));
        save_adapter(&out, &loaded.params, &card(&loaded)).unwrap();
        let before = keep_logits(&loaded, &out);
        let mut again = base_of("");
        let hash = again.content_hash.clone();
        load_adapter(&out, &mut again.params, BaseCheck::Is(&hash)).unwrap();
        assert!(logits(&again).data() == before.data(), "{name}");
    }
}

#[test]
fn damaged_factors_are_one_error_and_change_nothing() {
    let from = golden("peft/lora");
    let query = "base_model.model.text_encoder.encoder.layer.0.attention.self.query";
    type Edit = fn(&mut BTreeMap<String, Tensor>, &str);
    let edits: [(Edit, &str); 5] = [
        (|t, q| _ = t.remove(&format!("{q}.lora_B.weight")), "lora_B.weight is missing"),
        (
            |t, q| _ = t.insert(format!("{q}.lora_A.weight"), Tensor::zeros(&[3, 8])),
            "[3, 8] instead of [2, 8]",
        ),
        (
            |t, q| {
                _ = t.insert(format!("{q}.lora_B.weight"), Tensor::new(&[8, 2], vec![f32::NAN; 16]))
            },
            "not finite",
        ),
        (
            |t, q| t.retain(|name, _| !name.starts_with(q)),
            "LORA text_encoder.encoder.layer.0.attention.self.query is missing",
        ),
        (
            |t, _| {
                _ = t.insert(
                    "base_model.model.text_encoder.embeddings.LayerNorm.lora_A.weight".into(),
                    Tensor::zeros(&[2, 8]),
                )
            },
            "is unexpected",
        ),
    ];
    for (edit, cause) in edits {
        let dir = tempfile::tempdir().unwrap();
        let name = "adapter_config.json";
        std::fs::copy(from.join(name), dir.path().join(name)).unwrap();
        let file = read_safetensors(&from.join("adapter_model.safetensors")).unwrap();
        let tensors = file.tensors.iter();
        let mut tensors: BTreeMap<_, _> =
            tensors.map(|(name, stored)| (name.clone(), stored.to_tensor().unwrap())).collect();
        edit(&mut tensors, query);
        let list: Vec<_> = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
        let path = dir.path().join("adapter_model.safetensors");
        weights::write_safetensors(&path, &list, Precision::F32, &BTreeMap::new()).unwrap();
        let mut loaded = base_of("");
        let (before, len) = (logits(&loaded), loaded.params.len());
        let error = load_adapter(dir.path(), &mut loaded.params, BaseCheck::Skip).unwrap_err();
        assert!(error.to_string().contains(cause), "{error}");
        assert_eq!((loaded.params.len(), loaded.params.plugs().len()), (len, 0));
        assert!(logits(&loaded).data() == before.data());
    }
    let mut loaded = adapted("lora");
    let error = load_adapter(&from, &mut loaded.params, BaseCheck::Skip).unwrap_err();
    assert!(error.to_string().contains("another adapter is already loaded"), "{error}");
    assert!(loaded.params.plugs().all(|(_, delta)| matches!(delta, Plug::LowRank(_))));
}
