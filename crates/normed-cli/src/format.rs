//! Numbers and tables as text.

use indicatif::{BinaryBytes, HumanCount};
use normed::metrics::{Calibration, Metric, Row, Scores};
use normed::tensor::ChangedValues;

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

/// Rows as a table: the first `left` columns are aligned left, the others right.
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
    let mut rows = vec![head.into_iter().map(str::to_owned).collect()];
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
    columns(&rows, 1)
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
    fn words_are_quoted_where_a_shell_would_split_them() {
        assert_eq!(quoted(&"org/name@v1.5"), "org/name@v1.5");
        assert_eq!(quoted(&"it's"), r"'it'\''s'");
    }

    #[test]
    fn columns_line_up() {
        let rows = [["a", "1"], ["bcd", "22"]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(columns(&rows, 1), "a     1\nbcd  22");
    }
}
