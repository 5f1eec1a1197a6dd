//! Every question with another's picture, every study with another's views: what can be said without looking.

use std::collections::HashMap;
use std::sync::Arc;

use super::batch_plan::{below, stream};
use super::{Dataset, Example};
use crate::{Error, Result};

/// A data set whose pictures are exchanged: every picture stands in for one other, so that no
/// question keeps its own, and how often each is seen changes as little as it can.
///
/// [`Example::image_name`] stays the question's own, as intervals cluster by it.
pub struct ShuffledImages {
    dataset: Arc<dyn Dataset>,
    /// For each example, one that shows the picture it gets.
    lender: Vec<usize>,
}

impl ShuffledImages {
    /// Exchanges the pictures of `dataset` by `seed`. There must be two pictures or more.
    ///
    /// Sattolo's shuffle: a random single cycle through all pictures, hence without a fixed point.
    pub fn new(dataset: Arc<dyn Dataset>, seed: u64) -> Result<Self> {
        let mut number_of = HashMap::new();
        let mut first = Vec::new();
        let mut picture = Vec::with_capacity(dataset.len());
        for i in 0..dataset.len() {
            let number = *number_of.entry(dataset.get(i)?.image_name).or_insert(first.len());
            if number == first.len() {
                first.push(i);
            }
            picture.push(number);
        }
        if first.len() < 2 {
            return Err(Error::invalid(
                "blind evaluation",
                format!("there are {} different pictures; exchanging needs two", first.len()),
            ));
        }
        let mut cycle: Vec<usize> = (0..first.len()).collect();
        let mut rng = stream(seed, 0);
        for i in (1..cycle.len()).rev() {
            cycle.swap(i, below(i, &mut rng));
        }
        let lender = picture.into_iter().map(|number| first[cycle[number]]).collect();
        Ok(Self { dataset, lender })
    }
}

impl Dataset for ShuffledImages {
    fn len(&self) -> usize {
        self.dataset.len()
    }

    fn get(&self, i: usize) -> Result<Example> {
        let mut example = self.dataset.get(i)?;
        example.images = self.dataset.get(self.lender[i])?.images;
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
    fn no_question_keeps_its_picture_and_all_pictures_are_used() {
        let own = examples(&["a", "b", "a", "c", "d", "b", "e"]);
        let mut orders = Vec::new();
        for seed in 0..20 {
            let blind = ShuffledImages::new(own.clone(), seed).unwrap();
            let (mut lent, mut names) = (Vec::new(), HashMap::new());
            for i in 0..own.len() {
                let example = blind.get(i).unwrap();
                assert_ne!(example.images, own[i].images, "seed {seed}, example {i}");
                assert_eq!(example.image_name, own[i].image_name);
                // Questions about one picture stay together.
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
    fn one_picture_cannot_be_exchanged() {
        assert!(ShuffledImages::new(examples(&["a", "a"]), 0).is_err());
    }
}
