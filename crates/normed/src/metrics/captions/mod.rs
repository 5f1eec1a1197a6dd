//! Generated texts against reference texts, as the COCO caption tools (`pycocoevalcap` 1.2) score
//! them: the same tokens, the same numbers, without Java.

mod bleu;
mod cider;
mod rouge;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::bootstrap::{Interval, interval};
use super::metric::Ratio;
use super::predictions::read_lines;
use super::ptb::tokenize;
use crate::{Error, Result};

/// The longest n-grams that are counted.
const MOST_WORDS: usize = 4;

/// A generated text, and what it is held against.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(from = "Line")]
pub struct Caption {
    /// The study's or the image's id.
    pub id: String,
    /// What the model generated.
    pub prediction: String,
    /// One text or more.
    pub references: Vec<String>,
    /// What intervals cluster by; the id if the line says nothing else.
    pub cluster: String,
}

#[derive(Deserialize)]
struct Line {
    id: String,
    prediction: String,
    #[serde(default)]
    references: Vec<String>,
    target: Option<String>,
    cluster: Option<String>,
}

impl From<Line> for Caption {
    fn from(line: Line) -> Self {
        let mut references = line.references;
        if references.is_empty() {
            references.extend(line.target);
        }
        let cluster = line.cluster.filter(|cluster| !cluster.is_empty());
        Self {
            cluster: cluster.unwrap_or_else(|| line.id.clone()),
            id: line.id,
            prediction: line.prediction,
            references,
        }
    }
}

/// One number about a set of texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CaptionMetric {
    /// BLEU of single words.
    #[serde(rename = "bleu_1")]
    Bleu1,
    /// BLEU of up to two words.
    #[serde(rename = "bleu_2")]
    Bleu2,
    /// BLEU of up to three words.
    #[serde(rename = "bleu_3")]
    Bleu3,
    /// BLEU of up to four words.
    #[serde(rename = "bleu_4")]
    Bleu4,
    /// ROUGE-L.
    RougeL,
    /// CIDEr-D; 10 at the most.
    Cider,
}

impl CaptionMetric {
    /// All of them, in the order of a table.
    pub const ALL: [Self; 6] =
        [Self::Bleu1, Self::Bleu2, Self::Bleu3, Self::Bleu4, Self::RougeL, Self::Cider];

    /// As it stands in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bleu1 => "bleu_1",
            Self::Bleu2 => "bleu_2",
            Self::Bleu3 => "bleu_3",
            Self::Bleu4 => "bleu_4",
            Self::RougeL => "rouge_l",
            Self::Cider => "cider",
        }
    }

    /// How many words BLEU goes up to.
    fn words(self) -> Option<usize> {
        match self {
            Self::Bleu1 => Some(1),
            Self::Bleu2 => Some(2),
            Self::Bleu3 => Some(3),
            Self::Bleu4 => Some(4),
            Self::RougeL | Self::Cider => None,
        }
    }
}

/// One metric's value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CaptionScore {
    /// BLEU of the whole set; the mean over texts of the others.
    pub value: f64,
    /// Absent where all texts are of one cluster. CIDEr's frequencies stay those of the whole set.
    pub interval: Option<Interval>,
}

/// The scores of a set of texts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CaptionScores {
    /// The number of texts.
    pub n: usize,
    /// The number of studies, images or groups.
    pub clusters: usize,
    /// Over all texts.
    pub scores: BTreeMap<CaptionMetric, CaptionScore>,
    /// Of each text by itself, in the order of the texts.
    #[serde(skip)]
    pub items: Vec<BTreeMap<CaptionMetric, f64>>,
}

/// A tokenised text, its words as numbers.
#[derive(Debug, Clone)]
struct Sentence {
    /// As BLEU and CIDEr count: parted at every blank.
    words: Vec<u32>,
    /// As ROUGE counts: `1 1/2` is one, and an empty text has one that is empty.
    tokens: Vec<u32>,
}

