//! Errors that name the place, the cause and the remedy.

use std::fmt;
use std::path::Path;

/// What went wrong: the user's mistake or a failure of the run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A mistake in what the user gave: a recipe, a file, an argument. Exit code 2.
    #[error("{0}")]
    Invalid(Report),
    /// A failure of the machine or of the run: a full disk, a NaN. Exit code 1.
    #[error("{0}")]
    Failed(Report),
}

/// The library's result type.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Where, why, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// A file, a line, a recipe key, a tensor.
    pub place: String,
    /// What is wrong there.
    pub cause: String,
    /// What would put it right, where that is known.
    pub hint: Option<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.cause)?;
        match &self.hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

impl Error {
    /// The user's mistake, at `place`.
    pub fn invalid(place: impl fmt::Display, cause: impl fmt::Display) -> Self {
        Self::Invalid(Report { place: place.to_string(), cause: cause.to_string(), hint: None })
    }

    /// A failure of the run, at `place`.
    pub fn failed(place: impl fmt::Display, cause: impl fmt::Display) -> Self {
        Self::Failed(Report { place: place.to_string(), cause: cause.to_string(), hint: None })
    }

    /// A file that could not be read or written: the user's mistake if it is missing, else a failure.
    pub fn io(path: &Path, error: &std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::NotFound => {
                Self::invalid(path.display(), "no such file or directory")
            }
            _ => Self::failed(path.display(), error),
        }
    }

    /// The same error with a remedy.
    #[must_use]
    pub fn hint(mut self, hint: impl fmt::Display) -> Self {
        let (Self::Invalid(report) | Self::Failed(report)) = &mut self;
        report.hint = Some(hint.to_string());
        self
    }

    /// The process exit code that goes with this error: 2 for the user's mistakes, 1 for failures.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Invalid(_) => 2,
            Self::Failed(_) => 1,
        }
    }
}
