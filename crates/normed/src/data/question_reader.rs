//! Rows for a model to answer that come one at a time, as from a service.

use std::path::PathBuf;

use super::jsonl::RowReader;
use super::read_options::Answers;
use super::row::Row;
use super::{Example, ImageOptions, Task};
use crate::{Error, Result};

/// Reads rows as in a JSON Lines file; none needs an answer.
#[derive(Debug, Clone, Default)]
pub struct QuestionReader {
    /// The directory that paths of images are relative to.
    pub image_root: PathBuf,
    /// What the model does with the rows.
    pub task: Task,
    /// How image files are read.
    pub image: ImageOptions,
}

impl QuestionReader {
    /// Reads a row, the text of a JSON object. `number` is its place among all, and its id if it has none. Of a
    /// conversation the last question is asked.
    ///
    /// # Errors
    ///
    /// If it is not JSON, if a field is missing or has another kind of value. Images are not opened.
    ///
    /// # Examples
    ///
    /// ```
    /// use normed::data::QuestionReader;
    ///
    /// let reader = QuestionReader::default();
    /// let example = reader.read(r#"{"image": "a.png", "question": "Is it normal?"}"#, 1)?;
    /// assert_eq!((example.id.as_str(), example.answer), ("1", None));
    /// let error = reader.read(r#"{"image": "a.png"}"#, 2).unwrap_err();
    /// assert_eq!((error.place(), error.cause()), ("row 2", "`question` is missing"));
    /// # Ok::<(), normed::Error>(())
    /// ```
    pub fn read(&self, row: &str, number: usize) -> Result<Example> {
        let reader =
            RowReader { images: &self.image_root, task: &self.task, answers: Answers::Optional };
        let place = format!("row {number}");
        let row = Row::parse(place.clone(), String::new(), row);
        let rows = row.check_all(|fields| reader.examples(fields, number));
        let last = rows.into_iter().next_back().map(|row| row.example);
        let example = last.unwrap_or_else(|| Err("it has no question".to_owned()));
        let mut example = example.map_err(|cause| Error::invalid(place, cause))?;
        example.images =
            example.images.into_iter().map(|image| image.with_options(self.image)).collect();
        Ok(self.task.ask(example))
    }
}
