//! What the scores of a test mean: whether a model beats one constant answer, itself without the right images, and
//! itself before training.

use std::collections::BTreeSet;

use super::comparison::{Difference, compare_metric};
use super::{Interval, MajorityAnswer, Metric, Prediction, Scores};
use crate::Result;

/// With fewer examples, or with fewer clusters, nothing is concluded.
const MIN_EXAMPLES: usize = 30;
const MIN_CLUSTERS: usize = 10;

/// The predictions of one test, of the same examples.
#[derive(Debug, Clone, Copy)]
pub struct PredictionSets<'a> {
    /// The predictions that are judged.
    pub predictions: &'a [Prediction],
    /// Those of the same model with the images shuffled between examples.
    pub image_shuffled: Option<&'a [Prediction]>,
    /// Those of the model before training.
    pub before: Option<&'a [Prediction]>,
}

/// What the scores of a test mean, in numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// The number of seeds whose predictions are one set ([`Prediction::run`]).
    pub seeds: usize,
    /// All answers, or all reports.
    pub overall: PartFinding,
    /// The answers to open questions, if there are open and closed ones.
    pub open: Option<PartFinding>,
    /// The answers to closed questions, if there are open and closed ones.
    pub closed: Option<PartFinding>,
}

/// What the examples of a test belong to: they are resampled by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClusterKind {
    /// Their images: no row has a group.
    Images,
    /// Their groups, such as patients.
    Groups,
    /// Groups of some rows, images of the others.
    ImagesAndGroups,
}

impl ClusterKind {
    /// What `predictions` belong to. The cluster of a prediction without a group is its image.
    pub fn of(predictions: &[Prediction]) -> Self {
        let is_image = |p: &Prediction| p.cluster == p.image.as_deref().unwrap_or_default();
        match predictions.iter().filter(|p| is_image(p)).count() {
            0 => Self::Groups,
            all if all == predictions.len() => Self::Images,
            _ => Self::ImagesAndGroups,
        }
    }

    /// `n` of them, in words: `5 groups, such as patients`.
    pub fn count(self, n: usize) -> String {
        let s = if n == 1 { "" } else { "s" };
        match self {
            Self::Images => format!("{n} image{s}"),
            Self::Groups => format!("{n} group{s}, such as patients"),
            Self::ImagesAndGroups => format!("{n} image{s} or group{s}"),
        }
    }
}

/// A score and what it is compared with.
#[derive(Debug, Clone, PartialEq)]
pub struct PartFinding {
    /// The metric.
    pub metric: Metric,
    /// The number of examples, each counted once however many seeds there are.
    pub n: usize,
    /// The number of their images or groups.
    pub clusters: usize,
    /// Which of the two.
    pub cluster_kind: ClusterKind,
    /// The score, as in [`super::Score::value`].
    pub value: f64,
    /// Its 95 % interval.
    pub interval: Option<Interval>,
    /// The majority answer.
    pub majority: Option<(MajorityAnswer, Relation)>,
    /// The score with shuffled images.
    pub image_shuffled: Option<Reference>,
    /// The score before training.
    pub before: Option<Reference>,
}

/// A score that another one is compared with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reference {
    /// Its value.
    pub value: f64,
    /// How the score in question lies to it.
    pub relation: Relation,
}

/// How a score lies to a reference, by the paired bootstrap over images or groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// Significantly higher: the 95 % interval of the difference is above zero.
    Higher,
    /// Not significantly different.
    Same,
    /// Significantly lower.
    Lower,
}

impl Finding {
    /// Compares the scores of a test, `scores` being those of [`PredictionSets::predictions`]. `None` if no
    /// example counts.
    ///
    /// # Errors
    /// If the sets are not predictions of the same examples.
    pub fn new(scores: &Scores, test: &PredictionSets<'_>) -> Result<Option<Self>> {
        let reports = test.predictions.first().is_some_and(Prediction::is_report);
        let Some(overall) = PartFinding::new(Metric::primary(reports), scores, test)? else {
            return Ok(None);
        };
        let open = PartFinding::new(Metric::OpenExactMatch, scores, test)?;
        let closed = PartFinding::new(Metric::ClosedAccuracy, scores, test)?;
        let (open, closed) = open.zip(closed).unzip();
        Ok(Some(Self { seeds: count_seeds(test.predictions), overall, open, closed }))
    }
}

impl PartFinding {
    fn new(metric: Metric, scores: &Scores, test: &PredictionSets<'_>) -> Result<Option<Self>> {
        let Some(score) = scores.get(metric) else { return Ok(None) };
        let compare = |other: &[Prediction]| compare_metric(metric, test.predictions, other);
        let reference = |other: Option<&[Prediction]>| -> Result<Option<Reference>> {
            let Some(difference) = other.map(compare).transpose()?.flatten() else {
                return Ok(None);
            };
            let value = score.value - difference.value;
            Ok(Some(Reference { value, relation: Relation::of(&difference) }))
        };
        let majority = match &score.majority {
            Some(majority) => {
                let constant: Vec<Prediction> = test
                    .predictions
                    .iter()
                    .map(|p| Prediction { prediction: majority.answer.clone(), ..p.clone() })
                    .collect();
                reference(Some(&constant))?.map(|of| (majority.clone(), of.relation))
            }
            None => None,
        };
        Ok(Some(Self {
            metric,
            n: score.n / count_seeds(test.predictions),
            clusters: score.clusters,
            cluster_kind: ClusterKind::of(test.predictions),
            value: score.value,
            interval: score.interval,
            majority,
            image_shuffled: reference(test.image_shuffled)?,
            before: reference(test.before)?,
        }))
    }

    /// Whether there are enough examples and images for a conclusion.
    pub fn is_conclusive(&self) -> bool {
        self.n >= MIN_EXAMPLES && self.clusters >= MIN_CLUSTERS
    }

