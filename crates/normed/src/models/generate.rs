//! Generating answers: greedy search and beam search as in transformers' `generate(do_sample=False)`, and
//! sampling.

use std::collections::BTreeSet;

use super::Model;
use super::generation_config::GenerationConfig;
use super::sample::Sampler;
use crate::Result;
use crate::data::{Batch, StopRule};
use crate::ops::log_softmax;
use crate::tensor::Parameters;

/// A generated text.
#[derive(Debug, Clone, PartialEq)]
pub struct GeneratedText {
    /// Its tokens, without the end token.
    pub tokens: Vec<u32>,
    /// The logarithm of the probability that the model gives to these tokens and to the end token, if it came to
    /// one: the sum over the tokens, in nats. It is the model's own: neither the temperature nor a penalty changes it.
    pub log_probability: f64,
}

/// Generates an answer for each example of a batch. An example's answer does not depend on the others
/// in the batch. Of the batch's answers, only the first decoder token of each example is read.
///
/// ```
/// use normed::data::{Image, ImageSource, StopRule};
/// use normed::models::{self, GenerationConfig};
///
/// # fn main() -> normed::Result<()> {
/// let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/phantom");
/// let loaded = models::load(dir.as_ref(), None)?;
/// # let example = normed::data::Example {
/// #     id: "1".into(),
/// #     images: vec![ImageSource::Drawn(Image { width: 64, height: 64, rgb: vec![90; 3 * 64 * 64] }.into())],
/// #     image_name: "a gray square".into(),
/// #     question: "is there a nodule?".into(),
/// #     answer: None,
/// #     split: normed::data::Split::Test,
/// #     group: None,
/// #     history: Vec::new(),
/// #     place: String::new(),
/// #     attributes: Default::default(),
/// # };
/// // `example` holds an image and a question about it.
/// let collator = loaded.collator().without_answers();
/// let batch = collator.batch(&[collator.prepare(&example)?], 0);
/// let stop = loaded.text_rule.stop_rule(&loaded.tokenizer);
/// let config = GenerationConfig::default();
/// let answers = models::generate(&*loaded.model, &loaded.params, &batch, &config, stop)?;
/// let text = loaded.text_rule.answer_text(&loaded.tokenizer, &answers[0].tokens);
/// println!("{text} ({:.2})", answers[0].log_probability.exp());
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// If a setting is out of range, if the batch was not made for the model, or if it has no room for that many
/// tokens.
pub fn generate(
    model: &dyn Model,
    params: &Parameters,
    batch: &Batch,
    rule: &GenerationConfig,
    ending: StopRule<'_>,
) -> Result<Vec<GeneratedText>> {
    rule.validate()?;
    let max_new_tokens = rule.max_new_tokens.min(model.max_answer_tokens());
    let rule = &GenerationConfig { max_new_tokens, ..rule.clone() };
    let mut decoding = model.start_decoding(params, batch, rule.max_new_tokens)?;
    let first = batch.decoder_input_ids.ids.chunks(batch.decoder_input_ids.width.max(1));
    let new = |(b, (row, &key)): (usize, (&[u32], &u64))| {
        let prompt = if model.is_decoder_only() { batch.input_ids.row(b) } else { &[] };
        BeamSearch::new(row[0], prompt, ending, Sampler::new(rule, key))
    };
    let mut searches: Vec<_> = first.zip(&batch.keys).enumerate().map(new).collect();
    // The examples that are not finished; each has one row for each running beam.
    let mut open: Vec<usize> = (0..searches.len()).collect();
    while !open.is_empty() {
        let last = open.iter().flat_map(|&e| searches[e].last_tokens()).collect::<Vec<_>>();
        let mut logits = decoding.step(&last);
        let width = logits.width();
        let mut rows = logits.data_mut().chunks_exact_mut(width);
        let (mut from, mut first) = (Vec::new(), 0);
        open.retain(|&e| {
            let search = &mut searches[e];
            let beams = search.running.len();
            let origins = search.advance(rows.by_ref().take(beams), rule);
            from.extend(origins.iter().map(|beam| first + beam));
            first += beams;
            !origins.is_empty()
        });
        decoding.reorder(&from);
    }
    Ok(searches.into_iter().map(BeamSearch::answer).collect())
}

