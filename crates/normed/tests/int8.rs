//! A trained base model in int8 against f32: the loss and the gradients of all LayerNorms.

use std::path::Path;
use std::sync::Arc;

use normed::data::{DataSection, DataSpec, PhantomDomain, Split, indices_of};
use normed::models;
use normed::nn::Mode;
use normed::tensor::{Gradients, Graph, RunPrecision, Tensor};
use normed::tuning::{Method, Tuning};

const EXAMPLES: usize = 64;

/// The mean loss, and the gradients of all LayerNorms one after the other, of the model models/phantom on images
/// of another imaginary hospital.
fn loss_and_gradients(precision: RunPrecision) -> (f64, Vec<f64>) {
    let model = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/phantom"));
    let mut loaded = models::load(model, None).unwrap();
    Tuning::new(Method::LAYER_NORM).apply(&mut loaded.params).unwrap();
    loaded.params.set_precision(precision);
    let domain = PhantomDomain::Shifted;
    let data = DataSpec::Phantom { domain, train: EXAMPLES, validate: 0, test: 0, seed: 1 };
    let dataset = DataSection::from(data).open().unwrap().dataset;
    let collator = Arc::new(loaded.collator());
    let indices = indices_of(&*dataset, Split::Train).unwrap();
    let prepared: Vec<_> =
        indices.into_iter().map(|i| collator.prepare(&dataset.get(i).unwrap()).unwrap()).collect();
    let batch = collator.batch(&prepared, 0);
    let mut g = Graph::training(&loaded.params);
    let loss = loaded.model.loss(&mut g, &batch, Mode::Evaluate, 0.0).unwrap();
    let mut gradients = Gradients::new();
    g.backward(loss.output.gradient_slot(), Tensor::new(&[1], vec![1.0]), &mut gradients);
    let of = |id| gradients.param(id).unwrap().data().iter().map(|&x| f64::from(x));
    let gradients = loaded.params.trained().flat_map(|(id, _)| of(id)).collect();
    (loss.sum / batch.target_count as f64, gradients)
}

/// The norm of the difference over the norm of `exact`.
fn relative_error(got: &[f64], exact: &[f64]) -> f64 {
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>().sqrt();
    let difference = norm(&mut got.iter().zip(exact).map(|(a, b)| a - b));
    difference / norm(&mut exact.iter().copied())
}

#[test]
fn loss_and_gradients_are_close_to_f32() {
    let [(exact_loss, exact), (narrow_loss, narrow), (loss, gradients)] =
        RunPrecision::ALL.map(loss_and_gradients);
    let of_loss = (loss / exact_loss - 1.0).abs();
    let of_gradients = relative_error(&gradients, &exact);
    println!(
        "bf16: loss {:.1e}, gradients {:.1e}; int8: loss {of_loss:.1e}, gradients {of_gradients:.1e}",
        (narrow_loss / exact_loss - 1.0).abs(),
        relative_error(&narrow, &exact),
    );
    assert!(of_loss < 2e-3, "the loss is off by {of_loss:.1e}");
    assert!(of_gradients < 5e-2, "the gradients are off by {of_gradients:.1e}");
    // Codes of 8 bits have a bit less than bf16, and are coarser where the values of a group differ much: were it
    // closer, the products would not be in int8.
    assert!(of_gradients > relative_error(&narrow, &exact));
}
