//! The report of a study: tables in three formats, plots, and one page with all of them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::group_scores::GroupScores;
use super::html::escape;
use super::html_page::render_page;
use super::plots::plot_group;
use super::results::{ExperimentResults, Results};
use super::table::Table;
use super::tables::{Tables, heading};
use super::wrong_answers::render_examples;
use crate::build::FULL_VERSION;
use crate::files::write_atomically;
use crate::plot::{self, Figure};
use crate::{Error, Result};

/// Explains the marks of a table of scores.
const LEGEND: &str = "<p class=\"soft\">Bold: the highest score, significantly different from every other \
    (p &lt; 0.05, Holm). ≈: not significantly different from the highest, or the highest if another score is \
    not significantly different from it. Intervals and tests cover the choice of questions; ± is the standard \
    deviation over seeds. Shuffled: the score with the images exchanged between questions, which shows \
    how much is answered without looking. Majority answer: the score of the best single answer to every \
    question, chosen from the training split.</p>\n";

/// Writes the tables, the plots and the page of a study into its output directory, and returns the path of
/// the page. `threads` is the number of threads of each run.
///
/// # Errors
///
/// If a data set cannot be read, predictions do not match between methods, or a file cannot be written.
pub fn write_report(results: &Results<'_>, threads: usize) -> Result<PathBuf> {
    let mut report = Report { output: &results.study.output, sections: Vec::new() };
    let tables = Tables::new(results)?;
    for group in &results.groups() {
        report.add_group(results, &tables, group)?;
    }
    report.add_generalization(results, &tables)?;
    report.add_runs(&tables)?;

    let path = results.study.output.join("report.html");
    let html = render_page(&results.study.name, &summary(results, threads), &report.sections);
    write_atomically(&path, |out| out.write_all(html.as_bytes()))?;
    Ok(path)
}

/// A report under construction.
struct Report<'r> {
    output: &'r Path,
    /// The headings and the HTML of the sections.
    sections: Vec<(String, String)>,
}

impl Report<'_> {
    /// Adds the section of one model and data set.
    fn add_group<'r>(
        &mut self,
        results: &Results<'r>,
        tables: &Tables<'r>,
        group: &[&'r ExperimentResults<'r>],
    ) -> Result<()> {
        let experiment = group[0].experiment;
        let scores: GroupScores<'r> = tables.score_group(group)?;
        let mut html = self.add_table(&tables.costs_and_scores(&scores))?;
        html += LEGEND;
        if let Some(table) = tables.data_efficiency(group)? {
            html += &self.add_table(&table)?;
        }
        html += "<div class=\"plots\">\n";
        for figure in plot_group(results, group, &scores)? {
            html += &self.add_figure(&figure)?;
        }
        html += "</div>\n<h3>Example answers</h3>\n";
        html += &render_examples(results.study, group)?;
        let comparisons = self.add_table(&tables.comparisons(&scores))?;
        html += &format!("<details><summary>Significance tests</summary>{comparisons}</details>\n");
        self.sections.push((heading(&experiment.data_set, &experiment.model), html));
        Ok(())
    }

    /// Adds the section on tests on other data, if there are any.
    fn add_generalization<'r>(&mut self, results: &Results<'r>, tables: &Tables<'r>) -> Result<()> {
        let mut models: Vec<&str> = Vec::new();
        for group in &results.groups() {
            let model = group[0].experiment.model.as_str();
            if !models.contains(&model) {
                models.push(model);
            }
        }
        let mut html = String::new();
        for model in models {
            if let Some(table) = tables.generalization(model)? {
                html += &self.add_table(&table)?;
            }
        }
        if let Some(table) = tables.forgetting()? {
            html += &self.add_table(&table)?;
        }
        if !html.is_empty() {
            let lead = "<p>Every tuned model is tested on the test splits of data that it was not tuned on. A \
                        method that trains nothing shows the scores of the base model.</p>\n";
            self.sections.push(("Generalization".to_owned(), lead.to_owned() + &html));
        }
        Ok(())
    }

    /// Adds the section on learning rates and runs.
    fn add_runs(&mut self, tables: &Tables<'_>) -> Result<()> {
        let mut html = String::new();
        if let Some(table) = tables.learning_rates() {
            html += &self.add_table(&table)?;
        }
        html += &self.add_table(&tables.runs())?;
        self.sections.push(("Runs".to_owned(), html));
        Ok(())
    }

    /// Writes the files of a table, and returns its HTML.
    fn add_table(&self, table: &Table) -> Result<String> {
        for (extension, text) in
            [("md", table.markdown()), ("tex", table.latex()), ("csv", table.csv())]
        {
            self.write_file("tables", &table.name, extension, text.as_bytes())?;
        }
        Ok(table.html())
    }

    /// Writes the files of a plot, and returns its HTML.
    fn add_figure(&self, figure: &Figure) -> Result<String> {
        let failed =
            |e: plot::Error| Error::failed(&figure.name, format!("it cannot be drawn: {e}"));
        let svg = figure.to_svg().map_err(failed)?;
        let png = figure.to_png().map_err(failed)?;
        self.write_file("plots", &figure.name, "png", &png)?;
        self.write_file("plots", &figure.name, "svg", svg.as_bytes())?;
        Ok(format!("<figure><figcaption>{}</figcaption>{svg}</figure>\n", escape(&figure.title)))
    }

    fn write_file(&self, folder: &str, name: &str, extension: &str, bytes: &[u8]) -> Result<()> {
        let folder = self.output.join(folder);
        fs::create_dir_all(&folder).map_err(|e| Error::io(&folder, &e))?;
        let path = folder.join(format!("{name}.{extension}"));
        write_atomically(&path, |out| out.write_all(bytes))
    }
}

/// The paragraphs below the title of the page.
fn summary(results: &Results<'_>, threads: usize) -> String {
    let study = results.study;
    let count = |names: BTreeSet<&str>| names.len();
    let methods = count(study.experiments.iter().map(|e| e.method.as_str()).collect());
    let data_sets = count(study.experiments.iter().map(|e| e.data_set.as_str()).collect());
    let seeds: Vec<String> = study.seeds.iter().map(u64::to_string).collect();
    let s = |n: usize| if n == 1 { "" } else { "s" };
    let mut html = format!(
        "<p>{methods} method{} on {data_sets} data set{}, seed{} {}; {threads} thread{} per run{}. normed \
         {FULL_VERSION}.</p>\n",
        s(methods),
        s(data_sets),
        s(seeds.len()),
        seeds.join(", "),
        s(threads),
        if study.jobs > 1 { format!(", {} runs at a time", study.jobs) } else { String::new() },
    );
    let others = || results.runs().filter_map(|run| run.other_build.as_deref());
    if others().next().is_some() {
        let versions: BTreeSet<&str> = others().collect();
        let versions: Vec<&str> = versions.into_iter().collect();
        html += &format!(
            "<p>{} of {} reported runs were computed by other builds: normed {}. Their code differs from this \
             build's.</p>\n",
            others().count(),
            results.runs().count(),
            escape(&versions.join(", normed ")),
        );
    }
    html + "<p class=\"soft\">For research. Not a medical device.</p>\n"
}
