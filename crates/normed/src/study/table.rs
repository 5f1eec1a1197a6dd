//! A table, and how it is written in Markdown, LaTeX, CSV and HTML.

use std::fmt::Write as _;

use super::differences::Mark;
use super::html::escaped;

/// A table.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// What its files are called.
    pub name: String,
    /// What it shows.
    pub caption: String,
    /// Names of the columns.
    pub head: Vec<String>,
    /// As many entries as there are columns.
    pub rows: Vec<Vec<Entry>>,
}

/// An entry of a table.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry {
    /// Words.
    Text(String),
    /// A number of things.
    Count(usize),
    /// A number with so many digits behind the point.
    Real(f64, usize),
    /// A score.
    Score(Score),
    /// Nothing.
    Empty,
}

/// A score, in the unit in which it is printed.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Score {
    /// Mean over the seeds.
    pub value: f64,
    /// Standard deviation over the seeds.
    pub deviation: Option<f64>,
    /// 95 % interval.
    pub interval: Option<(f64, f64)>,
    /// The score without looking at the images.
    pub blind: Option<f64>,
    /// How it stands among the others.
    pub mark: Mark,
}

impl From<&str> for Entry {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

/// Between the mean and the deviation, and after a score that is tied.
struct Signs {
    plus_minus: &'static str,
    tied: &'static str,
    bold: (&'static str, &'static str),
}

impl Entry {
    /// As text that people read.
    fn text(&self, signs: &Signs) -> String {
        let Score { value, deviation, interval, blind, mark } = match self {
            Self::Text(text) => return text.clone(),
            Self::Count(n) => return grouped(*n),
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
        if let Some(blind) = blind {
            let _ = write!(text, "; blind {blind:.1}");
        }
        text
    }

    fn is_text(&self) -> bool {
        matches!(self, Self::Text(_))
    }
}

impl Table {
    /// Whether column `i` holds words, which are flush left.
    fn is_text(&self, i: usize) -> bool {
        self.rows.iter().any(|row| row.get(i).is_some_and(Entry::is_text))
    }

    /// Without columns that have a name and nothing else.
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

    /// For Markdown.
    pub fn markdown(&self) -> String {
        let signs = Signs { plus_minus: "±", tied: " ≈", bold: ("**", "**") };
        let cell = |text: &str| text.replace('|', "\\|");
        let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
        let rule = (0..self.head.len())
            .map(|i| if self.is_text(i) { "---".to_owned() } else { "---:".to_owned() });
        let mut text = format!("{}\n\n", self.caption);
        text += &line(self.head.iter().map(|name| cell(name)).collect());
        text += &line(rule.collect());
        for row in &self.rows {
            text += &line(row.iter().map(|entry| cell(&entry.text(&signs))).collect());
        }
        text
    }

