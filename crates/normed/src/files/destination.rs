//! Where the bytes of an output go: a plain file, or something that is written into as it is.

use std::fs::{self, Metadata};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// What the path of an output leads to, once its links are followed.
#[derive(Debug)]
pub(super) enum Destination {
    /// Nothing yet: a file of this name is made.
    Absent(PathBuf),
    /// A plain file, which is replaced as a whole.
    File(PathBuf, Metadata),
    /// A directory.
    Directory(PathBuf),
    /// A device, a named pipe or an open descriptor. It is written into, never replaced.
    Stream(Stream),
}

/// Something that is written into.
#[derive(Debug)]
pub(super) struct Stream {
    /// The path that it is opened at.
    pub path: PathBuf,
    /// The number of the open descriptor that it is, such as 1 for the standard output.
    pub descriptor: Option<u32>,
}

/// Links that are followed before they are taken for a circle, as Linux counts them.
const MAX_LINKS: usize = 40;

impl Destination {
    /// Follows the links of `path`. A link to nothing leads to the file that it names.
    ///
    /// # Errors
    ///
    /// If `path` cannot be looked up, its links form a circle, or it is a socket.
    pub fn of(path: &Path) -> Result<Self> {
        let failed = |error: io::Error| Error::io(path, &error);
        let mut at = path.to_owned();
        for _ in 0..MAX_LINKS {
            if let Some(number) = descriptor_number(&at) {
                return Ok(Self::Stream(Stream { path: at, descriptor: Some(number) }));
            }
            let metadata = match fs::symlink_metadata(&at) {
                Ok(metadata) => metadata,
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::Absent(at)),
                Err(error) => return Err(failed(error)),
            };
            let kind = metadata.file_type();
            if kind.is_symlink() {
                let target = fs::read_link(&at).map_err(failed)?;
                at = parent(&at).join(target);
            } else if kind.is_dir() {
                return Ok(Self::Directory(at));
            } else if kind.is_file() {
                return Ok(Self::File(at, metadata));
            } else if file_kind(&metadata) == "a socket" {
                return Err(Error::invalid(path.display(), "is a socket")
                    .with_remedy("name a file, a named pipe or a device"));
            } else {
                return Ok(Self::Stream(Stream { path: at, descriptor: None }));
            }
        }
        Err(Error::invalid(path.display(), "its symbolic links form a circle"))
    }
}

/// The directory that `path` is in.
pub(super) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// The error for a directory where a file is written.
pub(super) fn is_a_directory(path: &Path) -> Error {
    Error::invalid(path.display(), "is a directory").with_remedy("name a file")
}

/// The error for a result that would be overwritten.
pub(super) fn exists_already(output: &Path) -> Error {
    Error::invalid(output.display(), "exists already")
        .with_remedy("name another output, or overwrite it with --force")
}

/// The number of the descriptor of this process that `path` names, as `/dev/fd/1` and `/proc/self/fd/1` do.
fn descriptor_number(path: &Path) -> Option<u32> {
    let number = path.file_name()?.to_str()?.parse().ok()?;
    let directory = fs::canonicalize(path.parent()?).ok()?;
    let own = Path::new("/proc").join(std::process::id().to_string());
    let is_own = directory.starts_with(own) && directory.ends_with("fd");
    (is_own || directory == Path::new("/dev/fd")).then_some(number)
}

/// The number of the open descriptor that `path` leads to, as `/dev/stdin` and `/dev/fd/63` do.
pub fn open_descriptor(path: &Path) -> Option<u32> {
    match Destination::of(path) {
        Ok(Destination::Stream(stream)) => stream.descriptor,
        _ => None,
    }
}

/// What a path leads to, in words: `a regular file`, `a named pipe`.
pub(super) fn file_kind(metadata: &Metadata) -> &'static str {
    let kind = metadata.file_type();
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt as _;
        if kind.is_fifo() {
            return "a named pipe";
        }
        if kind.is_socket() {
            return "a socket";
        }
        if kind.is_char_device() || kind.is_block_device() {
            return "a device";
        }
    }
    match kind {
        kind if kind.is_dir() => "a directory",
        kind if kind.is_file() => "a regular file",
        _ => "a special file",
    }
}

/// Whether `path` leads to a device, a named pipe or an open descriptor, which is written into.
pub fn is_stream(path: &Path) -> bool {
    matches!(Destination::of(path), Ok(Destination::Stream(_)))
}

/// Whether writing to `path` is writing to the standard output of this process.
pub fn is_standard_output(path: &Path) -> bool {
    open_descriptor(path) == Some(1)
}
