//! Everything that a study shows: tables in three formats, plots, and one page with all of it.

use std::fs;
use std::path::{Path, PathBuf};

use super::html::escaped;
use super::page::page;
use super::results::{CellResults, Results};
use super::table::Table;
use super::tables::{Tables, title};
use super::{Study, failures, figures};
use crate::files::write_atomically;
use crate::plot::{self, Figure};
use crate::{Error, Result};

/// Writes `tables/`, `plots/` and `report.html` into the study's output; where the report is.
pub fn write(results: &Results<'_>, threads: usize) -> Result<PathBuf> {
    let mut report = Report { output: &results.study.output, sections: Vec::new() };
    let tables = Tables::new(results)?;
    let groups = results.groups();
    for group in &groups {
        report.group(results, &tables, group)?;
    }
    let mut models: Vec<&str> = Vec::new();
    for group in &groups {
        let model = group[0].cell.model.as_str();
        if !models.contains(&model) {
            models.push(model);
        }
    }
    let mut generalisation = String::new();
    for model in models {
        if let Some(table) = tables.matrix(model)? {
            generalisation += &report.table(&table)?;
        }
    }
    if let Some(table) = tables.forgetting()? {
        generalisation += &report.table(&table)?;
    }
    if !generalisation.is_empty() {
        let lead = "<p>Every tuned model answers the test splits of data that it was not tuned to. A \
                    method that trains nothing shows what the base does as it came.</p>\n";
        report.sections.push(("Generalisation".to_owned(), lead.to_owned() + &generalisation));
    }
    let mut runs = String::new();
    if let Some(table) = tables.rates() {
        runs += &report.table(&table)?;
    }
    runs += &report.table(&tables.runs())?;
    report.sections.push(("Runs".to_owned(), runs));

    let path = results.study.output.join("report.html");
    let html = page(&results.study.name, &lead(results.study, threads), &report.sections);
    write_atomically(&path, |out| out.write_all(html.as_bytes()))?;
    Ok(path)
}

/// A report being written.
struct Report<'r> {
    output: &'r Path,
    /// Headings, and what stands below them.
    sections: Vec<(String, String)>,
}

impl Report<'_> {
    /// A section about one model and data set.
    fn group<'r>(
        &mut self,
        results: &Results<'r>,
        tables: &Tables<'r>,
        group: &[&'r CellResults<'r>],
    ) -> Result<()> {
        let cell = group[0].cell;
        let scoring = tables.own(group)?;
        let mut html = self.table(&tables.main(&scoring))?;
        html += "<p class=\"soft\">Bold: the highest, and told from every other. ≈: not distinguishable \
                 from the highest, or the highest and not distinguishable from all others. Intervals and \
                 tests are about the questions, with these seeds; what other seeds may change is what ± \
                 says. Blind: the images exchanged among the questions.</p>\n";
        if let Some(table) = tables.efficiency(group)? {
            html += &self.table(&table)?;
        }
        html += "<div class=\"plots\">\n";
        for figure in figures::of_group(results, group, &scoring)? {
            html += &self.figure(&figure)?;
        }
        html += "</div>\n<h3>Answers to look at</h3>\n";
        html += &failures::section(results.study, group)?;
        let duels = self.table(&tables.duels(&scoring))?;
        html += &format!("<details><summary>What the marks rest on</summary>{duels}</details>\n");
        self.sections.push((title(&cell.data_set, &cell.model), html));
        Ok(())
    }

    /// Writes a table's files; the table as a page shows it.
    fn table(&self, table: &Table) -> Result<String> {
        for (ending, text) in
            [("md", table.markdown()), ("tex", table.latex()), ("csv", table.csv())]
        {
            self.file("tables", &table.name, ending, text.as_bytes())?;
        }
        Ok(table.html())
    }

    /// Writes a plot's files; the plot as a page shows it.
    fn figure(&self, figure: &Figure) -> Result<String> {
        let wrong = |e: plot::Error| Error::failed(&figure.name, format!("cannot be drawn: {e}"));
        let svg = figure.to_svg().map_err(wrong)?;
        let png = figure.to_png().map_err(wrong)?;
        self.file("plots", &figure.name, "png", &png)?;
        self.file("plots", &figure.name, "svg", svg.as_bytes())?;
        Ok(format!("<figure><figcaption>{}</figcaption>{svg}</figure>\n", escaped(&figure.title)))
    }

    fn file(&self, directory: &str, name: &str, ending: &str, bytes: &[u8]) -> Result<()> {
        let directory = self.output.join(directory);
        fs::create_dir_all(&directory).map_err(|e| Error::io(&directory, &e))?;
        let path = directory.join(format!("{name}.{ending}"));
        write_atomically(&path, |out| out.write_all(bytes))
    }
}

/// What stands above all sections.
fn lead(study: &Study, threads: usize) -> String {
    let count = |mut names: Vec<&str>| {
        names.sort_unstable();
        names.dedup();
        names.len()
    };
    let methods = count(study.cells.iter().map(|cell| cell.method.as_str()).collect());
    let data_sets = count(study.cells.iter().map(|cell| cell.data_set.as_str()).collect());
    let seeds: Vec<String> = study.seeds.iter().map(u64::to_string).collect();
    let s = |n: usize| if n == 1 { "" } else { "s" };
    format!(
        "<p>{methods} method{} on {data_sets} data set{}, seed{} {}; every run on {threads} thread{}{}. \
         normed {}.</p>\n<p class=\"soft\">For research. Not a medical device.</p>\n",
        s(methods),
        s(data_sets),
        s(seeds.len()),
        seeds.join(", "),
        s(threads),
        if study.jobs > 1 { format!(", {} side by side", study.jobs) } else { String::new() },
        env!("CARGO_PKG_VERSION"),
    )
}
