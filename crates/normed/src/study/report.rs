//! The report of a study: tables in three formats, plots, and one page with all of them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::Experiment;
use super::findings::GroupFinding;
use super::group_scores::GroupScores;
use super::html::escape;
use super::html_page::render_page;
use super::names::heading;
use super::plots::{NORMS, plot_group};
use super::results::{ExperimentResults, Results};
use super::table::Table;
use super::tables::Tables;
use super::wrong_answers::render_examples;
use crate::build::FULL_VERSION;
use crate::digits::group_digits;
use crate::files::write_atomically;
use crate::plot::{self, Figure};
use crate::train::utc_now;
use crate::{Error, Result};

/// Explains the marks of a table of scores.
const LEGEND: &str = "<p class=\"soft\">Bold: the highest score, significantly different from every other \
    (p &lt; 0.05, Holm). ≈: shares the first place, since there is no significant difference. Intervals and tests cover the choice of questions; ± is the standard \
    deviation over seeds. Shuffled: the score with the images exchanged between questions, which shows \
    how much is answered without looking. Majority answer: the score of the best single answer to every \
    question, chosen from the training split.</p>\n";

/// Explains the plots of the norms.
const NORMS_NOTE: &str = "<p class=\"soft\">Relative change of the gains: how far tuning moved the gains (weights) of a \
    block's LayerNorms, in percent of their size; the Euclidean norm of the change divided by that of the gains before, \
    the mean over the block's norms, of the first seed.</p>\n";

/// Writes the tables, the plots and the page of a study into its output directory, and returns the path of
/// the page and what it says first. `threads` is the number of threads of each run.
///
/// # Errors
///
/// If a data set cannot be read, predictions do not match between methods, or a file cannot be written.
pub fn write_report(results: &Results<'_>, threads: usize) -> Result<WrittenReport> {
    let study = results.study;
    let mut report = Report { output: &study.output, sections: Vec::new(), findings: Vec::new() };
    let tables = Tables::new(results)?;
    for group in &results.groups() {
        report.add_group(results, &tables, group)?;
    }
    report.add_generalization(results, &tables)?;
    report.add_runs(results, &tables, threads)?;

    let path = study.output.join("report.html");
    let title = study.title.as_deref().unwrap_or(&study.name);
    let html = render_page(title, &lead(results, &report.findings), &report.sections);
    write_atomically(&path, |out| out.write_all(html.as_bytes()))?;
    let findings = report.findings.iter().map(|(heading, finding)| {
        let mut sentences = vec![finding.ranking.as_str()];
        sentences.extend(finding.warnings.iter().map(String::as_str));
        format!("{heading}: {}", sentences.join(" "))
    });
    Ok(WrittenReport { path, findings: findings.collect() })
}

/// A report that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenReport {
    /// The page.
    pub path: PathBuf,
    /// What was found with each model and data set, in sentences.
    pub findings: Vec<String>,
}

