//! Files that are not what their names say.

/// What a file is, by its first bytes, where it is not the table that was expected; `None` if that is not known.
pub(in crate::data) fn describe_foreign(start: &[u8]) -> Option<(&'static str, &'static str)> {
    const FETCH: &str = "fetch the file itself";
    let known: [(&[u8], &str, &str); 13] = [
        (
            b"version https://git-lfs",
            "a pointer of Git LFS, not the file itself",
            "run `git lfs pull`, or fetch the data set with `normed fetch ORG/NAME --dataset`",
        ),
        (b"<!DOCTYPE", "a web page", FETCH),
        (b"<!doctype", "a web page", FETCH),
        (b"<html", "a web page", FETCH),
        (b"PAR1", "a parquet file", "name it *.parquet"),
        (b"PARE", "an encrypted parquet file", "decrypt it first"),
        (
            b"ARROW1",
            "an Arrow file with its table of contents at the end (Feather)",
            "name it *.arrow",
        ),
        (b"\xff\xff\xff\xff", "a stream of Arrow", "name it *.arrow"),
        (b"PK\x03\x04", "a zip archive", "unpack it"),
        (b"\x1f\x8b", "compressed by gzip", "unpack it"),
        (b"\x28\xb5\x2f\xfd", "compressed by Zstandard", "unpack it"),
        (b"SQLite format 3", "an SQLite database", "write its table as parquet"),
        (b"\x89HDF", "an HDF5 file", "write its table as parquet"),
    ];
    if start.is_empty() {
        return Some(("empty", "fetch or write it again"));
    }
    let found = known.iter().find(|(magic, _, _)| start.starts_with(magic));
    if let Some((_, is, remedy)) = found {
        return Some((is, remedy));
    }
    let text = match std::str::from_utf8(start) {
        Ok(text) => text,
        // The last character may be cut.
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&start[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return None,
    };
    let is_control = |c: char| c.is_control() && !c.is_whitespace();
    if text.is_empty() || text.contains(is_control) {
        return None;
    }
    Some(match text.trim_start().as_bytes().first() {
        Some(b'{' | b'[') => ("JSON", "read it with data.name = \"jsonl\""),
        _ => (
            "text, such as a CSV table",
            "turn a table into rows: normed import FILE --out data.jsonl; or write it as parquet or JSON Lines",
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_told_by_their_start() {
        for (start, is) in [
            (&b""[..], Some("empty")),
            (
                b"version https://git-lfs.github.com/spec/v1\noid sha256:00",
                Some("a pointer of Git LFS, not the file itself"),
            ),
            (b"image,question,answer\n1.png,is it?,yes", Some("text, such as a CSV table")),
            ("a,\u{fc}".as_bytes().split_last().unwrap().1, Some("text, such as a CSV table")),
            (b" [{\"a\": 1}]", Some("JSON")),
            (b"\x00\x01\x02", None),
            (b"\xfe\xfd", None),
        ] {
            assert_eq!(describe_foreign(start).map(|(is, _)| is), is, "{start:?}");
        }
    }
}
