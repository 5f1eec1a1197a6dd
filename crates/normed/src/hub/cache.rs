//! The hub's cache on this machine, in the layout of Python's `huggingface_hub`:
//!
//! ```text
//! models--ORG--NAME/blobs/ETAG            a file's content, by its checksum
//! models--ORG--NAME/refs/main             the commit that a revision stood for
//! models--ORG--NAME/snapshots/COMMIT/...  names, linked to blobs
//! .locks/models--ORG--NAME/ETAG.lock      held while a blob is written
//! ```

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use hf_hub::{Cache, CacheRepo, Repo, RepoType};

use super::{RepoId, RepoKind, Settings};
use crate::files::{CONFIG_LIMIT, read_text};
use crate::near_name::near_name;
use crate::{Error, Result};

/// The default branch.
pub(super) const MAIN: &str = "main";

/// A revision of a repository, in the cache.
pub(super) struct Cached {
    cache: PathBuf,
    repo: Repo,
}

impl Cached {
    pub fn new(settings: &Settings, kind: RepoKind, id: &RepoId, revision: &str) -> Self {
        let kind = match kind {
            RepoKind::Model => RepoType::Model,
            RepoKind::Dataset => RepoType::Dataset,
        };
        let repo = Repo::with_revision(id.as_str().to_owned(), kind, revision.to_owned());
        Self { cache: settings.cache.clone(), repo }
    }

    fn names(&self) -> CacheRepo {
        Cache::new(self.cache.clone()).repo(self.repo.clone())
    }

    /// The folder of the repository.
    pub fn directory(&self) -> PathBuf {
        self.cache.join(self.repo.folder_name())
    }

    /// The folder with the files of `commit`, under their names.
    pub fn snapshot(&self, commit: &str) -> PathBuf {
        self.names().pointer_path(commit)
    }

    /// The file with the content of this ETag.
    pub fn blob(&self, etag: &str) -> PathBuf {
        self.directory().join("blobs").join(etag)
    }

    /// The snapshot of the revision, if it is in the cache.
    pub fn find(&self) -> Option<PathBuf> {
        let revision = self.repo.revision();
        let commit = match read_text(&self.directory().join("refs").join(revision), CONFIG_LIMIT) {
            Ok(commit) => commit.trim().to_owned(),
            Err(_) => revision.to_owned(), // perhaps it is a commit
        };
        let right = !commit.is_empty() && commit.bytes().all(|b| b.is_ascii_alphanumeric());
        Some(self.snapshot(&commit)).filter(|snapshot| right && snapshot.is_dir())
    }

    /// Records that the revision is `commit`.
    pub fn point_at(&self, commit: &str) -> Result<()> {
        if self.repo.revision() == commit {
            return Ok(());
        }
        self.names().create_ref(commit).map_err(|e| Error::io(&self.directory(), &e))
    }

    /// Links `path` in the snapshot of `commit` to the content of this ETag.
    pub fn link(&self, commit: &str, path: &str, etag: &str) -> Result<()> {
        let name = self.snapshot(commit).join(path);
        let up = "../".repeat(2 + path.split('/').count() - 1);
        let target = Path::new(&up).join("blobs").join(etag);
        let attempt = || {
            if fs::read_link(&name).is_ok_and(|old| old == target) {
                return Ok(());
            }
            fs::create_dir_all(name.parent().unwrap_or(&name))?;
            if fs::symlink_metadata(&name).is_ok() {
                fs::remove_file(&name)?;
            }
            #[cfg(unix)]
            return std::os::unix::fs::symlink(&target, &name);
            // As Python does where links need administrator rights.
            #[cfg(not(unix))]
            return fs::copy(self.blob(etag), &name).map(drop);
        };
        attempt().map_err(|e| Error::io(&name, &e))
    }

    /// The file that is locked while the content of this ETag is written.
    pub fn lock_file(&self, etag: &str) -> Result<File> {
        let path = self.cache.join(".locks").join(self.repo.folder_name());
        let attempt = || {
            fs::create_dir_all(&path)?;
            File::create(path.join(format!("{etag}.lock")))
        };
        attempt().map_err(|e| Error::io(&path, &e))
    }
}

/// The result of looking for `ORG/NAME` in the cache.
#[derive(Debug, PartialEq, Eq)]
pub enum CacheLookup {
    /// It is in the cache, in this folder.
    Found(PathBuf),
    /// It may be the name of a repository, but is not in the cache.
    Missing {
        /// What is wrong.
        cause: String,
        /// The command that fetches it.
        hint: String,
    },
    /// It is not written like the name of a repository.
    NotARepoName,
}

/// Looks for `ORG/NAME` or `ORG/NAME@REVISION` in the cache, without the network.
///
/// # Errors
/// If an environment variable of the hub has an invalid value.
pub fn find_cached(text: &str, kind: RepoKind) -> Result<CacheLookup> {
    find_in(&Settings::from_env()?, text, kind)
}

