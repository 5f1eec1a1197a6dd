//! What the scores of a test mean, in sentences.

use super::{Finding, Metric, PartFinding, Reference, Relation};
use crate::data::Split;
use crate::digits::group_digits;

/// The longest majority answer that is quoted, in characters.
const MAX_QUOTED: usize = 30;

/// Why a run has no scores on a test split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TestGap {
    /// The data has no test split.
    NoTestSplit,
    /// The run was told not to evaluate it.
    NotEvaluated,
}

/// What it means that a run has no scores on a test split.
pub fn describe_gap(gap: TestGap) -> &'static str {
    match gap {
        TestGap::NoTestSplit => {
            "The data has no test split, so nothing says how well the model does on new images. Give some rows \
             split = \"test\", or let `normed split` choose them."
        }
        TestGap::NotEvaluated => {
            "The test split was not evaluated, so nothing says how well the model does on new images."
        }
    }
}

/// What a model learned, of the images above all. It does not follow from any of its scores alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Conclusion {
    UsesImages,
    UsesImagesButConstantIsAsGood,
    IgnoresImages,
    MisledByImages,
    LearnedNothing,
    BeatsConstant,
    ConstantIsAsGood,
    Unknown,
}

/// Describes a finding in a few sentences, the kinds of questions in lines of their own. `subject` names the model, such as
/// "The tuned model"; `split` is what the examples are of, if they are of one split.
///
/// ```
/// use normed::data::Split;
/// use normed::metrics::{ClusterKind, Finding, Interval, MajorityAnswer, Metric, PartFinding, Reference, Relation, describe_finding};
///
/// let finding = PartFinding {
///     metric: Metric::ExactMatch,
///     n: 451,
///     clusters: 203,
///     cluster_kind: ClusterKind::Images,
///     value: 0.38,
///     interval: Some(Interval { lo: 0.331, hi: 0.427 }),
///     majority: Some((MajorityAnswer { answer: "no".into(), value: 0.375 }, Relation::Same)),
///     image_shuffled: Some(Reference { value: 0.383, relation: Relation::Same }),
///     before: None,
/// };
/// let finding = Finding { seeds: 1, overall: finding, open: None, closed: None };
/// assert_eq!(
///     describe_finding(&finding, "The tuned model", Some(Split::Test)),
///     "The tuned model answers 38.0 % of 451 test questions correctly (95 % interval 33.1 to 42.7). That is not \
///      significantly more than always answering \"no\" (37.5 %) and not significantly less than with shuffled images \
///      (38.3 %): nothing shows that it learned from the images."
/// );
/// ```
pub fn describe_finding(finding: &Finding, subject: &str, split: Option<Split>) -> String {
    let part = &finding.overall;
    if !part.is_conclusive() {
        return describe_small_test(part, subject, split);
    }
    let interval = part.interval.map_or(String::new(), |interval| {
        let [lo, hi] = [interval.lo, interval.hi].map(|end| number(part.metric, end));
        format!("95 % interval {lo} to {hi}")
    });
    let seeds =
        if finding.seeds > 1 { format!("mean of {} seeds", finding.seeds) } else { String::new() };
    let details: Vec<String> =
        [seeds, interval].into_iter().filter(|text| !text.is_empty()).collect();
    let details =
        if details.is_empty() { String::new() } else { format!(" ({})", details.join(", ")) };
    let mut text = match part.metric {
        Metric::Report(_) => {
            format!(
                "{subject} reaches a CIDEr of {} on {} {}reports{details}.",
                number(part.metric, part.value),
                group_digits(part.n),
                adjective(split)
            )
        }
        _ => format!(
            "{subject} answers {} of {} {}questions correctly{details}.",
            quantity(part.metric, part.value),
            group_digits(part.n),
            adjective(split)
        ),
    };
    let references = references(part);
    if !references.is_empty() {
        text += &format!(" That is {references}{}.", meaning(conclusion(part), ": "));
    }
    if let Some(before) = &part.before {
        text += &describe_training(part.metric, before);
    }
    if let (Some(open), Some(closed)) = (&finding.open, &finding.closed) {
        text += &describe_kinds(open, closed);
    }
    text
}

