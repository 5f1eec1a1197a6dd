//! What every tuning method must keep, over every model; and how many parameters each trains.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use normed::data::{
    Answer, AnswerType, Batch, Example, ImageSource, Images, PreparedExample, Split,
};
use normed::models::{self, LoadedModel, NormDtype};
use normed::nn::Mode;
use normed::recipe::TrainSpec;
use normed::tensor::{Gradients, Graph, Parameters, Precision, Tensor, Tower};
use normed::train::{AdamW, StepOptions, train_step};
use normed::tuning::{
    ConfiguredMethod, Method, OptionValue, ParameterTable, Rule, Selection, Target, Tuning,
    find_method, methods,
};
use normed::weights::{
    AdapterCard, BaseCheck, load_adapter, read_safetensors, save_adapter, to_hugging_face_llava,
    write_safetensors,
};

mod tiny_llava;
mod weights_common;
use tiny_llava::{llava_batch, with_words};
use weights_common::{assert_close, batch, golden, kept};

fn together<const N: usize>(methods: [ConfiguredMethod; N]) -> Tuning {
    Tuning::One(Rule::combining(methods))
}

/// LoRA of every layer that can have it.
fn lora() -> ConfiguredMethod {
    Method::LORA.with("targets", Target::NAMES).unwrap().with("rank", 2).unwrap()
}

/// The rows of the table: combinations and options, and every method of the registry alone.
fn rows() -> Vec<(String, Tuning)> {
    let norms = || ConfiguredMethod::from(Method::LAYER_NORM);
    let weights = Method::LAYER_NORM.with("parts", "weight").unwrap();
    let parallel = Method::ADAPTER.with("parallel", true).unwrap();
    let rows = [
        ("norm weights", together([weights])),
        ("lora everywhere", together([lora()])),
        ("rslora", together([lora().with("use_rslora", true).unwrap()])),
        ("dora", together([lora().with("use_dora", true).unwrap()])),
        ("norms and lora", together([norms(), lora()])),
        ("norms and ia3", together([norms(), Method::IA3.into()])),
        ("parallel adapters", together([parallel])),
        ("norms and adapters", together([norms(), Method::ADAPTER.into()])),
        ("norms and prefix", together([norms(), Method::PREFIX.into()])),
        ("norms and prompt", together([norms(), Method::PROMPT.into()])),
        ("prompt and lora", together([Method::PROMPT.into(), lora()])),
        ("biases and lora", together([Method::BITFIT.into(), lora()])),
    ];
    let alone = methods().into_iter().filter(|method| *method != Method::NONE);
    let alone = alone.map(|method| (method.name().to_owned(), Tuning::new(method)));
    rows.into_iter().map(|(name, tuning)| (name.to_owned(), tuning)).chain(alone).collect()
}

/// The models, each with an example whose answer is to be learned, in f32.
fn made() -> Vec<(PathBuf, Batch)> {
    let miss = golden("weights/hugging_face");
    let mut miss_batch = batch(&models::load(&miss, None).unwrap());
    miss_batch.labels = vec![11, 12, 3];
    miss_batch.target_count = 3;
    // As a checkpoint in f32: what is merged into half precision is rounded.
    let (words, llava) = (kept("laws_llava_words"), kept("laws_llava"));
    with_words(&words);
    models::save(&models::load(&words, None).unwrap(), &llava, false).unwrap();
    let mut batch = llava_batch();
    batch.labels.iter_mut().zip(7..).for_each(|(label, id)| *label = id);
    batch.target_count = batch.labels.len();
    vec![(miss, miss_batch), (llava, batch)]
}

fn forward(loaded: &LoadedModel, batch: &Batch) -> Tensor {
    let mut g = Graph::inference(&loaded.params);
    loaded.model.forward(&mut g, batch, Mode::Evaluate).unwrap().value
}

fn prepared() -> PreparedExample {
    let example = Example {
        id: "0".into(),
        images: vec![ImageSource::File(PathBuf::new())],
        image_name: String::new(),
        question: String::new(),
        answer: Some(Answer::new("", AnswerType::Open)),
        split: Split::Train,
        group: None,
        history: Vec::new(),
        place: String::new(),
        attributes: Default::default(),
    };
    PreparedExample {
        example,
        images: Images::from_pixels(Tensor::zeros(&[0, 3, 0, 0])),
        question: Vec::new(),
        start: 0,
        answer: Some(Vec::new()),
        is_question_cut: false,
        is_answer_cut: false,
    }
}

