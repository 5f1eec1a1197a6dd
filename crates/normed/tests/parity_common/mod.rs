//! What the parity tests share.

use std::path::PathBuf;

use normed::data::{
    Answer, AnswerType, Batch, Example, IGNORE_INDEX, IMAGE_TOKEN, ImageSource, Images,
    PreparedExample, Split, StopRule, TokenRows,
};
use normed::models::{GeneratedText, GenerationConfig, Model, generate};
use normed::nn::Mode;
use normed::ops::cross_entropy;
use normed::recipe::TrainSpec;
use normed::tensor::{Gradients, Graph, Module, ParamId, Parameters, Precision, Tensor, Tower};
use normed::train::{self, StepOptions, train_step};
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;

/// Relative error allowed in logits, loss and gradients.
pub const TOLERANCE: f64 = 1e-4;

/// The answers that a search finds, one an example.
#[derive(Deserialize)]
pub struct Search {
    pub num_beams: usize,
    pub length_penalty: f32,
    pub answers: Vec<Vec<u32>>,
}

#[derive(Deserialize)]
pub struct AdamW {
    lr: f64,
    betas: [f64; 2],
    eps: f64,
    weight_decay: f64,
}

/// A file or directory among the golden ones.
pub fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

pub fn floats(tensors: &SafeTensors<'_>, name: &str) -> Tensor {
    let view = tensors.tensor(name).unwrap();
    assert_eq!(view.dtype(), Dtype::F32, "{name}");
    let data = view.data().as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect();
    Tensor::new(view.shape(), data)
}

pub fn rows(rows: &[Vec<u32>], pad: u32) -> TokenRows {
    let lengths: Vec<_> = rows.iter().map(Vec::len).collect();
    let width = lengths.iter().copied().max().unwrap();
    let padded = |row: &Vec<u32>| {
        let padding = std::iter::repeat_n(pad, width - row.len());
        row.iter().copied().chain(padding).collect::<Vec<_>>()
    };
    TokenRows { ids: rows.iter().flat_map(padded).collect(), lengths, width }
}

/// Example `i` of `batch`, unpadded.
pub fn alone(batch: &Batch, i: usize) -> Batch {
    let row = |r: &TokenRows| TokenRows {
        ids: r.ids[i * r.width..][..r.lengths[i]].to_vec(),
        lengths: vec![r.lengths[i]],
        width: r.lengths[i],
    };
    let (width, n) = (batch.decoder_input_ids.width, batch.decoder_input_ids.lengths[i]);
    Batch {
        images: batch.images.split().swap_remove(i),
        views: vec![1],
        input_ids: row(&batch.input_ids),
        decoder_input_ids: row(&batch.decoder_input_ids),
        labels: batch.labels[i * width..][..n].to_vec(),
        target_count: n,
        keys: vec![batch.keys[i]],
    }
}

/// What `reference/make_report_goldens.py` wrote.
#[derive(Deserialize)]
struct Reports {
    max_new_tokens: usize,
    searches: Vec<Report>,
}

#[derive(Deserialize)]
struct Report {
    repetition_penalty: f32,
    views: usize,
    #[serde(flatten)]
    search: Search,
}

/// `batch` with so many views an example: its own image and those of the next examples, each with its place
/// where there was one in the prompt.
pub fn with_views(batch: &Batch, views: usize) -> Batch {
    let (n, each) = (batch.keys.len(), batch.images.split());
    let images: Vec<_> =
        (0..n).flat_map(|i| (0..views).map(move |v| (i + v) % n)).map(|i| &each[i]).collect();
    let images = Images::concat(&images);
    let places = |&id: &u32| std::iter::repeat_n(id, if id == IMAGE_TOKEN { views } else { 1 });
    let prompts: Vec<Vec<u32>> =
        (0..n).map(|b| batch.input_ids.row(b).iter().flat_map(places).collect()).collect();
    Batch { images, views: vec![views; n], input_ids: rows(&prompts, 0), ..batch.clone() }
}

