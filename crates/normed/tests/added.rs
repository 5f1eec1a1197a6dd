//! Prefixes, prompts and adapters on every model: what they do at the start, their gradients, in caches, in
//! files and in runs. Their laws and counts are with those of all methods.

use std::path::Path;

use normed::data::{Batch, IMAGE_TOKEN, Images};
use normed::models::{LlavaConfig, MissConfig, Model, ModelConfig, initialize};
use normed::nn::Mode;
use normed::ops;
use normed::recipe::Recipe;
use normed::tensor::{Gradients, Graph, ParamId, Parameters, Precision, Recompute, Tensor, Tower};
use normed::train::{RunOptions, run};
use normed::tuning::{ConfiguredMethod, Method, Rule, Tuning};
use normed::weights::{AdapterCard, BaseCheck, load_adapter, save_adapter};
use serde_json::json;

#[allow(dead_code, reason = "not every test that includes this module needs it")]
mod parity_common;
#[allow(dead_code, reason = "not every test that includes this module needs it")]
mod tiny;
use parity_common::{assert_close, assert_steps_are_the_forward_pass, rows};

fn rule(method: impl Into<ConfiguredMethod>, towers: &[Tower]) -> Rule {
    Rule { towers: Some(towers.to_vec()), ..Rule::new(method) }
}

/// A model, its parameters and a batch for it.
struct Case {
    kind: &'static str,
    model: Box<dyn Model>,
    params: Parameters,
    batch: Batch,
}

fn cases() -> [Case; 2] {
    let miss = json!({
        "architectures": ["BlipForQuestionAnswering"],
        "vision_config": {
            "hidden_size": 12, "intermediate_size": 16, "num_hidden_layers": 2,
            "num_attention_heads": 3, "image_size": 8, "patch_size": 4,
        },
        "text_config": {
            "hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 2,
            "num_attention_heads": 2, "vocab_size": 50, "max_position_embeddings": 16,
            "bos_token_id": 1, "sep_token_id": 2, "pad_token_id": 0, "question_token_id": 3,
        },
    });
    let llava = json!({
        "architectures": ["LlavaForConditionalGeneration"],
        "vision_config": {
            "hidden_size": 12, "intermediate_size": 16, "num_hidden_layers": 3,
            "num_attention_heads": 3, "image_size": 8, "patch_size": 4,
        },
        "text_config": {
            "hidden_size": 8, "intermediate_size": 20, "num_hidden_layers": 2,
            "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 50,
            "head_dim": 4, "max_position_embeddings": 24,
        },
    });
    let (miss, _) = MissConfig::parse("test", &miss).unwrap();
    let (llava, _) = LlavaConfig::parse("test", &llava, Path::new("")).unwrap();
    let prompts = [vec![2, 7, 9, 40, 3], vec![2, 8, 3]];
    let with_picture = [vec![1, 5, IMAGE_TOKEN, 9], vec![1, IMAGE_TOKEN]];
    [case("MISS", &miss, &prompts), case("LLaVA", &llava, &with_picture)]
}

fn case(kind: &'static str, config: &dyn ModelConfig, prompts: &[Vec<u32>]) -> Case {
    let mut params = Parameters::new();
    let model = config.declare(&mut params);
    initialize(&mut params, 1);
    // Norms and attention otherwise than at their start, so that everything counts.
    for (id, p) in params.iter_mut() {
        for (i, x) in p.value_mut().data_mut().iter_mut().enumerate() {
            *x += 0.1 * ((id.index() * 31 + i) as f32).sin();
        }
    }
    let pixels = (0..prompts.len() * 3 * 64).map(|i| (i as f32 * 0.37).sin()).collect();
    let answers = rows(&[vec![9, 4], vec![9, 4, 7]], 0);
    let batch = Batch {
        images: Images::from_pixels(Tensor::new(&[prompts.len(), 3, 8, 8], pixels)),
        views: vec![1; prompts.len()],
        input_ids: rows(prompts, 0),
        labels: answers.ids.iter().map(|id| id + 1).collect(),
        target_count: answers.ids.len(),
        decoder_input_ids: answers,
        keys: vec![3, 4],
    };
    Case { kind, model, params, batch }
}