fn values(params: &Parameters) -> Vec<Vec<u32>> {
    let bits = |value: &Tensor| value.data().iter().map(|x| x.to_bits()).collect();
    params.iter().map(|(_, p)| bits(p.value())).collect()
}

/// Relative to the largest.
#[track_caller]
fn near(a: &Tensor, b: &Tensor, tolerance: f32) {
    assert_close(a, b, tolerance * b.data().iter().fold(1.0f32, |m, x| m.max(x.abs())));
}

#[test]
fn every_method_keeps_them_over_every_model() {
    for (dir, batch) in made() {
        let base = forward(&models::load(&dir, None).unwrap(), &batch);
        for (name, tuning) in rows() {
            keeps_them(&dir, &batch, &base, &name, &tuning);
        }
    }
}

fn keeps_them(dir: &Path, batch: &Batch, base: &Tensor, name: &str, tuning: &Tuning) {
    let mut loaded = models::load(dir, None).unwrap();
    tuning.apply(&mut loaded.params).unwrap();
    tuning.initialize(&mut loaded.params, 3);

    // The output does not change, except with prefixes and prompts, whose values are random.
    let params = &loaded.params;
    let precedes = params.prefixes().len() > 0 || params.soft_prompts().len() > 0;
    if !precedes {
        near(&forward(&loaded, batch), base, 1e-5);
    }

    // Exactly the chosen parameters receive gradients.
    let mut g = Graph::training(&loaded.params);
    let y = loaded.model.forward(&mut g, batch, Mode::Evaluate).unwrap();
    let seed = (0..y.value.len()).map(|i| (i as f32).sin()).collect();
    let mut gradients = Gradients::new();
    g.backward(y.gradient_slot(), Tensor::new(y.shape(), seed), &mut gradients);
    for (id, parameter) in loaded.params.iter() {
        assert_eq!(
            gradients.param(id).is_some(),
            parameter.is_trained(),
            "{name}: {}",
            parameter.name()
        );
    }

    // Only they change.
    let before = values(&loaded.params);
    let spec = TrainSpec { lr: 0.02, ..TrainSpec::default() };
    let mut optimizer = AdamW::new(&loaded.params, &spec);
    for _ in 0..3 {
        let item = std::iter::once(Ok((batch.clone(), vec![prepared()])));
        let options = StepOptions { spec: &spec, seed: 0, lr: spec.lr };
        train_step(&*loaded.model, &mut loaded.params, &mut optimizer, item, options).unwrap();
    }
    let after = values(&loaded.params);
    for (((_, parameter), a), b) in loaded.params.iter().zip(&before).zip(&after) {
        assert!(parameter.is_trained() || a == b, "{name}: {} changed", parameter.name());
    }
    assert!(before != after, "{name}: nothing changed");
    // Further than three steps go, so that no factor is near 0.
    for (id, parameter) in loaded.params.iter_mut().filter(|(_, p)| p.is_trained()) {
        for (i, x) in parameter.value_mut().data_mut().iter_mut().enumerate() {
            *x += 0.1 * ((id.index() * 31 + i) as f32).sin();
        }
    }
    let tuned = forward(&loaded, batch);
    assert!(tuned.data() != base.data(), "{name}");

    // What is saved computes the same, to the bit; what is merged, nearly so.
    let work = tempfile::tempdir().unwrap();
    let (adapter, merged) = (work.path().join("adapter"), work.path().join("merged"));
    let card = AdapterCard {
        base: "base",
        base_hash: &loaded.content_hash,
        base_class: loaded.config.transformers_class(),
        readme: "",
    };
    save_adapter(&adapter, &loaded.params, &card).unwrap();
    if let Some(method) = find_method(name) {
        let config = std::fs::read(adapter.join("adapter_config.json")).unwrap();
        let config: serde_json::Value = serde_json::from_slice(&config).unwrap();
        let peft_type = config["peft_type"].as_str().unwrap();
        let types = method.description().adapter_types;
        assert!(types.contains(&peft_type), "{name}: {peft_type} is not among {types:?}");
    }
    let mut again = models::load(dir, None).unwrap();
    let hash = again.content_hash.clone();
    load_adapter(&adapter, &mut again.params, BaseCheck::Is(&hash)).unwrap();
    assert!(forward(&again, batch).data() == tuned.data(), "{name}: saved");
    if precedes || name.contains("adapter") {
        let error =
            models::merge(dir, &adapter, &merged, NormDtype::F32, &mut |_, _| {}).unwrap_err();
        assert!(error.to_string().contains("cannot be merged"), "{name}: {error}");
        return;
    }
    models::merge(dir, &adapter, &merged, NormDtype::F32, &mut |_, _| {}).unwrap();
    near(&forward(&models::load(&merged, None).unwrap(), batch), &tuned, 1e-5);
}