/// A report under construction.
struct Report<'r> {
    output: &'r Path,
    /// The headings and the HTML of the sections.
    sections: Vec<(String, String)>,
    /// The headings and the findings of models and data sets.
    findings: Vec<(String, GroupFinding)>,
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
        let heading = heading(&experiment.data_set, &experiment.model);
        let finding = tables.describe_group(&scores)?;
        let mut html = self.add_table(&tables.costs_and_scores(&scores))?;
        html += LEGEND;
        html += &format!(
            "<details><summary>What each method learned</summary>\n{}</details>\n",
            render_methods(&finding)
        );
        if let Some(table) = tables.data_efficiency(group)? {
            html += &self.add_table(&table)?;
        }
        html += "<div class=\"plots\">\n";
        let figures = plot_group(results, group, &scores)?;
        for figure in &figures {
            html += &self.add_figure(figure)?;
        }
        html += "</div>\n";
        if figures.iter().any(|figure| figure.name.starts_with(NORMS)) {
            html += NORMS_NOTE;
        }
        html += "<h3>Example answers</h3>\n";
        html += &render_examples(results.study, group)?;
        let comparisons = self.add_table(&tables.comparisons(&scores))?;
        html += &format!("<details><summary>Significance tests</summary>{comparisons}</details>\n");
        self.findings.push((heading.clone(), finding));
        self.sections.push((heading, html));
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
    fn add_runs(
        &mut self,
        results: &Results<'_>,
        tables: &Tables<'_>,
        threads: usize,
    ) -> Result<()> {
        let mut html = render_facts(results, tables, threads);
        if let Some(table) = tables.learning_rates() {
            html += &self.add_table(&table)?;
        }
        html += &self.add_table(&tables.runs())?;
        self.sections.push(("Runs".to_owned(), html));
        Ok(())
    }

    /// Writes the files of a table, and returns its HTML.
    fn add_table(&self, table: &Table) -> Result<String> {
        let shown = table.to_shown();
        for (extension, text) in
            [("md", shown.markdown()), ("tex", shown.latex()), ("csv", table.csv())]
        {
            self.write_file("tables", &table.name, extension, text.as_bytes())?;
        }
        Ok(shown.html())
    }

    /// Writes the files of a plot, and returns its HTML.
    fn add_figure(&self, figure: &Figure) -> Result<String> {
        let failed =
            |e: plot::Error| Error::failed(&figure.name, format!("it cannot be drawn: {e}"));
        let svg = figure.to_svg().map_err(failed)?;
        let png = figure.to_png().map_err(failed)?;
        self.write_file("plots", &figure.name, "png", &png)?;
        self.write_file("plots", &figure.name, "svg", svg.as_bytes())?;
        let label = escape(&figure.alternative_text());
        let svg = svg.replacen("<svg ", &format!("<svg role=\"img\" aria-label=\"{label}\" "), 1);
        Ok(format!("<figure><figcaption>{}</figcaption>{svg}</figure>\n", escape(&figure.title)))
    }

    fn write_file(&self, folder: &str, name: &str, extension: &str, bytes: &[u8]) -> Result<()> {
        let folder = self.output.join(folder);
        fs::create_dir_all(&folder).map_err(|e| Error::io(&folder, &e))?;
        let path = folder.join(format!("{name}.{extension}"));
        write_atomically(&path, |out| out.write_all(bytes))
    }
}

