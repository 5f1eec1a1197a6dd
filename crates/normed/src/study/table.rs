//! Tables, written as Markdown, LaTeX, CSV and HTML.

use std::fmt::Write as _;

use super::html::escape;
use super::paired_comparison::Mark;
use crate::digits::group_digits;

/// A table with a caption.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// The name of its files, without extension.
    pub name: String,
    /// The caption.
    pub caption: String,
    /// The headings of the columns.
    pub head: Vec<String>,
    /// The rows, with one entry per column.
    pub rows: Vec<Vec<Entry>>,
    /// Whether columns of scores that are equal in every row are shown as one, except in the CSV file.
    pub merges_equal_scores: bool,
}

/// An entry of a table.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry {
    /// Text.
    Text(String),
    /// A count.
    Count(usize),
    /// A number, and how many decimal places are shown.
    Real(f64, usize),
    /// A score.
    Score(ScoreEntry),
    /// No value.
    Empty,
}

/// A score, in the unit in which it is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ScoreEntry {
    /// The mean over seeds.
    pub value: f64,
    /// The standard deviation over seeds.
    pub deviation: Option<f64>,
    /// The 95 % interval.
    pub interval: Option<(f64, f64)>,
    /// The image-shuffled score.
    pub image_shuffled: Option<f64>,
    /// Its mark among the methods of the column.
    pub mark: Mark,
}

impl From<&str> for Entry {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

/// The signs of a text format.
struct Signs {
    /// Between a score and its deviation.
    plus_minus: &'static str,
    /// After a score with [`Mark::Tied`].
    tied: &'static str,
    /// Before and after a score with [`Mark::Best`].
    bold: (&'static str, &'static str),
}

impl Entry {
    /// The entry as plain text.
    fn text(&self, signs: &Signs) -> String {
        let ScoreEntry { value, deviation, interval, image_shuffled, mark } = match self {
            Self::Text(text) => return text.clone(),
            Self::Count(n) => return group_digits(*n),
            Self::Real(value, digits) => return format!("{value:.digits$}"),
            Self::Empty => return String::new(),
            Self::Score(score) => *score,
        };
        let mut text = format!("{value:.1}");
        if mark == Mark::Best {
            text = format!("{}{text}{}", signs.bold.0, signs.bold.1);
        }
        if mark == Mark::Tied {
            text.push_str(signs.tied);
        }
        // Writing to a string cannot fail.
        if let Some(deviation) = deviation {
            let _ = write!(text, " {} {deviation:.1}", signs.plus_minus);
        }
        if let Some((lo, hi)) = interval {
            let _ = write!(text, " [{lo:.1}, {hi:.1}]");
        }
        if let Some(shuffled) = image_shuffled {
            let _ = write!(text, "; image-shuffled {shuffled:.1}");
        }
        text
    }

    fn is_text(&self) -> bool {
        matches!(self, Self::Text(_))
    }
}

impl Table {
    /// Whether column `i` holds text, which is aligned left.
    fn is_text_column(&self, i: usize) -> bool {
        self.rows.iter().any(|row| row.get(i).is_some_and(Entry::is_text))
    }

    /// Removes the columns that have no entries.
    pub fn without_empty_columns(mut self) -> Self {
        let empty = |entry: &Entry| match entry {
            Entry::Text(text) => text.is_empty(),
            entry => *entry == Entry::Empty,
        };
        for i in (0..self.head.len()).rev() {
            if self.rows.iter().all(|row| row.get(i).is_none_or(empty)) {
                self.head.remove(i);
                self.rows.iter_mut().for_each(|row| drop(row.remove(i)));
            }
        }
        self
    }

