//! Fetching the files of a repository.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use serde::Serialize;

use super::cache::{Cached, MAIN, is_revision};
use super::client::Client;
use super::event::Event;
use super::file::{RemoteFile, write_error};
use super::listing::Listing;
use super::model_files::NamedFiles;
use super::repo::ListedFile;
use super::response::{RepoRevision, RequestError};
use super::select::select;
use super::{RepoId, RepoKind, Settings};
use crate::{Error, Result};

/// What to fetch, and where to put it.
#[derive(Debug, Clone)]
pub struct FetchOptions {
    /// What the repository contains.
    pub kind: RepoKind,
    /// Its name.
    pub id: RepoId,
    /// A branch, a tag or a commit; `main` if absent.
    pub revision: Option<String>,
    /// Patterns of the files to fetch; without any, the files that a model or a data set needs.
    pub include: Vec<String>,
    /// Folder for the files, instead of the cache.
    pub output: Option<PathBuf>,
    /// Whether files in that folder are replaced where they differ from the hub's.
    pub overwrite: bool,
    /// Setting it from outside stops the fetch. What has arrived is kept for the next fetch.
    pub stop: Arc<AtomicBool>,
    /// Pause after the first failure; it doubles after each further failure.
    pub first_wait: Duration,
}

impl FetchOptions {
    /// The usual files of the main branch, into the cache.
    pub fn new(kind: RepoKind, id: RepoId) -> Self {
        Self {
            kind,
            id,
            revision: None,
            include: Vec::new(),
            output: None,
            overwrite: false,
            stop: Arc::default(),
            first_wait: Duration::from_secs(1),
        }
    }
}

/// The result of a fetch.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Fetched {
    /// What the repository contains.
    pub kind: RepoKind,
    /// Its name.
    pub id: RepoId,
    /// The branch, tag or commit.
    pub revision: String,
    /// Where the files are.
    pub directory: PathBuf,
    /// What was fetched or verified online; none if the network must not be used.
    #[serde(rename = "asked")]
    pub online: Option<OnlineFetch>,
}

/// What a fetch over the network has verified.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OnlineFetch {
    /// The commit of the revision.
    pub commit: String,
    /// The license, as the card states it.
    pub license: Option<String>,
    /// Number of files.
    pub files: usize,
    /// Their size in bytes.
    pub bytes: u64,
    /// Number of files for which the hub has no checksum.
    pub unchecked: usize,
}

/// Fetches the files of a repository into the cache, or a folder. Returns none if `options.stop` was set.
///
/// Every file is verified against the hub's checksum, including files that are here already. An unfinished
/// file has a name that ends in `.incomplete`; the next fetch continues it. A revision can be found in the
/// cache once all its files are here.
///
/// # Errors
/// If the hub cannot be reached or refuses, if a file cannot be written, or if its checksum is wrong.
pub fn fetch(
    settings: &Settings,
    options: &FetchOptions,
    report: &mut dyn FnMut(&Event),
) -> Result<Option<Fetched>> {
    let FetchOptions { kind, id, revision, .. } = options;
    let revision = revision.as_deref().unwrap_or(MAIN);
    if !is_revision(revision) {
        return Err(Error::invalid(revision, "is not a branch, tag or commit"));
    }
    let repo = RepoRevision { settings, kind: *kind, id, revision };
    let cached = Cached::new(settings, *kind, id, revision);
    let fetched = |directory, online| Fetched {
        kind: *kind,
        id: id.clone(),
        revision: revision.to_owned(),
        directory,
        online,
    };
    if settings.offline {
        return match cached.find() {
            Some(directory) if options.output.is_none() => Ok(Some(fetched(directory, None))),
            _ => Err(Error::invalid(id, "cannot be fetched: HF_HUB_OFFLINE forbids the network")
                .with_remedy("unset it, or copy the hub's cache from another machine")),
        };
    }
    match fetch_online(&repo, &cached, options, report) {
        Ok((directory, online)) => Ok(Some(fetched(directory, Some(online)))),
        Err(RequestError::Stopped) => Ok(None),
        Err(RequestError::Permanent(error)) => Err(error),
        Err(RequestError::NoRepository) => Err(no_repository(&repo, options)),
        Err(RequestError::Unreachable(cause) | RequestError::Temporary { cause, .. }) => {
            let error = Error::network(&settings.endpoint, cause);
            Err(error.with_remedy(match cached.find() {
                Some(snapshot) => format!(
                    "files fetched before are in {}; set HF_HUB_OFFLINE=1 to use them without the network",
                    snapshot.display()
                ),
                None => "check the network. HF_ENDPOINT can name a mirror and HTTPS_PROXY a proxy; or \
                     copy the hub's cache from another machine (HF_HOME)"
                    .to_owned(),
            }))
        }
    }
}

