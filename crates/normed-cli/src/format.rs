//! Numbers and tables as text.

use indicatif::{BinaryBytes, HumanCount};
use normed::metrics::{Calibration, Metric, Row, Scores};
use normed::tensor::ChangedValues;

use crate::output::terminal_width;

/// `1234567` as `1,234,567`.
pub fn grouped(n: usize) -> String {
    HumanCount(n as u64).to_string()
}

/// How many changed values survive: `3,840 of 3,840 changed values survive`, `0 of 3,840 changed values survive bf16`.
/// `rounded_to` names the types that they are rounded to.
pub fn surviving(values: ChangedValues, rounded_to: &str) -> String {
    let ChangedValues { changed, surviving } = values;
    let all = format!("{} of {} changed values survive", grouped(surviving), grouped(changed));
    if surviving < changed { format!("{all} {rounded_to}") } else { all }
}

/// A percentage with at least three significant digits.
pub fn percent(percent: f64) -> String {
    match percent {
        p if p == 0.0 || p >= 10.0 => format!("{p:.1} %"),
        p if p >= 1.0 => format!("{p:.2} %"),
        p => format!("{p:.4} %"),
    }
}

/// A score with its name: `exact match 16.7 %`, `cider 27.4`.
pub fn score(metric: Metric, value: f64) -> String {
    match metric {
        Metric::ExactMatch => format!("exact match {:.1} %", 100.0 * value),
        _ => format!("{} {:.1}", metric.name(), metric.scale() * value),
    }
}

/// A number of things: `1 epoch`, `18 epochs`. The noun's plural ends with s.
pub fn counted(n: usize, noun: &str) -> String {
    format!("{} {noun}{}", grouped(n), if n == 1 { "" } else { "s" })
}

/// A probability: `0.831`, and a small one as `3.1e-5`.
pub fn probability(p: f64) -> String {
    if p == 0.0 || p >= 0.001 { format!("{p:.3}") } else { format!("{p:.1e}") }
}

/// Bytes as `512.00 MiB`, `1.25 GiB`.
pub fn bytes(n: usize) -> String {
    BinaryBytes(n as u64).to_string()
}

/// A large number as `8.8 G`, `12.3 M`.
pub fn scaled(n: u64) -> String {
    match n as f64 {
        n if n >= 1e9 => format!("{:.1} G", n / 1e9),
        n => format!("{:.1} M", n / 1e6),
    }
}

/// Seconds as `25 ms`, `8.1 s`, `2 min 05 s`, `1 h 02 min`.
pub fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        0 if seconds > 0.0 => format!("{:.0} ms", 1e3 * seconds),
        0..60 => format!("{seconds:.1} s"),
        60..3600 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole % 3600 / 60),
    }
}

/// Seconds that are only estimated, as `10 s`, `2 min`, `1 h 02 min`.
pub fn rough_duration(seconds: f64) -> String {
    let (fives, minutes) = ((seconds / 5.0).round(), (seconds / 60.0).round());
    match seconds {
        _ if fives < 12.0 => format!("{} s", 5.0 * fives.max(1.0)),
        _ if minutes < 60.0 => format!("{} min", minutes.max(1.0)),
        _ => duration(seconds),
    }
}

