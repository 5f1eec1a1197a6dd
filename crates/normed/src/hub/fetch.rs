//! A repository, fetched.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use serde::Serialize;

use super::answer::{Subject, Trouble};
use super::cache::{Cached, MAIN, is_revision};
use super::client::Client;
use super::event::Event;
use super::file::{Remote, written};
use super::listing::{ListedFile, Listing};
use super::select::select;
use super::{Kind, RepoId, Settings};
use crate::{Error, Result};

/// What to fetch, and where to.
#[derive(Debug, Clone)]
pub struct FetchOptions {
    /// What is in the repository.
    pub kind: Kind,
    /// Its name.
    pub id: RepoId,
    /// A branch, a tag or a commit; `main` if absent.
    pub revision: Option<String>,
    /// Only files that one of these patterns matches; what a model or a data set needs if there is
    /// none.
    pub include: Vec<String>,
    /// A directory for the files, in the place of the cache.
    pub output: Option<PathBuf>,
    /// Set from outside, it ends the fetch; what has arrived stays for the next.
    pub stop: Arc<AtomicBool>,
    /// The pause after a first failure; it doubles with each further one.
    pub first_wait: Duration,
}

impl FetchOptions {
    /// A whole repository's `main`, into the cache.
    pub fn new(kind: Kind, id: RepoId) -> Self {
        Self {
            kind,
            id,
            revision: None,
            include: Vec::new(),
            output: None,
            stop: Arc::default(),
            first_wait: Duration::from_secs(1),
        }
    }
}

/// What came of a fetch.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Fetched {
    /// What is in the repository.
    pub kind: Kind,
    /// Its name.
    pub id: RepoId,
    /// The branch, tag or commit that was asked for.
    pub revision: String,
    /// Where the files are.
    pub directory: PathBuf,
    /// What the hub said; absent if it was not asked, for want of leave to go to the network.
    pub asked: Option<Asked>,
}

/// What the hub said.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Asked {
    /// What the revision stands for.
    pub commit: String,
    /// As the card says it.
    pub licence: Option<String>,
    /// Files that are here now.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Files without a checksum to hold them to.
    pub unchecked: usize,
}

/// Fetches a repository's files into the cache, or a directory. None if `options.stop` was set.
///
/// A file that is here is held to the hub's checksum, as is one that arrives. A file gets its name
/// when it is whole; until then it ends in `.incomplete`, and the next fetch goes on from there.
/// A revision can be found under its name once all files that were asked for are here.
pub fn fetch(
    settings: &Settings,
    options: &FetchOptions,
    tell: &mut dyn FnMut(&Event),
) -> Result<Option<Fetched>> {
    let FetchOptions { kind, id, revision, .. } = options;
    let revision = revision.as_deref().unwrap_or(MAIN);
    if !is_revision(revision) {
        return Err(Error::invalid(revision, "is no branch, tag or commit"));
    }
    let subject = Subject { settings, kind: *kind, id, revision };
    let cached = Cached::new(settings, *kind, id, revision);
    let fetched = |directory, asked| Fetched {
        kind: *kind,
        id: id.clone(),
        revision: revision.to_owned(),
        directory,
        asked,
    };
    if settings.offline {
        return match cached.find() {
            Some(directory) if options.output.is_none() => Ok(Some(fetched(directory, None))),
            _ => Err(Error::invalid(id, "HF_HUB_OFFLINE says to stay off the network")
                .with_remedy("unset it, or copy the hub's cache from a machine that has it here")),
        };
    }
    match online(&subject, &cached, options, tell) {
        Ok((directory, asked)) => Ok(Some(fetched(directory, Some(asked)))),
        Err(Trouble::Stopped) => Ok(None),
        Err(Trouble::Lasting(error)) => Err(error),
        Err(Trouble::NoRepository) => Err(no_repository(&subject, options)),
        Err(Trouble::Unreachable(cause) | Trouble::Passing { cause, .. }) => {
            let error = Error::network(&settings.endpoint, cause);
            Err(error.with_remedy(match cached.find() {
                Some(snapshot) => format!(
                    "what was fetched before is in {}; with HF_HUB_OFFLINE=1 it is used unasked",
                    snapshot.display()
                ),
                None => "this needs the network; HF_ENDPOINT can name a mirror, HTTPS_PROXY a \
                     proxy, and the hub's cache of another machine can be copied here (HF_HOME)"
                    .to_owned(),
            }))
        }
    }
}

