//! The images in a value of a table, in whichever form they are stored.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::Cell;

/// An image of a row: its file, or where that is.
#[derive(Debug, PartialEq)]
pub(in crate::data) enum Picture {
    /// The bytes of the file, or a text that contains them ([`image_file`]), and the number of the value in the row.
    Inside { value: Vec<u8>, index: usize },
    /// The path of the file.
    Path(String),
}

/// The images in a value: one, a list, or none if it is null. An image is a struct of `bytes` and `path`, its bytes,
/// its path, or a data URI.
///
/// # Errors
///
/// If the value is none of these; the cause says what it is.
pub(in crate::data) fn pictures_of(cell: Cell) -> Result<Vec<Picture>, String> {
    let (mut pictures, mut index) = (Vec::new(), 0);
    match cell.rows_of_columns() {
        Cell::Null => {}
        Cell::List(cells) => {
            for (i, cell) in cells.into_iter().enumerate() {
                let picture = picture_of(cell, &mut index);
                match picture.map_err(|cause| format!("{cause} (number {} of a list)", i + 1))? {
                    Some(picture) => pictures.push(picture),
                    None => return Err(format!("has no image at number {} of a list", i + 1)),
                }
            }
        }
        cell => pictures.extend(picture_of(cell, &mut index)?),
    }
    Ok(pictures)
}

/// One image, or none if it is null; `index` counts the values that are not null, as the file stores them.
fn picture_of(cell: Cell, index: &mut usize) -> Result<Option<Picture>, String> {
    let mut inside = |value: Vec<u8>| {
        *index += 1;
        Picture::Inside { value, index: *index - 1 }
    };
    match cell {
        Cell::Null => Ok(None),
        Cell::Bytes(bytes) if bytes.is_empty() => Err("is empty".into()),
        Cell::Bytes(bytes) => Ok(Some(inside(bytes))),
        Cell::Text(text) => {
            let is_inside = text.starts_with("data:");
            let picture = inside(text.into_bytes());
            match picture {
                Picture::Inside { value, .. } if !is_inside => path_of(value).map(Some),
                picture => Ok(Some(picture)),
            }
        }
        Cell::Struct(mut fields) => {
            let mut take = |name: &str| {
                let field = fields.iter_mut().find(|(field, _)| field == name);
                field.map(|(_, cell)| std::mem::replace(cell, Cell::Null))
            };
            match (take("bytes"), take("path")) {
                (Some(Cell::Bytes(bytes)), path) => {
                    let picture = inside(bytes);
                    match (picture, path) {
                        (Picture::Inside { value, .. }, Some(Cell::Text(path)))
                            if value.is_empty() =>
                        {
                            path_of(path.into_bytes()).map(Some)
                        }
                        (Picture::Inside { value, .. }, _) if value.is_empty() => {
                            Err("is empty".into())
                        }
                        (picture, _) => Ok(Some(picture)),
                    }
                }
                (Some(Cell::Null) | None, Some(Cell::Text(path))) => {
                    path_of(path.into_bytes()).map(Some)
                }
                (Some(Cell::Null), Some(Cell::Null) | None) | (None, Some(Cell::Null)) => Ok(None),
                (None, None) => Err("is a struct without `bytes` and `path`".into()),
                _ => {
                    Err("is a struct whose `bytes` are no bytes or whose `path` is no text".into())
                }
            }
        }
        Cell::Other(kind) => Err(format!("is {kind}, not an image")),
        Cell::List(_) => Err("is a list of lists".into()),
        Cell::Bool(_) | Cell::Int(_) | Cell::UInt(_) | Cell::Float(_) => {
            Err("is a number, not an image".into())
        }
    }
}

/// Base64 of the first bytes of PNG, JPEG, GIF, BMP and WebP.
const BASE64_STARTS: [&str; 5] = ["iVBORw0KGgo", "/9j/", "R0lGOD", "Qk", "UklGR"];

fn path_of(path: Vec<u8>) -> Result<Picture, String> {
    // Values come from text, so that nothing is lost here.
    let path = String::from_utf8_lossy(&path).into_owned();
    let is_base64 = |c: char| c.is_ascii_alphanumeric() || "+/=\r\n".contains(c);
    if path.len() > 200
        && BASE64_STARTS.iter().any(|start| path.starts_with(start))
        && path.chars().all(is_base64)
    {
        return Err("is base64 text, not a path: write the bytes themselves, or a data URI".into());
    }
    if path.starts_with("http://") || path.starts_with("https://") {
        return Err(format!(
            "is a web address (`{path}`): download the images, and name the files"
        ));
    }
    if path.trim().is_empty() {
        return Err("is an empty path".into());
    }
    Ok(Picture::Path(path))
}

