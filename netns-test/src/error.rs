use std::{fmt, io};

/// What this crate could not do: the operation, its object, and the cause.
///
/// It converts into [`std::io::Error`], so that `?` works in tests that return `std::io::Result<()>`.
#[non_exhaustive]
pub struct Error {
    operation: String,
    cause: Cause,
}

#[derive(Debug)]
enum Cause {
    Io(io::Error),
    /// With the kernel's own words, from netlink's extended acknowledgement.
    Kernel(String, io::Error),
    Text(String),
}

impl Error {
    /// What was being done, as in "create veth `client/eth0`".
    pub(crate) fn operation(&self) -> &str {
        &self.operation
    }

    /// "failed to {operation}: {source}".
    pub(crate) fn new(operation: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Self { operation: operation.into(), cause: Cause::Io(source.into()) }
    }

    /// "failed to {operation}: {cause}".
    pub(crate) fn because(operation: impl Into<String>, cause: impl Into<String>) -> Self {
        Self { operation: operation.into(), cause: Cause::Text(cause.into()) }
    }

    /// "failed to {operation}: {text}: {source}", with the kernel's own words.
    pub(crate) fn explained(operation: String, text: String, source: io::Error) -> Self {
        Self { operation, cause: Cause::Kernel(text, source) }
    }

    /// The kernel's own error, where there is one.
    pub fn io(&self) -> Option<&io::Error> {
        match &self.cause {
            Cause::Io(error) | Cause::Kernel(_, error) => Some(error),
            Cause::Text(_) => None,
        }
    }
}

/// As [`Display`](fmt::Display): it is what a test that returns the error shows.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "failed to {}: ", self.operation)?;
        match &self.cause {
            Cause::Io(error) => error.fmt(f),
            Cause::Kernel(text, error) => write!(f, "{text}: {error}"),
            Cause::Text(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.io().map(|error| error as _)
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = error.io().map_or(io::ErrorKind::Other, io::Error::kind);
        Self::new(kind, error)
    }
}

/// Says what was being done when a call failed.
pub(crate) trait Doing<T> {
    fn doing<S: Into<String>>(self, operation: impl FnOnce() -> S) -> Result<T, Error>;
}

impl<T, E: Into<io::Error>> Doing<T> for Result<T, E> {
    fn doing<S: Into<String>>(self, operation: impl FnOnce() -> S) -> Result<T, Error> {
        self.map_err(|error| Error::new(operation(), error))
    }
}
