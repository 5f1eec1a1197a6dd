//! The hub's cache on this machine, as its Python library lays it out:
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

use super::{Kind, RepoId, Settings};
use crate::files::{CONFIG_LIMIT, read_text};
use crate::{Error, Result};

/// The branch that is meant where none is named.
pub(super) const MAIN: &str = "main";

/// A revision of a repository, in the cache.
pub(super) struct Cached {
    cache: PathBuf,
    repo: Repo,
}

impl Cached {
    pub fn new(settings: &Settings, kind: Kind, id: &RepoId, revision: &str) -> Self {
        let kind = match kind {
            Kind::Model => RepoType::Model,
            Kind::Dataset => RepoType::Dataset,
        };
        let repo = Repo::with_revision(id.as_str().to_owned(), kind, revision.to_owned());
        Self { cache: settings.cache.clone(), repo }
    }

    fn names(&self) -> CacheRepo {
        Cache::new(self.cache.clone()).repo(self.repo.clone())
    }

    /// Where all of the repository is.
    pub fn directory(&self) -> PathBuf {
        self.cache.join(self.repo.folder_name())
    }

    /// Where the files of `commit` have their names.
    pub fn snapshot(&self, commit: &str) -> PathBuf {
        self.names().pointer_path(commit)
    }

    /// Where the content with this ETag is.
    pub fn blob(&self, etag: &str) -> PathBuf {
        self.directory().join("blobs").join(etag)
    }

    /// The snapshot that the revision stands for, if it is here.
    pub fn find(&self) -> Option<PathBuf> {
        let revision = self.repo.revision();
        let commit = match read_text(&self.directory().join("refs").join(revision), CONFIG_LIMIT) {
            Ok(commit) => commit.trim().to_owned(),
            Err(_) => revision.to_owned(), // perhaps it is a commit
        };
        let right = !commit.is_empty() && commit.bytes().all(|b| b.is_ascii_alphanumeric());
        Some(self.snapshot(&commit)).filter(|snapshot| right && snapshot.is_dir())
    }

    /// Writes down that the revision stands for `commit`.
    pub fn point_at(&self, commit: &str) -> Result<()> {
        if self.repo.revision() == commit {
            return Ok(());
        }
        self.names().create_ref(commit).map_err(|e| Error::io(&self.directory(), &e))
    }

    /// Gives the content with this ETag the name `path` in the snapshot of `commit`.
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
            // As Python does where links need a privilege.
            #[cfg(not(unix))]
            return fs::copy(self.blob(etag), &name).map(drop);
        };
        attempt().map_err(|e| Error::io(&name, &e))
    }

    /// The file that is locked while the content with this ETag is written.
    pub fn lock_file(&self, etag: &str) -> Result<File> {
        let path = self.cache.join(".locks").join(self.repo.folder_name());
        let attempt = || {
            fs::create_dir_all(&path)?;
            File::create(path.join(format!("{etag}.lock")))
        };
        attempt().map_err(|e| Error::io(&path, &e))
    }
}

/// What came of looking for `ORG/NAME`.
#[derive(Debug, PartialEq, Eq)]
pub enum FromHub {
    /// It is here.
    Here(PathBuf),
    /// It could be the name of a repository, and is not in the cache. What to say about that.
    Absent {
        /// What is wrong.
        cause: String,
        /// The command that would put it right.
        hint: String,
    },
    /// It is not written as a repository's name is.
    NotAName,
}

/// Looks for `ORG/NAME` or `ORG/NAME@REVISION` in the cache. Nothing is fetched.
pub fn find(text: &str, kind: Kind) -> Result<FromHub> {
    find_in(&Settings::from_env()?, text, kind)
}

/// The directory `path` if it is there, else the snapshot of the repository that it names.
///
/// What is neither comes back as it is, for who opens it to say so, unless it may have been meant as
/// a repository's name.
pub fn find_or(path: &Path, kind: Kind) -> Result<PathBuf> {
    let text = match path.to_str() {
        Some(text) if !path.exists() => text,
        _ => return Ok(path.to_owned()),
    };
    match find(text, kind)? {
        FromHub::Here(snapshot) => Ok(snapshot),
        FromHub::Absent { cause, hint } => Err(Error::invalid(text, cause).with_remedy(hint)),
        FromHub::NotAName => Ok(path.to_owned()),
    }
}

fn find_in(settings: &Settings, text: &str, kind: Kind) -> Result<FromHub> {
    let (name, revision) = text.split_once('@').unwrap_or((text, MAIN));
    if !RepoId::is_full(name) || !is_revision(revision) {
        return Ok(FromHub::NotAName);
    }
    let found = Cached::new(settings, kind, &name.parse()?, revision).find();
    Ok(match found {
        Some(snapshot) => FromHub::Here(snapshot),
        None => {
            let dataset = if kind == Kind::Dataset { " --dataset" } else { "" };
            let at =
                if revision == MAIN { String::new() } else { format!(" --revision {revision}") };
            let cache = settings.cache.display();
            FromHub::Absent {
                cause: format!("no such directory, and no such {} in {cache}", kind.name()),
                hint: format!("if it is one of the hub's: normed fetch {name}{dataset}{at}"),
            }
        }
    })
}

/// Whether `text` can be a branch, a tag or a commit, and a path below `refs`.
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
        let look = |text| find_in(&settings, text, Kind::Model).unwrap();
        for text in ["org/name", "org/name@v2"] {
            let FromHub::Absent { hint, .. } = look(text) else { panic!("{text}") };
            assert!(hint.contains("normed fetch org/name"), "{hint}");
            assert_eq!(hint.ends_with("--revision v2"), text.ends_with("v2"), "{hint}");
        }
        let cached = Cached::new(&settings, Kind::Model, &"org/name".parse().unwrap(), MAIN);
        let snapshot = dir.path().join("models--org--name/snapshots/abc");
        assert_eq!(cached.snapshot("abc"), snapshot);
        fs::create_dir_all(&snapshot).unwrap();
        cached.point_at("abc").unwrap();
        assert_eq!(look("org/name"), FromHub::Here(snapshot.clone()));
        assert_eq!(look("org/name@abc"), FromHub::Here(snapshot));
        let FromHub::Absent { hint, .. } = find_in(&settings, "org/name", Kind::Dataset).unwrap()
        else {
            panic!("a model is no data set")
        };
        assert!(hint.ends_with("normed fetch org/name --dataset"), "{hint}");
        for text in ["name", "../name", "a/b/c", "org/name@../../x", "./a/b", "org/name@"] {
            assert_eq!(look(text), FromHub::NotAName, "{text}");
        }
        assert_eq!(find_or(dir.path(), Kind::Model).unwrap(), dir.path());
    }

    #[test]
    fn a_ref_cannot_lead_out_of_the_cache() {
        let dir = tempfile::tempdir().unwrap();
        let settings = settings(dir.path());
        let cached = Cached::new(&settings, Kind::Model, &"org/name".parse().unwrap(), MAIN);
        cached.point_at("../../..").unwrap();
        assert_eq!(cached.find(), None);
    }

    #[cfg(unix)]
    #[test]
    fn names_are_linked_to_content_at_any_depth() {
        let dir = tempfile::tempdir().unwrap();
        let settings = settings(dir.path());
        let cached = Cached::new(&settings, Kind::Dataset, &"org/name".parse().unwrap(), MAIN);
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
