//! Wrong answers to look at, or reports.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::html::escaped;
use super::picture::thumbnail;
use super::results::CellResults;
use super::{Pictures, Study};
use crate::Result;
use crate::data::{Example, ImageSource};
use crate::metrics::NormalizedAnswer;
use crate::metrics::Prediction;

/// How many of those where methods differ are shown, and how many that all got wrong.
const SHOWN: (usize, usize) = (8, 4);

/// A question, and what the methods say.
struct Failure<'r> {
    question: &'r Prediction,
    /// Method, answer, and whether it is right; none of reports, which are neither.
    answers: Vec<(&'r str, &'r str, Option<bool>)>,
}

/// Questions of a group's test split that some method got wrong, or some of its reports, as a page shows
/// them.
pub fn section(study: &Study, group: &[&CellResults<'_>]) -> Result<String> {
    let failures = chosen(group);
    let wanted: BTreeSet<&str> = failures.iter().map(|f| f.question.id.as_str()).collect();
    let pictures = match study.pictures {
        Pictures::None => BTreeMap::new(),
        Pictures::Drawn | Pictures::All => {
            let dataset = study.test_data(&group[0].cell.data_set)?.open()?.dataset;
            let mut pictures = BTreeMap::new();
            for i in 0..dataset.len() {
                let Example { id, images, .. } = dataset.get(i)?;
                let drawn = |image: &ImageSource| matches!(image, ImageSource::Drawn(_));
                let shown = study.pictures == Pictures::All || images.iter().all(drawn);
                if shown && wanted.contains(id.as_str()) {
                    let images = images.iter().map(thumbnail).collect::<Result<Vec<_>>>()?;
                    pictures.insert(id, images);
                }
            }
            pictures
        }
    };
    let mut html = String::new();
    if pictures.len() < failures.len() {
        html += "<p class=\"soft\">Pictures of the data set are left out.</p>\n";
    }
    html += "<div class=\"failures\">\n";
    for Failure { question, answers } in &failures {
        html += "<article>";
        for url in pictures.get(&question.id).into_iter().flatten() {
            let _ = write!(html, "<img alt=\"\" src=\"{url}\">");
        }
        let _ = write!(
            html,
            "<div><p class=\"q\">{}</p><p>truth: <b>{}</b></p><ul>",
            escaped(&question.question),
            escaped(&question.target)
        );
        for (method, answer, right) in answers {
            let (class, sign) = match right {
                Some(true) => ("right", "✓"),
                Some(false) => ("wrong", "✗"),
                None => ("", ""),
            };
            let _ = write!(
                html,
                "<li class=\"{class}\"><span>{sign}</span> {}: {}</li>",
                escaped(method),
                escaped(answer)
            );
        }
        html += "</ul></div></article>\n";
    }
    Ok(html + "</div>\n")
}

/// Of the first run of every method, spread evenly over the test split, an image at most once.
fn chosen<'r>(group: &[&'r CellResults<'_>]) -> Vec<Failure<'r>> {
    let runs: Vec<(&str, &[Prediction])> = group
        .iter()
        .filter_map(|cell| Some((cell.cell.method.as_str(), &cell.runs.first()?.own.seeing[..])))
        .collect();
    let Some((_, first)) = runs.first() else { return Vec::new() };
    let by_id: Vec<BTreeMap<&str, &Prediction>> = runs
        .iter()
        .map(|(_, predictions)| predictions.iter().map(|p| (p.id.as_str(), p)).collect())
        .collect();
    let (mut differ, mut all_wrong) = (Vec::new(), Vec::new());
    for question in *first {
        let target = NormalizedAnswer::new(&question.target);
        let answers = runs.iter().zip(&by_id).filter_map(|((method, _), answers)| {
            let answer = answers.get(question.id.as_str())?.prediction.as_str();
            let right = NormalizedAnswer::new(answer).exact_match(&target) == 1.0;
            Some((*method, answer, (!question.is_report()).then_some(right)))
        });
        let answers: Vec<_> = answers.collect();
        match answers.iter().filter(|(.., right)| *right == Some(true)).count() {
            0 => all_wrong.push(Failure { question, answers }),
            n if n < answers.len() => differ.push(Failure { question, answers }),
            _ => {}
        }
    }
    let mut images = BTreeSet::new();
    let mut some = |list: Vec<Failure<'r>>, count: usize| {
        let step = (list.len() / count).max(1);
        let fresh: Vec<_> = list
            .into_iter()
            .step_by(step)
            .filter(|f| images.insert(f.question.cluster.as_str()))
            .take(count)
            .collect();
        fresh
    };
    let mut failures = some(differ, SHOWN.0);
    failures.extend(some(all_wrong, SHOWN.1));
    failures
}