    /// The table as people read it. Columns of scores that are equal in every row, such as those of closed and of yes/no
    /// questions where all closed questions are yes/no questions, are one column whose heading names all of them.
    pub fn to_shown(&self) -> Self {
        let mut shown = self.clone();
        let is_score = |entry: &Entry| matches!(entry, Entry::Score(_));
        let mut i = 0;
        while self.merges_equal_scores && i < shown.head.len() {
            let equals = |&other: &usize| {
                shown.rows.iter().any(|row| row.get(i).is_some_and(is_score))
                    && shown.rows.iter().all(|row| row.get(i) == row.get(other))
            };
            match (i + 1..shown.head.len()).find(equals) {
                Some(other) => {
                    let name = shown.head.remove(other);
                    shown.head[i] = format!("{} = {name}", shown.head[i]);
                    shown.rows.iter_mut().for_each(|row| drop(row.remove(other)));
                }
                None => i += 1,
            }
        }
        shown
    }

    /// Writes the table as Markdown.
    pub fn markdown(&self) -> String {
        let signs = Signs { plus_minus: "±", tied: " ≈", bold: ("**", "**") };
        let cell = |text: &str| text.replace('|', "\\|");
        let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
        let rule = (0..self.head.len())
            .map(|i| if self.is_text_column(i) { "---".to_owned() } else { "---:".to_owned() });
        let mut text = format!("{}\n\n", self.caption);
        text += &line(self.head.iter().map(|name| cell(name)).collect());
        text += &line(rule.collect());
        for row in &self.rows {
            text += &line(row.iter().map(|entry| cell(&entry.text(&signs))).collect());
        }
        text
    }

    /// Writes the table as LaTeX, for the package booktabs.
    pub fn latex(&self) -> String {
        let signs = Signs { plus_minus: "±", tied: "≈", bold: ("\u{1}", "\u{2}") };
        let cell = |text: &str| {
            let text = escape_latex(text);
            text.replace('\u{1}', "\\textbf{").replace('\u{2}', "}")
        };
        let columns: String =
            (0..self.head.len()).map(|i| if self.is_text_column(i) { 'l' } else { 'r' }).collect();
        let line = |cells: Vec<String>| format!("    {} \\\\\n", cells.join(" & "));
        let mut text = format!(
            "\\begin{{table}}\n  \\centering\n  \\caption{{{}}}\n  \\label{{tab:{}}}\n  \
             \\begin{{tabular}}{{{columns}}}\n    \\toprule\n",
            cell(&self.caption),
            self.name,
        );
        text += &line(self.head.iter().map(|name| cell(name)).collect());
        text += "    \\midrule\n";
        for row in &self.rows {
            text += &line(row.iter().map(|entry| cell(&entry.text(&signs))).collect());
        }
        text + "    \\bottomrule\n  \\end{tabular}\n\\end{table}\n"
    }

    /// Writes the table as CSV, with a column for every part of a score. The name of a column never depends on values; a
    /// column without any value is left out.
    pub fn csv(&self) -> String {
        let is_score = |entry: Option<&Entry>| matches!(entry, Some(Entry::Score(_)));
        let has_scores: Vec<bool> = (0..self.head.len())
            .map(|i| self.rows.iter().any(|row| is_score(row.get(i))))
            .collect();
        let mut head = Vec::new();
        for (name, &has_scores) in self.head.iter().zip(&has_scores) {
            head.push(name.clone());
            if has_scores {
                head.extend(SCORE_PARTS.map(|part| format!("{name} {part}")));
            }
        }
        let cells = |row: &Vec<Entry>| {
            let mut cells = Vec::new();
            for (entry, &has_scores) in row.iter().zip(&has_scores) {
                cells.push(entry.csv());
                match entry {
                    Entry::Score(score) => cells.extend(score.csv_parts()),
                    _ if has_scores => cells.extend(SCORE_PARTS.map(|_| String::new())),
                    _ => {}
                }
            }
            cells
        };
        let rows: Vec<Vec<String>> = self.rows.iter().map(cells).collect();
        let has_value = |&i: &usize| rows.iter().any(|row| !row[i].is_empty());
        let kept: Vec<usize> = (0..head.len()).filter(has_value).collect();
        let line = |cells: &Vec<String>| csv_line(kept.iter().map(|&i| cells[i].clone()).collect());
        [&head].into_iter().chain(&rows).map(line).collect()
    }

