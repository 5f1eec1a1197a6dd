//! The event log: hands events to the caller, and writes them to events.jsonl and a TensorBoard file.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::append_file::AppendFile;
use super::event::{Event, Subject};
use super::tensorboard::{write_scalars, write_version};
use super::timestamp::utc_now;
use crate::{Error, Result};

/// In the run directory: one event per line.
pub(super) const EVENTS: &str = "events.jsonl";

/// In the run directory. TensorBoard finds files with `tfevents` in their names.
const TENSORBOARD: &str = "events.out.tfevents.normed";

/// Hands events to the caller of a run, and writes them to the run directory.
pub(super) struct EventLog<'a> {
    on_event: &'a mut dyn FnMut(&Event),
    events: AppendFile,
    tensorboard: AppendFile,
}

/// A line of events.jsonl.
#[derive(Serialize)]
struct LogLine<'e> {
    /// When the event happened, in UTC (RFC 3339).
    time: String,
    #[serde(flatten)]
    event: &'e Event,
}

impl<'a> EventLog<'a> {
    /// Opens the files in `directory` and truncates them to these lengths.
    pub fn open(
        directory: &Path,
        (events, tensorboard): (u64, u64),
        on_event: &'a mut dyn FnMut(&Event),
    ) -> Result<Self> {
        let events = AppendFile::open(&directory.join(EVENTS), events)?;
        let mut scalars = AppendFile::open(&directory.join(TENSORBOARD), tensorboard)?;
        if tensorboard == 0 {
            write_version(&mut scalars, wall_time())?;
        }
        Ok(Self { on_event, events, tensorboard: scalars })
    }

    /// Hands `event` to the caller without writing it.
    pub fn notify(&mut self, event: &Event) {
        (self.on_event)(event);
    }

    /// Hands `event` to the caller and writes it.
    pub fn emit(&mut self, event: Event) -> Result<()> {
        self.notify(&event);
        match &event {
            Event::StepDone { step, loss, lr, grad_norm, .. } => {
                let scalars = [
                    ("train/loss", *loss),
                    ("train/lr", f64::from(*lr)),
                    ("train/grad_norm", *grad_norm),
                ];
                write_scalars(&mut self.tensorboard, wall_time(), *step, &scalars)?;
            }
            Event::Evaluated { subject: Subject::Validation, step, loss, scores, .. } => {
                let names: Vec<_> =
                    scores.keys().map(|m| format!("validation/{}", m.name())).collect();
                let scores = names.iter().map(String::as_str).zip(scores.values().copied());
                let scalars: Vec<_> =
                    [("validation/loss", *loss)].into_iter().chain(scores).collect();
                write_scalars(&mut self.tensorboard, wall_time(), *step, &scalars)?;
            }
            _ => {}
        }
        let line = LogLine { time: utc_now(), event: &event };
        let mut line = serde_json::to_vec(&line).map_err(|e| Error::failed(EVENTS, e))?;
        line.push(b'\n');
        self.events.write(&line)
    }

    /// Flushes both files to disk, so that they survive a power failure. Returns their lengths in bytes.
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
    fn progress_is_handed_on_but_not_written() {
        let dir = tempfile::tempdir().unwrap();
        let mut events = 0;
        let mut count = |_: &Event| events += 1;
        let mut log = EventLog::open(dir.path(), (0, 0), &mut count).unwrap();
        log.emit(Event::Warning { message: "a\nb".into() }).unwrap();
        log.notify(&Event::Progress { subject: Subject::TestAfter, done: 1, total: 2 });
        assert_eq!(events, 2);
        let text = std::fs::read_to_string(dir.path().join(EVENTS)).unwrap();
        let (time, event) = text.split_once(',').unwrap();
        assert_eq!(event, "\"event\":\"warning\",\"message\":\"a\\nb\"}\n");
        let time = time.strip_prefix("{\"time\":\"").unwrap().strip_suffix('"').unwrap();
        let time = chrono::DateTime::parse_from_rfc3339(time).unwrap();
        assert!(
            (chrono::Utc::now() - time.to_utc()).num_seconds().abs() < 60 && text.contains('Z')
        );
    }
}
