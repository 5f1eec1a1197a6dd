//! The collator: from examples to padded batches, by a model's rules for text and images.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest, Sha256};

use super::{
    Batch, Example, IGNORE_INDEX, IMAGE_TOKEN, Image, ImageKey, ImageProcessor, ImageSource,
    Images, TextRule, TokenRows, TokenizedExample, Tokenizer,
};
use crate::Result;
use crate::tensor::Tensor;

/// An example as a model reads it: token ids, and pixel values or image features.
#[derive(Debug, Clone)]
pub struct PreparedExample {
    /// The example it was made from.
    pub example: Example,
    /// The images, if there are any.
    pub images: Images,
    /// The question with its special tokens, or the prompt without its last token.
    pub question: Vec<u32>,
    /// First token of the decoder's input.
    pub start: u32,
    /// The answer without special tokens; `None` if it is not known.
    pub answer: Option<Vec<u32>>,
    /// Whether the question lost its last tokens.
    pub is_question_cut: bool,
    /// Whether the answer, a report, lost its last tokens.
    pub is_answer_cut: bool,
}

/// Features of images that a frozen encoder has computed before, so that no image is encoded twice.
pub trait ImageFeatures: Send + Sync {
    /// The features of one image.
    ///
    /// # Errors
    /// If the features are not available.
    fn features(&self, image: &ImageSource) -> Result<Images>;
}

/// Makes batches by a model's rules. Decoded and resized images are cached in memory.
pub struct Collator {
    /// Tokenizes questions and answers.
    pub tokenizer: Arc<Tokenizer>,
    /// Turns decoded images into pixel values.
    pub image_processor: Arc<dyn ImageProcessor>,
    /// Arranges the tokens of a question and an answer.
    pub text_rule: TextRule,
    cache: ImageCache,
    features: Option<Arc<dyn ImageFeatures>>,
    max_report_tokens: usize,
    /// Whether an example without an answer is an error.
    needs_answers: bool,
}

impl Collator {
    /// Limit of the memory for cached images, in bytes: about a thousand images of 384 pixels a side.
    pub const MAX_CACHE_BYTES: usize = 512 << 20;

    /// Creates a collator with an empty cache.
    pub fn new(
        tokenizer: Arc<Tokenizer>,
        image_processor: Arc<dyn ImageProcessor>,
        text_rule: TextRule,
    ) -> Self {
        let cache = ImageCache { limit: Self::MAX_CACHE_BYTES, held: Mutex::default() };
        Self {
            tokenizer,
            image_processor,
            text_rule,
            cache,
            features: None,
            max_report_tokens: usize::MAX,
            needs_answers: true,
        }
    }

    /// The same collator, which truncates reports to this many tokens, end token included.
    ///
    /// Without this, reports are truncated to the positions of the model.
    #[must_use]
    pub fn with_max_report_tokens(self, tokens: usize) -> Self {
        Self { max_report_tokens: tokens, ..self }
    }

    /// The same collator, which accepts examples without an answer. A batch of them can be answered; they have no
    /// labels and no loss.
    ///
    /// Without this, an example without an answer is an error: training must not meet one.
    #[must_use]
    pub fn without_answers(self) -> Self {
        Self { needs_answers: false, ..self }
    }

    /// The same collator, which keeps no image in memory: a file is read each time.
    #[must_use]
    pub fn without_image_cache(self) -> Self {
        Self { cache: ImageCache { limit: 0, held: Mutex::default() }, ..self }
    }

    /// The same collator, which gives the features of images instead of their pixel values.
    #[must_use]
    pub fn with_features(self, features: Arc<dyn ImageFeatures>) -> Self {
        Self { features: Some(features), ..self }
    }

    /// Prepares one example: its text is tokenized, its images are decoded, resized and normalized.
    ///
    /// # Errors
    ///
    /// If an image cannot be decoded, or if [`Collator::tokenize`] fails.
    pub fn prepare(&self, example: &Example) -> Result<PreparedExample> {
        let TokenizedExample { question, start, answer, question_cut, answer_cut } =
            self.tokenize(example)?;
        Ok(PreparedExample {
            images: self.images(example)?,
            question,
            start,
            answer,
            is_question_cut: question_cut > 0,
            is_answer_cut: answer_cut > 0,
            example: example.clone(),
        })
    }

