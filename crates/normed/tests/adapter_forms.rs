//! Adapters in the forms that people have them in: every option and every scheme of names that Python's peft reads
//! (reference/make_peft_goldens.py), with the same result.

use std::collections::BTreeMap;
use std::path::Path;

use normed::models::{self, LoadOverrides, LoadedModel, MergeOptions, NormDtype};
use normed::nn::Mode;
use normed::tensor::{Graph, Precision, Tensor};
use normed::weights::{
    self, BaseCheck, load_adapter, read_safetensors, to_hugging_face_llava, to_llava_original,
};
use serde_json::{Value, json};

mod tiny_llava;
mod weights_common;
use tiny_llava::{llava_batch, with_words};
use weights_common::{assert_close, golden, kept, logits as blip_logits};

/// Adapters that PEFT wrote, one for each option.
const FORMS: [&str; 12] = [
    "blocks",
    "container",
    "own_biases",
    "bias_of_b",
    "tables",
    "dora_tables",
    "llava_all_linear",
    "llava_expression",
    "llava_tied",
    "llava_tokens",
    "old_file",
    "llava_own_folder",
];

fn base_of(name: &str) -> LoadedModel {
    if !name.starts_with("llava") {
        return models::load(&golden("weights/hugging_face"), None).unwrap();
    }
    // In f32, so that a merge rounds nothing.
    let (words, dir) = (kept("forms_llava_words"), kept("forms_llava"));
    if !dir.join("model.safetensors").exists() {
        with_words(&words);
        models::save(&models::load(&words, None).unwrap(), &dir, false).unwrap();
    }
    models::load(&dir, None).unwrap()
}

fn logits(loaded: &LoadedModel) -> Tensor {
    if loaded.model.image_token_id().is_none() {
        return blip_logits(loaded);
    }
    let mut g = Graph::inference(&loaded.params);
    loaded.model.forward(&mut g, &llava_batch(), Mode::Evaluate).unwrap().value
}

/// The logits with the adapter in `dir`, and the warnings.
fn adapted(name: &str, dir: &Path) -> (Tensor, Vec<String>) {
    let mut loaded = base_of(name);
    let read = load_adapter(dir, &mut loaded.params, BaseCheck::Skip).unwrap();
    (logits(&loaded), read.warnings)
}

fn refusal(name: &str, dir: &Path) -> String {
    let mut loaded = base_of(name);
    load_adapter(dir, &mut loaded.params, BaseCheck::Skip).unwrap_err().to_string()
}

/// The tensors and the configuration of an adapter.
struct Adapter {
    tensors: BTreeMap<String, Tensor>,
    config: Value,
}

impl Adapter {
    fn read(name: &str) -> Self {
        let dir = golden("peft").join(name);
        let file = read_safetensors(&dir.join("adapter_model.safetensors")).unwrap();
        let tensors = file.tensors.into_iter();
        let tensors = tensors.map(|(key, stored)| (key, stored.to_tensor().unwrap())).collect();
        let config = std::fs::read(dir.join("adapter_config.json")).unwrap();
        Self { tensors, config: serde_json::from_slice(&config).unwrap() }
    }

    /// With other keys.
    fn renamed(&self, rename: impl Fn(&str) -> String) -> Self {
        let tensors = self.tensors.iter().map(|(key, value)| (rename(key), value.clone()));
        Self { tensors: tensors.collect(), config: self.config.clone() }
    }

    fn write(&self) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("adapter_config.json"), self.config.to_string()).unwrap();
        let list: Vec<_> = self.tensors.iter().map(|(key, value)| (key.as_str(), value)).collect();
        let path = dir.path().join("adapter_model.safetensors");
        weights::write_safetensors(&path, &list, Precision::F32, &BTreeMap::new()).unwrap();
        dir
    }
}

#[test]
fn every_form_computes_what_peft_computes_and_so_does_its_merge() {
    for name in FORMS {
        let dir = golden("peft").join(name);
        let (found, warnings) = adapted(name, &dir);
        let own_folder = name == "llava_own_folder";
        assert_eq!(warnings.len(), usize::from(own_folder), "{name}: {warnings:?}");
        let from = if name == "old_file" { golden("peft/blocks") } else { dir.clone() };
        let expected = read_safetensors(&from.join("golden.safetensors")).unwrap();
        let expected = expected.tensors["logits"].to_tensor().unwrap();
        assert_close(&found, &expected, 2e-4);
        let base = base_of(name);
        assert!(logits(&base).data() != found.data(), "{name} changes nothing");

        let work = tempfile::tempdir().unwrap();
        let out = work.path().join("merged");
        let made = models::merge(&base.dir, &dir, &out, NormDtype::F32, &mut |_, _| {}).unwrap();
        assert_eq!(made.merged.values.changed, made.merged.values.surviving, "{name}");
        assert_close(&logits(&models::load(&out, None).unwrap()), &found, 2e-4);
    }
}

