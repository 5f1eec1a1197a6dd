//! The progress of a run: a bar on a terminal, plain lines elsewhere, JSON, or nothing.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use normed::train::{BatchSetting, Event, Outcome, Subject};

use crate::format::{self, bytes, counted, duration, grouped, percent, rough_duration, surviving};
use crate::output::{
    Verbosity, print_err, print_out, print_skipped, print_text, print_warning, shows_progress,
    stderr_is_terminal, terminal_width, verbosity,
};

/// The largest number of plain lines about steps in a run.
const LINES: usize = 20;

/// The time between two plain lines about a long task.
const BETWEEN_LINES: Duration = Duration::from_secs(60);

/// Shows the events of a run.
pub struct Progress {
    bar: ProgressBar,
    task: Option<LongTask>,
}

/// An evaluation or another long task that is under way.
struct LongTask {
    subject: Subject,
    began: Instant,
    /// When a plain line last told how far it is.
    told: Instant,
}

impl Progress {
    /// A bar on a terminal, plain lines elsewhere.
    pub fn new() -> Self {
        Self { bar: ProgressBar::hidden(), task: None }
    }

    /// Shows one event.
    pub fn show(&mut self, event: &Event) {
        let Verbosity { quiet, json, .. } = verbosity();
        if json {
            return self.show_json(event);
        }
        match event {
            Event::Warning { message } => self.bar.suspend(|| print_warning(message)),
            Event::Skipped { rows } => self.bar.suspend(|| print_skipped(rows)),
            Event::Stopped { step, total, output } if !quiet => {
                self.bar.finish_and_clear();
                print_err(format_args!(
                    "stopped after step {step} of {total}; everything is saved in {}",
                    output.display()
                ));
            }
            _ if quiet => {}
            Event::StepDone { step, total, epoch, loss, lr, examples_per_second, .. } => {
                let state =
                    format!("loss {loss:.3}, lr {lr:.1e}, {examples_per_second:.0} examples/s");
                self.bar.set_position(*step as u64);
                self.bar.set_message(state.clone());
                let due = *step == 1 || step == total || step % total.div_ceil(LINES).max(1) == 0;
                if self.bar.is_hidden() && due {
                    print_text(format_args!("epoch {epoch}, step {step} of {total}: {state}"));
                }
            }
            Event::Progress { subject, done, total } => self.show_task(*subject, *done, *total),
            Event::Finished { outcome } => {
                self.bar.finish_and_clear();
                print_text(summary(outcome));
            }
            event => {
                lines(event).iter().for_each(|line| self.line(line));
                if let Event::Started { steps, resumed_at, .. } = event
                    && stderr_is_terminal()
                {
                    self.bar = step_bar(*steps, resumed_at.unwrap_or(0));
                }
            }
        }
    }

    /// Shows how far a long task is and how long it will take: in the bar, or in a plain line every minute.
    fn show_task(&mut self, subject: Subject, done: usize, total: usize) {
        let now = Instant::now();
        let is_new = self.task.as_ref().is_none_or(|task| task.subject != subject);
        if is_new {
            self.task = Some(LongTask { subject, began: now, told: now });
        }
        let Some(task) = &mut self.task else { return };
        let left = time_left(task.began.elapsed().as_secs_f64(), done, total);
        let line = format!("{}: {done} of {total}{left}", describe(subject));
        if self.bar.is_hidden() && task.told.elapsed() >= BETWEEN_LINES {
            task.told = now;
            print_text(&line);
        }
        if done >= total {
            self.task = None;
        }
        self.bar.set_message(line);
    }

    fn show_json(&self, event: &Event) {
        match serde_json::to_string(event) {
            Ok(line) => print_out(line),
            Err(error) => print_warning(format_args!("cannot write an event as JSON: {error}")),
        }
    }

    fn line(&self, text: &str) {
        self.bar.suspend(|| print_text(text));
    }
}

/// The time that a task will still take at the speed so far, once it has a speed: `, about 2 min left`.
fn time_left(elapsed: f64, done: usize, total: usize) -> String {
    match total.checked_sub(done) {
        Some(left) if left > 0 && done > 0 && elapsed >= 1.0 => {
            format!(", about {} left", rough_duration(elapsed / done as f64 * left as f64))
        }
        _ => String::new(),
    }
}