impl Sentence {
    /// The runs of one to four words, and how often each occurs.
    fn grams(&self) -> BTreeMap<&[u32], u32> {
        let mut grams = BTreeMap::new();
        for n in 1..=MOST_WORDS {
            for gram in self.words.windows(n) {
                *grams.entry(gram).or_default() += 1;
            }
        }
        grams
    }
}

/// Numbers for words.
#[derive(Default)]
struct Vocabulary(HashMap<String, u32>);

impl Vocabulary {
    fn number(&mut self, word: &str) -> u32 {
        let next = self.0.len() as u32;
        *self.0.entry(word.to_owned()).or_insert(next)
    }

    fn sentence(&mut self, tokens: &[String]) -> Sentence {
        let words = tokens.iter().flat_map(|token| token.split_whitespace());
        let words = words.map(|word| self.number(word)).collect();
        let mut numbers: Vec<u32> = tokens.iter().map(|token| self.number(token)).collect();
        if numbers.is_empty() {
            numbers.push(self.number(""));
        }
        Sentence { words, tokens: numbers }
    }
}

/// Reads texts: a line is `{id, prediction, references}`, or `target` for one reference; `cluster`
/// may say what intervals cluster by. An error if an id occurs twice or a text has no reference.
pub fn read_captions(path: &Path) -> Result<Vec<Caption>> {
    let hint = "a line is {id, prediction, references: [..]}, or target in place of references";
    let captions: Vec<Caption> = read_lines(path, hint)?;
    let mut ids = BTreeSet::new();
    for caption in &captions {
        let place = format!("{}, `{}`", path.display(), caption.id);
        if !ids.insert(&caption.id) {
            return Err(Error::invalid(place, "the id occurs twice")
                .hint("give each text an id of its own, and one text's references in one line"));
        }
        if caption.references.is_empty() {
            return Err(Error::invalid(place, "there is no reference").hint(hint));
        }
    }
    if captions.is_empty() {
        return Err(Error::invalid(path.display(), "there are no lines").hint(hint));
    }
    Ok(captions)
}

/// What each of `captions` adds to the scores of all of them. Texts with one id, as of several runs, are of
/// one study, whose references count once where frequencies are counted.
pub(super) fn parts(captions: &[Caption]) -> Vec<Parts> {
    let mut vocabulary = Vocabulary::default();
    // Two calls of the tokenizer, as the tools make them.
    let texts = tokenize(captions.iter().map(|caption| caption.prediction.as_str()));
    let texts: Vec<Sentence> = texts.iter().map(|text| vocabulary.sentence(text)).collect();
    let all = captions.iter().flat_map(|caption| &caption.references);
    let mut lines = tokenize(all.map(String::as_str)).into_iter();
    let references: Vec<Vec<Sentence>> = captions
        .iter()
        .map(|caption| {
            let own = lines.by_ref().take(caption.references.len());
            own.map(|line| vocabulary.sentence(&line)).collect()
        })
        .collect();

    let mut ids = BTreeSet::new();
    let first = captions.iter().zip(&references).filter(|(caption, _)| ids.insert(&caption.id));
    let frequencies = cider::Frequencies::new(first.map(|(_, references)| references.as_slice()));
    texts
        .iter()
        .zip(&references)
        .map(|(text, references)| Parts {
            bleu: bleu::Counts::new(text, references),
            rouge_l: Ratio { above: rouge::rouge_l(text, references), below: 1.0 },
            cider: Ratio { above: frequencies.score(text, references), below: 1.0 },
        })
        .collect()
}

/// All metrics of `captions`, each of which has a reference.
pub fn score_captions(captions: &[Caption]) -> CaptionScores {
    let parts = parts(captions);
    let mut clusters: BTreeMap<&str, Parts> = BTreeMap::new();
    let mut total = Parts::default();
    for (caption, part) in captions.iter().zip(&parts) {
        total += *part;
        *clusters.entry(&caption.cluster).or_default() += *part;
    }
    let score = |metric: CaptionMetric| {
        let interval = interval(&clusters, |parts: Parts| parts.value(metric));
        Some((metric, CaptionScore { value: total.value(metric)?, interval }))
    };
    let values = |part: &Parts| {
        CaptionMetric::ALL.into_iter().filter_map(|m| Some((m, part.value(m)?))).collect()
    };
    CaptionScores {
        n: captions.len(),
        clusters: clusters.len(),
        scores: CaptionMetric::ALL.into_iter().filter_map(score).collect(),
        items: parts.iter().map(values).collect(),
    }
}