/// The path `path` if it exists, else the cached snapshot of the repository that it names.
///
/// A path that is neither is returned unchanged, so that opening it reports the error.
///
/// # Errors
/// If `path` is written like the name of a repository that is not in the cache, or an environment variable
/// of the hub has an invalid value.
pub fn resolve_path(path: &Path, kind: RepoKind) -> Result<PathBuf> {
    let text = match path.to_str() {
        Some(text) if !path.exists() => text,
        _ => return Ok(path.to_owned()),
    };
    match find_cached(text, kind)? {
        CacheLookup::Found(snapshot) => Ok(snapshot),
        CacheLookup::Missing { cause, hint } => Err(Error::invalid(text, cause).with_remedy(hint)),
        CacheLookup::NotARepoName => Ok(path.to_owned()),
    }
}

fn find_in(settings: &Settings, text: &str, kind: RepoKind) -> Result<CacheLookup> {
    let (name, revision) = text.split_once('@').unwrap_or((text, MAIN));
    if !RepoId::is_full(name) || !is_revision(revision) {
        return Ok(CacheLookup::NotARepoName);
    }
    let found = Cached::new(settings, kind, &name.parse()?, revision).find();
    Ok(match found {
        Some(snapshot) => CacheLookup::Found(snapshot),
        None => {
            let dataset = if kind == RepoKind::Dataset { " --dataset" } else { "" };
            let at =
                if revision == MAIN { String::new() } else { format!(" --revision {revision}") };
            let cache = settings.cache.display();
            CacheLookup::Missing {
                cause: format!("there is no such folder, and no such {} in {cache}", kind.name()),
                hint: match near_folder(Path::new(name)) {
                    Some(near) => format!("did you mean {}?", near.display()),
                    None => format!("if it is on the hub, run: normed fetch {name}{dataset}{at}"),
                },
            }
        }
    })
}

/// The folder that was probably meant by a path whose parent exists.
fn near_folder(path: &Path) -> Option<PathBuf> {
    let (name, parent) = (path.file_name()?.to_str()?, path.parent()?);
    let entries = fs::read_dir(parent).ok()?.flatten().filter(|entry| entry.path().is_dir());
    let names: Vec<String> =
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    let near = near_name(name, names.iter().map(String::as_str))?;
    Some(parent.join(near))
}

/// Whether `text` can be a branch, a tag or a commit, and is safe as a path below `refs`.
pub(super) fn is_revision(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    !text.is_empty()
        && text.chars().all(plain)
        && text.split('/').all(|part| !part.is_empty() && !part.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(cache: &Path) -> Settings {
        Settings {
            endpoint: String::new(),
            cache: cache.to_owned(),
            token: None,
            offline: true,
            certificates: None,
        }
    }

    #[test]
    fn a_name_is_found_by_branch_and_by_commit() {
        let dir = tempfile::tempdir().unwrap();
        let settings = settings(dir.path());
        let look = |text| find_in(&settings, text, RepoKind::Model).unwrap();
        for text in ["org/name", "org/name@v2"] {
            let CacheLookup::Missing { hint, .. } = look(text) else { panic!("{text}") };
            assert!(hint.contains("normed fetch org/name"), "{hint}");
            assert_eq!(hint.ends_with("--revision v2"), text.ends_with("v2"), "{hint}");
        }
        let cached = Cached::new(&settings, RepoKind::Model, &"org/name".parse().unwrap(), MAIN);
        let snapshot = dir.path().join("models--org--name/snapshots/abc");
        assert_eq!(cached.snapshot("abc"), snapshot);
        fs::create_dir_all(&snapshot).unwrap();
        cached.point_at("abc").unwrap();
        assert_eq!(look("org/name"), CacheLookup::Found(snapshot.clone()));
        assert_eq!(look("org/name@abc"), CacheLookup::Found(snapshot));
        let CacheLookup::Missing { hint, .. } =
            find_in(&settings, "org/name", RepoKind::Dataset).unwrap()
        else {
            panic!("a model is no data set")
        };
        assert!(hint.ends_with("normed fetch org/name --dataset"), "{hint}");
        for text in ["name", "../name", "a/b/c", "org/name@../../x", "./a/b", "org/name@"] {
            assert_eq!(look(text), CacheLookup::NotARepoName, "{text}");
        }
        assert_eq!(resolve_path(dir.path(), RepoKind::Model).unwrap(), dir.path());
    }

    #[test]
    fn a_ref_cannot_lead_out_of_the_cache() {
        let dir = tempfile::tempdir().unwrap();
        let settings = settings(dir.path());
        let cached = Cached::new(&settings, RepoKind::Model, &"org/name".parse().unwrap(), MAIN);
        cached.point_at("../../..").unwrap();
        assert_eq!(cached.find(), None);
    }

    #[cfg(unix)]
    #[test]
    fn names_are_linked_to_content_at_any_depth() {
        let dir = tempfile::tempdir().unwrap();
        let settings = settings(dir.path());
        let cached = Cached::new(&settings, RepoKind::Dataset, &"org/name".parse().unwrap(), MAIN);
        for etag in ["aa", "bb"] {
            fs::create_dir_all(cached.blob(etag).parent().unwrap()).unwrap();
            fs::write(cached.blob(etag), etag).unwrap();
            for path in ["README.md", "data/train/0.parquet"] {
                cached.link("c0", path, etag).unwrap();
                cached.link("c0", path, etag).unwrap();
                let name = dir.path().join("datasets--org--name/snapshots/c0").join(path);
                assert_eq!(fs::read_to_string(name).unwrap(), etag);
            }
        }
    }
}
