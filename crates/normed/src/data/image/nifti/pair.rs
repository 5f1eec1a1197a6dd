//! Volumes in two files: a header (`.hdr`) and the voxels (`.img`), of NIfTI or of ANALYZE 7.5.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use super::errors::broken;
use super::header::Layout;
use super::volume::{Volume, uncompressed};
use crate::data::image::header::ImageHeader;
use crate::data::image::options::ImageOptions;
use crate::data::image::pixels::Image;

/// The two files of a volume.
pub(in crate::data) struct Pair {
    pub header: PathBuf,
    pub voxels: PathBuf,
}

impl Pair {
    /// The pair that the file at `path` belongs to, by its name and by the content of the header.
    pub fn of(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?;
        let name = strip_ending(name, ".gz").unwrap_or(name);
        let stem = strip_ending(name, ".hdr").or_else(|| strip_ending(name, ".img"))?;
        let find = |endings: [&str; 4]| {
            let named = endings.iter().map(|ending| path.with_file_name(format!("{stem}{ending}")));
            named.into_iter().find(|file| file.is_file())
        };
        let header = find([".hdr", ".hdr.gz", ".HDR", ".HDR.gz"])?;
        let voxels = find([".img", ".img.gz", ".IMG", ".IMG.gz"])?;
        let mut first = [0; 348];
        uncompressed(open(&header).ok()?).ok()?.0.read_exact(&mut first).ok()?;
        Layout::of(&first)?;
        Some(Self { header, voxels })
    }

    /// Checks that [`Pair::read`] supports the volume.
    pub fn check(&self, options: &ImageOptions) -> Result<ImageHeader, String> {
        self.open(options)?.check(options.window)
    }

    /// Bytes that [`Pair::read`] allocates at the same time, at most. No voxel is read.
    pub fn decoding_bytes(&self, options: &ImageOptions) -> Result<u64, String> {
        Ok(self.open(options)?.facts().decoding_bytes)
    }

    /// Reads the slice that `options` choose.
    pub fn read(&self, options: &ImageOptions) -> Result<Image, String> {
        self.open(options)?.read(options)
    }

    fn open(&self, options: &ImageOptions) -> Result<Volume<'static>, String> {
        Volume::open_pair(open(&self.header)?, open(&self.voxels)?, options)
    }
}

fn strip_ending<'a>(name: &'a str, ending: &str) -> Option<&'a str> {
    let (stem, last) = name.split_at_checked(name.len().checked_sub(ending.len())?)?;
    last.eq_ignore_ascii_case(ending).then_some(stem)
}

fn open(path: &Path) -> Result<BufReader<File>, String> {
    File::open(path).map(BufReader::new).map_err(|e| broken(&e))
}
