//! One file: gone on with where it was broken off, and held to its checksum.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::path::Path;

use sha1::Sha1;
use sha2::{Digest, Sha256};
use ureq::http::{HeaderMap, StatusCode};

use super::answer::{Subject, Trouble};
use super::client::{Ask, Client, from_io};
use super::event::Event;
use crate::files::hex;
use crate::{Error, Result};

/// How much is read at a time, in bytes.
const PIECE: usize = 256 << 10;

/// A file on the hub, as its headers describe it.
pub(super) struct Remote<'a> {
    pub path: &'a str,
    pub url: String,
    /// The content's checksum, in a form that is safe as a file's name.
    pub etag: String,
    pub size: u64,
}

impl<'a> Remote<'a> {
    /// Asks for the headers of `path` at `commit`.
    pub fn look(
        client: &Client<'_>,
        subject: &Subject<'_>,
        commit: &str,
        path: &'a str,
    ) -> Result<Self, Trouble> {
        let url = format!("{}/resolve/{commit}/{}", subject.page(), escaped(path));
        let answer = client.ask(subject, &url, Some(path), Ask::Headers)?;
        let (etag, size) = described(answer.headers()).map_err(|cause| {
            Error::network(path, format!("the hub's answer lacks {cause}"))
                .with_remedy("HF_ENDPOINT, or a proxy, leads somewhere else")
        })?;
        Ok(Self { path, url, etag, size })
    }

    /// Whether the file at `path` is this one; none if there is no checksum to tell by.
    pub fn is_at(&self, client: &Client<'_>, path: &Path) -> Result<Option<bool>, Trouble> {
        let mut file = File::open(path).map_err(|e| Error::io(path, &e))?;
        let length = file.metadata().map_err(|e| Error::io(path, &e))?.len();
        if length != self.size {
            return Ok(Some(false));
        }
        let mut sum = Checksum::new(self);
        sum.read(client, &mut file, length, path)?;
        Ok(sum.expected().map(|expected| sum.finish() == expected))
    }

    /// Receives what is missing of `partial`. Whether there was a checksum to hold it to.
    pub fn receive(
        &self,
        client: &Client<'_>,
        subject: &Subject<'_>,
        partial: &Path,
        tell: &mut dyn FnMut(&Event),
    ) -> Result<bool, Trouble> {
        let mut download = Download::open(self, client, partial)?;
        let resumed = download.length > 0;
        download.go_on(client, subject, tell)?;
        let mut mismatch = download.mismatch();
        if mismatch.is_some() && resumed {
            // What was there before may be what is wrong.
            download.restart()?;
            download.go_on(client, subject, tell)?;
            mismatch = download.mismatch();
        }
        if let Some((found, expected)) = mismatch {
            fs::remove_file(partial).map_err(|e| Error::io(partial, &e))?;
            let cause = format!("what arrived is not what the hub has: {found}, not {expected}");
            return Err(Error::network(self.path, cause)
                .with_remedy("try again; if it stays so, something on the way alters files")
                .into());
        }
        download.file.sync_all().map_err(|e| written(partial, &e))?;
        Ok(download.sum.expected().is_some())
    }
}

/// A file that is being received.
struct Download<'a> {
    remote: &'a Remote<'a>,
    partial: &'a Path,
    file: File,
    length: u64,
    sum: Checksum,
}

impl<'a> Download<'a> {
    fn open(
        remote: &'a Remote<'a>,
        client: &Client<'_>,
        partial: &'a Path,
    ) -> Result<Self, Trouble> {
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true);
        let file = options.open(partial).map_err(|e| written(partial, &e))?;
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
        self.file.set_len(0).map_err(|e| written(self.partial, &e))?;
        (self.length, self.sum) = (0, Checksum::new(self.remote));
        Ok(())
    }

    /// Receives to the end, through whatever may pass.
    fn go_on(
        &mut self,
        client: &Client<'_>,
        subject: &Subject<'_>,
        tell: &mut dyn FnMut(&Event),
    ) -> Result<(), Trouble> {
        let path = self.remote.path;
        client.patiently(path, tell, |tell| {
            let result = self.pour(client, subject, tell);
            (self.length, result)
        })
    }

    /// Receives as much as one connection gives.
    fn pour(
        &mut self,
        client: &Client<'_>,
        subject: &Subject<'_>,
        tell: &mut dyn FnMut(&Event),
    ) -> Result<(), Trouble> {
        let Remote { path, url, size, .. } = self.remote;
        tell(&Event::Received { path: (*path).to_owned(), at: self.length });
        if self.length == *size {
            return Ok(());
        }
        let answer = client.ask(subject, url, Some(path), Ask::Content(self.length))?;
        let again = |cause: &str| Trouble::Passing { cause: cause.to_owned(), wait: None };
        let start = match answer.status() {
            StatusCode::PARTIAL_CONTENT => starts_at(answer.headers()),
            StatusCode::RANGE_NOT_SATISFIABLE => None,
            _ => Some(0), // all of it: perhaps the server knows of no parts
        };
        match start {
            Some(start) if start == self.length => {}
            Some(0) => self.restart()?,
            _ => {
                self.restart()?;
                return Err(again("the server does not have the part that is missing"));
            }
        }
        let mut content = answer.into_body().into_reader();
        let mut piece = vec![0; PIECE];
        while self.length < *size {
            client.go_on()?;
            let n = match content.read(&mut piece) {
                Ok(0) => return Err(again("the connection is cut")),
                Ok(n) => n,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(from_io(&error)),
            };
            let left = usize::try_from(*size - self.length).unwrap_or(usize::MAX);
            // What comes beyond the size that the hub gives is none of the file's.
            let piece = &piece[..n.min(left)];
            self.file.write_all(piece).map_err(|e| written(self.partial, &e))?;
            self.sum.update(piece);
            self.length += piece.len() as u64;
            tell(&Event::Received { path: (*path).to_owned(), at: self.length });
        }
        Ok(())
    }

    /// The checksum found and the one expected, where they differ.
    fn mismatch(&self) -> Option<(String, String)> {
        let (found, expected) = (self.sum.finish(), self.sum.expected()?);
        (found != expected).then_some((found, expected))
    }
}