/// The lines that report an event, if any.
fn lines(event: &Event) -> Vec<String> {
    match event {
        Event::Started { .. } => started(event),
        Event::Planned { memory, estimate } => {
            let BatchSetting { batch_size, grad_accum_steps, recompute } = estimate.setting;
            vec![format!(
                "memory limit {memory}: batch size {batch_size}, {grad_accum_steps} passes per step, \
                 recompute {}; peak {}",
                recompute.name(),
                bytes(estimate.needs.peak)
            )]
        }
        Event::ParametersSelected { trained, total, inert } => {
            selected(*trained, *total, inert.len())
        }
        Event::NormsSelected { norms, kept, examples } => vec![format!(
            "{kept} of {norms} norms are trained: those with the largest Fisher information on {} \
             (fisher.csv)",
            counted(*examples, "example"),
        )],
        Event::Cached { images, computed, bytes, directory, seconds } => vec![format!(
            "outputs of the frozen image encoder: {images} images in the cache, {computed} of them \
             computed now ({}): {} in {}",
            duration(*seconds),
            format::bytes(usize::try_from(*bytes).unwrap_or(usize::MAX)),
            directory.display(),
        )],
        Event::Truncated { reports, total, tokens } => vec![format!(
            "{reports} of {total} training reports are truncated: they are longer than {tokens} \
             tokens (generate.max_new_tokens) or than the model allows"
        )],
        Event::ModelSaved { path, precision, values } => {
            let kept = if values.surviving < values.changed {
                " (init.save_bf16 = false keeps all of them)"
            } else {
                ""
            };
            let survive = surviving(*values, precision.name());
            vec![format!("{}: {survive}{kept}", path.display())]
        }
        Event::Evaluated { .. } => vec![evaluation(event)],
        _ => Vec::new(),
    }
}

/// The size of a run that starts, and how its losses are meant.
fn started(event: &Event) -> Vec<String> {
    let Event::Started {
        output,
        resumed_at,
        train,
        validate,
        test,
        steps,
        epochs,
        label_smoothing,
        ..
    } = event
    else {
        return Vec::new();
    };
    let resumed = resumed_at.map(|step| format!(", resumed after step {step}"));
    let mut lines = vec![format!(
        "{}: {} of {}, {}{}; {}, {}",
        output.display(),
        counted(*epochs, "epoch"),
        counted(*train, "example"),
        counted(*steps, "step"),
        resumed.unwrap_or_default(),
        counted(*validate, "validation example"),
        counted(*test, "test example"),
    )];
    if *label_smoothing > 0.0 && *steps > 0 {
        lines.push(format!(
            "training losses include label smoothing ({label_smoothing}), which makes them higher than validation \
             losses"
        ));
    }
    lines
}

/// How many parameters are trained, and how many tensors are not although they were selected.
fn selected(trained: usize, total: usize, inert: usize) -> Vec<String> {
    let part = percent(100.0 * trained as f64 / total.max(1) as f64);
    let (trained, total) = (grouped(trained), grouped(total));
    let mut lines = vec![format!("training {trained} of {total} parameters ({part})")];
    let (are, they) = if inert == 1 { ("is", "it") } else { ("are", "they") };
    if inert > 0 {
        let tensors = counted(inert, "tensor");
        lines.push(format!(
            "{tensors} {are} not trained: {they} cannot affect the loss (`normed inspect` lists such tensors)"
        ));
    }
    lines
}

/// The result of an evaluation, in a line.
fn evaluation(event: &Event) -> String {
    let Event::Evaluated { subject, epoch, loss, scores, best, tied_with, seconds, .. } = event
    else {
        return String::new();
    };
    let scores: String = scores
        .iter()
        .map(|(&metric, &value)| format!(", {}", format::score(metric, value)))
        .collect();
    let when = match subject {
        Subject::TestBefore => String::new(),
        Subject::TestAfter | Subject::TestBlind => format!(", weights of epoch {epoch}"),
        _ => format!(" after epoch {epoch}"),
    };
    let best = match (best, tied_with) {
        (true, None) => ", best so far".to_owned(),
        (true, Some(other)) => {
            format!(", best so far: the score of epoch {other}, with a lower loss")
        }
        (false, None) => String::new(),
        (false, Some(other)) => {
            format!("; epoch {other}, with the same score and no higher loss, is kept")
        }
    };
    let (what, time) = (describe(*subject), duration(*seconds));
    format!("{what}{when}: loss {loss:.3}{scores} ({time}){best}")
}

