//! The report of a study in a real browser: it makes no requests, logs nothing on the console, and fits a
//! desktop screen and a phone. This needs bash and Chromium, which `.ci/run` installs.
//!
//! `NORMED_REPORT` names a report to check instead of one that is made here.

#[allow(dead_code)] // what only the library's own tests use
#[path = "../../normed/tests/tiny/mod.rs"]
mod tiny;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

/// Finds elements that extend beyond the window, except inside tables that scroll.
const OVERFLOW: &str = "(() => {
    document.querySelectorAll('details').forEach(d => d.open = true);
    const page = document.documentElement, width = page.clientWidth, wrong = [];
    if (page.scrollWidth > width) wrong.push(`the page is ${page.scrollWidth} wide`);
    for (const e of document.querySelectorAll('body *')) {
        if (e.parentElement.closest('.scroll, svg')) continue;
        const box = e.getBoundingClientRect();
        if (box.width > 0 && (box.right > width + 0.5 || box.left < -0.5))
            wrong.push(`${e.tagName} ${e.className} from ${box.left} to ${box.right}`);
    }
    return wrong.slice(0, 5);
})()";

/// A browser, controlled over pipes by the Chrome DevTools Protocol.
struct Browser {
    process: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    sent: u64,
    session: Option<String>,
    events: Vec<Value>,
}

impl Browser {
    fn start(profile: &Path) -> Self {
        // The protocol uses file descriptors 3 and 4.
        let script = "exec timeout 90 chromium --headless --no-sandbox --disable-gpu --disable-quic \
                      --no-first-run --disable-background-networking --disable-component-update \
                      --disable-sync --remote-debugging-pipe --user-data-dir=\"$0\" \
                      3<&0 4>&1 0</dev/null 1>/dev/null";
        let mut process = Command::new("bash")
            .args(["-c", script])
            .arg(profile)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (to, from) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
        let from = BufReader::new(from);
        let mut browser = Self { process, to, from, sent: 0, session: None, events: Vec::new() };
        let target = browser.call("Target.createTarget", json!({ "url": "about:blank" }));
        let attached = browser.call(
            "Target.attachToTarget",
            json!({ "targetId": target["targetId"], "flatten": true }),
        );
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Network", "Runtime", "Log", "Page"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        browser
    }

    fn read(&mut self) -> Value {
        let mut bytes = Vec::new();
        self.from.read_until(0, &mut bytes).unwrap();
        assert_eq!(bytes.pop(), Some(0), "the browser has exited; is chromium installed?");
        serde_json::from_slice(&bytes).unwrap()
    }

    /// The result of a command; events that come before it are kept.
    fn call(&mut self, method: &str, params: Value) -> Value {
        self.sent += 1;
        let mut message = json!({ "id": self.sent, "method": method, "params": params });
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        self.to.write_all(format!("{message}\0").as_bytes()).unwrap();
        loop {
            let answer = self.read();
            if answer["id"] == self.sent {
                assert!(answer["error"].is_null(), "{method}: {answer}");
                return answer["result"].clone();
            }
            self.events.push(answer);
        }
    }

    /// All problems of a page in a window of this width.
    fn problems(&mut self, page: &Path, width: u32) -> Vec<String> {
        self.events.clear();
        self.call(
            "Emulation.setDeviceMetricsOverride",
            json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600 }),
        );
        let url = format!("file://{}", page.display());
        self.call("Page.navigate", json!({ "url": url }));
        while !self.events.iter().any(|event| event["method"] == "Page.loadEventFired") {
            let event = self.read();
            self.events.push(event);
        }
        let evaluate = json!({ "expression": OVERFLOW, "returnByValue": true });
        let found = self.call("Runtime.evaluate", evaluate);
        let found = found["result"]["value"].as_array().unwrap();
        let mut problems: Vec<String> = found.iter().map(Value::to_string).collect();
        for event in &self.events {
            let params = &event["params"];
            let wrong = match event["method"].as_str().unwrap_or_default() {
                "Network.requestWillBeSent" => {
                    let asked = params["request"]["url"].as_str().unwrap();
                    asked != url && !asked.starts_with("data:")
                }
                "Runtime.exceptionThrown" | "Runtime.consoleAPICalled" => true,
                "Log.entryAdded" => params["entry"]["level"] == "error",
                _ => false,
            };
            if wrong {
                problems.push(event.to_string());
            }
        }
        problems
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It may have exited already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Makes the report of a small study, with images in it.
fn make_report(root: &Path) -> PathBuf {
    tiny::make(root, "method = \"none\"", "");
    let study = "output = \"out\"\npictures = \"all\"\nseeds = [1, 2]\n\
                 [recipe]\nmodel = \"base\"\nprecision = \"f32\"\n[recipe.train]\nepochs = 2\n\
                 [data_sets.a_rather_long_name_of_a_data_set]\n\
                 data = { name = \"jsonl\", file = \"data.jsonl\" }\n\
                 [test_sets.open]\nown_task = true\n\
                 data = { name = \"jsonl\", file = \"data.jsonl\" }\n\
                 [methods]\nnone.tuning.method = \"none\"\n\
                 layer_norm = { tuning.method = \"layer_norm\", lr = [1e-3, 1e-2] }\n\
                 full.tuning.method = \"full\"\n[efficiency]\nfractions = [0.5]\n";
    fs::write(root.join("study.toml"), study).unwrap();
    let status = Command::new(env!("CARGO_BIN_EXE_normed"))
        .args(["study", "study.toml", "--quiet"])
        .current_dir(root)
        .status();
    assert!(status.unwrap().success());
    root.join("out/report.html")
}

#[test]
#[ignore = "needs Chromium"]
fn a_report_makes_no_requests_and_fits() {
    let dir = tempfile::tempdir().unwrap();
    let report = match std::env::var_os("NORMED_REPORT") {
        Some(path) => fs::canonicalize(path).unwrap(),
        None => make_report(dir.path()),
    };
    let mut browser = Browser::start(&dir.path().join("profile"));
    for width in [1280, 390] {
        let problems = browser.problems(&report, width);
        assert!(problems.is_empty(), "at {width} pixels: {problems:#?}");
    }

    // The checks find planted problems.
    let wrong = dir.path().join("wrong.html");
    for (body, expected) in [
        ("<img src=\"http://127.0.0.1:9/a.png\">", "requestWillBeSent"),
        ("<script>throw 1</script>", "exceptionThrown"),
        ("<script>console.error('x')</script>", "consoleAPICalled"),
        ("<p style=\"width: 2000px\">x</p>", "P  from"),
    ] {
        fs::write(&wrong, format!("<!doctype html><link rel=icon href=data:,>{body}")).unwrap();
        let problems = browser.problems(&wrong, 390).join("\n");
        assert!(problems.contains(expected), "{body}: {problems}");
    }
}
