//! The training, validation and test examples of a run.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};

use sha2::{Digest, Sha256};

use crate::data::{Dataset, Example, ImageKey, ImageOverlap, ImageSource, Split};
use crate::files::hex;
use crate::recipe::{BestBy, TrainSpec};
use crate::{Error, Result};

/// The indices of each split's examples, in the data set's order.
pub(super) struct Splits {
    /// All examples.
    pub dataset: Arc<dyn Dataset>,
    /// Training examples.
    pub train: Vec<usize>,
    /// Validation examples, which choose the best checkpoint.
    pub validate: Vec<usize>,
    /// Test examples, whose scores are reported.
    pub test: Vec<usize>,
    /// Number of training images (or groups) that were held out for validation.
    pub held_out: usize,
    /// [`fingerprint_data`] of the data set.
    pub fingerprint: String,
    /// What [`Splits::overlap`] found.
    overlap: OnceLock<Option<ImageOverlap>>,
}

impl Splits {
    /// The data set's own splits. If it has no validation split but one is needed to choose the best
    /// checkpoint, the fraction `train.holdout` of the training images (or groups) is held out.
    pub fn new(dataset: Arc<dyn Dataset>, spec: &TrainSpec, seed: u64) -> Result<Self> {
        let (mut train, mut validate, mut test) = (Vec::new(), Vec::new(), Vec::new());
        let mut groups: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        let mut fingerprint = Fingerprint::default();
        let mut names = GroupNames::default();
        for i in 0..dataset.len() {
            let example = dataset.get(i)?;
            match example.split {
                Split::Train => {
                    groups.entry(names.of(&example)).or_default().push(i);
                    train.push(i);
                }
                Split::Validate => validate.push(i),
                Split::Test => test.push(i),
            }
            fingerprint.add(&example)?;
        }
        if train.is_empty() {
            let cause = format!(
                "the training split is empty: of {} rows {} are in `validate` and {} in `test`, where rows without \
                 `split` are",
                dataset.len(),
                validate.len(),
                test.len()
            );
            return Err(Error::invalid("data", cause).with_remedy(
                "make splits: normed split --data FILE --by group --out NEW_FILE, and name the new file in data.file; \
                 or write \"split\": \"train\" into rows",
            ));
        }
        let mut held_out = 0;
        if validate.is_empty() && spec.metric != BestBy::Last {
            held_out = (f64::from(spec.holdout) * groups.len() as f64).round() as usize;
            if held_out == 0 || held_out == groups.len() {
                let cause = format!(
                    "the data set has no validation split, and {held_out} of {} training images or \
                     groups would be held out for one",
                    groups.len()
                );
                return Err(Error::invalid("train.holdout", cause)
                    .with_remedy(
                        "choose another fraction, set train.metric = \"last\", or make splits: normed split --data FILE \
                         --by group --out NEW_FILE",
                    ));
            }
            // The order of a hash is random, and the same on every machine.
            let mut order: Vec<_> =
                groups.into_iter().map(|(group, i)| (order_key(seed, &group), i)).collect();
            order.sort_unstable();
            validate = order.drain(..held_out).flat_map(|(_, i)| i).collect();
            validate.sort_unstable();
            train = order.into_iter().flat_map(|(_, i)| i).collect();
            train.sort_unstable();
        }
        if spec.fraction < 1.0 {
            train = pick_fraction(&*dataset, train, &mut names, (f64::from(spec.fraction), seed))?;
        }
        let fingerprint = fingerprint.finish();
        let overlap = OnceLock::new();
        Ok(Self { dataset, train, validate, test, held_out, fingerprint, overlap })
    }

    /// Test images that are also in the training split; none if images are not read from files. They are
    /// searched for once, which decodes every image.
    pub fn overlap(&self) -> Result<Option<ImageOverlap>> {
        if let Some(known) = self.overlap.get() {
            return Ok(known.clone());
        }
        let found = ImageOverlap::find(&*self.dataset, &self.train, &self.test)?;
        Ok(self.overlap.get_or_init(|| found).clone())
    }

