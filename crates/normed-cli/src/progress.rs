//! What a run says while it runs: a bar on a terminal, plain lines elsewhere, JSON, or nothing.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use normed::metrics::Metric;
use normed::train::{BatchSetting, Event, Outcome, Subject};

use crate::args::Verbosity;
use crate::format::{self, bytes, duration, grouped, percent};
use crate::output::{print_err, print_out};

/// Plain lines about steps, at most, in a run.
const LINES: usize = 20;

/// Shows the events of a run.
pub struct Progress {
    verbosity: Verbosity,
    bar: ProgressBar,
}

impl Progress {
    /// A bar on a terminal, plain lines elsewhere.
    pub fn new(verbosity: Verbosity) -> Self {
        Self { verbosity, bar: ProgressBar::hidden() }
    }

    /// Shows one event.
    pub fn show(&mut self, event: &Event) {
        if self.verbosity.json {
            return self.show_json(event);
        }
        match event {
            Event::Warning { message } => self.warn(&format!("warning: {message}")),
            Event::Skipped { rows } => {
                self.warn(&format!("warning: {} rows are left out:", rows.len()));
                rows.iter().for_each(|row| self.warn(&format!("  {row}")));
            }
            _ if self.verbosity.quiet => {}
            Event::Started { output, resumed_at, train, validate, test, steps, epochs } => {
                let from = resumed_at.map(|step| format!(", going on after step {step}"));
                self.line(&format!(
                    "{}: {epochs} epochs of {train} examples, {steps} steps{}; {validate} examples \
                     to choose by, {test} to report",
                    output.display(),
                    from.unwrap_or_default(),
                ));
                if stderr_is_terminal() {
                    self.bar = step_bar(*steps, resumed_at.unwrap_or(0));
                }
            }
            Event::Planned { memory, estimate } => {
                let BatchSetting { batch_size, grad_accum_steps, recompute } = estimate.setting;
                self.line(&format!(
                    "inside {memory}: {grad_accum_steps} x {batch_size} examples a step, recompute \
                     {}; peak {}",
                    recompute.name(),
                    bytes(estimate.needs.peak)
                ));
            }
            Event::ParametersSelected { trained, total, inert } => {
                let part = percent(100.0 * *trained as f64 / (*total).max(1) as f64);
                let (trained, total) = (grouped(*trained), grouped(*total));
                self.line(&format!("training {trained} of {total} parameters ({part})"));
                if !inert.is_empty() {
                    self.line(&format!(
                        "{} parameters are left out, as no loss can move them (normed inspect)",
                        inert.len()
                    ));
                }
            }
            Event::NormsSelected { norms, kept, examples } => self.line(&format!(
                "{kept} of {norms} norms are trained: those of the largest Fisher information by \
                 {examples} examples (fisher.csv)"
            )),
            Event::Cached { images, computed, bytes, directory, seconds } => {
                self.line(&format!(
                    "{images} images seen by the frozen towers once and for all, {computed} of \
                     them now ({}): {} MB in {}",
                    duration(*seconds),
                    bytes.div_ceil(1_000_000),
                    directory.display(),
                ));
            }
            Event::StepDone { step, total, epoch, loss, lr, examples_per_second, .. } => {
                let state = format!("loss {loss:.3}, rate {lr:.1e}, {examples_per_second:.0}/s");
                self.bar.set_position(*step as u64);
                self.bar.set_message(state.clone());
                let due = *step == 1 || step == total || step % total.div_ceil(LINES).max(1) == 0;
                if self.bar.is_hidden() && due {
                    print_out(format_args!("epoch {epoch}, step {step} of {total}: {state}"));
                }
            }
            Event::Progress { subject, done, total } => {
                self.bar.set_message(format!("{}: {done} of {total}", describe(*subject)));
            }
            Event::Truncated { reports, total, tokens } => self.line(&format!(
                "{reports} of {total} reports are longer than {tokens} tokens or than the model's room: \
                 what is learnt of them ends there (generate.max_new_tokens)"
            )),
            Event::Evaluated { subject, epoch, loss, scores, best, seconds, .. } => {
                let told = |(metric, value): (&Metric, &f64)| match metric {
                    Metric::ExactMatch => format!(", exact match {:.1} %", 100.0 * value),
                    _ => format!(", {} {:.1}", metric.name(), metric.scale() * value),
                };
                let told: String = scores.iter().map(told).collect();
                let when = match subject {
                    Subject::TestBefore => String::new(),
                    _ => format!(" after epoch {epoch}"),
                };
                self.line(&format!(
                    "{}{when}: loss {loss:.3}{told} ({}){}",
                    describe(*subject),
                    duration(*seconds),
                    if *best && *subject == Subject::Validation { ", the best so far" } else { "" },
                ));
            }
            Event::Saved { .. } => {}
            Event::Stopped { step, total, output } => {
                self.bar.finish_and_clear();
                print_err(format_args!(
                    "stopped after step {step} of {total}; everything is saved in {}",
                    output.display()
                ));
            }
            Event::Finished { outcome } => {
                self.bar.finish_and_clear();
                print_out(summary(outcome));
            }
        }
    }

