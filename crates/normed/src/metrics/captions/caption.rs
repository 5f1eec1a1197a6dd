//! Generated texts with their references, and the file they are read from.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Deserialize;

use crate::metrics::predictions::read_rows;
use crate::metrics::text_field::{optional_text, text, texts};
use crate::{Error, Result};

/// A generated text and its references.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(from = "Line")]
pub struct Caption {
    /// The id of the study or image.
    pub id: String,
    /// What the model generated.
    pub prediction: String,
    /// At least one reference text.
    pub references: Vec<String>,
    /// The cluster for intervals; by default the id.
    pub cluster: String,
}

#[derive(Deserialize)]
struct Line {
    #[serde(deserialize_with = "text")]
    id: String,
    #[serde(deserialize_with = "text")]
    prediction: String,
    #[serde(default, deserialize_with = "texts")]
    references: Vec<String>,
    #[serde(default, deserialize_with = "optional_text")]
    target: Option<String>,
    #[serde(default, deserialize_with = "optional_text")]
    cluster: Option<String>,
}

impl From<Line> for Caption {
    fn from(line: Line) -> Self {
        let mut references = line.references;
        if references.is_empty() {
            references.extend(line.target);
        }
        let cluster = line.cluster.filter(|cluster| !cluster.is_empty());
        Self {
            cluster: cluster.unwrap_or_else(|| line.id.clone()),
            id: line.id,
            prediction: line.prediction,
            references,
        }
    }
}

/// Reads texts from a JSON Lines file. A line is `{id, prediction, references}`, or has `target` instead
/// of `references` if there is only one; `cluster` is optional.
///
/// # Errors
/// If the file cannot be read or has no lines, an id occurs twice, or a text has no reference.
pub fn read_captions(path: &Path) -> Result<Vec<Caption>> {
    let hint =
        "each row must be {id, prediction, references: [..]}, or have target instead of references";
    let captions: Vec<Caption> = read_rows(path, hint)?;
    let mut ids = BTreeSet::new();
    for caption in &captions {
        let place = format!("{}, `{}`", path.display(), caption.id);
        if !ids.insert(&caption.id) {
            return Err(Error::invalid(place, "the id occurs twice").with_remedy(
                "give each text its own id, and put all references of a text in one line",
            ));
        }
        if caption.references.is_empty() {
            return Err(Error::invalid(place, "the text has no reference").with_remedy(hint));
        }
    }
    if captions.is_empty() {
        return Err(Error::invalid(path.display(), "the file has no lines").with_remedy(hint));
    }
    Ok(captions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_a_line_lacks() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("texts.jsonl");
        let read = |text: &str| {
            std::fs::write(&path, text).expect("written");
            read_captions(&path)
        };
        let good = read("{\"id\":\"1\",\"prediction\":\"a\",\"target\":\"b\",\"cluster\":\"\"}\n");
        assert_eq!(
            good.expect("a line"),
            [Caption {
                id: "1".into(),
                prediction: "a".into(),
                references: vec!["b".into()],
                cluster: "1".into(),
            }]
        );
        // COCO's ids are whole numbers, and its references lists.
        let coco = "[{\"id\": 0, \"prediction\": 2, \"references\": [\"b\", 3]}, {\"id\": 1, \"prediction\": \"a\", \"references\": \"b\"}]";
        let coco = read(coco).expect("a list");
        assert_eq!((coco[0].id.as_str(), coco[0].cluster.as_str()), ("0", "0"));
        assert_eq!(
            (&coco[0].references[..], coco[0].prediction.as_str()),
            (&["b".to_owned(), "3".to_owned()][..], "2")
        );
        assert_eq!(coco[1].references, ["b"]);
        for (text, want) in [
            ("{\"id\":1,\"prediction\":\"a\",\"references\":[\"b\", NaN]}", "`references` is NaN"),
            ("{\"id\":1,\"prediction\":\"a\",\"references\":[null]}", "null is where a text"),
            (
                "{\"id\":1,\"prediction\":\"a\",\"target\":\"b\"}\n{\"id\":\"1\",\"prediction\":\"a\",\"target\":\"b\"}",
                "twice",
            ),
            ("{\"id\":\"1\",\"prediction\":\"a\"}", "no reference"),
            (
                "{\"id\":\"1\",\"prediction\":\"a\",\"references\":[\"b\"]}\n".repeat(2).as_str(),
                "twice",
            ),
            ("\n", "no lines"),
            ("{\"id\":\"1\"}", "missing field `prediction`"),
        ] {
            let error = read(text).expect_err("a mistake").to_string();
            assert!(error.contains(want) && error.contains("hint:"), "{error}");
        }
    }
}