/// What a method trains over a model, saved and kept for `make_peft_goldens.py --again`; `None` if PEFT has no form
/// for it.
fn kept_for_peft(
    dir: &Path,
    batch: &Batch,
    name: &str,
    tuning: &Tuning,
) -> Option<(PathBuf, Tensor)> {
    let mut loaded = models::load(dir, None).unwrap();
    tuning.apply(&mut loaded.params).unwrap();
    tuning.initialize(&mut loaded.params, 3);
    for (id, parameter) in loaded.params.iter_mut().filter(|(_, p)| p.is_trained()) {
        for (i, x) in parameter.value_mut().data_mut().iter_mut().enumerate() {
            *x += 0.1 * ((id.index() * 31 + i) as f32).sin();
        }
    }
    let model = if loaded.model.image_token_id().is_some() { "llava" } else { "blip" };
    let out = kept("again").join(format!("{model}_{}", name.replace(' ', "_")));
    let card = AdapterCard {
        base: "base",
        base_hash: &loaded.content_hash,
        base_class: loaded.config.transformers_class(),
        readme: "",
    };
    save_adapter(&out, &loaded.params, &card).unwrap();
    let tuned = forward(&loaded, batch);
    let list = [("logits", &tuned)];
    let path = out.join("logits.safetensors");
    write_safetensors(&path, &list, Precision::F32, &BTreeMap::new()).unwrap();
    let config = std::fs::read_to_string(out.join("adapter_config.json")).unwrap();
    if config.contains("\"NORMED\"") {
        std::fs::remove_dir_all(&out).unwrap();
        return None;
    }
    Some((out, tuned))
}

/// What PEFT saved of an adapter of ours that it had loaded: ours, with the changes in `record`.
fn saved_again(record: &serde_json::Value, ours: &Path, base: &Path, out: &Path) {
    let config = std::fs::read(ours.join("adapter_config.json")).unwrap();
    let mut config: serde_json::Value = serde_json::from_slice(&config).unwrap();
    let changes = record["config"].as_object().unwrap().clone();
    config.as_object_mut().unwrap().extend(changes);
    let [ours, base] = [ours.join("adapter_model.safetensors"), base.join("model.safetensors")]
        .map(|path| read_safetensors(&path).unwrap().tensors);
    let of_base = |key: &str| {
        let alias = key.replace("cls.predictions.decoder.bias", "cls.predictions.bias");
        let names = [key.to_owned(), to_hugging_face_llava(key), alias];
        names.iter().find_map(|name| base.get(name)).unwrap_or_else(|| panic!("{key}"))
    };
    let mut tensors = ours.clone();
    for key in record["left_out"].as_array().unwrap() {
        tensors.remove(key.as_str().unwrap());
    }
    for (key, source) in record["tensors"].as_object().unwrap() {
        let stored = match source["adapter"].as_str() {
            Some(key) => &ours[key],
            None => of_base(source["base"].as_str().unwrap()),
        };
        tensors.insert(key.clone(), stored.clone());
    }
    let tensors: Vec<_> =
        tensors.iter().map(|(key, stored)| (key.as_str(), stored.to_tensor().unwrap())).collect();
    let list: Vec<_> = tensors.iter().map(|(key, tensor)| (*key, tensor)).collect();
    std::fs::write(out.join("adapter_config.json"), config.to_string()).unwrap();
    let path = out.join("adapter_model.safetensors");
    write_safetensors(&path, &list, Precision::F32, &BTreeMap::new()).unwrap();
}