fn online(
    subject: &Subject<'_>,
    cached: &Cached,
    options: &FetchOptions,
    tell: &mut dyn FnMut(&Event),
) -> Result<(PathBuf, Asked), Trouble> {
    let Subject { settings, kind, id, .. } = *subject;
    let client = Client::new(settings, &options.stop, options.first_wait)?;
    let listing = client.patiently(id.as_str(), tell, |_| (0, Listing::read(&client, subject)))?;
    let Listing { commit, files, licence, gated } = listing;
    let (files, left_out) = select(id, kind, files, &options.include)?;
    let directory = match &options.output {
        Some(output) => output.clone(),
        None => cached.snapshot(&commit),
    };
    tell(&Event::Listed {
        id: id.clone(),
        commit: commit.clone(),
        licence: licence.clone(),
        gated,
        files: files.clone(),
        left_out,
    });
    fs::create_dir_all(&directory).map_err(|e| written(&directory, &e))?;
    let absent = files.iter().filter(|file| !directory.join(&file.path).exists());
    let needed: u64 = absent.filter_map(|file| file.size).sum();
    if let Some(free) = free_space(&directory).filter(|&free| free < needed) {
        tell(&Event::LittleSpace { needed, free });
    }

    let mut asked = Asked { commit, licence, files: files.len(), bytes: 0, unchecked: 0 };
    for ListedFile { path, .. } in &files {
        let commit = &asked.commit;
        let remote =
            client.patiently(path, tell, |_| (0, Remote::look(&client, subject, commit, path)))?;
        let checked = match &options.output {
            Some(output) => {
                let whole = output.join(path);
                one(&client, subject, &remote, &whole, tell)?
            }
            None => {
                let _held = lock(&client, cached, &remote, tell)?;
                let checked = one(&client, subject, &remote, &cached.blob(&remote.etag), tell)?;
                cached.link(commit, path, &remote.etag)?;
                checked
            }
        };
        asked.bytes += remote.size;
        asked.unchecked += usize::from(!checked);
    }
    if options.output.is_none() {
        cached.point_at(&asked.commit)?;
    }
    Ok((directory, asked))
}

/// Makes `whole` the file `remote`. Whether there was a checksum to hold it to.
fn one(
    client: &Client<'_>,
    subject: &Subject<'_>,
    remote: &Remote<'_>,
    whole: &Path,
    tell: &mut dyn FnMut(&Event),
) -> Result<bool, Trouble> {
    let Remote { path, size, .. } = *remote;
    let finished =
        |was_here, checked| Event::Finished { path: path.to_owned(), size, was_here, checked };
    if whole.exists() {
        match remote.is_at(client, whole)? {
            Some(false) => tell(&Event::Differs { place: whole.to_owned() }),
            checked => {
                tell(&finished(true, checked.is_some()));
                return Ok(checked.is_some());
            }
        }
    }
    let mut partial = whole.as_os_str().to_owned();
    partial.push(".incomplete");
    let partial = PathBuf::from(partial);
    if let Some(directory) = whole.parent() {
        fs::create_dir_all(directory).map_err(|e| written(directory, &e))?;
    }
    let checked = remote.receive(client, subject, &partial, tell)?;
    fs::rename(&partial, whole).map_err(|e| Error::io(whole, &e))?;
    tell(&finished(false, checked));
    Ok(checked)
}

/// Keeps other processes, Python's among them, from writing the same file.
fn lock(
    client: &Client<'_>,
    cached: &Cached,
    remote: &Remote<'_>,
    tell: &mut dyn FnMut(&Event),
) -> Result<fs::File, Trouble> {
    let file = cached.lock_file(&remote.etag)?;
    let mut told = false;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(fs::TryLockError::WouldBlock) => {
                if !told {
                    tell(&Event::Locked { path: remote.path.to_owned() });
                    told = true;
                }
                client.go_on()?;
                std::thread::sleep(Duration::from_millis(200));
            }
            // A file system without locks; Python goes without one there, too.
            Err(fs::TryLockError::Error(_)) => return Ok(file),
        }
    }
}

/// What to say where the hub knows no such repository: perhaps it knows one of the other kind.
fn no_repository(subject: &Subject<'_>, options: &FetchOptions) -> Error {
    let Subject { settings, kind, id, .. } = *subject;
    let other = Subject { kind: kind.other(), ..*subject };
    let client = Client::new(settings, &options.stop, options.first_wait);
    let is_other = client.is_ok_and(|client| Listing::read(&client, &other).is_ok());
    let error = Error::invalid(id, format!("the hub knows no such {}", kind.name()));
    if is_other {
        error.with_remedy(format!("it is a {}: {}", kind.other().name(), other.command()))
    } else if settings.token.is_none() {
        error.with_remedy("look for a slip in the name; if it is private, set HF_TOKEN")
    } else {
        error
            .with_remedy("look for a slip in the name; if it is private, the token may not read it")
    }
}

/// Bytes that are free where `directory` is; none if the system does not tell.
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
