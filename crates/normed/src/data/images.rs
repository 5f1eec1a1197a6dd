//! Images as a model takes them. The size of an image is part of its data: a model may read images of one
//! size only, or each at its own.

use std::fmt;

use crate::tensor::{Elements, Precision, Tensor};

/// Height and width of an image in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ImageSize {
    /// Rows of pixels.
    pub height: usize,
    /// Columns of pixels.
    pub width: usize,
}

impl ImageSize {
    /// A square with sides of this many pixels.
    pub fn square(side: usize) -> Self {
        Self { height: side, width: side }
    }

    /// The number of pixels.
    pub fn pixels(self) -> usize {
        self.height * self.width
    }
}

impl fmt::Display for ImageSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} x {}", self.height, self.width)
    }
}

/// `P` images as a model takes them.
#[derive(Debug, Clone)]
pub struct Images {
    /// `[P]`: the size of each image's pixel values.
    pub sizes: Vec<ImageSize>,
    /// Their pixels, or the features computed from them.
    pub values: ImageValues,
}

/// What a model reads of images: their pixels, or what its frozen image encoder computed from them before.
#[derive(Debug, Clone)]
pub enum ImageValues {
    /// Normalized pixel values, `[3, H, W]` of one image after the other: `[sum of 3 H W]`, f32.
    Pixels(Tensor),
    /// The encoder's features, `[N, C]` of one image after the other.
    Features {
        /// `[sum of N, C]`.
        features: Tensor,
        /// `[P]`: the number of features of each image, `N`.
        counts: Vec<usize>,
    },
}

impl Images {
    /// Images of one size from their pixel values `[P, 3, H, W]`.
    ///
    /// # Panics
    /// If `pixels` has another number of dimensions.
    pub fn from_pixels(pixels: Tensor) -> Self {
        let &[count, _, height, width] = pixels.shape() else {
            panic!("pixel values are [P, 3, H, W], not {:?}", pixels.shape());
        };
        let flat = pixels.len();
        Self {
            sizes: vec![ImageSize { height, width }; count],
            values: ImageValues::Pixels(pixels.reshape(&[flat])),
        }
    }

    /// No images.
    pub fn none() -> Self {
        Self { sizes: Vec::new(), values: ImageValues::Pixels(Tensor::zeros(&[0])) }
    }

    /// The number of images, `P`.
    pub fn count(&self) -> usize {
        self.sizes.len()
    }

    /// The values of all images: `[sum of 3 H W]` pixels or `[sum of N, C]` features.
    pub fn tensor(&self) -> &Tensor {
        match &self.values {
            ImageValues::Pixels(values) | ImageValues::Features { features: values, .. } => values,
        }
    }

    /// Copies the images of several groups into one group, in order. Pages of features that are mapped from a
    /// file are released, so that memory does not grow with the file.
    ///
    /// # Panics
    /// If some groups hold pixels and others features.
    pub fn concat(groups: &[&Images]) -> Self {
        // A group without images holds neither pixels nor features.
        let groups: Vec<_> = groups.iter().copied().filter(|images| images.count() > 0).collect();
        let Some(first) = groups.first() else { return Self::none() };
        let tensors: Vec<_> = groups.iter().map(|images| images.tensor()).collect();
        let joined = join(&tensors);
        let counts = |images: &&Images| match &images.values {
            ImageValues::Pixels(_) => Vec::new(),
            ImageValues::Features { counts, .. } => counts.clone(),
        };
        let values = match &first.values {
            ImageValues::Pixels(_) => ImageValues::Pixels(joined),
            ImageValues::Features { .. } => ImageValues::Features {
                features: joined,
                counts: groups.iter().flat_map(counts).collect(),
            },
        };
        Self { sizes: groups.iter().flat_map(|images| images.sizes.clone()).collect(), values }
    }

    /// Drops all images, and the memory of their values.
    pub fn clear(&mut self) {
        *self = Self::none();
    }

    /// Each image by itself, in order. Features that are mapped from a file stay mapped.
    pub fn split(&self) -> Vec<Self> {
        let lengths: Vec<_> = match &self.values {
            ImageValues::Pixels(_) => self.sizes.iter().map(|size| 3 * size.pixels()).collect(),
            ImageValues::Features { counts, .. } => counts.clone(),
        };
        let mut start = 0;
        let each = self.sizes.iter().zip(lengths).map(|(&size, length)| {
            let values = self.tensor().slice(start..start + length);
            start += length;
            let values = match &self.values {
                ImageValues::Pixels(_) => ImageValues::Pixels(values),
                ImageValues::Features { .. } => {
                    ImageValues::Features { features: values, counts: vec![length] }
                }
            };
            Self { sizes: vec![size], values }
        });
        each.collect()
    }
}

/// Tensors that differ in their first dimension alone as one.
fn join(parts: &[&Tensor]) -> Tensor {
    let mut shape = parts[0].shape().to_vec();
    shape[0] = parts.iter().map(|part| part.shape()[0]).sum();
    let mut joined = parts[0].empty_like(&shape, parts[0].precision());
    match joined.precision() {
        Precision::F32 => {
            let mut rest = joined.data_mut();
            for part in parts {
                rest = copy(rest, part.data());
            }
        }
        Precision::Bf16 => {
            let mut rest = joined.bf16_data_mut();
            for part in parts {
                match part.elements() {
                    Elements::Bf16(part) => rest = copy(rest, part),
                    Elements::F32(_) => panic!("{part:?} is not bf16"),
                }
            }
        }
    }
    parts.iter().for_each(|part| part.release_pages());
    joined
}

/// Copies `from` to the start of `to`; gives what is left of it.
fn copy<'t, T: Copy>(to: &'t mut [T], from: &[T]) -> &'t mut [T] {
    let (place, rest) = to.split_at_mut(from.len());
    place.copy_from_slice(from);
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Images of different sizes survive joining and splitting, as pixels and as features.
    #[test]
    fn images_of_different_sizes_are_joined_and_split() {
        let numbers = |n: usize, start: f32| (0..n).map(|i| start + i as f32).collect::<Vec<_>>();
        let small = Images::from_pixels(Tensor::new(&[2, 3, 1, 2], numbers(12, 0.0)));
        let large = Images::from_pixels(Tensor::new(&[1, 3, 2, 3], numbers(18, 100.0)));
        let all = Images::concat(&[&small, &large]);
        let sizes = [(1, 2), (1, 2), (2, 3)].map(|(height, width)| ImageSize { height, width });
        assert_eq!((all.count(), all.sizes.as_slice()), (3, &sizes[..]));
        let parts = all.split();
        let values = |i: usize| parts[i].tensor().data().to_vec();
        assert_eq!((values(1), values(2)), (numbers(6, 6.0), numbers(18, 100.0)));

        let features = |counts: &[usize], start| {
            let rows = counts.iter().sum::<usize>();
            let states = Tensor::new(&[rows, 2], numbers(2 * rows, start));
            let states = states.to_precision(Precision::Bf16);
            let sizes = vec![ImageSize::square(8); counts.len()];
            let counts = counts.to_vec();
            Images { sizes, values: ImageValues::Features { features: states, counts } }
        };
        let parts = Images::concat(&[&features(&[1], 0.0), &features(&[3, 2], 10.0)]).split();
        let rows = parts.iter().map(|part| part.tensor().shape()[0]);
        assert_eq!(rows.collect::<Vec<_>>(), [1, 3, 2]);
        assert_eq!(parts[2].tensor().to_precision(Precision::F32).data(), [16.0, 17.0, 18.0, 19.0]);
    }
}
