//! Questions that a scene answers, balanced so that the wording gives little away.
//!
//! Two things keep the answers balanced. Where a question names something, chance decides first
//! whether the answer is to be yes or no (or which of two options is the true one), and the name is
//! chosen to match. And a question that an image cannot answer, or may answer only sometimes to keep
//! its answers even, gives way to one from [`Topic::GENERAL`], whose answers are even in every scene.

use super::anatomy::{LesionKind, Location, Modality, Organ, Region, Side};
use super::grammar::Topic;
use super::random::RandomStream;
use super::scene::Scene;
use super::words::{BOTH, LOWER, NO, NUMBERS, UPPER, YES, is_the};
use crate::data::AnswerType;

/// A question about a scene.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The topic.
    pub topic: Topic,
    /// The text of the question.
    pub text: String,
    /// The true answer.
    pub answer: String,
    /// Open or closed.
    pub answer_type: AnswerType,
}

/// How many questions are asked about each image.
pub const QUESTIONS_PER_IMAGE: usize = 4;

/// Asks four questions about a scene, each on another topic.
pub fn questions(scene: &Scene, random: &mut RandomStream) -> [Question; QUESTIONS_PER_IMAGE] {
    let mut used = Vec::with_capacity(QUESTIONS_PER_IMAGE);
    std::array::from_fn(|_| {
        let drawn = random.pick(Topic::SPECIFIC);
        let filled = if used.contains(&drawn) { None } else { fill(drawn, scene, random) };
        let (topic, Filled { a, b, answer }) = match filled {
            Some(filled) => (drawn, filled),
            None => loop {
                let topic = random.pick(Topic::GENERAL);
                if used.contains(&topic) {
                    continue;
                }
                if let Some(filled) = fill(topic, scene, random) {
                    break (topic, filled);
                }
            },
        };
        used.push(topic);
        let text = random.pick(topic.phrasings()).replace("{a}", a).replace("{b}", b);
        Question { topic, text, answer: answer.to_owned(), answer_type: topic.answer_type() }
    })
}

/// The names that fill a phrasing, and the answer.
struct Filled {
    a: &'static str,
    b: &'static str,
    answer: &'static str,
}

/// The share of scenes without lesions, one count in four.
const NO_LESION: f32 = 0.25;
/// The share of scenes whose lesions are all on one side: three counts in four have lesions, and of
/// those one in three has one lesion, the others are on one side half of the time.
const ONE_SIDE: f32 = 0.5;

