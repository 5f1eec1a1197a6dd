//! Fetching from a hub that is on this machine and not always well.

#[allow(dead_code)] // what only the command line's tests use
mod hub_server;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use normed::hub::{Event, FetchOptions, Fetched, LeftOutReason, RepoKind, Settings, Token, fetch};
use normed::{Error, Result};
use serde_json::json;

use hub_server::{COMMIT, Fault, Server};

const MODEL: &str = "models/org/name";
const WEIGHTS: &str = "model.safetensors";

/// 3 MB that are nowhere the same.
fn weights() -> Vec<u8> {
    (0..750_000_u32).flat_map(|i| (i.wrapping_mul(2_654_435_761)).to_le_bytes()).collect()
}

/// A hub with one model, and an empty cache.
fn hub() -> (Server, tempfile::TempDir, Settings) {
    let server = Server::start();
    server.put(MODEL, "config.json", b"{}\n", false);
    server.put(MODEL, WEIGHTS, &weights(), true);
    server.put(MODEL, "pytorch_model.bin", b"the same again", true);
    server.card(json!({ "license": "apache-2.0" }));
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings {
        endpoint: server.endpoint.clone(),
        cache: dir.path().join("hub"),
        token: None,
        offline: false,
        certificates: None,
    };
    (server, dir, settings)
}

fn options() -> FetchOptions {
    let first_wait = Duration::from_millis(1);
    FetchOptions { first_wait, ..FetchOptions::new(RepoKind::Model, "org/name".parse().unwrap()) }
}

/// Fetches, and what happened meanwhile but for the many pieces.
fn run(settings: &Settings, options: &FetchOptions) -> (Result<Option<Fetched>>, Vec<Event>) {
    let mut events = Vec::new();
    let result = fetch(settings, options, &mut |event| {
        if !matches!(event, Event::Received { .. }) {
            events.push(event.clone());
        }
    });
    (result, events)
}

fn fetched(settings: &Settings, options: &FetchOptions) -> (PathBuf, Vec<Event>) {
    let (result, events) = run(settings, options);
    (result.unwrap().unwrap().directory, events)
}

fn failure(settings: &Settings, options: &FetchOptions) -> Error {
    run(settings, options).0.unwrap_err()
}

fn blob(settings: &Settings, name: &str) -> PathBuf {
    let snapshot = settings.cache.join("models--org--name/snapshots").join(COMMIT);
    fs::canonicalize(snapshot.join(name)).unwrap()
}

fn partial(settings: &Settings) -> Option<PathBuf> {
    let blobs = fs::read_dir(settings.cache.join("models--org--name/blobs")).ok()?;
    let mut paths = blobs.map(|entry| entry.unwrap().path());
    paths.find(|path| path.extension().is_some_and(|extension| extension == "incomplete"))
}

fn waits(events: &[Event]) -> usize {
    events.iter().filter(|event| matches!(event, Event::Waiting { .. })).count()
}

#[test]
fn a_model_is_cached_in_pythons_layout() {
    let (server, _dir, settings) = hub();
    let (snapshot, events) = fetched(&settings, &options());
    assert_eq!(snapshot, settings.cache.join("models--org--name/snapshots").join(COMMIT));
    assert_eq!(fs::read(snapshot.join(WEIGHTS)).unwrap(), weights());
    assert_eq!(fs::read(snapshot.join("config.json")).unwrap(), b"{}\n");
    assert!(!snapshot.join("pytorch_model.bin").exists());
    let commit = settings.cache.join("models--org--name/refs/main");
    assert_eq!(fs::read_to_string(commit).unwrap(), COMMIT);
    let name = blob(&settings, WEIGHTS);
    assert_eq!(name.file_name().unwrap().len(), 64, "the content's SHA-256");
    if cfg!(unix) {
        assert!(fs::read_link(snapshot.join(WEIGHTS)).unwrap().is_relative());
    }
    let Event::Listed { license, files, left_out, .. } = &events[0] else { panic!("{events:?}") };
    assert_eq!(license.as_deref(), Some("apache-2.0"));
    assert_eq!((files.len(), left_out.len()), (2, 1));
    assert_eq!(files[1].size, Some(3_000_000));
    server.requests();

    // Again: held to the checksums, and nothing is transferred.
    let (_, events) = fetched(&settings, &options());
    let checked =
        |event: &&Event| matches!(event, Event::Finished { was_here: true, checked: true, .. });
    assert_eq!(events.iter().filter(checked).count(), 2, "{events:?}");
    assert!(
        server
            .requests()
            .iter()
            .all(|(method, path, ..)| method == "HEAD" || path.contains("/api/"))
    );
}

