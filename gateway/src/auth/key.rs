//! Keys, as configured.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::DecodingKey;
use jsonwebtoken::crypto::rust_crypto;
use serde::{Deserialize, Serialize};

use super::limits::{RSA_BITS_MIN, SECRET_BYTES_MIN};

/// Bytes of an Ed25519 public key.
const ED25519_BYTES: usize = 32;

/// How a token is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Algorithm {
    /// HMAC with SHA-256: whoever can check can also sign.
    HS256,
    /// RSA PKCS #1 v1.5 with SHA-256.
    RS256,
    /// ECDSA on P-256 with SHA-256.
    ES256,
    /// Ed25519.
    EdDSA,
}

impl Algorithm {
    pub(super) const fn jwt(self) -> jsonwebtoken::Algorithm {
        match self {
            Self::HS256 => jsonwebtoken::Algorithm::HS256,
            Self::RS256 => jsonwebtoken::Algorithm::RS256,
            Self::ES256 => jsonwebtoken::Algorithm::ES256,
            Self::EdDSA => jsonwebtoken::Algorithm::EdDSA,
        }
    }

    /// As it stands in a token's header.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::HS256 => "HS256",
            Self::RS256 => "RS256",
            Self::ES256 => "ES256",
            Self::EdDSA => "EdDSA",
        }
    }

    pub(super) fn parse(name: &str) -> Option<Self> {
        [Self::HS256, Self::RS256, Self::ES256, Self::EdDSA]
            .into_iter()
            .find(|algorithm| algorithm.name() == name)
    }
}

/// A text that must not be shown: debug output and serialisation have `(secret)` in its place.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Takes a text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for those who need it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

impl Serialize for Secret {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("(secret)")
    }
}

/// One key that signs tokens. HS256 has `secret` or `secret_base64`, the others `public_key_pem`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyConfig {
    /// The one algorithm this key is for.
    pub alg: Algorithm,
    /// Its name in token headers. A token that names a key is checked with that one alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kid: Option<String>,
    /// The secret as text, at least [`SECRET_BYTES_MIN`] bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<Secret>,
    /// The secret in base64 (standard alphabet, padded).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_base64: Option<Secret>,
    /// The public key as PEM text (`BEGIN PUBLIC KEY`; RSA also `BEGIN RSA PUBLIC KEY`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key_pem: Option<String>,
}

/// What is wrong with one configured key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct KeyProblem {
    /// Its place in the list.
    pub index: usize,
    /// The field at fault.
    pub field: &'static str,
    /// What is wrong; shows no secret.
    pub problem: String,
}

/// A key ready for use.
pub(super) struct Key {
    pub(super) algorithm: Algorithm,
    pub(super) kid: Option<String>,
    pub(super) decoding: DecodingKey,
}

impl Key {
    /// Reads a configured key; also checks that it is a key of its algorithm.
    pub(super) fn load(index: usize, config: &KeyConfig) -> Result<Self, KeyProblem> {
        let problem = |field, problem: &str| KeyProblem {
            index,
            field,
            problem: problem.to_owned(),
        };
        let decoding = match config.alg {
            Algorithm::HS256 => {
                if config.public_key_pem.is_some() {
                    return Err(problem("public_key_pem", "HS256 takes a secret"));
                }
                let (field, secret) = match (&config.secret, &config.secret_base64) {
                    (Some(secret), None) => ("secret", secret.reveal().as_bytes().to_vec()),
                    (None, Some(secret)) => (
                        "secret_base64",
                        STANDARD
                            .decode(secret.reveal())
                            .map_err(|_| problem("secret_base64", "is not base64"))?,
                    ),
                    (Some(_), Some(_)) => {
                        return Err(problem("secret", "give secret or secret_base64, not both"));
                    }
                    (None, None) => return Err(problem("secret", "HS256 needs a secret")),
                };
                if secret.len() < SECRET_BYTES_MIN {
                    return Err(KeyProblem {
                        index,
                        field,
                        problem: format!("must have at least {SECRET_BYTES_MIN} bytes"),
                    });
                }
                DecodingKey::from_secret(&secret)
            }
            Algorithm::RS256 | Algorithm::ES256 | Algorithm::EdDSA => {
                if config.secret.is_some() || config.secret_base64.is_some() {
                    return Err(problem("secret", "only HS256 takes a secret"));
                }
                let Some(pem) = &config.public_key_pem else {
                    return Err(problem("public_key_pem", "is missing"));
                };
                if pem.contains("PRIVATE KEY") {
                    return Err(problem(
                        "public_key_pem",
                        "is a private key; servers need the public one",
                    ));
                }
                public_key(config.alg, pem).ok_or_else(|| KeyProblem {
                    index,
                    field: "public_key_pem",
                    problem: match config.alg {
                        Algorithm::RS256 => {
                            format!("is not a public key for RS256 of {RSA_BITS_MIN} bits or more")
                        }
                        alg => format!("is not a public key for {}", alg.name()),
                    },
                })?
            }
        };
        Ok(Self {
            algorithm: config.alg,
            kid: config.kid.clone(),
            decoding,
        })
    }
}

/// Reads a public key and proves it usable, so that a wrong curve or a damaged key is found at
/// start rather than as a wrong signature later.
fn public_key(algorithm: Algorithm, pem: &str) -> Option<DecodingKey> {
    let pem = pem.as_bytes();
    let key = match algorithm {
        Algorithm::HS256 => return None,
        Algorithm::RS256 => DecodingKey::from_rsa_pem(pem),
        Algorithm::ES256 => DecodingKey::from_ec_pem(pem),
        Algorithm::EdDSA => DecodingKey::from_ed_pem(pem),
    }
    .ok()?;
    let bytes = key.try_get_as_bytes().ok()?;
    match algorithm {
        Algorithm::HS256 => return None,
        // The library reads an RSA key only when it is used, so we read it once here.
        Algorithm::RS256 => {
            let utils = &rust_crypto::DEFAULT_PROVIDER.key_utils;
            let (modulus, _) = (utils.rsa_pub_components_from_public_key)(bytes).ok()?;
            if modulus.len() * 8 < RSA_BITS_MIN {
                return None;
            }
        }
        Algorithm::ES256 => {}
        // The library takes the first 32 bytes of whatever there is, and panics when it is less.
        Algorithm::EdDSA if bytes.len() != ED25519_BYTES => return None,
        Algorithm::EdDSA => {}
    }
    // Also reads the key; only then does it look at the signature, which is none.
    jsonwebtoken::crypto::verify("", b"", &key, algorithm.jwt()).ok()?;
    Some(key)
}
