//! Image-shuffled evaluation: every question is asked about another image. Its score, the "blind score", is
//! what a model can answer without looking at the image.

use std::collections::HashMap;
use std::sync::Arc;

use super::batch_plan::{below, stream};
use super::{Dataset, Example};
use crate::{Error, Result};

/// A data set whose images are shuffled: each image is replaced by one other, so that no question keeps its
/// own image, and each image is shown about as often as before.
///
/// [`Example::image_name`] stays that of the original image, since confidence intervals cluster by it.
pub struct ShuffledImages {
    dataset: Arc<dyn Dataset>,
    /// For each example, the index of an example with the image that it gets.
    donor: Vec<usize>,
}

impl ShuffledImages {
    /// Shuffles the images of `dataset` by `seed`: by Sattolo's algorithm, which gives a random single cycle
    /// through all images, hence without a fixed point.
    ///
    /// # Errors
    ///
    /// If an example cannot be read, or if there are fewer than two different images.
    pub fn new(dataset: Arc<dyn Dataset>, seed: u64) -> Result<Self> {
        let mut number_of = HashMap::new();
        let mut first = Vec::new();
        let mut image = Vec::with_capacity(dataset.len());
        for i in 0..dataset.len() {
            let number = *number_of.entry(dataset.get(i)?.image_name).or_insert(first.len());
            if number == first.len() {
                first.push(i);
            }
            image.push(number);
        }
        if first.len() < 2 {
            return Err(Error::invalid(
                "image-shuffled evaluation",
                format!("at least two different images are needed; there are {}", first.len()),
            ));
        }
        let mut cycle: Vec<usize> = (0..first.len()).collect();
        let mut rng = stream(seed, 0);
        for i in (1..cycle.len()).rev() {
            cycle.swap(i, below(i, &mut rng));
        }
        let donor = image.into_iter().map(|number| first[cycle[number]]).collect();
        Ok(Self { dataset, donor })
    }
}

impl Dataset for ShuffledImages {
    fn len(&self) -> usize {
        self.dataset.len()
    }

    fn get(&self, i: usize) -> Result<Example> {
        let mut example = self.dataset.get(i)?;
        example.images = self.dataset.get(self.donor[i])?.images;
        Ok(example)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::example::tests::example;

    fn examples(images: &[&str]) -> Arc<Vec<Example>> {
        let rows = images.iter().enumerate();
        Arc::new(rows.map(|(i, image)| example(&i.to_string(), image)).collect())
    }

    #[test]
    fn no_question_keeps_its_image_and_all_images_are_used() {
        let own = examples(&["a", "b", "a", "c", "d", "b", "e"]);
        let mut orders = Vec::new();
        for seed in 0..20 {
            let blind = ShuffledImages::new(own.clone(), seed).unwrap();
            let (mut lent, mut names) = (Vec::new(), HashMap::new());
            for i in 0..own.len() {
                let example = blind.get(i).unwrap();
                assert_ne!(example.images, own[i].images, "seed {seed}, example {i}");
                assert_eq!(example.image_name, own[i].image_name);
                // Questions about one image stay together.
                let partner = names.entry(example.image_name).or_insert(example.images.clone());
                assert_eq!(*partner, example.images);
                lent.push(format!("{:?}", example.images));
            }
            orders.push(lent.clone());
            lent.sort();
            lent.dedup();
            assert_eq!(lent.len(), 5);
        }
        assert_eq!(orders[3], {
            let blind = ShuffledImages::new(own, 3).unwrap();
            (0..7).map(|i| format!("{:?}", blind.get(i).unwrap().images)).collect::<Vec<_>>()
        });
        orders.sort();
        orders.dedup();
        assert!(orders.len() > 5, "the seed matters");
    }

    #[test]
    fn one_image_cannot_be_shuffled() {
        assert!(ShuffledImages::new(examples(&["a", "a"]), 0).is_err());
    }
}
