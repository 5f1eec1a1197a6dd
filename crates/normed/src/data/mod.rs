//! Data: data sets of examples, image decoding, tokenizers, prompts, and the batches made from them. Nothing here
//! depends on a model.

mod arrow;
mod batch;
mod batch_plan;
mod collator;
mod content_hash;
mod conversation;
mod decoding_gate;
mod example;
mod filter;
mod image;
mod image_identity;
mod image_look;
mod image_overlap;
#[cfg(test)]
mod image_overlap_rates;
mod image_processor;
mod image_source;
mod image_survey;
mod images;
mod import;
mod json_rows;
mod json_text;
mod jsonl;
mod loader;
mod locations;
mod missing_image;
mod open;
mod open_i;
mod panics;
mod parquet;
mod path_vqa;
pub mod phantom;
mod plain_path;
mod prompt;
mod question_reader;
mod r2gen;
mod read_options;
mod resize;
mod row;
mod rows;
mod shuffled_images;
mod slake;
mod spec;
mod split_assignment;
mod tables;
mod task;
mod text_fit;
mod text_rule;
mod tokenizer;
mod value_text;
mod vqa_rad;
mod yes_no;

pub use crate::ops::IGNORE_INDEX;
pub use batch::{Batch, IMAGE_TOKEN, TokenRows};
pub use batch_plan::{evaluation_batches, training_batches};
pub use collator::{Collator, ImageFeatures, PreparedExample};
pub use example::{
    Answer, AnswerType, Attributes, Dataset, Example, Role, Split, Subset, Turn, indices_of,
};
pub use filter::{DataSection, RowFilter};
pub use image::{
    Axis, DECODERS_VERSION, Image, ImageHeader, ImageOptions, OrientationUse, Remark, SliceIndex,
    Window,
};
pub use image_overlap::ImageOverlap;
pub use image_processor::ImageProcessor;
pub use image_source::{DrawnImage, ImageKey, ImageSource};
pub use images::{ImageSize, ImageValues, Images};
pub use import::{
    ChosenColumn, Import, ImportColumns, ImportOptions, ImportSummary, Imported, ImportedSplit,
};
pub(crate) use json_rows::read_objects;
pub use jsonl::guess_jsonl_task;
pub use loader::{Loader, MAX_BATCHES_IN_MEMORY};
pub use open::open;
pub use prompt::{ImagePlaceholder, PromptRule, PromptSpec, SamplePrompt, TemplateName};
pub use question_reader::QuestionReader;
pub use read_options::OpenedDataset;
pub use resize::Resampling;
pub(crate) use resize::resize_part;
pub use shuffled_images::ShuffledImages;
pub use spec::{DataSpec, OnBadExample, PhantomDomain};
pub use split_assignment::{JoinedNames, SplitAssignment, SplitRows, SplitRule, SplitSize};
pub use tables::{ColumnNames, EmbeddedImage};
pub use task::Task;
pub use text_fit::{FittedDataset, TextFit};
pub use text_rule::{QuestionRule, StopRule, TextRule, TokenizedExample};
pub use tokenizer::{SpecialTokenIds, Tokenizer};
pub(crate) use value_text::text_of;
pub(crate) use yes_no::yes_or_no;
