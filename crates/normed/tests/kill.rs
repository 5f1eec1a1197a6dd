//! A run that is killed at random moments and resumed writes the same bytes as one that is not.
//!
//! `NORMED_KILLS` says how many kills (20); `script/kill_test` runs it with 200.

mod tiny;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use normed::train::{RunOptions, run};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Tells the process that will be killed where its test directory and run directory are.
const ROOT: &str = "NORMED_KILL_TEST_ROOT";
const NAME: &str = "NORMED_KILL_TEST_NAME";

#[test]
#[ignore = "the process that the test below starts and kills"]
fn child() {
    let (Some(root), Ok(name)) = (std::env::var_os(ROOT), std::env::var(NAME)) else { return };
    let options = RunOptions { resume: true, test: true, ..RunOptions::default() };
    run(&tiny::recipe(Path::new(&root), &name), &options, &mut |_| {}).unwrap();
}

fn start(root: &Path, name: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--include-ignored", "--test-threads=1"])
        .env(ROOT, root)
        .env(NAME, name)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn a_killed_and_resumed_run_writes_the_same_bytes() {
    let kills: usize =
        std::env::var("NORMED_KILLS").map_or(20, |kills| kills.parse().expect("a number of kills"));
    let dir = tempfile::tempdir().unwrap();
    tiny::make(
        dir.path(),
        "method = \"layer_norm\"\nalso = [\"head\"]",
        "epochs = 6\ncheckpoint_every_steps = 1",
    );
    let began = Instant::now();
    assert!(start(dir.path(), "whole").wait().unwrap().success());
    let whole = began.elapsed();

    let mut rng = ChaCha8Rng::seed_from_u64(20);
    let (mut done, mut runs, mut under_way) = (0, 0, 0);
    while done < kills {
        let name = format!("broken-{runs}");
        runs += 1;
        // Kill this run at a random moment of what is left of it, resume, and kill again, until it
        // ends by itself or the kills are used up.
        loop {
            let mut child = start(dir.path(), &name);
            let moment = whole.mul_f64(f64::from(rng.next_u32()) / f64::from(u32::MAX));
            if done == kills {
                assert!(child.wait().unwrap().success(), "after {done} kills");
                break;
            }
            std::thread::sleep(moment.max(Duration::from_millis(1)));
            // SIGKILL; nothing in the process can catch it.
            child.kill().unwrap();
            if child.wait().unwrap().success() {
                break;
            }
            done += 1;
            under_way += usize::from(dir.path().join(&name).join("checkpoint").exists());
        }
        tiny::assert_same(&dir.path().join("whole"), &dir.path().join(&name));
    }
    assert!(under_way * 2 > kills, "only {under_way} of {kills} kills hit a run under way");
}
