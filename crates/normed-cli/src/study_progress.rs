//! The progress of a study, in lines, with the time that is left of each stage.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use normed::metrics::Metric;
use normed::recipe::BestBy;
use normed::study::{StudyEvent, Task, TaskKind, TaskOutcome};
use normed::train::read_outcome;

use crate::format::{self, duration, rough_duration};
use crate::output::print_text;

/// Shows the events of a study, which come from several threads.
pub struct StudyProgress {
    stage: Mutex<Stage>,
}

/// The stage that is under way.
struct Stage {
    /// The tasks that were not done when it began.
    tasks: usize,
    /// How many of them have ended.
    done: usize,
    began: Instant,
}

impl StudyProgress {
    /// The progress before the first stage.
    pub fn new() -> Self {
        Self { stage: Mutex::new(Stage { tasks: 0, done: 0, began: Instant::now() }) }
    }

    /// Locks the stage. A poisoned lock is fine: nothing here panics while it holds it.
    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a task that ended, and describes what is left.
    fn count(&self) -> String {
        let mut stage = self.stage();
        stage.done += 1;
        stage.describe(stage.began.elapsed().as_secs_f64())
    }

    /// Shows one event.
    pub fn show(&self, event: &StudyEvent<'_>) {
        match event {
            StudyEvent::StageStarted { name, total, remaining } => {
                *self.stage() = Stage { tasks: *remaining, done: 0, began: Instant::now() };
                print_text(format_args!("{name}: {remaining} of {total} to do"));
            }
            StudyEvent::OtherBuilds { outcomes, versions, accepted } => {
                let s = if *outcomes == 1 { "" } else { "s" };
                let what = match accepted {
                    true => "accepted",
                    false => "not used; keep them with --set accept_other_builds=true",
                };
                print_text(format_args!(
                    "{outcomes} stored result{s} of another build (normed {}): {what}",
                    versions.join(", normed "),
                ));
            }
            StudyEvent::TaskStarted { .. } => {}
            StudyEvent::RateSelected { experiment, learning_rate } => {
                print_text(format_args!("{}: learning rate {learning_rate:e}", experiment.label()));
            }
            StudyEvent::TaskEnded { task, outcome } => {
                let result = match outcome {
                    TaskOutcome::Done => done(task),
                    TaskOutcome::Stopped => "stopped; it can be continued".to_owned(),
                    TaskOutcome::RunningElsewhere => "another process is running it".to_owned(),
                    TaskOutcome::Failed(cause) => format!("failed: {cause}"),
                };
                let left = match outcome {
                    TaskOutcome::Done | TaskOutcome::Failed(_) => self.count(),
                    TaskOutcome::Stopped | TaskOutcome::RunningElsewhere => String::new(),
                };
                print_text(format_args!("  {}: {result}{left}", task.label));
            }
        }
    }
}

impl Stage {
    /// How many tasks are done, and how long the others will take at the same speed: ` (3 of 18, about 4 min left)`.
    fn describe(&self, elapsed: f64) -> String {
        let Self { tasks, done, .. } = *self;
        match tasks.checked_sub(done) {
            Some(left) if left > 0 && done > 0 => {
                let seconds = elapsed / done as f64 * left as f64;
                format!(" ({done} of {tasks}, about {} left)", rough_duration(seconds))
            }
            _ => format!(" ({done} of {tasks})"),
        }
    }
}

/// The result of a task, in a few words.
fn done(task: &Task) -> String {
    let TaskKind::Run { recipe, .. } = &task.kind else { return "done".to_owned() };
    // The study itself reports what cannot be read.
    let Ok(Some(outcome)) = read_outcome(&recipe.output) else { return "done".to_owned() };
    let headline = Metric::primary(!recipe.data.task.is_vqa());
    let test = outcome.test.as_ref().and_then(|test| test.after.get(headline));
    let score = match (test, outcome.best_value) {
        (Some(score), _) => format!("{}, ", format::score(headline, score.value)),
        (None, Some(value)) => {
            format!("{} on the validation split, ", best_by(recipe.train.metric, value))
        }
        (None, None) => String::new(),
    };
    format!("{score}{}", duration(outcome.seconds))
}

/// The value by which the best epoch was chosen, with its name.
fn best_by(metric: BestBy, value: f64) -> String {
    match metric.metric() {
        Some(metric) => format::score(metric, value),
        None => format!("loss {value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_follows_from_the_time_so_far() {
        let stage = |tasks, done| Stage { tasks, done, began: Instant::now() };
        assert_eq!(stage(18, 3).describe(48.0), " (3 of 18, about 4 min left)");
        assert_eq!(stage(18, 18).describe(48.0), " (18 of 18)");
        // A task that another process left may be done here in addition.
        assert_eq!(stage(2, 3).describe(48.0), " (3 of 2)");
    }
}
