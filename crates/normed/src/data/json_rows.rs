//! Rows of a JSON file: one list of them, one row a line (JSON Lines), or rows one after the other.

use std::path::Path;

use serde_json::{Map, Value};

use super::json_text::{Flaw, RawItem, split_list, split_object, split_sequence};
use super::row::{Fields, Row};
use super::tables::describe_foreign;
use crate::files::{TABLE_LIMIT, read_text, read_text_once};
use crate::{Error, Result};

/// Reads the rows of a JSON file, whatever its name: a list, or JSON Lines. Blank lines are skipped.
///
/// The place of a row is the line where it starts. A row that is not JSON is a broken row, as long as its brackets
/// and quotes match.
///
/// # Errors
///
/// If the file cannot be read or is something else, such as a CSV table; if a list is not closed or has text after it;
/// or if the file is one object that holds the rows under a key.
pub(super) fn json_rows(path: &Path) -> Result<Vec<Row>> {
    let text = read_text_once(path, TABLE_LIMIT)?;
    let lines = Lines { path, text: &text };
    let first_line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or("");
    let has_whole_line = || split_sequence(first_line).is_ok();
    // Rows without line ends between them, or with those of old Macs.
    let shares_line = || {
        split_sequence(first_line).is_ok_and(|items| {
            items.len() > 1 && items.iter().all(|item| item.text.starts_with('{'))
        })
    };
    let rows = match text.trim_start().as_bytes().first() {
        Some(b'[') => match split_list(&text) {
            Ok(items) => lines.numbered_rows(&items),
            // Each line is a list of its own, none of which is a row.
            Err(_) if has_whole_line() => lines.rows(),
            Err(flaw) => return Err(lines.error(&flaw)),
        },
        Some(b'{') if !has_whole_line() || shares_line() => match split_sequence(&text) {
            Ok(items) => lines.numbered_rows(&items),
            Err(_) => lines.rows(),
        },
        _ => lines.rows(),
    };
    if !rows.is_empty()
        && rows.iter().all(|row| row.fields().is_none())
        && !text.trim_start().starts_with(['{', '['])
        && let Some((is, remedy)) = describe_foreign(text.as_bytes())
    {
        let cause = format!("is not JSON: it is {is}");
        return Err(Error::invalid(path.display(), cause).with_remedy(remedy));
    }
    if let [row] = rows.as_slice()
        && let Some(remedy) = row.fields().and_then(|fields| find_inner_rows(&fields))
    {
        let cause = "the file is one object, where a list of rows or one row a line is expected";
        return Err(Error::invalid(path.display(), cause).with_remedy(remedy));
    }
    Ok(rows)
}

/// Reads the rows of a JSON file as [`json_rows`] does: the place and the fields of each.
///
/// # Errors
///
/// As [`json_rows`]; if a row is not JSON, or no object.
pub(crate) fn read_objects(path: &Path) -> Result<Vec<(String, Map<String, Value>)>> {
    let row = |row: Row| Ok((row.place.clone(), row.into_object()?));
    json_rows(path)?.into_iter().map(row).collect()
}

/// Reads a JSON file that holds one object: the rows of each list in it, by the list's key.
///
/// # Errors
///
/// If the file cannot be read, or is not an object whose brackets and quotes match; if a key is there twice.
pub(super) fn json_lists(path: &Path) -> Result<Vec<(String, Vec<Row>)>> {
    let text = read_text(path, TABLE_LIMIT)?;
    let lines = Lines { path, text: &text };
    let mut lists: Vec<(String, Vec<Row>)> = Vec::new();
    for (key, list) in split_object(&text).map_err(|flaw| lines.error(&flaw))? {
        let at = |mut flaw: Flaw| {
            flaw.at += list.at;
            lines.error(&flaw)
        };
        let key: String = serde_json::from_str(key)
            .map_err(|e| at(Flaw { at: 0, cause: format!("a key is not JSON: {e}") }))?;
        if lists.iter().any(|(other, _)| *other == key) {
            return Err(at(Flaw { at: 0, cause: format!("`{key}` is there twice") }));
        }
        if list.text.starts_with('[') {
            let items = split_list(list.text).map_err(at)?;
            let row = |(i, item): (usize, &RawItem<'_>)| {
                Row::parse(format!("{}: {key}[{i}]", path.display()), String::new(), item.text)
            };
            let rows = items.iter().enumerate().map(row).collect();
            lists.push((key, rows));
        }
    }
    Ok(lists)
}

