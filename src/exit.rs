//! How the process ends, in numbers.

use std::process::ExitCode;

/// What the exit code says. Documented in `docs/configuration.md` and in `rookery --help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Did what was asked; a server stopped cleanly.
    Clean,
    /// Failed; the reason is on standard error.
    Failed,
    /// The command line or the configuration is wrong (`EX_USAGE`). Nothing was started.
    BadConfig,
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
            Self::GraceExceeded => 75,
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
            (Exit::GraceExceeded, 75),
        ];
        for (exit, code) in all {
            assert_eq!(exit.code(), code, "{exit:?}");
        }
    }
}
