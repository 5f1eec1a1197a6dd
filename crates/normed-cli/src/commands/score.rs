//! `normed score`.

use std::process::ExitCode;

use normed::Result;
use normed::metrics::{
    CaptionMetric, CaptionScores, Interval, MeteorData, Protocol, ProtocolScores, read_answers,
    read_captions, score_captions, score_groups, score_protocols,
};
use serde_json::json;

use crate::args::{Rules, ScoreArgs};
use crate::format::{columns, grouped};
use crate::output::say;

/// Scores what is in a file.
pub fn score(args: &ScoreArgs) -> Result<ExitCode> {
    let protocols = match args.protocol {
        Rules::All => Protocol::ALL.to_vec(),
        Rules::Strict => vec![Protocol::Strict],
        Rules::Miss => vec![Protocol::Miss],
        Rules::LlavaMed => vec![Protocol::LlavaMed],
        Rules::Vqa => vec![Protocol::Vqa],
        Rules::Coco => return reports(args),
    };
    let answers = read_answers(&args.file)?;
    let scores = score_protocols(&answers, &protocols);
    let groups = score_groups(&answers, &protocols);
    if args.json {
        say(json!({ "n": answers.len(), "protocols": scores, "groups": groups }));
        return Ok(ExitCode::SUCCESS);
    }
    say(table(&scores));
    for group in &groups {
        say(format_args!("\n{} {}: {}", group.by, group.value, grouped(group.n)));
        say(table(&group.scores));
    }
    Ok(ExitCode::SUCCESS)
}

fn reports(args: &ScoreArgs) -> Result<ExitCode> {
    let meteor = args.meteor_data.as_deref().map(MeteorData::open).transpose()?;
    let scores = score_captions(&read_captions(&args.file)?, meteor.as_ref())?;
    if args.json {
        let CaptionScores { n, clusters, scores, .. } = &scores;
        say(json!({ "protocol": "coco", "n": n, "clusters": clusters, "scores": scores }));
        return Ok(ExitCode::SUCCESS);
    }
    let mut rows = vec![head(&["metric", "score", "95 % interval"])];
    for (metric, score) in &scores.scores {
        // CIDEr is not a fraction of 1.
        let times = if *metric == CaptionMetric::Cider { 1.0 } else { 100.0 };
        let (value, interval) = (number(times * score.value), between(score.interval, times));
        rows.push(vec![metric.name().to_owned(), value, interval]);
    }
    say(columns(&rows, 1));
    Ok(ExitCode::SUCCESS)
}

fn table(scores: &[ProtocolScores]) -> String {
    let mut rows = vec![head(&[
        "protocol",
        "metric",
        "score",
        "95 % interval",
        "best constant",
        "true answers",
        "n",
    ])];
    for of in scores {
        rows.extend(of.scores.iter().map(|score| {
            vec![
                of.protocol.name().to_owned(),
                score.name.clone(),
                number(100.0 * score.value),
                between(score.interval, 100.0),
                number(100.0 * score.constant.value),
                number(100.0 * score.ceiling),
                grouped(score.n),
            ]
        }));
    }
    columns(&rows, 2)
}

fn head(names: &[&str]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

fn number(value: f64) -> String {
    format!("{value:.1}")
}

fn between(interval: Option<Interval>, times: f64) -> String {
    interval.map_or("-".to_owned(), |Interval { lo, hi }| {
        format!("{} to {}", number(times * lo), number(times * hi))
    })
}