/// Each method, where it can stand in each of the models.
fn tunings(case: &Case) -> Vec<(String, Tuning)> {
    let towers: &[Tower] = match case.kind {
        "MISS" => &[Tower::Text, Tower::Decoder],
        _ => &[Tower::Vision, Tower::Decoder],
    };
    let text = if case.kind == "MISS" { towers } else { &[Tower::Decoder] };
    let everywhere = [Tower::Vision, Tower::Text, Tower::Decoder];
    let everywhere: Vec<_> =
        everywhere.into_iter().filter(|t| *t != Tower::Text || case.kind == "MISS").collect();
    let short = |method: Method| method.with("length", 3).unwrap();
    let small = || Method::ADAPTER.with("bottleneck", 5).unwrap();
    let rules = [
        ("prefix", rule(short(Method::PREFIX), towers)),
        ("p_tuning_v2", rule(short(Method::P_TUNING_V2), towers)),
        ("prompt", rule(short(Method::PROMPT), text)),
        ("adapter", rule(small(), &everywhere)),
        ("parallel adapter", rule(small().with("parallel", true).unwrap(), &everywhere)),
    ];
    rules.map(|(name, rule)| (format!("{} {name}", case.kind), Tuning::One(rule))).to_vec()
}

fn logits(case: &Case) -> Tensor {
    let mut g = Graph::inference(&case.params);
    case.model.forward(&mut g, &case.batch, Mode::Evaluate).unwrap().value
}

fn loss(case: &Case, recompute: Recompute, gradients: Option<&mut Gradients>) -> f64 {
    let mut g = Graph::training(&case.params).with_recompute(recompute);
    let logits = case.model.forward(&mut g, &case.batch, Mode::Evaluate).unwrap();
    let loss = ops::cross_entropy(&mut g, logits, &case.batch.labels, 0.0);
    if let Some(gradients) = gradients {
        g.backward(loss.output.gradient_slot(), Tensor::new(&[1], vec![1.0]), gradients);
    }
    loss.sum
}

/// Makes what was added otherwise than it starts.
fn stir(params: &mut Parameters) {
    for (id, p) in params.iter_mut().filter(|(_, p)| p.is_added()) {
        for (i, x) in p.value_mut().data_mut().iter_mut().enumerate() {
            *x += 0.2 * ((id.index() * 17 + i) as f32).cos();
        }
    }
}

#[test]
fn new_adapters_change_nothing_and_new_prefixes_do() {
    for mut case in cases() {
        let before = logits(&case);
        for (what, tuning) in tunings(&case) {
            tuning.apply(&mut case.params).unwrap();
            tuning.initialize(&mut case.params, 7);
            let after = logits(&case);
            if what.ends_with("adapter") {
                assert_close(&what, after.data(), before.data());
                stir(&mut case.params);
            }
            let moved =
                logits(&case).data().iter().zip(before.data()).any(|(a, b)| (a - b).abs() > 1e-3);
            assert!(moved, "{what} does nothing");
            case.params.unplug_all();
            assert_eq!(logits(&case).data(), before.data(), "{what} cannot be taken out");
        }
    }
}

#[test]
fn gradients_are_those_of_differences_whatever_is_computed_again() {
    for mut case in cases() {
        for (what, tuning) in tunings(&case) {
            tuning.apply(&mut case.params).unwrap();
            tuning.initialize(&mut case.params, 7);
            stir(&mut case.params);
            let mut gradients = Gradients::new();
            loss(&case, Recompute::None, Some(&mut gradients));
            let trained: Vec<ParamId> = case.params.trained().map(|(id, _)| id).collect();
            let of = |gradients: &Gradients, id| gradients.param(id).unwrap().data().to_vec();
            let scale = trained.iter().flat_map(|&id| of(&gradients, id));
            let scale = f64::from(scale.fold(0.0f32, |m, x| m.max(x.abs())));
            for &id in &trained {
                let analytic = of(&gradients, id);
                let n = analytic.len();
                for i in [0, n / 3, n - 1] {
                    let step = 1e-2f32;
                    let mut at = |delta: f32| {
                        let value = case.params.get_mut(id).value_mut().data_mut();
                        let before = value[i];
                        value[i] = before + delta;
                        let loss = loss(&case, Recompute::None, None);
                        case.params.get_mut(id).value_mut().data_mut()[i] = before;
                        loss
                    };
                    let numeric = (at(step) - at(-step)) / f64::from(2.0 * step);
                    let name = &case.params.get(id).name();
                    let off = (numeric - f64::from(analytic[i])).abs() / scale;
                    assert!(off < 1e-2, "{what}: {name}[{i}]: {} {numeric}", analytic[i]);
                }
            }
            for recompute in Recompute::ALL {
                let mut again = Gradients::new();
                loss(&case, recompute, Some(&mut again));
                for &id in &trained {
                    let what = format!("{what}, {recompute:?}: {}", case.params.get(id).name());
                    assert_close(&what, &of(&again, id), &of(&gradients, id));
                }
            }
            case.params.unplug_all();
        }
    }
}

