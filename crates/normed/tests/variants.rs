//! Models with unusual configs against transformers': activations, untied heads, several feature layers (goldens by
//! reference/make_variant_goldens.py).

#[allow(dead_code)] // what other parity tests use
mod parity_common;

use std::path::Path;

use normed::data::{Batch, IMAGE_TOKEN, Images};
use normed::models::{Llava, LlavaConfig, Miss, MissConfig, Model};
use normed::nn::Mode;
use normed::tensor::{Gradients, Graph, Parameters, Precision, Tensor};
use parity_common::{assert_close, backward, golden, rows};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct Case {
    config: Value,
    prompt: Vec<u32>,
    answer: Vec<u32>,
    logits: Vec<f32>,
}

/// The values that the script gives a tensor of this name.
fn drawn(name: &str, count: usize) -> Vec<f32> {
    let seed = name.bytes().map(usize::from).sum::<usize>() * 101;
    (0..count).map(|i| (((i * 37 + seed) % 211) as f64 / 211.0 - 0.5) as f32).collect()
}

fn fill(params: &mut Parameters) {
    for (_, parameter) in params.iter_mut() {
        let name = parameter.name().to_owned();
        let mut values = drawn(&name, parameter.len());
        if name.to_lowercase().contains("norm") && name.ends_with("weight") {
            values.iter_mut().for_each(|value| *value += 1.0);
        }
        let shape = parameter.shape().to_vec();
        parameter.set(Tensor::new(&shape, values));
    }
}

/// The model of a case, and its example. A language model's prompt ends in the decoder's first token.
fn open(case: &Case) -> (Box<dyn Model>, Parameters, Batch) {
    let mut params = Parameters::new();
    let is_llava = LlavaConfig::matches(&case.config);
    let model: Box<dyn Model> = if is_llava {
        let (config, _) = LlavaConfig::parse("config", &case.config, Path::new("")).unwrap();
        let again = config.to_hugging_face().unwrap();
        assert_eq!(LlavaConfig::parse("config", &again, Path::new("")).unwrap().0, config);
        Box::new(Llava::declare(&config, &mut params))
    } else {
        let (config, _) = MissConfig::parse("config", &case.config).unwrap();
        let again = config.to_hugging_face();
        assert_eq!(
            MissConfig::parse("config", &again).unwrap().0.text_config.hidden_act,
            config.text_config.hidden_act
        );
        Box::new(Miss::declare(&config, &mut params))
    };
    fill(&mut params);
    params.set_precision(Precision::F32);
    let (mut prompt, mut answer) = (case.prompt.clone(), case.answer.clone());
    if is_llava {
        prompt.insert(1, IMAGE_TOKEN);
        // The logits of an answer's token are those after it.
        answer = case.answer.clone();
    }
    let labels = answer.clone();
    let batch = Batch {
        images: Images::from_pixels(Tensor::new(&[1, 3, 16, 16], drawn("pixels", 3 * 16 * 16))),
        views: vec![1],
        input_ids: rows(&[prompt], 0),
        decoder_input_ids: rows(&[answer], 0),
        target_count: labels.len(),
        labels,
        keys: vec![1],
    };
    (model, params, batch)
}

#[test]
fn logits_are_transformers() {
    let cases: Vec<Case> =
        serde_json::from_slice(&std::fs::read(golden("variants.json")).unwrap()).unwrap();
    assert!(cases.len() > 35);
    for case in cases {
        let (model, mut params, batch) = open(&case);
        let what = case.config.to_string();
        let logits = model.forward(&mut Graph::inference(&params), &batch, Mode::Evaluate).unwrap();
        assert_close(&what, logits.value.data(), &case.logits);
        // An image encoder that is cached gives the same, and everything that is live gets a gradient.
        if let Some(encoder) = model.frozen_encoder(&params, Mode::Evaluate) {
            let seen =
                Batch { images: encoder.encode(&params, &batch.images).unwrap(), ..batch.clone() };
            let cached =
                model.forward(&mut Graph::inference(&params), &seen, Mode::Evaluate).unwrap();
            assert_eq!(cached.value.data(), logits.value.data(), "{what}");
        }
        for (_, parameter) in params.iter_mut() {
            parameter.set_trained(parameter.inert_reason().is_none());
        }
        let mut gradients = Gradients::new();
        backward(&*model, &params, &batch, 0.0, &mut gradients);
        for (id, parameter) in params.iter().filter(|(_, p)| p.is_trained()) {
            assert!(gradients.param(id).is_some(), "{what}: {}", parameter.name());
        }
    }
}
