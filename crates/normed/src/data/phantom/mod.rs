//! Phantoms: drawn images that look a little like radiology, with questions, or reports, that are true of them.
//!
//! Any number of examples comes from one random seed, and each can be made without the others.
//!
//! - `anatomy`: modalities, regions, organs, locations, kinds of lesion, and their names;
//! - `scene`: which of them one image shows, and where;
//! - `questions`: questions and answers that follow from a scene, balanced so that the image decides;
//! - `grammar`: the phrasings of questions; `words`: words that several texts share;
//! - `vocabulary`: the vocabulary of all texts;
//! - `report`: a short report that is true of a scene;
//! - `draw`: draws a scene on a `canvas`;
//! - `site`: what the machines of one hospital do to every image;
//! - `random`: random numbers that are a function of seed, split, index and purpose;
//! - `dataset`: the examples by index.
//!
//! The two domains differ by their `site::Site` alone: the same seed gives the same scenes, questions
//! and answers in both.

mod anatomy;
mod canvas;
mod dataset;
mod draw;
mod grammar;
mod questions;
mod random;
mod report;
mod scene;
mod site;
#[cfg(test)]
mod tests;
mod vocabulary;
mod words;

pub use dataset::{IMAGE_SIZE, Phantom};
pub use vocabulary::vocabulary;
