//! Whether the texts of a data set fit a model: what does not is refused or left out, and what is cut is counted,
//! before the first step.

use std::sync::Arc;

use rayon::prelude::*;

use super::rows::refuse;
use super::{Collator, Dataset, Example, OnBadExample, Subset, TextRule};
use crate::{Error, Result};

/// A data set whose texts fit a model.
pub struct FittedDataset {
    /// The examples that fit.
    pub dataset: Arc<dyn Dataset>,
    /// The rows that were left out: place and cause of each.
    pub skipped: Vec<String>,
    /// What the model does not read of the others, for the user.
    pub warnings: Vec<String>,
}

/// What the texts of a data set have to fit.
#[derive(Clone, Copy)]
pub struct TextFit<'a> {
    /// Makes batches for evaluations by the model.
    pub collator: &'a Collator,
    /// Largest number of tokens that are generated.
    pub max_new_tokens: usize,
    /// The examples for which text may be generated.
    pub generates_for: &'a (dyn Fn(&Example) -> bool + Sync),
    /// What to do with an example that does not fit.
    pub on_bad_example: OnBadExample,
}

/// What the model does not read of an example, and how much room it has for a generated text.
struct ExampleFit {
    name: String,
    is_question_cut: bool,
    is_report_cut: bool,
    /// Whether the answer has a word or a sign that is not in the model's vocabulary.
    is_unwritable: bool,
    /// Whether earlier turns are not read.
    lacks_history: bool,
    /// Tokens that can be generated; none if none are.
    room: Option<usize>,
}

impl TextFit<'_> {
    /// Tokenizes every example of `dataset`.
    ///
    /// # Errors
    ///
    /// If an example cannot be read or does not fit and is not to be left out, or if none is left.
    pub fn apply(&self, dataset: Arc<dyn Dataset>) -> Result<FittedDataset> {
        let fits: Vec<_> =
            (0..dataset.len()).into_par_iter().map(|i| self.measure(&dataset.get(i)?)).collect();
        let (mut kept, mut fitting, mut broken) = (Vec::new(), Vec::new(), Vec::<Error>::new());
        for (i, fit) in fits.into_iter().enumerate() {
            match fit {
                Ok(fit) => {
                    kept.push(i);
                    fitting.push(fit);
                }
                Err(error) => broken.push(error),
            }
        }
        if self.on_bad_example == OnBadExample::Stop && !broken.is_empty() {
            let row = |error: &Error| (error.place().to_owned(), error.cause().to_owned());
            let rows: Vec<_> = broken.iter().map(row).collect();
            return Err(if broken.len() == 1 { broken.remove(0) } else { refuse(rows) });
        }
        let row = |error: Error| format!("{}: {}", error.place(), error.cause());
        let mut skipped: Vec<String> = broken.into_iter().map(row).collect();
        if let Some(most) = self.check_room(&fitting)? {
            let lacks_room = |fit: &ExampleFit| fit.room.is_some_and(|room| room < most);
            let mut left = fitting.iter().map(|fit| !lacks_room(fit));
            kept.retain(|_| left.next() == Some(true));
            let (without, with) = fitting.into_iter().partition(lacks_room);
            let without: Vec<ExampleFit> = without;
            let cause = |fit: &ExampleFit| {
                format!(
                    "{}: its prompt leaves {} positions, and max_new_tokens is {most}",
                    fit.name,
                    fit.room.unwrap_or_default()
                )
            };
            skipped.extend(without.iter().map(cause));
            fitting = with;
        }
        if fitting.is_empty() {
            let first = skipped.first().map_or("there are no rows", String::as_str);
            let cause = format!("no row fits the model. The first: {first}");
            return Err(Error::invalid("data", cause));
        }
        let mut warnings = warnings(&fitting, self.collator.text_rule.max_lengths());
        warnings.extend(self.length_warning(&fitting));
        let dataset = match kept.len() == dataset.len() {
            true => dataset,
            false => Arc::new(Subset::new(dataset, kept)),
        };
        Ok(FittedDataset { dataset, skipped, warnings })
    }

    fn measure(&self, example: &Example) -> Result<ExampleFit> {
        let tokens = self.collator.tokenize(example)?;
        let room = match (self.generates_for)(example) {
            true => Some(self.collator.generation_room(example, &tokens)?),
            false => None,
        };
        let unknown = ["[UNK]", "<unk>"].map(|token| self.collator.tokenizer.id(token));
        let is_unknown = |id: &u32| unknown.contains(&Some(*id));
        let is_read = matches!(self.collator.text_rule, TextRule::Prompt(_));
        Ok(ExampleFit {
            name: example.name(),
            is_question_cut: tokens.question_cut > 0,
            is_report_cut: tokens.answer_cut > 0,
            is_unwritable: tokens.answer.iter().flatten().any(is_unknown),
            lacks_history: !example.history.is_empty() && !is_read,
            room,
        })
    }

    /// The warning that a decoder has fewer positions than `max_new_tokens`.
    fn length_warning(&self, fits: &[ExampleFit]) -> Option<String> {
        let rule = self.collator.text_rule.as_question()?;
        let (most, positions) = (self.max_new_tokens, rule.max_answer_tokens);
        let generates = fits.iter().any(|fit| fit.room.is_some());
        (generates && most > positions).then(|| {
            format!(
                "max_new_tokens is {most}, and the model has {positions} positions: generated texts end after \
                 {positions} tokens"
            )
        })
    }

    /// `max_new_tokens`, if some examples lack room for them and are to be left out.
    fn check_room(&self, fits: &[ExampleFit]) -> Result<Option<usize>> {
        let most = self.max_new_tokens;
        let all = || fits.iter().filter_map(|fit| Some((fit.name.as_str(), fit.room?)));
        let mut short = all().filter(|(_, room)| *room < most);
        let Some((name, room)) = short.next() else { return Ok(None) };
        let (count, total) = (1 + short.count(), all().count());
        if self.on_bad_example == OnBadExample::Skip && count < total {
            return Ok(Some(most));
        }
        let positions = self.collator.text_rule.positions();
        let cause = format!(
            "{most} tokens are more than the model's {positions} positions leave for {count} of {total} \
             rows. The first is {name}, which leaves {room}"
        );
        let least = all().map(|(_, room)| room).min().unwrap_or_default();
        let remedy = match least {
            0 => "shorten the longest prompts, or remove their rows".to_owned(),
            least => format!(
                "at most {least} fit every row: lower generate.max_new_tokens, or --max-new-tokens"
            ),
        };
        Err(Error::invalid("generate.max_new_tokens", cause).with_remedy(remedy))
    }
}

