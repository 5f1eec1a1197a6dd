//! Whole phantoms: the same every time, true, balanced, and shifted in nothing but the image.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use super::anatomy::{LesionKind, Location, Modality, Organ, Region, Side};
use super::dataset::{IMAGE_SIZE, Phantom};
use super::draw::draw;
use super::grammar::Topic;
use super::questions::Question;
use super::questions::{QUESTIONS_PER_IMAGE, questions};
use super::random::{Purpose, RandomStream};
use super::report::report;
use super::scene::Lesion;
use super::scene::Scene;
use super::site::Site;
use super::vocabulary;
use crate::data::{AnswerType, Dataset, ImageSource, PhantomDomain, Split};

thread_local! {
    /// Images that this thread has drawn.
    pub static DRAWN: Cell<usize> = const { Cell::new(0) };
}

#[test]
fn images_are_drawn_only_when_their_pixels_are_needed() {
    let phantom = phantom(PhantomDomain::Source, 5);
    let drawn = || DRAWN.with(Cell::get);
    let before = drawn();
    let examples: Vec<_> = (0..phantom.len()).map(|i| phantom.get(i).unwrap()).collect();
    let keys: BTreeSet<String> =
        examples.iter().map(|example| format!("{:?}", example.images[0].key())).collect();
    assert_eq!((keys.len(), drawn() - before), (phantom.len() / QUESTIONS_PER_IMAGE, 0));
    examples[0].images[0].load().unwrap();
    assert_eq!(drawn() - before, 1);
}

fn phantom(domain: PhantomDomain, seed: u64) -> Phantom {
    Phantom::new(domain, [400, 80, 80], seed).unwrap()
}

/// Scenes and their questions, as many as statistics need; no image is drawn.
fn scenes(count: u64) -> impl Iterator<Item = (Scene, [Question; QUESTIONS_PER_IMAGE])> {
    (0..count).map(|i| {
        let scene = Scene::draw(&mut RandomStream::new(3, 0, i, Purpose::Scene));
        let asked = questions(&scene, &mut RandomStream::new(3, 0, i, Purpose::Ask));
        (scene, asked)
    })
}

#[test]
fn examples_are_a_function_of_seed_and_index() {
    let (a, b) = (phantom(PhantomDomain::Source, 5), phantom(PhantomDomain::Source, 5));
    let larger = Phantom::new(PhantomDomain::Source, [4_000, 80, 80], 5).unwrap();
    for i in [399, 0, 7, 250] {
        assert_eq!(a.get(i).unwrap(), b.get(i).unwrap());
        assert_eq!(a.get(i).unwrap(), larger.get(i).unwrap());
    }
    assert_eq!(a.get(400).unwrap(), larger.get(4_000).unwrap(), "validation moved with training");
    let other = phantom(PhantomDomain::Source, 6);
    assert_ne!(a.get(0).unwrap().images, other.get(0).unwrap().images);
}

#[test]
fn ids_are_unique_and_splits_share_no_picture() {
    let phantom = phantom(PhantomDomain::Source, 1);
    let mut ids = BTreeSet::new();
    let mut images: BTreeMap<Vec<u8>, (String, Split)> = BTreeMap::new();
    for i in 0..phantom.len() {
        let example = phantom.get(i).unwrap();
        assert!(ids.insert(example.id.clone()), "{} twice", example.id);
        let [ImageSource::Drawn(image)] = &example.images[..] else { panic!("not drawn") };
        let owner = (example.image_name, example.split);
        let first = images.entry(image.draw().rgb).or_insert_with(|| owner.clone());
        assert_eq!(*first, owner, "the same image under two names");
    }
    assert_eq!(images.len(), phantom.len() / QUESTIONS_PER_IMAGE);
    let splits = |wanted| images.values().filter(|(_, split)| *split == wanted).count();
    assert_eq!([splits(Split::Train), splits(Split::Validate), splits(Split::Test)], [100, 20, 20]);
}

#[test]
fn the_domains_differ_in_pixels_alone() {
    let source = phantom(PhantomDomain::Source, 2);
    let shifted = phantom(PhantomDomain::Shifted, 2);
    for i in 0..source.len() {
        let (a, b) = (source.get(i).unwrap(), shifted.get(i).unwrap());
        assert_eq!(
            (&a.question, &a.expect_answer().unwrap().text),
            (&b.question, &b.expect_answer().unwrap().text)
        );
        assert_eq!(
            (a.expect_answer().unwrap().answer_type, a.split),
            (b.expect_answer().unwrap().answer_type, b.split)
        );
        assert_ne!(a.images, b.images);
        assert_ne!(a.id, b.id);
    }
}