/// The checksum that an ETag is: SHA-256 of large files, git's of the others.
#[derive(Clone)]
enum Sum {
    Sha256(Sha256),
    Git(Sha1),
    /// The ETag is none that we know.
    None,
}

struct Checksum {
    sum: Sum,
    etag: String,
}

impl Checksum {
    fn new(remote: &Remote<'_>) -> Self {
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

    /// Takes in the first `length` bytes of `file`.
    fn read(
        &mut self,
        client: &Client<'_>,
        file: &mut File,
        mut length: u64,
        path: &Path,
    ) -> Result<(), Trouble> {
        let mut piece = vec![0; PIECE];
        while length > 0 {
            client.go_on()?;
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

/// ETag and size of the content that headers describe; those of what they lead to go first.
fn described(headers: &HeaderMap) -> Result<(String, u64), &'static str> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let etag = text("x-linked-etag").or_else(|| text("etag")).ok_or("an ETag")?;
    let etag = etag.trim().trim_start_matches("W/").trim_matches('"');
    let safe = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if etag.is_empty() || etag.len() > 128 || etag.starts_with('.') || !etag.chars().all(safe) {
        return Err("an ETag that can be a file's name");
    }
    let size = text("x-linked-size").or_else(|| text("content-length")).ok_or("a size")?;
    Ok((etag.to_owned(), size.trim().parse().map_err(|_| "a size that is a number")?))
}

/// The byte that a part starts at.
fn starts_at(headers: &HeaderMap) -> Option<u64> {
    let range = headers.get("content-range")?.to_str().ok()?;
    range.trim().strip_prefix("bytes ")?.split('-').next()?.parse().ok()
}

/// A path as part of an address.
fn escaped(path: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.~/".contains(&b);
    path.bytes()
        .map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect()
}

/// A file that could not be written: what to do where the disk is full.
pub(super) fn written(path: &Path, error: &std::io::Error) -> Error {
    let full = matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded);
    let report = Error::io(path, error);
    if full {
        report.with_remedy(
            "free some space, and the same command goes on from here; or set HF_HOME to a directory \
             on another disk",
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
    fn what_a_link_leads_to_goes_first() {
        let all = headers(&[
            ("etag", "W/\"of-the-page\""),
            ("content-length", "12"),
            ("x-linked-etag", "\"abc\""),
            ("x-linked-size", "34"),
        ]);
        assert_eq!(described(&all), Ok(("abc".into(), 34)));
        let plain = headers(&[("etag", "W/\"abc\""), ("content-length", "12")]);
        assert_eq!(described(&plain), Ok(("abc".into(), 12)));
        for etag in ["\"../../x\"", "\"\"", "\".x\"", "a/b"] {
            assert!(
                described(&headers(&[("etag", etag), ("content-length", "1")])).is_err(),
                "{etag}"
            );
        }
        assert!(described(&headers(&[("etag", "a"), ("content-length", "-1")])).is_err());
    }

    #[test]
    fn checksums_are_those_of_git_and_of_sha256sum() {
        let sum = |etag: &str| {
            let remote = Remote { path: "", url: String::new(), etag: etag.into(), size: 6 };
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
        assert_eq!(escaped("a b/ä?.json"), "a%20b/%C3%A4%3F.json");
        assert_eq!(starts_at(&headers(&[("content-range", "bytes 5-9/10")])), Some(5));
        assert_eq!(starts_at(&headers(&[])), None);
    }
}
