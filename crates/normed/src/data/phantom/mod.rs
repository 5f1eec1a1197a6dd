//! Phantoms: procedural pictures that look a little like radiology, with questions that are true of
//! them. Any number of examples comes from one seed, and each can be had without the others.
//!
//! - `anatomy`: modalities, regions, organs, places, kinds of lesion, and their names;
//! - `scene`: which of them one picture shows, and where;
//! - `ask`: questions and answers that follow from a scene, balanced so that the picture decides;
//! - `grammar`: their phrasings, and the vocabulary of it all;
//! - `report`: a short report that is true of a scene;
//! - `draw`: from a scene to a picture, by means of `canvas`;
//! - `site`: what one site's machines do to every picture;
//! - `dice`: random numbers that are a function of seed, split, index and purpose.
//!
//! The two domains differ by their `site::Site` alone: the same seed gives the same scenes, questions
//! and answers in both.

mod anatomy;
mod ask;
mod canvas;
mod dice;
mod draw;
mod grammar;
mod report;
mod scene;
mod site;

use std::sync::Arc;

use super::{AnswerType, Attributes, Dataset, Example, ImageSource, PhantomDomain, Picture, Split};
use crate::{Error, Result};
use ask::{QUESTIONS_PER_PICTURE, questions};
use dice::{Dice, Purpose};
use scene::Scene;
use site::Site;

pub use grammar::vocabulary;

/// Width and height of the pictures, in pixels.
pub const PICTURE_SIZE: usize = 64;

/// Examples of one domain: the training split first, then validation, then test. Examples 4n to
/// 4n + 3 of a split ask about the same picture; of reports each has a picture of its own.
#[derive(Debug, Clone)]
pub struct Phantom {
    domain: PhantomDomain,
    seed: u64,
    /// Examples in each split, in the order of [`SPLITS`].
    counts: [usize; 3],
    /// Whether an example is a picture's report.
    reports: bool,
}

/// The order of the splits, and what they are called in ids.
const SPLITS: [(Split, &str); 3] =
    [(Split::Train, "train"), (Split::Validate, "validate"), (Split::Test, "test")];

/// Which question about which picture an example is.
struct Position {
    /// Index into [`SPLITS`].
    split: usize,
    /// Within the split.
    example: usize,
    /// Within the split.
    picture: usize,
}

impl Phantom {
    /// A data set of `train`, `validate` and `test` examples.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) if there are none at all, or more than can be counted.
    pub fn new(
        domain: PhantomDomain,
        [train, validate, test]: [usize; 3],
        seed: u64,
    ) -> Result<Self> {
        let sum = train.checked_add(validate).and_then(|sum| sum.checked_add(test));
        match sum {
            Some(1..) => Ok(Self { domain, seed, counts: [train, validate, test], reports: false }),
            Some(0) => Err(Error::invalid("data", "a phantom without examples")
                .with_remedy("give `train`, `validate` or `test` a number of examples")),
            None => Err(Error::invalid("data", "more phantom examples than can be counted")),
        }
    }

    /// As many examples, each a picture and a short report that is true of it.
    #[must_use]
    pub fn with_reports(self) -> Self {
        Self { reports: true, ..self }
    }

    fn position(&self, i: usize) -> Result<Position> {
        let mut example = i;
        for (split, &count) in self.counts.iter().enumerate() {
            if example < count {
                let pictures = if self.reports { 1 } else { QUESTIONS_PER_PICTURE };
                return Ok(Position { split, example, picture: example / pictures });
            }
            example -= count;
        }
        Err(Error::failed(format!("phantom example {i}"), format!("there are only {}", self.len())))
    }

    fn dice(&self, position: &Position, purpose: Purpose) -> Dice {
        Dice::new(self.seed, position.split as u64, position.picture as u64, purpose)
    }

    fn scene(&self, position: &Position) -> Scene {
        Scene::draw(&mut self.dice(position, Purpose::Scene))
    }

    fn picture(&self, position: &Position, scene: &Scene) -> Picture {
        let mut dice = self.dice(position, Purpose::Draw);
        draw::draw(scene, &Site::of(self.domain), PICTURE_SIZE, &mut dice)
    }
}

impl Dataset for Phantom {
    fn len(&self) -> usize {
        self.counts.iter().sum()
    }

    fn get(&self, i: usize) -> Result<Example> {
        let position = self.position(i)?;
        let scene = self.scene(&position);
        let (question, answer, answer_type, kind) = if self.reports {
            (String::new(), report::report(&scene), AnswerType::Report, "-report")
        } else {
            let mut all = questions(&scene, &mut self.dice(&position, Purpose::Ask));
            let asked = &mut all[position.example % QUESTIONS_PER_PICTURE];
            let (text, answer) = (&mut asked.text, &mut asked.answer);
            (std::mem::take(text), std::mem::take(answer), asked.answer_type, "")
        };
        let (split, split_name) = SPLITS[position.split];
        let domain = match self.domain {
            PhantomDomain::Source => "source",
            PhantomDomain::Shifted => "shifted",
        };
        Ok(Example {
            id: format!("phantom-{domain}-{split_name}{kind}-{}", position.example),
            images: vec![ImageSource::Drawn(Arc::new(self.picture(&position, &scene)))],
            image_name: format!("phantom-{domain}-{split_name}-picture-{}", position.picture),
            question,
            answer,
            answer_type,
            split,
            group: None,
            attributes: Attributes::from([
                ("modality".to_owned(), scene.modality.name().to_owned()),
                ("organ".to_owned(), scene.region.name().to_owned()),
            ]),
        })
    }
}

#[cfg(test)]
mod tests;
