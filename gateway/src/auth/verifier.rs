//! Judging tokens.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rookery_proto::{ids::UserId, limits::NAME_BYTES_MAX, link::Grant};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use super::{
    AuthConfig, AuthError, Claims, Grants, KeyProblem,
    key::{Algorithm, Key},
    limits::TOKEN_BYTES_MAX,
};

/// Judges tokens with the configured keys. Has no clock: the caller says what time it is.
pub struct Verifier {
    keys: Vec<Key>,
    audiences: Vec<String>,
    issuers: Vec<String>,
    leeway_s: f64,
    /// Set: bare names are accepted and get these grants.
    names: Option<Grants>,
}

impl Verifier {
    /// Accepts tokens only.
    ///
    /// # Errors
    /// Every key that cannot be used.
    pub fn new(config: &AuthConfig) -> Result<Self, Vec<KeyProblem>> {
        Self::build(config, None)
    }

    /// For development: accepts tokens, and bare names that get `write` in every channel and never
    /// expire.
    ///
    /// # Errors
    /// Every key that cannot be used.
    pub fn dev(config: &AuthConfig) -> Result<Self, Vec<KeyProblem>> {
        Self::build(config, Some(Grants::everywhere(Grant::Write)))
    }

    fn build(config: &AuthConfig, names: Option<Grants>) -> Result<Self, Vec<KeyProblem>> {
        let mut keys = Vec::with_capacity(config.keys.len());
        let mut problems = Vec::new();
        for (index, key) in config.keys.iter().enumerate() {
            match Key::load(index, key) {
                Ok(key) => keys.push(key),
                Err(problem) => problems.push(problem),
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Self {
            keys,
            audiences: config.audiences.clone(),
            issuers: config.issuers.clone(),
            leeway_s: config.leeway.as_secs_f64(),
            names,
        })
    }

    /// Whether a bare name is enough.
    #[must_use]
    pub fn accepts_names(&self) -> bool {
        self.names.is_some()
    }

    /// Judges a token at `now_s`, seconds of Unix time.
    ///
    /// # Errors
    /// The first thing that is wrong with it: form, key, signature, then each claim.
    pub fn verify(&self, token: &str, now_s: u64) -> Result<Claims, AuthError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(AuthError::TooLong {
                bytes_max: TOKEN_BYTES_MAX,
            });
        }
        let payload = self.check_signature(token)?;
        let payload: Payload = decode_part(payload, "its payload")?;
        self.check_claims(payload, now_s)
    }

    /// Takes a bare name for a user: development servers only.
    ///
    /// # Errors
    /// [`AuthError::NameNotAllowed`] elsewhere, [`AuthError::WrongName`] for a name that is empty,
    /// too long or holds control characters.
    pub fn verify_name(&self, name: &str) -> Result<Claims, AuthError> {
        let grants = self.names.as_ref().ok_or(AuthError::NameNotAllowed)?;
        let name = name.trim();
        let user = UserId::parse(name).map_err(AuthError::WrongName)?;
        Ok(Claims {
            user,
            name: name.into(),
            grants: grants.clone(),
            expires_s: None,
        })
    }

    /// Finds the keys that may have signed the token and tries them; returns the payload part.
    fn check_signature<'a>(&self, token: &'a str) -> Result<&'a str, AuthError> {
        let malformed = |what| AuthError::Malformed { what };
        let (message, signature) = token
            .rsplit_once('.')
            .ok_or(malformed("it must have three parts"))?;
        let (header, payload) = message
            .split_once('.')
            .filter(|(_, payload)| !payload.contains('.'))
            .ok_or(malformed("it must have three parts"))?;
        let header: Header = decode_part(header, "its header")?;
        if header.crit.is_some() {
            return Err(AuthError::CriticalHeader);
        }
        let algorithm = Algorithm::parse(&header.alg).ok_or(AuthError::UnknownAlgorithm)?;
        let mut of_algorithm = self
            .keys
            .iter()
            .filter(|key| key.algorithm == algorithm)
            .peekable();
        if of_algorithm.peek().is_none() {
            return Err(AuthError::UnknownAlgorithm);
        }
        // A key without a kid may have signed any token of its algorithm.
        let mut candidates = of_algorithm
            .filter(|key| match (&header.kid, &key.kid) {
                (Some(named), Some(kid)) => named == kid,
                (None, _) | (_, None) => true,
            })
            .peekable();
        if candidates.peek().is_none() {
            return Err(AuthError::UnknownKey);
        }
        let signed = candidates.any(|key| {
            jsonwebtoken::crypto::verify(
                signature,
                message.as_bytes(),
                &key.decoding,
                algorithm.jwt(),
            )
            .unwrap_or(false)
        });
        if signed {
            Ok(payload)
        } else {
            Err(AuthError::WrongSignature)
        }
    }

    fn check_claims(&self, payload: Payload, now_s: u64) -> Result<Claims, AuthError> {
        #[expect(
            clippy::cast_precision_loss,
            reason = "NumericDate is a double; seconds of Unix time are far below 2^53"
        )]
        let now = now_s as f64;
        let expires = payload
            .exp
            .ok_or(AuthError::MissingClaim { claim: "exp" })?;
        let expires_s = seconds("exp", expires)?;
        if expires + self.leeway_s <= now {
            return Err(AuthError::Expired);
        }
        if let Some(not_before) = payload.nbf {
            seconds("nbf", not_before)?;
            if not_before - self.leeway_s > now {
                return Err(AuthError::NotYetValid);
            }
        }
        if !self.audiences.is_empty() {
            let audience = payload
                .aud
                .ok_or(AuthError::MissingClaim { claim: "aud" })?;
            if !audience.any(|value| self.audiences.iter().any(|accepted| accepted == value)) {
                return Err(AuthError::WrongAudience);
            }
        }
        if !self.issuers.is_empty() {
            let issuer = payload
                .iss
                .ok_or(AuthError::MissingClaim { claim: "iss" })?;
            if !self.issuers.contains(&issuer) {
                return Err(AuthError::WrongIssuer);
            }
        }
        let subject = payload
            .sub
            .ok_or(AuthError::MissingClaim { claim: "sub" })?;
        let user = UserId::parse(&subject).map_err(|error| AuthError::WrongClaim {
            claim: "sub",
            problem: error.to_string(),
        })?;
        let name = match payload.name {
            Some(name) if !name.trim().is_empty() => name,
            _ => subject,
        };
        if name.len() > NAME_BYTES_MAX {
            return Err(AuthError::WrongClaim {
                claim: "name",
                problem: format!("has more than {NAME_BYTES_MAX} bytes"),
            });
        }
        Ok(Claims {
            user,
            name: name.into(),
            grants: Grants::parse(&payload.grants.unwrap_or_default())?,
            expires_s: Some(expires_s),
        })
    }
}

