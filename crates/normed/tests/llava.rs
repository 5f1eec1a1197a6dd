//! A small LLaVA from a recipe to its answers: created, trained further, tuned, quantized, evaluated; and errors in
//! its files and questions.

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use normed::data::{Dataset, IGNORE_INDEX, TemplateName};
use normed::metrics::Prediction;
use normed::models::{self, GenerationConfig, LoadOverrides, LoadedModel, quantize};
use normed::nn::Mode;
use normed::ops::log_softmax;
use normed::recipe::Recipe;
use normed::tensor::{Graph, Precision, Quantization, Tower};
use normed::train::{Evaluation, Outcome, RunOptions, plan, run};
use normed::weights::{self, BaseCheck, load_adapter};
use serde_json::{Value, json};

mod new_llava;
#[allow(dead_code, reason = "not every test that includes this module needs it")]
mod tiny;

fn recipe(root: &Path, name: &str, settings: &[&str]) -> Recipe {
    let settings: Vec<_> = settings.iter().map(|s| (*s).to_owned()).collect();
    Recipe::open(&root.join(name), &settings).unwrap()
}

/// Runs the recipe `name` in `root/output`.
fn follow(root: &Path, name: &str, settings: &[&str], output: &str) -> Outcome {
    let recipe = Recipe { output: root.join(output), ..recipe(root, name, settings) };
    let options = RunOptions { test: true, ..RunOptions::default() };
    run(&recipe, &options, &mut |_| {}).unwrap().finished().unwrap()
}

fn questions(root: &Path) -> Arc<dyn Dataset> {
    recipe(root, "make.toml", &[]).data.open().unwrap().dataset
}

/// The answers to the first questions.
fn answers(
    root: &Path,
    loaded: &LoadedModel,
    rule: &GenerationConfig,
    batch_size: usize,
) -> Vec<Prediction> {
    let indices: Vec<usize> = (0..10).collect();
    let evaluation = Evaluation {
        loaded,
        collator: &Arc::new(loaded.collator()),
        dataset: &questions(root),
        indices: &indices,
        batch_size,
    };
    evaluation.predict(rule, &mut |_| ControlFlow::Continue(())).unwrap().finished().unwrap()
}

#[test]
fn a_llava_is_created_trained_further_and_tuned() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    new_llava::make_llava(root);
    let planned = plan(&recipe(root, "make.toml", &[])).unwrap();
    let outcome = follow(root, "make.toml", &[], "made");
    assert_eq!((planned.trained, planned.total), (outcome.trained, outcome.total));
    // Everything is trained except the layers above the feature layer and the key biases.
    assert!(outcome.trained < outcome.total && outcome.trained > outcome.total * 3 / 4);
    assert!(outcome.test.unwrap().before.is_none());
    let made = models::load(&root.join("made/model"), None).unwrap();
    assert_eq!((made.tokenizer.len(), made.config.image_size()), (701, Some(16)));
    let config: Value =
        serde_json::from_slice(&fs::read(root.join("made/model/config.json")).unwrap()).unwrap();
    assert_eq!(config["architectures"][0], "LlavaForConditionalGeneration");
    assert_eq!(
        (&config["image_token_index"], &config["vision_feature_layer"]),
        (&json!(700), &json!(-2))
    );

    // Training continues from the same weights, and changes every tower.
    let further = recipe(root, "further.toml", &[]);
    let begun = further.open_base().unwrap();
    assert_eq!(begun.content_hash, made.content_hash);
    assert_eq!(begun.text_rule, made.text_rule);
    let total = outcome.total;
    let outcome = follow(root, "further.toml", &[], "further");
    assert_eq!(outcome.total, total);
    let ended = models::load(&root.join("further/model"), None).unwrap();
    for tower in [Tower::Vision, Tower::Projector, Tower::Decoder] {
        let moved = made.params.iter().zip(ended.params.iter()).any(|((_, a), (_, b))| {
            a.role().tower == tower && a.value().data() != b.value().data()
        });
        assert!(moved, "{tower:?}");
    }
    // The run says how many of the changed values are changed in the file.
    let events = fs::read_to_string(root.join("further/events.jsonl")).unwrap();
    let events = events.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let saved = events.into_iter().find(|event| event["event"] == "model_saved").unwrap();
    let differ = made.params.iter().zip(ended.params.iter()).map(|((_, a), (_, b))| {
        a.value().data().iter().zip(b.value().data()).filter(|(a, b)| a != b).count()
    });
    let differ = differ.sum::<usize>();
    assert!(differ > total / 2 && differ <= total);
    assert_eq!(saved["values"], json!({ "changed": differ, "surviving": differ }));
    assert_eq!(saved["precision"], "f32");

    let outcome = follow(root, "tune.toml", &[], "tuned");
    let plan = plan(&recipe(root, "tune.toml", &[])).unwrap();
    assert_eq!(plan.trained, outcome.trained);
    // CLIP: a norm before two blocks with two norms, weight and bias. Language model: two blocks with two, and one.
    assert_eq!(outcome.trained, (1 + 2 * 2) * 2 * 16 + (2 * 2 + 1) * 16);
    assert!(root.join("tuned/adapter/adapter_model.safetensors").is_file());
}

