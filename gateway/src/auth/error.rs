//! Why a token is not accepted.

use rookery_proto::errors::{Code, WireError};
use rookery_proto::ids::IdError;

/// Why a token or name is not accepted. Says what is wrong and never repeats the token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// Not three base64 parts, or a part is not the JSON it must be.
    #[error("token is malformed: {what}")]
    Malformed {
        /// Which part, and how.
        what: &'static str,
    },
    /// Longer than any token we accept.
    #[error("token has more than {bytes_max} bytes")]
    TooLong {
        /// Most bytes a token may have.
        bytes_max: usize,
    },
    /// No key is configured for the algorithm the token names.
    #[error("token is signed with an algorithm no key is configured for")]
    UnknownAlgorithm,
    /// The token names a key that is not configured for its algorithm.
    #[error("token is signed with an unknown key (kid)")]
    UnknownKey,
    /// The signature is not that of any key it could be.
    #[error("token has a wrong signature")]
    WrongSignature,
    /// The header lists extensions that must be understood, and we know none.
    #[error("token header has critical extensions")]
    CriticalHeader,
    /// `exp` is in the past.
    #[error("token is expired")]
    Expired,
    /// `nbf` is in the future.
    #[error("token is not yet valid")]
    NotYetValid,
    /// `aud` has none of the accepted values.
    #[error("token is for another audience (aud)")]
    WrongAudience,
    /// `iss` is none of the accepted values.
    #[error("token is from another issuer (iss)")]
    WrongIssuer,
    /// A claim that must be there is not.
    #[error("token has no {claim}")]
    MissingClaim {
        /// Its name.
        claim: &'static str,
    },
    /// A claim has a value of the wrong type or size.
    #[error("token has a wrong {claim}: {problem}")]
    WrongClaim {
        /// Its name.
        claim: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// A bare name was given to a server that wants tokens.
    #[error("a name is not enough: this server wants a token")]
    NameNotAllowed,
    /// A bare name that cannot be a user id.
    #[error("name {0}")]
    WrongName(IdError),
}

impl AuthError {
    /// The error frame's content, for the field that held the token or name.
    #[must_use]
    pub fn into_wire(self, field: &'static str) -> WireError {
        let code = match self {
            Self::Malformed { .. }
            | Self::TooLong { .. }
            | Self::UnknownAlgorithm
            | Self::UnknownKey
            | Self::WrongSignature
            | Self::CriticalHeader
            | Self::Expired
            | Self::NotYetValid
            | Self::WrongAudience
            | Self::WrongIssuer
            | Self::MissingClaim { .. }
            | Self::WrongClaim { .. }
            | Self::NameNotAllowed
            | Self::WrongName(_) => Code::Unauthenticated,
        };
        WireError::new(code, self.to_string()).at(field)
    }
}