#[test]
fn names_of_every_version_of_transformers_are_read() {
    const PREFIX: &str = "base_model.model.";
    type Scheme = fn(&str) -> String;
    let schemes: [Scheme; 3] = [
        to_hugging_face_llava,
        |name| name.replace("model.vision_tower.", "model.vision_tower.vision_model."),
        |name| to_llava_original(name, 2),
    ];
    for name in ["llava_lora", "llava_layer_norm", "llava_ia3", "llava_all_linear", "llava_tied"] {
        let (expected, _) = adapted(name, &golden("peft").join(name));
        for scheme in schemes {
            let own = |key: &str| key.strip_prefix(PREFIX).unwrap().to_owned();
            let mut adapter =
                Adapter::read(name).renamed(|key| format!("{PREFIX}{}", scheme(&own(key))));
            let modules: Vec<_> = adapter
                .tensors
                .keys()
                .filter_map(|key| own(key).rsplit_once(".lora_A").map(|(m, _)| m.to_owned()))
                .collect();
            if name == "llava_lora" {
                // Patterns with whole names, of which all count.
                adapter.config["target_modules"] = json!(modules);
                adapter.config["rank_pattern"] =
                    modules.iter().map(|m| (format!("^{m}"), json!(3))).collect();
                adapter.config["r"] = json!(64);
            }
            let (found, warnings) = adapted(name, adapter.write().path());
            assert!(found.data() == expected.data(), "{name}");
            assert!(warnings.is_empty(), "{name}: {warnings:?}");
        }
    }
    // BLIP's own code names its image encoder otherwise.
    let (expected, _) = adapted("lora", &golden("peft/lora"));
    let own = Adapter::read("lora").renamed(|key| {
        format!("{PREFIX}{}", weights::to_original(key.strip_prefix(PREFIX).unwrap()))
    });
    let mut own = own;
    own.config["target_modules"] = json!([
        "query",
        "key",
        "value",
        "output.dense",
        "intermediate.dense",
        "qkv",
        "projection",
        "proj",
        "fc1",
        "fc2",
        "patch_embedding",
    ]);
    let (found, _) = adapted("lora", own.write().path());
    assert!(found.data() == expected.data());
}

#[test]
fn prefixes_and_names_of_adapters_are_taken_off() {
    type Rename = fn(&str) -> String;
    let renames: [Rename; 6] = [
        |key| format!("module.{key}"),
        |key| format!("_orig_mod.module.{key}"),
        |key| key.replace("base_model.model.", "base_model.model._orig_mod."),
        |key| key.replace("base_model.model.", ""),
        |key| key.replace(".layers.0.", ".layers.0._fsdp_wrapped_module."),
        |key| {
            let named = key.replace("lora_A.", "lora_A.mine.").replace("lora_B.", "lora_B.mine.");
            let named = named
                .replace("_layers.weight", "_layers.mine.weight")
                .replace("_layers.bias", "_layers.mine.bias");
            match named.ends_with("ia3_l") || named.ends_with("vector") {
                true => format!("{named}.mine"),
                false => named,
            }
        },
    ];
    for name in ["llava_lora", "llava_layer_norm", "llava_ia3", "dora", "bias_of_b"] {
        let (expected, _) = adapted(name, &golden("peft").join(name));
        for rename in renames {
            let dir = Adapter::read(name).renamed(rename).write();
            assert!(adapted(name, dir.path()).0.data() == expected.data(), "{name}");
        }
    }
    // What is left over is named, and so are the adapters of a file with several.
    let left_over = Adapter::read("lora").renamed(|key| key.replace("base_model.", "base."));
    assert!(refusal("lora", left_over.write().path()).contains("base.model.text_decoder"));
    let several = Adapter::read("lora").renamed(|key| {
        key.replace("lora_A.weight", "lora_A.one.weight")
            .replace("lora_B.weight", "lora_B.two.weight")
    });
    let error = refusal("lora", several.write().path());
    assert!(error.contains("several adapters (one, two)"), "{error}");
}

