//! The error type: its kind, where it happened, why, and what to do about it.

use std::fmt;
use std::path::Path;

/// The library's result type.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a caller can do about an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The input is wrong: a recipe, a file, an argument. Correct it and try again.
    Invalid,
    /// A file or a directory that the input names does not exist.
    NotFound,
    /// The operating system refused to read or write a file.
    Io,
    /// A server did not answer, or not as expected. Trying again later may succeed.
    Network,
    /// The numbers of a run went wrong: a loss or a gradient that is not finite, a parameter that never
    /// moves.
    Diverged,
    /// normed itself is at fault: a thread of it panicked.
    Bug,
    /// Any other failure of the machine or of the run.
    Failed,
}

/// An error: its kind, the place where it happened, the cause, and the remedy where one is known.
///
/// ```
/// use normed::ErrorKind;
/// use normed::recipe::Recipe;
///
/// let error = Recipe::open("no-such-recipe.toml".as_ref(), &[]).unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::NotFound);
/// assert_eq!(error.place(), "no-such-recipe.toml");
/// assert_eq!(error.exit_code(), 2);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
    place: String,
    cause: String,
    remedy: Option<String>,
}

impl Error {
    /// An error of this kind, without a remedy.
    pub fn new(kind: ErrorKind, place: impl fmt::Display, cause: impl fmt::Display) -> Self {
        Self { kind, place: place.to_string(), cause: cause.to_string(), remedy: None }
    }

    /// Wrong input at `place`: [`ErrorKind::Invalid`].
    pub fn invalid(place: impl fmt::Display, cause: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Invalid, place, cause)
    }

    /// A failure of the machine or of the run at `place`: [`ErrorKind::Failed`].
    pub fn failed(place: impl fmt::Display, cause: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Failed, place, cause)
    }

    /// A server that did not answer as expected: [`ErrorKind::Network`].
    pub fn network(place: impl fmt::Display, cause: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Network, place, cause)
    }

    /// Numbers that went wrong in a run: [`ErrorKind::Diverged`].
    pub fn diverged(place: impl fmt::Display, cause: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Diverged, place, cause)
    }

    /// A file that could not be read or written: [`ErrorKind::NotFound`] or [`ErrorKind::Io`].
    pub fn io(path: &Path, error: &std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::NotFound => {
                Self::new(ErrorKind::NotFound, path.display(), "no such file or directory")
            }
            _ => Self::new(ErrorKind::Io, path.display(), error),
        }
    }

    /// The same error with a remedy: what the user can do about it.
    #[must_use]
    pub fn with_remedy(mut self, remedy: impl fmt::Display) -> Self {
        self.remedy = Some(remedy.to_string());
        self
    }

    /// What kind of error it is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Where it happened: a file, a line, a recipe key, a tensor.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// What is wrong there.
    pub fn cause(&self) -> &str {
        &self.cause
    }

    /// What to do about it, where that is known.
    pub fn remedy(&self) -> Option<&str> {
        self.remedy.as_deref()
    }

    /// The exit code of a process that ends with this error: 2 if the input is to blame
    /// ([`ErrorKind::Invalid`], [`ErrorKind::NotFound`]), else 1.
    pub fn exit_code(&self) -> u8 {
        match self.kind {
            ErrorKind::Invalid | ErrorKind::NotFound => 2,
            _ => 1,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.cause)?;
        match &self.remedy {
            Some(remedy) => write!(f, "\n  hint: {remedy}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}
