//! What a study found, in sentences: which method scores highest, and what each one learned.

use std::borrow::Cow;

use super::group_scores::{GroupScores, ScoredExperiment};
use super::paired_comparison::PairedComparison;
use crate::Result;
use crate::data::Split;
use crate::metrics::{
    Finding, MajorityBaseline, Metric, Prediction, PredictionSets, describe_finding,
    describe_use_of_images, score,
};

/// Fewer seeds say little about how far seeds differ.
const MIN_SEEDS: usize = 3;

/// The smallest difference of two scores, of 1, that a page shows.
const SHOWN_DIFFERENCE: f64 = 0.000_5;

/// What was found with one model and data set.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupFinding {
    /// Which method scores highest, which others differ significantly, and which use the images.
    pub ranking: String,
    /// What each method learned, with its name.
    pub methods: Vec<(String, String)>,
    /// Why the numbers may mislead.
    pub warnings: Vec<String>,
}

impl GroupFinding {
    /// Describes the scores of a group. `baseline` is that of its data set, `seeds` the number of seeds.
    ///
    /// # Errors
    ///
    /// If predictions do not match between methods.
    pub fn new(
        scores: &GroupScores<'_>,
        baseline: Option<&MajorityBaseline>,
        seeds: usize,
    ) -> Result<Self> {
        let base = scores.experiments.iter().find(|one| !one.results.experiment.trains());
        let (mut methods, mut small_test) = (Vec::new(), None);
        let mut by_use: Vec<(&str, Vec<&str>)> = Vec::new();
        for one in &scores.experiments {
            let experiment = one.results.experiment;
            let before = base.filter(|_| experiment.trains());
            // What trains nothing has one run, which stands for all seeds.
            let predictions = own_runs(experiment.trains(), &one.pool);
            let shuffled = one.shuffled_pool.as_ref();
            let shuffled = shuffled.map(|pool| own_runs(experiment.trains(), pool));
            let sets = PredictionSets {
                predictions: &predictions,
                image_shuffled: shuffled.as_deref(),
                before: before.map(|base| &base.pool[..]),
            };
            if let Some(finding) = Finding::new(&score(&predictions, baseline), &sets)? {
                let part = &finding.overall;
                if !part.is_conclusive() {
                    small_test = Some((part.n, part.cluster_kind.count(part.clusters)));
                }
                if let Some(of) = describe_use_of_images(&finding) {
                    match by_use.iter_mut().find(|(known, _)| *known == of) {
                        Some((_, names)) => names.push(experiment.method.as_str()),
                        None => by_use.push((of, vec![experiment.method.as_str()])),
                    }
                }
                let text = describe_finding(&finding, &experiment.method, Some(Split::Test));
                methods.push((experiment.method.clone(), text));
            }
        }
        let mut warnings = warnings(scores, seeds);
        if let Some((n, clusters)) = small_test {
            warnings.push(format!(
                "The test split has {n} examples of {clusters}: too few for a conclusion."
            ));
        }
        let ranking = match (rank(scores), methods.as_slice()) {
            // There is nothing to rank.
            (ranking, [(_, only)]) if ranking.is_empty() => only.clone(),
            (ranking, _) => ranking + &list_by_use(&by_use),
        };
        Ok(Self { ranking, methods, warnings })
    }
}

/// Which methods use the images, in a sentence for each use: ` Use the images: a, b.`
fn list_by_use(by_use: &[(&str, Vec<&str>)]) -> String {
    let list = |(of, names): &(&str, Vec<&str>)| {
        let (first, rest) = of.split_at(1);
        format!(" {}{rest}: {}.", first.to_uppercase(), names.join(", "))
    };
    by_use.iter().map(list).collect()
}

/// The predictions of all runs; of one if the method does not train and all runs are the same.
fn own_runs(trains: bool, pool: &[Prediction]) -> Cow<'_, [Prediction]> {
    let first = pool.first().map(|p| p.run);
    match trains {
        true => Cow::Borrowed(pool),
        false => pool.iter().filter(|p| Some(p.run) == first).cloned().collect(),
    }
}

