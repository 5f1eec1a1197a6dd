//! How far norms moved: what tuning did to a model, or how two tunings of it differ.

use serde::Serialize;

use crate::tensor::{
    Factor, Module, NormPosition, ParamKind, Parameter, Parameters, Precision, Tensor, Tower,
};
use crate::{Error, Result};

/// How far a norm's gain or bias moved from one model to another.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Moved {
    /// Where.
    pub tower: Tower,
    /// The block, counted from 0; none outside the blocks.
    pub layer: Option<usize>,
    /// What the norm normalises.
    pub place: NormPosition,
    /// Gain (weight) or bias.
    pub term: ParamKind,
    /// The parameter's name.
    pub name: String,
    /// Its elements.
    pub elements: usize,
    /// The Euclidean norm of the difference, as a part of the first model's value's; none where that is 0.
    pub relative: Option<f64>,
    /// The Euclidean norm of the difference.
    pub distance: f64,
    /// The largest difference of an element.
    pub max: f64,
}

impl Moved {
    fn of(a: &Parameter, b: &Parameter, place: NormPosition) -> Self {
        let [before, after] = [a, b].map(|p| p.value().to_precision(Precision::F32));
        let (mut square, mut own, mut max) = (0.0, 0.0, 0.0f64);
        for (&x, &y) in before.data().iter().zip(after.data()) {
            let (x, y) = (f64::from(x), f64::from(y));
            square += (y - x) * (y - x);
            own += x * x;
            max = max.max((y - x).abs());
        }
        let distance = square.sqrt();
        Self {
            tower: a.role.tower,
            layer: a.role.layer,
            place,
            term: a.role.kind,
            name: a.name.clone(),
            elements: a.len(),
            relative: (own > 0.0).then(|| distance / own.sqrt()),
            distance,
            max,
        }
    }
}

/// What differs between two models.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Movement {
    /// Every gain and bias of a norm, those that did not move among them, in the order of declaration.
    pub norms: Vec<Moved>,
    /// Names of other parameters that differ, and of those that one model alone has.
    pub others: Vec<String>,
}

impl Movement {
    /// From `a` to `b`, two tunings of one base. Fails where a norm of the one is not in the other: these
    /// are two kinds of model.
    pub fn between(a: &Parameters, b: &Parameters) -> Result<Self> {
        let (mut norms, mut others) = (Vec::new(), Vec::new());
        for (_, before) in a.iter() {
            let after = b.find(&before.name).map(|id| b.get(id));
            let after = after.filter(|after| after.shape == before.shape);
            match (before.role.module, after) {
                (Module::Norm(place), Some(after)) => norms.push(Moved::of(before, after, place)),
                (Module::Norm(_), None) => {
                    let cause = "is in the first model alone, or of another shape in the second";
                    return Err(Error::invalid(&before.name, cause).with_remedy(
                        "compare two tunings of one base, or one of them with the base",
                    ));
                }
                (_, Some(after)) if same(before.value(), after.value()) => {}
                _ => others.push(before.name.clone()),
            }
        }
        let new = b.iter().map(|(_, p)| &p.name).filter(|name| a.find(name).is_none());
        others.extend(new.cloned());
        Ok(Self { norms, others })
    }
}

/// Whether two values are of the same elements, whatever precision these are kept in; what is shared
/// is not read.
fn same(a: &Tensor, b: &Tensor) -> bool {
    match (a.factor(), b.factor()) {
        (Factor::F32(x), Factor::F32(y)) => std::ptr::eq(x, y) || x == y,
        (Factor::Bf16(x), Factor::Bf16(y)) => std::ptr::eq(x, y) || x == y,
        (Factor::F16(x), Factor::F16(y)) => std::ptr::eq(x, y) || x == y,
        (Factor::Int8(x), Factor::Int8(y)) => x == y,
        (Factor::Nf4(x), Factor::Nf4(y)) => x == y,
        _ if a.quantization().is_some() || b.quantization().is_some() => false,
        _ => a.to_precision(Precision::F32).data() == b.to_precision(Precision::F32).data(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::EmbeddingKind;

    fn model(gain: [f32; 2], bias: [f32; 2], table: f32) -> Parameters {
        let mut params = Parameters::new();
        let mut scope = params.scope(Tower::Text, "text");
        let mut block = scope.layer("layer", 3);
        block.declare("norm.weight", &[2], Module::Norm(NormPosition::Ffn), ParamKind::Weight);
        block.declare("norm.bias", &[2], Module::Norm(NormPosition::Ffn), ParamKind::Bias);
        let part = Module::Embedding(EmbeddingKind::Token);
        scope.declare("table", &[1, 1], part, ParamKind::Weight);
        for ((_, p), values) in params.iter_mut().zip([&gain[..], &bias, &[table]]) {
            p.set(Tensor::new(&p.shape.clone(), values.to_vec()));
        }
        params
    }

    #[test]
    fn norms_are_measured_and_others_named() {
        let base = model([3.0, 4.0], [0.0, 0.0], 1.0);
        let tuned = model([3.0, 4.5], [0.3, -0.4], 2.0);
        let found = Movement::between(&base, &tuned).unwrap();
        let [gain, bias] = &found.norms[..] else { panic!("{found:?}") };
        assert_eq!((gain.layer, gain.term, gain.elements), (Some(3), ParamKind::Weight, 2));
        assert!((gain.relative.unwrap() - 0.1).abs() < 1e-7 && (gain.max - 0.5).abs() < 1e-7);
        assert!((bias.distance - 0.5).abs() < 1e-6 && (bias.max - 0.4).abs() < 1e-6);
        assert_eq!(bias.relative, None, "it was 0");
        assert_eq!(found.others, ["text.table"]);
        let none = Movement::between(&base, &base.clone()).unwrap();
        assert!(none.others.is_empty() && none.norms.iter().all(|m| m.distance == 0.0));
    }

    #[test]
    fn another_kind_of_model_is_an_error() {
        let mut other = Parameters::new();
        let part = Module::Norm(NormPosition::Ffn);
        other.scope(Tower::Text, "").declare(
            "text.layer.3.norm.weight",
            &[3],
            part,
            ParamKind::Weight,
        );
        let error = Movement::between(&model([1.0; 2], [0.0; 2], 0.0), &other).unwrap_err();
        assert!(error.to_string().contains("two tunings of one base"), "{error}");
    }
}
