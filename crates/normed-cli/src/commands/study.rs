//! `normed study`: every run is a process of its own. Its peak memory is its own, a kill costs no more than
//! the steps since the last checkpoint, and each run can be repeated by hand.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use normed::files::{TABLE_LIMIT, read_text};
use normed::study::{
    self, Estimate, Results, Shard, Study, StudyStatus, Task, TaskKind, TaskOutcome,
};
use normed::train::is_running;
use normed::{Error, Result};

use crate::args::StudyArgs;
use crate::format::{bytes, counted, duration, grouped, table};
use crate::interrupt;
use crate::output::{print_err, print_text, verbosity};
use crate::study_progress::StudyProgress;

/// Runs the parts of a study that are not done, then writes its report.
pub fn study(args: &StudyArgs) -> Result<ExitCode> {
    let study = Study::open(&args.study, &args.settings)?;
    let shard = args.shard.unwrap_or(Shard::ALL);
    if args.dry_run {
        print_text(plan(&study, &study::estimate(&study, shard)?));
        return Ok(ExitCode::SUCCESS);
    }
    let program = std::env::current_exe().map_err(|e| Error::failed("the program itself", e))?;
    let threads = study.threads(rayon::current_num_threads());
    let stop = interrupt::flag("stopping after these steps; press Ctrl-C again to abort at once")?;
    let progress = StudyProgress::new();
    let status = study::advance(
        &study,
        shard,
        &stop,
        &|task| execute(&program, threads, &stop, task),
        &|event| {
            if !verbosity().quiet {
                progress.show(&event)
            }
        },
    )?;
    if status == StudyStatus::Stopped {
        print_err("finished runs are kept; the same command continues");
        return Ok(ExitCode::from(interrupt::STOPPED));
    }
    match Results::read(&study)? {
        Some(results) => {
            let report = study::write_report(&results, threads)?;
            if !verbosity().quiet {
                report.findings.iter().for_each(print_text);
                print_text(format_args!("report: {}", report.path.display()));
            }
        }
        None => print_err(format_args!(
            "shard {} of {} is done; the report is written when all shards are",
            shard.number, shard.count
        )),
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs `task` as a user would type it, on `threads` threads.
fn execute(program: &Path, threads: usize, stop: &AtomicBool, task: &Task) -> Result<TaskOutcome> {
    let recipe = task.recipe_file();
    let mut command = Command::new(program);
    add_arguments(&mut command, task, &recipe);
    // Only this process receives Ctrl-C; it passes it on.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let log = recipe.with_extension("log");
    let file = File::create(&log).map_err(|e| Error::io(&log, &e))?;
    let failed = |e: std::io::Error| Error::failed(program.display(), e);
    let mut child = command
        .env("RAYON_NUM_THREADS", threads.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(file)
        .spawn()
        .map_err(failed)?;
    let mut is_asked = false;
    let status = loop {
        if let Some(status) = child.try_wait().map_err(failed)? {
            break status;
        }
        if stop.load(Ordering::Relaxed) && !is_asked {
            is_asked = true;
            ask_to_stop(&mut child);
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let log_text = read_text(&log, TABLE_LIMIT)?;
    if status.success() && log_text.is_empty() {
        fs::remove_file(&log).map_err(|e| Error::io(&log, &e))?;
    }
    let locked = || match &task.kind {
        TaskKind::Run { recipe, .. } => is_running(&recipe.output),
        TaskKind::Evaluate { .. } => Ok(false),
    };
    match status.code() {
        Some(0) => Ok(TaskOutcome::Done),
        _ if stop.load(Ordering::Relaxed) => Ok(TaskOutcome::Stopped),
        Some(1) => Ok(TaskOutcome::Failed(log_text.trim().to_owned())),
        Some(2) if locked()? => Ok(TaskOutcome::RunningElsewhere),
        Some(_) => Err(Error::invalid(&task.label, log_text.trim())),
        None => Err(Error::failed(&task.label, format!("its process was ended: {status}"))
            .with_remedy("the same command continues it")),
    }
}

/// Adds the arguments that a user would type for `task`.
fn add_arguments(command: &mut Command, task: &Task, recipe: &Path) {
    match &task.kind {
        TaskKind::Run { evaluates_test, .. } => {
            command.arg("train").arg(recipe).args(["--resume", "--quiet"]);
            command.args((!evaluates_test).then_some("--no-test"));
        }
        TaskKind::Evaluate { recipe: of, adapter, out } => {
            let batch_size = of.train.batch_size.to_string();
            let precision = of.precision.name();
            command.args(["evaluate", "--blind", "--quiet", "--precision", precision]);
            command.args(["--batch-size", &batch_size]).arg("--recipe").arg(recipe);
            // What a killed process left is written again.
            command.arg("--out").arg(out).arg("--force");
            if let Some(adapter) = adapter {
                command.arg("--adapter").arg(adapter);
            }
        }
    }
}

/// Asks a run to finish its step and save.
#[cfg(unix)]
fn ask_to_stop(child: &mut std::process::Child) {
    use rustix::process::{Pid, Signal, kill_process};
    if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        // It may have ended meanwhile: then there is nothing to stop.
        let _ = kill_process(pid, Signal::TERM);
    }
}

/// Ends a run; it can be continued from its last checkpoint.
#[cfg(not(unix))]
fn ask_to_stop(child: &mut std::process::Child) {
    // It may have ended meanwhile: then there is nothing to stop.
    let _ = child.kill();
}

/// The memory and time of a study.
fn plan(study: &Study, estimates: &[Estimate<'_>]) -> String {
    let head =
        ["", "trained", "learning-rate runs", "runs", "tests on other data", "peak memory", "time"];
    let mut rows = Vec::new();
    let unknown = || "-".to_owned();
    for one in estimates {
        rows.push(vec![
            one.experiment.label(),
            grouped(one.trained),
            one.selection_runs.to_string(),
            one.reported_runs.to_string(),
            one.evaluations.to_string(),
            one.peak_bytes.map_or_else(unknown, bytes),
            one.seconds.map_or_else(unknown, duration),
        ]);
    }
    let sum = |of: fn(&Estimate<'_>) -> usize| estimates.iter().map(of).sum::<usize>();
    let seconds: Option<f64> = estimates.iter().map(|one| one.seconds).sum();
    let time = match seconds {
        Some(seconds) => format!("about {} of training", duration(seconds)),
        None => "the time is not known without the data".to_owned(),
    };
    format!(
        "{}\n\n{} and {} on other data sets: {time} on all threads, tests not counted; {} at a \
         time; results go to {}",
        table(&head, &rows, 1, 1),
        counted(sum(|one| one.selection_runs + one.reported_runs), "run"),
        counted(sum(|one| one.evaluations), "test"),
        study.jobs,
        study.output.display(),
    )
}
