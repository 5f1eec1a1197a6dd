//! How much each norm differs between two models: a base and its tuning, or two tunings of one base.

use half::{bf16, f16};
use serde::Serialize;

use crate::ops::merged_value;
use crate::tensor::{
    ChangedValues, Factor, Module, NormPosition, ParamId, ParamKind, Parameter, Parameters,
    Precision, Tensor, Tower,
};
use crate::{Error, Result};

/// How much a norm's weight or bias changed from one model to another.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NormChange {
    /// Its tower.
    pub tower: Tower,
    /// Its block, counted from 0; none outside of blocks.
    pub layer: Option<usize>,
    /// What the norm normalizes.
    pub place: NormPosition,
    /// Weight or bias.
    pub term: ParamKind,
    /// The parameter's name.
    pub name: String,
    /// Its number of elements.
    pub elements: usize,
    /// The Euclidean norm of the difference, divided by that of the first model's value; none if that is 0.
    pub relative: Option<f64>,
    /// The Euclidean norm of the difference.
    pub distance: f64,
    /// The largest absolute difference of an element.
    pub max: f64,
}

impl NormChange {
    fn new(a: &Parameter, b: &Parameter, place: NormPosition) -> Self {
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
            tower: a.role().tower,
            layer: a.role().layer,
            place,
            term: a.role().kind,
            name: a.name().to_owned(),
            elements: a.len(),
            relative: (own > 0.0).then(|| distance / own.sqrt()),
            distance,
            max,
        }
    }
}

/// How two models differ.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModelDiff {
    /// Every weight and bias of a norm, unchanged ones included, in the order of declaration.
    pub norms: Vec<NormChange>,
    /// Names of other parameters that differ, and of parameters that only one model has.
    pub others: Vec<String>,
    /// The values of both models' parameters that differ, with what is plugged in merged, and those of them that
    /// still differ where matrices are rounded to the first model's element type, as a merge does. Quantized
    /// matrices are not counted.
    pub values: ChangedValues,
}

impl ModelDiff {
    /// The differences from `a` to `b`, two tunings of one base.
    ///
    /// # Errors
    /// If a norm of `a` is missing in `b` or has another shape there: the models are of different kinds.
    pub fn between(a: &Parameters, b: &Parameters) -> Result<Self> {
        let (mut norms, mut others) = (Vec::new(), Vec::new());
        let mut values = ChangedValues::default();
        for (id, before) in a.iter() {
            let after = b.find(before.name()).filter(|&id| b.get(id).shape() == before.shape());
            if let Some(after) = after.filter(|_| !before.is_added()) {
                values += count_values((a, id), (b, after));
            }
            let after = after.map(|id| b.get(id));
            match (before.role().module, after) {
                (Module::Norm(place), Some(after)) => {
                    norms.push(NormChange::new(before, after, place))
                }
                (Module::Norm(_), None) => {
                    let cause =
                        "only the first model has this norm, or its shape differs in the second";
                    return Err(Error::invalid(before.name(), cause).with_remedy(
                        "compare two tunings of one base, or a tuning with its base",
                    ));
                }
                (_, Some(after)) if same(before.value(), after.value()) => {}
                _ => others.push(before.name().to_owned()),
            }
        }
        let new = b.iter().map(|(_, p)| p.name()).filter(|name| a.find(name).is_none());
        others.extend(new.map(str::to_owned));
        Ok(Self { norms, others, values })
    }
}

/// The trained values of `tuned` that differ from `base`, a model with the same parameters, and those of them that still
/// differ where every tensor is rounded to `precision`. Nothing is plugged into either model.
pub fn changed_values(
    base: &Parameters,
    tuned: &Parameters,
    precision: Precision,
) -> ChangedValues {
    let round: fn(f32) -> f32 = match precision {
        Precision::F32 => |x| x,
        Precision::Bf16 => |x| bf16::from_f32(x).to_f32(),
    };
    let mut counted = ChangedValues::default();
    for (_, after) in tuned.trained() {
        let before = base.find(after.name()).map(|id| base.get(id));
        let Some(before) = before.filter(|p| p.shape() == after.shape()) else { continue };
        if !same(before.value(), after.value()) {
            let [before, after] = [before, after].map(|p| p.value().to_precision(Precision::F32));
            counted += ChangedValues::count(before.data(), after.data(), round);
        }
    }
    counted
}

