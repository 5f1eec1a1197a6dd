//! A server on this machine that speaks the part of the hub's protocol that a download uses, and
//! misbehaves when asked to.

use std::collections::{HashMap, VecDeque};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::json;
use sha1::Sha1;
use sha2::{Digest, Sha256};

pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// What goes wrong with one answer.
#[derive(Clone)]
pub enum Fault {
    /// The connection ends after so many bytes of content.
    Cut(usize),
    /// A byte of the content is another.
    Corrupt,
    /// The content comes from its beginning, whatever was asked for.
    NoRange,
    /// No content, but this status and these headers.
    Status(u16, &'static str),
}

#[derive(Default)]
struct State {
    /// `models/ORG/NAME` to files: path, content, whether it is a large one that is stored elsewhere.
    repos: HashMap<String, Vec<(String, Vec<u8>, bool)>>,
    card: serde_json::Value,
    /// By the end of the path that is asked for.
    faults: HashMap<String, VecDeque<Fault>>,
    /// Method, path, range, whether there was a token.
    requests: Vec<(String, String, Option<String>, bool)>,
}

/// The server; it ends with the test's process.
pub struct Server {
    /// Its address by name.
    pub endpoint: String,
    state: Arc<Mutex<State>>,
}

impl Server {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let state = Arc::clone(&shared);
                thread::spawn(move || answer(&stream, &state, port));
            }
        });
        // Large files are at 127.0.0.1: another host, as far as a client can see.
        Self { endpoint: format!("http://localhost:{port}"), state }
    }

    /// Puts a file into `models/ORG/NAME` or `datasets/ORG/NAME`.
    pub fn put(&self, repo: &str, path: &str, content: &[u8], large: bool) {
        let mut state = self.state.lock().unwrap();
        let files = state.repos.entry(repo.to_owned()).or_default();
        files.retain(|(known, ..)| known != path);
        files.push((path.to_owned(), content.to_owned(), large));
    }

    /// Puts all files below `directory` there.
    pub fn put_all(&self, repo: &str, directory: &Path) {
        let mut left = vec![directory.to_owned()];
        while let Some(path) = left.pop() {
            if path.is_dir() {
                left.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
                continue;
            }
            let name = path.strip_prefix(directory).unwrap().to_str().unwrap();
            let large = name.ends_with(".safetensors") || name.ends_with(".parquet");
            self.put(repo, name, &std::fs::read(&path).unwrap(), large);
        }
    }

    /// The address below the server's where the content of a large file is.
    pub fn content(&self, repo: &str, path: &str) -> String {
        let state = self.state.lock().unwrap();
        let (name, content, _) =
            state.repos[repo].iter().find(|(known, ..)| known == path).unwrap();
        format!("/cdn/{}/{name}", hex(&Sha256::digest(content)))
    }

    pub fn card(&self, card: serde_json::Value) {
        self.state.lock().unwrap().card = card;
    }

    /// What goes wrong with the next answers about what ends in `path`, one after another.
    pub fn faults(&self, path: &str, faults: &[Fault]) {
        self.state.lock().unwrap().faults.insert(path.to_owned(), faults.iter().cloned().collect());
    }

    /// The requests so far, and forgets them.
    pub fn requests(&self) -> Vec<(String, String, Option<String>, bool)> {
        std::mem::take(&mut self.state.lock().unwrap().requests)
    }
}

