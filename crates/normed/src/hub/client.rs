//! Requests to the hub: redirects, timeouts, patience.

use std::cell::Cell;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ureq::http::{HeaderMap, Response, StatusCode};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body, Timeout};

use super::Settings;
use super::answer::{Subject, Trouble};
use super::event::Event;
use crate::files::{CONFIG_LIMIT, read_bounded};
use crate::{Error, Result};

/// A name that is not found and a door that stays shut are not waited for longer than this.
const CONNECT: Duration = Duration::from_secs(15);
/// A connection on which nothing arrives for this long is dead.
const SILENCE: Duration = Duration::from_secs(60);
/// How often in a row a request is made that fails.
const ATTEMPTS: u32 = 6;
/// A server that wants to be left alone for longer is given up.
const LONGEST_WAIT: Duration = Duration::from_secs(300);
/// Addresses that one request may be sent on to.
const REDIRECTS: usize = 8;

/// What to ask for.
#[derive(Clone, Copy)]
pub(super) enum Ask {
    /// The headers alone, as the hub itself gives them: an address elsewhere is not followed.
    Headers,
    /// The content from this byte on.
    Content(u64),
}

/// Sends requests.
pub(super) struct Client<'a> {
    settings: &'a Settings,
    agent: Agent,
    stop: &'a AtomicBool,
    first_wait: Duration,
    /// Whether the hub has answered yet.
    reached: Cell<bool>,
}

impl<'a> Client<'a> {
    pub fn new(settings: &'a Settings, stop: &'a AtomicBool, first_wait: Duration) -> Result<Self> {
        let mut tls = TlsConfig::builder();
        if let Some(path) = &settings.certificates {
            let pem = read_bounded(path, CONFIG_LIMIT)?;
            let certificates = parse_pem(&pem).filter_map(|item| match item {
                Ok(PemItem::Certificate(certificate)) => Some(Ok(certificate)),
                Ok(_) => None,
                Err(error) => Some(Err(Error::invalid(path.display(), error))),
            });
            tls = tls.root_certs(RootCerts::from(certificates.collect::<Result<Vec<_>>>()?));
        }
        let config = Agent::config_builder()
            .tls_config(tls.build())
            .user_agent(concat!("normed/", env!("CARGO_PKG_VERSION")))
            .https_only(settings.endpoint.starts_with("https://"))
            .http_status_as_error(false)
            // Redirects are followed below, where the token can be kept from other hosts.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_resolve(Some(CONNECT))
            .timeout_connect(Some(CONNECT))
            .timeout_recv_response(Some(SILENCE))
            .timeout_per_read(Some(SILENCE))
            .build();
        let reached = Cell::new(false);
        Ok(Self { settings, agent: config.into(), stop, first_wait, reached })
    }

    /// Whether the user wants to stop, as an error.
    pub fn go_on(&self) -> Result<(), Trouble> {
        if self.stop.load(Ordering::Relaxed) { Err(Trouble::Stopped) } else { Ok(()) }
    }

    /// The answer to one request, if it is a success. `file` is the one asked for, if one is.
    pub fn ask(
        &self,
        subject: &Subject<'_>,
        url: &str,
        file: Option<&str>,
        ask: Ask,
    ) -> Result<Response<Body>, Trouble> {
        let mut url = url.to_owned();
        for _ in 0..REDIRECTS {
            self.go_on()?;
            let answer = self.ask_once(&url, ask)?;
            self.reached.set(true);
            let status = answer.status();
            if status.is_success() || status == StatusCode::RANGE_NOT_SATISFIABLE {
                return Ok(answer);
            }
            let Some(next) = location(&url, status, answer.headers())? else {
                return Err(subject.refusal(status, answer.headers(), file));
            };
            if matches!(ask, Ask::Headers) && origin(&next) != origin(&url) {
                return Ok(answer);
            }
            url = next;
        }
        Err(Error::network(url, "leads in a circle of addresses").into())
    }

    fn ask_once(&self, url: &str, ask: Ask) -> Result<Response<Body>, Trouble> {
        let mut request = match ask {
            Ask::Headers => self.agent.head(url),
            Ask::Content(_) => self.agent.get(url),
        };
        if let Ask::Content(from @ 1..) = ask {
            request = request.header("range", format!("bytes={from}-"));
        }
        if let Some(token) = &self.settings.token
            && origin(url) == origin(&self.settings.endpoint)
        {
            request = request.header("authorization", format!("Bearer {}", token.reveal()));
        }
        request.call().map_err(|error| trouble(url, error))
    }

