//! `rookery token`: makes a token for development and scripts.

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    time::{SystemTime, UNIX_EPOCH},
};

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rookery_proto::ids::UserId;
use serde::Serialize;

use crate::{
    cli::TokenArgs,
    config::{self, Auth, AuthKey},
};

/// What the gateway reads of a token.
#[derive(Debug, Serialize)]
struct Claims<'a> {
    sub: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    iat: u64,
    exp: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<&'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    grants: BTreeMap<&'a str, &'a str>,
}

/// Why no token was made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenError {
    /// Nothing to sign with.
    #[error(
        "no HS256 key in auth.keys and no --key-file; in development mode no token is needed, a \
         name is enough"
    )]
    NoKey,
    /// `--key` names none.
    #[error("no key of auth.keys has the id \"{id}\"")]
    UnknownKey {
        /// As given.
        id: String,
    },
    /// The configuration holds only public keys of that sort.
    #[error(
        "key \"{id}\" is for {algorithm}, and the server knows only its public half; sign with \
         --key-file and --algorithm {algorithm}"
    )]
    PublicOnly {
        /// Its id.
        id: String,
        /// Its algorithm.
        algorithm: &'static str,
    },
    /// `--user` is not a user id.
    #[error("--user \"{user}\" is not a user id: {reason}")]
    User {
        /// As given.
        user: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The key file cannot be read.
    #[error("cannot read the key file {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// It is not a key of that algorithm.
    #[error("cannot sign with that key as {algorithm:?}")]
    Sign {
        /// Which algorithm.
        algorithm: Algorithm,
        #[source]
        source: jsonwebtoken::errors::Error,
    },
}

/// Makes the token.
///
/// # Errors
/// [`TokenError`] says what is missing or wrong.
pub(crate) fn mint(arguments: &TokenArgs, auth: &Auth) -> Result<String, TokenError> {
    if let Err(error) = UserId::parse(&arguments.user) {
        return Err(TokenError::User {
            user: arguments.user.clone(),
            reason: error.to_string(),
        });
    }
    let (key, header) = signing_key(arguments, auth)?;
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    let claims = Claims {
        sub: &arguments.user,
        name: arguments.name.as_deref(),
        iat: now,
        exp: now.saturating_add(arguments.ttl.as_secs().max(1)),
        aud: auth.audience.as_deref(),
        iss: auth.issuer.as_deref(),
        grants: arguments
            .grants
            .iter()
            .map(|(room, right)| (room.as_str(), right.as_str()))
            .collect(),
    };
    jsonwebtoken::encode(&header, &claims, &key).map_err(|source| TokenError::Sign {
        algorithm: header.alg,
        source,
    })
}

fn signing_key(arguments: &TokenArgs, auth: &Auth) -> Result<(EncodingKey, Header), TokenError> {
    if let Some(path) = &arguments.key_file {
        let algorithm =
            config::algorithm(&arguments.algorithm).expect("clap allows only known ones");
        let mut header = Header::new(algorithm);
        header.kid.clone_from(&arguments.key_id);
        return Ok((read_key(path, algorithm)?, header));
    }
    let key = configured(arguments.key.as_deref(), &auth.keys)?;
    let mut header = Header::new(key.algorithm);
    header.kid = Some(key.id.clone()).filter(|id| !id.is_empty());
    Ok((EncodingKey::from_secret(&key.material), header))
}

/// A configured key that can sign.
fn configured<'a>(id: Option<&str>, keys: &'a [AuthKey]) -> Result<&'a AuthKey, TokenError> {
    let Some(id) = id else {
        let first = keys.iter().find(|key| key.algorithm == Algorithm::HS256);
        return first.ok_or(TokenError::NoKey);
    };
    let named = keys.iter().find(|key| key.id == id);
    match named {
        None => Err(TokenError::UnknownKey { id: id.to_owned() }),
        Some(key) if key.algorithm == Algorithm::HS256 => Ok(key),
        Some(key) => Err(TokenError::PublicOnly {
            id: id.to_owned(),
            algorithm: key.algorithm_name(),
        }),
    }
}

fn read_key(path: &PathBuf, algorithm: Algorithm) -> Result<EncodingKey, TokenError> {
    let bytes = fs::read(path).map_err(|source| TokenError::File {
        path: path.clone(),
        source,
    })?;
    let key = match algorithm {
        Algorithm::RS256 => EncodingKey::from_rsa_pem(&bytes),
        Algorithm::ES256 => EncodingKey::from_ec_pem(&bytes),
        Algorithm::EdDSA => EncodingKey::from_ed_pem(&bytes),
        _ => {
            let secret = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
            Ok(EncodingKey::from_secret(
                secret.strip_suffix(b"\r").unwrap_or(secret),
            ))
        }
    };
    key.map_err(|source| TokenError::Sign { algorithm, source })
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use jsonwebtoken::{DecodingKey, Validation, decode};

    use super::*;
    use crate::{
        cli::{Cli, Command},
        config::load,
    };

    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    fn check(flags: &[&str], file: &str) -> Result<String, TokenError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rookery.toml");
        fs::write(&path, file).unwrap();
        let mut all = vec!["rookery", "token", "--config", path.to_str().unwrap()];
        all.extend(flags);
        let Command::Token(mut arguments) = Cli::try_parse_from(all).unwrap().command() else {
            panic!("is token");
        };
        let settings = std::mem::take(&mut arguments.settings);
        let (config, _) = load(settings.sources()).unwrap();
        mint(&arguments, &config.auth)
    }

    fn keys() -> String {
        format!(
            "[auth]\naudience = \"chat\"\n[[auth.keys]]\nid = \"k\"\nalgorithm = \"HS256\"\nsecret = \"{SECRET}\"\n"
        )
    }

    #[test]
    fn a_token_carries_what_was_asked_and_verifies() {
        let flags = [
            "--user",
            "alice",
            "--name",
            "Alice",
            "--ttl",
            "1h",
            "--grant",
            "news-*=write",
        ];
        let token = check(&flags, &keys()).unwrap();
        let mut rules = Validation::new(Algorithm::HS256);
        rules.set_audience(&["chat"]);
        let key = DecodingKey::from_secret(SECRET.as_bytes());
        let read = decode::<serde_json::Value>(&token, &key, &rules).unwrap();
        assert_eq!(read.header.kid.as_deref(), Some("k"));
        assert_eq!(read.claims["sub"], "alice");
        assert_eq!(read.claims["name"], "Alice");
        assert_eq!(read.claims["grants"]["news-*"], "write");
        let life = read.claims["exp"].as_u64().unwrap() - read.claims["iat"].as_u64().unwrap();
        assert_eq!(life, 3600);
    }

    #[test]
    fn what_cannot_sign_says_why() {
        assert!(matches!(
            check(&["--user", "a"], ""),
            Err(TokenError::NoKey)
        ));
        let unknown = check(&["--user", "a", "--key", "x"], &keys());
        assert!(matches!(unknown, Err(TokenError::UnknownKey { .. })));
        let user = check(&["--user", ""], &keys());
        assert!(matches!(user, Err(TokenError::User { .. })));
        let file = check(&["--user", "a", "--key-file", "/nonexistent"], "");
        assert!(matches!(file, Err(TokenError::File { .. })));
    }
}
