//! What the hub's refusals mean, and what to do about each.

use std::time::Duration;

use ureq::http::{HeaderMap, StatusCode};

use super::{Kind, RepoId, Settings};
use crate::Error;

/// Why a request did not succeed.
#[derive(Debug)]
pub(super) enum Trouble {
    /// It may go away.
    Passing {
        /// What happened.
        cause: String,
        /// How long the server wants to be left alone.
        wait: Option<Duration>,
    },
    /// There is no way to the server. It may go away if there was one before.
    Unreachable(String),
    /// There is no such repository, or not for whoever asks.
    NoRepository,
    /// It stays.
    Lasting(Error),
    /// The user wants to stop.
    Stopped,
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Lasting(error)
    }
}

/// A repository, as requests name it.
#[derive(Clone, Copy)]
pub(super) struct Subject<'a> {
    pub settings: &'a Settings,
    pub kind: Kind,
    pub id: &'a RepoId,
    pub revision: &'a str,
}

impl Subject<'_> {
    /// Its address for a browser.
    pub fn page(&self) -> String {
        let Self { settings: Settings { endpoint, .. }, kind, id, .. } = self;
        match kind {
            Kind::Model => format!("{endpoint}/{id}"),
            Kind::Dataset => format!("{endpoint}/datasets/{id}"),
        }
    }

    /// The command that fetches it.
    pub fn command(&self) -> String {
        let dataset = if self.kind == Kind::Dataset { " --dataset" } else { "" };
        format!("normed fetch {}{dataset}", self.id)
    }

    /// What an answer that is no success means. `file` is the one asked for, if one was.
    pub fn refusal(&self, status: StatusCode, headers: &HeaderMap, file: Option<&str>) -> Trouble {
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
                    None => "is given only to those who have accepted its terms",
                    Some(_) => "the token's owner has not accepted its terms, or is not let in yet",
                };
                invalid(cause).with_remedy(format!(
                    "1. accept the terms in a browser: {}\n        \
                     2. make a token that may read: {endpoint}/settings/tokens\n        \
                     3. HF_TOKEN=<the token> {}",
                    self.page(),
                    self.command(),
                ))
            }
            (404, Some("RevisionNotFound")) => {
                invalid(&format!("there is no revision `{}`", self.revision))
                    .with_remedy(format!("see {}/tree/main for those there are", self.page()))
            }
            (404, Some("EntryNotFound")) => invalid("is listed, but not there"),
            (404, _) | (401 | 403, Some("RepoNotFound")) => return Trouble::NoRepository,
            (401, _) if token.is_some() => invalid("the token is not valid (any more)")
                .with_remedy(format!(
                    "HF_TOKEN, or `hf auth login`; new ones: {endpoint}/settings/tokens"
                )),
            (401, _) => invalid("is not for everybody: a token is needed").with_remedy(format!(
                "make one at {endpoint}/settings/tokens, then HF_TOKEN=<the token> {}",
                self.command()
            )),
            (403, _) => invalid("this may not be read with this token").with_remedy(format!(
                "give the token the right to read it: {endpoint}/settings/tokens"
            )),
            (408 | 425 | 429 | 500..=599, _) => {
                let wait = header("retry-after").and_then(|s| s.trim().parse().ok());
                let cause = match status.as_u16() {
                    429 => "the hub has had too many requests from here".to_owned(),
                    _ => format!("the hub answers {status}"),
                };
                return Trouble::Passing { cause, wait: wait.map(Duration::from_secs) };
            }
            _ => Error::network(&place, format!("the hub answers {status}")),
        };
        Trouble::Lasting(error)
    }
}
