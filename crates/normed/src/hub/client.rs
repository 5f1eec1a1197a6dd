//! Requests to the hub, with redirects, timeouts and retries.

use std::cell::Cell;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ureq::http::{HeaderMap, Response, StatusCode};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body, Timeout};

use super::Settings;
use super::event::Event;
use super::response::{RepoRevision, RequestError};
use crate::files::{CONFIG_LIMIT, read_bounded};
use crate::{Error, Result};

/// The longest wait for a host name and for a connection.
const CONNECT: Duration = Duration::from_secs(15);
/// A connection is given up if nothing arrives for this long.
const SILENCE: Duration = Duration::from_secs(60);
/// Failed attempts in a row after which a request is given up.
const ATTEMPTS: u32 = 6;
/// A request is given up if the server asks to wait for longer.
const MAX_WAIT: Duration = Duration::from_secs(300);
/// The most redirects that one request follows.
const REDIRECTS: usize = 8;

/// What to request.
#[derive(Clone, Copy)]
pub(super) enum Request {
    /// The headers that the hub itself sends: redirects to another host are not followed.
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
    /// Whether the hub has responded before.
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

    /// Fails if the user asked to stop.
    pub fn check_stop(&self) -> Result<(), RequestError> {
        if self.stop.load(Ordering::Relaxed) { Err(RequestError::Stopped) } else { Ok(()) }
    }

    /// The response to a request, if it succeeds. `file` is the requested file, if any.
    pub fn request(
        &self,
        repo: &RepoRevision<'_>,
        url: &str,
        file: Option<&str>,
        ask: Request,
    ) -> Result<Response<Body>, RequestError> {
        let mut url = url.to_owned();
        for _ in 0..REDIRECTS {
            self.check_stop()?;
            let answer = self.request_once(&url, ask)?;
            self.reached.set(true);
            let status = answer.status();
            if status.is_success() || status == StatusCode::RANGE_NOT_SATISFIABLE {
                return Ok(answer);
            }
            let Some(next) = redirect_target(&url, status, answer.headers())? else {
                return Err(repo.error_for(status, answer.headers(), file));
            };
            if matches!(ask, Request::Headers) && origin(&next) != origin(&url) {
                return Ok(answer);
            }
            url = next;
        }
        Err(Error::network(url, "redirects too often").into())
    }

    fn request_once(&self, url: &str, ask: Request) -> Result<Response<Body>, RequestError> {
        let mut request = match ask {
            Request::Headers => self.agent.head(url),
            Request::Content(_) => self.agent.get(url),
        };
        if let Request::Content(from @ 1..) = ask {
            request = request.header("range", format!("bytes={from}-"));
        }
        if let Some(token) = &self.settings.token
            && origin(url) == origin(&self.settings.endpoint)
        {
            request = request.header("authorization", format!("Bearer {}", token.reveal()));
        }
        request.call().map_err(|error| from_ureq(url, error))
    }

    /// Repeats `attempt` while its failure may go away. The attempt returns how many bytes it has reached:
    /// after progress, failures are counted anew.
    pub fn with_retries<T>(
        &self,
        place: &str,
        report: &mut dyn FnMut(&Event),
        mut attempt: impl FnMut(&mut dyn FnMut(&Event)) -> (u64, Result<T, RequestError>),
    ) -> Result<T, RequestError> {
        let (mut failures, mut reached) = (0, 0);
        loop {
            let (at, result) = attempt(report);
            if at > reached {
                (failures, reached) = (0, at);
            }
            let (cause, wait) = match result {
                Err(RequestError::Temporary { cause, wait }) => (cause, wait),
                Err(RequestError::Unreachable(cause)) if self.reached.get() => (cause, None),
                other => return other,
            };
            let wait = wait.unwrap_or(self.first_wait * 2_u32.pow(failures));
            failures += 1;
            if failures == ATTEMPTS || wait > MAX_WAIT {
                return Err(gave_up(place, &cause, wait, self.settings).into());
            }
            report(&Event::Waiting { place: place.to_owned(), cause, seconds: wait.as_secs_f64() });
            let until = Instant::now() + wait;
            while let Some(left) = until.checked_duration_since(Instant::now()) {
                self.check_stop()?;
                std::thread::sleep(left.min(Duration::from_millis(100)));
            }
        }
    }
}

fn gave_up(place: &str, cause: &str, wait: Duration, settings: &Settings) -> Error {
    if wait > MAX_WAIT {
        let minutes = wait.as_secs().div_ceil(60);
        let error =
            Error::network(place, format!("{cause}; the server asks to wait {minutes} minutes"));
        return error.with_remedy(match settings.token {
            Some(_) => "the same command continues from here",
            None => {
                "the same command continues from here; with HF_TOKEN set, more requests are allowed"
            }
        });
    }
    Error::network(place, format!("{cause}, {ATTEMPTS} times in a row"))
        .with_remedy("the same command continues from here")
}