    /// Writes the table as HTML. It scrolls horizontally where it is too wide.
    pub fn html(&self) -> String {
        let class = |i: usize| if self.is_text_column(i) { "" } else { " class=\"n\"" };
        let mut text = format!(
            "<figure class=\"table\"><figcaption>{}</figcaption><div class=\"scroll\" tabindex=\"0\"><table><thead><tr>",
            escape(&self.caption)
        );
        for (i, name) in self.head.iter().enumerate() {
            let _ = write!(text, "<th{}>{}</th>", class(i), escape(name));
        }
        text += "</tr></thead><tbody>\n";
        for row in &self.rows {
            text += "<tr>";
            for (i, entry) in row.iter().enumerate() {
                let _ = write!(text, "<td{}>{}</td>", class(i), entry.html());
            }
            text += "</tr>\n";
        }
        text + "</tbody></table></div></figure>\n"
    }
}

/// The columns of a CSV file that follow a score.
const SCORE_PARTS: [&str; 5] = ["deviation", "low", "high", "image-shuffled", "mark"];

/// A number in a CSV file; empty if there is none.
fn csv_number(value: Option<f64>) -> String {
    value.map_or(String::new(), |value| format!("{value:.4}"))
}

impl ScoreEntry {
    /// The cells of [`SCORE_PARTS`].
    fn csv_parts(&self) -> [String; 5] {
        let mark = match self.mark {
            Mark::None => "",
            Mark::Best => "best",
            Mark::Tied => "tied",
        };
        [
            csv_number(self.deviation),
            csv_number(self.interval.map(|i| i.0)),
            csv_number(self.interval.map(|i| i.1)),
            csv_number(self.image_shuffled),
            mark.to_owned(),
        ]
    }
}

impl Entry {
    /// The entry in a CSV file; of a score, its value.
    fn csv(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Count(n) => n.to_string(),
            Self::Real(value, _) => value.to_string(),
            Self::Score(score) => csv_number(Some(score.value)),
            Self::Empty => String::new(),
        }
    }

    /// The entry in an HTML table.
    fn html(&self) -> String {
        let Self::Score(score) = self else {
            let none = Signs { plus_minus: "±", tied: "", bold: ("", "") };
            return escape(&self.text(&none));
        };
        let value = match score.mark {
            Mark::None => format!("{:.1}", score.value),
            Mark::Best => format!("<strong>{:.1}</strong>", score.value),
            Mark::Tied => {
                format!(
                    "{:.1}<span class=\"tied\" title=\"not significantly different (p ≥ 0.05, Holm)\"> ≈</span>",
                    score.value
                )
            }
        };
        let deviation = score.deviation.map(|d| format!(" <small>± {d:.1}</small>"));
        let mut below = Vec::new();
        below.extend(score.interval.map(|(lo, hi)| format!("{lo:.1} to {hi:.1}")));
        below.extend(score.image_shuffled.map(|shuffled| format!("shuffled {shuffled:.1}")));
        let below = match below.is_empty() {
            true => String::new(),
            false => format!("<small class=\"below\">{}</small>", below.join("<br>")),
        };
        format!("{value}{}{below}", deviation.unwrap_or_default())
    }
}

fn csv_line(cells: Vec<String>) -> String {
    let quoted = |cell: String| match cell.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", cell.replace('"', "\"\"")),
        false => cell,
    };
    cells.into_iter().map(quoted).collect::<Vec<_>>().join(",") + "\n"
}