/// What stands below the title of the page: authors, findings and warnings, then what the study is about.
fn lead(results: &Results<'_>, findings: &[(String, GroupFinding)]) -> String {
    let study = results.study;
    let mut html = String::new();
    if !study.authors.is_empty() {
        html += &format!("<p class=\"authors\">{}</p>\n", escape(&study.authors.join(", ")));
    }
    for (heading, finding) in findings {
        let heading = match findings {
            [_] => String::new(),
            _ => format!("<b>{}:</b> ", escape(heading)),
        };
        html += &format!("<p class=\"finding\">{heading}{}</p>\n", escape(&finding.ranking));
    }
    let warnings: BTreeSet<&String> = findings.iter().flat_map(|(_, f)| &f.warnings).collect();
    for warning in warnings {
        html += &format!("<p class=\"warning\"><b>Caution:</b> {}</p>\n", escape(warning));
    }
    let count = |names: BTreeSet<&str>| names.len();
    let methods = count(study.experiments.iter().map(|e| e.method.as_str()).collect());
    let data_sets = count(study.experiments.iter().map(|e| e.data_set.as_str()).collect());
    let seeds: Vec<String> = study.seeds.iter().map(u64::to_string).collect();
    html += &format!(
        "<p>{methods} method{} on {data_sets} data set{}, seed{} {}. Base model{}: {}. Made by normed \
         {FULL_VERSION}, {} UTC; <a href=\"#details\">all details</a>.</p>\n",
        plural(methods),
        plural(data_sets),
        plural(seeds.len()),
        seeds.join(", "),
        plural(base_models(results).len()),
        escape(&base_models(results).into_iter().collect::<Vec<_>>().join(", ")),
        utc_now()[..16].replace('T', " "),
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

/// The names of the base models, without their places.
fn base_models(results: &Results<'_>) -> BTreeSet<String> {
    results.study.experiments.iter().filter_map(|exp| exp.recipe.base.name()).collect()
}

/// What each method learned, as a list.
fn render_methods(finding: &GroupFinding) -> String {
    let item = |(_, text): &(String, String)| format!("<li>{}</li>\n", escape(text));
    format!("<ul>\n{}</ul>\n", finding.methods.iter().map(item).collect::<String>())
}

/// What the study was made of: models, data, settings and machine.
fn render_facts(results: &Results<'_>, tables: &Tables<'_>, threads: usize) -> String {
    let study = results.study;
    let mut facts: Vec<(String, String)> = Vec::new();
    let models = base_models(results).into_iter().collect::<Vec<_>>().join(", ");
    facts.push(("Base models".to_owned(), models));
    let mut data_sets: Vec<&str> = Vec::new();
    for experiment in &study.experiments {
        if !data_sets.contains(&experiment.data_set.as_str()) {
            data_sets.push(&experiment.data_set);
        }
    }
    for name in data_sets {
        let runs = results.experiments.iter().filter(|one| one.experiment.data_set == name);
        let made = runs.flat_map(|one| &one.runs).find_map(|run| run.outcome.provenance.as_ref());
        let mut text = tables.split_sizes(name).map_or(String::new(), |sizes| {
            let [train, validate, test] = sizes.map(group_digits);
            format!("{train} rows to train, {validate} to validate, {test} to test")
        });
        for (file, hash) in made.iter().flat_map(|made| &made.data_files) {
            text += &format!("; {file} (SHA-256 {hash})");
        }
        facts.push((format!("Data: {name}"), text));
    }
    let of = |value: fn(&Experiment) -> String| {
        let values: BTreeSet<String> = study.experiments.iter().map(value).collect();
        values.into_iter().collect::<Vec<_>>().join(", ")
    };
    facts.push(("Number format".to_owned(), of(|exp| exp.recipe.precision.name().to_owned())));
    facts.push(("Epochs".to_owned(), of(|exp| exp.recipe.train.epochs.to_string())));
    let made = || results.runs().filter_map(|run| run.outcome.provenance.as_ref());
    let unique = |values: BTreeSet<&str>| values.into_iter().collect::<Vec<_>>().join(", ");
    let processors = unique(made().map(|made| made.processor.as_str()).collect());
    if !processors.is_empty() {
        let at_a_time =
            if study.jobs > 1 { format!(", {} runs at a time", study.jobs) } else { String::new() };
        let text = format!("{processors}; {threads} thread{} per run{at_a_time}", plural(threads));
        facts.push(("Processor".to_owned(), text));
        let dates: BTreeSet<&str> = made().filter_map(|made| made.began.get(..10)).collect();
        let ends = [dates.first(), dates.last()].map(|date| date.copied().unwrap_or_default());
        let dates = if ends[0] == ends[1] { ends[0].to_owned() } else { ends.join(" to ") };
        facts.push(("Runs made".to_owned(), dates));
        facts.push(("By".to_owned(), {
            let versions = unique(made().map(|made| made.version.as_str()).collect());
            format!("normed {versions}")
        }));
    }
    let row = |(name, text): (String, String)| {
        format!("<dt>{}</dt><dd>{}</dd>\n", escape(&name), escape(&text))
    };
    let rows: String = facts.into_iter().filter(|(_, text)| !text.is_empty()).map(row).collect();
    format!("<dl id=\"details\">\n{rows}</dl>\n")
}

fn plural(n: usize) -> &'static str {
    if n == 1 { "" } else { "s" }
}
