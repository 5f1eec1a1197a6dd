//! The plots of a study.

use std::collections::BTreeMap;

use super::group_scores::{GroupScores, metric_label};
use super::names::{file_name, heading};
use super::norm_changes::norm_changes;
use super::results::{ExperimentResults, MIB, Results, RunResults, mean};
use super::seed_scores::SeedScores;
use super::training_history::Validation;
use crate::Result;
use crate::plot::{Axis, Figure, Point, Series};
use crate::tensor::Tower;

/// How the names of the plots of norms begin.
pub const NORMS: &str = "norms-";

/// The plots of one model and data set.
pub fn plot_group(
    results: &Results<'_>,
    group: &[&ExperimentResults<'_>],
    scores: &GroupScores<'_>,
) -> Result<Vec<Figure>> {
    let plots = GroupPlots { colors: method_colors(results), group, scores };
    let mut figures = plots.scores_against_costs();
    figures.extend(plots.learning_curves());
    figures.extend(plots.data_efficiency());
    figures.extend(plots.norm_changes()?);
    Ok(figures)
}

/// The index of the color of each method, the same in all plots of a study.
fn method_colors<'r>(results: &'r Results<'_>) -> BTreeMap<&'r str, usize> {
    let mut colors = BTreeMap::new();
    for experiment in &results.study.experiments {
        let next = colors.len();
        colors.entry(experiment.method.as_str()).or_insert(next);
    }
    colors
}

struct GroupPlots<'p, 'r> {
    colors: BTreeMap<&'p str, usize>,
    group: &'p [&'p ExperimentResults<'p>],
    scores: &'p GroupScores<'r>,
}

impl GroupPlots<'_, '_> {
    /// A figure of these series; `None` if there are none.
    fn figure(
        &self,
        name: &str,
        subject: &str,
        axes: [Axis; 2],
        series: Vec<Series>,
    ) -> Option<Figure> {
        let experiment = self.group[0].experiment;
        let (data_set, model) = (&experiment.data_set, &experiment.model);
        let [x_axis, y_axis] = axes;
        let series: Vec<_> = series.into_iter().filter(|one| !one.points.is_empty()).collect();
        (!series.is_empty()).then(|| Figure {
            name: file_name([name, model, data_set]),
            title: format!("{}: {subject}", heading(data_set, model)),
            x_axis,
            y_axis,
            series,
        })
    }

    fn series(
        &self,
        results: &ExperimentResults<'_>,
        points: Vec<Point>,
        connected: bool,
    ) -> Series {
        let method = &results.experiment.method;
        Series { name: method.clone(), color: self.colors[method.as_str()], points, connected }
    }

    /// The primary metric, for an axis.
    fn score_axis(&self) -> Axis {
        Axis::linear(metric_label(self.scores.primary_metric()))
    }

    /// The score against trained parameters, memory and time.
    fn scores_against_costs(&self) -> Vec<Figure> {
        type Cost = fn(&RunResults) -> Option<f64>;
        let trained: Cost = |run| Some(run.outcome.trained as f64);
        let memory: Cost = |run| Some(run.outcome.peak_memory_bytes? as f64 / MIB);
        let time: Cost = |run| run.history.step_seconds;
        let costs = [
            ("parameters", "trained parameters", Axis::log("trained parameters"), trained),
            ("memory", "memory", Axis::linear("peak memory, MiB"), memory),
            ("time", "time", Axis::linear("seconds per step"), time),
        ];
        let primary = self.scores.primary_metric();
        let plot = |(name, subject, x_axis, cost): (&str, &str, Axis, Cost)| {
            // Methods that train nothing have no cost.
            let tuned = self.scores.experiments.iter().filter(|e| e.results.experiment.trains());
            let series = tuned.filter_map(|experiment| {
                let x = mean(&experiment.results.runs, cost)?;
                let score = experiment.scores.entry(primary)?;
                let point = Point { x, y: score.value, interval: score.interval };
                Some(self.series(experiment.results, vec![point], false))
            });
            let subject = format!("score against {subject}");
            self.figure(name, &subject, [x_axis, self.score_axis()], series.collect())
        };
        costs.into_iter().filter_map(plot).collect()
    }

    /// The validation score and the validation loss after each epoch, averaged over seeds.
    fn learning_curves(&self) -> Vec<Figure> {
        type Value = fn(&Validation) -> Option<f64>;
        let curves: [(&str, &str, Axis, Value); 2] = [
            ("learning", "validation score", self.score_axis(), |v| v.score.map(|s| 100.0 * s)),
            ("loss", "validation loss", Axis::linear("loss, nats per token"), |v| Some(v.loss)),
        ];
        let plot = |(name, subject, y_axis, value): (&str, &str, Axis, Value)| {
            let curve = |results: &&ExperimentResults<'_>| {
                let mut sums: BTreeMap<usize, (f64, usize)> = BTreeMap::new();
                for validation in results.runs.iter().flat_map(|run| &run.history.validations) {
                    if let Some(value) = value(validation) {
                        let (sum, n) = sums.entry(validation.epoch).or_default();
                        (*sum, *n) = (*sum + value, *n + 1);
                    }
                }
                let points = sums.into_iter().map(|(epoch, (sum, n))| Point {
                    x: epoch as f64,
                    y: sum / n as f64,
                    interval: None,
                });
                self.series(results, points.collect(), true)
            };
            let series: Vec<_> = self.group.iter().map(curve).collect();
            // One epoch makes no curve.
            let is_curve = series.iter().any(|one| one.points.len() > 1);
            let axes = [Axis::integer("epoch"), y_axis];
            is_curve.then(|| self.figure(name, subject, axes, series)).flatten()
        };
        curves.into_iter().filter_map(plot).collect()
    }

    /// The score against the fraction of the training examples.
    fn data_efficiency(&self) -> Option<Figure> {
        let primary = self.scores.primary_metric();
        let with_fractions = self.group.iter().filter(|results| !results.fraction_runs.is_empty());
        let series = with_fractions.map(|results| {
            let fractions = results.fraction_runs.iter().map(|(f, runs)| (f64::from(*f), runs));
            let mut points: Vec<Point> = fractions
                .chain([(1.0, &results.runs)])
                .filter_map(|(fraction, runs)| {
                    let score = SeedScores::of_own_test(runs).entry(primary)?;
                    Some(Point { x: 100.0 * fraction, y: score.value, interval: score.interval })
                })
                .collect();
            points.sort_by(|a, b| a.x.total_cmp(&b.x));
            self.series(results, points, true)
        });
        let axes = [Axis::log("training images, %"), self.score_axis()];
        self.figure("efficiency", "data efficiency", axes, series.collect())
    }

    /// For each tower, the relative change of the norm gains over its blocks.
    fn norm_changes(&self) -> Result<Vec<Figure>> {
        let mut changed = Vec::new();
        for &results in self.group {
            if let Some(run) = results.runs.first()
                && let Some(changes) = norm_changes(&results.experiment.recipe, &run.outcome)?
            {
                changed.push((results, changes));
            }
        }
        let plot = |tower: Tower| {
            let series = changed.iter().map(|(results, changes)| {
                let in_tower = changes.iter().filter(|((of, _), _)| *of == tower);
                let points = in_tower.map(|(&(_, block), &change)| Point {
                    x: block as f64,
                    y: 100.0 * change,
                    interval: None,
                });
                self.series(results, points.collect(), true)
            });
            let subject = format!("change of the norms of each block, {tower} tower");
            let axes = [Axis::integer("block"), Axis::linear("relative change of the gains, %")];
            self.figure(&format!("{NORMS}{tower}"), &subject, axes, series.collect())
        };
        Ok(Tower::ALL.into_iter().filter_map(plot).collect())
    }
}