#[test]
fn an_interrupted_download_is_resumed() {
    let (server, _dir, settings) = hub();
    server.faults(&server.content(MODEL, WEIGHTS), &[Fault::Cut(1_000_000), Fault::Cut(500_000)]);
    let (snapshot, events) = fetched(&settings, &options());
    assert_eq!(fs::read(snapshot.join(WEIGHTS)).unwrap(), weights());
    assert_eq!(waits(&events), 2, "{events:?}");
    let requests = server
        .requests()
        .into_iter()
        .filter(|(_, path, ..)| *path == server.content(MODEL, WEIGHTS));
    let ranges: Vec<_> = requests.map(|(.., range, _)| range).collect();
    assert_eq!(ranges, [None, Some("bytes=1000000-".into()), Some("bytes=1500000-".into())]);
}

#[test]
fn an_interrupted_fetch_is_continued_by_the_next() {
    let (server, _dir, settings) = hub();
    let stop = Arc::new(AtomicBool::new(false));
    let options = FetchOptions { stop: Arc::clone(&stop), ..options() };
    let result = fetch(&settings, &options, &mut |event| {
        if matches!(event, Event::Received { at: 1_000_000.., .. }) {
            stop.store(true, Ordering::Relaxed);
        }
    });
    assert_eq!(result.unwrap(), None);
    let left = fs::metadata(partial(&settings).unwrap()).unwrap().len();
    assert!((1_000_000..3_000_000).contains(&left));
    assert!(!settings.cache.join("models--org--name/refs/main").exists(), "not whole, not found");
    server.requests();

    stop.store(false, Ordering::Relaxed);
    let (snapshot, _) = fetched(&settings, &options);
    assert_eq!(fs::read(snapshot.join(WEIGHTS)).unwrap(), weights());
    assert_eq!(partial(&settings), None);
    let range = Some(format!("bytes={left}-"));
    assert!(server.requests().iter().any(|request| request.2 == range));
}

#[test]
fn partial_files_of_a_killed_fetch_are_used_or_removed() {
    for (left, faults) in [
        (weights(), &[][..]), // killed before it got its name
        (weights()[..2_000_000].to_vec(), &[Fault::NoRange]), // a server that knows no parts
        (vec![7; 2_000_000], &[]), // damaged: found out at the end
        (vec![7; 4_000_000], &[]), // longer than the file
        (weights()[..5].to_vec(), &[Fault::Status(416, "")]),
    ] {
        let (server, _dir, settings) = hub();
        fetched(&settings, &options());
        let whole = blob(&settings, WEIGHTS);
        fs::remove_file(&whole).unwrap();
        fs::write(format!("{}.incomplete", whole.display()), &left).unwrap();
        server.faults(&server.content(MODEL, WEIGHTS), faults);
        let (snapshot, _) = fetched(&settings, &options());
        assert!(fs::read(snapshot.join(WEIGHTS)).unwrap() == weights(), "{} left", left.len());
        assert_eq!(partial(&settings), None);
    }
}

#[test]
fn a_download_with_a_wrong_checksum_is_not_kept() {
    for name in [WEIGHTS, "config.json"] {
        let (server, _dir, settings) = hub();
        let large = server.content(MODEL, WEIGHTS);
        server.faults(if name == WEIGHTS { &large } else { "/config.json" }, &[Fault::Corrupt]);
        let error = failure(&settings, &options());
        assert_eq!(error.exit_code(), 1);
        let text = error.to_string();
        assert!(text.contains(name) && text.contains("has the wrong checksum"), "{text}");
        assert_eq!(partial(&settings), None);
        let snapshot = settings.cache.join("models--org--name/snapshots").join(COMMIT);
        assert!(!snapshot.join(name).exists());
        assert!(!settings.cache.join("models--org--name/refs/main").exists());
        fetched(&settings, &options());
    }
}