/// The sentences on the highest score and on those that it is compared with; empty if there is no other.
fn rank(scores: &GroupScores<'_>) -> String {
    let metric = scores.primary_metric();
    let Some(column) = scores.columns.iter().find(|column| column.metric == metric) else {
        return String::new();
    };
    let Some(first) = column.comparisons.first() else { return String::new() };
    let show = |i: usize| {
        let one: &ScoredExperiment<'_> = &scores.experiments[i];
        let entry = one.scores.entry(metric);
        let value = entry.map_or(String::new(), |entry| quantity(metric, entry.value));
        (one.results.experiment.method.clone(), value)
    };
    let is_equal = |one: &PairedComparison| {
        !one.is_significant() && one.difference.value.abs() < SHOWN_DIFFERENCE
    };
    let select = |is: &dyn Fn(&PairedComparison) -> bool| -> Vec<(String, String)> {
        column.comparisons.iter().filter(|one| is(one)).map(|one| show(one.other)).collect()
    };
    let others = Others {
        equal: select(&is_equal),
        tied: select(&|one: &PairedComparison| !one.is_significant() && !is_equal(one)),
        lower: select(&PairedComparison::is_significant),
    };
    describe_ranking(metric, &show(first.best), &others)
}

/// The methods that do not have the highest score, or not alone: each with its score.
struct Others {
    /// Those with the same score.
    equal: Vec<(String, String)>,
    /// Those that are lower, but not significantly.
    tied: Vec<(String, String)>,
    /// Those that are significantly lower.
    lower: Vec<(String, String)>,
}

/// The method with the highest score and the others, in a sentence or two.
fn describe_ranking(metric: Metric, highest: &(String, String), others: &Others) -> String {
    let Others { equal, tied, lower } = others;
    let score = match metric {
        Metric::Report(_) => "CIDEr",
        _ => "exact match",
    };
    let show = |(name, value): &(String, String)| format!("{name} ({value})");
    let list = |all: &[(String, String)]| all.iter().map(show).collect::<Vec<_>>();
    let mut text = match equal.as_slice() {
        [] => format!("{} has the highest {score}", show(highest)),
        equal => {
            let names = [highest].into_iter().chain(equal).map(|(name, _)| name.clone());
            let names = join(&names.collect::<Vec<_>>(), "and");
            let highest_of_all = match tied.is_empty() && lower.is_empty() {
                true => "same",
                false => "same, highest",
            };
            format!("{names} have the {highest_of_all} {score} ({})", highest.1)
        }
    };
    if !tied.is_empty() {
        text += &format!(", but not significantly higher than {}", join(&list(tied), "or"));
    }
    if !lower.is_empty() {
        text += &match tied.is_empty() && equal.is_empty() {
            true => ", significantly higher than every other".to_owned(),
            false => format!(". Significantly lower: {}", list(lower).join(", ")),
        };
    }
    text + "."
}

/// Warnings about the seeds of the methods that are trained.
fn warnings(scores: &GroupScores<'_>, seeds: usize) -> Vec<String> {
    let metric = scores.primary_metric();
    let tuned = || scores.experiments.iter().filter(|one| one.results.experiment.trains());
    let values: Vec<f64> =
        tuned().filter_map(|one| Some(one.scores.entry(metric)?.value)).collect();
    let deviation = tuned().filter_map(|one| one.scores.deviation(metric)).reduce(f64::max);
    describe_seeds(seeds, &values, deviation.map(|deviation| 100.0 * deviation))
}

/// Warns of too few seeds, and of seeds that differ more than the methods do. `values` are the scores of the methods,
/// `deviation` the largest standard deviation over the seeds of one.
fn describe_seeds(seeds: usize, values: &[f64], deviation: Option<f64>) -> Vec<String> {
    let mut warnings = Vec::new();
    if seeds < MIN_SEEDS && !values.is_empty() {
        let seeds = if seeds == 1 { "1 seed" } else { "2 seeds" };
        warnings.push(format!(
            "Each method was trained with {seeds} only, which does not show how much its score changes by chance. Use \
             {MIN_SEEDS} seeds or more."
        ));
    }
    let ends = values.iter().fold((f64::MAX, f64::MIN), |(a, b), &v| (a.min(v), b.max(v)));
    let range = ends.1 - ends.0;
    if let Some(deviation) = deviation.filter(|&deviation| values.len() > 1 && deviation > range) {
        warnings.push(format!(
            "The seeds of a method differ by more (standard deviation up to {deviation:.1}) than the methods do \
             ({range:.1} from the lowest to the highest): another seed may change their order."
        ));
    }
    warnings
}

