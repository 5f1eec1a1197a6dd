//! A small model and small batches for the tests of this module.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::data::{
    Answer, AnswerType, Attributes, Batch, Example, IGNORE_INDEX, ImageSource, Images,
    PreparedExample, Split, TokenRows,
};
use crate::models::{Decoding, Model};
use crate::nn::Mode;
use crate::ops::{self, CrossEntropy, DropoutStream};
use crate::tensor::{
    EmbeddingKind, Graph, Module, NormPosition, ParamId, ParamKind, Parameters, Precision, Tensor,
    Tower, Var,
};
use crate::{Error, Result};

pub(super) const VOCABULARY: usize = 13;
const WIDTH: usize = 8;
const ANSWER: usize = 5;

/// A model that predicts a token from the one before: embedding, dropout, LayerNorm, head.
pub(super) struct TestModel {
    words: ParamId,
    positions: ParamId,
    gain: ParamId,
    bias: ParamId,
    head: ParamId,
    fault: Option<(usize, Fault)>,
    /// How often the loss was computed.
    calls: AtomicUsize,
}

/// What goes wrong in a call of [`Model::loss`].
#[derive(Debug, Clone, Copy)]
pub(super) enum Fault {
    /// The call fails.
    Error,
    /// The loss is not a number.
    NotFinite,
}

impl TestModel {
    /// The model with all its parameters trained. `norm.loose`, which does not affect the loss, is not.
    pub fn new() -> (Self, Parameters) {
        let mut params = Parameters::new();
        let mut scope = params.scope(Tower::Decoder, "");
        let words = Module::Embedding(EmbeddingKind::Token);
        let positions = Module::Embedding(EmbeddingKind::Position);
        let norm = Module::Norm(NormPosition::Final);
        let model = Self {
            words: scope.declare("words", &[VOCABULARY, WIDTH], words, ParamKind::Weight),
            positions: scope.declare("positions", &[ANSWER, WIDTH], positions, ParamKind::Weight),
            gain: scope.declare("norm.weight", &[WIDTH], norm, ParamKind::Weight),
            bias: scope.declare("norm.bias", &[WIDTH], norm, ParamKind::Bias),
            head: scope.declare("head", &[VOCABULARY, WIDTH], Module::Head, ParamKind::Weight),
            fault: None,
            calls: AtomicUsize::new(0),
        };
        scope.declare("norm.loose", &[WIDTH], norm, ParamKind::Weight);
        crate::models::initialize(&mut params, 7);
        for (_, p) in params.iter_mut() {
            p.set_trained(p.name() != "norm.loose");
        }
        (model, params)
    }

    /// Lets the `call`th computation of the loss, counted from 0, go wrong.
    pub fn with_fault(self, call: usize, fault: Fault) -> Self {
        Self { fault: Some((call, fault)), ..self }
    }
}

impl Model for TestModel {
    fn forward(&self, g: &mut Graph<'_>, batch: &Batch, mode: Mode) -> Result<Var> {
        let ids = &batch.decoder_input_ids;
        let x = ops::embedding(g, &ids.ids, ids.width, self.words, self.positions, 0);
        let stream = match mode {
            Mode::Evaluate => None,
            Mode::Train(noise) => {
                noise.dropout.map(|rate| DropoutStream::new(&batch.keys, noise.seed, 0, rate))
            }
        };
        let x = ops::dropout(g, x, stream);
        let x = ops::layer_norm(g, &x, self.gain, self.bias, 1e-5, Precision::F32);
        Ok(ops::linear(g, &x, self.head, None, ops::Output::F32))
    }

    fn loss(
        &self,
        g: &mut Graph<'_>,
        batch: &Batch,
        mode: Mode,
        label_smoothing: f32,
    ) -> Result<CrossEntropy> {
        let logits = self.forward(g, batch, mode)?;
        let mut loss = ops::cross_entropy(g, logits, &batch.labels, label_smoothing);
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        match self.fault.filter(|&(at, _)| at == call) {
            Some((_, Fault::Error)) => return Err(Error::failed("test model", "it fails here")),
            Some((_, Fault::NotFinite)) => {
                loss.sum = f64::NAN;
                loss.position_losses.fill(f32::NAN);
            }
            None => {}
        }
        Ok(loss)
    }

    fn start_decoding<'m>(
        &'m self,
        _: &'m Parameters,
        _: &Batch,
        _: usize,
    ) -> Result<Box<dyn Decoding + 'm>> {
        unreachable!("these tests do not generate")
    }
}

/// The examples `ids` as a batch: example `i` counts upwards from `i`, for 1 to 4 tokens.
pub(super) fn batch(ids: &[usize]) -> (Batch, Vec<PreparedExample>) {
    let tokens = |i: usize, n: usize| (0..n).map(move |k| ((i + k) % VOCABULARY) as u32);
    let lengths: Vec<usize> = ids.iter().map(|i| 1 + i % 4).collect();
    let width = lengths.iter().copied().max().unwrap_or(0);
    let (mut inputs, mut labels) = (Vec::new(), Vec::new());
    for (row, (&i, &n)) in ids.iter().zip(&lengths).enumerate() {
        inputs.extend(tokens(i, n));
        labels.extend(tokens(i + 1, n));
        inputs.resize((row + 1) * width, 0);
        labels.resize((row + 1) * width, IGNORE_INDEX);
    }
    let batch = Batch {
        images: Images::from_pixels(Tensor::zeros(&[ids.len(), 3, 0, 0])),
        views: vec![1; ids.len()],
        input_ids: TokenRows { ids: vec![], lengths: vec![0; ids.len()], width: 0 },
        target_count: lengths.iter().sum(),
        decoder_input_ids: TokenRows { ids: inputs, lengths, width },
        labels,
        keys: ids.iter().map(|&i| 1000 + i as u64).collect(),
    };
    (batch, ids.iter().map(|&i| prepared(i)).collect())
}

fn prepared(i: usize) -> PreparedExample {
    let example = Example {
        id: format!("example-{i}"),
        images: vec![ImageSource::File("none.png".into())],
        image_name: "none.png".into(),
        question: String::new(),
        answer: Some(Answer::new("", AnswerType::Open)),
        split: Split::Train,
        group: None,
        history: Vec::new(),
        place: String::new(),
        attributes: Attributes::new(),
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
