//! A part of the norms: those that matter most to the data, by their Fisher information.
//!
//! ValizadehAslani and Liang (2024, arXiv 2403.20284) tune the LayerNorms of largest Fisher information
//! and lose little. Their text names the measure; here it is the diagonal of the empirical Fisher
//! information at the base's parameters, `1/N Σₙ (∂ log p(yₙ | xₙ) / ∂θ)²` over `N` training examples
//! with the answers that they have, and a norm's is the mean over its gain and bias, so that its width
//! does not decide.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Rule, Tuning};
use crate::tensor::{Module, NormPosition, ParamId, Parameters, Tower};
use crate::{Error, Result};

/// Which part of the norms is kept: more than 0, at most 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Keep(f32);

impl Keep {
    /// `part` of them; none if that is no part.
    pub fn new(part: f32) -> Option<Self> {
        (part > 0.0 && part <= 1.0).then_some(Self(part))
    }

    /// How many of `n` norms: the nearest whole number, and one at least.
    fn of(self, n: usize) -> usize {
        ((f64::from(self.0) * n as f64).round() as usize).max(1).min(n)
    }
}

impl FromStr for Keep {
    type Err = String;

    /// `"30 %"` or `"0.3"`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (number, whole) = match text.strip_suffix('%') {
            Some(percent) => (percent, 100.0),
            None => (text, 1.0),
        };
        let part = number.trim().parse::<f32>().ok().and_then(|number| Self::new(number / whole));
        part.ok_or_else(|| format!("must be a part, as in 0.3 or \"30 %\", is {text}"))
    }
}

impl fmt::Display for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} %", 100.0 * self.0)
    }
}

/// A norm that a rule trains.
#[derive(Debug, Clone, PartialEq)]
pub struct Norm {
    /// The module's name.
    pub name: String,
    /// Where.
    pub tower: Tower,
    /// The block, counted from 0; none outside the blocks.
    pub layer: Option<usize>,
    /// What it normalises.
    pub place: NormPosition,
    /// Gain and, where it has one and the rule trains it, bias.
    pub params: Vec<ParamId>,
}

impl Norm {
    /// Elements that are trained if it is kept.
    fn elements(&self, params: &Parameters) -> usize {
        self.params.iter().map(|&id| params.get(id).len()).sum()
    }
}

/// What one rule chooses from.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidates {
    /// How much of it.
    pub keep: Keep,
    /// In the order of declaration.
    pub norms: Vec<Norm>,
}

impl Candidates {
    /// How many norms are kept.
    pub fn kept(&self) -> usize {
        self.keep.of(self.norms.len())
    }

    /// How many elements the norms that are not kept have at least: which they are, a run finds.
    pub fn left(&self, params: &Parameters) -> usize {
        let mut sizes: Vec<_> = self.norms.iter().map(|norm| norm.elements(params)).collect();
        sizes.sort_unstable();
        sizes[..sizes.len() - self.kept()].iter().sum()
    }
}

impl Tuning {
    /// For each rule that keeps a part of the norms, those that it would train, `params` being as
    /// [`Tuning::apply`] left them.
    pub fn candidates(&self, params: &Parameters) -> Vec<Candidates> {
        let rules = self.rules().into_iter();
        rules
            .filter_map(|(_, rule)| Some(candidates(rule.options.layer_norm.keep?, &rule, params)))
            .collect()
    }
}

fn candidates(keep: Keep, rule: &Rule, params: &Parameters) -> Candidates {
    let mut norms: Vec<Norm> = Vec::new();
    for (id, parameter) in params.trained().filter(|(_, p)| rule.trains(&p.role)) {
        let Module::Norm(place) = parameter.role.module else { continue };
        let (tower, layer) = (parameter.role.tower, parameter.role.layer);
        // A tower has one norm for each place in a block.
        match norms.iter_mut().find(|n| (n.tower, n.layer, n.place) == (tower, layer, place)) {
            Some(norm) => norm.params.push(id),
            None => {
                let name = parameter.name.rsplit_once('.').map_or("", |(module, _)| module);
                norms.push(Norm { name: name.to_owned(), tower, layer, place, params: vec![id] });
            }
        }
    }
    Candidates { keep, norms }
}

/// A norm's place among those that it was compared with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ranked {
    /// From 1 up, among the norms of the same rule.
    pub rank: usize,
    /// Whether it is trained.
    pub kept: bool,
    /// The mean over its elements of the empirical Fisher information.
    pub fisher: f64,
    /// Its elements.
    pub parameters: usize,
    /// Where.
    pub tower: Tower,
    /// The block, counted from 0; none outside the blocks.
    pub layer: Option<usize>,
    /// What it normalises.
    pub place: NormPosition,
    /// The module's name.
    pub name: String,
}