/// A word, quoted where a shell needs it.
pub fn quoted(word: &impl ToString) -> String {
    let word = word.to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-=,:+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// A table: a row of names, then rows whose first `keys` columns name them; the first `left` columns are aligned left, the
/// others right. On a terminal that is too narrow for it, the other columns follow in further tables; if even one of them
/// is too wide, each row becomes a block of lines.
pub fn table(head: &[&str], rows: &[Vec<String>], left: usize, keys: usize) -> String {
    table_within(terminal_width(), head, rows, (left, keys))
}

fn table_within(
    width: Option<usize>,
    head: &[&str],
    rows: &[Vec<String>],
    (left, keys): (usize, usize),
) -> String {
    let named: Vec<String> = head.iter().map(|&name| name.to_owned()).collect();
    let all: Vec<_> = [named].into_iter().chain(rows.iter().cloned()).collect();
    let fits = |text: &str| {
        let widest = text.lines().map(|line| line.chars().count()).max().unwrap_or(0);
        width.is_none_or(|width| widest <= width)
    };
    // The columns from `first` to before `end`, after those that name the rows.
    let part = |first: usize, end: usize| {
        let cells = |row: &Vec<String>| {
            let (names, values) = row.split_at(keys.min(row.len()));
            let values = values.iter().take(end).skip(first);
            names.iter().chain(values).cloned().collect::<Vec<_>>()
        };
        columns(&all.iter().map(cells).collect::<Vec<_>>(), left)
    };
    let (mut parts, mut first, count) = (Vec::new(), 0, head.len().saturating_sub(keys));
    while first < count {
        let most = (first + 1..=count).rev().find(|&end| fits(&part(first, end)));
        let Some(end) = most else { return blocks(head, rows, keys) };
        parts.push(part(first, end));
        first = end;
    }
    parts.join("\n\n")
}

/// Each row as a block of lines, one for each value.
fn blocks(head: &[&str], rows: &[Vec<String>], keys: usize) -> String {
    let names = head.iter().skip(keys).map(|name| name.chars().count()).max().unwrap_or(0);
    let block = |row: &Vec<String>| {
        let (name, values) = row.split_at(keys.min(row.len()));
        let name: Vec<_> = name.iter().map(String::as_str).filter(|key| !key.is_empty()).collect();
        let mut lines = vec![name.join(" ")];
        let values = head.iter().skip(keys).zip(values);
        let values = values.filter(|(_, value)| !value.is_empty());
        lines.extend(values.map(|(name, value)| format!("  {name:<names$}  {value}")));
        lines.join("\n")
    };
    rows.iter().map(block).collect::<Vec<_>>().join("\n")
}

/// Rows as columns: the first `left` columns are aligned left, the others right.
pub fn columns(rows: &[Vec<String>], left: usize) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |i: usize| rows.iter().filter_map(|r| r.get(i)).map(|c| c.chars().count()).max();
    let widths: Vec<_> = (0..count).map(|i| width(i).unwrap_or(0)).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).enumerate().map(|(i, (cell, &width))| {
            if i < left { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// A table of all metrics: score, interval, majority-answer baseline, and columns of other `scores`.
pub fn scores(scores: &Scores, others: &[(&str, &Scores)]) -> String {
    let mut head = vec!["metric", "score", "95 % interval", "majority answer"];
    head.extend(others.iter().map(|(name, _)| name));
    head.push("n");
    let mut rows = Vec::new();
    let others: Vec<Vec<Row>> = others.iter().map(|(_, scores)| scores.rows()).collect();
    for (i, row) in scores.rows().into_iter().enumerate() {
        let number = |value: Option<f64>| match value {
            Some(value) if row.metric == Metric::NllPerToken => format!("{value:.3}"),
            Some(value) => format!("{:.1}", row.metric.scale() * value),
            None => "-".to_owned(),
        };
        let interval = match (row.lo, row.hi) {
            (Some(lo), Some(hi)) => format!("{} to {}", number(Some(lo)), number(Some(hi))),
            _ => "-".to_owned(),
        };
        let mut cells =
            vec![row.name.to_owned(), number(row.value), interval, number(row.majority)];
        cells.extend(others.iter().map(|rows| number(rows[i].value)));
        cells.push(grouped(row.n));
        rows.push(cells);
    }
    rows.extend(scores.calibration.iter().flat_map(|of| calibration(of, others.len())));
    table(&head, &rows, 1, 1)
}

/// The rows of the Brier score and the ECE: name, value, interval, baseline, `free` empty columns, n.
pub fn calibration(of: &Calibration, free: usize) -> [Vec<String>; 2] {
    let number = |value: f64| format!("{value:.3}");
    [("brier", &of.brier, number(of.brier_baseline)), ("ece", &of.ece, "-".to_owned())].map(
        |(name, score, constant)| {
            let interval = score.interval.map_or("-".to_owned(), |interval| {
                format!("{} to {}", number(interval.lo), number(interval.hi))
            });
            let mut cells = vec![format!("yes_no_{name}"), number(score.value), interval, constant];
            cells.extend(std::iter::repeat_n("-".to_owned(), free));
            cells.push(grouped(of.n));
            cells
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(
            [0.2, 26.3, 57.0, 59.5, 100.0, 3540.5, 3720.0].map(rough_duration),
            ["5 s", "25 s", "55 s", "1 min", "2 min", "59 min", "1 h 02 min"]
        );
        assert_eq!([0, 999, 1000, 361_478_972].map(grouped), ["0", "999", "1,000", "361,478,972"]);
        assert_eq!(
            [0.0, 0.042_49, 1.5, 100.0].map(percent),
            ["0.0 %", "0.0425 %", "1.50 %", "100.0 %"]
        );
        assert_eq!([300 << 20, 5 << 28].map(bytes), ["300.00 MiB", "1.25 GiB"]);
        assert_eq!([12_340_000, 8_760_000_000].map(scaled), ["12.3 M", "8.8 G"]);
        assert_eq!([0.0254, 8.06].map(duration), ["25 ms", "8.1 s"]);
        assert_eq!([125.0, 3725.0].map(duration), ["2 min 05 s", "1 h 02 min"]);
    }

    #[test]
    fn probabilities_keep_their_digits() {
        assert_eq!(
            [1.0, 0.8314, 0.001, 3.14e-5, 0.0].map(probability),
            ["1.000", "0.831", "0.001", "3.1e-5", "0.000"]
        );
    }

    #[test]
    fn words_are_quoted_where_a_shell_would_split_them() {
        assert_eq!(quoted(&"org/name@v1.5"), "org/name@v1.5");
        assert_eq!(quoted(&"it's"), r"'it'\''s'");
    }

    #[test]
    fn a_table_that_is_too_wide_is_divided_and_then_stacked() {
        let rows = [["lung", "ct", "1"], ["brain", "", "22"]];
        let rows = rows.map(|row| row.map(str::to_owned).to_vec());
        let table = |width| table_within(width, &["organ", "modality", "n"], &rows, (1, 1));
        let wide = "organ  modality   n\nlung         ct   1\nbrain            22";
        assert_eq!((table(None), table(Some(19))), (wide.to_owned(), wide.to_owned()));
        let divided = "organ  modality\nlung         ct\nbrain\n\norgan   n\nlung    1\nbrain  22";
        assert_eq!((table(Some(18)), table(Some(15))), (divided.to_owned(), divided.to_owned()));
        let stacked = "lung\n  modality  ct\n  n         1\nbrain\n  n         22";
        assert_eq!(table(Some(14)), stacked);
    }

    #[test]
    fn columns_line_up() {
        let rows = [["a", "1"], ["bcd", "22"]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(columns(&rows, 1), "a     1\nbcd  22");
    }
}
