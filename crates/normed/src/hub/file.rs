//! Receiving one file: an interrupted transfer is continued, and the checksum is verified.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::path::Path;

use sha1::Sha1;
use sha2::{Digest, Sha256};
use ureq::http::{HeaderMap, StatusCode};

use super::client::{Client, Request, from_io};
use super::event::Event;
use super::response::{RepoRevision, RequestError};
use crate::files::hex;
use crate::{Error, Result};

/// Bytes that are read at a time.
const PIECE: usize = 256 << 10;

/// A file on the hub, as its response headers describe it.
pub(super) struct RemoteFile<'a> {
    pub path: &'a str,
    pub url: String,
    /// The checksum of the content; safe as the name of a file.
    pub etag: String,
    pub size: u64,
}

impl<'a> RemoteFile<'a> {
    /// Requests the headers of `path` at `commit`.
    pub fn open(
        client: &Client<'_>,
        repo: &RepoRevision<'_>,
        commit: &str,
        path: &'a str,
    ) -> Result<Self, RequestError> {
        let url = format!("{}/resolve/{commit}/{}", repo.page(), percent_encoded(path));
        let answer = client.request(repo, &url, Some(path), Request::Headers)?;
        let (etag, size) = etag_and_size(answer.headers()).map_err(|cause| {
            Error::network(path, format!("the hub's response lacks {cause}"))
                .with_remedy("check HF_ENDPOINT and the proxy settings")
        })?;
        Ok(Self { path, url, etag, size })
    }

    /// Whether the file at `path` has this content; none if there is no checksum to compare.
    pub fn matches(&self, client: &Client<'_>, path: &Path) -> Result<Option<bool>, RequestError> {
        let mut file = File::open(path).map_err(|e| Error::io(path, &e))?;
        let length = file.metadata().map_err(|e| Error::io(path, &e))?.len();
        if length != self.size {
            return Ok(Some(false));
        }
        let mut sum = Checksum::new(self);
        sum.read(client, &mut file, length, path)?;
        Ok(sum.expected().map(|expected| sum.finish() == expected))
    }

    /// Receives the missing part of `partial`. Returns whether it was verified by a checksum.
    pub fn receive(
        &self,
        client: &Client<'_>,
        repo: &RepoRevision<'_>,
        partial: &Path,
        report: &mut dyn FnMut(&Event),
    ) -> Result<bool, RequestError> {
        let mut download = Download::open(self, client, partial)?;
        let resumed = download.length > 0;
        download.receive_all(client, repo, report)?;
        let mut mismatch = download.mismatch();
        if mismatch.is_some() && resumed {
            // The part that was here before may be wrong.
            download.restart()?;
            download.receive_all(client, repo, report)?;
            mismatch = download.mismatch();
        }
        if let Some((found, expected)) = mismatch {
            fs::remove_file(partial).map_err(|e| Error::io(partial, &e))?;
            let cause = format!("has the wrong checksum: {found} instead of {expected}");
            return Err(Error::network(self.path, cause)
                .with_remedy("try again; if it fails again, something on the network changes files")
                .into());
        }
        download.file.sync_all().map_err(|e| write_error(partial, &e))?;
        Ok(download.sum.expected().is_some())
    }
}

/// A transfer in progress.
struct Download<'a> {
    remote: &'a RemoteFile<'a>,
    partial: &'a Path,
    file: File,
    length: u64,
    sum: Checksum,
}

