//! Our LLaVA against transformers' `LlavaForConditionalGeneration`, on what
//! `reference/make_llava_goldens.py` wrote: a LLaMA and a Mistral under a CLIP each, under the old names
//! and the new ones.

mod parity_common;

use std::collections::BTreeMap;
use std::path::Path;

use normed::data::{Batch, IGNORE_INDEX, IMAGE_TOKEN, Images, QuestionRule, TextRule, Tokenizer};
use normed::models::{
    self, Layout, Llava, LlavaConfig, LoadedModel, Model, ModelConfig, SquareProcessor,
};
use normed::nn::Mode;
use normed::tensor::{Gradients, Graph, Module, Parameters, Precision, Tensor, Tower};
use normed::tuning::{Method, Rule, Tuning, find_method};
use normed::weights::{self, AdapterCard, BaseCheck, load_adapter, save_adapter};
use parity_common::{
    AdamW, Search, TOLERANCE, alone, assert_close, assert_reports, assert_steps,
    assert_steps_are_the_forward_pass, backward, floats, golden, rows, train_norms,
};
use safetensors::SafeTensors;
use serde::Deserialize;

const KINDS: [&str; 2] = ["llava_llama", "llava_mistral"];

#[derive(Deserialize)]
struct Record {
    examples: Vec<Text>,
    losses: Vec<f64>,
    adamw: AdamW,
    max_new_tokens: usize,
    searches: Vec<Search>,
}

/// The image is null in a prompt.
#[derive(Deserialize)]
struct Text {
    prompt: Vec<Option<u32>>,
    answer: Vec<u32>,
}

/// The golden files, and our model with their weights.
struct Golden {
    file: Vec<u8>,
    record: Record,
    model: Llava,
    params: Parameters,
    batch: Batch,
}

/// The model in `dir`.
fn open(dir: &Path) -> normed::Result<(Llava, Parameters)> {
    let text = std::fs::read_to_string(dir.join("config.json")).unwrap();
    let json = serde_json::from_str(&text).unwrap();
    assert!(LlavaConfig::matches(&json));
    let (config, layout) = LlavaConfig::parse("config.json", &json, dir)?;
    let mut params = Parameters::new();
    let model = Llava::declare(&config, &mut params);
    let checkpoint = config.open_weights(dir, layout)?;
    weights::load_parameters(&mut params, &checkpoint, |name| config.stored_name(layout, name))?;
    params.set_precision(Precision::F32);
    Ok((model, params))
}

fn read(kind: &str) -> Golden {
    let dir = golden(kind);
    let record: Record =
        serde_json::from_slice(&std::fs::read(dir.join("golden.json")).unwrap()).unwrap();
    let file = std::fs::read(dir.join("golden.safetensors")).unwrap();
    let (model, params) = open(&dir).unwrap();
    let tensors = SafeTensors::deserialize(&file).unwrap();
    let batch = batch(&tensors, &record.examples, model.config());
    Golden { file, record, model, params, batch }
}

/// All examples in one padded batch: the last token of a prompt opens what goes into the decoder.
fn batch(tensors: &SafeTensors<'_>, examples: &[Text], config: &LlavaConfig) -> Batch {
    let TextParts { prompts, inputs, labels } = parts(examples);
    let size = config.vision_config.image_size;
    let pixels = (0..prompts.len())
        .flat_map(|i| floats(tensors, &format!("example.{i}.pixel_values")).into_data())
        .collect();
    Batch {
        images: Images::from_pixels(Tensor::new(&[prompts.len(), 3, size, size], pixels)),
        views: vec![1; prompts.len()],
        input_ids: rows(&prompts, 0),
        decoder_input_ids: rows(&inputs, 0),
        labels: rows(&labels, IGNORE_INDEX).ids,
        target_count: labels.iter().map(Vec::len).sum(),
        keys: (0..prompts.len() as u64).collect(),
    }
}

#[derive(Default)]
struct TextParts {
    prompts: Vec<Vec<u32>>,
    inputs: Vec<Vec<u32>>,
    labels: Vec<Vec<u32>>,
}

