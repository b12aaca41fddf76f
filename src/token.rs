//! `rookery token`: makes a token for development and scripts.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use rookery_gateway::auth::{
    Algorithm, AuthConfig, KeyConfig, MintClaims, MintError, Secret, SigningKey, mint,
};
use rookery_proto::ids::{IdError, UserId};

use crate::{cli::TokenArgs, config};

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
    #[error("no key of auth.keys has the kid \"{kid}\"")]
    UnknownKey {
        /// As given.
        kid: String,
    },
    /// The configuration holds only the public half.
    #[error(
        "key \"{kid}\" is for {algorithm}, and the server knows only its public half; sign with \
         --key-file and --algorithm {algorithm}"
    )]
    PublicOnly {
        /// Its name.
        kid: String,
        /// Its algorithm.
        algorithm: &'static str,
    },
    /// `--user` is not a user id.
    #[error("--user \"{user}\" is not a user id")]
    User {
        /// As given.
        user: String,
        /// What is wrong with it.
        #[source]
        source: IdError,
    },
    /// The key file cannot be read.
    #[error("cannot read the key file {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The key cannot sign.
    #[error("cannot sign")]
    Sign(#[from] MintError),
}

/// Makes the token.
///
/// # Errors
/// [`TokenError`] says what is missing or wrong.
pub(crate) fn make(arguments: &TokenArgs, auth: &AuthConfig) -> Result<String, TokenError> {
    UserId::parse(&arguments.user).map_err(|source| TokenError::User {
        user: arguments.user.clone(),
        source,
    })?;
    let key = match &arguments.key_file {
        Some(path) => read_key(path, arguments)?,
        None => configured(arguments.key.as_deref(), &auth.keys)?,
    };
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = since_epoch.unwrap_or_default().as_secs();
    let claims = MintClaims {
        sub: arguments.user.clone(),
        name: arguments.name.clone(),
        exp: now.saturating_add(arguments.ttl.as_secs().max(1)),
        iat: Some(now),
        nbf: None,
        aud: auth.audiences.first().cloned(),
        iss: auth.issuers.first().cloned(),
        grants: arguments.grants.iter().cloned().collect(),
    };
    Ok(mint(&key, &claims)?)
}

/// A configured key that can sign.
fn configured(kid: Option<&str>, keys: &[KeyConfig]) -> Result<SigningKey, TokenError> {
    let key = match kid {
        None => keys
            .iter()
            .find(|key| key.alg == Algorithm::HS256)
            .ok_or(TokenError::NoKey)?,
        Some(kid) => {
            let named = keys.iter().find(|key| key.kid.as_deref() == Some(kid));
            named.ok_or_else(|| TokenError::UnknownKey {
                kid: kid.to_owned(),
            })?
        }
    };
    let signing = match (&key.secret, &key.secret_base64) {
        (Some(secret), _) => SigningKey::from_secret(secret),
        (None, Some(secret)) => SigningKey::from_secret_base64(secret)?,
        (None, None) => {
            return Err(TokenError::PublicOnly {
                kid: key.kid.clone().unwrap_or_default(),
                algorithm: key.alg.name(),
            });
        }
    };
    Ok(signing.with_kid(key.kid.clone()))
}

fn read_key(path: &Path, arguments: &TokenArgs) -> Result<SigningKey, TokenError> {
    let content = fs::read_to_string(path).map_err(|source| TokenError::File {
        path: path.to_owned(),
        source,
    })?;
    let algorithm = config::algorithm(&arguments.algorithm).expect("clap allows only known ones");
    let key = match algorithm {
        Algorithm::HS256 => {
            SigningKey::from_secret(&Secret::new(config::without_line_break(&content)))
        }
        _ => SigningKey::from_pem(algorithm, &Secret::new(content))?,
    };
    Ok(key.with_kid(arguments.key_id.clone()))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use rookery_gateway::auth::Verifier;

    use super::*;
    use crate::{
        cli::{Cli, Command},
        config::load,
    };

    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    /// Makes a token by a command line and a configuration file; checks it as the gateway does.
    fn check(flags: &[&str], file: &str) -> Result<rookery_gateway::auth::Claims, TokenError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rookery.toml");
        fs::write(&path, file).unwrap();
        let mut all = vec!["rookery", "token", "--config", path.to_str().unwrap()];
        all.extend(flags);
        let Command::Token(mut arguments) = Cli::try_parse_from(all).unwrap().command() else {
            panic!("is token");
        };
        let settings = std::mem::take(&mut arguments.settings);
        let (config, _) = load(settings.sources(), config::Purpose::Serve).unwrap();
        let token = make(&arguments, &config.gateway.auth)?;
        let verifier = Verifier::new(&config.gateway.auth).expect("the keys are sound");
        Ok(verifier
            .verify(&token, now())
            .expect("the gateway takes it"))
    }

    fn now() -> u64 {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs()
    }

    fn keys() -> String {
        format!(
            "[auth]\naudience = \"chat\"\nissuer = [\"us\"]\n\
             [[auth.keys]]\nkid = \"k\"\nalg = \"HS256\"\nsecret = \"{SECRET}\"\n"
        )
    }

    #[test]
    fn a_token_carries_what_was_asked_and_the_gateway_takes_it() {
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
        let claims = check(&flags, &keys()).unwrap();
        assert_eq!(claims.user.as_str(), "alice");
        assert_eq!(&*claims.name, "Alice");
        let life = claims.expires_s.unwrap() - now();
        assert!((3590..=3600).contains(&life), "{life}");
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
