//! What a gateway can be told.

use std::{net::SocketAddr, time::Duration};

use rookery_proto::limits::{FRAME_BYTES_MAX, TEXT_BYTES_MAX};

use crate::auth::{AuthConfig, LEEWAY_MAX, Verifier};
use crate::http::Origins;

/// Lanes at most: their set is a 64-bit mask on links.
pub const LANES_MAX: usize = 64;

/// Where clients connect by default.
pub const LISTEN_DEFAULT: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 7100);

/// Connections at most by default: far beyond what one process is given files for, so the
/// operating system's limit decides.
pub const CONNECTIONS_MAX_DEFAULT: usize = 1_000_000;

/// Between two pings by default: below the idle timeouts of common proxies (60 s).
pub const HEARTBEAT_INTERVAL_DEFAULT: Duration = Duration::from_secs(30);

/// For the first frame, when the request brought no token.
pub const AUTHENTICATE_TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);

/// Commands a second a connection may send for long, by default.
pub const COMMANDS_PER_SECOND_DEFAULT: u32 = 50;

/// Commands a connection may send at once, by default.
pub const COMMANDS_BURST_DEFAULT: u32 = 200;

/// Bytes that wait for one reader by default; beyond them it is closed as too slow.
pub const SESSION_QUEUE_BYTES_MAX_DEFAULT: usize = 1024 * 1024;

/// Rooms one session listens to by default.
pub const ROOMS_PER_SESSION_MAX_DEFAULT: u32 = 1_000;

/// Users one session watches by default: more than a screen shows.
pub const WATCHED_USERS_MAX_DEFAULT: u32 = 500;

const _: () = assert!(SESSION_QUEUE_BYTES_MAX_DEFAULT > 4 * FRAME_BYTES_MAX);

/// What a gateway can be told. [`GatewayConfig::validate`] says what of it cannot work.
#[derive(Clone, Debug)]
pub struct GatewayConfig {
    /// Address to listen on; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// Hub workers, 1 to [`LANES_MAX`]; 0: one a core.
    pub lanes: usize,
    /// Who may log in.
    pub auth: AuthConfig,
    /// A bare name is enough to log in.
    pub dev: bool,
    /// Origins (`https://chat.example.org`) whose pages may connect, or `*`. Empty: only pages of
    /// the host that is asked.
    pub allowed_origins: Vec<String>,
    /// Connections at most; further ones are answered 503.
    pub connections_max: usize,
    /// Between two pings; a peer silent for two of them is gone.
    pub heartbeat_interval: Duration,
    /// For the first frame, when the request brought no token.
    pub authenticate_timeout: Duration,
    /// Bytes of one message from a client; larger ones close the connection.
    pub frame_bytes_max: u32,
    /// Commands a second a connection may send for long.
    pub commands_per_second: u32,
    /// Commands a connection may send at once.
    pub commands_burst: u32,
    /// Bytes that wait for one reader; beyond them it is closed as too slow.
    pub session_queue_bytes_max: usize,
    /// Rooms one session listens to.
    pub rooms_per_session_max: u32,
    /// Users one session watches.
    pub watched_users_max: u32,
    /// Told in `welcome` and `/v1/info`.
    pub server_version: String,
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            listen: LISTEN_DEFAULT,
            lanes: 0,
            auth: AuthConfig::default(),
            dev: false,
            allowed_origins: Vec::new(),
            connections_max: CONNECTIONS_MAX_DEFAULT,
            heartbeat_interval: HEARTBEAT_INTERVAL_DEFAULT,
            authenticate_timeout: AUTHENTICATE_TIMEOUT_DEFAULT,
            frame_bytes_max: u32::try_from(FRAME_BYTES_MAX).expect("a frame is small"),
            commands_per_second: COMMANDS_PER_SECOND_DEFAULT,
            commands_burst: COMMANDS_BURST_DEFAULT,
            session_queue_bytes_max: SESSION_QUEUE_BYTES_MAX_DEFAULT,
            rooms_per_session_max: ROOMS_PER_SESSION_MAX_DEFAULT,
            watched_users_max: WATCHED_USERS_MAX_DEFAULT,
            server_version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

/// One value that cannot work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key} {problem}")]
pub struct ConfigProblem {
    /// Path of the value inside [`GatewayConfig`], as `auth.keys[0].secret`.
    pub key: String,
    /// What is wrong; a fragment that follows the key and shows no secret.
    pub problem: String,
}

impl GatewayConfig {
    /// Everything that cannot work, not only the first.
    #[must_use]
    pub fn validate(&self) -> Vec<ConfigProblem> {
        let mut problems = Problems(Vec::new());
        problems.require(self.lanes <= LANES_MAX, "lanes", || {
            format!("is {}, at most {LANES_MAX}", self.lanes)
        });
        self.validate_auth(&mut problems);
        if let Err(index) = Origins::parse(&self.allowed_origins) {
            problems.add(
                format!("allowed_origins[{index}]"),
                format!(
                    "is {:?}, must be * or scheme://host[:port] without a path",
                    self.allowed_origins[index]
                ),
            );
        }
        let heartbeat = Duration::from_secs(1)..=Duration::from_secs(3600);
        problems.require(
            heartbeat.contains(&self.heartbeat_interval),
            "heartbeat_interval",
            || format!("is {:?}, must be 1 s to 1 h", self.heartbeat_interval),
        );
        let authenticate = Duration::from_millis(100)..=Duration::from_secs(60);
        problems.require(
            authenticate.contains(&self.authenticate_timeout),
            "authenticate_timeout",
            || format!("is {:?}, must be 100 ms to 60 s", self.authenticate_timeout),
        );
        let frame_bytes = 2 * TEXT_BYTES_MAX..=16 * 1024 * 1024;
        problems.require(
            frame_bytes.contains(&(self.frame_bytes_max as usize)),
            "frame_bytes_max",
            || {
                format!(
                    "is {}, must be {} to {}",
                    self.frame_bytes_max,
                    frame_bytes.start(),
                    frame_bytes.end()
                )
            },
        );
        problems.require(
            self.session_queue_bytes_max >= 4 * self.frame_bytes_max as usize,
            "session_queue_bytes_max",
            || {
                format!(
                    "is {}, must be at least four times frame_bytes_max",
                    self.session_queue_bytes_max
                )
            },
        );
        problems.require(
            self.commands_burst >= self.commands_per_second,
            "commands_burst",
            || "must be at least commands_per_second".to_owned(),
        );
        for (key, is_zero) in [
            ("connections_max", self.connections_max == 0),
            ("commands_per_second", self.commands_per_second == 0),
            ("rooms_per_session_max", self.rooms_per_session_max == 0),
            ("watched_users_max", self.watched_users_max == 0),
        ] {
            problems.require(!is_zero, key, || "must not be 0".to_owned());
        }
        problems.0
    }

