//! Answers rows of standard input as they come: one row in, one row out.

use std::io::{BufRead, Read, Write, stdin, stdout};
use std::process::ExitCode;

use normed::metrics::UnscoredPrediction;
use normed::{Error, ErrorKind, Result};
use serde_json::{Value, json};

use crate::args::AnswerArgs;
use crate::output::reserve_stdout;
use crate::row_answers::{RowAnswers, RowOptions, RowSettings};

/// The longest row in bytes.
const LONGEST: usize = 16 << 20;

/// Answers each row of standard input at once, until its end or until nobody reads the answers. A row that cannot be
/// answered gives a row with its error.
pub fn answer(args: &AnswerArgs) -> Result<ExitCode> {
    if args.split.is_some() {
        return Err(Error::invalid("--split", "has no effect on rows of standard input")
            .with_remedy("leave it out"));
    }
    let settings = RowSettings::find(RowOptions {
        model: &args.model,
        task: args.task,
        prompt: args.prompt.as_ref(),
        generation: &args.generation,
        image: &args.image,
        image_root: args.image_root.clone().unwrap_or_default(),
    })?;
    reserve_stdout();
    let answers = settings.open()?;
    let (mut rows, mut number) = (stdin().lock(), 0);
    while let Some(row) = read_row(&mut rows).map_err(|e| Error::failed("standard input", e))? {
        if row.as_ref().is_ok_and(|row| row.iter().all(u8::is_ascii_whitespace)) {
            continue;
        }
        number += 1;
        let line = match answer_row(&answers, &row, number) {
            Ok(answer) => json!(answer),
            Err(error) if error.kind() == ErrorKind::Bug => return Err(error),
            Err(error) => error_row(&row, number, &error),
        };
        let mut out = stdout().lock();
        match writeln!(out, "{line}").and_then(|()| out.flush()) {
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => break,
            written => written.map_err(|error| Error::failed("standard output", error))?,
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The bytes of a row, or why there are none.
type Row = Result<Vec<u8>, String>;

/// The next row; `None` at the end. Of a row that is too long the rest is skipped.
fn read_row(rows: &mut impl BufRead) -> std::io::Result<Option<Row>> {
    let mut row = Vec::new();
    let most = LONGEST as u64 + 1;
    if rows.by_ref().take(most).read_until(b'\n', &mut row)? == 0 {
        return Ok(None);
    }
    if row.ends_with(b"\n") || row.len() <= LONGEST {
        return Ok(Some(Ok(row)));
    }
    loop {
        row.clear();
        let read = rows.by_ref().take(most).read_until(b'\n', &mut row)?;
        if read == 0 || row.ends_with(b"\n") {
            return Ok(Some(Err(format!("is longer than {} MiB", LONGEST >> 20))));
        }
    }
}

fn answer_row(answers: &RowAnswers, row: &Row, number: usize) -> Result<UnscoredPrediction> {
    let invalid = |cause: &str| Error::invalid(format!("row {number}"), cause);
    let row = row.as_ref().map_err(|cause| invalid(cause))?;
    let row = std::str::from_utf8(row).map_err(|_| invalid("is not valid UTF-8"))?;
    let answer = answers.answer(row.trim(), number)?;
    answer.check_finite().map_err(|cause| Error::failed(format!("row {number}"), cause))?;
    Ok(answer)
}

/// The row that says why a row has no answer, with the row's id if that can be read.
fn error_row(row: &Row, number: usize, error: &Error) -> Value {
    let row: Option<Value> = row.as_ref().ok().and_then(|row| serde_json::from_slice(row).ok());
    let id = match row.as_ref().and_then(|row| row.get("id")) {
        Some(Value::String(id)) => id.clone(),
        Some(Value::Number(id)) => id.to_string(),
        _ => number.to_string(),
    };
    json!({ "id": id, "error": format!("{}: {}", error.place(), error.cause()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_is_too_long_is_skipped_whole() {
        let long = vec![b'a'; 2 * LONGEST + 7];
        let text = [b"1\n", &long[..], b"\n2\n", &long[..LONGEST], b"\n\n3"].concat();
        let mut rows = text.as_slice();
        let mut lengths = Vec::new();
        while let Some(row) = read_row(&mut rows).unwrap() {
            lengths.push(row.map(|row| row.len()).map_err(|cause| cause.contains("16 MiB")));
        }
        assert_eq!(lengths, [Ok(2), Err(true), Ok(2), Ok(LONGEST + 1), Ok(1), Ok(1)]);
    }
}
