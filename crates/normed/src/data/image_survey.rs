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
}

impl ImageSurvey {
    /// Adds the header of the image at `source`.
    pub fn add(&mut self, source: &ImageSource, header: &ImageHeader) {
        self.images += 1;
        self.decoding_bytes = self.decoding_bytes.max(header.decoding_bytes);
        for &remark in &header.remarks {
            self.remarks.entry(remark).or_insert_with(|| (0, source.name())).0 += 1;
        }
    }

    /// Bytes that decoding the largest image needs at most.
    pub fn decoding_bytes(&self) -> u64 {
        self.decoding_bytes
    }

    /// A sentence for each remark, with the number of images that have it.
    pub fn warnings(&self) -> Vec<String> {
        let sentence = |(Remark(remark), (count, first)): (&Remark, &(usize, String))| {
            let verb = if *count == 1 { "has" } else { "have" };
            let images = if self.images == 1 { "image" } else { "images" };
            format!("{count} of {} {images} {verb} {remark}. The first: {first}", self.images)
        };
        self.remarks.iter().map(sentence).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
                remarks,
                decoding_bytes: [10, 30, 20][i],
            };
            survey.add(&ImageSource::File(format!("{i}.jpg").into()), &header);
        }
        let expected = "2 of 3 images have an EXIF orientation, which is applied. The first: 1.jpg";
        assert_eq!(survey.warnings(), [expected]);
        assert_eq!(survey.decoding_bytes(), 30);
    }
}