/// Reports are about the same images as questions, one each; the vocabulary has all their words.
#[test]
fn reports_are_of_the_same_images() {
    let (questions, reports) =
        (phantom(PhantomDomain::Source, 2), phantom(PhantomDomain::Source, 2).with_reports());
    let shifted = phantom(PhantomDomain::Shifted, 2).with_reports();
    assert_eq!(reports.len(), questions.len());
    let words: BTreeSet<String> = vocabulary().into_iter().collect();
    let mut texts = BTreeSet::new();
    for i in 0..60 {
        let (report, asked) = (reports.get(i).unwrap(), questions.get(4 * i).unwrap());
        assert_eq!((&report.images, &report.image_name), (&asked.images, &asked.image_name));
        assert_eq!(
            (report.expect_answer().unwrap().answer_type, report.attributes.clone()),
            (AnswerType::Report, asked.attributes)
        );
        assert_eq!(
            report.expect_answer().unwrap().text,
            shifted.get(i).unwrap().expect_answer().unwrap().text
        );
        assert!(
            report
                .expect_answer()
                .unwrap()
                .text
                .split([' ', '.'])
                .all(|w| w.is_empty() || words.contains(w))
        );
        texts.insert(report.expect_answer().unwrap().text.clone());
    }
    assert!(texts.len() > 45, "{} of 60", texts.len());
    assert_ne!(reports.get(0).unwrap().id, questions.get(0).unwrap().id);
}

#[test]
fn an_empty_or_uncountable_phantom_is_the_users_mistake() {
    for counts in [[0, 0, 0], [usize::MAX, 1, 0]] {
        let error = Phantom::new(PhantomDomain::Source, counts, 0).unwrap_err();
        assert_eq!(error.exit_code(), 2);
    }
    let phantom = phantom(PhantomDomain::Source, 0);
    assert!(phantom.get(phantom.len()).is_err());
}

/// The item of `all` whose name is a whole word (or words) of `text`; the longest, if several are.
fn named<T: Copy>(text: &str, all: &[T], name: impl Fn(T) -> &'static str) -> Vec<T> {
    let words = format!(" {} ", text.replace(['?', ',', '.'], " "));
    all.iter().copied().filter(|&t| words.contains(&format!(" {} ", name(t)))).collect()
}

