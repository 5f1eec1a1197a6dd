//! Where the pixels of an image come from: they are decoded or drawn only when they are needed.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::content_hash::hash_of_file_at;
use super::plain_path::plain_path;
use super::{EmbeddedImage, Image, ImageOptions};
use crate::Result;
use crate::files::hex;

/// Where the pixels of an image come from.
#[derive(Debug, Clone, PartialEq)]
pub enum ImageSource {
    /// An image file.
    File(PathBuf),
    /// An image file in a row of a parquet or Arrow file.
    Embedded(Arc<EmbeddedImage>),
    /// A generator.
    Drawn(DrawnImage),
    /// Another source, read with options that are not the default.
    WithOptions(Box<ImageSource>, ImageOptions),
}

/// Identifies an image within a run, without decoding or drawing it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ImageKey {
    /// The path of its file.
    Path(PathBuf),
    /// Its [`ImageSource::content_hash`].
    Content([u8; 32]),
    /// Its [`DrawnImage::id`].
    Drawn(String),
}

impl ImageSource {
    /// The same image, read with `options`.
    #[must_use]
    pub(super) fn with_options(self, options: ImageOptions) -> Self {
        if options.is_default() { self } else { Self::WithOptions(Box::new(self), options) }
    }

    /// What identifies the image within a run. Nothing is decoded, drawn or read.
    pub fn key(&self) -> ImageKey {
        match self {
            Self::WithOptions(image, options) => {
                let key = format!("{:?}", image.key());
                ImageKey::Content(options.hash(key.as_bytes()))
            }
            Self::File(path) => ImageKey::Path(path.clone()),
            Self::Embedded(image) => ImageKey::Content(image.hash()),
            Self::Drawn(image) => ImageKey::Drawn(image.id().to_owned()),
        }
    }

    /// The name of the image for the user: its file, or the id of what is drawn.
    pub fn name(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Embedded(image) => image.place(),
            Self::Drawn(image) => image.id().to_owned(),
            Self::WithOptions(image, _) => image.name(),
        }
    }

    /// The file that holds nothing but the image; none if it is drawn or in a table.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::WithOptions(image, _) => image.file(),
            Self::Embedded(_) | Self::Drawn(_) => None,
        }
    }

    /// As [`ImageSource::key`], but the same for all paths of one file: other spellings, and symbolic links.
    pub fn plain_key(&self) -> ImageKey {
        let plain = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| plain_path(path));
        self.file().map_or_else(|| self.key(), |path| ImageKey::Path(plain(path)))
    }

    /// Whether a generator draws the image.
    pub fn is_drawn(&self) -> bool {
        match self {
            Self::Drawn(_) => true,
            Self::WithOptions(image, _) => image.is_drawn(),
            Self::File(_) | Self::Embedded(_) => false,
        }
    }

    /// Decodes or draws the image.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or is no image that is supported.
    pub fn load(&self) -> Result<Image> {
        self.load_with(&ImageOptions::default())
    }

    fn load_with(&self, options: &ImageOptions) -> Result<Image> {
        match self {
            Self::File(path) => Image::decode(path, options),
            Self::Embedded(image) => image.decode(options),
            Self::Drawn(image) => Ok(image.draw()),
            Self::WithOptions(image, options) => image.load_with(options),
        }
    }

    /// SHA-256 over the file's bytes and the options it is read with, or over the drawn pixels and
    /// their extents: two images are the same image where their hashes are equal.
    ///
    /// # Errors
    ///
    /// If the file cannot be read.
    pub fn content_hash(&self) -> Result<[u8; 32]> {
        match self {
            Self::File(path) => hash_of_file_at(path),
            Self::Embedded(image) => Ok(image.hash()),
            Self::WithOptions(image, options) => Ok(options.hash(&image.content_hash()?)),
            Self::Drawn(image) => Ok(hash_of_pixels(&image.draw())),
        }
    }
}

fn hash_of_pixels(image: &Image) -> [u8; 32] {
    Sha256::new()
        .chain_update(b"drawn")
        .chain_update((image.width as u64).to_le_bytes())
        .chain_update((image.height as u64).to_le_bytes())
        .chain_update(&image.rgb)
        .finalize()
        .into()
}

/// An image that a generator draws whenever its pixels are needed. No pixels are kept.
#[derive(Clone)]
pub struct DrawnImage {
    id: String,
    draw: Arc<dyn Fn() -> Image + Send + Sync>,
}

impl DrawnImage {
    /// An image that `draw` draws. `id` names all that its pixels depend on: equal ids, equal pixels.
    pub fn new(id: String, draw: impl Fn() -> Image + Send + Sync + 'static) -> Self {
        Self { id, draw: Arc::new(draw) }
    }

    /// The name of all that the pixels depend on.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Draws the image.
    pub fn draw(&self) -> Image {
        (self.draw)()
    }
}

impl From<Image> for DrawnImage {
    /// An image whose pixels are there already.
    fn from(image: Image) -> Self {
        Self::new(hex(&hash_of_pixels(&image)), move || image.clone())
    }
}

impl fmt::Debug for DrawnImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DrawnImage({})", self.id)
    }
}

/// Images are equal where their pixels are; both are drawn.
impl PartialEq for DrawnImage {
    fn eq(&self, other: &Self) -> bool {
        self.draw() == other.draw()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{OrientationUse, SliceIndex, Window};

    #[test]
    fn other_options_make_another_image() {
        let [window, frame, stored] = [
            ImageOptions { window: Window::Range, ..ImageOptions::default() },
            ImageOptions { frame: SliceIndex::At(0), ..ImageOptions::default() },
            ImageOptions { orientation: OrientationUse::Ignore, ..ImageOptions::default() },
        ];
        let file = || ImageSource::File(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml").into());
        assert_eq!(file().with_options(ImageOptions::default()), file());
        let images =
            [window, frame, stored].map(|options| file().with_options(options)).into_iter();
        let images: Vec<_> = [file()].into_iter().chain(images).collect();
        for (i, a) in images.iter().enumerate() {
            for (j, b) in images.iter().enumerate() {
                assert_eq!(a.key() == b.key(), i == j);
                assert_eq!(a.content_hash().unwrap() == b.content_hash().unwrap(), i == j);
            }
        }
    }
}