#[test]
fn files_damaged_on_disk_are_fetched_again() {
    let (_server, _dir, settings) = hub();
    fetched(&settings, &options());
    let whole = blob(&settings, WEIGHTS);
    let mut bytes = weights();
    bytes[5] ^= 1;
    fs::write(&whole, bytes).unwrap();
    let (snapshot, events) = fetched(&settings, &options());
    assert!(events.contains(&Event::Differs { place: whole }), "{events:?}");
    assert_eq!(fs::read(snapshot.join(WEIGHTS)).unwrap(), weights());
}

#[test]
fn temporary_failures_are_retried_and_permanent_ones_are_not() {
    let busy = Fault::Status(429, "retry-after: 0\r\n");
    let (server, _dir, settings) = hub();
    server.faults("/revision/main", &[busy.clone(), Fault::Status(503, "")]);
    server.faults("/config.json", &[busy]);
    let (_, events) = fetched(&settings, &options());
    assert_eq!(waits(&events), 3, "{events:?}");

    server.faults("/revision/main", &vec![Fault::Status(500, ""); 6]);
    let error = failure(&settings, &options());
    assert_eq!(error.exit_code(), 1);
    assert!(error.to_string().contains("6 times in a row"), "{error}");
    server.faults("/revision/main", &[Fault::Status(429, "retry-after: 3600\r\n")]);
    let text = failure(&settings, &options()).to_string();
    assert!(text.contains("wait 60 minutes") && text.contains("HF_TOKEN"), "{text}");
}

#[test]
fn refusals_say_what_to_do() {
    let (server, _dir, settings) = hub();
    let known = Settings { token: Some(Token::new("hf_secret")), ..settings.clone() };
    let gated = "x-error-code: GatedRepo\r\n";
    for (settings, path, status, headers, expected) in [
        (
            &settings,
            WEIGHTS,
            401,
            gated,
            &[
                "terms must be accepted first",
                "/settings/tokens",
                "HF_TOKEN=<the token> normed fetch org/name",
            ][..],
        ),
        (
            &known,
            WEIGHTS,
            403,
            gated,
            &["has no access yet", "accept the terms in a browser: http"],
        ),
        (
            &settings,
            "main",
            401,
            "x-error-code: RepoNotFound\r\n",
            &["is not a model on the hub", "for a private repository, set HF_TOKEN"],
        ),
        (&known, "main", 401, "", &["the token is not valid"]),
        (&known, "main", 403, "", &["the token has no read access"]),
        (&settings, "main", 404, "x-error-code: RevisionNotFound\r\n", &["no revision `main`"]),
        (
            &settings,
            "config.json",
            404,
            "x-error-code: EntryNotFound\r\n",
            &["config.json", "does not exist"],
        ),
    ] {
        server.faults("main", &[]);
        server.faults(WEIGHTS, &[]);
        server.faults("config.json", &[]);
        server.faults(path, &[Fault::Status(status, headers)]);
        let error = failure(settings, &options());
        let text = error.to_string();
        assert_eq!(error.exit_code(), 2, "{text}");
        assert!(expected.iter().all(|expected| text.contains(expected)), "{expected:?}: {text}");
        assert!(!text.contains("hf_secret"), "{text}");
    }
    server.faults(WEIGHTS, &[Fault::Status(418, "")]);
    assert_eq!(failure(&settings, &options()).exit_code(), 1);
}

#[test]
fn the_error_for_a_data_set_fetched_as_a_model_names_the_command() {
    let (server, _dir, settings) = hub();
    server.put("datasets/org/set", "data/train-0.parquet", b"PAR1", true);
    server.put("datasets/org/set", "README.md", b"# Set\n", false);
    let id = "org/set".parse().unwrap();
    let wrong = FetchOptions { id, ..options() };
    let text = failure(&settings, &wrong).to_string();
    assert!(
        text.contains("is not a model on the hub")
            && text.contains("normed fetch org/set --dataset"),
        "{text}"
    );
    let (snapshot, _) = fetched(&settings, &FetchOptions { kind: RepoKind::Dataset, ..wrong });
    assert!(snapshot.starts_with(settings.cache.join("datasets--org--set")));
    assert_eq!(fs::read(snapshot.join("data/train-0.parquet")).unwrap(), b"PAR1");

    let nothing = FetchOptions { id: "org/nothing".parse().unwrap(), ..options() };
    assert!(failure(&settings, &nothing).to_string().contains("check the spelling"));
}

