//! The files of a repository, as the hub's API lists them.

use serde::Deserialize;
use serde_json::Value;

use super::client::{Client, Request};
use super::repo::ListedFile;
use super::response::{RepoRevision, RequestError};
use crate::Error;

/// The longest listing that is read, in bytes: a few hundred thousand files.
const LONGEST: u64 = 64 << 20;

/// A repository at one commit.
pub(super) struct Listing {
    pub commit: String,
    pub files: Vec<ListedFile>,
    /// The license, as the repository's card states it.
    pub license: Option<String>,
    /// Whether its terms must be accepted first.
    pub gated: bool,
}

#[derive(Deserialize)]
struct Info {
    sha: String,
    #[serde(default)]
    siblings: Vec<Sibling>,
    #[serde(default, rename = "cardData")]
    card: Value,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default)]
    gated: Value,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
}

impl Listing {
    /// Requests the listing from the hub.
    pub fn read(client: &Client<'_>, repo: &RepoRevision<'_>) -> Result<Self, RequestError> {
        let RepoRevision { settings, kind, id, revision } = repo;
        let revision = revision.replace('/', "%2F");
        let endpoint = &settings.endpoint;
        let url = format!("{endpoint}/api/{}/{id}/revision/{revision}?blobs=true", kind.plural());
        let mut answer = client.request(repo, &url, None, Request::Content(0))?;
        let text = answer.body_mut().with_config().limit(LONGEST).read_to_string();
        let text = text.map_err(|error| match error {
            ureq::Error::BodyExceedsLimit(_) => RequestError::Permanent(Error::network(
                id,
                "the hub lists more files than can be read",
            )),
            error => RequestError::Temporary {
                cause: format!("the connection was interrupted: {error}"),
                wait: None,
            },
        })?;
        Ok(Self::parse(&text).map_err(|cause| {
            Error::network(id, format!("{endpoint} does not respond like the hub: {cause}"))
                .with_remedy("check HF_ENDPOINT and the proxy settings")
        })?)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let info: Info = serde_json::from_str(text).map_err(|error| error.to_string())?;
        if info.sha.is_empty() || !info.sha.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err(format!("`{}` is not a commit", info.sha));
        }
        for Sibling { rfilename, .. } in &info.siblings {
            if !is_inside(rfilename) {
                return Err(format!("`{rfilename}` is not a valid file name"));
            }
        }
        let file = |sibling: Sibling| ListedFile { path: sibling.rfilename, size: sibling.size };
        Ok(Self {
            commit: info.sha,
            files: info.siblings.into_iter().map(file).collect(),
            license: license(&info.card, &info.tags),
            gated: !matches!(info.gated, Value::Null | Value::Bool(false)),
        })
    }
}

/// Whether a path from a server stays inside the folder that it is joined to.
fn is_inside(path: &str) -> bool {
    let plain = |part: &str| !matches!(part, "" | "." | "..");
    path.split('/').all(plain) && !path.contains(['\\', '\0', ':']) && path.len() < 1024
}

/// The card's `license`, with `license_name` and `license_link` if it has them; else the license of the tags.
fn license(card: &Value, tags: &[String]) -> Option<String> {
    let text = |key: &str| match &card[key] {
        Value::String(text) => Some(text.clone()),
        Value::Array(several) => {
            Some(several.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "))
        }
        _ => None,
    };
    let tagged = || Some(tags.iter().find_map(|tag| tag.strip_prefix("license:"))?.to_owned());
    let mut license = text("license").or_else(tagged).filter(|text| !text.is_empty())?;
    for more in ["license_name", "license_link"].into_iter().filter_map(text) {
        license.push_str(&format!(", {more}"));
    }
    // It is shown on a terminal.
    Some(license.chars().filter(|c| !c.is_control()).take(200).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_listing_is_read() {
        let text = json!({
            "sha": "abc", "gated": "manual", "private": false,
            "siblings": [{ "rfilename": "a/b.json", "size": 7, "blobId": "x" }, { "rfilename": "c" }],
            "cardData": { "license": "other", "license_name": "llama2", "license_link": "LICENSE" },
        });
        let listing = Listing::parse(&text.to_string()).unwrap();
        assert_eq!((listing.commit.as_str(), listing.gated), ("abc", true));
        assert_eq!(listing.files[0], ListedFile { path: "a/b.json".into(), size: Some(7) });
        assert_eq!(listing.files[1].size, None);
        assert_eq!(listing.license.unwrap(), "other, llama2, LICENSE");
    }

    #[test]
    fn licenses() {
        let tags = ["x", "license:mit"].map(str::to_owned);
        assert_eq!(license(&json!({ "license": ["a", "b"] }), &tags).unwrap(), "a, b");
        assert_eq!(license(&json!({ "license": "\u{1b}[31mred" }), &[]).unwrap(), "[31mred");
        assert_eq!(license(&Value::Null, &tags).unwrap(), "mit");
        assert_eq!(license(&Value::Null, &[]), None);
    }

    #[test]
    fn a_server_cannot_name_files_outside() {
        for path in ["../x", "a/../../x", "/etc/passwd", "a//b", "a\\b", "C:x", "", "a/."] {
            assert!(!is_inside(path), "{path}");
            let text = json!({ "sha": "abc", "siblings": [{ "rfilename": path }] });
            assert!(Listing::parse(&text.to_string()).is_err(), "{path}");
        }
        assert!(Listing::parse("{\"sha\": \"../..\"}").is_err());
        assert!(Listing::parse("<html>").is_err());
        assert!(is_inside(".gitattributes") && is_inside("a/b c.json"));
    }
}