/// The search for one example's answer. Greedy search is a beam search with one beam; sampling is the same, but
/// draws the next token. With more beams, a finished beam's score is the sum of its log-probabilities divided by
/// `length ^ length_penalty`.
struct BeamSearch<'e> {
    start: u32,
    /// The tokens before `start` in the same row.
    prompt: &'e [u32],
    ending: StopRule<'e>,
    /// Draws tokens, if they are sampled.
    sampler: Option<Sampler>,
    running: Vec<Hypothesis>,
    /// The best finished beams, best first; at most `num_beams`.
    finished: Vec<Hypothesis>,
    length: usize,
}

#[derive(Debug, Clone)]
struct Hypothesis {
    tokens: Vec<u32>,
    /// What beams are compared by: the sum of log-probabilities, with penalties.
    score: f32,
    /// The sum of the model's own log-probabilities.
    log_probability: f64,
}

/// A possible continuation: beam `beam` followed by `token`.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    beam: usize,
    token: u32,
    score: f32,
    log_probability: f64,
}

impl<'e> BeamSearch<'e> {
    fn new(start: u32, prompt: &'e [u32], ending: StopRule<'e>, sampler: Option<Sampler>) -> Self {
        let running = vec![Hypothesis { tokens: Vec::new(), score: 0.0, log_probability: 0.0 }];
        Self { start, prompt, ending, sampler, running, finished: Vec::new(), length: 0 }
    }

    /// The token that each running beam feeds next.
    fn last_tokens(&self) -> impl Iterator<Item = u32> {
        self.running.iter().map(|beam| beam.tokens.last().copied().unwrap_or(self.start))
    }

    /// Reads one row of logits for each running beam. Gives, for each beam that runs from now on, the beam that it
    /// continues; nothing if the search is over.
    fn advance<'l>(
        &mut self,
        logits: impl Iterator<Item = &'l mut [f32]>,
        rule: &GenerationConfig,
    ) -> Vec<usize> {
        let beams = rule.num_beams;
        let candidates = self.candidates(logits, rule);
        self.length += 1;
        let last = self.length == rule.max_new_tokens;
        let normalizer = f64::from(self.length as u32).powf(f64::from(rule.length_penalty)) as f32;
        let mut running = Vec::with_capacity(beams);
        let mut origins = Vec::with_capacity(beams);
        for (rank, next) in candidates.into_iter().enumerate() {
            let mut ends = self.ending.is_stop_token(next.token);
            let Candidate { log_probability, .. } = next;
            let mut tokens = self.running[next.beam].tokens.clone();
            if !ends {
                tokens.push(next.token);
                ends = self.ending.has_stop_text(&tokens);
            }
            if (ends || last) && rank < beams {
                let score = next.score / normalizer;
                let at = self.finished.partition_point(|f| f.score >= score);
                self.finished.insert(at, Hypothesis { tokens, score, log_probability });
                self.finished.truncate(beams);
            } else if !(ends || last) && running.len() < beams {
                running.push(Hypothesis { tokens, score: next.score, log_probability });
                origins.push(next.beam);
            }
        }
        self.running = running;
        if self.is_over(beams, normalizer) {
            origins.clear();
        }
        origins
    }

    /// The candidates for the next step: the most likely ones, or one that is drawn for the only beam.
    fn candidates<'l>(
        &mut self,
        logits: impl Iterator<Item = &'l mut [f32]>,
        rule: &GenerationConfig,
    ) -> Vec<Candidate> {
        let beams = rule.num_beams;
        let (running, before) = (&self.running, (self.prompt, self.start));
        let mut candidates = Vec::new();
        // The model's own log-probabilities of each row whose penalty changes them.
        let mut own = Vec::new();
        let rows = running.iter().zip(logits).enumerate().map(|(i, (beam, row))| {
            if rule.repetition_penalty != 1.0 {
                let mut unchanged = row.to_vec();
                log_softmax(&mut unchanged);
                own.push(unchanged);
            }
            if beams > 1 {
                log_softmax(row);
            }
            penalize(row, before, &beam.tokens, rule.repetition_penalty);
            if let Some(sampler) = &mut self.sampler {
                let token = sampler.next(row);
                candidates.push(Candidate { beam: i, token, score: 0.0, log_probability: 0.0 });
            }
            if beams == 1 {
                log_softmax(row);
            }
            &*row
        });
        let rows: Vec<&[f32]> = rows.collect();
        if self.sampler.is_none() {
            // Twice as many candidates as beams: even if `num_beams` of them end here, as many continue.
            candidates = best_candidates(running, rows.iter().copied(), 2 * beams);
        }
        for next in &mut candidates {
            let row = own.get(next.beam).map_or(rows[next.beam], Vec::as_slice);
            next.log_probability =
                running[next.beam].log_probability + f64::from(row[next.token as usize]);
        }
        candidates
    }

    /// Whether no running beam is expected to beat the finished ones. As transformers' heuristic for
    /// `early_stopping=False`, this compares the best running beam's score at its present length.
    fn is_over(&self, beams: usize, normalizer: f32) -> bool {
        let Some(best) = self.running.first() else { return true };
        let worst = self.finished.last().filter(|_| self.finished.len() == beams);
        worst.is_some_and(|worst| best.score / normalizer <= worst.score)
    }

    fn answer(self) -> GeneratedText {
        // The last step finishes at least one beam.
        let best = self.finished.into_iter().next();
        let (tokens, log_probability) =
            best.map_or((Vec::new(), 0.0), |best| (best.tokens, best.log_probability));
        GeneratedText { tokens, log_probability }
    }
}