fn parts(examples: &[Text]) -> TextParts {
    let mut parts = TextParts::default();
    for Text { prompt, answer } in examples {
        let mut prompt: Vec<u32> = prompt.iter().map(|id| id.unwrap_or(IMAGE_TOKEN)).collect();
        let last = prompt.pop().unwrap();
        parts.prompts.push(prompt);
        parts.inputs.push([&[last], &answer[..]].concat());
        parts.labels.push([&answer[..], &[2]].concat());
    }
    parts
}

/// Long texts with a penalty on what was said, the prompt counted, of one image and of two.
#[test]
fn reports_are_transformers() {
    let Golden { model, params, batch, .. } = &read(KINDS[0]);
    assert_reports(
        "report_llava.json",
        model,
        params,
        batch,
        &model.config().text_config.eos_token_id,
    );
}

#[test]
fn logits_are_transformers() {
    for kind in KINDS {
        let golden = read(kind);
        let tensors = SafeTensors::deserialize(&golden.file).unwrap();
        let batch = &golden.batch;
        let mut g = Graph::inference(&golden.params);
        let ours = golden.model.forward(&mut g, batch, Mode::Evaluate).unwrap();
        let (width, vocab_size) = (batch.decoder_input_ids.width, ours.value.width());
        assert_eq!(ours.shape(), [batch.keys.len(), width, vocab_size]);
        for (b, &length) in batch.decoder_input_ids.lengths.iter().enumerate() {
            let theirs = floats(&tensors, &format!("example.{b}.logits"));
            assert_close(
                &format!("{kind}: logits of example {b}"),
                &ours.value.data()[b * width * vocab_size..][..length * vocab_size],
                theirs.data(),
            );
        }
    }
}

/// Prefixes, with a projection and without, and prompts as peft computes them on the language model
/// (reference/make_prefix_goldens.py).
#[test]
fn prefixes_and_prompts_are_pefts() {
    for (kind, [form, method]) in KINDS.iter().flat_map(|kind| {
        let forms = [["projected", "prefix"], ["flat", "p_tuning_v2"], ["prompt", "prompt"]];
        forms.map(|form| (kind, form))
    }) {
        let mut golden = read(kind);
        let file = std::fs::read(self::golden(kind).join("prefix.safetensors")).unwrap();
        let theirs = SafeTensors::deserialize(&file).unwrap();
        let method = find_method(method).unwrap();
        let short = method.with("length", 3).unwrap();
        let rule = Rule { towers: Some(vec![Tower::Decoder]), ..Rule::new(short) };
        Tuning::One(rule).apply(&mut golden.params).unwrap();
        let blocks = golden.model.config().text_config.num_hidden_layers;
        // The part of peft's tensor that is the parameter of this name.
        let part = |of: &str, name: &str| -> Tensor {
            let (_, name) = name.split_once("_encoder.decoder.").unwrap();
            let pieces: Vec<_> = name.split('.').collect();
            let block = pieces.iter().rev().nth(1).and_then(|i| i.parse::<usize>().ok());
            let tensor = |name: &str| floats(&theirs, &format!("{form}.{of}.{name}"));
            match (pieces.as_slice(), block) {
                (["transform", "2", _, leaf], Some(i)) => {
                    let whole = tensor(&format!("transform.2.{leaf}"));
                    let rows = whole.shape()[0] / blocks;
                    let each = whole.len() / blocks;
                    let mut shape = whole.shape().to_vec();
                    shape[0] = rows;
                    Tensor::new(&shape, whole.data()[i * each..][..each].to_vec())
                }
                (["embedding", _, "weight"], Some(i)) => {
                    let whole = tensor("embedding.weight");
                    let width = whole.width() / blocks;
                    let rows = whole.data().chunks_exact(whole.width());
                    let own = rows.flat_map(|row| &row[i * width..][..width]).copied().collect();
                    Tensor::new(&[3, width], own)
                }
                _ => tensor(name),
            }
        };
        let added: Vec<_> =
            golden.params.trained().map(|(id, p)| (id, p.name().to_owned())).collect();
        for (id, name) in &added {
            golden.params.get_mut(*id).set(part("value", name));
        }
        let Golden { model, params, batch, .. } = &golden;
        let mut gradients = Gradients::new();
        let count = batch.target_count as f64;
        let loss = count * backward(model, params, batch, 0.0, &mut gradients);
        let want = f64::from(floats(&theirs, &format!("{form}.loss")).data()[0]);
        assert!((loss / want - 1.0).abs() < 1e-5, "{kind} {form}: {loss} {want}");
        let tensors = match form {
            "flat" => blocks,
            "prompt" => 1,
            _ => 3 + 2 * blocks,
        };
        assert_eq!(added.len(), tensors);
        for (id, name) in &added {
            let ours = gradients.param(*id).unwrap().data().iter();
            let ours: Vec<_> = ours.map(|x| x * count as f32).collect();
            assert_close(&format!("{kind} {form} {name}"), &ours, part("grad", name).data());
        }
        assert_steps_are_the_forward_pass(model, params, batch);

        // In PEFT's form, which keeps what the projection made, and of which reference/ made sure that
        // peft computes the same.
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(kind).join(form);
        let card = AdapterCard { base: "x", base_hash: "h", base_class: ["", ""], readme: "" };
        save_adapter(&dir, params, &card).unwrap();
        let text = std::fs::read_to_string(dir.join("adapter_config.json")).unwrap();
        let peft_type = if form == "prompt" { "PROMPT_TUNING" } else { "PREFIX_TUNING" };
        assert!(text.contains(&format!("\"{peft_type}\"")), "{text}");
        if form != "projected" {
            let path = dir.join("adapter_model.safetensors");
            let saved = weights::read_safetensors(&path).unwrap();
            let saved = saved.tensors["prompt_embeddings"].to_tensor().unwrap();
            let want = floats(&theirs, &format!("{form}.value.embedding.weight"));
            assert_eq!((saved.shape(), saved.data()), (want.shape(), want.data()));
        }
        let mut again = self::read(kind).params;
        load_adapter(&dir, &mut again, BaseCheck::Is("h")).unwrap();
        let again = backward(model, &again, batch, 0.0, &mut Gradients::new());
        assert!((count * again / loss - 1.0).abs() < 1e-5, "{kind} {form}: {again} {loss}");
    }
}