/// A score times 100 with its unit.
fn quantity(metric: Metric, value: f64) -> String {
    match metric {
        Metric::Report(_) => format!("{value:.1}"),
        _ => format!("{value:.1} %"),
    }
}

/// `a`, `a or b`, `a, b or c`, with `or` or another word.
fn join(names: &[String], word: &str) -> String {
    match names {
        [most @ .., last] if !most.is_empty() => format!("{} {word} {last}", most.join(", ")),
        names => names.concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ranking_tells_what_is_significant() {
        let of = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let (full, same) = (of("full", "66.3 %"), of("bitfit", "66.3 %"));
        let (lora, ia3, none) = (of("lora", "65.1 %"), of("ia3", "64.8 %"), of("none", "30.2 %"));
        let (lora, ia3, none) = (&lora, &ia3, &none);
        for (equal, tied, lower, want) in [
            (
                0,
                vec![],
                vec![none],
                "full (66.3 %) has the highest exact match, significantly higher than every other.",
            ),
            (
                0,
                vec![lora],
                vec![],
                "full (66.3 %) has the highest exact match, but not significantly higher than lora (65.1 %).",
            ),
            (
                0,
                vec![lora, ia3],
                vec![none],
                "full (66.3 %) has the highest exact match, but not significantly higher than lora (65.1 %) or ia3 \
                 (64.8 %). Significantly lower: none (30.2 %).",
            ),
            (1, vec![], vec![], "full and bitfit have the same exact match (66.3 %)."),
            (
                2,
                vec![],
                vec![none],
                "full, bitfit and bitfit have the same, highest exact match (66.3 %). Significantly lower: none (30.2 %).",
            ),
            (
                1,
                vec![lora],
                vec![],
                "full and bitfit have the same, highest exact match (66.3 %), but not significantly higher than lora \
                 (65.1 %).",
            ),
        ] {
            let all = |of: Vec<&(String, String)>| of.into_iter().cloned().collect();
            let others =
                Others { equal: vec![same.clone(); equal], tied: all(tied), lower: all(lower) };
            assert_eq!(describe_ranking(Metric::ExactMatch, &full, &others), want);
        }
    }

    #[test]
    fn methods_are_listed_by_their_use_of_images() {
        let by_use =
            [("use the images", vec!["none", "lora"]), ("misled by the images", vec!["ia3"])];
        let text = " Use the images: none, lora. Misled by the images: ia3.";
        assert_eq!(list_by_use(&by_use), text);
        assert_eq!(list_by_use(&[]), "");
    }

    #[test]
    fn few_seeds_and_seeds_that_differ_more_than_methods_are_warned_about() {
        let few = |text: &str| text.contains("by chance. Use 3 seeds");
        let differ = |text: &str| text.contains("up to 3.1) than the methods do (2.0 from");
        for (seeds, values, deviation, want) in [
            (3, &[58.0, 60.0][..], Some(1.9), [false, false]),
            (3, &[58.0, 60.0], Some(3.1), [false, true]),
            (2, &[58.0, 60.0], Some(3.1), [true, true]),
            (1, &[58.0], None, [true, false]),
            // One method has no others to differ from, and none that trains has no seeds.
            (3, &[58.0], Some(3.1), [false, false]),
            (1, &[], None, [false, false]),
        ] {
            let texts = describe_seeds(seeds, values, deviation);
            let found = [texts.iter().any(|t| few(t)), texts.iter().any(|t| differ(t))];
            assert_eq!(found, want, "{texts:?}");
        }
    }
}
