//! What the headers of a data set's images say together.

use std::collections::BTreeMap;

use super::{ImageHeader, ImageSource, Remark};

/// What the headers of a data set's images say together. Each image is added once, in the order of the rows.
#[derive(Debug, Default)]
pub(super) struct ImageSurvey {
    images: usize,
    /// How many images have a remark, and the name of the first.
    remarks: BTreeMap<Remark, (usize, String)>,
    decoding_bytes: u64,
    /// How many images are shown over their full range, and the first of them.
    deep: usize,
    first_deep: Vec<ImageSource>,
}

/// How many deep images are decoded to see whether they are dark.
const DEEP_LOOKED_AT: usize = 32;
/// The lightest level of an image of which nothing is above a sixteenth of its range: 12 of 16 bits, rounded.
const DARK: u8 = u8::MAX.div_ceil(16);

impl ImageSurvey {
    /// Adds the header of the image at `source`.
    pub fn add(&mut self, source: &ImageSource, header: &ImageHeader) {
        self.images += 1;
        self.decoding_bytes = self.decoding_bytes.max(header.decoding_bytes);
        if header.shows_full_range {
            self.deep += 1;
            if self.first_deep.len() < DEEP_LOOKED_AT {
                self.first_deep.push(source.clone());
            }
        }
        for &remark in &header.remarks {
            self.remarks.entry(remark).or_insert_with(|| (0, source.name())).0 += 1;
        }
    }

    /// Bytes that decoding the largest image needs at most.
    pub fn decoding_bytes(&self) -> u64 {
        self.decoding_bytes
    }

    /// A sentence for each remark, with the number of images that have it, and one if deep images are almost black.
    pub fn warnings(&self) -> Vec<String> {
        self.remark_sentences().chain(self.dark_warning()).collect()
    }

    /// The warning that deep images are almost black: scanners store 12 bits in 16. Some are decoded for it.
    fn dark_warning(&self) -> Option<String> {
        let lightest = |image: &ImageSource| image.load().ok()?.rgb.into_iter().max();
        let looked_at = self.first_deep.len();
        // One light image is enough to end the search.
        let is_light = |image: &ImageSource| lightest(image).is_none_or(|level| level > DARK);
        if looked_at == 0 || self.first_deep.iter().any(is_light) {
            return None;
        }
        Some(format!(
            "{} images have more than 8 bits and are shown over their full range. In the {looked_at} that were \
             looked at nothing is above a sixteenth of it: they are almost black. Set data.image.window to \
             \"range\", \"percentiles\" or [center, width]",
            self.deep
        ))
    }

    fn remark_sentences(&self) -> impl Iterator<Item = String> {
        let sentence = move |(Remark(remark), (count, first)): (&Remark, &(usize, String))| {
            let verb = if *count == 1 { "has" } else { "have" };
            let images = if self.images == 1 { "image" } else { "images" };
            format!("{count} of {} {images} {verb} {remark}. The first: {first}", self.images)
        };
        self.remarks.iter().map(sentence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Image, ImageOptions, Window};

    #[test]
    fn remarks_are_counted() {
        let remark = Remark("an EXIF orientation, which is applied");
        let mut survey = ImageSurvey::default();
        for (i, remarks) in [vec![], vec![remark], vec![remark]].into_iter().enumerate() {
            let header = ImageHeader {
                format: "JPEG",
                width: 2,
                height: 3,
                bits: 8,
                shows_full_range: false,
                remarks,
                view: Vec::new(),
                decoding_bytes: [10, 30, 20][i],
            };
            survey.add(&ImageSource::File(format!("{i}.jpg").into()), &header);
        }
        let expected = "2 of 3 images have an EXIF orientation, which is applied. The first: 1.jpg";
        assert_eq!(survey.warnings(), [expected]);
        assert_eq!(survey.decoding_bytes(), 30);
    }

    #[test]
    fn almost_black_images_are_warned_of() {
        let dir = tempfile::tempdir().unwrap();
        // Gray images of 16 bits with values up to `most`.
        let warnings = |most: &[u16], window| {
            let options = ImageOptions { window, ..ImageOptions::default() };
            let mut survey = ImageSurvey::default();
            for (i, &most) in most.iter().enumerate() {
                let path = dir.path().join(format!("{i}.png"));
                let pixels = image::ImageBuffer::from_raw(2, 1, vec![0, most]).unwrap();
                image::DynamicImage::ImageLuma16(pixels).save(&path).unwrap();
                let header = Image::check_header(&path, &options).unwrap();
                survey.add(&ImageSource::File(path).with_options(options), &header);
            }
            survey.warnings()
        };
        // All that 12 bits hold.
        let of_dark = warnings(&[4095, 900], Window::Header);
        assert!(
            of_dark[0]
                .starts_with("2 images have more than 8 bits and are shown over their full range")
        );
        assert!(of_dark[0].contains("In the 2 that were looked at nothing is above a sixteenth"));
        assert!(of_dark[0].contains("data.image.window"));
        assert!(warnings(&[4095, 4300], Window::Header).is_empty());
        assert!(warnings(&[4095], Window::Range).is_empty());
        assert!(warnings(&[4095], Window::At { center: 2048.0, width: 4096.0 }).is_empty());
        // Of many images the first are looked at.
        let many = warnings(&[100; 40], Window::Header);
        assert!(
            many[0].starts_with("40 images") && many[0].contains("In the 32 that were looked at")
        );
    }
}