/// The address that a response redirects to, if it is a redirect.
fn redirect_target(
    url: &str,
    status: StatusCode,
    headers: &HeaderMap,
) -> Result<Option<String>, RequestError> {
    if !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let location = headers.get("location").and_then(|value| value.to_str().ok());
    let wrong = |cause: &str| {
        RequestError::Permanent(Error::network(url, format!("redirects ({status}), {cause}")))
    };
    match location {
        Some(address) if address.starts_with("https://") || address.starts_with("http://") => {
            Ok(Some(address.to_owned()))
        }
        Some(path) if path.starts_with('/') && !path.starts_with("//") => {
            Ok(Some(format!("{}{path}", origin(url))))
        }
        Some(_) => Err(wrong("but its address is not http or https")),
        None => Err(wrong("but it has no address")),
    }
}

/// The part of `url` that names the server: scheme, host and port.
fn origin(url: &str) -> &str {
    let host = url.find("://").map_or(0, |at| at + 3);
    let end = url[host..].find(['/', '?', '#']).map_or(url.len(), |at| host + at);
    &url[..end]
}

fn from_ureq(url: &str, error: ureq::Error) -> RequestError {
    use ureq::Error as E;
    match error {
        E::HostNotFound => RequestError::Unreachable(unknown_host(url)),
        E::ConnectionFailed | E::Timeout(Timeout::Connect) => {
            RequestError::Unreachable("no connection".into())
        }
        E::Timeout(Timeout::Resolve) => RequestError::Unreachable(unknown_host(url)),
        // The system's own words: it has no kind of error for this.
        E::Io(error) if error.to_string().contains("failed to lookup address") => {
            RequestError::Unreachable(unknown_host(url))
        }
        // A failed handshake of TLS arrives as data that are not valid.
        E::Io(error) if error.kind() == io::ErrorKind::InvalidData => insecure(url, &error),
        E::Io(error) => from_io(&error),
        E::Timeout(_) => timed_out(),
        E::Protocol(error) => {
            RequestError::Temporary { cause: format!("an invalid response: {error}"), wait: None }
        }
        E::Rustls(_) | E::Tls(_) | E::Pem(_) => insecure(url, &error),
        E::ConnectProxyFailed(_) | E::InvalidProxyUrl => {
            let error = Error::network(origin(url), format!("no connection by the proxy: {error}"));
            RequestError::Permanent(error.with_remedy(
                "check HTTPS_PROXY and ALL_PROXY: http://USER:PASSWORD@HOST:PORT, or none; NO_PROXY \
                 names hosts that need none",
            ))
        }
        other => RequestError::Permanent(Error::network(origin(url), other)),
    }
}

fn unknown_host(url: &str) -> String {
    let origin = origin(url);
    let host = origin.split_once("://").map_or(origin, |(_, host)| host);
    format!("no name server knows the address of {host}, or none answers")
}

fn insecure(url: &str, error: &dyn std::fmt::Display) -> RequestError {
    let error = Error::network(origin(url), format!("no secure connection: {error}"));
    let hint = "behind a proxy with its own certificate, set SSL_CERT_FILE to a file of trusted \
         certificates; a wrong clock makes certificates invalid, too";
    RequestError::Permanent(error.with_remedy(hint))
}

fn timed_out() -> RequestError {
    let cause = format!("nothing has arrived for {} seconds", SILENCE.as_secs());
    RequestError::Temporary { cause, wait: None }
}

/// The failure that an I/O error of a connection means: whether it may go away.
pub(super) fn from_io(error: &io::Error) -> RequestError {
    use io::ErrorKind as Kind;
    match error.kind() {
        Kind::ConnectionRefused
        | Kind::NetworkUnreachable
        | Kind::NetworkDown
        | Kind::HostUnreachable
        | Kind::AddrNotAvailable
        | Kind::PermissionDenied => RequestError::Unreachable(error.to_string()),
        Kind::TimedOut | Kind::WouldBlock => timed_out(),
        _ => RequestError::Temporary {
            cause: format!("the connection was interrupted: {error}"),
            wait: None,
        },
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
            redirect_target("https://h/a/b", StatusCode::FOUND, &headers)
        };
        assert_eq!(to(Some("/c?d")).unwrap().unwrap(), "https://h/c?d");
        assert_eq!(to(Some("https://i/c")).unwrap().unwrap(), "https://i/c");
        for wrong in [None, Some("c"), Some("//i/c"), Some("file:///etc/passwd")] {
            assert!(matches!(to(wrong), Err(RequestError::Permanent(_))), "{wrong:?}");
        }
    }
}