/// Chooses the names in a question on `topic`, and its answer. `None` if `scene` has no answer, or if asking would
/// unbalance the answers.
#[allow(clippy::too_many_lines, reason = "a table, one arm per topic")]
fn fill(topic: Topic, scene: &Scene, random: &mut RandomStream) -> Option<Filled> {
    let open = |answer| Filled { a: "", b: "", answer };
    let about = |a, answer| Filled { a, b: "", answer };
    let only_if = |condition: bool| condition.then_some(());
    let Scene { modality, region, enlarged, kind, .. } = *scene;
    let count = scene.lesions.len();
    Some(match topic {
        Topic::Modality => open(modality.name()),
        Topic::Region => open(region.name()),
        Topic::IsModality => {
            let truth = random.chance(0.5);
            let named = if truth { modality } else { other(&Modality::ALL, modality, random) };
            about(named.a_name(), yes_no(truth))
        }
        Topic::IsRegion => {
            let truth = random.chance(0.5);
            let named = if truth { region } else { other(&Region::ALL, region, random) };
            about(named.name(), yes_no(truth))
        }
        Topic::ShowsOrgan => {
            let truth = random.chance(0.5);
            let named = if truth { region } else { other(&Region::ALL, region, random) };
            about(random.pick(named.organs()).all_of_it(), yes_no(truth))
        }
        Topic::WhichModality => {
            let wrong = other(&Modality::ALL, modality, random);
            choice([modality, wrong].map(Modality::a_name), modality.name(), random)
        }
        Topic::WhichRegion => {
            let wrong = other(&Region::ALL, region, random);
            choice([region, wrong].map(Region::name), region.name(), random)
        }
        Topic::IsEnlarged => about(is_the(region.main_organ()), yes_no(enlarged)),
        Topic::IsNormalSize => about(is_the(region.main_organ()), yes_no(!enlarged)),

        Topic::Count => open(NUMBERS[count]),
        Topic::CountKind => about(kind.plural(), NUMBERS[count]),
        Topic::Several => open(yes_no(count > 1)),
        Topic::HasLesion => {
            // A third of the scenes with lesions is as many as there are without.
            only_if(count == 0 || random.chance(NO_LESION / (1.0 - NO_LESION)))?;
            open(yes_no(count > 0))
        }
        Topic::HasKind => {
            let truth = count > 0 && random.chance(0.5 / (1.0 - NO_LESION));
            let named =
                if count == 0 || truth { kind } else { other(&LesionKind::ALL, kind, random) };
            about(named.name(), yes_no(truth))
        }
        Topic::HasOnSide => {
            let side = random.pick(&Side::ALL);
            about(side.name(), yes_no(scene.lesions.iter().any(|l| l.place.side() == side)))
        }
        Topic::HasInPlace => {
            // If both sides of the chest are affected, it has no place for which the answer is no.
            only_if(count == 0 || scene.only_side().is_some())?;
            let truth = count > 0 && random.chance(0.5 * (NO_LESION + ONE_SIDE) / ONE_SIDE);
            about(pick_place(scene, truth, random)?.name(), yes_no(truth))
        }
        Topic::HasKindInPlace => {
            only_if(scene.only_side().is_some())?;
            let truth = random.chance(0.5);
            let wrong_kind = !truth && random.chance(0.5);
            let place = pick_place(scene, truth || wrong_kind, random)?;
            let named = if wrong_kind { other(&LesionKind::ALL, kind, random) } else { kind };
            Filled { a: named.name(), b: place.name(), answer: yes_no(truth) }
        }
        Topic::Kind => {
            only_if(count > 0)?;
            open(kind.name())
        }
        Topic::KindInPlace => about(scene.only_place()?.name(), kind.name()),
        Topic::WhichKind => {
            only_if(count > 0)?;
            let wrong = other(&LesionKind::ALL, kind, random);
            choice([kind, wrong].map(LesionKind::name), kind.name(), random)
        }
        Topic::Side => {
            only_if(count > 0)?;
            open(scene.only_side().map_or(BOTH, Side::name))
        }
        Topic::WhichSide => choice(Side::ALL.map(Side::name), scene.only_side()?.name(), random),
        Topic::Where => about(kind.name(), scene.only_place()?.name()),
        Topic::AbnormalOrgan => open(abnormal_organ(scene, random)?.name()),
        Topic::Half => {
            let [lesion] = scene.lesions.as_slice() else { return None };
            // Near the middle the answer would not be clear.
            const CLEAR: f32 = 0.06;
            let below = lesion.y - 0.5;
            only_if(below.abs() > CLEAR)?;
            choice([UPPER, LOWER], if below < 0.0 { UPPER } else { LOWER }, random)
        }
    })
}

/// The one organ that is abnormal; lesions, which are frequent, are asked after every second time.
fn abnormal_organ(scene: &Scene, random: &mut RandomStream) -> Option<Organ> {
    let main = scene.region.main_organ();
    let mut abnormal: Vec<Organ> = scene.lesions.iter().map(|l| l.place.organ()).collect();
    if scene.enlarged {
        abnormal.push(main);
    }
    abnormal.dedup();
    let [organ] = abnormal.as_slice() else { return None };
    (scene.lesions.is_empty() || random.chance(0.5)).then_some(*organ)
}

/// A place of the region that is affected, or one that is not.
fn pick_place(scene: &Scene, affected: bool, random: &mut RandomStream) -> Option<Location> {
    let places: Vec<Location> = scene
        .region
        .places()
        .iter()
        .copied()
        .filter(|&place| scene.affects(place) == affected)
        .collect();
    (!places.is_empty()).then(|| random.pick(&places))
}

/// A random one of `all` that is not `this`.
fn other<T: Copy + PartialEq>(all: &[T], this: T, random: &mut RandomStream) -> T {
    loop {
        let drawn = random.pick(all);
        if drawn != this {
            return drawn;
        }
    }
}

/// Two options in either order.
fn choice([a, b]: [&'static str; 2], answer: &'static str, random: &mut RandomStream) -> Filled {
    if random.chance(0.5) { Filled { a, b, answer } } else { Filled { a: b, b: a, answer } }
}

fn yes_no(truth: bool) -> &'static str {
    if truth { YES } else { NO }
}
