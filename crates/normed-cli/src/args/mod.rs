//! The arguments of the command line: one struct per command.

mod answers;
mod command;
mod files;
mod hub;
mod image;
mod import;
mod model_choice;
mod models;
mod parse;
mod train;
mod values;

pub use answers::{AnswerArgs, AskArgs, EvaluateArgs, PredictArgs, TaskName};
pub use command::{Args, Command, CompletionsArgs, ManArgs};
pub use files::{ExportTo, Protocols, ScoreArgs, SplitArgs, SplitBy};
pub use hub::FetchArgs;
pub use image::ShowArgs;
pub use import::ImportArgs;
pub use model_choice::{GenerationArgs, ImageArgs, ModelChoice};
pub use models::{
    ApplyDeltaArgs, DiffArgs, ExportArgs, ExportFormat, InspectArgs, MergeArgs, QuantizeArgs,
};
pub use parse::parse;
pub use train::{InitArgs, PlanArgs, StudyArgs, TrainArgs};