/// A `NumericDate` as whole seconds; negative and absurd ones are refused.
fn seconds(claim: &'static str, value: f64) -> Result<u64, AuthError> {
    const MAX: f64 = (1_u64 << 53) as f64;
    if (0.0..=MAX).contains(&value) {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "checked to be in range; fractions of a second do not matter"
        )]
        Ok(value as u64)
    } else {
        Err(AuthError::WrongClaim {
            claim,
            problem: "is not a time".to_owned(),
        })
    }
}

/// Reads one part of a token: base64url of JSON.
fn decode_part<T: DeserializeOwned>(part: &str, what: &'static str) -> Result<T, AuthError> {
    let malformed = AuthError::Malformed { what };
    let Ok(json) = URL_SAFE_NO_PAD.decode(part) else {
        return Err(malformed);
    };
    serde_json::from_slice(&json).map_err(|_| malformed)
}

/// The parts of a token's header we look at; all else, embedded keys above all, is ignored.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Payload {
    sub: Option<String>,
    name: Option<String>,
    exp: Option<f64>,
    nbf: Option<f64>,
    aud: Option<OneOrMany>,
    iss: Option<String>,
    grants: Option<BTreeMap<String, String>>,
}

/// `aud` is one text or a list of them.
#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    fn any(&self, accepted: impl Fn(&str) -> bool) -> bool {
        match self {
            Self::One(value) => accepted(value),
            Self::Many(values) => values.iter().any(|value| accepted(value)),
        }
    }
}
