//! The arguments of the command line: one struct per command.

mod answers;
mod command;
mod files;
mod hub;
mod models;
mod train;
mod values;

pub use answers::{AnswerArgs, EvaluateArgs, PredictArgs, TaskName};
pub use command::{Args, Command, CompletionsArgs, ManArgs};
pub use files::{ExportTo, Protocols, ScoreArgs, SplitArgs, SplitBy};
pub use hub::FetchArgs;
pub use models::{
    ApplyDeltaArgs, DiffArgs, ExportArgs, ExportFormat, InspectArgs, MergeArgs, QuantizeArgs,
};
pub use train::{PlanArgs, StudyArgs, TrainArgs};
pub use values::Verbosity;