/// Counts the values of one parameter that differ between two models.
fn count_values(a: (&Parameters, ParamId), b: (&Parameters, ParamId)) -> ChangedValues {
    let [before, after] = [a, b].map(|(params, id)| params.get(id).value());
    let [merged_before, merged_after] = [a, b].map(|(params, id)| match before.quantization() {
        None => merged_value(params, id),
        Some(_) => None,
    });
    let is_plain = merged_before.is_none() && merged_after.is_none();
    if before.quantization().or(after.quantization()).is_some() || is_plain && same(before, after) {
        return ChangedValues::default();
    }
    let round: fn(f32) -> f32 = match before.factor() {
        Factor::Bf16(_) if before.shape().len() > 1 => |x| bf16::from_f32(x).to_f32(),
        Factor::F16(_) if before.shape().len() > 1 => |x| f16::from_f32(x).to_f32(),
        _ => |x| x,
    };
    let [before, after] =
        [merged_before.as_ref().unwrap_or(before), merged_after.as_ref().unwrap_or(after)]
            .map(|value| value.to_precision(Precision::F32));
    ChangedValues::count(before.data(), after.data(), round)
}

/// Whether two values have the same elements, in whatever precision they are stored. Shared memory is not read.
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

    fn model(weight: [f32; 2], bias: [f32; 2], table: f32) -> Parameters {
        let mut params = Parameters::new();
        let mut scope = params.scope(Tower::Text, "text");
        let mut block = scope.layer("layer", 3);
        block.declare("norm.weight", &[2], Module::Norm(NormPosition::Ffn), ParamKind::Weight);
        block.declare("norm.bias", &[2], Module::Norm(NormPosition::Ffn), ParamKind::Bias);
        let part = Module::Embedding(EmbeddingKind::Token);
        scope.declare("table", &[1, 1], part, ParamKind::Weight);
        for ((_, p), values) in params.iter_mut().zip([&weight[..], &bias, &[table]]) {
            p.set(Tensor::new(p.shape(), values.to_vec()));
        }
        params
    }

    #[test]
    fn norms_are_measured_and_others_named() {
        let base = model([3.0, 4.0], [0.0, 0.0], 1.0);
        let tuned = model([3.0, 4.5], [0.3, -0.4], 2.0);
        let found = ModelDiff::between(&base, &tuned).unwrap();
        let [weight, bias] = &found.norms[..] else { panic!("{found:?}") };
        assert_eq!((weight.layer, weight.term, weight.elements), (Some(3), ParamKind::Weight, 2));
        assert!((weight.relative.unwrap() - 0.1).abs() < 1e-7 && (weight.max - 0.5).abs() < 1e-7);
        assert!((bias.distance - 0.5).abs() < 1e-6 && (bias.max - 0.4).abs() < 1e-6);
        assert_eq!(bias.relative, None, "it was 0");
        assert_eq!(found.others, ["text.table"]);
        assert_eq!(found.values, ChangedValues { changed: 4, surviving: 4 });
        let none = ModelDiff::between(&base, &base.clone()).unwrap();
        assert!(none.others.is_empty() && none.norms.iter().all(|m| m.distance == 0.0));
    }

    /// The step from one bf16 value to the next is 0.8 % just above 1.
    #[test]
    fn rounding_can_undo_a_change() {
        let base = model([1.0, 4.0], [0.0, 0.0], 1.0);
        let mut tuned = model([1.001, 4.5], [0.3, 0.0], 1.001);
        tuned.iter_mut().for_each(|(_, p)| p.set_trained(true));
        let counted = |precision| {
            let ChangedValues { changed, surviving } = changed_values(&base, &tuned, precision);
            (changed, surviving)
        };
        assert_eq!(counted(Precision::F32), (4, 4));
        assert_eq!(counted(Precision::Bf16), (4, 2));
        assert_eq!(changed_values(&tuned, &tuned.clone(), Precision::Bf16).changed, 0);
        assert_eq!(changed_values(&tuned, &base, Precision::Bf16).changed, 0, "is not trained");
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
        let error = ModelDiff::between(&model([1.0; 2], [0.0; 2], 0.0), &other).unwrap_err();
        assert!(error.to_string().contains("two tunings of one base"), "{error}");
    }
}
