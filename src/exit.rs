//! How the process ends, in numbers.

use std::process::ExitCode;

use rookery_cluster::NatsError;
use rookery_persistence::{ConnectError, CopyError};

use crate::config::ConfigError;

/// What the exit code says. Documented in `docs/configuration.md` and in `rookery --help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Did what was asked; a server stopped cleanly.
    Clean,
    /// Failed; the reason is on standard error.
    Failed,
    /// The command line or the configuration is wrong (`EX_USAGE`). Nothing was started.
    BadConfig,
    /// NATS or the database cannot be used as it is: not there, refuses, lacks something
    /// (`EX_UNAVAILABLE`). Nothing was started.
    Unavailable,
    /// The server was asked to stop and did not finish within `shutdown.grace` (`EX_TEMPFAIL`).
    /// What was acknowledged is durable all the same.
    GraceExceeded,
}

/// Added to the number of the signal that ended the process at once.
pub(crate) const SIGNAL_BASE: i32 = 128;

impl Exit {
    /// The number.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Clean => 0,
            Self::Failed => 1,
            Self::BadConfig => 64,
            Self::Unavailable => 69,
            Self::GraceExceeded => 75,
        }
    }

    /// How the process ends when it failed by this.
    pub(crate) fn after(error: &anyhow::Error) -> Self {
        if error.is::<ConfigError>() {
            Self::BadConfig
        } else if let Some(error) = error.downcast_ref::<NatsError>() {
            Self::after_nats(error)
        } else if let Some(error) = error.downcast_ref::<ConnectError>() {
            Self::after_cql(error)
        } else if let Some(CopyError::Target(error)) = error.downcast_ref() {
            Self::after_cql(error)
        } else {
            Self::Failed
        }
    }

    const fn after_nats(error: &NatsError) -> Self {
        match error {
            NatsError::NoServers
            | NatsError::Address { .. }
            | NatsError::Prefix { .. }
            | NatsError::File { .. } => Self::BadConfig,
            NatsError::Unreachable { .. }
            | NatsError::Refused { .. }
            | NatsError::Tls { .. }
            | NatsError::NotCarried { .. }
            | NatsError::PayloadLimit { .. } => Self::Unavailable,
        }
    }

    const fn after_cql(error: &ConnectError) -> Self {
        match error {
            ConnectError::NoContactPoints | ConnectError::KeyspaceName { .. } => Self::BadConfig,
            ConnectError::Unreachable { .. }
            | ConnectError::Timeout { .. }
            | ConnectError::Credentials { .. }
            | ConnectError::NoCredentials
            | ConnectError::KeyspaceMissing { .. }
            | ConnectError::TooFewNodes { .. }
            | ConnectError::OlderSchema { .. }
            | ConnectError::UnfinishedCopy { .. }
            | ConnectError::NewerSchema { .. }
            | ConnectError::Denied { .. }
            | ConnectError::Locked { .. }
            | ConnectError::Query { .. }
            | ConnectError::Unsound { .. } => Self::Unavailable,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_the_documented_ones_and_distinct() {
        let all = [
            (Exit::Clean, 0),
            (Exit::Failed, 1),
            (Exit::BadConfig, 64),
            (Exit::Unavailable, 69),
            (Exit::GraceExceeded, 75),
        ];
        for (exit, code) in all {
            assert_eq!(exit.code(), code, "{exit:?}");
        }
    }
}