#[test]
fn the_token_is_for_the_hub_alone() {
    let (server, _dir, settings) = hub();
    let settings = Settings { token: Some(Token::new("hf_secret")), ..settings };
    fetched(&settings, &options());
    let requests = server.requests();
    let far: Vec<_> = requests.iter().filter(|(_, path, ..)| path.starts_with("/cdn/")).collect();
    assert_eq!((requests.len(), far.len()), (6, 1), "{requests:?}");
    assert!(!far[0].3, "the content is on another host");
    assert_eq!(requests.iter().filter(|request| request.3).count(), 5);
}

#[test]
fn a_repository_that_moved_is_followed() {
    let (server, _dir, settings) = hub();
    server.put("models/new/name", "config.json", b"{}\n", false);
    server.faults(
        "models/org/name/revision/main",
        &[Fault::Status(307, "location: /api/models/new/name/revision/main\r\n")],
    );
    let moved =
        "location: /new/name/resolve/0123456789abcdef0123456789abcdef01234567/config.json\r\n";
    server.faults("/config.json", &[Fault::Status(307, moved)]);
    let (snapshot, _) = fetched(&settings, &options());
    assert!(snapshot.join("config.json").exists());
    server.faults(
        "models/org/name/revision/main",
        &vec![Fault::Status(302, "location: /api/models/org/name/revision/main\r\n"); 9],
    );
    assert!(failure(&settings, &options()).to_string().contains("redirects too often"));
    server.faults("models/org/name/revision/main", &[Fault::Status(302, "")]);
    assert!(failure(&settings, &options()).to_string().contains("but it has no address"));
}

