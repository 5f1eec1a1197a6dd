//! How many parameters a model has, by tower and kind of layer, and how many of them are trained.

use serde::Serialize;

use crate::tensor::{Module, Parameters, Tower};

/// A kind of layer: the rows of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LayerKind {
    /// Embeddings of tokens, positions, patches and the class token.
    Embedding,
    /// LayerNorms and RMSNorms.
    Norm,
    /// Projections of self-attention.
    Attention,
    /// Projections of cross-attention.
    CrossAttention,
    /// Feed-forward networks.
    Ffn,
    /// The prediction head.
    Head,
    /// The projector between the image encoder and a language model.
    Projector,
    /// Parameters that a method added to the model.
    Added,
}

impl LayerKind {
    /// Every kind, in the order of a table's rows.
    pub const ALL: [LayerKind; 8] = [
        LayerKind::Embedding,
        LayerKind::Norm,
        LayerKind::Attention,
        LayerKind::CrossAttention,
        LayerKind::Ffn,
        LayerKind::Head,
        LayerKind::Projector,
        LayerKind::Added,
    ];

    /// The kind of this layer.
    pub fn of(module: Module) -> Self {
        match module {
            Module::Embedding(_) => Self::Embedding,
            Module::Norm(_) => Self::Norm,
            Module::Attention(_) => Self::Attention,
            Module::CrossAttention(_) => Self::CrossAttention,
            Module::Fc1 | Module::Fc2 | Module::Gate | Module::Up | Module::Down => Self::Ffn,
            Module::Projector => Self::Projector,
            Module::Head => Self::Head,
            Module::Added(_) => Self::Added,
        }
    }

    /// The name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Embedding => "embedding",
            Self::Norm => "norm",
            Self::Attention => "attention",
            Self::CrossAttention => "cross-attention",
            Self::Ffn => "ffn",
            Self::Head => "head",
            Self::Projector => "projector",
            Self::Added => "added",
        }
    }
}

/// The parameters of one kind in one tower.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ParameterRow {
    /// The tower.
    pub tower: Tower,
    /// The kind of layer.
    pub role: LayerKind,
    /// Elements of their tensors.
    pub parameters: usize,
    /// Elements that are trained.
    pub trained: usize,
    /// The trained share of these elements, in percent.
    pub percent: f64,
}

/// A model's parameters by tower and kind of layer, without empty rows.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ParameterTable {
    /// By tower, then by kind of layer.
    pub rows: Vec<ParameterRow>,
    /// Elements in all.
    pub parameters: usize,
    /// Elements that are trained.
    pub trained: usize,
    /// The trained share of all elements, in percent.
    pub percent: f64,
}

impl ParameterTable {
    /// Counts the parameters of a model.
    pub fn new(params: &Parameters) -> Self {
        let row = |tower, role| {
            let here = || {
                let all = params.iter().map(|(_, p)| p);
                all.filter(move |p| {
                    p.role().tower == tower && LayerKind::of(p.role().module) == role
                })
            };
            let parameters = here().map(|p| p.len()).sum();
            let trained = here().filter(|p| p.is_trained()).map(|p| p.len()).sum();
            ParameterRow { tower, role, parameters, trained, percent: percent(trained, parameters) }
        };
        let rows =
            Tower::ALL.into_iter().flat_map(|tower| LayerKind::ALL.map(|kind| row(tower, kind)));
        let (parameters, trained) = (params.element_count(), params.trained_element_count());
        Self {
            rows: rows.filter(|row| row.parameters > 0).collect(),
            parameters,
            trained,
            percent: percent(trained, parameters),
        }
    }
}

/// `part` of `whole`, in percent; of nothing, 0.
fn percent(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { 100.0 * part as f64 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::{AttentionProjection, NormPosition, ParamKind};
    use crate::tuning::{Method, Tuning};

    #[test]
    fn counts_elements_by_tower_and_kind() {
        let mut params = Parameters::new();
        let mut text = params.scope(Tower::Text, "text");
        text.declare("fc1", &[8, 4], Module::Fc1, ParamKind::Weight);
        text.declare("fc2", &[4, 8], Module::Fc2, ParamKind::Weight);
        text.declare("norm", &[4], Module::Norm(NormPosition::Ffn), ParamKind::Weight);
        let cross = Module::CrossAttention(AttentionProjection::Value);
        params.scope(Tower::Decoder, "decoder").declare("cross", &[2, 2], cross, ParamKind::Weight);
        Tuning::new(Method::LAYER_NORM).apply(&mut params).unwrap();

        let table = ParameterTable::new(&params);
        let rows: Vec<_> =
            table.rows.iter().map(|r| (r.tower, r.role, r.parameters, r.trained)).collect();
        assert_eq!(
            rows,
            [
                (Tower::Text, LayerKind::Norm, 4, 4),
                (Tower::Text, LayerKind::Ffn, 64, 0),
                (Tower::Decoder, LayerKind::CrossAttention, 4, 0),
            ]
        );
        assert_eq!((table.parameters, table.trained), (72, 4));
        assert!((table.percent - 100.0 * 4.0 / 72.0).abs() < 1e-12);
    }
}
