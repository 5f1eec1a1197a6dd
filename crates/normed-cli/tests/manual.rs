//! The commands in the manual and in the README run, with the files shown on their page.
//!
//! A page's block ```` ```toml file=NAME ```` (or `json`, or `csv`) becomes a file. Every line that starts with
//! `normed` in a block ```` ```sh ```` then runs, in the page's order, in a folder that has the base model,
//! four radiographs, three CT images and the spreadsheet of the first hour. A block that needs more,
//! ```` ```sh needs=network ````, is only parsed: its commands must name known options. On Linux, a command that opens a
//! network socket is killed.

#[cfg(target_os = "linux")]
mod no_network;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A fenced block of a page: its info string and its text.
struct Block<'p> {
    info: &'p str,
    text: String,
}

impl Block<'_> {
    /// The value of `key` in the info string `sh needs=network`.
    fn option(&self, key: &str) -> Option<&str> {
        let options = self.info.split_whitespace().skip(1);
        options.filter_map(|option| option.split_once('=')).find(|(k, _)| *k == key).map(|(_, v)| v)
    }

    fn language(&self) -> &str {
        self.info.split_whitespace().next().unwrap_or_default()
    }
}

fn blocks(page: &str) -> Vec<Block<'_>> {
    let (mut blocks, mut open) = (Vec::new(), None::<Block<'_>>);
    for line in page.lines() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(info), None) => open = Some(Block { info, text: String::new() }),
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (None, Some(block)) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block is not closed");
    blocks
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A folder with what the pages take for granted.
fn workspace() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let root = repository();
    fs::create_dir_all(dir.path().join("models/phantom")).unwrap();
    for entry in fs::read_dir(root.join("models/phantom")).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            let to = dir.path().join("models/phantom").join(entry.file_name());
            fs::copy(entry.path(), to).unwrap();
        }
    }
    let images = dir.path().join("images");
    fs::create_dir(&images).unwrap();
    for i in 1..=4_u8 {
        let image = image::GrayImage::from_fn(64, 64, |x, y| {
            image::Luma([(x as u8).wrapping_mul(3 * i) ^ (y as u8).wrapping_mul(7 + i)])
        });
        image.save(images.join(format!("chest_{i}.png"))).unwrap();
    }
    let first_hour = dir.path().join("docs/first-hour");
    fs::create_dir_all(first_hour.join("scans")).unwrap();
    for folder in ["", "scans"] {
        for entry in fs::read_dir(root.join("docs/first-hour").join(folder)).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_file() {
                fs::copy(entry.path(), first_hour.join(folder).join(entry.file_name())).unwrap();
            }
        }
    }
    let golden = root.join("crates/normed/tests/golden/medical");
    fs::copy(golden.join("ct.dcm"), images.join("ct_1.dcm")).unwrap();
    fs::copy(golden.join("no_window.dcm"), images.join("ct_2.dcm")).unwrap();
    fs::copy(golden.join("inverted.dcm"), images.join("ct_3.dcm")).unwrap();
    dir
}

/// The words of a command line, with double quotes as a shell reads them.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), String::new(), false);
    for c in line.chars() {
        match c {
            '"' => quoted = !quoted,
            '#' if !quoted && word.is_empty() => break,
            ' ' if !quoted => {
                words.extend(Some(std::mem::take(&mut word)).filter(|w| !w.is_empty()))
            }
            c => word.push(c),
        }
    }
    words.extend(Some(word).filter(|w| !w.is_empty()));
    words
}

/// The command of a line, which has nothing of the machine: no hub cache, no network, no data sets.
fn normed(dir: &Path, line: &str) -> Command {
    let words = words(line);
    let mut command = Command::new(env!("CARGO_BIN_EXE_normed"));
    command.args(&words[1..]).current_dir(dir);
    command.env("HF_HOME", dir.join("hub")).env_remove("NORMED_DATA");
    #[cfg(target_os = "linux")]
    no_network::forbid_network(&mut command);
    command
}

/// Runs a page's commands, and counts them.
fn run(page: &Path) -> usize {
    let text = fs::read_to_string(page).unwrap();
    let blocks = blocks(&text);
    let dir = workspace();
    for block in &blocks {
        if let Some(name) = block.option("file") {
            fs::write(dir.path().join(name), &block.text).unwrap();
        }
    }
    let mut commands = 0;
    for block in blocks.iter().filter(|block| block.language() == "sh") {
        for line in block.text.lines().filter(|line| line.starts_with("normed ")) {
            let needs = block.option("needs");
            let mut command = normed(dir.path(), line);
            if needs.is_some() {
                command.env("HF_HUB_OFFLINE", "1");
            }
            let output = command.output().unwrap();
            let stderr = String::from_utf8_lossy(&output.stderr);
            let place = page.file_name().unwrap().display();
            match needs {
                None => assert!(output.status.success(), "{place}: {line}\n{stderr}"),
                Some(_) => {
                    let parsed = !stderr.contains("Usage:") && !stderr.contains("--help");
                    assert!(parsed, "{place}: {line}\n{stderr}");
                }
            }
            commands += 1;
        }
    }
    commands
}

#[test]
fn every_command_in_the_manual_runs() {
    let docs = repository().join("docs");
    let summary = fs::read_to_string(docs.join("SUMMARY.md")).unwrap();
    let mut commands = 0;
    let mut pages: Vec<_> =
        fs::read_dir(&docs).unwrap().map(|entry| entry.unwrap().path()).collect();
    pages.retain(|path| {
        path.extension().is_some_and(|e| e == "md") && !path.ends_with("SUMMARY.md")
    });
    pages.sort();
    for page in &pages {
        let name = page.file_name().unwrap().to_str().unwrap();
        assert!(summary.contains(&format!("({name})")), "{name} is not in SUMMARY.md");
        commands += run(page);
    }
    assert!(commands > 30, "only {commands} commands found");
}

#[test]
fn every_command_in_the_readme_runs() {
    assert!(run(&repository().join("README.md")) > 5);
}

/// What shows that the other commands of the manual did without: this one is killed by the signal SIGSYS.
#[cfg(target_os = "linux")]
#[test]
fn fetch_uses_the_network() {
    use std::os::unix::process::ExitStatusExt as _;
    let dir = tempfile::tempdir().unwrap();
    let mut command = normed(dir.path(), "normed fetch org/name");
    let output = command.env("HF_ENDPOINT", "http://127.0.0.1:1").output().unwrap();
    assert_eq!(output.status.signal(), Some(libc::SIGSYS), "{output:?}");
}

/// Links between pages lead somewhere.
#[test]
fn every_link_of_the_documents_leads_to_a_file() {
    let root = repository();
    let docs = fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let top = ["README.md", "RESULTS.md", "ARCHITECTURE.md", "CHANGELOG.md", "SECURITY.md"];
    let pages = docs.chain(top.map(|name| root.join(name)));
    let mut links = 0;
    for page in pages.filter(|path| path.extension().is_some_and(|e| e == "md")) {
        let text = fs::read_to_string(&page).unwrap();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = target.split('#').next().unwrap_or_default();
            if !target.is_empty() && !target.contains("://") {
                let path = page.parent().unwrap().join(target);
                assert!(path.exists(), "{}: {target} is not there", page.display());
                links += 1;
            }
        }
    }
    assert!(links > 30, "only {links} links found");
}
