//! The step times and validation values of a run, read from its events.jsonl.

use std::path::Path;

use serde_json::Value;

use crate::Result;
use crate::files::{TABLE_LIMIT, read_text};
use crate::metrics::Metric;
use crate::recipe::TrainSpec;

/// The step times and validation values of a run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TrainingHistory {
    /// Median seconds per step.
    pub step_seconds: Option<f64>,
    /// Seconds per epoch, without evaluations.
    pub epoch_seconds: Option<f64>,
    /// The evaluations on the validation split.
    pub validations: Vec<Validation>,
}

/// An evaluation on the validation split.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Validation {
    /// The epoch after which it took place.
    pub epoch: usize,
    /// The loss, in nats per token.
    pub loss: f64,
    /// The primary metric of generated texts, where texts were generated: [`Metric::primary`].
    pub score: Option<f64>,
}

impl TrainingHistory {
    /// Reads the history of the run in `directory`, which was trained with `spec`.
    pub fn read(directory: &Path, spec: &TrainSpec) -> Result<Self> {
        let path = directory.join("events.jsonl");
        let text = read_text(&path, TABLE_LIMIT)?;
        Ok(Self::parse(&text, spec.examples_per_step()))
    }

    /// `examples` is the number of examples per step.
    fn parse(events: &str, examples: usize) -> Self {
        let (mut seconds, mut last_epoch, mut history) = (Vec::new(), 0, Self::default());
        // A kill can cut a line short; such a line is skipped.
        for event in events.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
            let epoch = event["epoch"].as_u64().unwrap_or(0) as usize;
            match event["event"].as_str() {
                Some("step_done") => {
                    if let Some(rate) = event["examples_per_second"].as_f64().filter(|r| *r > 0.0) {
                        seconds.push(examples as f64 / rate);
                    }
                    last_epoch = last_epoch.max(epoch);
                }
                Some("evaluated") if event["of"] == "validation" => {
                    let Some(loss) = event["loss"].as_f64() else { continue };
                    let primary = |reports| event[Metric::primary(reports).name()].as_f64();
                    let score = primary(false).or_else(|| primary(true));
                    history.validations.push(Validation { epoch, loss, score });
                }
                _ => {}
            }
        }
        if !seconds.is_empty() {
            seconds.sort_by(f64::total_cmp);
            let median = seconds[seconds.len() / 2];
            history.step_seconds = Some(median);
            history.epoch_seconds = Some(median * seconds.len() as f64 / last_epoch.max(1) as f64);
        }
        history
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_and_validations_are_read() {
        let events = r#"{"event":"started","steps":3}
{"event":"step_done","step":1,"epoch":1,"loss":3.0,"examples_per_second":8.0}
{"event":"step_done","step":2,"epoch":1,"loss":3.0,"examples_per_second":2.0}
{"event":"evaluated","of":"validation","epoch":1,"loss":2.5,"exact_match":0.5}
{"event":"step_done","step":3,"epoch":2,"loss":3.0,"examples_per_second":4.0}
{"event":"evaluated","of":"test_after","epoch":2,"loss":9.0}
"#;
        let history = TrainingHistory::parse(events, 8);
        assert_eq!((history.step_seconds, history.epoch_seconds), (Some(2.0), Some(3.0)));
        let want = Validation { epoch: 1, loss: 2.5, score: Some(0.5) };
        assert_eq!(history.validations, [want]);
        let report = TrainingHistory::parse(&events.replace("exact_match", "cider"), 8);
        assert_eq!(report.validations, history.validations);
        assert_eq!(TrainingHistory::parse("", 8), TrainingHistory::default());
    }
}
