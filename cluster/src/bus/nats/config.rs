//! Where NATS is and who we are there.

use std::{fmt, path::PathBuf, time::Duration};

/// How to reach NATS. Any value is valid to hold; [`super::NatsBus::connect`] says what is wrong.
#[derive(Clone, Debug)]
pub struct NatsConfig {
    /// Addresses such as `nats://host:4222` or `tls://host:4222`; any that answers will do.
    pub servers: Vec<String>,
    /// Who we are.
    pub credentials: NatsCredentials,
    /// How the connection is secured.
    pub tls: NatsTls,
    /// Shown in the server's list of connections.
    pub name: String,
    /// First tokens of every subject: installations that share a server differ in it. The
    /// credentials must be allowed to publish and subscribe on `<prefix>.>`.
    pub prefix: String,
    /// Whether servers that the first one names are used too. Off where clients cannot reach the
    /// addresses that servers tell.
    pub discover_servers: bool,
    /// How long the first connection may take, attempts together; zero: one attempt.
    pub connect_patience: Duration,
}

/// First token of all subjects unless configured.
pub const PREFIX_DEFAULT: &str = "rookery";
/// A server that starts together with us has this long to come up.
pub const CONNECT_PATIENCE_DEFAULT: Duration = Duration::from_secs(5);

impl Default for NatsConfig {
    fn default() -> Self {
        Self {
            servers: vec!["nats://127.0.0.1:4222".to_owned()],
            credentials: NatsCredentials::default(),
            tls: NatsTls::default(),
            name: "rookery".to_owned(),
            prefix: PREFIX_DEFAULT.to_owned(),
            discover_servers: true,
            connect_patience: CONNECT_PATIENCE_DEFAULT,
        }
    }
}

/// How we prove who we are. Secrets are not shown by `Debug`.
#[derive(Clone, Default)]
pub enum NatsCredentials {
    /// Not at all.
    #[default]
    None,
    /// By name and password.
    Password {
        /// The name.
        user: String,
        /// Its password.
        password: String,
    },
    /// By a shared token.
    Token(String),
    /// By an nkey, whose seed this file holds.
    NkeyFile(PathBuf),
    /// By a credentials file (user JWT and seed), as `nsc` makes them.
    CredentialsFile(PathBuf),
}

impl fmt::Debug for NatsCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Password { user, .. } => f
                .debug_struct("Password")
                .field("user", user)
                .finish_non_exhaustive(),
            Self::Token(_) => f.write_str("Token(…)"),
            Self::NkeyFile(path) => f.debug_tuple("NkeyFile").field(path).finish(),
            Self::CredentialsFile(path) => f.debug_tuple("CredentialsFile").field(path).finish(),
        }
    }
}

/// How the connection is secured. TLS is also used when the server asks for it.
#[derive(Clone, Debug, Default)]
pub struct NatsTls {
    /// Refuse to talk without TLS.
    pub required: bool,
    /// PEM file of the authorities to trust instead of the system's.
    pub ca: Option<PathBuf>,
    /// PEM files of our own certificate and its key, for servers that ask for one.
    pub client: Option<NatsIdentity>,
}

/// A certificate of our own.
#[derive(Clone, Debug)]
pub struct NatsIdentity {
    /// PEM file of the certificate and what leads to its authority.
    pub certificate: PathBuf,
    /// PEM file of its key.
    pub key: PathBuf,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let password = NatsCredentials::Password {
            user: "ada".to_owned(),
            password: "hunter2".to_owned(),
        };
        let shown = format!("{password:?} {:?}", NatsCredentials::Token("t0ken".into()));
        assert!(shown.contains("ada"), "{shown}");
        assert!(
            !shown.contains("hunter2") && !shown.contains("t0ken"),
            "{shown}"
        );
    }
}
