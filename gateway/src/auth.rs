//! Who a client is: JSON Web Tokens (RFC 7519), and bare names on development servers.
//!
//! [`AuthConfig`] lists the keys, [`Verifier`] judges tokens with them, [`Claims`] is what a good
//! token says, [`Grants`] what it allows in channels, [`mint`] makes tokens for development.
//!
//! A token's header names an algorithm and maybe a key id; it never chooses how it is checked.
//! Only keys configured for that algorithm are tried, so a public key is never used as a secret
//! and `none` has no keys at all.

mod error;
mod grants;
mod key;
mod limits;
mod mint;
#[cfg(test)]
mod tests;
mod verifier;

use std::{sync::Arc, time::Duration};

use rookery_proto::ids::UserId;

pub use error::AuthError;
pub use grants::Grants;
pub use key::{Algorithm, KeyConfig, KeyProblem, Secret};
pub use limits::{
    GRANTS_MAX, LEEWAY_DEFAULT, LEEWAY_MAX, RSA_BITS_MIN, SECRET_BYTES_MIN, TOKEN_BYTES_MAX,
};
pub use mint::{MintClaims, MintError, SigningKey, mint};
pub use verifier::Verifier;

/// How tokens are judged.
#[derive(Clone, Debug)]
pub struct AuthConfig {
    /// Keys that sign our tokens. Empty: no token is accepted.
    pub keys: Vec<KeyConfig>,
    /// Accepted values of `aud`, one of which a token must have. Empty: `aud` is not looked at.
    pub audiences: Vec<String>,
    /// Accepted values of `iss`. Empty: `iss` is not looked at.
    pub issuers: Vec<String>,
    /// How far the issuer's clock may be off, either way.
    pub leeway: Duration,
}

impl Default for AuthConfig {
    fn default() -> Self {
        Self {
            keys: Vec::new(),
            audiences: Vec::new(),
            issuers: Vec::new(),
            leeway: LEEWAY_DEFAULT,
        }
    }
}

/// What a good token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// `sub`: the person.
    pub user: UserId,
    /// `name`: what others see; the user id when the token has none.
    pub name: Arc<str>,
    /// `grants`: what the person may do in channels.
    pub grants: Grants,
    /// `exp`, seconds of Unix time, without leeway. `None`: never (development names only).
    pub expires_s: Option<u64>,
}