/// With another image size an image takes another number of tokens, in a plan as in a run.
#[test]
fn an_image_takes_the_tokens_of_its_size() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    new_llava::make_llava(root);
    let made = recipe(root, "make.toml", &[]).open_base().unwrap();
    models::save(&made, &root.join("model"), false).unwrap();
    for (size, tokens) in [(None, 4), (Some(24), 9)] {
        let loaded = models::load(&root.join("model"), size).unwrap();
        let planned = models::load_without_weights(&root.join("model"), size).unwrap();
        for processor in [&loaded.image_processor, &planned.image_processor] {
            assert_eq!(processor.num_tokens(processor.largest_size()), tokens);
        }
        let (collator, example) = (loaded.collator(), questions(root).get(0).unwrap());
        let tokenized = collator.tokenize(&example).unwrap();
        let words = tokenized.question.len() - 1 + tokenized.answer.unwrap().len() + 1;
        assert_eq!(collator.length(&example).unwrap(), words + tokens);
        let batch = collator.batch(&[collator.prepare(&example).unwrap()], 0);
        let mut g = Graph::inference(&loaded.params);
        assert!(loaded.model.forward(&mut g, &batch, Mode::Evaluate).is_ok());
    }
}

/// `nll` covers the answer's tokens and the end token. Neither it nor an answer depends on the batch, and another
/// template changes both.
#[test]
fn answers_do_not_depend_on_the_batch_but_on_the_template() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    new_llava::make_llava(root);
    follow(root, "make.toml", &[], "made");
    follow(root, "tune.toml", &[], "tuned");
    let tuned = |template| {
        let asked = LoadOverrides { template, ..LoadOverrides::default() };
        let mut loaded = models::load(&root.join("made/model"), asked).unwrap();
        let base = BaseCheck::Is(&loaded.content_hash);
        load_adapter(&root.join("tuned/adapter"), &mut loaded.params, base).unwrap();
        loaded
    };
    let loaded = tuned(None);
    let drawn = GenerationConfig { temperature: 1.0, top_p: 0.9, ..GenerationConfig::default() };
    for rule in
        [GenerationConfig::default(), GenerationConfig { num_beams: 3, ..drawn.clone() }, drawn]
    {
        let rule = GenerationConfig {
            temperature: if rule.num_beams > 1 { 0.0 } else { rule.temperature },
            ..rule
        };
        let together = answers(root, &loaded, &rule, 10);
        for (a, b) in together.iter().zip(answers(root, &loaded, &rule, 1)) {
            assert_eq!((&a.id, &a.prediction), (&b.id, &b.prediction), "{rule:?}");
            assert!((a.target.nll - b.target.nll).abs() < 1e-4);
        }
        assert_eq!(together, answers(root, &loaded, &rule, 10));
    }

    let collator = loaded.collator();
    let data = questions(root);
    for (i, prediction) in
        answers(root, &loaded, &GenerationConfig::default(), 4).iter().enumerate()
    {
        let prepared = collator.prepare(&data.get(i).unwrap()).unwrap();
        let batch = collator.batch(std::slice::from_ref(&prepared), 0);
        assert_eq!(batch.labels.last(), Some(&loaded.text_rule.end_token()));
        assert!(!batch.labels.contains(&IGNORE_INDEX));
        let mut g = Graph::inference(&loaded.params);
        let mut logits = loaded.model.forward(&mut g, &batch, Mode::Evaluate).unwrap().value;
        let width = logits.width();
        let rows = logits.data_mut().chunks_mut(width).zip(&batch.labels);
        let nll = rows.map(|(row, &label)| {
            log_softmax(row);
            -f64::from(row[label as usize])
        });
        assert!((nll.sum::<f64>() - prediction.target.nll).abs() < 1e-4);
        assert_eq!(
            prediction.target.num_target_tokens,
            prepared.answer.as_ref().unwrap().len() + 1
        );
    }

    let rule = GenerationConfig::default();
    let own = answers(root, &loaded, &rule, 10);
    for template in [TemplateName::MistralInstruct, TemplateName::VicunaV1, TemplateName::Simple] {
        let other = answers(root, &tuned(Some(template)), &rule, 10);
        let same = own.iter().zip(&other).all(|(a, b)| a.target.nll == b.target.nll);
        // The default template of a Mistral.
        assert_eq!(same, template == TemplateName::MistralInstruct, "{template:?}");
    }
}

