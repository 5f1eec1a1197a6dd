//! One question about one image, or one study with its report; and a set of them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{ImageView, PackedPicture, Picture};
use crate::files::hash_file;
use crate::{Error, Result};

/// What kind of answer is wanted: how a question can be answered, as the data set's `answer_type` says, or
/// a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum AnswerType {
    /// A free answer.
    Open,
    /// A choice: yes or no, or one of the options that the question names.
    Closed,
    /// A report of the study: no question of the data set's, and a text as the answer.
    Report,
}

impl AnswerType {
    /// Of an answer whose data set says none: yes and no are a choice, all else is free.
    pub(super) fn derived(answer: &str) -> Self {
        let answer = answer.trim().trim_end_matches('.');
        let is = |word| answer.eq_ignore_ascii_case(word);
        if is("yes") || is("no") { Self::Closed } else { Self::Open }
    }
}

/// The part of a data set that an example belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// For training.
    Train,
    /// For choosing a checkpoint.
    #[serde(alias = "val", alias = "valid", alias = "validation")]
    Validate,
    /// For the figures that are reported.
    Test,
}

impl Split {
    /// The split that goes by `name`: `train`, `validate` (`val`, `valid`, `validation`) or `test`.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "train" => Some(Self::Train),
            "validate" | "val" | "valid" | "validation" => Some(Self::Validate),
            "test" => Some(Self::Test),
            _ => None,
        }
    }

    /// Its name in files: `train`, `validate` or `test`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Validate => "validate",
            Self::Test => "test",
        }
    }
}

/// Where an example's picture comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum ImageSource {
    /// A file to decode.
    File(PathBuf),
    /// A file inside another file.
    Packed(Arc<PackedPicture>),
    /// Pixels that a generator drew.
    Drawn(Arc<Picture>),
    /// Another, not looked at in the usual way.
    Viewed(Box<ImageSource>, ImageView),
}

/// What a picture that is read from a file can be told from others by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PictureKey {
    /// Where it is.
    Path(PathBuf),
    /// [`ImageSource::content_hash`].
    Content([u8; 32]),
}

impl ImageSource {
    /// The same, looked at in this way.
    #[must_use]
    pub(super) fn viewed(self, view: ImageView) -> Self {
        if view.is_default() { self } else { Self::Viewed(Box::new(self), view) }
    }

    /// What tells it from others that are read from files; none if it is drawn.
    pub fn key(&self) -> Option<PictureKey> {
        match self {
            Self::Viewed(image, view) => {
                let key = format!("{:?}", image.key()?);
                Some(PictureKey::Content(view.hash(key.as_bytes())))
            }
            Self::File(path) => Some(PictureKey::Path(path.clone())),
            Self::Packed(picture) => Some(PictureKey::Content(picture.hash())),
            Self::Drawn(_) => None,
        }
    }

    /// Its pixels, decoded if it is read from a file.
    pub fn picture(&self) -> Result<Cow<'_, Picture>> {
        self.picture_as(&ImageView::default())
    }

    fn picture_as(&self, view: &ImageView) -> Result<Cow<'_, Picture>> {
        match self {
            Self::File(path) => Picture::decode(path, view).map(Cow::Owned),
            Self::Packed(picture) => picture.decode(view).map(Cow::Owned),
            Self::Drawn(picture) => Ok(Cow::Borrowed(picture)),
            Self::Viewed(image, view) => image.picture_as(view),
        }
    }

    /// The [`content_hash`](Self::content_hash) of a file with these bytes.
    pub(super) fn hash_of_file(bytes: &[u8]) -> [u8; 32] {
        Sha256::new().chain_update(b"file").chain_update(bytes).finalize().into()
    }

    /// SHA-256 over the file's bytes and how they are looked at, or over the drawn pixels and their
    /// extents: the same pictures have the same.
    pub fn content_hash(&self) -> Result<[u8; 32]> {
        let hash = match self {
            Self::File(path) => {
                let mut hash = Sha256::new().chain_update(b"file");
                hash_file(path, &mut hash)?;
                hash
            }
            Self::Packed(picture) => return Ok(picture.hash()),
            Self::Viewed(image, view) => return Ok(view.hash(&image.content_hash()?)),
            Self::Drawn(picture) => Sha256::new()
                .chain_update(b"drawn")
                .chain_update((picture.width as u64).to_le_bytes())
                .chain_update((picture.height as u64).to_le_bytes())
                .chain_update(&picture.rgb),
        };
        Ok(hash.finalize().into())
    }
}