#[test]
fn loss_and_norm_gradients_are_transformers() {
    for kind in KINDS {
        let mut golden = read(kind);
        for towers in [&Tower::ALL[..], &[Tower::Vision], &[Tower::Decoder]] {
            train_norms(&mut golden.params, towers);
            let Golden { record, model, params, batch, .. } = &mut golden;
            let mut gradients = Gradients::new();
            let loss = backward(model, params, batch, 0.0, &mut gradients);
            let theirs = record.losses[0];
            assert!((loss - theirs).abs() <= TOLERANCE * theirs, "loss {loss}, not {theirs}");
            let tensors = SafeTensors::deserialize(&golden.file).unwrap();
            for (id, p) in golden.params.iter() {
                let (ours, name) = (gradients.param(id), format!("grad.{}", p.name()));
                assert_eq!(ours.is_some(), p.is_trained(), "{towers:?} trained: {}", p.name());
                // What is marked as inert has no gradient in transformers either.
                let reached = tensors.tensor(&name).is_ok();
                let norm = matches!(p.role().module, Module::Norm(_));
                assert_eq!(reached, norm && p.inert_reason().is_none(), "{}", p.name());
                if let Some(ours) = ours {
                    assert_close(p.name(), ours.data(), floats(&tensors, &name).data());
                }
            }
        }
    }
}

#[test]
fn training_steps_are_torchs() {
    for kind in KINDS {
        let Golden { record, model, mut params, batch, .. } = read(kind);
        train_norms(&mut params, &Tower::ALL);
        assert_steps(&model, &mut params, &batch, (&record.adamw, 0.0), &record.losses);
    }
}

#[test]
fn generations_are_transformers_in_any_batch() {
    for kind in KINDS {
        let Golden { record, model, params, batch, .. } = read(kind);
        let ends = model.config().text_config.eos_token_id.clone();
        for search in &record.searches {
            let how = (search, record.max_new_tokens);
            let all = parity_common::answers(&model, &params, &batch, how, &ends);
            assert_eq!(all, search.answers, "{kind}, {} beams", search.num_beams);
            for (i, theirs) in search.answers.iter().enumerate() {
                let one = alone(&batch, i);
                let ours = parity_common::answers(&model, &params, &one, how, &ends);
                assert_eq!(ours, std::slice::from_ref(theirs), "{kind}, example {i}");
            }
        }
    }
}

