//! Text files in other encodings than UTF-8.

use std::path::Path;

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};

use crate::{Error, Result};

/// Decodes the bytes of the text file `path`: by `name` if it is given, else by the byte-order mark, as UTF-16 if every
/// second byte of its start is zero, as UTF-8 if it is valid, else by the frequencies of letters in the encodings of
/// the web. A byte-order mark is left out.
///
/// Returns the text, and what was found out about it, if that is a guess.
///
/// # Errors
///
/// If there is no encoding `name`; if the text has bytes that its encoding does not have.
pub(super) fn decode(
    path: &Path,
    bytes: &[u8],
    name: Option<&str>,
) -> Result<(String, Option<String>)> {
    let (encoding, note) = match name {
        Some(name) => (named(name)?, None),
        None => match marked(bytes).or_else(|| std::str::from_utf8(bytes).is_ok().then_some(UTF_8))
        {
            Some(encoding) => (encoding, None),
            None => {
                let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
                detector.feed(bytes, true);
                let encoding = detector.guess(None, Utf8Detection::Deny);
                let note = format!(
                    "encoding: {}, guessed; if letters are wrong, name another one by --encoding",
                    encoding.name()
                );
                (encoding, Some(note))
            }
        },
    };
    let (text, _, has_errors) = encoding.decode(bytes);
    if has_errors {
        let cause = format!("has bytes that are no text in the encoding {}", encoding.name());
        return Err(Error::invalid(path.display(), cause)
            .with_remedy("save the file as UTF-8, or name its encoding by --encoding"));
    }
    Ok((text.into_owned(), note))
}

/// The encoding that the first bytes state.
fn marked(bytes: &[u8]) -> Option<&'static Encoding> {
    if let Some((encoding, _)) = Encoding::for_bom(bytes) {
        return Some(encoding);
    }
    // Most characters of a table in UTF-16 are ASCII: delimiters, digits, line ends.
    let head = &bytes[..bytes.len().min(256)];
    let zeros = |first: usize| head.iter().skip(first).step_by(2).filter(|&&b| b == 0).count();
    let (even, odd) = (zeros(0), zeros(1));
    match head.len() / 4 {
        few if few > 0 && odd > few && even == 0 => Some(UTF_16LE),
        few if few > 0 && even > few && odd == 0 => Some(UTF_16BE),
        _ => None,
    }
}

fn named(name: &str) -> Result<&'static Encoding> {
    let wrong = || {
        Error::invalid("--encoding", format!("there is no encoding `{name}`")).with_remedy(
            "try utf-8, windows-1252 (Western Europe), utf-16le, gb18030 or big5 (Chinese)",
        )
    };
    Encoding::for_label(name.as_bytes()).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8], name: Option<&str>) -> Result<(String, Option<String>)> {
        decode(Path::new("qa.csv"), bytes, name)
    }

    #[test]
    fn encodings_are_told_from_the_content() {
        let text = "Datei;Frage;Antwort\na.png;Größe der Läsion?;über 2,5 cm\n";
        let utf16 = |to: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(to).collect::<Vec<u8>>();
        let (le, be) = (utf16(u16::to_le_bytes), utf16(u16::to_be_bytes));
        let latin: Vec<u8> = text.chars().map(|c| c as u8).collect();
        for bytes in [
            text.as_bytes().to_vec(),
            [b"\xef\xbb\xbf", text.as_bytes()].concat(),
            [b"\xff\xfe", le.as_slice()].concat(),
            [b"\xfe\xff", be.as_slice()].concat(),
            le,
            be,
        ] {
            assert_eq!(read(&bytes, None).unwrap(), (text.to_owned(), None));
        }
        let (guessed, note) = read(&latin, None).unwrap();
        assert_eq!(guessed, text);
        assert!(note.unwrap().contains("windows-1252, guessed"));
        let chinese = "图像,问题,答案\n1.png,图中有肺炎吗？,没有\n2.png,哪一侧有胸腔积液？,左侧\n";
        let (bytes, ..) = encoding_rs::GB18030.encode(chinese);
        assert_eq!(read(&bytes, None).unwrap().0, chinese);
        assert_eq!(read(&bytes, Some("gb18030")).unwrap(), (chinese.to_owned(), None));
    }

    #[test]
    fn wrong_encodings_are_errors() {
        let error = |bytes: &[u8], name| read(bytes, Some(name)).unwrap_err().to_string();
        assert!(error(b"a", "utf8x").contains("there is no encoding `utf8x`"));
        assert!(error(b"\xff\xffa", "utf-8").contains("no text in the encoding UTF-8"));
    }
}
