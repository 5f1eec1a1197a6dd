//! The scores on the test split as a table of Markdown.

use std::fmt::Write as _;

use super::event::TestScores;
use crate::metrics::{Metric, Scores};

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
    text + match reports {
        false => {
            "\nScores in percent; `nll_per_token` in nats, lower is better. Image-shuffled: the same model, with the \
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