fn fetch_online(
    repo: &RepoRevision<'_>,
    cached: &Cached,
    options: &FetchOptions,
    report: &mut dyn FnMut(&Event),
) -> Result<(PathBuf, OnlineFetch), RequestError> {
    let RepoRevision { settings, kind, id, .. } = *repo;
    let client = Client::new(settings, &options.stop, options.first_wait)?;
    let listing =
        client.with_retries(id.as_str(), report, |_| (0, Listing::read(&client, repo)))?;
    let Listing { commit, files, license, gated } = listing;
    let directory = match &options.output {
        Some(output) => output.clone(),
        None => cached.snapshot(&commit),
    };
    fs::create_dir_all(&directory).map_err(|e| write_error(&directory, &e))?;
    let transfer = Transfer { client: &client, repo, cached, options, commit: &commit };

    // Which files a model needs can stand in other files, which are fetched first and reported in their turn.
    let paths: BTreeSet<String> = files.iter().map(|file| file.path.clone()).collect();
    let chooses = kind == RepoKind::Model && options.include.is_empty();
    let sources = if chooses { NamedFiles::sources(&paths) } else { Vec::new() };
    let mut early = Vec::new();
    let mut done = BTreeMap::new();
    for path in &sources {
        let result = transfer.fetch(path, &mut |event| match event {
            Event::Finished { .. } => early.push(event.clone()),
            Event::Received { .. } => {}
            _ => report(event),
        });
        done.insert(path.as_str(), result?);
    }
    let named = NamedFiles::read(&directory, &sources);

    let (files, left_out) = select(id, kind, files, &options.include, &named)?;
    report(&Event::Listed {
        id: id.clone(),
        commit: commit.clone(),
        license: license.clone(),
        gated,
        files: files.clone(),
        left_out,
    });
    let absent = files.iter().filter(|file| !directory.join(&file.path).exists());
    let needed: u64 = absent.filter_map(|file| file.size).sum();
    if let Some(free) = free_space(&directory).filter(|&free| free < needed) {
        report(&Event::LittleSpace { needed, free });
    }

    early.iter().for_each(&mut *report);
    let mut online =
        OnlineFetch { commit: commit.clone(), license, files: files.len(), bytes: 0, unchecked: 0 };
    for ListedFile { path, .. } in &files {
        let (size, checked) = match done.get(path.as_str()) {
            Some(&done) => done,
            None => transfer.fetch(path, report)?,
        };
        online.bytes += size;
        online.unchecked += usize::from(!checked);
    }
    if options.output.is_none() {
        cached.point_at(&commit)?;
    }
    Ok((directory, online))
}

/// The transfer of the files of one commit.
struct Transfer<'a> {
    client: &'a Client<'a>,
    repo: &'a RepoRevision<'a>,
    cached: &'a Cached,
    options: &'a FetchOptions,
    commit: &'a str,
}

