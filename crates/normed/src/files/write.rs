//! Atomic writing: a file is replaced as a whole, or left as it was.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use super::destination::{Destination, Stream, is_a_directory, parent};
use crate::{Error, Result};

/// Start of the names of temporary files. A process that is killed while it writes leaves one.
pub const TEMPORARY_PREFIX: &str = ".writing-";

/// Bytes that are collected before they are written.
const BUFFER: usize = 1 << 20;

/// Writes the file at `path` whole or not at all.
///
/// `write` writes to a temporary file in the same directory, which is synced to disk and then
/// renamed. A full disk or a killed process leaves what was at `path` before. A file that is replaced
/// keeps its permissions and, where the system allows it, its owner. A symbolic link stays, and its
/// target is written.
///
/// A device, a named pipe and an open descriptor (`/dev/stdout`) are written into instead. A named pipe
/// waits for its reader.
///
/// # Errors
///
/// If `path` is a directory or a socket; if the temporary file cannot be created, written, synced or
/// renamed; or if `write` fails.
pub fn write_atomically(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<()> {
    let (written, remedy) = match Destination::of(path)? {
        Destination::Absent(target) => (replace(&target, None, write), KEPT),
        Destination::File(target, before) => (replace(&target, Some(&before), write), KEPT),
        Destination::Stream(stream) => (write_into(&stream, write), "free some space"),
        Destination::Directory(_) => return Err(is_a_directory(path)),
    };
    written.map_err(|e| match e.kind() {
        io::ErrorKind::StorageFull => {
            Error::failed(path.display(), "the disk is full").with_remedy(remedy)
        }
        _ => Error::io(path, &e),
    })
}

/// The remedy for a full disk, where a file is replaced as a whole.
const KEPT: &str = "free some space; what was there before is unchanged";

/// Replaces the file at `target`, which has the metadata `before`, if there is one.
fn replace(
    target: &Path,
    before: Option<&Metadata>,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let directory = parent(target);
    let mut builder = tempfile::Builder::new();
    builder.prefix(TEMPORARY_PREFIX);
    // The permissions of any new file, within the umask; the crate's default is the owner's alone. A file
    // that replaces another is for its owner alone until it has the other's permissions.
    #[cfg(unix)]
    if before.is_none() {
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    }
    let file = builder.tempfile_in(directory)?;
    if let Some(before) = before {
        keep_owner(file.as_file(), before);
        file.as_file().set_permissions(before.permissions())?;
    }
    write_buffered(file.as_file(), write)?;
    file.as_file().sync_all()?;
    file.persist(target).map_err(|e| e.error)?;
    // The new name itself is on disk only once the directory is.
    #[cfg(unix)]
    File::open(directory)?.sync_all()?;
    Ok(())
}

/// Gives `file` the owner and the group of another. Only an administrator may give a file away, so that
/// a refusal is no error.
fn keep_owner(file: &File, before: &Metadata) {
    #[cfg(unix)]
    {
        use rustix::fs::{Gid, Uid, fchown};
        use std::os::unix::fs::MetadataExt as _;
        let (user, group) = (Uid::from_raw(before.uid()), Gid::from_raw(before.gid()));
        if fchown(file, Some(user), Some(group)).is_err() {
            let _ = fchown(file, None, Some(group));
        }
    }
    #[cfg(not(unix))]
    let _ = (file, before);
}

/// Writes into what is there.
fn write_into(
    stream: &Stream,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    // A descriptor that leads to a file is continued where the file ends, as the shell's own output is.
    let mut options = OpenOptions::new();
    match stream.descriptor {
        Some(_) => options.append(true),
        None => options.write(true),
    };
    write_buffered(&options.open(&stream.path)?, write)
}

fn write_buffered(
    file: &File,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let mut buffer = BufWriter::with_capacity(BUFFER, file);
    write(&mut buffer)?;
    buffer.flush()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn write(path: &Path, text: &str) -> Result<()> {
        write_atomically(path, |out| out.write_all(text.as_bytes()))
    }

    #[test]
    fn a_failure_leaves_what_was_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "before").unwrap();
        let error = write_atomically(&path, |out| {
            out.write_all(b"half")?;
            Err(io::ErrorKind::StorageFull.into())
        })
        .unwrap_err();
        assert!(error.to_string().contains("the disk is full"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "before");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "a temporary file stays");
        let error = write(dir.path(), "text").unwrap_err();
        assert_eq!((error.cause(), error.exit_code()), ("is a directory", 2));
    }

    #[cfg(unix)]
    #[test]
    fn a_file_keeps_its_permissions_and_a_link_stays_a_link() {
        use std::os::unix::fs::{PermissionsExt as _, symlink};
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for mode in [0o600, 0o640, 0o755] {
            fs::write(at("private"), "before").unwrap();
            fs::set_permissions(at("private"), fs::Permissions::from_mode(mode)).unwrap();
            write(&at("private"), "after").unwrap();
            assert_eq!(fs::metadata(at("private")).unwrap().permissions().mode() & 0o7777, mode);
            assert_eq!(fs::read_to_string(at("private")).unwrap(), "after");
        }
        fs::create_dir(at("sub")).unwrap();
        for (link, target) in
            [("to_file", "private"), ("dangling", "sub/new"), ("chain", "to_file")]
        {
            symlink(target, at(link)).unwrap();
            write(&at(link), link).unwrap();
            assert_eq!(fs::read_link(at(link)).unwrap(), Path::new(target));
            assert_eq!(fs::read_to_string(at(link)).unwrap(), link);
        }
        assert_eq!(fs::read_to_string(at("private")).unwrap(), "chain");
        assert_eq!(fs::read_to_string(at("sub/new")).unwrap(), "dangling");
        symlink("circle", at("circle")).unwrap();
        assert!(write(&at("circle"), "").unwrap_err().cause().contains("circle"));
    }

    #[cfg(unix)]
    #[test]
    fn pipes_and_devices_are_written_into() {
        use std::os::unix::fs::FileTypeExt as _;
        use std::os::unix::net::UnixListener;
        use std::process::Command;
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let reader = {
            let pipe = pipe.clone();
            std::thread::spawn(move || fs::read_to_string(pipe).unwrap())
        };
        write(&pipe, "through").unwrap();
        assert_eq!(reader.join().unwrap(), "through");
        assert!(fs::symlink_metadata(&pipe).unwrap().file_type().is_fifo());

        // Another node of the device behind /dev/null: the test must not be able to replace the real one.
        let null = dir.path().join("null");
        let made = Command::new("mknod").arg(&null).args(["c", "1", "3"]).status().unwrap();
        if made.success() && fs::OpenOptions::new().write(true).open(&null).is_ok() {
            write(&null, "away").unwrap();
            assert!(fs::symlink_metadata(&null).unwrap().file_type().is_char_device());
        }
        let socket = dir.path().join("socket");
        let _listener = UnixListener::bind(&socket).unwrap();
        assert_eq!(write(&socket, "").unwrap_err().cause(), "is a socket");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn an_open_descriptor_is_continued_not_replaced() {
        use std::os::fd::AsRawFd as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let mut file = File::create(&path).unwrap();
        file.write_all(b"one ").unwrap();
        for directory in ["/dev/fd", "/proc/self/fd"] {
            let descriptor = Path::new(directory).join(file.as_raw_fd().to_string());
            write(&descriptor, "two ").unwrap();
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "one two two ");
    }
}
