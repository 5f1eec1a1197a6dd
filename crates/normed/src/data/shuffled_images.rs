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
/// [`Example::image_name`] stays that of the original image, since confidence intervals cluster by it. An example
/// without an image stays as it is.
pub struct ShuffledImages {
    dataset: Arc<dyn Dataset>,
    /// For each example, the index of an example with the image that it gets; none if it has no image.
    donor: Vec<Option<usize>>,
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
            let example = dataset.get(i)?;
            if example.images.is_empty() {
                image.push(None);
                continue;
            }
            let number = *number_of.entry(example.image_name).or_insert(first.len());
            if number == first.len() {
                first.push(i);
            }
            image.push(Some(number));
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
        let donor = |number: Option<usize>| number.map(|number| first[cycle[number]]);
        Ok(Self { dataset, donor: image.into_iter().map(donor).collect() })
    }
}

impl Dataset for ShuffledImages {
    fn len(&self) -> usize {
        self.dataset.len()
    }

    fn get(&self, i: usize) -> Result<Example> {
        let mut example = self.dataset.get(i)?;
        let Some(donor) = self.donor[i] else { return Ok(example) };
        let images = self.dataset.get(donor)?.images;
        example.images = match example.history.is_empty() {
            true => images,
            // The turns of a conversation show as many images as before.
            false => images.iter().cycle().take(example.images.len()).cloned().collect(),
        };
        Ok(example)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Turn;
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
    fn conversations_keep_their_numbers_of_images() {
        let mut rows = examples(&["a", "b", "none", "c"]).to_vec();
        rows[2].images.clear();
        for row in &mut rows {
            row.history = vec![Turn::user("Is it?", row.images.len())];
        }
        let more = rows[1].images.clone();
        rows[0].images.extend(more);
        let own = Arc::new(rows);
        let blind = ShuffledImages::new(own.clone(), 1).unwrap();
        let counts = (0..4).map(|i| blind.get(i).unwrap().images.len()).collect::<Vec<_>>();
        assert_eq!(counts, [2, 1, 0, 1]);
        assert_ne!(blind.get(0).unwrap().images[0], own[0].images[0]);
    }

    #[test]
    fn one_image_cannot_be_shuffled() {
        assert!(ShuffledImages::new(examples(&["a", "a"]), 0).is_err());
    }
}