impl Transfer<'_> {
    /// Fetches the file at `path`. Returns its size in bytes, and whether it was verified by a checksum.
    fn fetch(
        &self,
        path: &str,
        report: &mut dyn FnMut(&Event),
    ) -> Result<(u64, bool), RequestError> {
        let Self { client, repo, cached, options, commit } = *self;
        let remote = client
            .with_retries(path, report, |_| (0, RemoteFile::open(client, repo, commit, path)))?;
        let checked = match &options.output {
            Some(output) => {
                let target = output.join(path);
                fetch_file(client, repo, &remote, (&target, options.overwrite), report)?
            }
            None => {
                let _held = lock(client, cached, &remote, report)?;
                let blob = cached.blob(&remote.etag);
                let checked = fetch_file(client, repo, &remote, (&blob, true), report)?;
                cached.link(commit, path, &remote.etag)?;
                checked
            }
        };
        Ok((remote.size, checked))
    }
}

/// Fetches `remote` to `target`, unless it is there. A file that differs is an error, unless it may be
/// overwritten. Returns whether it was verified by a checksum.
fn fetch_file(
    client: &Client<'_>,
    repo: &RepoRevision<'_>,
    remote: &RemoteFile<'_>,
    (target, overwrite): (&Path, bool),
    report: &mut dyn FnMut(&Event),
) -> Result<bool, RequestError> {
    let RemoteFile { path, size, .. } = *remote;
    let finished =
        |was_here, checked| Event::Finished { path: path.to_owned(), size, was_here, checked };
    if target.exists() {
        match remote.matches(client, target)? {
            Some(false) if !overwrite => {
                let cause = "exists already, and differs from the file on the hub";
                let error = Error::invalid(target.display(), cause);
                return Err(error
                    .with_remedy("name another --output, or overwrite it with --force")
                    .into());
            }
            Some(false) => report(&Event::Differs { place: target.to_owned() }),
            checked => {
                report(&finished(true, checked.is_some()));
                return Ok(checked.is_some());
            }
        }
    }
    let mut partial = target.as_os_str().to_owned();
    partial.push(".incomplete");
    let partial = PathBuf::from(partial);
    if let Some(directory) = target.parent() {
        fs::create_dir_all(directory).map_err(|e| write_error(directory, &e))?;
    }
    let checked = remote.receive(client, repo, &partial, report)?;
    fs::rename(&partial, target).map_err(|e| Error::io(target, &e))?;
    report(&finished(false, checked));
    Ok(checked)
}

/// Locks a file, so that no other process, Python's included, writes it.
fn lock(
    client: &Client<'_>,
    cached: &Cached,
    remote: &RemoteFile<'_>,
    report: &mut dyn FnMut(&Event),
) -> Result<fs::File, RequestError> {
    let file = cached.lock_file(&remote.etag)?;
    let mut is_reported = false;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(fs::TryLockError::WouldBlock) => {
                if !is_reported {
                    report(&Event::Locked { path: remote.path.to_owned() });
                    is_reported = true;
                }
                client.check_stop()?;
                std::thread::sleep(Duration::from_millis(200));
            }
            // The file system has no locks. Python ignores this, too.
            Err(fs::TryLockError::Error(_)) => return Ok(file),
        }
    }
}

/// The error for an unknown repository. It may be one of the other kind.
fn no_repository(repo: &RepoRevision<'_>, options: &FetchOptions) -> Error {
    let RepoRevision { settings, kind, id, .. } = *repo;
    let other = RepoRevision { kind: kind.other(), ..*repo };
    let client = Client::new(settings, &options.stop, options.first_wait);
    let is_other = client.is_ok_and(|client| Listing::read(&client, &other).is_ok());
    let error = Error::invalid(id, format!("is not a {} on the hub", kind.name()));
    if is_other {
        error.with_remedy(format!("it is a {}; run: {}", kind.other().name(), other.command()))
    } else if settings.token.is_none() {
        error.with_remedy("check the spelling; for a private repository, set HF_TOKEN")
    } else {
        error.with_remedy("check the spelling; if it is private, the token may not have access")
    }
}

/// Free bytes on the disk of `directory`; none if the system does not say.
fn free_space(directory: &Path) -> Option<u64> {
    #[cfg(unix)]
    {
        let found = rustix::fs::statvfs(directory).ok()?;
        Some(found.f_bavail.saturating_mul(found.f_frsize))
    }
    #[cfg(not(unix))]
    {
        let _ = directory;
        None
    }
}
