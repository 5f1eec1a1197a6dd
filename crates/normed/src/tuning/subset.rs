//! Training only some of the norms: those that matter most to the data, by their Fisher information.
//!
//! ValizadehAslani and Liang (2024, arXiv 2403.20284) tune the LayerNorms with the largest Fisher information and
//! lose little. Here it is the diagonal of the empirical Fisher information at the base's parameters,
//! `1/N Σₙ (∂ log p(yₙ | xₙ) / ∂θ)²`, over `N` training examples with their own answers. A norm's information is
//! the mean over the elements of its weight and bias, so that its width does not decide.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use super::{Fraction, Rule, Tuning};
use crate::tensor::{Module, NormPosition, ParamId, Parameters, Tower};
use crate::{Error, Result};

/// A norm that a rule would train.
#[derive(Debug, Clone, PartialEq)]
pub struct CandidateNorm {
    /// The module's name.
    pub name: String,
    /// Its tower.
    pub tower: Tower,
    /// Its block, counted from 0; none outside of blocks.
    pub layer: Option<usize>,
    /// What it normalizes.
    pub place: NormPosition,
    /// Those of its weight and bias that the rule trains.
    pub params: Vec<ParamId>,
}

impl CandidateNorm {
    /// Elements that are trained if it is kept.
    fn elements(&self, params: &Parameters) -> usize {
        self.params.iter().map(|&id| params.get(id).len()).sum()
    }
}

/// The norms that one rule would train. The rule keeps a fraction of them.
#[derive(Debug, Clone, PartialEq)]
pub struct NormCandidates {
    /// The fraction that is kept.
    pub keep: Fraction,
    /// The norms, in the order of declaration.
    pub norms: Vec<CandidateNorm>,
}

impl NormCandidates {
    /// How many norms are kept.
    pub fn kept_count(&self) -> usize {
        self.keep.of(self.norms.len())
    }

    /// The fewest elements that the dropped norms can have. A run finds out which norms they are.
    pub fn fewest_dropped_elements(&self, params: &Parameters) -> usize {
        let mut sizes: Vec<_> = self.norms.iter().map(|norm| norm.elements(params)).collect();
        sizes.sort_unstable();
        sizes[..sizes.len() - self.kept_count()].iter().sum()
    }
}

impl Tuning {
    /// For each rule that keeps a fraction of its norms, the norms that it would train. `params` are as
    /// [`Tuning::apply`] left them.
    pub fn norm_candidates(&self, params: &Parameters) -> Vec<NormCandidates> {
        let rules = self.rules().into_iter();
        rules.filter_map(|(_, rule)| Some(norm_candidates(rule.keep()?, &rule, params))).collect()
    }
}

fn norm_candidates(keep: Fraction, rule: &Rule, params: &Parameters) -> NormCandidates {
    let mut norms: Vec<CandidateNorm> = Vec::new();
    for (id, parameter) in params.trained().filter(|(_, p)| rule.trains(&p.role())) {
        let Module::Norm(place) = parameter.role().module else { continue };
        let (tower, layer) = (parameter.role().tower, parameter.role().layer);
        // A block has one norm for each place.
        match norms.iter_mut().find(|n| (n.tower, n.layer, n.place) == (tower, layer, place)) {
            Some(norm) => norm.params.push(id),
            None => {
                let module = parameter.name().rsplit_once('.').map_or("", |(module, _)| module);
                let (name, params) = (module.to_owned(), vec![id]);
                norms.push(CandidateNorm { name, tower, layer, place, params });
            }
        }
    }
    NormCandidates { keep, norms }
}

/// A norm's rank among those that it was compared with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RankedNorm {
    /// From 1 up, among the norms of the same rule.
    pub rank: usize,
    /// Whether it is trained.
    pub kept: bool,
    /// The mean over its elements of the empirical Fisher information.
    pub fisher: f64,
    /// Its trained elements.
    pub parameters: usize,
    /// Its tower.
    pub tower: Tower,
    /// Its block, counted from 0; none outside of blocks.
    pub layer: Option<usize>,
    /// What it normalizes.
    pub place: NormPosition,
    /// The module's name.
    pub name: String,
}

/// The ranks of all candidates, rule by rule, best first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NormRanking(pub Vec<RankedNorm>);

impl NormRanking {
    /// Ranks the candidates. `squares` gives, for a parameter, the sum over its elements of the examples' mean
    /// squared gradient. Of two equal norms the one declared first comes first.
    pub fn new(
        candidates: &[NormCandidates],
        params: &Parameters,
        squares: impl Fn(ParamId) -> f64,
    ) -> Self {
        let mut list = Vec::new();
        for group in candidates {
            let ranked = |norm: &CandidateNorm| {
                let parameters = norm.elements(params);
                let sum: f64 = norm.params.iter().map(|&id| squares(id)).sum();
                RankedNorm {
                    rank: 0,
                    kept: false,
                    fisher: sum / parameters.max(1) as f64,
                    parameters,
                    tower: norm.tower,
                    layer: norm.layer,
                    place: norm.place,
                    name: norm.name.clone(),
                }
            };
            let mut rows: Vec<_> = group.norms.iter().map(ranked).collect();
            rows.sort_by(|a, b| b.fisher.partial_cmp(&a.fisher).unwrap_or(Ordering::Equal));
            for (i, row) in rows.iter_mut().enumerate() {
                (row.rank, row.kept) = (i + 1, i < group.kept_count());
            }
            list.extend(rows);
        }
        Self(list)
    }

