//! The frozen prefix: what it makes of the run's pictures is computed once, before the first step.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::run::Run;
use super::states::{PictureHash, States};
use super::step::noise;
use super::{Event, Subject};
use crate::Result;
use crate::data::{Image, ImageRule, ImageSource};
use crate::files::hex;
use crate::models::{FrozenEncoder, LoadedModel};
use crate::nn::Mode;
use crate::recipe::CachePlace;
use crate::tensor::Tensor;
use crate::weights::hash_elements;

impl Run<'_> {
    /// Where the model has a frozen prefix, computes what it makes of every picture that the run
    /// will see, or takes up what was computed before; batches carry it from then on. False if the
    /// run was asked to stop before that was done: what is computed stays.
    pub(super) fn cache_prefix(&mut self) -> Result<bool> {
        let began = Instant::now();
        let cache = &self.recipe.cache;
        let place = match &cache.place {
            CachePlace::Off => return Ok(true),
            CachePlace::Run => self.directory.states(),
            CachePlace::At(path) => path.clone(),
        };
        let LoadedModel { model, params, image_rule, .. } = &self.loaded;
        let training = Mode::Train(noise(&self.recipe.train, self.recipe.seed));
        // Nothing is random in an evaluation: what is a prefix there may be none in training.
        let Some(prefix) = model.frozen_encoder(params, Mode::Evaluate) else { return Ok(true) };
        let trains = self.epochs > 0 && model.frozen_encoder(params, training).is_some();
        let (hash, like) = identify(prefix, &self.loaded)?;
        let mut states = States::new(place.join(&hash), hash, &like);
        let wanted = self.want(&mut states, trains)?;
        let bytes = (wanted.len() * like.bytes()) as u64;
        if wanted.is_empty() {
            return Ok(true);
        }
        let gib = bytes as f64 / f64::from(1 << 30);
        if gib > f64::from(cache.max_gib) {
            let message = format!(
                "what the frozen towers make of {} pictures would take {gib:.1} GiB, more than \
                 cache.max_gib = {}: it is computed anew every time",
                wanted.len(),
                cache.max_gib
            );
            self.log.emit(Event::Warning { message })?;
            return Ok(true);
        }

        let mut computed = 0;
        let mut left = wanted.iter();
        loop {
            for error in states.take_up()? {
                let message = format!("{}: {}; it is not used", error.place(), error.cause());
                self.log.emit(Event::Warning { message })?;
            }
            let batch: Vec<_> = (left.by_ref().filter(|(picture, _)| !states.holds(picture)))
                .take(self.recipe.train.batch_size)
                .collect();
            if batch.is_empty() {
                break;
            }
            let one = |(_, (i, view)): &&(PictureHash, (usize, usize))| {
                pixel_values(image_rule, &self.splits.dataset.get(*i)?.images[*view])
            };
            let pixels = batch.par_iter().map(one).collect::<Result<Vec<_>>>()?.concat();
            let pixels = Tensor::new(&[batch.len(), 3, image_rule.size, image_rule.size], pixels);
            let pictures: Vec<_> = batch.iter().map(|(picture, _)| *picture).collect();
            states.add(&pictures, &prefix.encode(params, &pixels)?)?;
            computed += batch.len();
            let (of, examples) = (Subject::Pictures, wanted.len());
            self.log.tell(&Event::Progress { of, done: examples - left.len(), examples });
            if self.options.stop.load(Ordering::Relaxed) {
                return Ok(false);
            }
        }
        self.log.emit(Event::Cached {
            pictures: wanted.len(),
            computed,
            bytes,
            directory: place,
            seconds: began.elapsed().as_secs_f64(),
        })?;
        let collator = self.recipe.collator(&self.loaded).with_features(Arc::new(states));
        let collator = Arc::new(collator);
        if trains {
            self.collator = Arc::clone(&collator);
        }
        self.evaluation_collator = collator;
        Ok(true)
    }

    /// Every picture that the run will see once, with an example of it and its place there; those of the
    /// training split only if it `trains` on their states.
    fn want(
        &self,
        states: &mut States,
        trains: bool,
    ) -> Result<Vec<(PictureHash, (usize, usize))>> {
        let splits = &self.splits;
        let train = splits.train.iter().filter(|_| trains);
        let test = splits.test.iter().filter(|_| self.options.test);
        let mut wanted = Vec::new();
        for &i in train.chain(&splits.validate).chain(test) {
            for (view, image) in splits.dataset.get(i)?.images.iter().enumerate() {
                if let Some(picture) = states.want(image)? {
                    wanted.push((picture, (i, view)));
                }
            }
        }
        Ok(wanted)
    }
}

/// A hash of all that its states depend on beside the picture, and one picture's states.
///
/// That is its weights, the image rule, the precision, and what it makes of one fixed picture: the
/// last takes in the model's structure, this program's arithmetic and this processor's.
fn identify(prefix: &dyn FrozenEncoder, loaded: &LoadedModel) -> Result<(String, Tensor)> {
    let LoadedModel { params, image_rule, .. } = loaded;
    let size = image_rule.size;
    let rgb = (0..3 * size * size).map(|i| (i * i % 251) as u8).collect();
    let pixels = image_rule.normalise(&Image { width: size, height: size, rgb });
    let states = prefix.encode(params, &Tensor::new(&[1, 3, size, size], pixels))?.part(0);
    let mut hash = Sha256::new();
    for id in prefix.parameters(params) {
        let parameter = params.get(id);
        hash.update(format!("{} {:?}\n", parameter.name, parameter.shape));
        hash_elements(&mut hash, parameter.value());
    }
    hash.update(format!("{image_rule:?} {:?}\n", params.precision()));
    hash_elements(&mut hash, &states);
    Ok((hex(&hash.finalize()), states))
}

/// `[3, size, size]`. A picture is looked at once: nothing is gained by keeping it.
fn pixel_values(rule: &ImageRule, image: &ImageSource) -> Result<Vec<f32>> {
    Ok(rule.apply(&image.load()?))
}