    /// The fewest examples, and the fewest images or groups, for a conclusion.
    pub const fn smallest_test() -> (usize, usize) {
        (MIN_EXAMPLES, MIN_CLUSTERS)
    }
}

/// The number of seeds whose predictions these are; 1 for none.
fn count_seeds(predictions: &[Prediction]) -> usize {
    predictions.iter().map(|p| p.run).collect::<BTreeSet<_>>().len().max(1)
}

impl Relation {
    /// The relation of the first set of a comparison to the second.
    pub fn of(difference: &Difference) -> Self {
        match difference.interval {
            Some(interval) if interval.lo > 0.0 => Self::Higher,
            Some(interval) if interval.hi < 0.0 => Self::Lower,
            _ => Self::Same,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Answer, AnswerType};
    use crate::metrics::test_predictions::yes_no_predictions;
    use crate::metrics::{MajorityBaseline, score};

    #[test]
    fn a_score_is_compared_with_each_reference_on_the_same_questions() {
        // Answer i is right where its rank, which is independent of the image, is below a threshold.
        let right = |below: usize| yes_no_predictions(move |i| i * 37 % 200 < below);
        let (after, shuffled, before) = (right(150), right(140), right(60));
        let training = [Answer::new("no", AnswerType::Closed)];
        let scores = score(&after, Some(&MajorityBaseline::from_training(&training)));
        let test = PredictionSets {
            predictions: &after,
            image_shuffled: Some(&shuffled),
            before: Some(&before),
        };
        let finding = Finding::new(&scores, &test).unwrap().unwrap();
        let PartFinding { value, n, clusters, majority, .. } = finding.overall.clone();
        assert_eq!((value, n, clusters), (0.75, 200, 100));
        assert_eq!(finding.overall.cluster_kind, ClusterKind::Groups);
        assert!(matches!(majority, Some((of, Relation::Higher)) if of.value == 0.0));
        // The two sets differ in ten questions, all to one side: significant, although the intervals overlap.
        let of = finding.overall.image_shuffled.unwrap();
        assert!((of.value - 0.7).abs() < 1e-12 && of.relation == Relation::Higher, "{of:?}");
        let interval =
            |p: &[Prediction]| score(p, None).get(Metric::ExactMatch).unwrap().interval.unwrap();
        assert!(interval(&after).lo < interval(&shuffled).hi);
        assert_eq!(finding.overall.before.unwrap().relation, Relation::Higher);
        // All questions are closed: there is nothing to tell apart.
        assert_eq!((finding.open, finding.closed), (None, None));

        let same =
            PredictionSets { predictions: &after, image_shuffled: None, before: Some(&after) };
        let same = Finding::new(&scores, &same).unwrap().unwrap().overall;
        let before = Reference { value: 0.75, relation: Relation::Same };
        assert_eq!((same.before, same.image_shuffled), (Some(before), None));
        let worse = PredictionSets { predictions: &before_of(&after), ..test };
        let scores = score(worse.predictions, None);
        let worse = Finding::new(&scores, &worse).unwrap().unwrap().overall;
        assert_eq!(worse.image_shuffled.unwrap().relation, Relation::Lower);
    }

    fn before_of(predictions: &[Prediction]) -> Vec<Prediction> {
        let wrong = |p: &Prediction| Prediction { prediction: "no".into(), ..p.clone() };
        predictions.iter().map(wrong).collect()
    }

    #[test]
    fn the_answers_of_several_seeds_are_one_set() {
        let one = yes_no_predictions(|i| i % 4 > 0);
        let of = |run: u64| one.iter().map(move |p| Prediction { run, ..p.clone() });
        let pool: Vec<Prediction> = of(1).chain(of(7)).collect();
        let test = PredictionSets { predictions: &pool, image_shuffled: None, before: None };
        let finding = Finding::new(&score(&pool, None), &test).unwrap().unwrap();
        assert_eq!((finding.seeds, finding.overall.n, finding.overall.clusters), (2, 200, 100));
    }

    #[test]
    fn images_are_named_where_no_row_has_a_group() {
        let rows = yes_no_predictions(|_| true);
        let image = |p: &Prediction| Prediction { image: Some(p.cluster.clone()), ..p.clone() };
        let images: Vec<_> = rows.iter().map(image).collect();
        let mixed = [&rows[..1], &images[1..]].concat();
        let kinds = [&rows, &images, &mixed].map(|rows| ClusterKind::of(rows));
        assert_eq!(kinds, [ClusterKind::Groups, ClusterKind::Images, ClusterKind::ImagesAndGroups]);
        let counts = kinds.map(|kind| [kind.count(1), kind.count(5)].join("; "));
        let groups = "1 group, such as patients; 5 groups, such as patients";
        assert_eq!(counts, [groups, "1 image; 5 images", "1 image or group; 5 images or groups"]);
    }

    #[test]
    fn few_questions_and_few_images_are_inconclusive() {
        let all = yes_no_predictions(|i| i % 2 == 0);
        let finding = |n: usize, cluster: Option<&str>| {
            let mut some = all[..n].to_vec();
            some.iter_mut().for_each(|p| p.cluster = cluster.unwrap_or(&p.cluster).to_owned());
            let test = PredictionSets { predictions: &some, image_shuffled: None, before: None };
            Finding::new(&score(&some, None), &test).unwrap().unwrap().overall
        };
        assert!(finding(30, None).is_conclusive());
        assert!(!finding(29, None).is_conclusive() && !finding(30, Some("one")).is_conclusive());
        assert_eq!(
            Finding::new(
                &score(&[], None),
                &PredictionSets { predictions: &[], image_shuffled: None, before: None }
            )
            .unwrap(),
            None
        );
    }
}