    /// Freezes the candidates that are not kept.
    ///
    /// # Errors
    /// If the candidates are not the norms that were ranked.
    pub fn apply(&self, candidates: &[NormCandidates], params: &mut Parameters) -> Result<()> {
        let norms: Vec<_> = candidates.iter().flat_map(|c| &c.norms).collect();
        if norms.len() != self.0.len() {
            let cause = format!("it has {} norms, the model has {}", self.0.len(), norms.len());
            return Err(Error::invalid("the ranking of norms", cause));
        }
        for norm in norms {
            let Some(row) = self.0.iter().find(|row| row.name == norm.name) else {
                return Err(Error::invalid(
                    "the ranking of norms",
                    format!("it lacks {}", norm.name),
                ));
            };
            for &id in &norm.params {
                params.get_mut(id).set_trained(row.kept);
            }
        }
        Ok(())
    }

    /// How many norms are kept.
    pub fn kept_count(&self) -> usize {
        self.0.iter().filter(|row| row.kept).count()
    }

    /// The ranking as comma-separated values.
    pub fn to_csv(&self) -> String {
        let mut text = "rank,kept,fisher,parameters,tower,layer,place,name\n".to_owned();
        for row in &self.0 {
            let layer = row.layer.map_or(String::new(), |layer| layer.to_string());
            text += &format!(
                "{},{},{:e},{},{},{layer},{},{}\n",
                row.rank,
                row.kept,
                row.fisher,
                row.parameters,
                row.tower,
                row.place.name(),
                row.name
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::ParamKind;
    use crate::tuning::Method;

    /// Four blocks of two norms, the vision tower's twice as wide as the decoder's.
    fn towers() -> Parameters {
        let mut params = Parameters::new();
        for (tower, width) in [(Tower::Vision, 4), (Tower::Decoder, 2)] {
            let mut scope = params.scope(tower, tower.name());
            for i in 0..2 {
                let mut block = scope.layer("layer", i);
                for (name, place) in [("a", NormPosition::Attention), ("f", NormPosition::Ffn)] {
                    for (leaf, term) in [("weight", ParamKind::Weight), ("bias", ParamKind::Bias)] {
                        block.sub(name).declare(leaf, &[width], Module::Norm(place), term);
                    }
                }
                block.declare("fc1.weight", &[2, 2], Module::Fc1, ParamKind::Weight);
            }
        }
        params
    }

    fn tuning(keep: &str) -> Tuning {
        Tuning::new(Method::LAYER_NORM.with("keep", keep).unwrap())
    }

    #[test]
    fn norms_with_the_largest_information_are_kept() {
        let mut params = towers();
        let tuning = tuning("40 %");
        tuning.apply(&mut params).unwrap();
        let candidates = tuning.norm_candidates(&params);
        assert_eq!(candidates.len(), 1);
        assert_eq!(candidates[0].norms.len(), 8);
        assert!(candidates[0].norms.iter().all(|norm| norm.params.len() == 2));
        // If the three kept ones are wide, the narrow ones and one wide one are dropped.
        assert_eq!(
            (candidates[0].kept_count(), candidates[0].fewest_dropped_elements(&params)),
            (3, 4 * 4 + 8)
        );
        // By the mean over elements: a wide norm with a larger sum comes after a narrow one.
        let squares = |id: ParamId| match params.get(id).name() {
            "vision.layer.1.f.weight" => 8.0,
            "decoder.layer.0.a.bias" => 5.0,
            "decoder.layer.1.f.weight" => 2.0,
            _ => 0.5,
        };
        let ranking = NormRanking::new(&candidates, &params, squares);
        let names: Vec<_> = ranking.0[..3].iter().map(|row| row.name.as_str()).collect();
        assert_eq!(names, ["decoder.layer.0.a", "vision.layer.1.f", "decoder.layer.1.f"]);
        assert_eq!(ranking.kept_count(), 3);
        assert!((ranking.0[0].fisher - 5.5 / 4.0).abs() < 1e-12);
        ranking.apply(&candidates, &mut params).unwrap();
        assert_eq!(params.trained_element_count(), 4 + 8 + 4);
        let csv = ranking.to_csv();
        assert!(
            csv.contains("\n1,true,1.375e0,4,decoder,0,attention,decoder.layer.0.a\n"),
            "{csv}"
        );

        let json = serde_json::to_string(&ranking).unwrap();
        let again: NormRanking = serde_json::from_str(&json).unwrap();
        assert_eq!(again, ranking);
        let other = NormRanking(ranking.0[1..].to_vec());
        assert!(other.apply(&candidates, &mut params).is_err());
    }
}