impl<'a> Download<'a> {
    fn open(
        remote: &'a RemoteFile<'a>,
        client: &Client<'_>,
        partial: &'a Path,
    ) -> Result<Self, RequestError> {
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true);
        let file = options.open(partial).map_err(|e| write_error(partial, &e))?;
        let length = file.metadata().map_err(|e| Error::io(partial, &e))?.len();
        let mut download = Self { remote, partial, file, length, sum: Checksum::new(remote) };
        if length > remote.size {
            download.restart()?;
        } else {
            download.sum.read(client, &mut download.file, length, partial)?;
        }
        Ok(download)
    }

    fn restart(&mut self) -> Result<()> {
        self.file.set_len(0).map_err(|e| write_error(self.partial, &e))?;
        (self.length, self.sum) = (0, Checksum::new(self.remote));
        Ok(())
    }

    /// Receives the rest, over several connections if needed.
    fn receive_all(
        &mut self,
        client: &Client<'_>,
        repo: &RepoRevision<'_>,
        report: &mut dyn FnMut(&Event),
    ) -> Result<(), RequestError> {
        let path = self.remote.path;
        client.with_retries(path, report, |report| {
            let result = self.receive_once(client, repo, report);
            (self.length, result)
        })
    }

    /// Receives as much as one connection delivers.
    fn receive_once(
        &mut self,
        client: &Client<'_>,
        repo: &RepoRevision<'_>,
        report: &mut dyn FnMut(&Event),
    ) -> Result<(), RequestError> {
        let RemoteFile { path, url, size, .. } = self.remote;
        report(&Event::Received { path: (*path).to_owned(), at: self.length });
        if self.length == *size {
            return Ok(());
        }
        let answer = client.request(repo, url, Some(path), Request::Content(self.length))?;
        let again = |cause: &str| RequestError::Temporary { cause: cause.to_owned(), wait: None };
        let start = match answer.status() {
            StatusCode::PARTIAL_CONTENT => range_start(answer.headers()),
            StatusCode::RANGE_NOT_SATISFIABLE => None,
            _ => Some(0), // the whole file: the server may not support ranges
        };
        match start {
            Some(start) if start == self.length => {}
            Some(0) => self.restart()?,
            _ => {
                self.restart()?;
                return Err(again("the server does not have the missing part"));
            }
        }
        let mut content = answer.into_body().into_reader();
        let mut piece = vec![0; PIECE];
        while self.length < *size {
            client.check_stop()?;
            let n = match content.read(&mut piece) {
                Ok(0) => return Err(again("the connection was interrupted")),
                Ok(n) => n,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(from_io(&error)),
            };
            let left = usize::try_from(*size - self.length).unwrap_or(usize::MAX);
            // Bytes beyond the size that the hub states do not belong to the file.
            let piece = &piece[..n.min(left)];
            self.file.write_all(piece).map_err(|e| write_error(self.partial, &e))?;
            self.sum.update(piece);
            self.length += piece.len() as u64;
            report(&Event::Received { path: (*path).to_owned(), at: self.length });
        }
        Ok(())
    }

    /// The checksum found and the one expected, where they differ.
    fn mismatch(&self) -> Option<(String, String)> {
        let (found, expected) = (self.sum.finish(), self.sum.expected()?);
        (found != expected).then_some((found, expected))
    }
}

/// The kind of checksum that an ETag is: SHA-256 for large files, git's SHA-1 for others.
#[derive(Clone)]
enum Sum {
    Sha256(Sha256),
    Git(Sha1),
    /// The ETag is not a known checksum.
    None,
}

struct Checksum {
    sum: Sum,
    etag: String,
}

impl Checksum {
    fn new(remote: &RemoteFile<'_>) -> Self {
        let is_hex = remote.etag.bytes().all(|b| b.is_ascii_hexdigit());
        let sum = match remote.etag.len() {
            64 if is_hex => Sum::Sha256(Sha256::new()),
            40 if is_hex => Sum::Git(Sha1::new().chain_update(format!("blob {}\0", remote.size))),
            _ => Sum::None,
        };
        Self { sum, etag: remote.etag.to_lowercase() }
    }

    fn update(&mut self, bytes: &[u8]) {
        match &mut self.sum {
            Sum::Sha256(sum) => sum.update(bytes),
            Sum::Git(sum) => sum.update(bytes),
            Sum::None => {}
        }
    }

    /// Adds the first `length` bytes of `file`.
    fn read(
        &mut self,
        client: &Client<'_>,
        file: &mut File,
        mut length: u64,
        path: &Path,
    ) -> Result<(), RequestError> {
        let mut piece = vec![0; PIECE];
        while length > 0 {
            client.check_stop()?;
            let end = PIECE.min(usize::try_from(length).unwrap_or(PIECE));
            file.read_exact(&mut piece[..end]).map_err(|e| Error::io(path, &e))?;
            self.update(&piece[..end]);
            length -= end as u64;
        }
        Ok(())
    }