/// An index names the files of weights, config.json the folder of the image encoder.
#[test]
fn what_a_models_own_files_name_is_fetched() {
    let server = Server::start();
    let files = [
        ("config.json", r#"{"mm_vision_tower": "./vit/clip"}"#),
        ("pytorch_model.bin.index.json", r#"{"weight_map": {"a": "one.bin", "b": "two.bin"}}"#),
        ("one.bin", "1"),
        ("two.bin", "2"),
        ("other.bin", "of another time"),
        ("mm_projector.safetensors", "3"),
        ("adapter_model.safetensors", "4"),
        ("non_lora_trainables.bin", "5"),
        ("vit/clip/config.json", "{}"),
        ("vit/clip/model.safetensors", "6"),
        ("vit/clip/pytorch_model.bin", "7"),
        ("vit/else/config.json", "{}"),
    ];
    for (path, content) in files {
        server.put(MODEL, path, content.as_bytes(), path.ends_with(".bin"));
    }
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings {
        endpoint: server.endpoint.clone(),
        cache: dir.path().join("hub"),
        token: None,
        offline: false,
        certificates: None,
    };
    let (snapshot, events) = fetched(&settings, &options());
    let Event::Listed { files: chosen, left_out, .. } = &events[0] else { panic!("{events:?}") };
    let finished = events.iter().filter(|event| matches!(event, Event::Finished { .. })).count();
    assert_eq!((chosen.len(), finished), (9, 9));
    let left: Vec<_> = left_out.iter().map(|file| (file.file.path.as_str(), file.reason)).collect();
    let wanted = [
        ("other.bin", LeftOutReason::SameWeights),
        ("vit/clip/pytorch_model.bin", LeftOutReason::SameWeights),
        ("vit/else/config.json", LeftOutReason::UnnamedFolder),
    ];
    assert_eq!(left, wanted);
    for (path, content) in files {
        let is_here = !wanted.iter().any(|(left, _)| *left == path);
        let found = fs::read_to_string(snapshot.join(path)).ok();
        assert_eq!(found, is_here.then(|| content.to_owned()), "{path}");
    }
}

/// What cannot get better by waiting is not tried again.
#[test]
fn no_server_is_said_at_once_with_the_remedy() {
    let (_server, _dir, settings) = hub();
    // A server that does not speak TLS.
    let plain = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = plain.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in plain.incoming().map_while(Result::ok) {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = free.local_addr().unwrap().port();
    drop(free);
    for (endpoint, cause, remedy) in [
        ("http://no-such-host.invalid".to_owned(), "no name server knows", "HTTPS_PROXY"),
        (format!("http://127.0.0.1:{closed}"), "refused", "HF_ENDPOINT"),
        (format!("https://localhost:{port}"), "no secure connection", "SSL_CERT_FILE"),
    ] {
        let settings = Settings { endpoint: endpoint.clone(), ..settings.clone() };
        let (result, events) = run(&settings, &options());
        let error = result.unwrap_err();
        assert_eq!(waits(&events), 0, "{endpoint}: {events:?}");
        let text = error.to_string();
        assert!(text.contains(cause) && text.contains(remedy), "{endpoint}: {text}");
    }
}

#[test]
fn without_a_network_the_cache_is_named() {
    let (_server, _dir, settings) = hub();
    let offline = Settings { offline: true, ..settings.clone() };
    let error = failure(&offline, &options());
    assert_eq!(error.exit_code(), 2);
    assert!(error.to_string().contains("HF_HUB_OFFLINE"), "{error}");
    // A port that was just free.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let away = Settings { endpoint: format!("http://127.0.0.1:{port}"), ..settings.clone() };
    let error = failure(&away, &options());
    assert_eq!(error.exit_code(), 1);
    assert!(error.to_string().contains("check the network"), "{error}");

    let (snapshot, _) = fetched(&settings, &options());
    let found = run(&offline, &options()).0.unwrap().unwrap();
    assert_eq!((found.directory.as_path(), &found.online), (snapshot.as_path(), &None));
    let text = failure(&away, &options()).to_string();
    assert!(text.contains(&*snapshot.to_string_lossy()), "{text}");
}

#[test]
fn an_output_directory_has_plain_files() {
    let (_server, dir, settings) = hub();
    let output = dir.path().join("mine");
    let include = vec!["*.json".into()];
    let options = FetchOptions { output: Some(output.clone()), include, ..options() };
    let (directory, _) = fetched(&settings, &options);
    assert_eq!(directory, output);
    assert!(fs::symlink_metadata(output.join("config.json")).unwrap().is_file());
    assert!(!output.join(WEIGHTS).exists() && !settings.cache.exists());
    let all: Vec<_> = fs::read_dir(&output).unwrap().collect();
    assert_eq!(all.len(), 1);
    // A file of the user's own is not replaced without a word.
    fs::write(output.join("config.json"), "mine").unwrap();
    let text = failure(&settings, &options).to_string();
    assert!(text.contains("config.json: exists already") && text.contains("--force"), "{text}");
    assert_eq!(fs::read_to_string(output.join("config.json")).unwrap(), "mine");
    fetched(&settings, &FetchOptions { overwrite: true, ..options.clone() });
    assert_ne!(fs::read_to_string(output.join("config.json")).unwrap(), "mine");
    let revision = Some("../main".into());
    let text = failure(&settings, &FetchOptions { revision, ..options }).to_string();
    assert!(text.contains("not a branch"), "{text}");
}

#[test]
fn two_fetches_of_one_file_write_it_once() {
    let (server, _dir, settings) = hub();
    let both: Vec<_> = (0..2)
        .map(|_| {
            let settings = settings.clone();
            std::thread::spawn(move || fetched(&settings, &options()).0)
        })
        .collect();
    for one in both {
        let snapshot = one.join().unwrap();
        assert_eq!(fs::read(snapshot.join(WEIGHTS)).unwrap(), weights());
    }
    let content = |request: &&(String, String, Option<String>, bool)| {
        request.1 == server.content(MODEL, WEIGHTS)
    };
    assert_eq!(server.requests().iter().filter(content).count(), 1);
    assert!(Path::new(&settings.cache).join(".locks/models--org--name").is_dir());
}