/// What a finding says about the use of images, as the head of a list of models: "use the images". `None` if the
/// test is too small or nothing was compared.
pub fn describe_use_of_images(finding: &Finding) -> Option<&'static str> {
    let conclusion = conclusion(&finding.overall);
    let text = match conclusion {
        Conclusion::UsesImages => "use the images",
        Conclusion::UsesImagesButConstantIsAsGood => {
            "use the images, but one constant answer does as well"
        }
        Conclusion::IgnoresImages | Conclusion::LearnedNothing => "no sign of using the images",
        Conclusion::MisledByImages => "misled by the images",
        Conclusion::BeatsConstant | Conclusion::ConstantIsAsGood | Conclusion::Unknown => {
            return None;
        }
    };
    finding.overall.is_conclusive().then_some(text)
}

/// A test with too few examples, or about too few images.
fn describe_small_test(part: &PartFinding, subject: &str, split: Option<Split>) -> String {
    let split = adjective(split);
    let (examples, clusters) = PartFinding::smallest_test();
    let n = part.n;
    let [images, enough] = [part.clusters, clusters].map(|n| part.cluster_kind.count(n));
    let (lead, kind) = match part.metric {
        Metric::Report(_) => (
            format!(
                "{subject} reaches a CIDEr of {} on {n} {split}report{} ({images})",
                number(part.metric, part.value),
                plural(n)
            ),
            "reports",
        ),
        _ => (
            format!(
                "{subject} answers {:.0} of {n} {split}question{} correctly ({images})",
                part.value * n as f64,
                plural(n)
            ),
            "questions",
        ),
    };
    format!(
        "{lead}. That is too little for a conclusion: test on at least {examples} {kind} and {enough}."
    )
}

/// What the score is compared with: the majority answer and the shuffled images.
fn references(part: &PartFinding) -> String {
    let majority = part.majority.as_ref().map(|(majority, relation)| {
        let name = match part.metric {
            Metric::Report(_) => "one report for every study".to_owned(),
            _ => format!("always answering {}", quote(&majority.answer)),
        };
        (name, Reference { value: majority.value, relation: *relation })
    });
    let shuffled = part.image_shuffled.map(|of| ("with shuffled images".to_owned(), of));
    let compare = |of: &Reference| comparative(part, of);
    let show = |name: &str, of: &Reference| format!("{name} ({})", quantity(part.metric, of.value));
    match (majority, shuffled) {
        (Some((first, a)), Some((second, b))) => {
            let (first, second) = (show(&first, &a), show(&second, &b));
            if compare(&a) == compare(&b) {
                format!("{} {first} and {second}", compare(&a))
            } else {
                let and = if a.relation == b.relation { " and" } else { ", but" };
                format!("{} {first}{and} {} {second}", compare(&a), compare(&b))
            }
        }
        (Some((name, of)), None) | (None, Some((name, of))) => {
            format!("{} {}", compare(&of), show(&name, &of))
        }
        (None, None) => String::new(),
    }
}

/// "more than", "not significantly less than" and the like.
fn comparative(part: &PartFinding, of: &Reference) -> &'static str {
    let more = part.value - of.value;
    match of.relation {
        Relation::Higher => "more than",
        Relation::Lower => "less than",
        // What looks the same in the digits that are shown.
        Relation::Same if (part.metric.scale() * more).abs() < 0.05 => "as much as",
        Relation::Same if more > 0.0 => "not significantly more than",
        Relation::Same => "not significantly less than",
    }
}

fn conclusion(part: &PartFinding) -> Conclusion {
    use Relation::{Higher, Lower, Same};
    let majority = part.majority.as_ref().map(|(_, relation)| *relation);
    match (majority, part.image_shuffled.map(|of| of.relation)) {
        (Some(Higher) | None, Some(Higher)) => Conclusion::UsesImages,
        (Some(Same | Lower), Some(Higher)) => Conclusion::UsesImagesButConstantIsAsGood,
        (_, Some(Lower)) => Conclusion::MisledByImages,
        (Some(Higher) | None, Some(Same)) => Conclusion::IgnoresImages,
        (Some(Same | Lower), Some(Same)) => Conclusion::LearnedNothing,
        (Some(Higher), None) => Conclusion::BeatsConstant,
        (Some(Same | Lower), None) => Conclusion::ConstantIsAsGood,
        (None, None) => Conclusion::Unknown,
    }
}