    /// The images of an example: their pixel values, or their features where these are computed.
    fn images(&self, example: &Example) -> Result<Images> {
        let one = |image| match &self.features {
            Some(features) => features.features(image),
            None => self.pixel_values(image),
        };
        let each = example.images.iter().map(one).collect::<Result<Vec<_>>>();
        let mut each = each.map_err(|error| example.name_row(error))?;
        match each.len() {
            1 => Ok(each.remove(0)),
            _ => Ok(Images::concat(&each.iter().collect::<Vec<_>>())),
        }
    }

    fn pixel_values(&self, image: &ImageSource) -> Result<Images> {
        let resize = || Ok(self.image_processor.resize(&image.load()?));
        // To draw an image again costs less than the memory to keep it.
        let resized = match image.is_drawn() {
            true => Arc::new(resize()?),
            false => self.cache.get(image.key(), resize)?,
        };
        let pixels = self.image_processor.normalize(&resized);
        Ok(Images::from_pixels(Tensor::new(&[1, 3, resized.height, resized.width], pixels)))
    }

    /// Pads and stacks `examples`. The dropout keys of the batch depend on `epoch` and the examples' ids.
    pub fn batch(&self, examples: &[PreparedExample], epoch: u64) -> Batch {
        let (end, filler) = (self.text_rule.end_token(), self.text_rule.pad_token());
        let with_start = |p: &PreparedExample| match &p.answer {
            Some(answer) => [&[p.start], answer.as_slice()].concat(),
            None => vec![p.start],
        };
        let decoder_inputs: Vec<_> = examples.iter().map(with_start).collect();
        let decoder_input_ids = pad(decoder_inputs.iter().map(Vec::as_slice), filler);

        let mut labels = Vec::with_capacity(decoder_input_ids.ids.len());
        for (b, prepared) in examples.iter().enumerate() {
            // Of an unknown answer no position has a label.
            if let Some(answer) = &prepared.answer {
                labels.extend(answer);
                labels.push(end);
            }
            labels.resize((b + 1) * decoder_input_ids.width, IGNORE_INDEX);
        }
        let is_label = |&&label: &&u32| label != IGNORE_INDEX;
        Batch {
            images: Images::concat(&examples.iter().map(|p| &p.images).collect::<Vec<_>>()),
            views: examples.iter().map(|p| p.images.count()).collect(),
            input_ids: pad(examples.iter().map(|p| p.question.as_slice()), filler),
            target_count: labels.iter().filter(is_label).count(),
            decoder_input_ids,
            labels,
            keys: examples.iter().map(|p| example_key(&p.example.id, epoch)).collect(),
        }
    }

    /// The number of tokens of an example, for sorting by length: its question, the positions that its
    /// images take in it, and its answer.
    ///
    /// # Errors
    ///
    /// As [`Collator::tokenize`].
    pub fn length(&self, example: &Example) -> Result<usize> {
        let tokenized = self.tokenize(example)?;
        let answer = tokenized.answer.as_ref().map_or(0, Vec::len);
        Ok(self.question_length(example, &tokenized)? + answer + 1)
    }

    /// Tokenizes the question and the answer of an example.
    ///
    /// # Errors
    ///
    /// If [`TextRule::tokenize`] fails, if the size of an image cannot be read, or if the example has no answer and
    /// the collator needs one ([`Collator::without_answers`]).
    pub fn tokenize(&self, example: &Example) -> Result<TokenizedExample> {
        if self.needs_answers {
            example.expect_answer()?;
        }
        let image_tokens = self.image_tokens(example)?;
        self.text_rule.tokenize(&self.tokenizer, example, image_tokens, self.max_report_tokens)
    }

    /// How many tokens can be generated after the question of an example, whose tokens are given.
    ///
    /// # Errors
    ///
    /// If the size of an image cannot be read.
    pub fn generation_room(&self, example: &Example, tokens: &TokenizedExample) -> Result<usize> {
        let positions = self.text_rule.positions();
        match self.text_rule {
            // An answer ends at the decoder's last position; the question takes none of them.
            TextRule::Question(_) => Ok(usize::MAX),
            TextRule::Prompt(_) => {
                Ok(positions.saturating_sub(self.question_length(example, tokens)?))
            }
        }
    }

