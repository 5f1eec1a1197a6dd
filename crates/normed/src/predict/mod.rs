//! Asking a model: finding it, opening it, and answering rows.
//!
//! - [`ModelLocation`] finds out what a path is (a model, a run, an adapter) and opens the model;
//! - [`Predictor`] answers examples, one at a time or in batches, as a service needs it.
//!
//! # Examples
//!
//! ```
//! use normed::data::{DataSection, DataSpec, PhantomDomain};
//! use normed::predict::{ModelLocation, OpenSettings, Predictor};
//!
//! # fn main() -> normed::Result<()> {
//! # let model = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/phantom");
//! // A model, a run, or an adapter; `None` opens the base that an adapter names.
//! let location = ModelLocation::find(model.as_ref(), None)?;
//! let opened = location.open(OpenSettings::default())?;
//! let predictor = Predictor::new(opened.loaded, location.generation())?;
//!
//! # let domain = PhantomDomain::Source;
//! # let data = DataSpec::Phantom { domain, train: 0, validate: 0, test: 2, seed: 1 };
//! # let dataset = DataSection::from(data).open()?.dataset;
//! # let example = dataset.get(0)?;
//! // `example` holds an image and a question; `QuestionReader` reads one from JSON.
//! let answers = predictor.answer(&[example])?;
//! println!("{} ({:.2})", answers[0].prediction, answers[0].probability.unwrap());
//! # Ok(())
//! # }
//! ```

mod location;
mod predictor;

pub use location::{ModelLocation, OpenSettings, OpenedModel, find_base};
pub use predictor::Predictor;