/// What the metrics need to know of a text; sums over texts.
#[derive(Clone, Copy, Default)]
pub(super) struct Parts {
    bleu: bleu::Counts,
    rouge_l: Ratio,
    cider: Ratio,
}

impl Parts {
    /// `None` of no texts.
    pub fn value(&self, metric: CaptionMetric) -> Option<f64> {
        match metric {
            CaptionMetric::RougeL => self.rouge_l.value(),
            CaptionMetric::Cider => self.cider.value(),
            bleu => {
                let any = self.rouge_l.below > 0.0;
                bleu.words().filter(|_| any).map(|words| self.bleu.value(words))
            }
        }
    }
}

impl std::ops::AddAssign for Parts {
    fn add_assign(&mut self, other: Self) {
        self.bleu += other.bleu;
        self.rouge_l += other.rouge_l;
        self.cider += other.cider;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caption(id: &str, prediction: &str, references: &[&str]) -> Caption {
        Caption {
            id: id.into(),
            prediction: prediction.into(),
            references: references.iter().map(ToString::to_string).collect(),
            cluster: id.into(),
        }
    }

    #[test]
    fn names_are_those_of_the_json() {
        for metric in CaptionMetric::ALL {
            assert_eq!(serde_json::json!(metric), metric.name());
        }
    }

    #[test]
    fn blanks_inside_a_token_part_words_and_not_tokens() {
        let mut vocabulary = Vocabulary::default();
        let sentence = vocabulary.sentence(&tokenize(["1 1/2 cm"])[0]);
        assert_eq!((sentence.words.len(), sentence.tokens.len()), (3, 2));
        let empty = vocabulary.sentence(&tokenize(["."])[0]);
        assert_eq!((empty.words.len(), empty.tokens.len()), (0, 1));
    }

    #[test]
    fn texts_of_one_study_are_drawn_together() {
        let texts = |cluster: &dyn Fn(usize) -> String| -> Vec<Caption> {
            (0..40)
                .map(|i| Caption {
                    cluster: cluster(i),
                    ..caption(&i.to_string(), if i % 8 < 4 { "a b" } else { "c d" }, &["a b"])
                })
                .collect()
        };
        let width = |captions: &[Caption]| {
            let scores = score_captions(captions);
            let interval = scores.scores[&CaptionMetric::RougeL].interval.expect("many clusters");
            interval.hi - interval.lo
        };
        let (alone, together) = (texts(&|i| i.to_string()), texts(&|i| (i / 4).to_string()));
        assert!(width(&together) > 1.5 * width(&alone));
    }

    #[test]
    fn lines_say_what_is_missing() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("texts.jsonl");
        let read = |text: &str| {
            std::fs::write(&path, text).expect("written");
            read_captions(&path)
        };
        let good = read("{\"id\":\"1\",\"prediction\":\"a\",\"target\":\"b\",\"cluster\":\"\"}\n");
        assert_eq!(good.expect("a line"), [caption("1", "a", &["b"])]);
        for (text, want) in [
            ("{\"id\":\"1\",\"prediction\":\"a\"}", "no reference"),
            (
                "{\"id\":\"1\",\"prediction\":\"a\",\"references\":[\"b\"]}\n".repeat(2).as_str(),
                "twice",
            ),
            ("\n", "no lines"),
            ("{\"id\":\"1\"}", "missing field `prediction`"),
        ] {
            let error = read(text).expect_err("a mistake").to_string();
            assert!(error.contains(want) && error.contains("hint:"), "{error}");
        }
    }
}