    fn show_json(&self, event: &Event) {
        match serde_json::to_string(event) {
            Ok(line) => print_out(line),
            Err(error) => print_err(format_args!("warning: an event cannot be written: {error}")),
        }
    }

    fn line(&self, text: &str) {
        self.bar.suspend(|| print_out(text));
    }

    fn warn(&self, text: &str) {
        self.bar.suspend(|| print_err(text));
    }
}

/// A bar that counts `examples`; hidden unless somebody looks.
pub fn counting_bar(examples: usize, what: &'static str, verbosity: Verbosity) -> ProgressBar {
    if verbosity.quiet || verbosity.json || !stderr_is_terminal() {
        return ProgressBar::hidden();
    }
    bar(examples, "{msg} {wide_bar} {pos} of {len}, {eta} left").with_message(what)
}

/// A bar that counts the bytes of a download; hidden unless somebody looks.
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
    let bar = bar(steps, "{wide_bar} step {pos} of {len}, {eta} left; {msg}");
    bar.set_position(done as u64);
    bar.reset_eta();
    bar
}

fn bar(length: usize, template: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(template).expect("the templates above are valid");
    ProgressBar::with_draw_target(Some(length as u64), ProgressDrawTarget::stderr())
        .with_style(style)
}

fn stderr_is_terminal() -> bool {
    std::io::stderr().is_terminal()
}

fn describe(subject: Subject) -> &'static str {
    match subject {
        Subject::Validation => "validation",
        Subject::TestBefore => "test, before training",
        Subject::TestAfter => "test",
        Subject::TestBlind => "test, images exchanged",
        Subject::Images => "pictures",
        Subject::Norms => "comparing norms",
        Subject::LearningRates => "sweeping the rate",
    }
}

fn summary(outcome: &Outcome) -> String {
    let part = percent(100.0 * outcome.trained as f64 / outcome.total.max(1) as f64);
    let (trained, total) = (grouped(outcome.trained), grouped(outcome.total));
    let mut text = format!(
        "trained {trained} of {total} parameters ({part}) in {} steps, {}",
        outcome.steps,
        duration(outcome.seconds)
    );
    if let Some(bytes) = outcome.peak_memory_bytes {
        text.push_str(&format!(", peak memory {} MB", bytes.div_ceil(1_000_000)));
    }
    if outcome.stopped_early {
        text.push_str("; stopped early, as nothing got better");
    }
    text.push_str(&format!(
        "\nkept epoch {}; all of it is in {}",
        outcome.best_epoch,
        outcome.output.display()
    ));
    if let Some(test) = &outcome.test {
        let before = test.before.iter().map(|scores| ("before", scores));
        let blind = test.blind.iter().map(|scores| ("blind", scores));
        let beside: Vec<_> = before.chain(blind).collect();
        text.push_str(&format!("\n\n{}", format::scores(&test.after, &beside)));
    }
    text
}
