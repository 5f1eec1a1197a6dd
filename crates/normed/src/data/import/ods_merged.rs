//! The merged cells of an OpenDocument table, which calamine does not list.

use calamine::Dimensions;
use quick_xml::Reader;
use quick_xml::escape::unescape;
use quick_xml::events::{BytesStart, Event};

/// The merged regions of the table `name` in `content`, the text of `content.xml`.
///
/// # Errors
///
/// If the text is not XML, or a count in it is not a number.
pub(super) fn merged_cells(content: &str, name: &str) -> Result<Vec<Dimensions>, String> {
    let mut reader = Reader::from_str(content);
    let (mut regions, mut is_in_table) = (Vec::new(), false);
    // The row and the column of the next cell, and how often the present row is repeated.
    let (mut row, mut column, mut repeats) = (0_u32, 0_u32, 1);
    loop {
        let event = reader.read_event().map_err(|e| e.to_string())?;
        let (start, is_closed) = match &event {
            Event::Eof => return Ok(regions),
            Event::Start(start) => (start, false),
            Event::Empty(start) => (start, true),
            Event::End(end) => {
                match end.name().as_ref() {
                    "table:table" => is_in_table = false,
                    "table:table-row" => row = row.saturating_add(repeats),
                    _ => {}
                }
                continue;
            }
            _ => continue,
        };
        match start.name().as_ref() {
            "table:table" => {
                let own = start.try_get_attribute("table:name").map_err(|e| e.to_string())?;
                let own = own.map(|own| unescape(&own.value).map(|name| name.into_owned()));
                is_in_table = own.transpose().map_err(|e| e.to_string())?.as_deref() == Some(name);
                (row, column) = (0, 0);
            }
            "table:table-row" => {
                (column, repeats) = (0, number(start, "table:number-rows-repeated")?);
                if is_closed {
                    row = row.saturating_add(repeats);
                }
            }
            "table:table-cell" | "table:covered-table-cell" if is_in_table => {
                let rows = number(start, "table:number-rows-spanned")?;
                let columns = number(start, "table:number-columns-spanned")?;
                if rows > 1 || columns > 1 {
                    let last =
                        |first: u32, count: u32| first.saturating_add(count.saturating_sub(1));
                    regions.push(Dimensions::new(
                        (row, column),
                        (last(row, rows), last(column, columns)),
                    ));
                }
                column = column.saturating_add(number(start, "table:number-columns-repeated")?);
            }
            _ => {}
        }
    }
}

/// The number in an attribute; 1 if it is absent.
fn number(start: &BytesStart<'_>, name: &str) -> Result<u32, String> {
    let attribute = start.try_get_attribute(name).map_err(|e| e.to_string())?;
    attribute.map_or(Ok(1), |attribute| {
        attribute.value.parse().map_err(|_| format!("{name} is `{}`, no number", attribute.value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_count_repeated_rows_and_cells() {
        let table = |name: &str, rows: &str| {
            format!("<table:table table:name=\"{name}\">{rows}</table:table>")
        };
        let rows = "<table:table-row table:number-rows-repeated=\"2\"><table:table-cell/></table:table-row>\
                    <table:table-row><table:table-cell table:number-columns-repeated=\"3\"/>\
                    <table:table-cell table:number-rows-spanned=\"4\" table:number-columns-spanned=\"1\"><text:p>P1\
                    </text:p></table:table-cell></table:table-row>";
        let other = "<table:table-row><table:table-cell table:number-rows-spanned=\"9\"/></table:table-row>";
        let content = format!("<x>{}{}</x>", table("A &amp; B", rows), table("C", other));
        let regions = merged_cells(&content, "A & B").unwrap();
        assert_eq!(regions, [Dimensions::new((2, 3), (5, 3))]);
        let wrong = content.replace("\"4\"", "\"x\"");
        assert!(merged_cells(&wrong, "A & B").unwrap_err().contains("is `x`, no number"));
    }
}
