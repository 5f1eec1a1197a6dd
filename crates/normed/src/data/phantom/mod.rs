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
//! - `random`: random numbers that are a function of seed, split, index and purpose.
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