/// Applies the repetition penalty to the tokens of the prompt, the start token and the generated tokens.
fn penalize(row: &mut [f32], (prompt, start): (&[u32], u32), generated: &[u32], penalty: f32) {
    if penalty == 1.0 {
        return;
    }
    let repeated: BTreeSet<u32> = prompt.iter().chain([&start]).chain(generated).copied().collect();
    for token in repeated {
        // The id of an image's place is outside the vocabulary.
        if let Some(score) = row.get_mut(token as usize) {
            *score = if *score < 0.0 { *score * penalty } else { *score / penalty };
        }
    }
}

/// The `n` best continuations of `beams` by log-probabilities, given one row for each beam; best first, ties in
/// order.
fn best_candidates<'l>(
    beams: &[Hypothesis],
    rows: impl Iterator<Item = &'l [f32]>,
    n: usize,
) -> Vec<Candidate> {
    let mut best: Vec<Candidate> = Vec::with_capacity(n + 1);
    for (beam, (hypothesis, row)) in beams.iter().zip(rows).enumerate() {
        for (token, log_probability) in (0..).zip(row) {
            let score = hypothesis.score + log_probability;
            if best.len() < n || best.last().is_some_and(|worst| score > worst.score) {
                let at = best.partition_point(|c| c.score >= score);
                best.insert(at, Candidate { beam, token, score, log_probability: 0.0 });
                best.truncate(n);
            }
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::data::Tokenizer;

    /// The best answer of two beams where ending at once has probability 0.4, and `0` before the
    /// end 0.3 in all.
    fn answer(length_penalty: f32) -> GeneratedText {
        let rule = GenerationConfig {
            num_beams: 2,
            max_new_tokens: 2,
            length_penalty,
            ..GenerationConfig::default()
        };
        let row = |p: [f32; 3]| p.map(f32::ln).to_vec();
        let mut search = BeamSearch::new(0, &[], StopRule { tokens: &[2], stop: None }, None);
        let mut steps = [
            vec![row([0.5, 0.1, 0.4])],
            vec![row([0.2, 0.2, 0.6]), row([1.0 / 3.0, 1.0 / 3.0, 1.0 / 3.0])],
        ];
        for logits in &mut steps {
            search.advance(logits.iter_mut().map(Vec::as_mut_slice), &rule);
        }
        search.answer()
    }

    #[test]
    fn a_finished_beam_is_judged_by_its_length() {
        for (length_penalty, tokens, probability) in [(0.0, &[][..], 0.4), (1.0, &[0], 0.5 * 0.6)] {
            let answer = answer(length_penalty);
            assert_eq!(answer.tokens, tokens);
            assert!((answer.log_probability.exp() - probability).abs() < 1e-6, "{answer:?}");
        }
    }

    /// Templates that have no end token for an answer end it with a text.
    #[test]
    fn an_answer_ends_with_a_text() {
        let words = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nlung\nhuman\n";
        let tokenizer = Tokenizer::from_words(Path::new("words"), words).unwrap();
        for temperature in [0.0, 0.1] {
            let rule = GenerationConfig { temperature, ..GenerationConfig::default() };
            let ending = StopRule { tokens: &[3], stop: Some(("human", &tokenizer)) };
            let mut search = BeamSearch::new(0, &[], ending, Sampler::new(&rule, 0));
            for (token, continues) in [(5, true), (6, false)] {
                let mut row = vec![0.0; 7];
                row[token] = 9.0;
                let origins = search.advance([row.as_mut_slice()].into_iter(), &rule);
                assert_eq!(!origins.is_empty(), continues);
            }
            assert_eq!(search.answer().tokens, [5, 6]);
        }
    }
}