#[test]
fn entries_that_match_nothing_are_named() {
    let mut adapter = Adapter::read("blocks");
    for (key, value) in [
        ("target_modules", json!(["query", "fc1", "q_proj"])),
        ("exclude_modules", json!(["nowhere"])),
        ("modules_to_save", json!(["lm_head"])),
        ("layers_to_transform", json!([1, 7])),
        ("layers_pattern", json!(["layer", "layers", "blocks"])),
    ] {
        adapter.config[key] = value;
    }
    adapter.config["rank_pattern"]["nonsense"] = json!(7);
    adapter.config["alpha_pattern"]["^fc1"] = json!(100);
    let (found, warnings) = adapted("blocks", adapter.write().path());
    assert!(found.data() == adapted("blocks", &golden("peft/blocks")).0.data());
    let [warning] = &warnings[..] else { panic!("{warnings:?}") };
    for entry in [
        "target_modules `q_proj`",
        "exclude_modules `nowhere`",
        "modules_to_save `lm_head`",
        "layers_to_transform `7`",
        "layers_pattern `blocks`",
        "rank_pattern `nonsense`",
        "alpha_pattern `^fc1`",
    ] {
        assert!(warning.contains(entry), "{entry}: {warning}");
    }
    assert_eq!(warning.matches('`').count(), 2 * 7, "{warning}");
}

#[test]
fn layers_that_an_expression_chooses_and_the_file_lacks_are_named() {
    for (targets, is_warned) in [
        (json!(r"(?:.*?(?:language|text|vision|multi_modal).*?(?:proj|fc\d|linear_\d).*?)"), true),
        (json!("all-linear"), true),
        (Value::Null, false),
    ] {
        let mut adapter = Adapter::read("llava_all_linear");
        let list = std::mem::replace(&mut adapter.config["target_modules"], targets.clone());
        if targets.is_null() {
            adapter.config["target_modules"] = list;
        }
        let complete = adapter.write();
        let warnings = adapted("llava", complete.path()).1;
        assert!(warnings.is_empty(), "{targets}: {warnings:?}");
        adapter.tensors.retain(|key, _| !key.contains("language_model.layers.1.self_attn"));
        let cut = adapter.write();
        let q = "LORA model.language_model.layers.1.self_attn.q_proj";
        if is_warned {
            let warnings = adapted("llava", cut.path()).1;
            assert!(warnings.len() == 1 && warnings[0].contains(q), "{targets}: {warnings:?}");
            assert!(warnings[0].contains("(4)"), "{warnings:?}");
        } else {
            assert!(refusal("llava", cut.path()).contains(&format!("{q} is missing")));
        }
    }
}

#[test]
fn tensors_of_the_model_itself_are_applied_as_peft_applies_them() {
    let table = "base_model.model.text_encoder.embeddings.word_embeddings.weight";
    let mut adapter = Adapter::read("blocks");
    let base = base_of("");
    let own = &table["base_model.model.".len()..];
    let mut value = base.params.get(base.params.find(own).unwrap()).value().clone();
    // PEFT saves tables beside, changed or not.
    adapter.tensors.insert(table.to_owned(), value.clone());
    let (same, warnings) = adapted("blocks", adapter.write().path());
    assert!(same.data() == adapted("blocks", &golden("peft/blocks")).0.data());
    assert!(warnings.is_empty(), "{warnings:?}");
    value.data_mut().iter_mut().for_each(|x| *x += 0.1);
    adapter.tensors.insert(table.to_owned(), value);
    let (changed, warnings) = adapted("blocks", adapter.write().path());
    assert!(changed.data() != same.data());
    assert!(warnings.len() == 1 && warnings[0].contains(own), "{warnings:?}");
    // Two copies of one parameter must agree.
    let query = "base_model.model.vision_model.encoder.layers.1.mlp.fc1";
    adapter.tensors.insert(format!("{query}.base_layer.bias"), Tensor::zeros(&[32]));
    adapter
        .tensors
        .insert(format!("{query}.modules_to_save.bias"), Tensor::new(&[32], vec![1.0; 32]));
    let error = refusal("blocks", adapter.write().path());
    assert!(
        error.contains("appears twice, with different values") || error.contains("instead of"),
        "{error}"
    );
}

#[test]
fn tied_layers_that_would_differ_are_refused() {
    let mut adapter = Adapter::read("llava_tied");
    adapter.tensors.retain(|key, _| !key.contains("lm_head"));
    adapter.config["target_modules"] = json!(["embed_tokens"]);
    assert!(adapted("llava", adapter.write().path()).1.is_empty(), "PEFT keeps them tied");
    adapter.config["ensure_weight_tying"] = json!(false);
    let error = refusal("llava", adapter.write().path());
    assert!(error.contains("but they are tied"), "{error}");
}