fn answer(stream: &TcpStream, state: &Mutex<State>, port: u16) -> Option<()> {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let first = lines.next()?;
    let mut words = first.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let (mut range, mut token) = (None, false);
    for line in lines.take_while(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':')?;
        match name.to_lowercase().as_str() {
            "range" => range = Some(value.trim().to_owned()),
            "authorization" => token = value.trim() == "Bearer hf_secret",
            _ => {}
        }
    }
    let path = target.split('?').next()?.to_owned();
    let mut state = state.lock().unwrap();
    state.requests.push((method.clone(), path.clone(), range.clone(), token));
    let fault = state.faults.iter_mut().find(|(end, _)| path.ends_with(end.as_str()));
    // A request for headers is spared what only content can suffer.
    let fault = fault.and_then(|(_, faults)| match (method.as_str(), faults.front()) {
        ("HEAD", Some(Fault::Status(..))) | ("GET", _) => faults.pop_front(),
        _ => None,
    });
    let mut reply = Reply { stream, head: method == "HEAD" };
    if let Some(Fault::Status(status, headers)) = fault {
        return reply.send(status, headers, b"", None);
    }
    if let Some(rest) = path.strip_prefix("/api/") {
        let (repo, _) = rest.split_once("/revision/")?;
        let Some(files) = state.repos.get(repo) else {
            return reply.send(404, "x-error-code: RepoNotFound\r\n", b"", None);
        };
        let sibling = |(path, content, _): &(String, Vec<u8>, bool)| json!({ "rfilename": path, "size": content.len() });
        let files: Vec<_> = files.iter().map(sibling).collect();
        let info =
            json!({ "sha": COMMIT, "siblings": files, "cardData": state.card, "gated": false });
        return reply.send(200, "", info.to_string().as_bytes(), None);
    }
    let found = state.repos.iter().flat_map(|(repo, files)| {
        let repo = repo.strip_prefix("models/").unwrap_or(repo);
        files.iter().map(move |(path, content, large)| (repo, path, content, *large))
    });
    for (repo, name, content, large) in found {
        let sha256 = hex(&Sha256::digest(content));
        if path == format!("/cdn/{sha256}/{name}") {
            return content_of(&mut reply, "", content, range.as_deref(), fault);
        }
        if path != format!("/{repo}/resolve/{COMMIT}/{name}") {
            continue;
        }
        let commit = format!("x-repo-commit: {COMMIT}\r\n");
        if large {
            let headers = format!(
                "{commit}x-linked-etag: \"{sha256}\"\r\nx-linked-size: {}\r\netag: \"page\"\r\n\
                 location: http://127.0.0.1:{port}/cdn/{sha256}/{name}\r\n",
                content.len()
            );
            return reply.send(302, &headers, b"Found", None);
        }
        let git = Sha1::new().chain_update(format!("blob {}\0", content.len()));
        let etag = hex(&git.chain_update(content).finalize());
        let headers = format!("{commit}etag: \"{etag}\"\r\n");
        return content_of(&mut reply, &headers, content, range.as_deref(), fault);
    }
    reply.send(404, "x-error-code: EntryNotFound\r\n", b"", None)
}

fn content_of(
    reply: &mut Reply<'_>,
    headers: &str,
    content: &[u8],
    range: Option<&str>,
    fault: Option<Fault>,
) -> Option<()> {
    let mut content = content.to_vec();
    if let Some(Fault::Corrupt) = fault {
        let middle = content.len() / 2;
        content[middle] ^= 1;
    }
    let from =
        range.and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
    let from = from.filter(|_| !matches!(fault, Some(Fault::NoRange)));
    let cut = if let Some(Fault::Cut(at)) = fault { Some(at) } else { None };
    match from {
        None => reply.send(200, headers, &content, cut),
        Some(from) if from >= content.len() => reply.send(416, headers, b"", None),
        Some(from) => {
            let end = content.len();
            let range = format!("{headers}content-range: bytes {from}-{}/{end}\r\n", end - 1);
            reply.send(206, &range, &content[from..], cut)
        }
    }
}

struct Reply<'a> {
    stream: &'a TcpStream,
    head: bool,
}

impl Reply<'_> {
    fn send(&mut self, status: u16, headers: &str, body: &[u8], cut: Option<usize>) -> Option<()> {
        let length = body.len();
        let head = format!(
            "HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nconnection: close\r\n{headers}\r\n"
        );
        self.stream.write_all(head.as_bytes()).ok()?;
        if !self.head {
            self.stream.write_all(&body[..cut.unwrap_or(length).min(length)]).ok()?;
        }
        self.stream.flush().ok()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