/// A bar that counts `examples`; hidden if standard error is no terminal.
pub fn counting_bar(examples: usize, what: &'static str) -> ProgressBar {
    if !shows_progress() || !stderr_is_terminal() {
        return ProgressBar::hidden();
    }
    bar(examples, "{msg} {wide_bar} {pos} of {len}, {eta} left").with_message(what)
}

/// A bar that counts the bytes of a download; hidden if standard error is no terminal.
pub fn bytes_bar(total: u64) -> ProgressBar {
    if !stderr_is_terminal() {
        return ProgressBar::hidden();
    }
    let length = usize::try_from(total).unwrap_or(usize::MAX);
    bar(
        length,
        "{wide_bar} {binary_bytes} of {binary_total_bytes}, {binary_bytes_per_sec}, {eta} left; {msg}",
    )
}

fn step_bar(steps: usize, done: usize) -> ProgressBar {
    // A narrow terminal has no room for a bar beside the numbers.
    let template = match terminal_width() {
        Some(..80) => "{pos}/{len}, {eta} left; {msg}",
        _ => "{wide_bar} step {pos} of {len}, {eta} left; {msg}",
    };
    let bar = bar(steps, template);
    bar.set_position(done as u64);
    bar.reset_eta();
    bar
}

fn bar(length: usize, template: &str) -> ProgressBar {
    let mut style = ProgressStyle::with_template(template).expect("the templates above are valid");
    if !locale_is_utf8() {
        style = style.progress_chars("#>-");
    }
    ProgressBar::with_draw_target(Some(length as u64), ProgressDrawTarget::stderr())
        .with_style(style)
}

/// Whether the terminal shows UTF-8, as far as the locale tells.
fn locale_is_utf8() -> bool {
    let set = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    is_utf8(["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set).as_deref())
}

/// Whether a locale is one of UTF-8. Without a locale it is C on Unix, whose letters are ASCII.
fn is_utf8(locale: Option<&str>) -> bool {
    match locale.map(str::to_lowercase) {
        Some(locale) => locale.contains("utf-8") || locale.contains("utf8"),
        None => cfg!(not(unix)),
    }
}

fn describe(subject: Subject) -> &'static str {
    match subject {
        Subject::Validation => "validation",
        Subject::TestBefore => "test, before training",
        Subject::TestAfter => "test",
        Subject::TestBlind => "test, images shuffled",
        Subject::Images => "encoding images",
        Subject::Norms => "ranking norms",
        Subject::LearningRates => "learning rate sweep",
    }
}

fn summary(outcome: &Outcome) -> String {
    let part = percent(100.0 * outcome.trained as f64 / outcome.total.max(1) as f64);
    let (trained, total) = (grouped(outcome.trained), grouped(outcome.total));
    let mut text = format!(
        "trained {trained} of {total} parameters ({part}) in {}, {}",
        counted(outcome.steps, "step"),
        duration(outcome.seconds)
    );
    if let Some(bytes) = outcome.peak_memory_bytes {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        text.push_str(&format!(", peak memory {}", format::bytes(bytes)));
    }
    if outcome.stopped_early {
        text.push_str("; stopped early: no improvement");
    }
    let because = outcome.kept_because.iter().map(|because| format!(" ({because})"));
    text.push_str(&format!(
        "\nkept the weights of epoch {}{}; results are in {}",
        outcome.best_epoch,
        because.collect::<String>(),
        outcome.output.display()
    ));
    if let Some(test) = &outcome.test {
        let before = test.before.iter().map(|scores| ("before training", scores));
        let blind = test.blind.iter().map(|scores| ("image-shuffled", scores));
        let others: Vec<_> = before.chain(blind).collect();
        text.push_str(&format!("\n\n{}", format::scores(&test.after, &others)));
    }
    if !outcome.finding.is_empty() {
        text.push_str(&format!("\n\n{}", outcome.finding));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_ascii_where_the_locale_is() {
        let utf8 =
            ["C.UTF-8", "de_DE.utf8", "C", "POSIX", "de_DE.ISO-8859-1"].map(|l| is_utf8(Some(l)));
        assert_eq!(utf8, [true, true, false, false, false]);
    }

    #[test]
    fn the_time_left_is_told_once_there_is_a_speed() {
        assert_eq!(time_left(30.0, 100, 400), ", about 2 min left");
        for (elapsed, done) in [(30.0, 0), (30.0, 400), (30.0, 500), (0.2, 100)] {
            assert_eq!(time_left(elapsed, done, 400), "");
        }
    }
}