#[test]
fn steps_are_the_forward_pass() {
    for kind in KINDS {
        let golden = read(kind);
        assert_steps_are_the_forward_pass(&golden.model, &golden.params, &golden.batch);
    }
}

/// What is saved, under names that every version of transformers reads, is the same model; what it would
/// write of itself as an adapter goes with it. Both are left for Python to check.
#[test]
fn what_is_saved_is_the_same_model() {
    for kind in KINDS {
        let Golden { model, params, batch, .. } = read(kind);
        let logits = |model: &Llava, params: &Parameters| {
            let mut g = Graph::inference(params);
            model.forward(&mut g, &batch, Mode::Evaluate).unwrap().value.into_data()
        };
        let wanted = logits(&model, &params);
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(kind);
        let config = model.config().clone();
        let mut loaded = LoadedModel {
            text_rule: TextRule::Question(QuestionRule {
                question_start: 1,
                decoder_start: 1,
                end: 2,
                pad: 0,
                max_question_tokens: 8,
                max_answer_tokens: 8,
            }),
            config: Box::new(config),
            model: Box::new(model),
            params,
            tokenizer: Tokenizer::from_words(Path::new("words"), "[UNK]\n").unwrap().into(),
            image_processor: std::sync::Arc::new(SquareProcessor {
                size: 20,
                ..SquareProcessor::blip()
            }),
            layout: Layout::HuggingFace,
            dir: dir.clone(),
            content_hash: String::new().into(),
        };
        models::save(&loaded, &dir, true).unwrap();
        let (again, params) = open(&dir).unwrap();
        assert_eq!(logits(&again, &params), wanted);
        let saved = weights::read_safetensors(&dir.join("model.safetensors")).unwrap();
        let old = ["language_model.", "vision_tower.vision_model.", "multi_modal_projector."];
        assert!(saved.tensors.keys().all(|name| old.iter().any(|p| name.starts_with(p))));

        Tuning::new(Method::LAYER_NORM).apply(&mut loaded.params).unwrap();
        for (_, p) in loaded.params.iter_mut().filter(|(_, p)| p.is_trained()) {
            p.value_mut().data_mut().iter_mut().for_each(|x| *x *= 1.25);
        }
        let card = AdapterCard {
            base: "base",
            base_hash: "",
            base_class: loaded.config.transformers_class(),
            readme: "",
        };
        let adapter = dir.join("adapter");
        save_adapter(&adapter, &loaded.params, &card).unwrap();
        let (tuned, mut params) = open(&dir).unwrap();
        load_adapter(&adapter, &mut params, BaseCheck::Skip).unwrap();
        assert_eq!(logits(&tuned, &params), logits(&tuned, &loaded.params));
        assert_ne!(logits(&tuned, &params), wanted);
    }
}

/// LLaVA's own layout: the names of its code, its config's keys, the image encoder in a directory of its
/// own.
#[test]
fn llavas_own_layout_is_the_same_model() {
    let golden = read("llava_mistral");
    for tower_inside in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        own_layout(dir.path(), tower_inside);
        let (model, params) = open(dir.path()).unwrap();
        let logits = |model: &Llava, params: &Parameters| {
            let mut g = Graph::inference(params);
            model.forward(&mut g, &golden.batch, Mode::Evaluate).unwrap().value.into_data()
        };
        assert_eq!(logits(&model, &params), logits(&golden.model, &golden.params));
    }
}