/// What a conclusion means, after `before`; empty where the comparisons say it all.
fn meaning(conclusion: Conclusion, before: &str) -> String {
    let text = match conclusion {
        Conclusion::UsesImages => "it uses the images",
        Conclusion::UsesImagesButConstantIsAsGood => {
            "it uses the images, but one constant answer does as well"
        }
        Conclusion::IgnoresImages => "nothing shows that it uses the images",
        Conclusion::MisledByImages => "its own images mislead it",
        Conclusion::LearnedNothing => "nothing shows that it learned from the images",
        Conclusion::ConstantIsAsGood => "one constant answer does as well",
        Conclusion::BeatsConstant | Conclusion::Unknown => return String::new(),
    };
    format!("{before}{text}")
}

/// The sentence on the score before training.
fn describe_training(metric: Metric, before: &Reference) -> String {
    let value = quantity(metric, before.value);
    match before.relation {
        Relation::Higher => format!(" Before training it was {value}: training helped."),
        Relation::Same => {
            format!(" It is not significantly different from before training ({value}).")
        }
        Relation::Lower => format!(
            " Before training it was {value}: training made the model worse. Try a lower learning rate, or more \
             training images."
        ),
    }
}

/// The sentences on open and closed questions, where they lead to different conclusions.
fn describe_kinds(open: &PartFinding, closed: &PartFinding) -> String {
    let differ = conclusion(open) != conclusion(closed);
    if !differ || !open.is_conclusive() || !closed.is_conclusive() {
        return String::new();
    }
    let describe = |kind: &str, part: &PartFinding| {
        format!(
            "\nOf {} {kind} questions it answers {}: {}{}.",
            group_digits(part.n),
            quantity(part.metric, part.value),
            references(part),
            meaning(conclusion(part), "; "),
        )
    };
    "\nOpen and closed questions differ.".to_owned()
        + &describe("open", open)
        + &describe("closed", closed)
}

/// A value as it is shown, without a unit.
fn number(metric: Metric, value: f64) -> String {
    format!("{:.1}", metric.scale() * value)
}

/// A value with its unit: answers in percent, CIDEr times 100.
fn quantity(metric: Metric, value: f64) -> String {
    let number = number(metric, value);
    if let Metric::Report(_) = metric { number } else { format!("{number} %") }
}

/// An answer in quotation marks, shortened if it is long.
fn quote(answer: &str) -> String {
    match answer.char_indices().nth(MAX_QUOTED) {
        Some((end, _)) => format!("\"{}…\"", answer[..end].trim_end()),
        None => format!("\"{answer}\""),
    }
}

/// The split before a noun, with a blank.
fn adjective(split: Option<Split>) -> &'static str {
    match split {
        Some(Split::Train) => "training ",
        Some(Split::Validate) => "validation ",
        Some(Split::Test) => "test ",
        None => "",
    }
}