/// Asserts that all searches of a file give what they gave transformers, whole batches at a time.
pub fn assert_reports(
    file: &str,
    model: &dyn Model,
    params: &Parameters,
    batch: &Batch,
    ends: &[u32],
) {
    let file = std::fs::read(golden(file)).unwrap();
    let Reports { max_new_tokens, searches } = serde_json::from_slice(&file).unwrap();
    for Report { repetition_penalty, views, search } in searches {
        let rule = GenerationConfig {
            num_beams: search.num_beams,
            length_penalty: search.length_penalty,
            repetition_penalty,
            max_new_tokens,
            ..GenerationConfig::default()
        };
        let ending = StopRule { tokens: ends, stop: None };
        let batch = with_views(batch, views);
        let ours = generate(model, params, &batch, &rule, ending).unwrap();
        assert_probabilities(model, params, &batch, &ours, (ends, max_new_tokens));
        assert_eq!(tokens(ours), search.answers, "{rule:?}, {views} views");
    }
}

pub fn train_norms(params: &mut Parameters, towers: &[Tower]) -> Vec<ParamId> {
    let mut trained = Vec::new();
    for (id, p) in params.iter_mut() {
        p.set_trained(
            matches!(p.role().module, Module::Norm(_)) && towers.contains(&p.role().tower),
        );
        if p.is_trained() {
            trained.push(id);
        }
    }
    trained
}

/// The mean loss of `batch` and its gradients.
pub fn backward(
    model: &dyn Model,
    params: &Parameters,
    batch: &Batch,
    label_smoothing: f32,
    gradients: &mut Gradients,
) -> f64 {
    let mut g = Graph::training(params);
    let logits = model.forward(&mut g, batch, Mode::Evaluate).unwrap();
    let loss = cross_entropy(&mut g, logits, &batch.labels, label_smoothing);
    let count = batch.target_count as f64;
    g.backward(
        loss.output.gradient_slot(),
        Tensor::new(&[1], vec![(1.0 / count) as f32]),
        gradients,
    );
    loss.sum / count
}

/// Asserts that the largest difference is below [`TOLERANCE`] of the largest value.
pub fn assert_close(what: &str, ours: &[f32], theirs: &[f32]) {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    let largest = theirs.iter().fold(0.0f64, |m, x| m.max(f64::from(x.abs())));
    for (i, (a, b)) in ours.iter().zip(theirs).enumerate() {
        let difference = f64::from((a - b).abs());
        assert!(difference <= TOLERANCE * largest, "{what}[{i}]: {a}, not {b}");
    }
}

/// The loss curve of training as it is: every example a micro-batch of its own, so that the loss of
/// an example and the normalization over all of them are put to the test too. In bf16 losses may be off
/// by a hundredth, in models as narrow as these.
pub fn assert_steps(
    model: &dyn Model,
    params: &mut Parameters,
    batch: &Batch,
    (adamw, label_smoothing): (&AdamW, f32),
    losses: &[f64],
) {
    let AdamW { lr, betas: [beta1, beta2], eps, weight_decay } = *adamw;
    let spec = TrainSpec {
        adam_betas: (beta1 as f32, beta2 as f32),
        adam_eps: eps as f32,
        weight_decay: weight_decay as f32,
        label_smoothing,
        max_grad_norm: 0.0,
        ..TrainSpec::default()
    };
    let options = StepOptions { spec: &spec, seed: 0, lr: lr as f32 };
    let tolerance = match params.precision() {
        Precision::F32 => 1e-5,
        Precision::Bf16 => 1e-2,
    };
    let mut optimizer = train::AdamW::new(params, &spec);
    for (t, theirs) in losses.iter().enumerate() {
        let examples = (0..batch.keys.len()).map(|i| Ok((alone(batch, i), vec![prepared(i)])));
        let ours = train_step(model, params, &mut optimizer, examples, options).unwrap().loss;
        assert!((ours - theirs).abs() <= tolerance * theirs, "step {t}: {ours}, not {theirs}");
    }
}