    /// Warnings that examples were held out, and, if the run `tests`, that there are none to test on.
    pub fn warnings(&self, tests: bool) -> Vec<String> {
        let untested = (tests && self.test.is_empty()).then(|| {
            "The data set has no test split, so that no score is reported. Make one by normed split, or keep rows with \
             \"split\": \"test\"."
                .to_owned()
        });
        let held_out = (self.held_out > 0).then(|| {
            format!(
                "The data set has no validation split. {} training examples (of {} images or groups) \
                 are held out to choose the best checkpoint.",
                self.validate.len(),
                self.held_out
            )
        });
        held_out.into_iter().chain(untested).collect()
    }
}

/// `count` of `all`, evenly spread, and the rest. All of them if `count` is none or larger.
pub(super) fn pick_evenly(all: &[usize], count: Option<usize>) -> (Vec<usize>, Vec<usize>) {
    let (n, count) = (all.len(), count.unwrap_or(all.len()).min(all.len()));
    let is_picked = |place: usize| (place + 1) * count / n > place * count / n;
    let (picked, rest): (Vec<_>, Vec<_>) =
        all.iter().enumerate().partition(|(place, _)| is_picked(*place));
    let examples = |part: Vec<(usize, &usize)>| part.into_iter().map(|(_, &i)| i).collect();
    (examples(picked), examples(rest))
}

/// The examples of the fraction `fraction` of the training images (or groups), at least one of these.
fn pick_fraction(
    dataset: &dyn Dataset,
    train: Vec<usize>,
    names: &mut GroupNames,
    (fraction, seed): (f64, u64),
) -> Result<Vec<usize>> {
    let mut groups: BTreeMap<Vec<u8>, Vec<usize>> = BTreeMap::new();
    for i in train {
        // The prefix makes the order another one than that in which validation images are held out.
        let name = format!("part of {}", names.of(&dataset.get(i)?));
        groups.entry(order_key(seed, &name)).or_default().push(i);
    }
    let count = ((fraction * groups.len() as f64).round() as usize).max(1);
    let mut kept: Vec<usize> = groups.into_values().take(count).flatten().collect();
    kept.sort_unstable();
    Ok(kept)
}

/// The SHA-256, in hexadecimal, of the ids, image names, conversations and splits of all examples.
/// Pixels do not enter.
///
/// # Errors
///
/// If an example cannot be read.
pub fn fingerprint_data(dataset: &dyn Dataset) -> Result<String> {
    let mut fingerprint = Fingerprint::default();
    for i in 0..dataset.len() {
        fingerprint.add(&dataset.get(i)?)?;
    }
    Ok(fingerprint.finish())
}

#[derive(Default)]
struct Fingerprint(Sha256);

impl Fingerprint {
    fn add(&mut self, example: &Example) -> Result<()> {
        let Example { id, image_name, question, split, history, .. } = example;
        let answer = &example.expect_answer()?.text;
        let turns = history.iter().flat_map(|turn| [turn.role.name(), &turn.text]);
        for text in [id, image_name, question, answer, split.name()].into_iter().chain(turns) {
            self.0.update((text.len() as u64).to_le_bytes());
            self.0.update(text);
        }
        Ok(())
    }

    fn finish(self) -> String {
        hex(&self.0.finalize())
    }
}

/// The names of groups. The examples of one group are never in two splits.
#[derive(Default)]
struct GroupNames {
    /// The name of each image or set of images, by what it is whatever its path's spelling: the first name.
    images: HashMap<Vec<ImageKey>, String>,
}

impl GroupNames {
    /// The name of an example's group, or of its images where it has none.
    fn of(&mut self, example: &Example) -> String {
        if let Some(group) = &example.group {
            return format!("group {group}");
        }
        let images = example.images.iter().map(ImageSource::plain_key).collect();
        let name = self.images.entry(images).or_insert_with(|| example.image_name.clone());
        format!("image {name}")
    }
}

