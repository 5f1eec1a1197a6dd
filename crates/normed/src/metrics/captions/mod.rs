//! Generated texts against reference texts, as the COCO caption tools (`pycocoevalcap` 1.2) score
//! them: the same tokens, the same numbers, without Java.

mod bleu;
mod cider;
mod meteor;
mod rouge;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::convert::Infallible;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::bootstrap::{Interval, interval};
use super::metric::Ratio;
use super::predictions::read_lines;
use super::ptb::tokenize;
use crate::{Error, Result};

use meteor::Lexicon;
pub use meteor::MeteorData;

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
    /// METEOR 1.5.
    Meteor,
    /// What METEOR 1.5 gives without its tables: words match exactly or by their stems.
    MeteorExactStem,
    /// ROUGE-L.
    RougeL,
    /// CIDEr-D; 10 at the most.
    Cider,
}

impl CaptionMetric {
    /// All of them, in the order of a table.
    pub const ALL: [Self; 8] = [
        Self::Bleu1,
        Self::Bleu2,
        Self::Bleu3,
        Self::Bleu4,
        Self::Meteor,
        Self::MeteorExactStem,
        Self::RougeL,
        Self::Cider,
    ];

    /// Those that need no tables.
    pub const WITHOUT_TABLES: [Self; 7] = [
        Self::Bleu1,
        Self::Bleu2,
        Self::Bleu3,
        Self::Bleu4,
        Self::MeteorExactStem,
        Self::RougeL,
        Self::Cider,
    ];

    /// As it stands in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bleu1 => "bleu_1",
            Self::Bleu2 => "bleu_2",
            Self::Bleu3 => "bleu_3",
            Self::Bleu4 => "bleu_4",
            Self::Meteor => "meteor",
            Self::MeteorExactStem => "meteor_exact_stem",
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
            _ => None,
        }
    }
}

/// One metric's value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CaptionScore {
    /// BLEU and METEOR of the whole set; the mean over texts of the others.
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

    /// The words at their numbers.
    fn words(self) -> Vec<String> {
        let mut words = vec![String::new(); self.0.len()];
        self.0.into_iter().for_each(|(word, i)| words[i as usize] = word);
        words
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
            return Err(Error::invalid(place, "the id occurs twice").with_remedy(
                "give each text an id of its own, and one text's references in one line",
            ));
        }
        if caption.references.is_empty() {
            return Err(Error::invalid(place, "there is no reference").with_remedy(hint));
        }
    }
    if captions.is_empty() {
        return Err(Error::invalid(path.display(), "there are no lines").with_remedy(hint));
    }
    Ok(captions)
}

/// What each of `captions` adds to the scores of all of them, METEOR's without its tables. Texts with one
/// id, as of several runs, are of one study, whose references count once where frequencies are counted.
pub(super) fn parts(captions: &[Caption]) -> Vec<Parts> {
    let Ok(parts) = parts_by(captions, |words| Ok::<_, Infallible>(Lexicon::plain(words)));
    parts
}

/// The same with what METEOR knows of the texts' words.
fn parts_by<E>(
    captions: &[Caption],
    lexicon: impl FnOnce(Vec<String>) -> std::result::Result<Lexicon, E>,
) -> std::result::Result<Vec<Parts>, E> {
    // Two calls of the tokenizer, as the tools make them.
    let texts = tokenize(captions.iter().map(|caption| caption.prediction.as_str()));
    let all = captions.iter().flat_map(|caption| &caption.references);
    let mut lines = tokenize(all.map(String::as_str)).into_iter();
    let references: Vec<Vec<Vec<String>>> = captions
        .iter()
        .map(|caption| lines.by_ref().take(caption.references.len()).collect())
        .collect();
    let meteors = meteor::counts(&texts, &references, lexicon)?;
    let mut vocabulary = Vocabulary::default();
    let texts: Vec<Sentence> = texts.iter().map(|text| vocabulary.sentence(text)).collect();
    let references: Vec<Vec<Sentence>> = references
        .iter()
        .map(|lines| lines.iter().map(|line| vocabulary.sentence(line)).collect())
        .collect();

    let mut ids = BTreeSet::new();
    let first = captions.iter().zip(&references).filter(|(caption, _)| ids.insert(&caption.id));
    let frequencies = cider::Frequencies::new(first.map(|(_, references)| references.as_slice()));
    let parts = texts
        .iter()
        .zip(&references)
        .zip(meteors)
        .map(|((text, references), meteor)| Parts {
            bleu: bleu::Counts::new(text, references),
            meteor,
            rouge_l: Ratio { above: rouge::rouge_l(text, references), below: 1.0 },
            cider: Ratio { above: frequencies.score(text, references), below: 1.0 },
        })
        .collect();
    Ok(parts)
}

/// All metrics of `captions`, each of which has a reference. METEOR takes its tables; without them
/// [`CaptionMetric::MeteorExactStem`] stands in its place. An error if a table cannot be read.
pub fn score_captions(captions: &[Caption], meteor: Option<&MeteorData>) -> Result<CaptionScores> {
    let parts = match meteor {
        Some(data) => parts_by(captions, |words| Lexicon::with(words, data))?,
        None => parts(captions),
    };
    let mut clusters: BTreeMap<&str, Parts> = BTreeMap::new();
    let mut total = Parts::default();
    for (caption, part) in captions.iter().zip(&parts) {
        total += *part;
        *clusters.entry(&caption.cluster).or_default() += *part;
    }
    let metrics: Vec<_> = match meteor {
        Some(_) => CaptionMetric::ALL
            .into_iter()
            .filter(|m| *m != CaptionMetric::MeteorExactStem)
            .collect(),
        None => CaptionMetric::WITHOUT_TABLES.to_vec(),
    };
    let score = |metric: CaptionMetric| {
        let interval = interval(&clusters, |parts: Parts| parts.value(metric));
        Some((metric, CaptionScore { value: total.value(metric)?, interval }))
    };
    let values = |part: &Parts| metrics.iter().filter_map(|&m| Some((m, part.value(m)?))).collect();
    Ok(CaptionScores {
        n: captions.len(),
        clusters: clusters.len(),
        scores: metrics.iter().copied().filter_map(score).collect(),
        items: parts.iter().map(values).collect(),
    })
}

/// What the metrics need to know of a text; sums over texts.
#[derive(Clone, Copy, Default)]
pub(super) struct Parts {
    bleu: bleu::Counts,
    meteor: meteor::Counts,
    rouge_l: Ratio,
    cider: Ratio,
}

impl Parts {
    /// `None` of no texts.
    pub fn value(&self, metric: CaptionMetric) -> Option<f64> {
        let (rouge_l, cider) = (self.rouge_l.value()?, self.cider.value()?);
        Some(match metric {
            CaptionMetric::Meteor | CaptionMetric::MeteorExactStem => self.meteor.value(),
            CaptionMetric::RougeL => rouge_l,
            CaptionMetric::Cider => cider,
            bleu => self.bleu.value(bleu.words()?),
        })
    }
}

impl std::ops::AddAssign for Parts {
    fn add_assign(&mut self, other: Self) {
        self.bleu += other.bleu;
        self.meteor += other.meteor;
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
            let scores = score_captions(captions, None).expect("no tables");
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