/// PEFT, too, needs the base to be resized before it loads such an adapter.
#[test]
fn a_vocabulary_that_grew_is_read_on_request() {
    let mut adapter = Adapter::read("llava_expression");
    let mut base = base_of("llava");
    let name = "model.language_model.embed_tokens";
    let table = base.params.get(base.params.find(&format!("{name}.weight")).unwrap()).value();
    let (rows, width) = (table.rows(), table.width());
    let grown = [table.data(), &vec![0.25; 2 * width]].concat();
    let grown = Tensor::new(&[rows + 2, width], grown);
    adapter.tensors.insert(format!("base_model.model.{name}.weight"), grown);
    adapter.config["modules_to_save"] = json!(["embed_tokens"]);
    adapter.config["ensure_weight_tying"] = json!(true);
    let dir = adapter.write();
    let error = refusal("llava", dir.path());
    assert!(error.contains("--resize-vocabulary"), "{error}");
    let overrides = LoadOverrides::default();
    let read = models::load_adapter_and_grow(&mut base, dir.path(), overrides).unwrap();
    assert!(read.warnings.last().unwrap().contains("grew to 66 tokens"), "{:?}", read.warnings);
    let (found, before) = (logits(&base), adapted("llava", &golden("peft/llava_expression")).0);
    assert_eq!((found.width(), before.width()), (rows + 2, rows));
    for (found, before) in found.data().chunks(rows + 2).zip(before.data().chunks(rows)) {
        let close = |(a, b): (&f32, &f32)| (a - b).abs() < 1e-5;
        assert!(found.iter().zip(before).all(close));
        // Two equal rows of the table.
        assert!((found[rows] - found[rows + 1]).abs() < 1e-6 && found[rows] != 0.0);
    }
    // Merged, it is a plain model with as many tokens; reference/make_peft_goldens.py --merged reads it.
    let out = kept("merged_llava_grown");
    let _ = std::fs::remove_dir_all(&out);
    std::fs::copy(base.dir.join("tokenizer.json"), dir.path().join("tokenizer.json")).unwrap();
    let options = |resize_vocabulary| MergeOptions { resize_vocabulary, ..Default::default() };
    let merge =
        |resize| models::merge(&base.dir, dir.path(), &out, options(resize), &mut |_, _| {});
    assert!(merge(false).unwrap_err().to_string().contains("--resize-vocabulary"));
    let made = merge(true).unwrap();
    assert_eq!(made.merged.values.changed, made.merged.values.surviving);
    assert!(made.merged.values.changed >= 2 * width);
    let merged = models::load(&out, None).unwrap();
    let config = std::fs::read(out.join("config.json")).unwrap();
    let config: Value = serde_json::from_slice(&config).unwrap();
    assert_eq!(config["text_config"]["vocab_size"], json!(rows + 2));
    let after = logits(&merged);
    assert_close(&after, &found, 2e-4);
    let path = out.join("logits.safetensors");
    weights::write_safetensors(&path, &[("logits", &after)], Precision::F32, &BTreeMap::new())
        .unwrap();
    // An adapter with the base's vocabulary is loaded as ever.
    let mut base = base_of("llava");
    let dir = golden("peft/llava_expression");
    models::load_adapter_and_grow(&mut base, &dir, overrides).unwrap();
    assert!(logits(&base).data() == before.data());
    // A table that is not in the adapter cannot grow.
    let mut blip = Adapter::read("blocks");
    let key = "base_model.model.text_encoder.embeddings.word_embeddings.weight";
    blip.tensors.insert(key.to_owned(), Tensor::zeros(&[110, 8]));
    let error = models::load_adapter_and_grow(&mut base_of(""), blip.write().path(), overrides);
    let error = error.unwrap_err().to_string();
    assert!(error.contains("text_decoder.bert.embeddings.word_embeddings.weight"), "{error}");
}

#[test]
fn folders_without_an_adapter_are_refused_with_a_hint() {
    let dir = tempfile::tempdir().unwrap();
    let error = refusal("", dir.path());
    assert!(error.contains("has no adapter_config.json"), "{error}");
    std::fs::create_dir(dir.path().join("checkpoint-500")).unwrap();
    let copy = |name: &str| {
        let (from, to) = (golden("peft/blocks").join(name), dir.path().join("checkpoint-500"));
        std::fs::copy(from, to.join(name)).unwrap();
    };
    copy("adapter_config.json");
    assert!(refusal("", dir.path()).contains("checkpoint-500"));
    let error = refusal("", &dir.path().join("checkpoint-500"));
    assert!(error.contains("has neither adapter_model.safetensors nor"), "{error}");
}