    /// The positions of a question, or of a prompt without its last token: those of its images included.
    fn question_length(&self, example: &Example, tokens: &TokenizedExample) -> Result<usize> {
        // The place of an image is one of the question's tokens.
        let places = tokens.question.iter().filter(|&&id| id == IMAGE_TOKEN).count();
        Ok(tokens.question.len() + self.image_tokens(example)?.saturating_sub(places))
    }

    /// The positions that an example's images take in a prompt.
    fn image_tokens(&self, example: &Example) -> Result<usize> {
        let processor = &self.image_processor;
        let tokens = |image| Ok(processor.num_tokens(processor.processed_size(image)?));
        example.images.iter().map(tokens).sum()
    }
}

/// The key of an example's random streams in an epoch: the same on every machine and in every batch.
fn example_key(id: &str, epoch: u64) -> u64 {
    let digest = Sha256::new().chain_update(epoch.to_le_bytes()).chain_update(id).finalize();
    let [a, b, c, d, e, f, g, h, ..] = digest.0;
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

/// Rows padded on the right to the longest.
fn pad<'a>(rows: impl Iterator<Item = &'a [u32]> + Clone, pad: u32) -> TokenRows {
    let lengths: Vec<usize> = rows.clone().map(<[u32]>::len).collect();
    let width = lengths.iter().copied().max().unwrap_or(0);
    let mut ids = Vec::with_capacity(lengths.len() * width);
    for (b, row) in rows.enumerate() {
        ids.extend_from_slice(row);
        ids.resize((b + 1) * width, pad);
    }
    TokenRows { ids, lengths, width }
}

/// Resized images by their keys. The first that fit are kept, and none is dropped: an epoch needs every
/// image once, so that a cache that drops the oldest would drop each just before it is needed again.
struct ImageCache {
    limit: usize,
    held: Mutex<CachedImages>,
}

#[derive(Default)]
struct CachedImages {
    images: HashMap<ImageKey, Arc<Image>>,
    bytes: usize,
}