/// Writes the model into `dir` as LLaVA's own code does: with its names and keys, in two shards, and with the image
/// encoder in a directory of its own.
fn own_layout(made: &LoadedModel, dir: &Path) {
    let clip = dir.join("clip-tiny");
    fs::create_dir_all(&clip).unwrap();
    let config = models::read_config(&made.dir).unwrap();
    let (mut own, mut tower) = (Vec::new(), Vec::new());
    for (_, p) in made.params.iter() {
        let saved = made.config.saved_name(p.name());
        let rename = |from: &str, to: &str| Some(format!("{to}{}", saved.strip_prefix(from)?));
        if let Some(name) = rename("vision_tower.", "") {
            tower.push((name, p.value()));
            continue;
        }
        let name = rename("language_model.lm_head.", "lm_head.")
            .or_else(|| rename("language_model.", ""))
            .or_else(|| rename("multi_modal_projector.linear_1.", "model.mm_projector.0."))
            .or_else(|| rename("multi_modal_projector.linear_2.", "model.mm_projector.2."));
        own.push((name.unwrap(), p.value()));
    }
    let write = |path: &Path, tensors: &[(String, &normed::tensor::Tensor)]| {
        let list: Vec<_> = tensors.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        weights::write_safetensors(path, &list, Precision::F32, &BTreeMap::new()).unwrap();
    };
    write(&clip.join("model.safetensors"), &tower);
    let vision = json!({ "model_type": "clip", "vision_config": config["vision_config"] });
    fs::write(clip.join("config.json"), vision.to_string()).unwrap();
    let mut map = serde_json::Map::new();
    let half = own.len() / 2;
    for (file, part) in [("one.safetensors", &own[..half]), ("two.safetensors", &own[half..])] {
        write(&dir.join(file), part);
        map.extend(part.iter().map(|(name, _)| (name.clone(), file.into())));
    }
    let index = json!({ "metadata": {}, "weight_map": map });
    fs::write(dir.join("model.safetensors.index.json"), index.to_string()).unwrap();
    let mut text = config["text_config"].clone();
    text["architectures"] = json!(["LlavaMistralForCausalLM"]);
    text["model_type"] = json!("llava_mistral");
    text["mm_vision_tower"] = json!("someone/clip-tiny");
    text["mm_projector_type"] = json!("mlp2x_gelu");
    text["image_aspect_ratio"] = json!("pad");
    fs::write(dir.join("config.json"), text.to_string()).unwrap();
    made.tokenizer.save(dir).unwrap();
}

/// A model in LLaVA-Med's own layout, which Hugging Face's cannot express, is quantized in the same layout, and the
/// result does not need the original directory.
#[test]
fn a_model_in_llavas_own_layout_is_quantized_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    new_llava::make_llava(root);
    follow(root, "make.toml", &[], "made");
    let made = models::load(&root.join("made/model"), None).unwrap();
    own_layout(&made, &root.join("own"));
    let own = models::load(&root.join("own"), None).unwrap();
    let likelihoods = |loaded: &LoadedModel| -> Vec<f64> {
        let rule = GenerationConfig { max_new_tokens: 2, ..GenerationConfig::default() };
        answers(root, loaded, &rule, 10).iter().map(|p| p.target.nll).collect()
    };
    let wanted = likelihoods(&own);
    for to in Quantization::ALL {
        let output = root.join("moved").join(to.name());
        fs::create_dir_all(root.join("moved")).unwrap();
        let written = quantize(&root.join("own"), to, &output, &mut |_, _| {}).unwrap();
        assert_eq!(written.matrices, 3 * 6 + 2 + 2 * 7);
        let quantized = models::load(&output, None).unwrap();
        assert_eq!(
            (quantized.layout, format!("{:?}", quantized.image_processor)),
            (own.layout, format!("{:?}", own.image_processor))
        );
        assert_eq!(quantized.text_rule, own.text_rule);
        for (a, b) in likelihoods(&quantized).iter().zip(&wanted) {
            assert!((a - b).abs() < 0.3 * b, "{a} for {b}");
        }
    }
    // A run that would have to save such a model whole says so before it begins.
    let further = recipe(root, "further.toml", &[&format!("init.from={:?}", root.join("own"))]);
    for error in [plan(&further).err(), further.open_base().err()] {
        assert!(error.unwrap().to_string().contains("no token stands for an image"));
    }
}