/// The text of a file, whose rows have the line as their place.
struct Lines<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Lines<'_> {
    /// One row a line.
    fn rows(&self) -> Vec<Row> {
        let lines = self.text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let row = |(i, line): (usize, &str)| {
            Row::parse(format!("{}:{}", self.path.display(), i + 1), String::new(), line)
        };
        lines.map(row).collect()
    }

    /// Rows that may share a line, and so say their number.
    fn numbered_rows(&self, items: &[RawItem<'_>]) -> Vec<Row> {
        let (mut line, mut counted) = (1, 0);
        let rows = items.iter().enumerate().map(|(i, item)| {
            line += count_lines(&self.text[counted..item.at]);
            counted = item.at;
            let place = format!("{}:{line}", self.path.display());
            Row::parse(place, format!("row {}: ", i + 1), item.text)
        });
        rows.collect()
    }

    fn error(&self, flaw: &Flaw) -> Error {
        let line = 1 + count_lines(&self.text[..flaw.at]);
        Error::invalid(
            format!("{}:{line}", self.path.display()),
            format!("is not JSON: {}", flaw.cause),
        )
    }
}

fn count_lines(text: &str) -> usize {
    text.bytes().filter(|&byte| byte == b'\n').count()
}

/// Keys whose lists of objects are a part of one row.
const ROW_LISTS: [&str; 6] =
    ["conversations", "conversatons", "messages", "images", "image", "answers"];