/// Answers a question by its text and the scene alone, on other paths than [`ask`] takes.
fn answer(text: &str, scene: &Scene) -> String {
    let modalities = named(text, &Modality::ALL, Modality::name);
    let regions = named(text, &Region::ALL, Region::name);
    let places = named(text, &Location::ALL, Location::name);
    let kinds = [
        named(text, &LesionKind::ALL, LesionKind::name),
        named(text, &LesionKind::ALL, LesionKind::plural),
    ]
    .concat();
    let organs = named(text, &Organ::ALL, Organ::all_of_it);
    let sides = named(text, &Side::ALL, Side::name);
    let halves = named(text, &["upper", "lower"], |half| half);
    let has = |word: &str| text.contains(word);
    let yes_no = |truth: bool| if truth { "yes" } else { "no" }.to_owned();
    let lesions = &scene.lesions;
    let here =
        |place: Option<&Location>| lesions.iter().any(|l| place.is_none_or(|&p| p == l.place));
    let on = |side: Side| {
        // Seen in the image, not looked up: the patient's left is on the right.
        lesions.iter().any(|l| (l.x > 0.5) == (side == Side::Left))
    };
    let open = text.starts_with("what ")
        || text.starts_with("wh") && !has(" or ")
        || text.starts_with("how ")
        || text.starts_with("in which")
        || text.starts_with("on which");

    if has("large") || has("size") || has("limits") {
        let grown = has("large");
        assert_eq!(organs, [scene.region.main_organ()], "{text}");
        return yes_no(scene.enlarged == grown);
    }
    if has("how many") || has("number") {
        assert!(kinds.iter().all(|&k| lesions.is_empty() || k == scene.kind), "{text}");
        return ["zero", "one", "two", "three"][lesions.len()].to_owned();
    }
    if has("several") || has("multiple") || has("more than one") || has("at least two") {
        return yes_no(lesions.len() >= 2);
    }
    if !halves.is_empty() {
        return if lesions[0].y < 0.5 { "upper" } else { "lower" }.to_owned();
    }
    if modalities.len() == 2
        || open && (has("modality") || has("scan") || has("study") || has("made"))
    {
        assert!(modalities.is_empty() || modalities.contains(&scene.modality));
        return scene.modality.name().to_owned();
    }
    if let [modality] = modalities[..] {
        return yes_no(modality == scene.modality);
    }
    if regions.len() == 2 || open && (has("region") || has("part of the body")) {
        assert!(regions.is_empty() || regions.contains(&scene.region));
        return scene.region.name().to_owned();
    }
    if let [region] = regions[..] {
        return yes_no(region == scene.region);
    }
    if sides.len() == 2 || open && has("side") {
        return match (on(Side::Left), on(Side::Right)) {
            (true, true) => "both",
            (true, false) => "left",
            (false, true) => "right",
            (false, false) => panic!("{text} of no lesion"),
        }
        .to_owned();
    }
    if let ([side], []) = (&sides[..], &places[..]) {
        return yes_no(on(*side));
    }
    if kinds.len() == 2 {
        assert!(kinds.contains(&scene.kind) && here(None));
        return scene.kind.name().to_owned();
    }
    if open && has("organ") || text == "where is the abnormality located?" {
        let mut abnormal: Vec<Organ> = lesions.iter().map(|l| l.place.organ()).collect();
        abnormal.extend(scene.enlarged.then(|| scene.region.main_organ()));
        assert!(abnormal.iter().all(|&o| o == abnormal[0]), "{text} {scene:?}");
        return abnormal[0].name().to_owned();
    }
    if open && !kinds.is_empty() {
        assert!(lesions.iter().all(|l| l.place == lesions[0].place) && kinds == [scene.kind]);
        return lesions[0].place.name().to_owned();
    }
    if open {
        assert!(here(places.first()), "{text} {scene:?}");
        return scene.kind.name().to_owned();
    }
    if let [kind] = kinds[..] {
        return yes_no(kind == scene.kind && here(places.first()));
    }
    if has("lesion") || has("abnormality") {
        return yes_no(here(places.first()));
    }
    assert_eq!(organs.len(), 1, "{text}");
    yes_no(scene.region.organs().contains(&organs[0]))
}

#[test]
fn answers_are_true() {
    let mut topics = BTreeSet::new();
    for (scene, asked) in scenes(6_000) {
        for question in &asked {
            assert_eq!(question.answer, answer(&question.text, &scene), "{question:?} {scene:?}");
            topics.insert(format!("{:?}", question.topic));
        }
        let texts: BTreeSet<&str> = asked.iter().map(|q| q.text.as_str()).collect();
        assert_eq!(texts.len(), QUESTIONS_PER_IMAGE, "{asked:?}");
    }
    assert_eq!(topics.len(), Topic::GENERAL.len() + Topic::SPECIFIC.len(), "{topics:?}");
}

/// How often each answer was given.
type Tally = BTreeMap<String, usize>;

/// The share of the most frequent answer, and the number of answers.
fn best(tally: &Tally) -> (f64, usize) {
    let total = tally.values().sum();
    (tally.values().max().map_or(0.0, |&n| n as f64 / total as f64), total)
}