    /// Repeats `attempt` as long as its trouble may pass. It says how far it has come: progress is
    /// no failure.
    pub fn patiently<T>(
        &self,
        place: &str,
        tell: &mut dyn FnMut(&Event),
        mut attempt: impl FnMut(&mut dyn FnMut(&Event)) -> (u64, Result<T, Trouble>),
    ) -> Result<T, Trouble> {
        let (mut failures, mut reached) = (0, 0);
        loop {
            let (at, result) = attempt(tell);
            if at > reached {
                (failures, reached) = (0, at);
            }
            let (cause, wait) = match result {
                Err(Trouble::Passing { cause, wait }) => (cause, wait),
                Err(Trouble::Unreachable(cause)) if self.reached.get() => (cause, None),
                other => return other,
            };
            let wait = wait.unwrap_or(self.first_wait * 2_u32.pow(failures));
            failures += 1;
            if failures == ATTEMPTS || wait > LONGEST_WAIT {
                return Err(gave_up(place, &cause, wait, self.settings).into());
            }
            tell(&Event::Waiting { place: place.to_owned(), cause, seconds: wait.as_secs_f64() });
            let until = Instant::now() + wait;
            while let Some(left) = until.checked_duration_since(Instant::now()) {
                self.go_on()?;
                std::thread::sleep(left.min(Duration::from_millis(100)));
            }
        }
    }
}

fn gave_up(place: &str, cause: &str, wait: Duration, settings: &Settings) -> Error {
    if wait > LONGEST_WAIT {
        let minutes = wait.as_secs().div_ceil(60);
        let error = Error::network(place, format!("{cause}; it asks to wait {minutes} minutes"));
        return error.with_remedy(match settings.token {
            Some(_) => "the same command goes on from here",
            None => "the same command goes on from here; with HF_TOKEN set, more is allowed",
        });
    }
    Error::network(place, format!("{cause}, {ATTEMPTS} times in a row"))
        .with_remedy("the same command goes on from here")
}

/// Where `url` is answered to be, if the answer says that it is elsewhere.
fn location(url: &str, status: StatusCode, headers: &HeaderMap) -> Result<Option<String>, Trouble> {
    if !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let location = headers.get("location").and_then(|value| value.to_str().ok());
    let wrong = |cause: &str| Trouble::Lasting(Error::network(url, format!("{status}, {cause}")));
    match location {
        Some(whole) if whole.starts_with("https://") || whole.starts_with("http://") => {
            Ok(Some(whole.to_owned()))
        }
        Some(path) if path.starts_with('/') && !path.starts_with("//") => {
            Ok(Some(format!("{}{path}", origin(url))))
        }
        Some(_) => Err(wrong("but to an address of no known form")),
        None => Err(wrong("but not where")),
    }
}

/// The part of `url` that names the server: scheme, host and port.
fn origin(url: &str) -> &str {
    let host = url.find("://").map_or(0, |at| at + 3);
    let end = url[host..].find(['/', '?', '#']).map_or(url.len(), |at| host + at);
    &url[..end]
}

fn trouble(url: &str, error: ureq::Error) -> Trouble {
    use ureq::Error as E;
    match error {
        E::HostNotFound => Trouble::Unreachable("its address is not found".into()),
        E::ConnectionFailed | E::Timeout(Timeout::Connect | Timeout::Resolve) => {
            Trouble::Unreachable("no connection".into())
        }
        E::Io(error) => from_io(&error),
        E::Timeout(_) => silent(),
        E::Protocol(error) => {
            Trouble::Passing { cause: format!("a broken answer: {error}"), wait: None }
        }
        E::Rustls(_) | E::Tls(_) | E::Pem(_) => {
            let error = Error::network(origin(url), format!("no secure connection: {error}"));
            let hint = "behind a proxy with a certificate of its own, set SSL_CERT_FILE to a file of \
                 the certificates to trust";
            Trouble::Lasting(error.with_remedy(hint))
        }
        other => Trouble::Lasting(Error::network(origin(url), other)),
    }
}

fn silent() -> Trouble {
    let cause = format!("nothing has come for {} seconds", SILENCE.as_secs());
    Trouble::Passing { cause, wait: None }
}

/// What a connection's failure means.
pub(super) fn from_io(error: &io::Error) -> Trouble {
    use io::ErrorKind as Kind;
    match error.kind() {
        Kind::ConnectionRefused | Kind::NetworkUnreachable | Kind::HostUnreachable => {
            Trouble::Unreachable(error.to_string())
        }
        Kind::TimedOut | Kind::WouldBlock => silent(),
        _ => Trouble::Passing { cause: format!("the connection is cut: {error}"), wait: None },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_in_an_address() {
        assert_eq!(origin("https://a.b:8/c/d"), "https://a.b:8");
        assert_eq!(origin("https://a.b?x=/"), "https://a.b");
        assert_ne!(origin("https://a.b.evil/c"), origin("https://a.b/c"));
        assert_ne!(origin("http://a.b/c"), origin("https://a.b/c"));
    }

    #[test]
    fn redirects_that_lead_nowhere_are_errors() {
        let to = |place: Option<&str>| {
            let mut headers = HeaderMap::new();
            if let Some(place) = place {
                headers.insert("location", place.parse().unwrap());
            }
            location("https://h/a/b", StatusCode::FOUND, &headers)
        };
        assert_eq!(to(Some("/c?d")).unwrap().unwrap(), "https://h/c?d");
        assert_eq!(to(Some("https://i/c")).unwrap().unwrap(), "https://i/c");
        for wrong in [None, Some("c"), Some("//i/c"), Some("file:///etc/passwd")] {
            assert!(matches!(to(wrong), Err(Trouble::Lasting(_))), "{wrong:?}");
        }
    }
}