fn plural(n: usize) -> &'static str {
    if n == 1 { "" } else { "s" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{CaptionMetric, ClusterKind, Interval, MajorityAnswer};
    use Relation::{Higher, Lower, Same};

    const CIDER: Metric = Metric::Report(CaptionMetric::Cider);

    /// A score in percent, its majority answer, its image-shuffled score and its score before training.
    type Numbers = (f64, Option<(f64, Relation)>, Option<(f64, Relation)>, Option<(f64, Relation)>);

    fn part(metric: Metric, n: usize, (value, majority, shuffled, before): Numbers) -> PartFinding {
        let of = |(value, relation): (f64, Relation)| Reference { value: value / 100.0, relation };
        let majority = majority.map(of);
        PartFinding {
            metric,
            n,
            clusters: n.div_ceil(2),
            cluster_kind: ClusterKind::Images,
            value: value / 100.0,
            interval: Some(Interval { lo: (value - 4.0) / 100.0, hi: (value + 4.0) / 100.0 }),
            majority: majority
                .map(|of| (MajorityAnswer { answer: "no".into(), value: of.value }, of.relation)),
            image_shuffled: shuffled.map(of),
            before: before.map(of),
        }
    }

    fn sentences(metric: Metric, n: usize, numbers: Numbers) -> String {
        let overall = part(metric, n, numbers);
        let finding = Finding { seeds: 1, overall, open: None, closed: None };
        describe_finding(&finding, "It", Some(Split::Test))
    }

    #[test]
    fn numbers_become_sentences() {
        let score =
            "It answers 58.0 % of 1,200 test questions correctly (95 % interval 54.0 to 62.0).";
        for (majority, shuffled, before, want) in [
            // Better than both, and than before.
            (
                Some((24.4, Higher)),
                Some((39.2, Higher)),
                Some((46.6, Higher)),
                " That is more than always answering \"no\" (24.4 %) and with shuffled images (39.2 %): it uses the \
                 images. Before training it was 46.6 %: training helped.",
            ),
            // Better than the majority answer alone.
            (
                Some((37.5, Higher)),
                Some((57.1, Same)),
                None,
                " That is more than always answering \"no\" (37.5 %), but not significantly more than with shuffled \
                 images (57.1 %): nothing shows that it uses the images.",
            ),
            // Not better than either.
            (
                Some((58.0, Same)),
                Some((58.04, Same)),
                Some((57.0, Same)),
                " That is as much as always answering \"no\" (58.0 %) and with shuffled images (58.0 %): nothing \
                 shows that it learned from the images. It is not significantly different from before training \
                 (57.0 %).",
            ),
            (
                Some((55.0, Same)),
                Some((60.0, Same)),
                None,
                " That is not significantly more than always answering \"no\" (55.0 %) and not significantly less \
                 than with shuffled images (60.0 %): nothing shows that it learned from the images.",
            ),
            // Worse than the majority answer, and than before.
            (
                Some((70.0, Lower)),
                Some((50.0, Higher)),
                Some((66.0, Lower)),
                " That is less than always answering \"no\" (70.0 %), but more than with shuffled images (50.0 %): \
                 it uses the images, but one constant answer does as well. Before training it was 66.0 %: training \
                 made the model worse. Try a lower learning rate, or more training images.",
            ),
            (
                Some((70.0, Lower)),
                Some((58.9, Same)),
                None,
                " That is less than always answering \"no\" (70.0 %), but not significantly less than with shuffled \
                 images (58.9 %): nothing shows that it learned from the images.",
            ),
            (
                Some((30.0, Higher)),
                Some((66.0, Lower)),
                None,
                " That is more than always answering \"no\" (30.0 %), but less than with shuffled images (66.0 %): \
                 its own images mislead it.",
            ),
            // There is nothing to compare with.
            (
                Some((30.0, Higher)),
                None,
                None,
                " That is more than always answering \"no\" (30.0 %).",
            ),
            (
                Some((57.0, Same)),
                None,
                None,
                " That is not significantly more than always answering \"no\" (57.0 %): one constant answer does as \
                 well.",
            ),
            (
                None,
                Some((39.0, Higher)),
                None,
                " That is more than with shuffled images (39.0 %): it uses the images.",
            ),
            (None, None, None, ""),
        ] {
            let text = sentences(Metric::ExactMatch, 1200, (58.0, majority, shuffled, before));
            assert_eq!(text, score.to_owned() + want);
        }
    }

    #[test]
    fn reports_have_a_cider() {
        let numbers = (274.0, Some((120.0, Higher)), Some((130.0, Higher)), Some((9.0, Higher)));
        assert_eq!(
            sentences(CIDER, 400, numbers),
            "It reaches a CIDEr of 274.0 on 400 test reports (95 % interval 270.0 to 278.0). That is more than one \
             report for every study (120.0) and with shuffled images (130.0): it uses the images. Before training \
             it was 9.0: training helped."
        );
    }

    #[test]
    fn a_small_test_has_no_conclusion() {
        let numbers = (62.5, Some((10.0, Higher)), None, None);
        assert_eq!(
            sentences(Metric::ExactMatch, 8, numbers),
            "It answers 5 of 8 test questions correctly (4 images). That is too little for a conclusion: \
             test on at least 30 questions and 10 images."
        );
        let mut one_image = part(Metric::ExactMatch, 40, numbers);
        one_image.clusters = 1;
        let text = describe_finding(
            &Finding { seeds: 1, overall: one_image, open: None, closed: None },
            "The tuned model",
            Some(Split::Test),
        );
        assert!(text.starts_with("The tuned model answers 25 of 40 test questions"), "{text}");
        assert!(text.contains("(1 image). That is too little"), "{text}");
        assert!(sentences(CIDER, 1, numbers).contains("on 1 test report (1 image)."));
    }

    #[test]
    fn open_and_closed_questions_are_told_apart_only_where_they_disagree() {
        let overall = part(Metric::ExactMatch, 1600, (50.0, Some((24.0, Higher)), None, None));
        let closed = (61.0, Some((60.0, Same)), Some((62.0, Same)), None);
        let closed = part(Metric::ClosedAccuracy, 1072, closed);
        let open = |shuffled| {
            let numbers = (31.0, Some((8.5, shuffled)), Some((23.1, shuffled)), None);
            Some(part(Metric::OpenExactMatch, 528, numbers))
        };
        let text = |open, closed| {
            describe_finding(
                &Finding { seeds: 1, overall: overall.clone(), open, closed },
                "It",
                None,
            )
        };
        let both = text(open(Higher), Some(closed.clone()));
        assert!(
            both.ends_with(
                "(24.0 %).\nOpen and closed questions differ.\nOf 528 open questions it answers 31.0 %: more than \
                 always answering \"no\" (8.5 %) and with shuffled images (23.1 %); it uses the images.\nOf 1,072 \
                 closed questions it answers 61.0 %: not significantly more than always answering \"no\" (60.0 %) \
                 and not significantly less than with shuffled images (62.0 %); nothing shows that it learned from \
                 the images."
            ),
            "{both}"
        );
        assert!(!text(open(Same), Some(closed.clone())).contains("Open and closed"));
        let pooled = Finding { seeds: 3, overall: overall.clone(), open: None, closed: None };
        let text_of_seeds = describe_finding(&pooled, "It", Some(Split::Validate));
        assert!(
            text_of_seeds.contains("correctly (mean of 3 seeds, 95 % interval 46.0 to"),
            "{text_of_seeds}"
        );
        let few = open(Higher).map(|part| PartFinding { n: 20, ..part });
        assert!(!text(few, Some(closed)).contains("Open and closed"));
    }

    #[test]
    fn the_use_of_images_follows_from_the_shuffled_score() {
        for (n, majority, shuffled, want) in [
            (1200, Higher, Some((39.0, Higher)), Some("use the images")),
            (1200, Higher, Some((57.0, Same)), Some("no sign of using the images")),
            (1200, Same, Some((57.0, Same)), Some("no sign of using the images")),
            (1200, Higher, Some((66.0, Lower)), Some("misled by the images")),
            (1200, Higher, None, None),
            (20, Higher, Some((39.0, Higher)), None),
        ] {
            let numbers = (58.0, Some((30.0, majority)), shuffled, None);
            let overall = part(Metric::ExactMatch, n, numbers);
            let finding = Finding { seeds: 1, overall, open: None, closed: None };
            assert_eq!(describe_use_of_images(&finding), want);
        }
    }

    #[test]
    fn a_long_answer_is_shortened() {
        assert_eq!(quote("no"), "\"no\"");
        assert_eq!(quote(&"ä ".repeat(40)), format!("\"{}…\"", "ä ".repeat(15).trim_end()));
    }

    #[test]
    fn a_missing_test_names_its_remedy() {
        assert!(describe_gap(TestGap::NoTestSplit).contains("`normed split`"));
        assert!(
            describe_gap(TestGap::NotEvaluated).starts_with("The test split was not evaluated")
        );
    }
}
