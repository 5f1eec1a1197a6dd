//! The rule for outputs: a command never writes over what it reads, and over an earlier result only on request.

use std::fs;
use std::path::{Path, PathBuf};

use super::destination::{Destination, exists_already, is_a_directory, parent};
use super::directory::is_empty;
use super::write::TEMPORARY_PREFIX;
use crate::{Error, ErrorKind, Result};

/// The files that a command reads. Its outputs are checked against them before its work begins.
///
/// ```
/// use normed::files::Inputs;
///
/// let dir = tempfile::tempdir()?;
/// let data = dir.path().join("rows.jsonl");
/// std::fs::write(&data, "{}")?;
/// let mut inputs = Inputs::default();
/// inputs.add("the data file", &data);
/// assert!(inputs.check_file(&data, true).is_err());
/// assert!(inputs.check_file(&dir.path().join("answers.jsonl"), false).is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct Inputs {
    files: Vec<(&'static str, PathBuf)>,
    directories: Vec<(&'static str, PathBuf, &'static [&'static str])>,
}

/// How deep the files of an input directory are looked for.
const MAX_DEPTH: usize = 3;

impl Inputs {
    /// Adds the file `path`; `what` names it in an error, such as "the data file".
    pub fn add(&mut self, what: &'static str, path: &Path) {
        self.files.push((what, path.to_owned()));
    }

    /// Adds the files in `path` and its subdirectories that have one of these extensions.
    pub fn add_directory(
        &mut self,
        what: &'static str,
        path: &Path,
        extensions: &'static [&'static str],
    ) {
        self.directories.push((what, path.to_owned(), extensions));
    }

    /// Checks that the file `output` may be written.
    ///
    /// Links are followed. A file that exists and is not empty may be written only if `overwrite` is set; a
    /// device, a named pipe or an open descriptor may always be written into.
    ///
    /// # Errors
    ///
    /// If `output` is one of the inputs, under whatever name; if it is a result that may not be overwritten,
    /// or a directory; or if no file can be made in its directory.
    pub fn check_file(&self, output: &Path, overwrite: bool) -> Result<()> {
        match Destination::of(output)? {
            Destination::Stream(_) => Ok(()),
            Destination::Directory(_) => Err(is_a_directory(output)),
            Destination::Absent(path) => check_parent(&path),
            Destination::File(path, metadata) => {
                if let Some(what) = self.find(&Identity::of(&path)?) {
                    return Err(is_an_input(output, &format!("it is {what}")));
                }
                if metadata.len() > 0 && !overwrite {
                    return Err(exists_already(output));
                }
                check_parent(&path)
            }
        }
    }

    /// Checks that the directory `output` may be written. A directory that is not empty is replaced only if
    /// `overwrite` is set, and only if it holds what normed writes into directories: a model or an adapter.
    ///
    /// # Errors
    ///
    /// If `output` is or contains an input; if it is a file, or a directory that may not be replaced.
    pub fn check_directory(&self, output: &Path, overwrite: bool) -> Result<()> {
        match Destination::of(output)? {
            Destination::Absent(path) => check_parent(&path),
            Destination::Directory(path) if is_empty(&path)? => check_parent(&path),
            Destination::Directory(path) => {
                let canonical = fs::canonicalize(&path).map_err(|e| Error::io(&path, &e))?;
                let files = self.files.iter().map(|(what, path)| (what, path));
                let directories = self.directories.iter().map(|(what, path, _)| (what, path));
                for (what, input) in files.chain(directories) {
                    if fs::canonicalize(input).is_ok_and(|input| input.starts_with(&canonical)) {
                        return Err(is_an_input(output, &format!("{what} is in it")));
                    }
                }
                if !overwrite {
                    return Err(exists_already(output));
                }
                let is_ours = ["config.json", "adapter_config.json"];
                if !is_ours.iter().any(|name| path.join(name).is_file()) {
                    let cause = "holds neither a model nor an adapter, and is not replaced";
                    return Err(Error::invalid(output.display(), cause)
                        .with_remedy("name another output, or remove it yourself"));
                }
                check_parent(&path)
            }
            _ => Err(exists_already(output)),
        }
    }

    /// What the file `output` is among the inputs.
    fn find(&self, output: &Identity) -> Option<String> {
        let is_output = |path: &Path| Identity::of(path).is_ok_and(|input| input.is_same(output));
        let file = self.files.iter().find(|(_, path)| is_output(path));
        if let Some((what, _)) = file {
            return Some((*what).to_owned());
        }
        let directory = self.directories.iter().find(|(_, path, extensions)| {
            files_in(path, MAX_DEPTH).iter().any(|file| {
                let extension = file.extension().and_then(|e| e.to_str()).unwrap_or_default();
                extensions.contains(&extension) && is_output(file)
            })
        });
        directory.map(|(what, _, _)| format!("a file of {what}"))
    }
}

/// What makes two paths the same file: the same path without links, or the same place on a disk.
struct Identity {
    canonical: PathBuf,
    /// Device and inode: equal for hard links, too.
    #[cfg(unix)]
    inode: (u64, u64),
}

impl Identity {
    fn of(path: &Path) -> Result<Self> {
        let failed = |e: std::io::Error| Error::io(path, &e);
        Ok(Self {
            canonical: fs::canonicalize(path).map_err(failed)?,
            #[cfg(unix)]
            inode: {
                use std::os::unix::fs::MetadataExt as _;
                let metadata = fs::metadata(path).map_err(failed)?;
                (metadata.dev(), metadata.ino())
            },
        })
    }

    fn is_same(&self, other: &Self) -> bool {
        #[cfg(unix)]
        if self.inode == other.inode {
            return true;
        }
        self.canonical == other.canonical
    }
}

/// The files in a directory, down to a depth; what cannot be listed is left out.
fn files_in(directory: &Path, depth: usize) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let (mut files, mut directories) = (Vec::new(), Vec::new());
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() { directories.push(path) } else { files.push(path) }
    }
    if depth > 1 {
        files.extend(directories.iter().flat_map(|path| files_in(path, depth - 1)));
    }
    files
}

