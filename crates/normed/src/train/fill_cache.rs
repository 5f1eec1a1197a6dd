//! Filling the cache of image features: the frozen image encoder encodes every image of the run once,
//! before the first step.

use std::sync::Arc;
use std::time::Instant;

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::completion::{Interruption, interrupt_if};
use super::event::{Event, Subject};
use super::feature_cache::{FeatureCache, ImageHash};
use super::run::Run;
use super::step::noise;
use crate::Result;
use crate::data::{DECODERS_VERSION, Image, ImageProcessor, ImageSource, Images};
use crate::files::hex;
use crate::models::{FrozenEncoder, LoadedModel};
use crate::nn::Mode;
use crate::recipe::CachePlace;
use crate::tensor::Tensor;
use crate::weights::hash_elements;

/// An image of the run: its hash, an example that contains it, and its place among the example's images.
struct RunImage {
    hash: ImageHash,
    example: usize,
    view: usize,
}

impl Run<'_> {
    /// If the image encoder is frozen, encodes every image of the run, except those that are in the
    /// cache already. Batches carry the cached features from then on. If the run is asked to stop
    /// meanwhile, the features computed so far stay in the cache.
    pub(super) fn cache_image_features(&mut self) -> Result<(), Interruption> {
        let began = Instant::now();
        let directory = match &self.recipe.cache.place {
            CachePlace::Off => return Ok(()),
            CachePlace::Run => self.directory.feature_cache(),
            CachePlace::At(path) => path.clone(),
        };
        let LoadedModel { model, params, .. } = &self.loaded;
        let training = Mode::Train(noise(&self.recipe.train, self.recipe.seed));
        // Evaluations have no noise, so that the cache may serve them and not training.
        let Some(encoder) = model.frozen_encoder(params, Mode::Evaluate) else { return Ok(()) };
        let trains = self.epochs > 0 && model.frozen_encoder(params, training).is_some();
        let (fingerprint, example) = fingerprint_encoder(encoder, &self.loaded)?;
        let mut cache = FeatureCache::new(directory.join(&fingerprint), fingerprint, &example);
        let images = self.request_images(&mut cache, trains)?;
        let bytes = (images.len() * example.tensor().bytes()) as u64;
        if images.is_empty() || !self.fits_cache(images.len(), bytes)? {
            return Ok(());
        }
        let computed = self.encode_images(&mut cache, &images)?;
        self.log.emit(Event::Cached {
            images: images.len(),
            computed,
            bytes,
            directory,
            seconds: began.elapsed().as_secs_f64(),
        })?;
        let cache = Arc::new(cache);
        if trains {
            let collator = self.recipe.training_collator(&self.loaded);
            self.collator = Arc::new(collator.with_features(cache.clone()));
        }
        self.evaluation_collator = Arc::new(self.loaded.collator().with_features(cache));
        Ok(())
    }

    /// Requests the features of every distinct image of the run from `cache`. Training images are
    /// included only if the run `trains` on cached features.
    fn request_images(&self, cache: &mut FeatureCache, trains: bool) -> Result<Vec<RunImage>> {
        let splits = &self.splits;
        let train = splits.train.iter().filter(|_| trains);
        let test = splits.test.iter().filter(|_| self.options.test);
        let mut images = Vec::new();
        for &example in train.chain(&splits.validate).chain(test) {
            for (view, image) in splits.dataset.get(example)?.images.iter().enumerate() {
                if let Some(hash) = cache.request(image)? {
                    images.push(RunImage { hash, example, view });
                }
            }
        }
        Ok(images)
    }

    /// Whether the features of `images` images are within `cache.max_gib`; warns if not.
    fn fits_cache(&mut self, images: usize, bytes: u64) -> Result<bool> {
        let max_gib = self.recipe.cache.max_gib;
        let gib = bytes as f64 / f64::from(1 << 30);
        let fits = gib <= f64::from(max_gib);
        if !fits {
            let message = format!(
                "The cached image features of {images} images would take {gib:.1} GiB, more than \
                 cache.max_gib = {max_gib}. They are computed again in every epoch."
            );
            self.log.emit(Event::Warning { message })?;
        }
        Ok(fits)
    }

    /// Encodes the `images` that the files of `cache` do not hold yet, and adds them to it. Returns how
    /// many these are.
    fn encode_images(
        &mut self,
        cache: &mut FeatureCache,
        images: &[RunImage],
    ) -> Result<usize, Interruption> {
        let LoadedModel { model, params, image_processor, .. } = &self.loaded;
        let mut computed = 0;
        let mut left = images.iter();
        loop {
            // Other runs may have written files meanwhile.
            for error in cache.load_existing()? {
                let message = format!("{}: {}. The file is ignored.", error.place(), error.cause());
                self.log.emit(Event::Warning { message })?;
            }
            let batch: Vec<_> = (left.by_ref().filter(|image| !cache.holds(&image.hash)))
                .take(self.recipe.train.batch_size)
                .collect();
            if batch.is_empty() {
                return Ok(computed);
            }
            let pixels = |image: &&RunImage| {
                let example = self.splits.dataset.get(image.example)?;
                pixel_values(&**image_processor, &example.images[image.view])
                    .map_err(|error| example.name_row(error))
            };
            let pixels = batch.par_iter().map(pixels).collect::<Result<Vec<_>>>()?;
            let pixels = Images::concat(&pixels.iter().collect::<Vec<_>>());
            let hashes: Vec<_> = batch.iter().map(|image| image.hash).collect();
            // It was frozen when the images were requested.
            let encoder = model.frozen_encoder(params, Mode::Evaluate).expect("a frozen encoder");
            cache.add(&hashes, &encoder.encode(params, &pixels)?)?;
            computed += batch.len();
            let (done, total) = (images.len() - left.len(), images.len());
            self.log.notify(&Event::Progress { subject: Subject::Images, done, total });
            interrupt_if(&self.options.stop)?;
        }
    }
}

/// A hash of everything but the image that the encoder's output depends on, and the output for one image.
///
/// The hash covers the encoder's weights, the image processor, the image decoders, the precision, and the output for
/// one fixed image. The last stands for the model's structure and for the arithmetic of this program and of this
/// processor.
fn fingerprint_encoder(
    encoder: &dyn FrozenEncoder,
    loaded: &LoadedModel,
) -> Result<(String, Images)> {
    let LoadedModel { params, image_processor, .. } = loaded;
    let size = image_processor.largest_size();
    let rgb = (0..3 * size.pixels()).map(|i| (i * i % 251) as u8).collect();
    let image = Image { width: size.width, height: size.height, rgb };
    let features = encoder.encode(params, &normalized(&**image_processor, &image))?;
    let mut hash = Sha256::new();
    for id in encoder.parameters(params) {
        let parameter = params.get(id);
        hash.update(format!("{} {:?}\n", parameter.name(), parameter.shape()));
        hash_elements(&mut hash, parameter.value());
    }
    hash.update(format!("{image_processor:?} {:?}\n", params.precision()));
    hash.update(DECODERS_VERSION);
    hash_elements(&mut hash, features.tensor());
    Ok((hex(&hash.finalize()), features))
}

/// The pixel values of an image. They are not kept, since they are needed once.
fn pixel_values(processor: &dyn ImageProcessor, image: &ImageSource) -> Result<Images> {
    Ok(normalized(processor, &processor.resize(&image.load()?)))
}

fn normalized(processor: &dyn ImageProcessor, resized: &Image) -> Images {
    let shape = [1, 3, resized.height, resized.width];
    Images::from_pixels(Tensor::new(&shape, processor.normalize(resized)))
}