/// A random key of a group, by which groups are ordered.
fn order_key(seed: u64, group: &str) -> Vec<u8> {
    Sha256::new().chain_update(seed.to_le_bytes()).chain_update(group).finalize().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Answer, AnswerType, Attributes};

    /// Three questions about each of `images` images; two images are of one patient.
    fn dataset(images: usize, grouped: bool) -> Arc<dyn Dataset> {
        let example = |i: usize| Example {
            id: i.to_string(),
            images: vec![ImageSource::File(format!("{}.png", i / 3).into())],
            image_name: format!("{}.png", i / 3),
            question: "normal?".into(),
            answer: Some(Answer::new("no", AnswerType::Closed)),
            split: Split::Train,
            group: grouped.then(|| format!("patient {}", i / 6)),
            history: Vec::new(),
            place: String::new(),
            attributes: Attributes::new(),
        };
        Arc::new((0..3 * images).map(example).collect::<Vec<_>>())
    }

    #[test]
    fn examples_are_picked_evenly() {
        let all: Vec<usize> = (100..110).collect();
        assert_eq!(
            pick_evenly(&all, Some(3)),
            (vec![103, 106, 109], vec![100, 101, 102, 104, 105, 107, 108])
        );
        assert_eq!(pick_evenly(&all, None), (all.clone(), vec![]));
        assert_eq!(pick_evenly(&all, Some(99)), (all.clone(), vec![]));
        assert_eq!(pick_evenly(&all, Some(0)), (vec![], all));
    }

    #[test]
    fn images_are_held_out_with_all_their_questions() {
        for (grouped, per_cluster, held_out) in [(false, 3, 4), (true, 6, 2)] {
            let spec = TrainSpec { holdout: 0.2, ..TrainSpec::default() };
            let splits = Splits::new(dataset(20, grouped), &spec, 1).unwrap();
            assert_eq!(splits.held_out, held_out);
            assert_eq!(splits.validate.len(), held_out * per_cluster);
            assert_eq!(splits.train.len() + splits.validate.len(), 60);
            let clusters = |part: &[usize]| -> std::collections::BTreeSet<usize> {
                part.iter().map(|i| i / per_cluster).collect()
            };
            assert!(clusters(&splits.train).is_disjoint(&clusters(&splits.validate)));
            let again = Splits::new(dataset(20, grouped), &spec, 1).unwrap();
            assert_eq!(again.validate, splits.validate);
            let other = Splits::new(dataset(20, grouped), &spec, 2).unwrap();
            assert_ne!(other.validate, splits.validate);
        }
    }

    #[test]
    fn an_image_is_one_under_every_spelling_of_its_path() {
        let rows = dataset(20, false);
        let spelled = |i: usize| {
            let mut example = rows.get(i).unwrap();
            let name = ["N.png", "./N.png", "x/../N.png"][i % 3].replace('N', &(i / 3).to_string());
            (example.images, example.image_name) = (vec![ImageSource::File((&name).into())], name);
            example
        };
        let spec = TrainSpec { holdout: 0.2, ..TrainSpec::default() };
        let spelled: Arc<dyn Dataset> = Arc::new((0..60).map(spelled).collect::<Vec<_>>());
        let splits = Splits::new(spelled, &spec, 1).unwrap();
        assert_eq!((splits.held_out, splits.validate.len()), (4, 12));
        assert_eq!(splits.validate, Splits::new(rows, &spec, 1).unwrap().validate);
    }

    #[test]
    fn nothing_is_held_out_if_the_last_checkpoint_is_kept() {
        let spec = TrainSpec { metric: BestBy::Last, ..TrainSpec::default() };
        let splits = Splits::new(dataset(20, false), &spec, 1).unwrap();
        assert_eq!((splits.train.len(), splits.validate.len()), (60, 0));
    }

    #[test]
    fn a_smaller_fraction_of_the_training_images_is_part_of_a_larger() {
        let of = |fraction, seed| {
            let spec = TrainSpec { fraction, metric: BestBy::Last, ..TrainSpec::default() };
            Splits::new(dataset(20, false), &spec, seed).unwrap().train
        };
        let (small, middle, all) = (of(0.1, 1), of(0.3, 1), of(1.0, 1));
        assert_eq!((small.len(), middle.len(), all.len()), (6, 18, 60));
        assert!(small.iter().all(|i| middle.contains(i)), "{small:?} {middle:?}");
        assert_ne!(small, of(0.1, 2));
        assert_eq!(of(1e-6, 1).len(), 3); // whole images, and one at least
    }

    #[test]
    fn holding_out_nothing_or_everything_is_an_error() {
        for holdout in [0.0, 1.0] {
            let spec = TrainSpec { holdout, ..TrainSpec::default() };
            let error = Splits::new(dataset(20, false), &spec, 1).err().unwrap();
            assert!(error.to_string().contains("train.holdout"), "{error}");
        }
    }
}