/// One question about one image, or one study and its report.
#[derive(Debug, Clone, PartialEq)]
pub struct Example {
    /// Unique within the data set; random streams are keyed by it.
    pub id: String,
    /// The picture asked about, or a study's, one a view: never none.
    pub images: Vec<ImageSource>,
    /// The name of the picture, or of all of them together: intervals cluster by it unless `group` is
    /// given.
    pub image_name: String,
    /// The question, as written; of a report the prompt.
    pub question: String,
    /// The answer, as written; or the report.
    pub answer: String,
    /// Open, closed or a report.
    pub answer_type: AnswerType,
    /// The split that the data set assigns.
    pub split: Split,
    /// A patient or a study; splits never share one, and intervals cluster by it.
    pub group: Option<String>,
    /// What else the data set says of it, by name: `modality`, `organ`, `question_type`.
    pub attributes: Attributes,
}

/// What a data set says of an example beside what it is made of: names and values.
pub type Attributes = BTreeMap<String, String>;

/// Examples that can be had by index.
pub trait Dataset: Send + Sync {
    /// The number of examples.
    fn len(&self) -> usize;
    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Example `i`, with its picture as a source, not yet decoded.
    fn get(&self, i: usize) -> Result<Example>;
}

/// Examples in memory.
impl Dataset for Vec<Example> {
    fn len(&self) -> usize {
        self.as_slice().len()
    }

    fn get(&self, i: usize) -> Result<Example> {
        let missing =
            || Error::invalid("data", format!("no example {i}; there are {}", self.len()));
        self.as_slice().get(i).cloned().ok_or_else(missing)
    }
}

/// Some examples of another data set, in an order of their own.
pub struct Subset {
    dataset: Arc<dyn Dataset>,
    indices: Vec<usize>,
}

impl Subset {
    /// Example `i` is example `indices[i]` of `dataset`.
    pub fn new(dataset: Arc<dyn Dataset>, indices: Vec<usize>) -> Self {
        Self { dataset, indices }
    }
}

impl Dataset for Subset {
    fn len(&self) -> usize {
        self.indices.len()
    }

    fn get(&self, i: usize) -> Result<Example> {
        self.dataset.get(self.indices[i])
    }
}

/// The examples of `split`, in order.
pub fn indices_of(dataset: &dyn Dataset, split: Split) -> Result<Vec<usize>> {
    let mut indices = Vec::new();
    for i in 0..dataset.len() {
        if dataset.get(i)?.split == split {
            indices.push(i);
        }
    }
    Ok(indices)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::data::{Pick, Window};

    /// A closed question about the picture file `image`.
    pub fn example(id: &str, image: &str) -> Example {
        Example {
            id: id.into(),
            images: vec![ImageSource::File(image.into())],
            image_name: image.into(),
            question: "Is it normal?".into(),
            answer: "no".into(),
            answer_type: AnswerType::Closed,
            split: Split::Test,
            group: None,
            attributes: Attributes::new(),
        }
    }

    #[test]
    fn a_subset_keeps_its_order() {
        let mut rows = vec![example("a", "1"), example("b", "1"), example("c", "2")];
        rows[1].split = Split::Train;
        let dataset: Arc<dyn Dataset> = Arc::new(rows);
        assert_eq!(indices_of(&*dataset, Split::Test).unwrap(), [0, 2]);
        let subset = Subset::new(dataset.clone(), vec![2, 0]);
        assert_eq!((subset.len(), subset.get(0).unwrap().id), (2, "c".into()));
        assert!(dataset.get(3).is_err());
    }

    #[test]
    fn yes_and_no_are_closed() {
        for (answer, closed) in
            [("Yes", true), (" no. ", true), ("NO", true), ("none", false), ("yes, both", false)]
        {
            assert_eq!(AnswerType::derived(answer) == AnswerType::Closed, closed, "{answer}");
        }
    }

    #[test]
    fn another_look_is_another_picture() {
        let [window, frame] = [
            ImageView { window: Window::Range, ..ImageView::default() },
            ImageView { frame: Pick::At(0), ..ImageView::default() },
        ];
        let file = || ImageSource::File(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml").into());
        assert_eq!(file().viewed(ImageView::default()), file());
        let images = [file(), file().viewed(window), file().viewed(frame)];
        for (i, a) in images.iter().enumerate() {
            for (j, b) in images.iter().enumerate() {
                assert_eq!(a.key() == b.key(), i == j);
                assert_eq!(a.content_hash().unwrap() == b.content_hash().unwrap(), i == j);
            }
        }
    }

    #[test]
    fn names_of_splits() {
        for split in [Split::Train, Split::Validate, Split::Test] {
            assert_eq!(Split::from_name(split.name()), Some(split));
        }
        assert_eq!(Split::from_name("val"), Some(Split::Validate));
        assert_eq!(Split::from_name("Test"), None);
    }
}