/// What a step names in its errors.
fn prepared(i: usize) -> PreparedExample {
    let example = Example {
        id: i.to_string(),
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
        question: vec![],
        start: 0,
        answer: Some(vec![]),
        is_question_cut: false,
        is_answer_cut: false,
    }
}

/// The answers that `search` finds.
pub fn answers(
    model: &dyn Model,
    params: &Parameters,
    batch: &Batch,
    (search, max_new_tokens): (&Search, usize),
    ends: &[u32],
) -> Vec<Vec<u32>> {
    let rule = GenerationConfig {
        num_beams: search.num_beams,
        max_new_tokens,
        length_penalty: search.length_penalty,
        ..GenerationConfig::default()
    };
    let texts =
        generate(model, params, batch, &rule, StopRule { tokens: ends, stop: None }).unwrap();
    assert_probabilities(model, params, batch, &texts, (ends, max_new_tokens));
    tokens(texts)
}

fn tokens(texts: Vec<GeneratedText>) -> Vec<Vec<u32>> {
    texts.into_iter().map(|text| text.tokens).collect()
}

/// Asserts that the probability of each generated text is the one that the model gives to its tokens under teacher
/// forcing: the forward pass, whose losses are transformers'.
pub fn assert_probabilities(
    model: &dyn Model,
    params: &Parameters,
    batch: &Batch,
    texts: &[GeneratedText],
    (ends, max_new_tokens): (&[u32], usize),
) {
    let start = |b: usize| batch.decoder_input_ids.row(b)[0];
    let inputs: Vec<_> = texts
        .iter()
        .enumerate()
        .map(|(b, text)| [&[start(b)], &text.tokens[..]].concat())
        .collect();
    let decoder_input_ids = rows(&inputs, 0);
    // Which of several end tokens came is not known.
    let of_end = |&end: &u32| {
        let mut labels = Vec::new();
        for (b, text) in texts.iter().enumerate() {
            labels.extend(&text.tokens);
            labels.extend((text.tokens.len() < max_new_tokens).then_some(end));
            labels.resize((b + 1) * decoder_input_ids.width, IGNORE_INDEX);
        }
        let decoder_input_ids = decoder_input_ids.clone();
        let batch = Batch { decoder_input_ids, labels, ..batch.clone() };
        let mut g = Graph::inference(params);
        let loss = model.loss(&mut g, &batch, Mode::Evaluate, 0.0).unwrap();
        let rows = loss.position_losses.chunks(batch.decoder_input_ids.width);
        rows.map(|row| -row.iter().map(|&x| f64::from(x)).sum::<f64>()).collect::<Vec<_>>()
    };
    let of_ends: Vec<_> = ends.iter().map(of_end).collect();
    for (b, text) in texts.iter().enumerate() {
        let found = text.log_probability;
        let wanted: Vec<_> = of_ends.iter().map(|all| all[b]).collect();
        assert!(
            wanted.iter().any(|wanted| (found - wanted).abs() < 1e-3),
            "{found}, not {wanted:?}"
        );
    }
}

/// Decoding token by token over a padded batch gives the logits of the whole at once.
pub fn assert_steps_are_the_forward_pass(model: &dyn Model, params: &Parameters, batch: &Batch) {
    let answer = &batch.decoder_input_ids;
    let examples = batch.keys.len();
    let mut g = Graph::inference(params);
    let whole = model.forward(&mut g, batch, Mode::Evaluate).unwrap().value;
    let mut decoding = model.start_decoding(params, batch, answer.width).unwrap();
    for t in 0..answer.width {
        let tokens: Vec<_> = (0..examples).map(|b| answer.ids[b * answer.width + t]).collect();
        let logits = decoding.step(&tokens);
        for b in (0..examples).filter(|&b| t < answer.lengths[b]) {
            let width = logits.width();
            let theirs = &whole.data()[(b * answer.width + t) * width..][..width];
            assert_close(&format!("{b}, {t}"), &logits.data()[b * width..][..width], theirs);
        }
    }
}