/// Writes the Mistral one as LLaVA's own code would have, with zeros for the biases that it always has.
fn own_layout(dir: &Path, tower_inside: bool) {
    let checkpoint = weights::read_safetensors(&golden("llava_mistral/model.safetensors")).unwrap();
    let (mut own, mut tower) = (BTreeMap::new(), BTreeMap::new());
    for (name, stored) in &checkpoint.tensors {
        let value = stored.to_tensor().unwrap();
        if let Some(rest) = name.strip_prefix("model.vision_tower.") {
            if tower_inside {
                own.insert(format!("model.vision_tower.vision_tower.vision_model.{rest}"), value);
            } else {
                tower.insert(format!("vision_model.{rest}"), value);
            }
            continue;
        }
        let name = name
            .replace("model.language_model.", "model.")
            .replace("model.multi_modal_projector.linear_1", "model.mm_projector.0")
            .replace("model.multi_modal_projector.linear_2", "model.mm_projector.2");
        own.insert(name, value);
    }
    for layer in ["0", "2"] {
        own.insert(format!("model.mm_projector.{layer}.bias"), Tensor::zeros(&[32]));
    }
    own.insert("model.layers.0.self_attn.rotary_emb.inv_freq".into(), Tensor::zeros(&[6]));
    tower.insert("vision_model.embeddings.position_ids".into(), Tensor::zeros(&[1, 5]));
    tower.insert("text_model.final_layer_norm.weight".into(), Tensor::zeros(&[8]));
    let write = |dir: &Path, tensors: &BTreeMap<String, Tensor>| {
        let list: Vec<_> = tensors.iter().map(|(name, t)| (name.as_str(), t)).collect();
        let path = dir.join("model.safetensors");
        weights::write_safetensors(&path, &list, Precision::F32, &BTreeMap::new()).unwrap();
    };
    write(dir, &own);
    let clip = dir.join("clip-tiny");
    std::fs::create_dir(&clip).unwrap();
    if !tower_inside {
        write(&clip, &tower);
    }
    let text = std::fs::read_to_string(golden("llava_mistral/config.json")).unwrap();
    let hf: serde_json::Value = serde_json::from_str(&text).unwrap();
    let vision = serde_json::json!({ "model_type": "clip", "vision_config": hf["vision_config"] });
    std::fs::write(clip.join("config.json"), vision.to_string()).unwrap();
    let mut config = hf["text_config"].clone();
    for (key, value) in [
        ("architectures", serde_json::json!(["LlavaMistralForCausalLM"])),
        ("model_type", "llava_mistral".into()),
        ("mm_vision_tower", "someone/clip-tiny".into()),
        ("mm_projector_type", "mlp2x_gelu".into()),
        ("mm_hidden_size", 32.into()),
        ("mm_vision_select_layer", (-1).into()),
        ("mm_vision_select_feature", "cls_patch".into()),
    ] {
        config[key] = value;
    }
    std::fs::write(dir.join("config.json"), config.to_string()).unwrap();
}

/// What reference/make_llava_own_golden.py wrote: 1.0's layout in shards of `torch.save`, with one linear
/// layer between the towers and the image encoder in a directory of its own.
#[test]
fn logits_of_llavas_own_shards_are_transformers() {
    let dir = golden("llava_own");
    let (model, params) = open(&dir).unwrap();
    #[derive(Deserialize)]
    struct Examples {
        examples: Vec<Text>,
    }
    let text = std::fs::read(dir.join("golden.json")).unwrap();
    let Examples { examples } = serde_json::from_slice(&text).unwrap();
    let file = std::fs::read(dir.join("golden.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&file).unwrap();
    let batch = batch(&tensors, &examples, model.config());
    let mut g = Graph::inference(&params);
    let ours = model.forward(&mut g, &batch, Mode::Evaluate).unwrap().value;
    let (width, vocab_size) = (batch.decoder_input_ids.width, ours.width());
    for (b, &length) in batch.decoder_input_ids.lengths.iter().enumerate() {
        let theirs = floats(&tensors, &format!("example.{b}.logits"));
        let ours = &ours.data()[b * width * vocab_size..][..length * vocab_size];
        assert_close(&format!("logits of example {b}"), ours, theirs.data());
    }
}

/// The same model with its image encoder in a sub-folder that the config names by a path.
#[test]
fn an_image_encoder_in_a_sub_folder_is_the_same() {
    let golden = golden("llava_own");
    let root = tempfile::tempdir().unwrap();
    let dir = root.path();
    let copy = |from: &Path, to: &Path| {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
            if entry.path().is_file() {
                std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
            }
        }
    };
    copy(&golden, dir);
    copy(&golden.join("clip-tiny"), &dir.join("vit/clip_tiny_8"));
    let config = std::fs::read_to_string(dir.join("config.json")).unwrap();
    let config = config.replace("someone/clip-tiny", "./vit/clip_tiny_8");
    std::fs::write(dir.join("config.json"), config).unwrap();
    let (_, there) = open(&golden).unwrap();
    let (_, here) = open(dir).unwrap();
    for ((_, a), (_, b)) in there.iter().zip(here.iter()) {
        assert_eq!((a.name(), a.value().data()), (b.name(), b.value().data()));
    }
}
