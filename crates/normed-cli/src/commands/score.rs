//! `normed score`.

use std::path::Path;
use std::process::ExitCode;

use normed::files::{Inputs, write_atomically};
use normed::metrics::{
    Caption, CaptionMetric, CaptionScores, Interval, MeteorData, Protocol, ProtocolScores,
    read_answers, read_captions, score_calibration, score_captions, score_groups, score_protocols,
};
use normed::{Error, Result};
use serde_json::json;

use crate::args::{ExportTo, Protocols, ScoreArgs};
use crate::format::{self, counted, grouped, table};
use crate::output::{print_done, print_out, print_text};

/// The heading of the majority answer. A file has no training split, from which a run takes it.
const MAJORITY: &str = "majority answer of this file";

/// Scores the answers or reports of a file.
pub fn score(args: &ScoreArgs) -> Result<ExitCode> {
    if args.export.is_some() {
        return reports(args);
    }
    let protocols = match args.protocol {
        Protocols::All => Protocol::ALL.to_vec(),
        Protocols::Strict => vec![Protocol::Strict],
        Protocols::Miss => vec![Protocol::Miss],
        Protocols::LlavaMed => vec![Protocol::LlavaMed],
        Protocols::Vqa => vec![Protocol::Vqa],
        Protocols::Coco => return reports(args),
    };
    let answers = read_answers(&args.file)?;
    let scores = score_protocols(&answers, &protocols);
    let groups = score_groups(&answers, &protocols);
    let calibration = score_calibration(&answers);
    if args.json {
        print_out(json!({
            "n": answers.len(), "protocols": scores, "groups": groups, "calibration": calibration,
        }));
        return Ok(ExitCode::SUCCESS);
    }
    print_text(protocols_table(&scores));
    if let Some(found) = &calibration {
        let head = ["calibration", "score", "95 % interval", MAJORITY, "n"];
        print_text(format_args!("\n{}", table(&head, &format::calibration(found, 0), 1, 1)));
    }
    for group in &groups {
        print_text(format_args!("\n{} {}: {}", group.by, group.value, grouped(group.n)));
        print_text(protocols_table(&group.scores));
    }
    Ok(ExitCode::SUCCESS)
}

fn reports(args: &ScoreArgs) -> Result<ExitCode> {
    if let Some(out) = &args.out {
        let mut inputs = Inputs::default();
        inputs.add("the file of reports", &args.file);
        inputs.check_file(out, args.overwrite.force)?;
    }
    let captions = read_captions(&args.file)?;
    if let (Some(ExportTo::Radeval), Some(out)) = (args.export, &args.out) {
        return radeval(&captions, out);
    }
    let meteor = args.meteor_data.as_deref().map(MeteorData::open).transpose()?;
    let scores = score_captions(&captions, meteor.as_ref())?;
    if args.json {
        let CaptionScores { n, clusters, scores, .. } = &scores;
        print_out(json!({ "protocol": "coco", "n": n, "clusters": clusters, "scores": scores }));
        return Ok(ExitCode::SUCCESS);
    }
    let mut rows = Vec::new();
    for (metric, score) in &scores.scores {
        // CIDEr is not a fraction of 1.
        let times = if *metric == CaptionMetric::Cider { 1.0 } else { 100.0 };
        let (value, interval) = (number(times * score.value), between(score.interval, times));
        rows.push(vec![metric.name().to_owned(), value, interval]);
    }
    print_text(table(&["metric", "score", "95 % interval"], &rows, 1, 1));
    Ok(ExitCode::SUCCESS)
}

/// Writes reports as RadEval reads them: JSON Lines with `ref` and `hyp`. It takes one reference per report.
fn radeval(captions: &[Caption], out: &Path) -> Result<ExitCode> {
    let mut lines = String::new();
    for caption in captions {
        let [reference] = &caption.references[..] else {
            let cause =
                format!("has {} references, and RadEval takes one", caption.references.len());
            return Err(Error::invalid(format!("`{}`", caption.id), cause)
                .with_remedy("choose one reference per report"));
        };
        let line = json!({ "id": caption.id, "ref": reference, "hyp": caption.prediction });
        lines += &format!("{line}\n");
    }
    write_atomically(out, |file| file.write_all(lines.as_bytes()))?;
    let n = counted(captions.len(), "report");
    print_done(out, format_args!("wrote {n} for RadEval to {}", out.display()));
    Ok(ExitCode::SUCCESS)
}

fn protocols_table(scores: &[ProtocolScores]) -> String {
    let head = ["protocol", "metric", "score", "95 % interval", MAJORITY, "reference answers", "n"];
    let mut rows = Vec::new();
    for of in scores {
        rows.extend(of.scores.iter().map(|score| {
            vec![
                of.protocol.name().to_owned(),
                score.name.clone(),
                number(100.0 * score.value),
                between(score.interval, 100.0),
                number(100.0 * score.majority.value),
                number(100.0 * score.ceiling),
                grouped(score.n),
            ]
        }));
    }
    table(&head, &rows, 2, 2)
}

fn number(value: f64) -> String {
    format!("{value:.1}")
}

fn between(interval: Option<Interval>, times: f64) -> String {
    interval.map_or("-".to_owned(), |Interval { lo, hi }| {
        format!("{} to {}", number(times * lo), number(times * hi))
    })
}