    /// For LaTeX, with the package booktabs.
    pub fn latex(&self) -> String {
        let signs = Signs { plus_minus: "±", tied: "≈", bold: ("\u{1}", "\u{2}") };
        let cell = |text: &str| {
            let text = latex(text);
            text.replace('\u{1}', "\\textbf{").replace('\u{2}', "}")
        };
        let columns: String =
            (0..self.head.len()).map(|i| if self.is_text(i) { 'l' } else { 'r' }).collect();
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

    /// For programs: every part of a score has a column of its own.
    pub fn csv(&self) -> String {
        let scores =
            |i: usize| self.rows.iter().any(|row| matches!(row.get(i), Some(Entry::Score(_))));
        let mut head = Vec::new();
        for (i, name) in self.head.iter().enumerate() {
            head.push(name.clone());
            if scores(i) {
                let parts = ["deviation", "low", "high", "blind", "mark"];
                head.extend(parts.map(|part| format!("{name} {part}")));
            }
        }
        let mut text = csv_line(head);
        for row in &self.rows {
            let mut cells = Vec::new();
            for (i, entry) in row.iter().enumerate() {
                let show = |value: Option<f64>| value.map_or(String::new(), |v| format!("{v:.4}"));
                match entry {
                    Entry::Text(words) => cells.push(words.clone()),
                    Entry::Count(n) => cells.push(n.to_string()),
                    Entry::Real(value, _) => cells.push(value.to_string()),
                    Entry::Empty => cells.push(String::new()),
                    Entry::Score(score) => {
                        let mark = match score.mark {
                            Mark::None => "",
                            Mark::Best => "best",
                            Mark::Tied => "tied",
                        };
                        let interval = score.interval;
                        cells.extend(
                            [
                                Some(score.value),
                                score.deviation,
                                interval.map(|i| i.0),
                                interval.map(|i| i.1),
                                score.blind,
                            ]
                            .map(show),
                        );
                        cells.push(mark.to_owned());
                    }
                }
                if scores(i) && !matches!(entry, Entry::Score(_)) {
                    cells.extend(std::iter::repeat_n(String::new(), 5));
                }
            }
            text += &csv_line(cells);
        }
        text
    }

    /// For a page: it scrolls by itself where it is too wide.
    pub fn html(&self) -> String {
        let class = |i: usize| if self.is_text(i) { "" } else { " class=\"n\"" };
        let mut text = format!(
            "<figure class=\"table\"><figcaption>{}</figcaption><div class=\"scroll\" tabindex=\"0\"><table><thead><tr>",
            escaped(&self.caption)
        );
        for (i, name) in self.head.iter().enumerate() {
            let _ = write!(text, "<th{}>{}</th>", class(i), escaped(name));
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

impl Entry {
    fn html(&self) -> String {
        let Self::Score(score) = self else {
            let none = Signs { plus_minus: "±", tied: "", bold: ("", "") };
            return escaped(&self.text(&none));
        };
        let value = match score.mark {
            Mark::None => format!("{:.1}", score.value),
            Mark::Best => format!("<strong>{:.1}</strong>", score.value),
            Mark::Tied => {
                format!(
                    "{:.1}<span class=\"tied\" title=\"not distinguishable\"> ≈</span>",
                    score.value
                )
            }
        };
        let deviation = score.deviation.map(|d| format!(" <small>± {d:.1}</small>"));
        let mut below = Vec::new();
        below.extend(score.interval.map(|(lo, hi)| format!("{lo:.1} to {hi:.1}")));
        below.extend(score.blind.map(|blind| format!("blind {blind:.1}")));
        let below = match below.is_empty() {
            true => String::new(),
            false => format!("<small class=\"below\">{}</small>", below.join("<br>")),
        };
        format!("{value}{}{below}", deviation.unwrap_or_default())
    }
}

/// A count with its thousands apart.
pub fn grouped(n: usize) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn csv_line(cells: Vec<String>) -> String {
    let quoted = |cell: String| match cell.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", cell.replace('"', "\"\"")),
        false => cell,
    };
    cells.into_iter().map(quoted).collect::<Vec<_>>().join(",") + "\n"
}

/// What LaTeX takes for more than a letter, as that letter.
fn latex(text: &str) -> String {
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
        let score = Score {
            value: 57.64,
            deviation: Some(0.43),
            interval: Some((55.1, 60.25)),
            blind: Some(39.2),
            mark: Mark::Best,
        };
        let tied = Score { value: 57.0, mark: Mark::Tied, ..Score::default() };
        Table {
            name: "t".into(),
            caption: "A & b".into(),
            head: vec!["method".into(), "n".into(), "all".into()],
            rows: vec![
                vec!["layer_norm".into(), Entry::Count(1_234_567), Entry::Score(score)],
                vec!["a|b, \"c\"".into(), Entry::Real(0.306_6, 2), Entry::Score(tied)],
                vec!["<x>".into(), Entry::Empty, Entry::Empty],
            ],
        }
    }

    #[test]
    fn markdown_aligns_numbers_and_marks_the_best() {
        let text = table().markdown();
        assert!(text.contains("| method | n | all |\n| --- | ---: | ---: |\n"), "{text}");
        let best = "| layer_norm | 1,234,567 | **57.6** ± 0.4 [55.1, 60.2]; blind 39.2 |";
        assert!(text.contains(best), "{text}");
        assert!(text.contains("| a\\|b, \"c\" | 0.31 | 57.0 ≈ |"), "{text}");
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
        assert_eq!(lines[0], "method,n,all,all deviation,all low,all high,all blind,all mark");
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
