//! The scores on the test split as a table of Markdown.

use std::fmt::Write as _;

use super::event::TestScores;
use crate::metrics::{Calibration, CalibrationScore, Metric, Scores};

/// The table of the scores of a run, with what its columns mean.
pub(super) fn score_table(test: &TestScores) -> String {
    let mut text = "| metric | score | 95 % interval | before training | image-shuffled | majority answer | n |\n\
         |---|---:|---|---:|---:|---:|---:|\n"
        .to_owned();
    let column = |scores: &Option<Scores>, i: usize| {
        scores.as_ref().and_then(|scores| scores.rows()[i].value)
    };
    let mut reports = false;
    for (i, row) in test.after.rows().iter().enumerate().filter(|(_, row)| row.n > 0) {
        reports |= matches!(row.metric, Metric::Report(_));
        let show = |value: Option<f64>| match value {
            Some(value) if row.metric == Metric::NllPerToken => format!("{value:.3}"),
            Some(value) => format!("{:.1}", row.metric.scale() * value),
            None => "-".to_owned(),
        };
        let interval = match (row.lo, row.hi) {
            (Some(_), Some(_)) => format!("{} to {}", show(row.lo), show(row.hi)),
            _ => "-".to_owned(),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "| {} | {} | {interval} | {} | {} | {} | {} |",
            row.name,
            show(row.value),
            show(column(&test.before, i)),
            show(column(&test.blind, i)),
            show(row.majority),
            row.n,
        );
    }
    text += &calibration_rows(test);
    text + match reports {
        false => {
            "\nScores in percent; `nll_per_token` in nats, `yes_no_brier` and `yes_no_ece` from 0 to 1: of these three lower \
             is better. Image-shuffled: the same model, with the \
             images shuffled between questions. Majority answer: one answer to every question, the one that scores \
             best on the training split.\n"
        }
        true => {
            "\nScores times 100; `nll_per_token` in nats, lower is better. Image-shuffled: the same model, with the \
             images shuffled between studies. Majority answer: one report for every study; of the most frequent \
             training reports, the one that scores best on the training split.\n"
        }
    }
}

/// The rows of the calibration of yes/no answers; empty if the test has none.
fn calibration_rows(test: &TestScores) -> String {
    type Value = fn(&Calibration) -> &CalibrationScore;
    let Some(after) = &test.after.calibration else { return String::new() };
    let values: [(&str, Value, Option<f64>); 2] = [
        ("yes_no_brier", |of| &of.brier, Some(after.brier_baseline)),
        ("yes_no_ece", |of| &of.ece, None),
    ];
    let show = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.3}"));
    let line = |(name, value, baseline): (&str, Value, Option<f64>)| {
        let other = |scores: &Option<Scores>| {
            show(scores.as_ref().and_then(|scores| Some(value(scores.calibration.as_ref()?).value)))
        };
        let CalibrationScore { value: score, interval } = value(after);
        let interval = interval
            .map_or("-".to_owned(), |interval| format!("{:.3} to {:.3}", interval.lo, interval.hi));
        format!(
            "| {name} | {score:.3} | {interval} | {} | {} | {} | {} |\n",
            other(&test.before),
            other(&test.blind),
            show(baseline),
            after.n,
        )
    };
    values.into_iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::score;
    use crate::metrics::test_predictions::yes_no_predictions;

    #[test]
    fn the_calibration_of_yes_no_answers_has_its_rows() {
        let after = score(&yes_no_predictions(|i| i % 4 > 0), None);
        let table = score_table(&TestScores {
            before: None,
            blind: Some(after.clone()),
            after,
            overlap: None,
        });
        // Each true answer has the probability exp(-1).
        for row in [
            "| yes_no_brier | 0.400 | 0.400 to 0.400 | - | 0.400 | 0.000 | 200 |\n",
            "| yes_no_ece | 0.632 | 0.632 to 0.632 | - | 0.632 | - | 200 |\n",
        ] {
            assert!(table.contains(row), "{table}");
        }
    }
}