/// That a file can be made next to `path`.
fn check_parent(path: &Path) -> Result<()> {
    let directory = parent(path);
    let made = tempfile::Builder::new().prefix(TEMPORARY_PREFIX).tempfile_in(directory);
    made.map(drop).map_err(|e| {
        let error = Error::io(directory, &e);
        match error.kind() {
            ErrorKind::NotFound => error.with_remedy("make the folder first"),
            _ => error,
        }
    })
}

fn is_an_input(output: &Path, how: &str) -> Error {
    Error::invalid(output.display(), format!("is an input of this command: {how}"))
        .with_remedy("name another output")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_is_no_output_under_any_name() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir_all(at("model/tower")).unwrap();
        for name in ["rows.jsonl", "model/config.json", "model/tower/a.bin", "model/answers.jsonl"]
        {
            fs::write(at(name), "text").unwrap();
        }
        let mut inputs = Inputs::default();
        inputs.add("the data file", &at("rows.jsonl"));
        inputs.add_directory("the model", &at("model"), &["json", "bin"]);
        let mut names =
            vec!["rows.jsonl", "model/../rows.jsonl", "model/config.json", "model/tower/a.bin"];
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink("rows.jsonl", at("link")).unwrap();
            fs::hard_link(at("rows.jsonl"), at("hard")).unwrap();
            names.extend(["link", "hard"]);
        }
        for name in names {
            for overwrite in [false, true] {
                let error = inputs.check_file(&at(name), overwrite).unwrap_err();
                assert!(
                    error.cause().starts_with("is an input of this command: "),
                    "{name}: {error}"
                );
            }
        }
        inputs.check_file(&at("model/answers.jsonl"), true).unwrap();
        for directory in [dir.path().to_owned(), at("model")] {
            let error = inputs.check_directory(&directory, true).unwrap_err();
            assert!(error.cause().starts_with("is an input of this command"), "{error}");
        }
    }

    #[test]
    fn a_result_is_overwritten_only_on_request() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let inputs = Inputs::default();
        fs::write(at("result"), "text").unwrap();
        fs::write(at("empty"), "").unwrap();
        let error = inputs.check_file(&at("result"), false).unwrap_err();
        assert_eq!(error.cause(), "exists already");
        assert!(error.remedy().unwrap().contains("--force"));
        for (name, overwrite) in [("result", true), ("empty", false), ("new", false)] {
            inputs.check_file(&at(name), overwrite).unwrap();
        }
        assert_eq!(inputs.check_file(dir.path(), true).unwrap_err().cause(), "is a directory");
        let missing = inputs.check_file(&at("none/file"), false).unwrap_err();
        assert_eq!((missing.kind(), missing.exit_code()), (ErrorKind::NotFound, 2));

        fs::create_dir(at("model")).unwrap();
        inputs.check_directory(&at("model"), false).unwrap();
        fs::write(at("model/notes.txt"), "text").unwrap();
        assert_eq!(
            inputs.check_directory(&at("model"), false).unwrap_err().cause(),
            "exists already"
        );
        let error = inputs.check_directory(&at("model"), true).unwrap_err();
        assert!(error.cause().contains("neither a model nor an adapter"), "{error}");
        fs::write(at("model/config.json"), "{}").unwrap();
        inputs.check_directory(&at("model"), true).unwrap();
        assert_eq!(
            inputs.check_directory(&at("result"), true).unwrap_err().cause(),
            "exists already"
        );
    }
}
