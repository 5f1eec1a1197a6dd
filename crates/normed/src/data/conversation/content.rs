//! The content of a turn: a text with places of images in it, or a list of parts.

use serde_json::{Map, Value};

use crate::data::value_text::{kind_of, text_of};

/// What a turn says and shows.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Content {
    /// The text, without places of images.
    pub text: String,
    /// The images, in order: the path where the turn names one, none where it takes the row's next image.
    pub images: Vec<Option<String>>,
}

/// What stands for an image in texts: LLaVA's, and that of other models whose data is in the same form.
const PLACES: [&str; 7] = [
    "<image>",
    "<|vision_start|><|image_pad|><|vision_end|>",
    "<|image_pad|>",
    "<|image|>",
    "<ImageHere>",
    "<image_placeholder>",
    "<start_of_image>",
];

/// What stands for something that no model here reads.
const OTHER_MEDIA: [&str; 4] = ["<video>", "<audio>", "<|video_pad|>", "<|audio|>"];

impl Content {
    /// Reads a turn's `value` or `content`.
    ///
    /// # Errors
    ///
    /// If it is neither a text nor a list of texts and images; the cause says what it is.
    pub fn read(value: &Value) -> Result<Self, String> {
        let mut content = Self::default();
        match value {
            Value::Array(parts) => {
                for part in parts {
                    content.add_part(part)?;
                }
            }
            value => content.add_text(&text_of(value)?.ok_or("is null")?)?,
        }
        content.text = content.text.trim().to_owned();
        Ok(content)
    }

    /// Adds one part of a list: a text, or `{"type": .., ..}`.
    fn add_part(&mut self, part: &Value) -> Result<(), String> {
        let part = match part {
            Value::String(text) => return self.add_text(text),
            Value::Object(part) => part,
            other => return Err(format!("has a part that is {}", kind_of(other))),
        };
        // Tables give every part all keys, most of them null. Qwen-VL's parts have no type.
        let key = |names: &[&'static str]| {
            names.iter().copied().find(|name| part.get(*name).is_some_and(|v| !v.is_null()))
        };
        let kind = part.get("type").and_then(Value::as_str);
        let (text, image) = (key(&["text", "content"]), key(&IMAGE_KEYS));
        match (kind, text, image) {
            (Some("text" | "input_text" | "output_text"), Some(key), _)
            | (None, Some(key), None) => {
                let text = text_of(&part[key])?.unwrap_or_default();
                self.add_text(&text)
            }
            (Some("text" | "input_text" | "output_text"), None, _) => {
                Err("has a part of type `text` without `text`".into())
            }
            (Some("image" | "image_url" | "input_image"), _, image)
            | (None, None, image @ Some(_)) => {
                self.images.push(image.map(|key| image_path(part, key)).transpose()?);
                Ok(())
            }
            (Some(other), ..) => {
                Err(format!("has a part of type `{other}`, where a text or an image is expected"))
            }
            (None, ..) => Err("has a part that is no text and no image".into()),
        }
    }

    /// Adds a text, whose places of images are taken out.
    fn add_text(&mut self, text: &str) -> Result<(), String> {
        if let Some(other) = OTHER_MEDIA.iter().find(|other| text.contains(**other)) {
            return Err(format!("has `{other}`, which no model here reads"));
        }
        let mut text = self.take_paths(text)?;
        while let Some((at, place)) = first_place(&text) {
            self.images.push(None);
            text.replace_range(at..at + place.len(), "");
        }
        // transformers' LLaVA templates put a blank between the texts of a turn.
        if !self.text.is_empty() {
            self.text.push(' ');
        }
        self.text.push_str(text.trim());
        Ok(())
    }

    /// Takes Qwen-VL's `Picture 1: <img>path</img>` out of a text, each with its line end.
    fn take_paths(&mut self, text: &str) -> Result<String, String> {
        let (mut plain, mut rest) = (String::with_capacity(text.len()), text);
        while let Some((before, behind)) = rest.split_once("<img>") {
            let (path, behind) =
                behind.split_once("</img>").ok_or("has `<img>` without `</img>`")?;
            self.images.push(Some(local_path(path)?));
            plain.push_str(without_number(before));
            rest = behind.strip_prefix('\n').unwrap_or(behind);
        }
        plain.push_str(rest);
        Ok(plain)
    }
}

/// Keys of a part that hold its image.
const IMAGE_KEYS: [&str; 4] = ["image", "image_url", "path", "url"];

/// The path of a part's image, under `key` or in the object there.
fn image_path(part: &Map<String, Value>, key: &str) -> Result<String, String> {
    let image = &part[key];
    let inner = ["path", "url"].iter().find_map(|key| image.get(key)?.as_str());
    match image.as_str().or(inner) {
        Some(path) => local_path(path),
        None => Err(format!("has an image whose `{key}` is {}, not a path", kind_of(image))),
    }
}

