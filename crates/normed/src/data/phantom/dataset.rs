//! The data set of phantoms: examples by their index.

use super::draw::draw;
use super::questions::{QUESTIONS_PER_IMAGE, questions};
use super::random::{Purpose, RandomStream};
use super::report::report;
use super::scene::Scene;
use super::site::Site;
use crate::data::{
    Answer, AnswerType, Attributes, Dataset, DrawnImage, Example, Image, ImageSource,
    PhantomDomain, Split,
};
use crate::{Error, Result};

/// Width and height of the images, in pixels.
pub const IMAGE_SIZE: usize = 64;

/// Examples of one domain: the training split first, then validation, then test.
///
/// Examples `4n` to `4n + 3` of a split ask about the same image; each report has an image of its own.
/// Images are drawn only when their pixels are needed.
#[derive(Debug, Clone, Copy)]
pub struct Phantom {
    domain: PhantomDomain,
    seed: u64,
    /// Examples in each split, in the order of [`SPLITS`].
    counts: [usize; 3],
    /// Whether an example is an image and its report, not a question about it.
    reports: bool,
}

/// The order of the splits, and what they are called in ids.
const SPLITS: [(Split, &str); 3] =
    [(Split::Train, "train"), (Split::Validate, "validate"), (Split::Test, "test")];

/// Which question about which image an example is.
#[derive(Clone, Copy)]
struct Position {
    /// Index into [`SPLITS`].
    split: usize,
    /// Number of the example within the split.
    example: usize,
    /// Number of the image within the split.
    image: usize,
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

    /// The same number of examples, each an image and a short report that is true of it.
    #[must_use]
    pub fn with_reports(self) -> Self {
        Self { reports: true, ..self }
    }

    fn position(&self, i: usize) -> Result<Position> {
        let mut example = i;
        for (split, &count) in self.counts.iter().enumerate() {
            if example < count {
                let examples_per_image = if self.reports { 1 } else { QUESTIONS_PER_IMAGE };
                return Ok(Position { split, example, image: example / examples_per_image });
            }
            example -= count;
        }
        Err(Error::failed(format!("phantom example {i}"), format!("there are only {}", self.len())))
    }

    fn random(&self, position: &Position, purpose: Purpose) -> RandomStream {
        RandomStream::new(self.seed, position.split as u64, position.image as u64, purpose)
    }

    fn scene(&self, position: &Position) -> Scene {
        Scene::draw(&mut self.random(position, Purpose::Scene))
    }

    fn draw(&self, position: &Position) -> Image {
        #[cfg(test)]
        super::tests::DRAWN.with(|drawn| drawn.set(drawn.get() + 1));
        let mut random = self.random(position, Purpose::Draw);
        draw(&self.scene(position), &Site::of(self.domain), IMAGE_SIZE, &mut random)
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
            (String::new(), report(&scene), AnswerType::Report, "-report")
        } else {
            let mut all = questions(&scene, &mut self.random(&position, Purpose::Ask));
            let asked = &mut all[position.example % QUESTIONS_PER_IMAGE];
            let (text, answer) = (&mut asked.text, &mut asked.answer);
            (std::mem::take(text), std::mem::take(answer), asked.answer_type, "")
        };
        let (split, split_name) = SPLITS[position.split];
        let domain = match self.domain {
            PhantomDomain::Source => "source",
            PhantomDomain::Shifted => "shifted",
        };
        let image_name = format!("phantom-{domain}-{split_name}-picture-{}", position.image);
        let phantom = *self;
        let image = DrawnImage::new(format!("{image_name}-seed-{}", self.seed), move || {
            phantom.draw(&position)
        });
        Ok(Example {
            id: format!("phantom-{domain}-{split_name}{kind}-{}", position.example),
            images: vec![ImageSource::Drawn(image)],
            image_name,
            question,
            answer: Some(Answer::new(answer, answer_type)),
            split,
            group: None,
            history: Vec::new(),
            place: String::new(),
            attributes: Attributes::from([
                ("modality".to_owned(), scene.modality.name().to_owned()),
                ("organ".to_owned(), scene.region.name().to_owned()),
            ]),
        })
    }
}
