//! Text files whose cells stand between delimiters: CSV and its relatives.

use std::collections::BTreeMap;
use std::path::Path;

use csv::{ReaderBuilder, StringRecord};

use super::cell::Cell;
use super::encoding::decode;
use super::options::ImportOptions;
use super::sheet::{Sheet, SheetRow};
use crate::{Error, Result};

/// The delimiters that are looked for; of equally good ones the first is taken.
const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];

/// How many records are looked at to find the delimiter.
const LOOKED_AT: usize = 100;

/// Reads the text file `path`.
pub(super) fn read(path: &Path, bytes: &[u8], options: &ImportOptions) -> Result<Sheet> {
    let (text, encoding_note) = decode(path, bytes, options.encoding.as_deref())?;
    let (text, stated, skipped_lines) = without_sep_line(&text);
    if text.trim().is_empty() {
        return Ok(Sheet { is_text: true, ..Sheet::default() });
    }
    let (delimiter, is_told) = match options.delimiter.or(stated) {
        Some(delimiter) => (delimiter, true),
        None => (find_delimiter(path, text)?, false),
    };
    let mut rows = Vec::new();
    let mut lines = LineCounter { text, counted: 0, line: 1 + skipped_lines };
    let mut ends_open = false;
    for record in records(text, delimiter) {
        let record = record.map_err(|e| Error::invalid(path.display(), e))?;
        let line = lines.line_of(record.position().map_or(0, |position| position.byte() as usize));
        ends_open = record.iter().next_back().is_some_and(|cell| cell.contains('\n'));
        let cells: BTreeMap<usize, Cell> = record
            .iter()
            .map(Cell::of_text)
            .enumerate()
            .filter(|(_, cell)| !cell.is_empty())
            .collect();
        if !cells.is_empty() {
            rows.push(SheetRow { number: line, cells });
        }
    }
    // A quote that is never closed takes the rest of the file into its cell.
    if ends_open && text.matches('"').count() % 2 == 1 {
        let cause = "a quote (\") is opened and not closed";
        return Err(Error::invalid(format!("{}:{}", path.display(), lines.line), cause)
            .with_remedy("close it, or write a quote inside of a text twice (\"\")"));
    }
    let delimiter =
        (!is_told).then(|| format!("delimiter: {}, told from the content", name_of(delimiter)));
    let notes = encoding_note.into_iter().chain(delimiter).collect();
    Ok(Sheet { rows, notes, is_text: true })
}

/// Counts lines up to the starts of records, one after the other.
struct LineCounter<'a> {
    text: &'a str,
    /// The byte up to which lines are counted.
    counted: usize,
    line: usize,
}

impl LineCounter<'_> {
    /// The line of the record that the reader began to read at `byte`, where blank lines may stand before it.
    fn line_of(&mut self, byte: usize) -> usize {
        let bytes = self.text.as_bytes();
        let is_break = |byte: &&u8| matches!(byte, b'\n' | b'\r');
        let byte = byte.min(bytes.len());
        let start = byte + bytes[byte..].iter().take_while(is_break).count();
        self.line += bytes[self.counted..start].iter().filter(|&&byte| byte == b'\n').count();
        self.counted = start;
        self.line
    }
}

/// What a delimiter is called.
fn name_of(delimiter: u8) -> &'static str {
    match delimiter {
        b',' => "comma",
        b';' => "semicolon",
        b'\t' => "tab",
        _ => "vertical bar",
    }
}

fn records(text: &str, delimiter: u8) -> impl Iterator<Item = csv::Result<StringRecord>> {
    let mut builder = ReaderBuilder::new();
    builder.has_headers(false).flexible(true).delimiter(delimiter);
    builder.from_reader(text.as_bytes()).into_records()
}

/// The text without Excel's first line `sep=;`, the delimiter that it states, and how many lines were left out.
fn without_sep_line(text: &str) -> (&str, Option<u8>, usize) {
    let (line, rest) = text.split_once('\n').unwrap_or((text, ""));
    match line.trim_end_matches('\r').strip_prefix("sep=").map(str::as_bytes) {
        Some([delimiter]) => (rest, Some(*delimiter), 1),
        _ => (text, None, 0),
    }
}

/// The delimiter by which most records have the same number of cells; of equally good ones that with more cells.
///
/// # Errors
///
/// If no delimiter divides a record.
fn find_delimiter(path: &Path, text: &str) -> Result<u8> {
    let score = |delimiter: u8| -> (usize, usize) {
        let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
        for record in records(text, delimiter).take(LOOKED_AT).flatten() {
            *counts.entry(record.len()).or_default() += 1;
        }
        let several = counts.into_iter().filter(|(cells, _)| *cells > 1);
        several.map(|(cells, records)| (records, cells)).max().unwrap_or((0, 0))
    };
    let scored = DELIMITERS.map(|delimiter| (score(delimiter), delimiter));
    let best = scored.iter().map(|(score, _)| *score).max().unwrap_or_default();
    match scored.iter().find(|(score, _)| *score == best && best.0 > 0) {
        Some((_, delimiter)) => Ok(*delimiter),
        None => Err(Error::invalid(
            path.display(),
            "has one column: no comma, semicolon, tab or vertical bar divides its lines",
        )
        .with_remedy("check that this is the table, or name its delimiter by --delimiter")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delimiters_are_told_from_the_content() {
        let find = |text| find_delimiter(Path::new("qa.csv"), text).map(char::from);
        for (text, want) in [
            ("a,b,c\n1,2,3\n", ','),
            ("a;b;c\n1;2,5;3\n4;1,5;6\n", ';'),
            ("a\tb\n\"x, y; z\"\t2\n", '\t'),
            ("a|b|c\n1|2|3\n", '|'),
            ("Datei;Frage\na;Ist es links, oder rechts?\nb;Ist es oben, oder unten?\n", ';'),
            ("Export of 2024\n\nfile,question,answer\n1,\"a;b\",3\n2,\"a;b\",3\n", ','),
        ] {
            assert_eq!(find(text).unwrap(), want, "{text}");
        }
        assert!(find("a\nb\nc\n").unwrap_err().to_string().contains("has one column"));
        assert_eq!(without_sep_line("sep=;\r\na;b"), ("a;b", Some(b';'), 1));
        assert_eq!(without_sep_line("a;b"), ("a;b", None, 0));
    }
}