/// What the model does not read, in words. `max_lengths` are those of a question and an answer.
fn warnings(fits: &[ExampleFit], (question, _): (usize, usize)) -> Vec<String> {
    let all = fits.len();
    let count = |is: fn(&ExampleFit) -> bool, what: &dyn Fn(usize) -> String| {
        let mut found = fits.iter().filter(|fit| is(fit));
        let first = &found.next()?.name;
        Some(format!("{}. The first: {first}", what(1 + found.count())))
    };
    let cut = |n| {
        format!(
            "{n} of {all} questions are longer than the {question} tokens that the model reads: it does not \
             see their last words (`question_cut` in predictions)"
        )
    };
    let reports = |n| {
        format!(
            "{n} of {all} reports are longer than the model's positions: their last words are neither \
             learned nor scored (`target_cut` in predictions)"
        )
    };
    let unwritable = |n| {
        format!(
            "{n} of {all} answers have words or signs that the model's vocabulary lacks: it can never give these answers"
        )
    };
    let history = |n| {
        format!(
            "{n} of {all} questions follow earlier turns of a conversation, which this model does not read: \
             it sees the question alone"
        )
    };
    let told = [
        count(|fit| fit.is_question_cut, &cut),
        count(|fit| fit.is_report_cut, &reports),
        count(|fit| fit.is_unwritable, &unwritable),
        count(|fit| fit.lacks_history, &history),
    ];
    told.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::collator::tests::{collator, drawn};
    use crate::data::{Answer, AnswerType, Turn};

    /// Questions of up to 5 tokens, answers of up to 3 and their end.
    fn fit(
        examples: Vec<Example>,
        max_new_tokens: usize,
        on_bad_example: OnBadExample,
    ) -> Result<FittedDataset> {
        let collator = collator(5);
        let generates_for = &|_: &Example| true;
        let fit = TextFit { collator: &collator, max_new_tokens, generates_for, on_bad_example };
        fit.apply(Arc::new(examples))
    }

    #[test]
    fn what_is_cut_is_counted() {
        let long = drawn("long", "is it normal ?", "no", 0);
        let mut report = drawn("report", "?", "no it is no", 0);
        report.answer = Some(Answer::new("no it is no", AnswerType::Report));
        let mut later = drawn("later", "?", "no", 0);
        later.history = vec![Turn::user("is it ?", 0)];
        let examples = vec![drawn("short", "is it ?", "no", 0), long, report, later];
        let fitted = fit(examples, 4, OnBadExample::Stop).unwrap();
        assert_eq!((fitted.dataset.len(), fitted.skipped.len()), (4, 0));
        let [cut, reports, history] = fitted.warnings.as_slice() else { panic!() };
        assert!(cut.contains("1 of 4 questions") && cut.contains("5 tokens"), "{cut}");
        assert!(cut.contains("example `long`"), "{cut}");
        assert!(reports.contains("1 of 4 reports") && reports.contains("`report`"), "{reports}");
        assert!(history.contains("1 of 4 questions follow"), "{history}");
        assert!(
            fit(vec![drawn("a", "?", "no", 0)], 4, OnBadExample::Stop).unwrap().warnings.is_empty()
        );
    }

    #[test]
    fn what_does_not_fit_is_named_or_left_out() {
        let mut blind = drawn("blind", "?", "no", 0);
        blind.images.clear();
        blind.place = "rows.jsonl:7".into();
        let long = drawn("long", "?", "no no no no", 0);
        for (broken, cause) in
            [(blind, "rows.jsonl:7: example `blind`: it has no image"), (long, "5 tokens")]
        {
            let rows = || vec![drawn("good", "?", "no", 0), broken.clone()];
            let error = fit(rows(), 4, OnBadExample::Stop).err().unwrap().to_string();
            assert!(error.contains(cause), "{error}");
            let fitted = fit(rows(), 4, OnBadExample::Skip).unwrap();
            assert_eq!(fitted.dataset.get(0).unwrap().id, "good");
            assert!(fitted.dataset.len() == 1 && fitted.skipped[0].contains(cause));
            let error = fit(vec![broken.clone(), broken], 4, OnBadExample::Stop).err().unwrap();
            assert!(error.to_string().contains("2 rows are broken"), "{error}");
        }
    }

    #[test]
    fn more_tokens_than_a_decoder_has_positions_are_warned_about() {
        let warnings = |most| {
            let rows = vec![drawn("a", "?", "no", 0)];
            fit(rows, most, OnBadExample::Stop).unwrap().warnings
        };
        assert!(warnings(4).is_empty());
        for most in [5, usize::MAX] {
            let [warning] = &*warnings(most) else { panic!("one warning") };
            assert!(warning.ends_with("generated texts end after 4 tokens"), "{warning}");
        }
    }
}
