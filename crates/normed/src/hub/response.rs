//! What the hub's error responses mean, and what to do about each.

use std::time::Duration;

use ureq::http::{HeaderMap, StatusCode};

use super::{RepoId, RepoKind, Settings};
use crate::Error;

/// Why a request failed.
#[derive(Debug)]
pub(super) enum RequestError {
    /// A failure that may go away.
    Temporary {
        /// What happened.
        cause: String,
        /// How long the server asks to wait.
        wait: Option<Duration>,
    },
    /// The server cannot be reached. If it was reached before, this may go away.
    Unreachable(String),
    /// The repository does not exist, or is hidden from this user.
    NoRepository,
    /// A failure that stays.
    Permanent(Error),
    /// The user asked to stop.
    Stopped,
}

impl From<Error> for RequestError {
    fn from(error: Error) -> Self {
        Self::Permanent(error)
    }
}

/// A revision of a repository.
#[derive(Clone, Copy)]
pub(super) struct RepoRevision<'a> {
    pub settings: &'a Settings,
    pub kind: RepoKind,
    pub id: &'a RepoId,
    pub revision: &'a str,
}

impl RepoRevision<'_> {
    /// Its web page.
    pub fn page(&self) -> String {
        let Self { settings: Settings { endpoint, .. }, kind, id, .. } = self;
        match kind {
            RepoKind::Model => format!("{endpoint}/{id}"),
            RepoKind::Dataset => format!("{endpoint}/datasets/{id}"),
        }
    }

    /// The command that fetches it.
    pub fn command(&self) -> String {
        let dataset = if self.kind == RepoKind::Dataset { " --dataset" } else { "" };
        format!("normed fetch {}{dataset}", self.id)
    }

    /// The error for a response that reports a failure. `file` is the requested file, if any.
    pub fn error_for(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        file: Option<&str>,
    ) -> RequestError {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let place = match file {
            Some(file) => format!("{}: {file}", self.id),
            None => self.id.to_string(),
        };
        let Settings { endpoint, token, .. } = self.settings;
        let invalid = |cause: &str| Error::invalid(&place, cause);
        let error = match (status.as_u16(), header("x-error-code")) {
            (401 | 403, Some("GatedRepo")) => {
                let cause = match token {
                    None => "is gated: its terms must be accepted first",
                    Some(_) => {
                        "is gated: the owner of the token has not accepted its terms, or has no access yet"
                    }
                };
                invalid(cause).with_remedy(format!(
                    "1. accept the terms in a browser: {}\n        \
                     2. create a token with read access: {endpoint}/settings/tokens\n        \
                     3. HF_TOKEN=<the token> {}",
                    self.page(),
                    self.command(),
                ))
            }
            (404, Some("RevisionNotFound")) => {
                invalid(&format!("has no revision `{}`", self.revision))
                    .with_remedy(format!("its revisions are listed at {}/tree/main", self.page()))
            }
            (404, Some("EntryNotFound")) => invalid("is listed, but does not exist"),
            (404, _) | (401 | 403, Some("RepoNotFound")) => return RequestError::NoRepository,
            (401, _) if token.is_some() => invalid("the token is not valid, or has expired")
                .with_remedy(format!(
                    "set a new one as HF_TOKEN or with `hf auth login`: {endpoint}/settings/tokens"
                )),
            (401, _) => invalid("is private: a token is needed").with_remedy(format!(
                "create one at {endpoint}/settings/tokens, then run HF_TOKEN=<the token> {}",
                self.command()
            )),
            (403, _) => invalid("the token has no read access")
                .with_remedy(format!("give the token read access: {endpoint}/settings/tokens")),
            (407, _) => Error::network(&place, "the proxy asks for a name and a password")
                .with_remedy("set HTTPS_PROXY to http://USER:PASSWORD@HOST:PORT"),
            (511, _) => Error::network(&place, "the network asks to log in first")
                .with_remedy("open any web page in a browser on this machine, and log in there"),
            (408 | 425 | 429 | 500 | 502..=504 | 520..=530, _) => {
                let wait = header("retry-after").and_then(|s| s.trim().parse().ok());
                let cause = match status.as_u16() {
                    429 => "the hub has received too many requests from this address".to_owned(),
                    _ => format!("the hub answers {status}"),
                };
                return RequestError::Temporary { cause, wait: wait.map(Duration::from_secs) };
            }
            _ => Error::network(&place, format!("the hub answers {status}")),
        };
        RequestError::Permanent(error)
    }
}
