//! Making tokens, for development and tests.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::{EncodingKey, Header};
use serde::Serialize;

use super::{Algorithm, Secret};

/// A key that can sign.
#[derive(Clone, Debug)]
pub struct SigningKey {
    algorithm: Algorithm,
    kid: Option<String>,
    key: EncodingKey,
}

/// Why no token could be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MintError {
    /// The text is not a private key (or base64 secret) of that algorithm.
    #[error("not a key that can sign {}", .algorithm.name())]
    Key {
        /// The algorithm asked for.
        algorithm: Algorithm,
    },
    /// Signing failed.
    #[error("signing failed")]
    Sign(#[source] jsonwebtoken::errors::Error),
}

impl SigningKey {
    /// An HS256 secret.
    #[must_use]
    pub fn from_secret(secret: &Secret) -> Self {
        Self::new(
            Algorithm::HS256,
            EncodingKey::from_secret(secret.reveal().as_bytes()),
        )
    }

    /// An HS256 secret in base64.
    ///
    /// # Errors
    /// [`MintError::Key`] when it is not base64.
    pub fn from_secret_base64(secret: &Secret) -> Result<Self, MintError> {
        let algorithm = Algorithm::HS256;
        let secret = STANDARD
            .decode(secret.reveal())
            .map_err(|_| MintError::Key { algorithm })?;
        Ok(Self::new(algorithm, EncodingKey::from_secret(&secret)))
    }

    /// A private key as PEM text: PKCS #8 for ES256 and `EdDSA`, PKCS #8 or #1 for RS256.
    ///
    /// # Errors
    /// [`MintError::Key`] when it is not a private key of that algorithm, and for HS256.
    pub fn from_pem(algorithm: Algorithm, pem: &Secret) -> Result<Self, MintError> {
        let bytes = pem.reveal().as_bytes();
        match algorithm {
            Algorithm::HS256 => None,
            Algorithm::RS256 => EncodingKey::from_rsa_pem(bytes).ok(),
            Algorithm::ES256 => EncodingKey::from_ec_pem(bytes).ok(),
            Algorithm::EdDSA => EncodingKey::from_ed_pem(bytes).ok(),
        }
        .map(|key| Self::new(algorithm, key))
        .ok_or(MintError::Key { algorithm })
    }

    fn new(algorithm: Algorithm, key: EncodingKey) -> Self {
        Self {
            algorithm,
            kid: None,
            key,
        }
    }

    /// Names the key in the tokens it signs.
    #[must_use]
    pub fn with_kid(mut self, kid: Option<String>) -> Self {
        self.kid = kid;
        self
    }
}

/// What a minted token says. Empty and absent values are left out.
#[derive(Clone, Debug, Default, Serialize)]
pub struct MintClaims {
    /// The user id.
    pub sub: String,
    /// The name others see.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// When it expires, seconds of Unix time.
    pub exp: u64,
    /// When it was made, seconds of Unix time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iat: Option<u64>,
    /// From when it is valid, seconds of Unix time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nbf: Option<u64>,
    /// For whom it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aud: Option<String>,
    /// Who made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iss: Option<String>,
    /// Room ids or prefixes to `read`, `write` or `admin`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub grants: BTreeMap<String, String>,
}

/// Makes a token.
///
/// # Errors
/// [`MintError::Sign`] when the key cannot sign.
pub fn mint(key: &SigningKey, claims: &MintClaims) -> Result<String, MintError> {
    let mut header = Header::new(key.algorithm.jwt());
    header.kid.clone_from(&key.kid);
    jsonwebtoken::encode(&header, claims, &key.key).map_err(MintError::Sign)
}