    fn finish(&self) -> String {
        match self.sum.clone() {
            Sum::Sha256(sum) => hex(&sum.finalize()),
            Sum::Git(sum) => hex(&sum.finalize()),
            Sum::None => String::new(),
        }
    }

    fn expected(&self) -> Option<String> {
        (!matches!(self.sum, Sum::None)).then(|| self.etag.clone())
    }
}

/// The ETag and size in response headers. Those of the linked content take precedence.
fn etag_and_size(headers: &HeaderMap) -> Result<(String, u64), &'static str> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let etag = text("x-linked-etag").or_else(|| text("etag")).ok_or("an ETag")?;
    let etag = etag.trim().trim_start_matches("W/").trim_matches('"');
    let safe = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if etag.is_empty() || etag.len() > 128 || etag.starts_with('.') || !etag.chars().all(safe) {
        return Err("an ETag that is safe as a file name");
    }
    let size = text("x-linked-size").or_else(|| text("content-length")).ok_or("a size")?;
    Ok((etag.to_owned(), size.trim().parse().map_err(|_| "a size that is a number")?))
}

/// The first byte of a partial response.
fn range_start(headers: &HeaderMap) -> Option<u64> {
    let range = headers.get("content-range")?.to_str().ok()?;
    range.trim().strip_prefix("bytes ")?.split('-').next()?.parse().ok()
}

/// A path, percent-encoded for an address.
fn percent_encoded(path: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.~/".contains(&b);
    path.bytes()
        .map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect()
}

/// The error for a file that could not be written; on a full disk, with what to do about it.
pub(super) fn write_error(path: &Path, error: &std::io::Error) -> Error {
    let full = matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded);
    let report = Error::io(path, error);
    if full {
        report.with_remedy(
            "free some space and run the same command again; it continues from here. Or set HF_HOME to \
             a folder on another disk",
        )
    } else {
        report
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn headers_of_the_linked_content_take_precedence() {
        let all = headers(&[
            ("etag", "W/\"of-the-page\""),
            ("content-length", "12"),
            ("x-linked-etag", "\"abc\""),
            ("x-linked-size", "34"),
        ]);
        assert_eq!(etag_and_size(&all), Ok(("abc".into(), 34)));
        let plain = headers(&[("etag", "W/\"abc\""), ("content-length", "12")]);
        assert_eq!(etag_and_size(&plain), Ok(("abc".into(), 12)));
        for etag in ["\"../../x\"", "\"\"", "\".x\"", "a/b"] {
            assert!(
                etag_and_size(&headers(&[("etag", etag), ("content-length", "1")])).is_err(),
                "{etag}"
            );
        }
        assert!(etag_and_size(&headers(&[("etag", "a"), ("content-length", "-1")])).is_err());
    }

    #[test]
    fn checksums_are_those_of_git_and_of_sha256sum() {
        let sum = |etag: &str| {
            let remote = RemoteFile { path: "", url: String::new(), etag: etag.into(), size: 6 };
            let mut sum = Checksum::new(&remote);
            sum.update(b"hel");
            sum.update(b"lo\n");
            (sum.finish(), sum.expected())
        };
        // echo hello | git hash-object --stdin
        assert_eq!(sum(&"A".repeat(40)).0, "ce013625030ba8dba906f756967f9e9ca394464a");
        // echo hello | sha256sum
        let sha256 = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
        assert_eq!(sum(sha256), (sha256.to_owned(), Some(sha256.to_owned())));
        assert_eq!(sum("some-tag").1, None);
    }

    #[test]
    fn addresses() {
        assert_eq!(percent_encoded("a b/ä?.json"), "a%20b/%C3%A4%3F.json");
        assert_eq!(range_start(&headers(&[("content-range", "bytes 5-9/10")])), Some(5));
        assert_eq!(range_start(&headers(&[])), None);
    }
}
