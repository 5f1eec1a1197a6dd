//! The sums over texts that the caption metrics are computed from.

use std::collections::BTreeSet;
use std::convert::Infallible;

use super::caption::Caption;
use super::meteor::Lexicon;
use super::metric::CaptionMetric;
use super::text::{TokenizedText, Vocabulary};
use super::{bleu, cider, meteor, rouge};
use crate::metrics::ptb::tokenize;
use crate::metrics::ratio::Ratio;

/// What the caption metrics are computed from, summed over texts.
#[derive(Clone, Copy, Default)]
pub(in crate::metrics) struct CaptionSums {
    bleu: bleu::BleuCounts,
    meteor: meteor::MeteorCounts,
    rouge_l: Ratio,
    cider: Ratio,
}

impl CaptionSums {
    /// The value of `metric` over the summed texts; `None` if there are none.
    pub fn value(&self, metric: CaptionMetric) -> Option<f64> {
        let (rouge_l, cider) = (self.rouge_l.value()?, self.cider.value()?);
        Some(match metric {
            CaptionMetric::Meteor | CaptionMetric::MeteorExactStem => self.meteor.value(),
            CaptionMetric::RougeL => rouge_l,
            CaptionMetric::Cider => cider,
            bleu => self.bleu.value(bleu.max_ngram()?),
        })
    }
}

impl std::ops::AddAssign for CaptionSums {
    fn add_assign(&mut self, other: Self) {
        self.bleu += other.bleu;
        self.meteor += other.meteor;
        self.rouge_l += other.rouge_l;
        self.cider += other.cider;
    }
}

/// The sums of each of `captions`, with METEOR without its tables.
///
/// Texts with the same id, as from several runs, belong to one study: its references are counted once in
/// CIDEr's document frequencies.
pub(in crate::metrics) fn caption_sums(captions: &[Caption]) -> Vec<CaptionSums> {
    let Ok(sums) = caption_sums_with(captions, |words| Ok::<_, Infallible>(Lexicon::plain(words)));
    sums
}

/// The sums of each of `captions`; `lexicon` makes METEOR's lexicon of the words that occur.
pub(super) fn caption_sums_with<E>(
    captions: &[Caption],
    lexicon: impl FnOnce(Vec<String>) -> std::result::Result<Lexicon, E>,
) -> std::result::Result<Vec<CaptionSums>, E> {
    // Two calls of the tokenizer, as in the tools: the end of a text can depend on the next one.
    let texts = tokenize(captions.iter().map(|caption| caption.prediction.as_str()));
    let all = captions.iter().flat_map(|caption| &caption.references);
    let mut lines = tokenize(all.map(String::as_str)).into_iter();
    let references: Vec<Vec<Vec<String>>> = captions
        .iter()
        .map(|caption| lines.by_ref().take(caption.references.len()).collect())
        .collect();
    let meteors = meteor::count_matches(&texts, &references, lexicon)?;
    let mut vocabulary = Vocabulary::default();
    let texts: Vec<TokenizedText> = texts.iter().map(|text| vocabulary.text(text)).collect();
    let references: Vec<Vec<TokenizedText>> = references
        .iter()
        .map(|lines| lines.iter().map(|line| vocabulary.text(line)).collect())
        .collect();

    let mut ids = BTreeSet::new();
    let first = captions.iter().zip(&references).filter(|(caption, _)| ids.insert(&caption.id));
    let frequencies =
        cider::DocumentFrequencies::new(first.map(|(_, references)| references.as_slice()));
    let sums = texts
        .iter()
        .zip(&references)
        .zip(meteors)
        .map(|((text, references), meteor)| CaptionSums {
            bleu: bleu::BleuCounts::new(text, references),
            meteor,
            rouge_l: Ratio::one(rouge::rouge_l(text, references)),
            cider: Ratio::one(frequencies.score(text, references)),
        })
        .collect();
    Ok(sums)
}
