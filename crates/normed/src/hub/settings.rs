//! Settings of the hub, from the same environment variables as in Python's `huggingface_hub`.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use crate::files::{CONFIG_LIMIT, read_text};
use crate::{Error, Result};

/// Where the hub and its cache are, and who the user is.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Address of the hub, without a slash at its end: `HF_ENDPOINT`.
    pub endpoint: String,
    /// Folder of the cache: `HF_HUB_CACHE`, else `hub` in `HF_HOME`.
    pub cache: PathBuf,
    /// Access token: `HF_TOKEN`, else the file that `hf auth login` writes.
    pub token: Option<Token>,
    /// Whether the network must not be used: `HF_HUB_OFFLINE`.
    pub offline: bool,
    /// File of trusted certificates that replaces the system's: `SSL_CERT_FILE`.
    pub certificates: Option<PathBuf>,
}

/// An access token. It is sent to the hub only, and never shown.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// A token with this text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(...)")
    }
}

impl Settings {
    /// Reads the settings from the environment.
    ///
    /// # Errors
    /// If a variable has an invalid value, or there is no home directory for the cache.
    pub fn from_env() -> Result<Self> {
        Self::from(|name| std::env::var_os(name), std::env::home_dir())
    }

    fn from(variable: impl Fn(&str) -> Option<OsString>, user: Option<PathBuf>) -> Result<Self> {
        let given = |name: &str| variable(name).filter(|value| !value.is_empty());
        let first = |names: &[&str]| names.iter().find_map(|name| given(name));
        let path = |names: &[&str]| first(names).map(PathBuf::from);
        let text = |names: &[&str]| -> Option<String> {
            first(names).map(|value| value.to_string_lossy().trim().to_owned())
        };

        let user = || {
            user.ok_or_else(|| {
                Error::invalid("the hub's cache", "there is no home directory")
                    .with_remedy("set HF_HOME to a folder for it")
            })
        };
        let home = match (path(&["HF_HOME"]), path(&["XDG_CACHE_HOME"])) {
            (Some(home), _) => home,
            (None, Some(caches)) => caches.join("huggingface"),
            (None, None) => user()?.join(".cache/huggingface"),
        };
        let token_file = path(&["HF_TOKEN_PATH"]).unwrap_or_else(|| home.join("token"));
        let token = text(&["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"])
            .or_else(|| Some(read_text(&token_file, CONFIG_LIMIT).ok()?.trim().to_owned()))
            .filter(|token| !token.is_empty());
        if token.as_ref().is_some_and(|token| !token.bytes().all(|b| b.is_ascii_graphic())) {
            return Err(Error::invalid(
                "HF_TOKEN",
                "has characters that cannot be part of a token",
            ));
        }
        let endpoint = text(&["HF_ENDPOINT"]).unwrap_or_else(|| "https://huggingface.co".into());
        let endpoint = endpoint.trim_end_matches('/').to_owned();
        if !(endpoint.starts_with("https://") || endpoint.starts_with("http://")) {
            return Err(Error::invalid("HF_ENDPOINT", format!("`{endpoint}` is not an address"))
                .with_remedy("an address starts with https://"));
        }
        let offline = text(&["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"]).unwrap_or_default();
        Ok(Self {
            endpoint,
            cache: path(&["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"])
                .unwrap_or_else(|| home.join("hub")),
            token: token.map(Token),
            offline: ["1", "ON", "YES", "TRUE"].contains(&offline.to_uppercase().as_str()),
            certificates: path(&["SSL_CERT_FILE"]),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn settings(variables: &[(&str, &str)]) -> Result<Settings> {
        let find = |name: &str| variables.iter().find(|(known, _)| *known == name);
        Settings::from(|name| find(name).map(|(_, value)| value.into()), Some("/user".into()))
    }

    #[test]
    fn variables_are_read_as_python_reads_them() {
        let none = settings(&[]).unwrap();
        assert_eq!(none.endpoint, "https://huggingface.co");
        assert_eq!(none.cache, Path::new("/user/.cache/huggingface/hub"));
        assert!(none.token.is_none() && !none.offline);
        assert_eq!(
            settings(&[("XDG_CACHE_HOME", "/x")]).unwrap().cache,
            Path::new("/x/huggingface/hub")
        );
        assert_eq!(
            settings(&[("HF_HOME", "/h"), ("HF_HUB_CACHE", "")]).unwrap().cache,
            Path::new("/h/hub")
        );
        let all = settings(&[
            ("HF_ENDPOINT", "http://mirror:8080/"),
            ("HF_HOME", "/h"),
            ("HF_HUB_CACHE", "/c"),
            ("HF_TOKEN", " hf_secret\n"),
            ("HF_HUB_OFFLINE", "true"),
        ]);
        let all = all.unwrap();
        assert_eq!(
            (all.endpoint.as_str(), all.cache.as_path()),
            ("http://mirror:8080", Path::new("/c"))
        );
        assert!(all.offline);
        assert_eq!(all.token.as_ref().unwrap().reveal(), "hf_secret");
        assert!(!format!("{all:?}").contains("secret"));
        for (name, value) in [("HF_ENDPOINT", "mirror"), ("HF_TOKEN", "a\nb")] {
            assert!(settings(&[(name, value)]).unwrap_err().to_string().contains(name));
        }
    }

    #[test]
    fn a_token_of_a_login_is_found() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("token"), "hf_login\n").unwrap();
        let found = settings(&[("HF_HOME", home.path().to_str().unwrap())]).unwrap();
        assert_eq!(found.token.unwrap().reveal(), "hf_login");
    }
}