/// Escapes text for LaTeX.
fn escape_latex(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '&' | '%' | '$' | '#' | '_' | '{' | '}' => {
                out.push('\\');
                out.push(c);
            }
            '\\' => out.push_str("\\textbackslash{}"),
            '~' => out.push_str("\\textasciitilde{}"),
            '^' => out.push_str("\\textasciicircum{}"),
            '±' => out.push_str("$\\pm$"),
            '≈' => out.push_str("$^{\\approx}$"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let score = ScoreEntry {
            value: 57.64,
            deviation: Some(0.43),
            interval: Some((55.1, 60.25)),
            image_shuffled: Some(39.2),
            mark: Mark::Best,
        };
        let tied = ScoreEntry { value: 57.0, mark: Mark::Tied, ..ScoreEntry::default() };
        Table {
            name: "t".into(),
            caption: "A & b".into(),
            head: vec!["method".into(), "n".into(), "all".into()],
            rows: vec![
                vec!["layer_norm".into(), Entry::Count(1_234_567), Entry::Score(score)],
                vec!["a|b, \"c\"".into(), Entry::Real(0.306_6, 2), Entry::Score(tied)],
                vec!["<x>".into(), Entry::Empty, Entry::Empty],
            ],
            merges_equal_scores: true,
        }
    }

    #[test]
    fn markdown_aligns_numbers_and_marks_the_best() {
        let text = table().markdown();
        assert!(text.contains("| method | n | all |\n| --- | ---: | ---: |\n"), "{text}");
        let best = "| layer_norm | 1,234,567 | **57.6** ± 0.4 [55.1, 60.2]; image-shuffled 39.2 |";
        assert!(text.contains(best), "{text}");
        assert!(text.contains("| a\\|b, \"c\" | 0.31 | 57.0 ≈ |"), "{text}");
    }

    #[test]
    fn equal_columns_of_scores_are_one_column() {
        let score = |value: f64| Entry::Score(ScoreEntry { value, ..ScoreEntry::default() });
        let row = |name: &str, scores: [f64; 4]| -> Vec<Entry> {
            let mut row = vec![Entry::from(name), Entry::Count(1), Entry::Count(1)];
            row.extend(scores.map(score));
            row
        };
        let names = ["method", "m", "n", "overall", "open", "closed", "yes/no"];
        let table = Table {
            name: "t".into(),
            caption: String::new(),
            head: names.map(str::to_owned).into(),
            rows: vec![row("a", [1.0, 2.0, 1.0, 1.0]), row("b", [3.0, 3.0, 3.0, 3.0])],
            merges_equal_scores: true,
        };
        let shown = table.to_shown();
        assert_eq!(shown.head, ["method", "m", "n", "overall = closed = yes/no", "open"]);
        assert_eq!(shown.rows[0][3..], [score(1.0), score(2.0)]);
        assert_eq!(shown.rows[1].len(), 5);
        assert_eq!(Table { merges_equal_scores: false, ..table.clone() }.to_shown().head.len(), 7);
        // Programs that read the file find each score under its own name, and no column without a value.
        assert_eq!(
            table.csv(),
            "method,m,n,overall,open,closed,yes/no\na,1,1,1.0000,2.0000,1.0000,1.0000\n\
                                 b,1,1,3.0000,3.0000,3.0000,3.0000\n"
        );
    }

    #[test]
    fn latex_is_escaped() {
        let text = table().latex();
        assert!(text.contains("\\caption{A \\& b}"), "{text}");
        assert!(text.contains("layer\\_norm & 1,234,567 & \\textbf{57.6} $\\pm$ 0.4"), "{text}");
        assert!(text.contains("57.0$^{\\approx}$ \\\\"), "{text}");
        assert!(text.contains("\\begin{tabular}{lrr}"), "{text}");
    }

    #[test]
    fn csv_has_every_part_of_a_score() {
        let text = table().csv();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(
            lines[0],
            "method,n,all,all deviation,all low,all high,all image-shuffled,all mark"
        );
        assert_eq!(lines[1], "layer_norm,1234567,57.6400,0.4300,55.1000,60.2500,39.2000,best");
        assert_eq!(lines[2], "\"a|b, \"\"c\"\"\",0.3066,57.0000,,,,,tied");
        assert_eq!(lines[3], "<x>,,,,,,,");
    }

    #[test]
    fn a_page_gets_no_markup_from_names() {
        let text = table().html();
        assert!(
            text.contains("<td>&lt;x&gt;</td>") && text.contains("<strong>57.6</strong>"),
            "{text}"
        );
    }
}