/// What to do with a file's only object, if it holds rows under its keys.
fn find_inner_rows(fields: &Fields<'_>) -> Option<String> {
    let holds_rows = |(key, value): &(&String, &Value)| {
        let first = value.as_array().and_then(|list| list.first());
        !ROW_LISTS.contains(&key.as_str()) && first.is_some_and(Value::is_object)
    };
    let keys: Vec<_> =
        fields.0.iter().filter(holds_rows).map(|(key, _)| format!("`{key}`")).collect();
    if !keys.is_empty() {
        return Some(format!("write the list under {} to a file of its own", keys.join(" or ")));
    }
    // pandas' default is a column a key, each an object of the values by their row's number.
    let columns = !fields.0.is_empty() && fields.0.values().all(Value::is_object);
    columns.then(|| {
        "write one object a row; pandas does with to_json(file, orient=\"records\", lines=True)"
            .into()
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// The lines of the rows of a file that holds `text`, and the cause of each broken one.
    fn read(text: &str) -> Result<Vec<(String, Option<String>)>> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rows.json");
        fs::write(&path, text).unwrap();
        let line = |row: Row| {
            let line = row.place.rsplit(':').next().unwrap().to_owned();
            (line, row.into_object().err().map(|error| error.cause().to_owned()))
        };
        Ok(json_rows(&path)?.into_iter().map(line).collect())
    }

    fn lines(text: &str) -> Vec<String> {
        read(text).unwrap().into_iter().map(|(line, _)| line).collect()
    }

    fn causes(text: &str) -> Vec<String> {
        read(text).unwrap().into_iter().filter_map(|(_, cause)| cause).collect()
    }

    #[test]
    fn rows_of_a_list_have_their_line() {
        let text = "\u{feff}[\n  {\"a\": 1,\n   \"b\": \"x\"}, {\"a\": 2},\n\n 7]";
        assert_eq!(lines(text), ["2", "3", "5"]);
        assert_eq!(causes(text), ["row 3: the row is a number, not an object"]);
        let error = |text: &str| read(text).unwrap_err().to_string();
        assert!(error("[\n{},\n{]").contains("rows.json:3: is not JSON"));
        assert!(
            error("[\n{},\n{}\n").contains("rows.json:4: is not JSON: the text ends too early")
        );
    }

    #[test]
    fn rows_are_found_in_every_arrangement() {
        let row = "{\"a\": 1}";
        let one_line = format!("[{row}, {row}]");
        assert_eq!(lines(&one_line), ["1", "1"]);
        assert_eq!(lines(&format!("{row}\r\n\r\n{row}")), ["1", "3"]);
        assert_eq!(lines("{\n \"a\": 1\n}\n{\n \"a\": 2\n}\n"), ["1", "4"]);
        assert_eq!(lines(&format!("{row}{row} {row}\n{row}")), ["1", "1", "1", "2"]);
        assert_eq!(lines(&format!("{row}\r{row}\r")), ["1", "1"]);
        assert_eq!(lines(""), [""; 0]);
        assert_eq!(lines("[]"), [""; 0]);
        assert!([one_line.as_str(), row].iter().all(|text| causes(text).is_empty()));
        // Lists one a line are rows that are no objects.
        assert_eq!(causes("[1, 2]\n[3]\n"), ["the row is a list, not an object"; 2]);
    }

    #[test]
    fn a_row_that_is_not_json_costs_itself() {
        let list = "[{\"a\": 1},\n{\"answer\": NaN},\n{\"a\": 1}]";
        let cause = &causes(list)[..];
        assert!(cause.len() == 1 && cause[0].starts_with("row 2: `answer` is NaN"), "{cause:?}");
        for (line, want) in [
            ("{\"a\": NaN}", "`a` is NaN"),
            ("{\"a\": 1},", "ends with a comma"),
            ("// a comment", "a comment"),
            ("{\"a\": \"\\ud800\"}", "surrogate"),
            ("{\"a\": \"\\udc00\"}", "surrogate"),
            ("{\"a\": \"\\ud83d x\"}", "surrogate"),
            ("{\"a\": 1, \"a\": 2}", "`a` is there twice"),
            ("{\"a\": 1e999}", "out of range"),
            ("{\"a\": \"cut", "EOF"),
            ("{'a': 1}", "single quotes"),
        ] {
            let found = causes(&format!("{{\"b\": 1}}\n{line}\n{{\"b\": 2}}"));
            assert!(found.len() == 1 && found[0].contains(want), "{line}: {found:?}");
        }
        let deep = format!("{{\"a\": {}1{}}}", "[".repeat(500), "]".repeat(500));
        assert!(causes(&deep)[0].contains("levels deep"), "{:?}", causes(&deep));
    }

    #[test]
    fn a_file_of_another_format_is_named() {
        for (text, is) in [
            ("id,image,question\n1,a.png,why?\n", "text, such as a CSV table"),
            ("<!DOCTYPE html>", "a web page"),
            ("version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(
                error.contains("rows.json: is not JSON: it is") && error.contains(is),
                "{error}"
            );
        }
        // A file with one row that is JSON has broken rows.
        assert_eq!(causes("why?\n{\"a\": 1}").len(), 1);
    }

    #[test]
    fn rows_under_a_key_are_pointed_out() {
        for (text, hint) in [
            ("{\"info\": {}, \"data\": [{\"id\": 1}]}", "the list under `data`"),
            ("{\n \"annotations\": [{\"id\": 1}],\n \"x\": [{}]\n}", "`annotations` or `x`"),
            ("{\"id\": {\"0\": 1}, \"image\": {\"0\": \"a\"}}", "orient=\"records\""),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains("one object") && error.contains(hint), "{error}");
        }
        assert_eq!(lines("{\"messages\": [{\"role\": \"user\"}]}"), ["1"]);
    }

    #[test]
    fn lists_of_an_object_are_read_by_their_keys() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lists.json");
        fs::write(&path, "{\"train\": [{\"a\": 1}, {\"a\": NaN}],\n \"n\": 3, \"test\": []}")
            .unwrap();
        let lists = json_lists(&path).unwrap();
        let sizes: Vec<_> = lists.iter().map(|(key, rows)| (key.as_str(), rows.len())).collect();
        assert_eq!(sizes, [("train", 2), ("test", 0)]);
        assert!(lists[0].1[1].place.ends_with("lists.json: train[1]"));
        assert!(lists[0].1[1].fields().is_none());
        for (text, want) in [
            ("{\"a\": [],\n\"a\": []}", ":2: is not JSON: `a` is there twice"),
            ("{\"a\": [1,\n2}", ":2: is not JSON"),
            ("[]", ":1: is not JSON: `{` is expected"),
        ] {
            fs::write(&path, text).unwrap();
            let error = json_lists(&path).err().unwrap().to_string();
            assert!(error.contains(want), "{error}");
        }
    }
}
