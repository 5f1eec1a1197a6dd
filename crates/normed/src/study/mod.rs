//! Studies: a comparison of methods, models and data sets as one command. It becomes runs over seeds and
//! learning rates, and the runs become tables, plots and a report.
//!
//! - [`Study`]: what is compared, read from a file; [`Experiment`] is one model, data set and method of it;
//! - [`Task`]: one run, or one evaluation on other data, stored under an address;
//! - [`Addresses`]: makes addresses, each a hash of everything that an outcome depends on;
//! - [`advance`]: executes the tasks that are not done, rate selection first;
//! - [`estimate`]: the cost of a study;
//! - [`Results`]: the outcomes, and [`write_report`], which writes tables, plots and the report.

mod address;
mod advance;
mod definition;
mod estimate;
mod executor;
mod findings;
mod group_scores;
mod html;
mod html_page;
mod names;
mod norm_changes;
mod paired_comparison;
mod plan;
mod plots;
mod rate_selection;
mod report;
mod results;
mod seed_scores;
mod shard;
mod stored_builds;
mod study_file;
mod table;
mod tables;
mod task;
mod thumbnail;
mod training_history;
mod wrong_answers;

pub use address::Addresses;
pub use advance::{StudyStatus, advance};
pub use definition::{Experiment, ReportImages, Study, TestSet};
pub use estimate::{Estimate, estimate};
pub use executor::{StudyEvent, TaskOutcome};
pub use report::{WrittenReport, write_report};
pub use results::Results;
pub use shard::Shard;
pub use task::{Task, TaskKind};