/// Every norm that was a candidate, rule by rule, from the first to the last.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ranking(pub Vec<Ranked>);

impl Ranking {
    /// Ranks by `squares`, which says of a parameter the sum over its elements of the mean square of
    /// the examples' gradients. Of equals the one that was declared first comes first.
    pub fn of(
        candidates: &[Candidates],
        params: &Parameters,
        squares: impl Fn(ParamId) -> f64,
    ) -> Self {
        let mut list = Vec::new();
        for some in candidates {
            let ranked = |norm: &Norm| {
                let parameters = norm.elements(params);
                let sum: f64 = norm.params.iter().map(|&id| squares(id)).sum();
                Ranked {
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
            let mut rows: Vec<_> = some.norms.iter().map(ranked).collect();
            rows.sort_by(|a, b| b.fisher.partial_cmp(&a.fisher).unwrap_or(Ordering::Equal));
            for (i, row) in rows.iter_mut().enumerate() {
                (row.rank, row.kept) = (i + 1, i < some.kept());
            }
            list.extend(rows);
        }
        Self(list)
    }

    /// Freezes the candidates that are not kept. Fails if these are others than were ranked.
    pub fn apply(&self, candidates: &[Candidates], params: &mut Parameters) -> Result<()> {
        let norms: Vec<_> = candidates.iter().flat_map(|c| &c.norms).collect();
        if norms.len() != self.0.len() {
            let cause = format!("{} norms were ranked, there are {}", self.0.len(), norms.len());
            return Err(Error::invalid("the ranking of norms", cause));
        }
        for norm in norms {
            let Some(row) = self.0.iter().find(|row| row.name == norm.name) else {
                return Err(Error::invalid("the ranking of norms", format!("lacks {}", norm.name)));
            };
            for &id in &norm.params {
                params.get_mut(id).trained = row.kept;
            }
        }
        Ok(())
    }

    /// How many norms are trained.
    pub fn kept(&self) -> usize {
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
        let mut rule = Rule::new(Method::LayerNorm);
        rule.options.layer_norm.keep = Some(keep.parse().unwrap());
        Tuning::One(rule)
    }

    #[test]
    fn norms_of_largest_information_stay() {
        let mut params = towers();
        let tuning = tuning("40 %");
        tuning.apply(&mut params).unwrap();
        let candidates = tuning.candidates(&params);
        assert_eq!(candidates.len(), 1);
        assert_eq!(candidates[0].norms.len(), 8);
        assert!(candidates[0].norms.iter().all(|norm| norm.params.len() == 2));
        // If the three are wide ones, what is left are the narrow ones and a wide one.
        assert_eq!((candidates[0].kept(), candidates[0].left(&params)), (3, 4 * 4 + 8));
        // By the mean over elements: a wide norm with a larger sum comes behind a narrow one.
        let squares = |id: ParamId| match params.get(id).name.as_str() {
            "vision.layer.1.f.weight" => 8.0,
            "decoder.layer.0.a.bias" => 5.0,
            "decoder.layer.1.f.weight" => 2.0,
            _ => 0.5,
        };
        let ranking = Ranking::of(&candidates, &params, squares);
        let names: Vec<_> = ranking.0[..3].iter().map(|row| row.name.as_str()).collect();
        assert_eq!(names, ["decoder.layer.0.a", "vision.layer.1.f", "decoder.layer.1.f"]);
        assert_eq!(ranking.kept(), 3);
        assert!((ranking.0[0].fisher - 5.5 / 4.0).abs() < 1e-12);
        ranking.apply(&candidates, &mut params).unwrap();
        assert_eq!(params.trained_element_count(), 4 + 8 + 4);
        let csv = ranking.to_csv();
        assert!(
            csv.contains("\n1,true,1.375e0,4,decoder,0,attention,decoder.layer.0.a\n"),
            "{csv}"
        );

        let json = serde_json::to_string(&ranking).unwrap();
        let again: Ranking = serde_json::from_str(&json).unwrap();
        assert_eq!(again, ranking);
        let other = Ranking(ranking.0[1..].to_vec());
        assert!(other.apply(&candidates, &mut params).is_err());
    }

    #[test]
    fn a_part_is_a_fraction_or_a_percentage() {
        for (text, of_ten) in [("0.3", 3), ("30 %", 3), ("30%", 3), ("1", 10), ("0.01", 1)] {
            assert_eq!(text.parse::<Keep>().unwrap().of(10), of_ten, "{text}");
        }
        for text in ["0", "1.1", "101 %", "-1", "all", "", "%", "nan"] {
            assert!(text.parse::<Keep>().is_err(), "{text}");
        }
    }
}