/// An adapter made here, loaded by PEFT and saved by PEFT, is loaded here again, with the same logits.
#[test]
fn what_peft_saves_again_of_every_method_is_loaded() {
    let record = std::fs::read(golden("peft/saved_again.json")).unwrap_or_default();
    let record: serde_json::Value = serde_json::from_slice(&record).unwrap_or_default();
    let mut missing = Vec::new();
    for (dir, batch) in made() {
        let across_towers = [
            ("norms and full decoder", Tower::Decoder, Method::FULL),
            ("norms and decoder biases", Tower::Decoder, Method::BITFIT),
        ];
        let across_towers = across_towers.map(|(name, tower, method)| {
            let vision = (Tower::Vision, Rule::new(Method::LAYER_NORM));
            (name.to_owned(), Tuning::PerTower([vision, (tower, Rule::new(method))].into()))
        });
        let biases = together([Method::BITFIT.into(), Method::LAYER_NORM.into()]);
        let more = across_towers.into_iter().chain([("biases and norms".to_owned(), biases)]);
        for (name, tuning) in rows().into_iter().chain(more) {
            let Some((ours, tuned)) = kept_for_peft(&dir, &batch, &name, &tuning) else { continue };
            let entry = &record[ours.file_name().unwrap().to_str().unwrap()];
            if entry.is_null() {
                missing.push(ours);
                continue;
            }
            let work = tempfile::tempdir().unwrap();
            saved_again(entry, &ours, &dir, work.path());
            let mut again = models::load(&dir, None).unwrap();
            let read = load_adapter(work.path(), &mut again.params, BaseCheck::Skip).unwrap();
            assert!(read.warnings.is_empty(), "{name}: {:?}", read.warnings);
            assert!(forward(&again, &batch).data() == tuned.data(), "{name}");
        }
    }
    assert!(missing.is_empty(), "run make_peft_goldens.py --again over {missing:?}");
}

/// The method of each tower, as in MILE's tables: `ViT | JTM | Dec`.
fn towers(vision: Option<ConfiguredMethod>, text: ConfiguredMethod) -> Tuning {
    let mut rules = std::collections::BTreeMap::from([
        (Tower::Text, Rule::new(text.clone())),
        (Tower::Decoder, Rule::new(text)),
    ]);
    rules.extend(vision.map(|vision| (Tower::Vision, Rule::new(vision))));
    Tuning::PerTower(rules)
}

/// MISS-base at 480 pixels: what MILE (arXiv 2403.06407) reports, and exact counts.
#[test]
fn counts_on_miss_base_are_the_papers() {
    let dir = tempfile::tempdir().unwrap();
    let config = r#"{"vit": "base", "image_size": 480}"#;
    std::fs::write(dir.path().join("config.json"), config).unwrap();
    let lora = |rank: usize, targets: &[&str]| {
        let targets = OptionValue::Names(targets.iter().map(|&name| name.to_owned()).collect());
        Method::LORA.with("rank", rank).unwrap().with("targets", targets).unwrap()
    };
    let text = ["query", "value"];
    let vision = ["query", "output", "fc1", "fc2", "patch"];
    let ia3 = || Method::IA3.with("targets", ["key", "value", "output", "fc2"]).unwrap();
    let ia3_vision = Method::IA3.with("targets", ["fc2"]).unwrap();
    let decoder = Some(vec![Tower::Decoder]);
    let decoder = |method| Tuning::One(Rule { towers: decoder.clone(), ..Rule::new(method) });
    let rows = [
        (Tuning::new(Method::LAYER_NORM), 153_600, "0.0425"),
        (decoder(Method::PREFIX), 14_772_480, "3.93"),
        (Tuning::new(Method::P_TUNING_V2), 368_640, "0.102"),
        (Tuning::new(Method::PROMPT), 2 * 20 * 768, "0.0085"),
        // Two a block, 64 channels inside each.
        (decoder(Method::ADAPTER), 24 * (2 * 64 * 768 + 64 + 768), "0.654"),
        (Tuning::new(Method::BITFIT), 431_420, "0.119"),
        (towers(None, lora(4, &text)), 589_824, "0.163"),
        (towers(Some(lora(4, &vision)), lora(4, &text)), 1_185_792, "0.327"),
        (towers(Some(lora(8, &vision)), lora(8, &text)), 2_371_584, "0.652"),
        (towers(None, ia3()), 184_320, "0.051"),
        (towers(Some(ia3_vision), ia3()), 221_184, "0.061"),
    ];
    for (tuning, count, percent) in rows {
        let mut params = models::declare_model(dir.path(), None).unwrap().params;
        assert_eq!(params.element_count(), 361_478_972);
        let Selection { selected, total, .. } = tuning.apply(&mut params).unwrap();
        assert_eq!(selected, count, "{tuning}");
        assert_eq!(ParameterTable::new(&params).parameters, total);
        let digits = percent.len() - 2;
        let found = format!("{:.digits$}", 100.0 * selected as f64 / total as f64);
        assert_eq!(found, percent, "{tuning}");
    }
}