/// What is wrong with a checkpoint or a question is said, with the file or the example and a remedy.
#[test]
fn what_is_wrong_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    new_llava::make_llava(root);
    follow(root, "make.toml", &[], "made");
    let made = models::load(&root.join("made/model"), None).unwrap();
    let own = root.join("own");
    own_layout(&made, &own);
    let refused = |spoil: &dyn Fn(), causes: &[&str]| {
        own_layout(&made, &own);
        spoil();
        let error = models::load(&own, None).err().unwrap_or_else(|| panic!("{causes:?}"));
        assert_eq!(error.exit_code(), 2, "{error}");
        let error = error.to_string();
        assert!(error.contains("hint: "), "no remedy: {error}");
        causes.iter().for_each(|cause| assert!(error.contains(cause), "{error}"));
    };
    let two = own.join("two.safetensors");
    let config = |key: &str, value: Value| {
        let mut json = models::read_config(&own).unwrap();
        json[key] = value;
        fs::write(own.join("config.json"), json.to_string()).unwrap();
    };
    refused(&|| fs::remove_file(&two).unwrap(), &["two.safetensors: no such file", "download"]);
    let cut = || {
        let bytes = fs::read(&two).unwrap();
        fs::write(&two, &bytes[..bytes.len() - 10]).unwrap();
    };
    refused(
        &cut,
        &["two.safetensors", "after the end of the file", "copy or download the file again"],
    );
    let integers = || {
        let bytes = fs::read(&two).unwrap();
        let length = 8 + u64::from_le_bytes(*bytes.first_chunk().unwrap()) as usize;
        let header = String::from_utf8(bytes[8..length].to_vec()).unwrap();
        let header = header.replacen("\"F32\"", "\"I32\"", 1);
        fs::write(&two, [&bytes[..8], header.as_bytes(), &bytes[length..]].concat()).unwrap();
    };
    refused(&integers, &["of a different shape or type", "of type I32"]);
    refused(
        &|| fs::remove_dir_all(own.join("clip-tiny")).unwrap(),
        &["found no image encoder someone/clip-tiny", "normed fetch someone/clip-tiny --output"],
    );
    // Ids beyond the table; a padded one is as it should be.
    refused(&|| config("vocab_size", json!(700)), &["701 tokens, the model's table 700 rows"]);
    assert!(made.tokenizer.len() == 701);

    // Prompt and answer share the positions.
    let settings = &["generate.max_new_tokens=400"];
    let tune = Recipe { output: root.join("many"), ..recipe(root, "tune.toml", settings) };
    let error = run(&tune, &RunOptions::default(), &mut |_| {}).err().unwrap();
    assert_eq!((error.exit_code(), error.place()), (2, "generate.max_new_tokens"));
    for part in ["400 tokens are more than the model's 320 positions leave", "fit every row"] {
        assert!(error.to_string().contains(part), "{error}");
    }

    // Nothing is truncated, and an image never is: a text that is too long is an error, in a run and in an answer.
    let long = "is it bright ".repeat(160);
    let rows = fs::read_to_string(root.join("data.jsonl")).unwrap();
    fs::write(root.join("data.jsonl"), rows.replacen("Is it bright?", &long, 1)).unwrap();
    let tune = Recipe { output: root.join("long"), ..recipe(root, "tune.toml", &[]) };
    let error = run(&tune, &RunOptions::default(), &mut |_| {}).err().unwrap();
    assert_eq!(error.exit_code(), 2);
    let error = error.to_string();
    for part in
        ["example `0-CLOSED`", "(4 of them for images)", "has 320 positions", "truncates neither"]
    {
        assert!(error.contains(part), "{error}");
    }
    // As many positions as the image takes, or one more, are no context.
    refused(&|| config("max_position_embeddings", json!(4)), &["an image takes 4"]);
}
