//! Example predictions for the report: wrong answers, or reports.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::html::escape;
use super::results::ExperimentResults;
use super::thumbnail::thumbnail_url;
use super::{ReportImages, Study};
use crate::Result;
use crate::data::{Example, ImageSource};
use crate::metrics::{NormalizedAnswer, Prediction};

/// How many examples are shown on which the methods differ.
const SHOWN_DIFFERENT: usize = 8;

/// How many examples are shown that all methods answer wrongly.
const SHOWN_ALL_WRONG: usize = 4;

/// An example with the answers of all methods.
struct ShownExample<'r> {
    example: &'r Prediction,
    answers: Vec<MethodAnswer<'r>>,
}

/// The answer of one method.
struct MethodAnswer<'r> {
    method: &'r str,
    text: &'r str,
    /// Whether it is correct; `None` for reports.
    is_correct: Option<bool>,
}

/// Renders examples of a group's test split that a method answers wrongly, or examples of its reports.
pub fn render_examples(study: &Study, group: &[&ExperimentResults<'_>]) -> Result<String> {
    let examples = choose_examples(group);
    let images = load_images(study, &group[0].experiment.data_set, &examples)?;
    let mut html = String::new();
    if images.len() < examples.len() {
        html += "<p class=\"soft\">The images of the data set are not included.</p>\n";
    }
    html += "<div class=\"examples\">\n";
    for example in &examples {
        let urls = images.get(&example.example.id);
        html += &render_example(example, urls.map_or(&[], Vec::as_slice));
    }
    Ok(html + "</div>\n")
}

/// The thumbnails of the examples whose images may be shown, as data URLs by id.
fn load_images(
    study: &Study,
    data_set: &str,
    examples: &[ShownExample<'_>],
) -> Result<BTreeMap<String, Vec<String>>> {
    let mut urls = BTreeMap::new();
    if study.report_images == ReportImages::None {
        return Ok(urls);
    }
    let shown: BTreeSet<&str> = examples.iter().map(|e| e.example.id.as_str()).collect();
    let dataset = study.test_data(data_set)?.open()?.dataset;
    for i in 0..dataset.len() {
        let Example { id, images, .. } = dataset.get(i)?;
        let is_drawn = |image: &ImageSource| matches!(image, ImageSource::Drawn(_));
        let may_be_shown = study.report_images == ReportImages::All || images.iter().all(is_drawn);
        if may_be_shown && shown.contains(id.as_str()) {
            urls.insert(id, images.iter().map(thumbnail_url).collect::<Result<_>>()?);
        }
    }
    Ok(urls)
}

fn render_example(ShownExample { example, answers }: &ShownExample<'_>, urls: &[String]) -> String {
    let mut html = String::from("<article>");
    // Writing to a string cannot fail.
    for (i, url) in urls.iter().enumerate() {
        let number =
            if urls.len() > 1 { format!(" {} of {}", i + 1, urls.len()) } else { String::new() };
        let what = if example.is_report() { "of the study" } else { "that the question is about" };
        let _ = write!(html, "<img alt=\"Image{number} {what}\" src=\"{url}\">");
    }
    let _ = write!(
        html,
        "<div><p class=\"q\">{}</p><p>true answer: <b>{}</b></p><ul>",
        escape(&example.question),
        escape(&example.target.text)
    );
    for MethodAnswer { method, text, is_correct } in answers {
        let (class, sign) = match is_correct {
            Some(true) => ("right", "✓"),
            Some(false) => ("wrong", "✗"),
            None => ("", ""),
        };
        let _ = write!(
            html,
            "<li class=\"{class}\"><span>{sign}</span> {}: {}</li>",
            escape(method),
            escape(text)
        );
    }
    html + "</ul></div></article>\n"
}

/// Chooses examples from the first run of every method, at even distances over the test split, and no two
/// of one image.
fn choose_examples<'r>(group: &[&'r ExperimentResults<'_>]) -> Vec<ShownExample<'r>> {
    let runs: Vec<(&str, &[Prediction])> = group
        .iter()
        .filter_map(|results| {
            let run = results.runs.first()?;
            Some((results.experiment.method.as_str(), &run.own_test.predictions[..]))
        })
        .collect();
    let Some((_, first)) = runs.first() else { return Vec::new() };
    let by_id: Vec<BTreeMap<&str, &Prediction>> = runs
        .iter()
        .map(|(_, predictions)| predictions.iter().map(|p| (p.id.as_str(), p)).collect())
        .collect();
    let (mut different, mut all_wrong) = (Vec::new(), Vec::new());
    for example in *first {
        let target = NormalizedAnswer::new(&example.target.text);
        let answers = runs.iter().zip(&by_id).filter_map(|((method, _), predictions)| {
            let text = predictions.get(example.id.as_str())?.prediction.as_str();
            let is_correct = NormalizedAnswer::new(text).exact_match(&target) == 1.0;
            let is_correct = (!example.is_report()).then_some(is_correct);
            Some(MethodAnswer { method, text, is_correct })
        });
        let answers: Vec<_> = answers.collect();
        match answers.iter().filter(|answer| answer.is_correct == Some(true)).count() {
            0 => all_wrong.push(ShownExample { example, answers }),
            n if n < answers.len() => different.push(ShownExample { example, answers }),
            _ => {}
        }
    }
    let mut images = BTreeSet::new();
    let mut pick = |list: Vec<ShownExample<'r>>, count: usize| {
        let step = (list.len() / count).max(1);
        let picked: Vec<_> = list
            .into_iter()
            .step_by(step)
            .filter(|shown| images.insert(shown.example.cluster.as_str()))
            .take(count)
            .collect();
        picked
    };
    let mut examples = pick(different, SHOWN_DIFFERENT);
    examples.extend(pick(all_wrong, SHOWN_ALL_WRONG));
    examples
}
