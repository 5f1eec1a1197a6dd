//! What happened, to whoever asked and into events.jsonl and the TensorBoard file.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use super::journal::Journal;
use super::{Event, Subject, tensorboard};
use crate::{Error, Result};

/// In the run directory: one event a line.
pub(super) const EVENTS: &str = "events.jsonl";

/// In the run directory; TensorBoard looks for `tfevents` in a name.
const TENSORBOARD: &str = "events.out.tfevents.normed";

/// Hands events on.
pub(super) struct Log<'a> {
    on_event: &'a mut dyn FnMut(&Event),
    events: Journal,
    tensorboard: Journal,
}

impl<'a> Log<'a> {
    /// The files in `directory`, cut back to these lengths.
    pub fn open(
        directory: &Path,
        (events, tensorboard): (u64, u64),
        on_event: &'a mut dyn FnMut(&Event),
    ) -> Result<Self> {
        let events = Journal::open(&directory.join(EVENTS), events)?;
        let mut scalars = Journal::open(&directory.join(TENSORBOARD), tensorboard)?;
        if tensorboard == 0 {
            tensorboard::write_version(&mut scalars, wall_time())?;
        }
        Ok(Self { on_event, events, tensorboard: scalars })
    }

    /// Tells of `event` without writing it.
    pub fn tell(&mut self, event: &Event) {
        (self.on_event)(event);
    }

    /// Tells of `event` and writes it.
    pub fn emit(&mut self, event: Event) -> Result<()> {
        self.tell(&event);
        match &event {
            Event::StepDone { step, loss, lr, grad_norm, .. } => {
                let scalars = [
                    ("train/loss", *loss),
                    ("train/lr", f64::from(*lr)),
                    ("train/grad_norm", *grad_norm),
                ];
                tensorboard::write_scalars(&mut self.tensorboard, wall_time(), *step, &scalars)?;
            }
            Event::Evaluated { of: Subject::Validation, step, loss, scores, .. } => {
                let names: Vec<_> =
                    scores.keys().map(|m| format!("validation/{}", m.name())).collect();
                let scores = names.iter().map(String::as_str).zip(scores.values().copied());
                let scalars: Vec<_> =
                    [("validation/loss", *loss)].into_iter().chain(scores).collect();
                tensorboard::write_scalars(&mut self.tensorboard, wall_time(), *step, &scalars)?;
            }
            _ => {}
        }
        let mut line = serde_json::to_vec(&event).map_err(|e| Error::failed(EVENTS, e))?;
        line.push(b'\n');
        self.events.write(&line)
    }

    /// Makes both files last through a power failure; their lengths.
    pub fn sync(&mut self) -> Result<(u64, u64)> {
        Ok((self.events.sync()?, self.tensorboard.sync()?))
    }
}

/// Seconds since 1970.
fn wall_time() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_told_but_not_written() {
        let dir = tempfile::tempdir().unwrap();
        let mut told = 0;
        let mut count = |_: &Event| told += 1;
        let mut log = Log::open(dir.path(), (0, 0), &mut count).unwrap();
        log.emit(Event::Warning { message: "a\nb".into() }).unwrap();
        log.tell(&Event::Progress { of: Subject::TestAfter, done: 1, examples: 2 });
        assert_eq!(told, 2);
        let text = std::fs::read_to_string(dir.path().join(EVENTS)).unwrap();
        assert_eq!(text, "{\"event\":\"warning\",\"message\":\"a\\nb\"}\n");
    }
}
