//! DICOM objects that are no images.

use super::elements::{Elements, Tag};

const SOP_CLASS: Tag = (0x0008, 0x0016);
const MODALITY: Tag = (0x0008, 0x0060);
/// The records of a DICOMDIR.
const DIRECTORY_RECORDS: Tag = (0x0004, 0x1220);

/// Kinds of objects without pixels: the prefix of the SOP Class UID, and a name.
const KINDS: [(&str, &str); 15] = [
    ("1.2.840.10008.1.3.10", "a DICOMDIR, which lists other files"),
    ("1.2.840.10008.5.1.4.1.1.88.59", "a key object selection"),
    ("1.2.840.10008.5.1.4.1.1.88.", "a structured report"),
    ("1.2.840.10008.5.1.4.1.1.481.3", "an RT structure set"),
    ("1.2.840.10008.5.1.4.1.1.481.5", "an RT plan"),
    ("1.2.840.10008.5.1.4.1.1.481.", "an RT object"),
    ("1.2.840.10008.5.1.4.1.1.104.1", "an encapsulated PDF"),
    ("1.2.840.10008.5.1.4.1.1.104.", "an encapsulated document"),
    ("1.2.840.10008.5.1.4.1.1.11.", "a presentation state"),
    ("1.2.840.10008.5.1.4.1.1.9.", "a waveform"),
    ("1.2.840.10008.5.1.4.1.1.4.2", "MR spectroscopy"),
    ("1.2.840.10008.5.1.4.1.1.66.1", "a spatial registration"),
    ("1.2.840.10008.5.1.4.1.1.66.2", "spatial fiducials"),
    ("1.2.840.10008.5.1.4.1.1.66.5", "a surface segmentation"),
    ("1.2.840.10008.5.1.4.1.1.66", "raw data"),
];

const REMEDY: &str = "name the file of an image in its row";

/// The error of an object that has no pixels. `class` is the one that the file meta information names.
pub(super) fn without_pixels(elements: &Elements<'_>, class: Option<&str>) -> String {
    let class = elements.text(SOP_CLASS).or(class);
    let kind = class.and_then(|class| KINDS.iter().find(|(begin, _)| class.starts_with(begin)));
    match (kind, elements.text(MODALITY)) {
        (Some((_, kind)), _) => format!("is no image, but {kind}; {REMEDY}"),
        _ if elements.get(DIRECTORY_RECORDS).is_some() => {
            format!("is no image, but {}; {REMEDY}", KINDS[0].1)
        }
        (None, Some(modality)) => {
            format!("has no pixels (7FE0,0010): it is an object of modality {modality}; {REMEDY}")
        }
        (None, None) => format!("has no pixels (7FE0,0010); {REMEDY}"),
    }
}