#[test]
fn the_wording_gives_little_away() {
    // By topic, by exact text and in all, for open and for closed questions.
    let (mut by_topic, mut by_text) = (BTreeMap::new(), BTreeMap::new());
    let mut overall: BTreeMap<bool, Tally> = BTreeMap::new();
    for (_, asked) in scenes(40_000) {
        for Question { topic, text, answer, answer_type } in asked {
            let is_open = answer_type == AnswerType::Open;
            let topic: &mut Tally = by_topic.entry(format!("{topic:?}")).or_default();
            *topic.entry(answer.clone()).or_default() += 1;
            let (_, text): &mut (bool, Tally) =
                by_text.entry(text).or_insert_with(|| (is_open, Tally::new()));
            *text.entry(answer.clone()).or_default() += 1;
            *overall.entry(is_open).or_default().entry(answer).or_default() += 1;
        }
    }
    for (topic, tally) in &by_topic {
        let (share, total) = best(tally);
        // No answer of a topic is much more frequent than the others.
        let fair = 1.0 / tally.len() as f64;
        println!("{topic:>16} {total:>6} {share:.3} (fair {fair:.3}) {tally:?}");
        assert!(share < fair * 1.15 || share < 0.25, "{topic}: {tally:?}");
        assert!(total > 1_000, "{topic} is hardly ever asked");
    }
    for (is_open, limit) in [(true, 0.45), (false, 0.60)] {
        let (hits, total) = by_text
            .values()
            .filter(|(open, _)| *open == is_open)
            .map(|(_, tally)| best(tally))
            .fold((0.0, 0), |(hits, total), (share, n)| (hits + share * n as f64, total + n));
        let blind = hits / total as f64;
        let (constant, _) = best(&overall[&is_open]);
        println!(
            "open {is_open}: {total} asked, by the wording {blind:.3}, constant {constant:.3}"
        );
        assert!(blind < limit, "by the wording alone {blind:.3}");
        assert!(constant < if is_open { 0.2 } else { 0.45 }, "{:?}", overall[&is_open]);
    }
}

#[test]
fn the_vocabulary_holds_every_word_once() {
    let vocabulary = vocabulary();
    let known: BTreeSet<&str> = vocabulary.iter().map(String::as_str).collect();
    assert_eq!(known.len(), vocabulary.len(), "a token twice");
    assert_eq!(vocabulary[0], "[PAD]");
    // Any other lower-case text can be written: punctuation stands alone, words continue.
    for c in ('!'..='~').filter(|c| !c.is_ascii_uppercase()) {
        assert!(known.contains(String::from(c).as_str()), "{c}");
        assert!(c.is_ascii_punctuation() || known.contains(format!("##{c}").as_str()), "##{c}");
    }
    let mut unused: BTreeSet<&str> = known
        .iter()
        .copied()
        .filter(|w| w.len() > 1 && w.bytes().all(|b| b.is_ascii_lowercase()))
        .collect();
    let all = unused.len();
    for (scene, asked) in scenes(6_000) {
        let mut texts = vec![report(&scene)];
        texts.extend(asked.iter().flat_map(|q| [q.text.clone(), q.answer.clone()]));
        for text in texts {
            for word in text.split(|c: char| !c.is_ascii_lowercase()).filter(|w| !w.is_empty()) {
                assert!(known.contains(word), "{word:?} of {text:?}");
                unused.remove(word);
            }
        }
    }
    println!("{} tokens, {all} words, unused {unused:?}", vocabulary.len());
    assert!(unused.is_empty(), "{unused:?}");
}

#[test]
fn lesions_are_drawn_where_the_scene_says_and_can_be_seen() {
    let size = IMAGE_SIZE;
    for i in 0..800 {
        let scene = Scene::draw(&mut RandomStream::new(4, 0, i, Purpose::Scene));
        let healthy = Scene { lesions: Vec::new(), ..scene.clone() };
        let expose = |scene: &Scene| {
            let mut random = RandomStream::new(4, 0, i, Purpose::Draw);
            draw(scene, &Site::SOURCE, size, &mut random)
        };
        let (with, without) = (expose(&scene), expose(&healthy));
        let difference = |x: usize, y: usize| {
            let at = (y * size + x) * 3;
            i32::from(with.rgb[at]) - i32::from(without.rgb[at])
        };
        let near = |l: &Lesion, x: usize, y: usize, reach: f32| {
            let (px, py) = ((x as f32 + 0.5) / size as f32, (y as f32 + 0.5) / size as f32);
            (px - l.x).hypot(py - l.y) < reach
        };
        // A stone's shadow reaches this many radii.
        let reach = if scene.kind == LesionKind::Stone { 5.0 } else { 1.3 };
        let mut seen = vec![0; scene.lesions.len()];
        for (x, y) in (0..size * size).map(|at| (at % size, at / size)) {
            let inside = scene.lesions.iter().any(|l| near(l, x, y, reach * l.radius));
            assert!(inside || difference(x, y) == 0, "{scene:?} at {x}, {y}");
            for (lesion, seen) in scene.lesions.iter().zip(&mut seen) {
                let clear = near(lesion, x, y, 1.2 * lesion.radius) && difference(x, y).abs() > 30;
                *seen += usize::from(clear);
            }
        }
        assert!(seen.iter().all(|&pixels| pixels >= 12), "{seen:?} {scene:?}");
    }
}
