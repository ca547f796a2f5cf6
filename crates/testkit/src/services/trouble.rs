//! What can keep a service from a test, said so that a person knows what to do.

use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// A program or an account that the machine lacks.
    #[error("{what} is missing: {remedy}")]
    Missing { what: String, remedy: String },

    #[error("{deed}: {cause}")]
    Io { deed: String, cause: std::io::Error },

    /// A program that ran to its end, but not to a good one; `said` is the end of its output.
    #[error("{deed}: {status}\n{said}")]
    Failed { deed: String, status: String, said: String },

    /// A server that ended instead of serving.
    #[error("{name} ended at its start; the end of {log:?}:\n{said}")]
    Ended { name: &'static str, log: PathBuf, said: String, port_taken: bool },

    #[error("{name} does not serve after {limit:?}; the end of {log:?}:\n{said}")]
    Late { name: &'static str, limit: Duration, log: PathBuf, said: String },

    #[error("{file} is not what scripts/kafka.sha256 promises: it has the SHA-256 {found}. Nothing was installed")]
    Checksum { file: String, found: String },

    #[error("{folder:?} is in use: `make services` runs already, and {folder:?}/env has its addresses")]
    InUse { folder: PathBuf },
}

impl ServiceError {
    /// For `map_err`: the deed in the imperative.
    pub(crate) fn io(deed: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        move |cause| Self::Io { deed: deed.into(), cause }
    }

    /// Whether another program took the port between the moment it was found free and the server's start.
    pub(crate) fn port_taken(&self) -> bool {
        matches!(self, Self::Ended { port_taken: true, .. })
    }
}