impl ImageCache {
    fn get(&self, key: ImageKey, make: impl FnOnce() -> Result<Image>) -> Result<Arc<Image>> {
        // What is held is whole at any time, so that another thread's panic does not matter.
        let lock = || self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(image) = lock().images.get(&key) {
            return Ok(image.clone());
        }
        let image = Arc::new(make()?);
        let mut held = lock();
        if held.bytes + image.rgb.len() <= self.limit
            && held.images.insert(key, image.clone()).is_none()
        {
            held.bytes += image.rgb.len();
        }
        Ok(image)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::path::Path;

    use super::*;
    use crate::Error;
    use crate::data::example::tests::example;
    use crate::data::phantom::Phantom;
    use crate::data::{
        Answer, AnswerType, Dataset, ImageSize, ImageValues, PhantomDomain, QuestionRule,
    };

    /// Tokens 5 to 9 are `is it normal ? no`; images have 2 pixels a side.
    pub fn collator(max_question_tokens: usize) -> Collator {
        let words = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[DEC]\nis\nit\nnormal\n?\nno\n";
        let tokenizer = Tokenizer::from_words(Path::new("words"), words).unwrap();
        let text_rule = QuestionRule {
            question_start: 2,
            decoder_start: 4,
            end: 3,
            pad: 0,
            max_question_tokens,
            max_answer_tokens: 4,
        };
        Collator::new(Arc::new(tokenizer), Arc::new(TopLeft), text_rule.into())
    }

    /// The four pixels in an image's top left corner, from 0 to 1.
    #[derive(Debug)]
    struct TopLeft;

    impl ImageProcessor for TopLeft {
        fn processed_size(&self, _: &ImageSource) -> Result<ImageSize> {
            Ok(self.largest_size())
        }

        fn largest_size(&self) -> ImageSize {
            ImageSize::square(2)
        }

        fn num_tokens(&self, _: ImageSize) -> usize {
            0
        }

        fn resize(&self, image: &Image) -> Image {
            let row = |y: usize| &image.rgb[3 * image.width * y..][..6];
            Image { width: 2, height: 2, rgb: [row(0), row(1)].concat() }
        }

        fn normalize(&self, resized: &Image) -> Vec<f32> {
            let channel = |c| resized.rgb.iter().skip(c).step_by(3);
            (0..3).flat_map(channel).map(|&v| f32::from(v) / 255.0).collect()
        }

        fn save(&self, _: &Path) -> Result<()> {
            Ok(())
        }
    }

    /// An example with an image of its own color.
    pub fn drawn(id: &str, question: &str, answer: &str, color: u8) -> Example {
        let image = Image { width: 3, height: 3, rgb: vec![color; 27] };
        Example {
            images: vec![ImageSource::Drawn(image.into())],
            question: question.into(),
            answer: Some(Answer::new(answer, AnswerType::Closed)),
            ..example(id, id)
        }
    }

    #[test]
    fn a_batch_is_padded_and_its_labels_are_shifted() {
        let collator = collator(5);
        let examples = [
            drawn("a", "Is it normal?", "no", 0),
            drawn("b", "normal", "it is no", 255),
            // An empty answer is its end token.
            drawn("c", "?", "", 0),
        ];
        let prepared: Vec<_> = examples.iter().map(|e| collator.prepare(e).unwrap()).collect();
        let batch = collator.batch(&prepared, 0);
        // The first question is cut to 5 tokens and keeps its end.
        assert_eq!(batch.input_ids.ids, [2, 5, 6, 7, 3, 2, 7, 3, 0, 0, 2, 8, 3, 0, 0]);
        assert_eq!((batch.input_ids.width, &batch.input_ids.lengths[..]), (5, &[5, 3, 3][..]));
        assert_eq!(batch.decoder_input_ids.ids, [4, 9, 0, 0, 4, 6, 5, 9, 4, 0, 0, 0]);
        assert_eq!(batch.decoder_input_ids.lengths, [2, 4, 1]);
        let i = IGNORE_INDEX;
        assert_eq!(batch.labels, [9, 3, i, i, 6, 5, 9, 3, 3, i, i, i]);
        assert_eq!(batch.target_count, 7);
        assert_eq!(batch.images.sizes, [ImageSize::square(2); 3]);
        let pixels = batch.images.tensor();
        assert_eq!((pixels.shape(), &pixels.data()[12..16]), (&[3 * 12][..], &[1.0; 4][..]));
        assert_eq!(collator.length(&examples[0]).unwrap(), 7);
    }

    /// Each image's color.
    struct Colors;

    impl ImageFeatures for Colors {
        fn features(&self, image: &ImageSource) -> Result<Images> {
            let ImageSource::Drawn(drawn) = image else { panic!("{image:?}") };
            let features = Tensor::new(&[1, 2], vec![f32::from(drawn.draw().rgb[0]), 1.0]);
            let values = ImageValues::Features { features, counts: vec![1] };
            Ok(Images { sizes: vec![ImageSize::square(2)], values })
        }
    }

    #[test]
    fn features_replace_pixels() {
        let collator = collator(5).with_features(Arc::new(Colors));
        let examples = [drawn("a", "?", "no", 7), drawn("b", "?", "no", 9)];
        let prepared: Vec<_> = examples.iter().map(|e| collator.prepare(e).unwrap()).collect();
        let images = collator.batch(&prepared, 0).images;
        let ImageValues::Features { features, counts } = images.values else { panic!() };
        assert_eq!((features.shape(), &counts[..]), (&[2, 2][..], &[1, 1][..]));
        assert_eq!(features.data(), [7.0, 1.0, 9.0, 1.0]);
    }

    /// An unknown answer is no empty answer: it has no label, and a collator for training refuses it.
    #[test]
    fn an_unknown_answer_has_no_label_and_is_refused_in_training() {
        let unknown = Example { answer: None, ..drawn("a", "Is it normal?", "", 0) };
        let error = collator(5).prepare(&unknown).unwrap_err();
        assert!(error.to_string().contains("example `a`: it has no answer"), "{error}");
        assert!(collator(5).length(&unknown).is_err());

        let asking = collator(5).without_answers();
        let known = drawn("b", "?", "no", 0);
        let prepared = [&unknown, &known].map(|example| asking.prepare(example).unwrap());
        let batch = asking.batch(&prepared, 0);
        let i = IGNORE_INDEX;
        assert_eq!((&batch.labels[..], batch.target_count), (&[i, i, 9, 3][..], 2));
        assert_eq!(batch.decoder_input_ids.ids, [4, 0, 4, 9]);
        assert_eq!(asking.length(&unknown).unwrap(), 5 + 1);
    }

    #[test]
    fn an_answer_longer_than_the_decoder_is_an_error() {
        let error = collator(5).prepare(&drawn("long", "?", "no no no no", 0)).unwrap_err();
        assert!(error.to_string().contains("example `long`"), "{error}");
    }

    /// A report loses its last tokens; its end token stays.
    #[test]
    fn a_report_longer_than_the_decoder_or_the_recipe_is_truncated() {
        let report = Example {
            answer: Some(Answer::new("no it is no", AnswerType::Report)),
            ..drawn("long", "?", "", 0)
        };
        for (longest, tokens, cut) in [(9, &[9, 6, 5][..], 1), (3, &[9, 6], 2)] {
            let collator = collator(5).with_max_report_tokens(longest);
            let tokenized = collator.tokenize(&report).unwrap();
            assert_eq!((tokenized.answer.as_deref(), tokenized.answer_cut), (Some(tokens), cut));
            let batch = collator.batch(&[collator.prepare(&report).unwrap()], 0);
            assert_eq!(batch.labels, [tokens, &[3]].concat());
        }
    }

    /// The images of a study follow one another, as pixel values and as features.
    #[test]
    fn a_study_has_several_images() {
        let mut two = drawn("two", "?", "no", 7);
        two.images.extend(drawn("", "", "", 9).images);
        let examples = [drawn("one", "?", "no", 1), two];
        for collator in [collator(5), collator(5).with_features(Arc::new(Colors))] {
            let prepared: Vec<_> = examples.iter().map(|e| collator.prepare(e).unwrap()).collect();
            let batch = collator.batch(&prepared, 0);
            assert_eq!(batch.views, [1, 2]);
            let shade = |image: &Images| image.tensor().data()[0];
            let shades: Vec<f32> = batch.images.split().iter().map(shade).collect();
            assert_eq!(shades.len(), 3);
            assert!(shades.is_sorted_by(|a, b| a < b), "{shades:?}");
            let keys = batch.image_keys();
            assert_eq!((keys[0], keys[1]), (batch.keys[0], batch.keys[1]));
            assert_ne!(keys[1], keys[2]);
        }
    }

    #[test]
    fn keys_are_of_the_example_and_the_epoch_alone() {
        // SHA-256 of eight zero bytes and "a", its first eight bytes read from the lowest.
        assert_eq!(example_key("a", 0), 0x6948_504a_5c8b_fed7);
        assert_ne!(example_key("a", 0), example_key("a", 1));
        assert_ne!(example_key("a", 0), example_key("b", 0));
    }

    #[test]
    fn drawn_images_take_no_memory() {
        let phantom = Phantom::new(PhantomDomain::Source, [1, 0, 0], 1).unwrap();
        let collator = collator(4);
        let image = &phantom.get(0).unwrap().images[0];
        collator.pixel_values(image).unwrap();
        assert_eq!(collator.cache.held.lock().unwrap().bytes, 0);
    }

    #[test]
    fn images_are_decoded_once_while_they_fit_the_limit() {
        let cache = |limit| ImageCache { limit, held: Mutex::default() };
        let made = std::cell::Cell::new(0);
        let get = |cache: &ImageCache, name: &str| {
            let make = || {
                made.set(made.get() + 1);
                Ok(Image { width: 1, height: 1, rgb: vec![0; 3] })
            };
            cache.get(ImageKey::Path(name.into()), make).unwrap();
            made.get()
        };
        let two = cache(7);
        let counts = ["a", "b", "a", "b", "c", "a", "c"].map(|name| get(&two, name));
        assert_eq!(counts, [1, 2, 2, 2, 3, 3, 4]);
        assert_eq!(two.held.lock().unwrap().bytes, 6);
        let none = cache(0);
        assert_eq!(["a", "a"].map(|name| get(&none, name)), [5, 6]);
        assert!(
            none.get(ImageKey::Path("a".into()), || Err(Error::failed("a", "broken"))).is_err()
        );
    }
}