/// The image file in a value: the value itself, or the content of a data URI, as in `data:image/png;base64,iVBO...`.
pub(super) fn image_file(value: &[u8]) -> Result<Cow<'_, [u8]>, String> {
    let Some(uri) = value.strip_prefix(b"data:") else { return Ok(Cow::Borrowed(value)) };
    let comma = uri.iter().position(|&byte| byte == b',').ok_or("is a data URI without content")?;
    if !uri[..comma].ends_with(b";base64") {
        return Err("is a data URI that is not base64".into());
    }
    let content = STANDARD.decode(&uri[comma + 1..]);
    content
        .map(Cow::Owned)
        .map_err(|error| format!("is a data URI whose base64 is broken: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(bytes: Cell, path: Cell) -> Cell {
        Cell::Struct(vec![("bytes".into(), bytes), ("path".into(), path)])
    }

    fn text(text: &str) -> Cell {
        Cell::Text(text.into())
    }

    fn inside(value: &[u8], index: usize) -> Picture {
        Picture::Inside { value: value.to_vec(), index }
    }

    #[test]
    fn images_are_found_in_every_form() {
        let bytes = || Cell::Bytes(b"x".to_vec());
        let path = || Picture::Path("a.png".into());
        let uri = "data:image/png;base64,eA==";
        for (cell, pictures) in [
            (Cell::Null, vec![]),
            (bytes(), vec![inside(b"x", 0)]),
            (text("a.png"), vec![path()]),
            (text(uri), vec![inside(uri.as_bytes(), 0)]),
            (image(bytes(), text("a.png")), vec![inside(b"x", 0)]),
            (image(Cell::Null, text("a.png")), vec![path()]),
            (image(Cell::Bytes(vec![]), text("a.png")), vec![path()]),
            (image(Cell::Null, Cell::Null), vec![]),
            (Cell::Struct(vec![("path".into(), text("a.png"))]), vec![path()]),
            (
                Cell::List(vec![
                    image(bytes(), Cell::Null),
                    image(Cell::Null, text("a.png")),
                    image(bytes(), Cell::Null),
                ]),
                vec![inside(b"x", 0), path(), inside(b"x", 1)],
            ),
            // Of texts, each is a value of the column.
            (Cell::List(vec![text("a.png"), text(uri)]), vec![path(), inside(uri.as_bytes(), 1)]),
            (Cell::List(vec![]), vec![]),
        ] {
            assert_eq!(pictures_of(cell.clone()).unwrap(), pictures, "{cell:?}");
        }
    }

    #[test]
    fn what_is_no_image_is_named() {
        let base64 = format!("/9j/{}", "A".repeat(300));
        for (cell, cause) in [
            (Cell::Int(3), "is a number"),
            (Cell::Bytes(vec![]), "is empty"),
            (text(&base64), "is base64 text"),
            (text("https://x.org/a.png"), "is a web address"),
            (text(" "), "is an empty path"),
            (Cell::Struct(vec![("url".into(), text("a"))]), "without `bytes` and `path`"),
            (Cell::List(vec![text("a.png"), Cell::Null]), "has no image at number 2 of a list"),
            (Cell::Other("a timestamp"), "is a timestamp"),
        ] {
            let error = pictures_of(cell).unwrap_err();
            assert!(error.contains(cause), "{error}");
        }
    }

    #[test]
    fn data_uris_contain_a_file() {
        assert_eq!(&*image_file(b"\x89PNG").unwrap(), b"\x89PNG");
        assert_eq!(&*image_file(b"data:image/png;base64,iVBO").unwrap(), b"\x89PN"[..].to_vec());
        for (uri, cause) in [
            ("data:image/png;base64", "without content"),
            ("data:image/svg+xml,<svg/>", "not base64"),
            ("data:;base64,*", "broken"),
        ] {
            assert!(image_file(uri.as_bytes()).unwrap_err().contains(cause), "{uri}");
        }
    }
}