    fn validate_auth(&self, problems: &mut Problems) {
        if let Err(keys) = Verifier::new(&self.auth) {
            for key in keys {
                problems.add(
                    format!("auth.keys[{}].{}", key.index, key.field),
                    key.problem,
                );
            }
        }
        problems.require(self.dev || !self.auth.keys.is_empty(), "auth.keys", || {
            "is empty, so nobody could log in: give a key or set dev".to_owned()
        });
        problems.require(!self.dev || self.listen.ip().is_loopback(), "dev", || {
            format!(
                "lets anyone log in as anyone and is only for loopback, not {}",
                self.listen.ip()
            )
        });
        problems.require(self.auth.leeway <= LEEWAY_MAX, "auth.leeway", || {
            format!("is {:?}, at most {LEEWAY_MAX:?}", self.auth.leeway)
        });
    }
}

/// Collects what is wrong.
struct Problems(Vec<ConfigProblem>);

impl Problems {
    fn add(&mut self, key: String, problem: String) {
        self.0.push(ConfigProblem { key, problem });
    }

    fn require(&mut self, good: bool, key: &str, problem: impl FnOnce() -> String) {
        if !good {
            self.add(key.to_owned(), problem());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{Algorithm, KeyConfig, Secret};

    fn good() -> GatewayConfig {
        GatewayConfig {
            dev: true,
            ..GatewayConfig::default()
        }
    }

    fn check(change: impl FnOnce(&mut GatewayConfig), keys: &[&str]) {
        let mut config = good();
        change(&mut config);
        let found: Vec<String> = config
            .validate()
            .into_iter()
            .map(|found| found.key)
            .collect();
        assert_eq!(found, keys);
    }

    #[test]
    fn config_by_default_only_lacks_keys() {
        check(|_| (), &[]);
        check(|config| config.dev = false, &["auth.keys"]);
    }

    #[test]
    fn config_that_cannot_work_names_each_key() {
        check(|c| c.lanes = 65, &["lanes"]);
        check(|c| c.listen = ([0, 0, 0, 0], 80).into(), &["dev"]);
        check(
            |c| c.allowed_origins = vec!["*".into(), "chat.example.org/x".into()],
            &["allowed_origins[1]"],
        );
        check(
            |c| c.heartbeat_interval = Duration::ZERO,
            &["heartbeat_interval"],
        );
        check(
            |c| c.authenticate_timeout = Duration::from_secs(61),
            &["authenticate_timeout"],
        );
        check(|c| c.frame_bytes_max = 100, &["frame_bytes_max"]);
        check(
            |c| c.session_queue_bytes_max = 1,
            &["session_queue_bytes_max"],
        );
        check(
            |c| c.auth.leeway = Duration::from_secs(601),
            &["auth.leeway"],
        );
        check(
            |c| {
                c.connections_max = 0;
                c.commands_per_second = 0;
                c.rooms_per_session_max = 0;
                c.watched_users_max = 0;
            },
            &[
                "connections_max",
                "commands_per_second",
                "rooms_per_session_max",
                "watched_users_max",
            ],
        );
        check(|c| c.commands_burst = 1, &["commands_burst"]);
    }

    #[test]
    fn config_with_a_short_secret_names_the_key_and_hides_the_secret() {
        let mut config = good();
        config.auth.keys.push(KeyConfig {
            alg: Algorithm::HS256,
            kid: None,
            secret: Some(Secret::new("hunter2")),
            secret_base64: None,
            public_key_pem: None,
        });
        let problems = config.validate();
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].key, "auth.keys[0].secret");
        assert!(!format!("{problems:?} {config:?}").contains("hunter2"));
    }
}