#[test]
fn a_cache_begins_with_prefix_and_prompt() {
    for mut case in cases() {
        for (what, tuning) in tunings(&case) {
            tuning.apply(&mut case.params).unwrap();
            tuning.initialize(&mut case.params, 7);
            stir(&mut case.params);
            println!("{what}");
            assert_steps_are_the_forward_pass(&*case.model, &case.params, &case.batch);
            let wide = logits(&case);
            case.params.set_precision(Precision::Bf16);
            let narrow = logits(&case);
            case.params.set_precision(Precision::F32);
            let largest = wide.data().iter().fold(0.0f32, |m, x| m.max(x.abs()));
            let off = wide.data().iter().zip(narrow.data()).map(|(a, b)| (a - b).abs());
            assert!(off.fold(0.0, f32::max) < 0.1 * largest, "{what} in bf16");
            case.params.unplug_all();
        }
    }
}

#[test]
fn what_is_saved_is_loaded_to_the_bit() {
    let dir = tempfile::tempdir().unwrap();
    for mut case in cases() {
        for (what, tuning) in tunings(&case) {
            let place = dir.path().join(what.replace(' ', "_"));
            tuning.apply(&mut case.params).unwrap();
            tuning.initialize(&mut case.params, 7);
            stir(&mut case.params);
            let wanted = logits(&case);
            let card = AdapterCard {
                base: "somewhere/base",
                base_hash: "a hash",
                base_class: ["A", "b"],
                readme: "",
            };
            save_adapter(&place, &case.params, &card).unwrap();
            let added = case.params.iter().filter(|(_, p)| p.is_added()).count();
            case.params.unplug_all();
            let read = load_adapter(&place, &mut case.params, BaseCheck::Is("a hash")).unwrap();
            assert_eq!((read.set.len(), read.warnings.len()), (added, 0), "{what}");
            assert_eq!(logits(&case).data(), wanted.data(), "{what}");
            case.params.unplug_all();
            let error = load_adapter(&place, &mut case.params, BaseCheck::Is("other")).unwrap_err();
            assert!(error.to_string().contains("trained on the base"), "{error}");
            for (from, to) in [
                ("\"length\": 3", "\"length\": 4"),
                ("\"channels\": 5", "\"channels\": 99999999999"),
                (".weight\"", ".wait\""),
            ] {
                let path = place.join("adapter_config.json");
                let text = std::fs::read_to_string(&path).unwrap();
                if text.contains(from) {
                    std::fs::write(&path, text.replace(from, to)).unwrap();
                    let error =
                        load_adapter(&place, &mut case.params, BaseCheck::Skip).unwrap_err();
                    assert_eq!(error.exit_code(), 2, "{error}");
                    std::fs::write(&path, text).unwrap();
                }
            }
            assert!(case.params.iter().all(|(_, p)| !p.is_added()));
        }
    }
}

/// A run with each of them learns, and its adapter is what it tested.
#[test]
fn runs_train_added_parameters() {
    let dir = tempfile::tempdir().unwrap();
    for (i, tuning) in [
        "text.method = \"prefix\"\ndecoder.method = \"p_tuning_v2\"",
        "text.method = \"prompt\"\ndecoder = { method = [\"prompt\", \"lora\"], length = 4 }",
        "text.method = \"prefix\"\ndecoder.method = \"prompt\"",
        "method = \"adapter\"\nbottleneck = 4",
        "method = [\"adapter\", \"layer_norm\"]\nparallel = true",
    ]
    .into_iter()
    .enumerate()
    {
        tiny::make(dir.path(), tuning, "epochs = 2");
        let mut recipe = Recipe::open(&dir.path().join("recipe.toml"), &[]).unwrap();
        recipe.output = dir.path().join(format!("run{i}"));
        let outcome =
            run(&recipe, &RunOptions::default(), &mut |_| {}).unwrap().finished().unwrap();
        assert!(outcome.trained > 0);
        let mut loaded = recipe.open_base().unwrap();
        let hash = loaded.content_hash.clone();
        let adapter = recipe.output.join("adapter");
        let read = load_adapter(&adapter, &mut loaded.params, BaseCheck::Is(&hash)).unwrap();
        let elements: usize = read.set.iter().map(|&id| loaded.params.get(id).len()).sum();
        assert_eq!(elements, outcome.trained, "{tuning}");
    }
}