/// The path of a file in this machine: a path, or a `file://` address.
fn local_path(path: &str) -> Result<String, String> {
    let path = path.trim();
    let shown: String = path.chars().take(60).collect();
    if path.starts_with("http://") || path.starts_with("https://") {
        return Err(format!(
            "has an image at a web address (`{shown}`): download it, and write the path of the file"
        ));
    }
    if path.starts_with("data:") {
        return Err(
            "has an image written out as a data URI: write it to a file, and write the path".into(),
        );
    }
    if path.is_empty() {
        return Err("has an image with an empty path".into());
    }
    Ok(path.strip_prefix("file://").unwrap_or(path).to_owned())
}

/// The first place of an image in `text`: its offset, and what stands there.
fn first_place(text: &str) -> Option<(usize, &'static str)> {
    let found = PLACES.iter().filter_map(|place| Some((text.find(place)?, *place)));
    // The longest of those that start there.
    found.min_by_key(|(at, place)| (*at, usize::MAX - place.len()))
}

/// `text` without a trailing `Picture 1: `.
fn without_number(text: &str) -> &str {
    let Some(number) = text.trim_end().strip_suffix(':') else { return text };
    let word = number.trim_end_matches(|c: char| c.is_ascii_digit());
    match word.strip_suffix("Picture ") {
        Some(before) if word.len() < number.len() => before,
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: &Value) -> (String, Vec<Option<String>>) {
        let content = Content::read(value).unwrap();
        (content.text, content.images)
    }

    fn path(path: &str) -> Option<String> {
        Some(path.to_owned())
    }

    #[test]
    fn a_text_has_places_of_images() {
        for (text, want, images) in [
            ("<image>\nIs it normal? ", "Is it normal?", vec![None]),
            ("Is it normal?\n<image>", "Is it normal?", vec![None]),
            ("no image", "no image", vec![]),
            ("<image><image> Compare.", "Compare.", vec![None, None]),
            ("<|vision_start|><|image_pad|><|vision_end|>Where?", "Where?", vec![None]),
            (
                "Picture 1: <img>a/b.png</img>\nPicture 2: <img>c.png</img>\nCompare them.",
                "Compare them.",
                vec![path("a/b.png"), path("c.png")],
            ),
            ("See: <img>a.png</img> here", "See:  here", vec![path("a.png")]),
        ] {
            assert_eq!(read(&json!(text)), (want.to_owned(), images), "{text}");
        }
        assert_eq!(read(&json!(3)), ("3".to_owned(), vec![]));
    }

    #[test]
    fn parts_are_texts_and_images() {
        for (parts, text, images) in [
            (json!([{"type": "image"}, {"type": "text", "text": "Why?"}]), "Why?", vec![None]),
            // As a table gives them.
            (
                json!([{"index": null, "text": "Why?", "type": "text", "image": null},
                    {"index": 0, "text": null, "type": "image", "image": null}]),
                "Why?",
                vec![None],
            ),
            (
                json!([{"type": "image_url", "image_url": {"url": "file:///a.png"}},
                    {"type": "image", "image": "b.png"}, {"type": "image", "path": "c.png"}]),
                "",
                vec![path("/a.png"), path("b.png"), path("c.png")],
            ),
            // Qwen-VL's.
            (json!([{"image": "a.png"}, {"text": "Why?"}]), "Why?", vec![path("a.png")]),
            (json!(["a", {"type": "input_text", "text": "b"}]), "a b", vec![]),
        ] {
            assert_eq!(read(&parts), (text.to_owned(), images), "{parts}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        for (value, cause) in [
            (Value::Null, "is null"),
            (json!({}), "is an object"),
            (json!([3]), "has a part that is a number"),
            (json!([{}]), "no text and no image"),
            (json!([{"type": "video", "video": "a.mp4"}]), "of type `video`"),
            (json!([{"type": "text"}]), "without `text`"),
            (json!([{"type": "image", "image": 3}]), "`image` is a number, not a path"),
            (json!([{"type": "image_url", "image_url": {"url": "https://a"}}]), "web address"),
            (json!([{"type": "image", "image": "data:image/png;base64,"}]), "data URI"),
            (json!("<video>\nWhat?"), "`<video>`"),
            (json!("<img>a.png"), "without `</img>`"),
            (json!("<img> </img>"), "empty path"),
        ] {
            let error = Content::read(&value).unwrap_err();
            assert!(error.contains(cause), "{value}: {error}");
        }
    }
}
