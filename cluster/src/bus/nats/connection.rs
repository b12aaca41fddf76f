//! One connection to NATS: made, watched, checked.

use std::{
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_nats::{Client, ConnectOptions, Event, PublishErrorKind, ServerAddr, connection::State};
use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::time::{Instant, sleep_until, timeout};

use super::{
    config::{NatsConfig, NatsCredentials},
    error::{NatsError, connect_error},
};
use crate::{
    bus::{BusError, check_size},
    limits::{
        NATS_COMMANDS_MAX, NATS_CONNECT_TIMEOUT, NATS_PING_INTERVAL, NATS_PUBLISH_PATIENCE,
        NATS_RECONNECT_PAUSE_MAX, NATS_ROUND_TRIP_MAX, NATS_SUBSCRIPTION_MESSAGES_MAX,
        PAYLOAD_BYTES_MAX,
    },
    metrics::{self, Overflow},
};

/// Pause after the first failed attempt to connect; doubles with each.
const PAUSE_FIRST: Duration = Duration::from_millis(20);

/// A connection that comes back by itself.
pub(super) struct Connection {
    client: Client,
    /// The last error the server told.
    said: Arc<Mutex<Option<String>>>,
}

impl Connection {
    /// Connects, once the configuration's patience is used up with an error.
    pub(super) async fn open(config: &NatsConfig, name: &'static str) -> Result<Self, NatsError> {
        let until = Instant::now() + config.connect_patience;
        let servers = addresses(config)?;
        let said = Arc::default();
        let mut attempt = 0;
        loop {
            attempt += 1;
            let options = options(config, name, Arc::clone(&said)).await?;
            let error = match options.connect(servers.clone()).await {
                Ok(client) => {
                    metrics::nats_connected(name, true);
                    return Ok(Self { client, said });
                }
                Err(error) => connect_error(config.servers.join(", "), error),
            };
            let again = Instant::now() + pause(attempt);
            if !matches!(error, NatsError::Unreachable { .. }) || again >= until {
                return Err(error);
            }
            sleep_until(again).await;
        }
    }

    /// Whether it stands now, as far as known.
    pub(super) fn is_connected(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    /// Bytes the server carries at most.
    pub(super) fn payload_bytes_max(&self) -> usize {
        self.client.max_payload()
    }

    /// The last error the server told.
    pub(super) fn said(&self) -> Option<String> {
        self.said.lock().expect("no panic while held").clone()
    }

    /// Hands a message to the client, or says that the bus is unreachable. What the client took
    /// it writes in order, after a reconnect too; what it had written to a socket that broke is
    /// lost.
    pub(super) async fn publish(&self, subject: String, payload: Bytes) -> Result<(), BusError> {
        check_size(
            payload.len(),
            PAYLOAD_BYTES_MAX.min(self.payload_bytes_max()),
        )?;
        if !self.is_connected() {
            return Err(BusError::Unreachable);
        }
        let publish = self.client.publish(subject, payload);
        match timeout(NATS_PUBLISH_PATIENCE, publish).await {
            Ok(Ok(())) => Ok(()),
            // Nobody can subscribe to it: no subscriber.
            Ok(Err(error)) if error.kind() == PublishErrorKind::InvalidSubject => Ok(()),
            Ok(Err(_)) | Err(_) => Err(BusError::Unreachable),
        }
    }

    /// Subscribes, and returns when the server has taken the subscription: `probe` is a subject of
    /// ours on which a message to ourselves follows it.
    pub(super) async fn subscribe(
        &self,
        subject: String,
        probe: String,
    ) -> Result<async_nats::Subscriber, BusError> {
        if !self.is_connected() {
            return Err(BusError::Unreachable);
        }
        let subscribe = self.client.subscribe(subject);
        let subscriber = match timeout(NATS_ROUND_TRIP_MAX, subscribe).await {
            Ok(Ok(subscriber)) => subscriber,
            Ok(Err(_)) | Err(_) => return Err(BusError::Unreachable),
        };
        if self.round_trip(probe).await {
            Ok(subscriber)
        } else {
            Err(BusError::Unreachable)
        }
    }

    /// Whether a message to ourselves on that subject comes back in time. A client's requests are
    /// handled in order, so those made before it have been handled then.
    pub(super) async fn round_trip(&self, subject: String) -> bool {
        let trip = async {
            let mut subscriber = self.client.subscribe(subject.clone()).await.ok()?;
            self.client.publish(subject, Bytes::new()).await.ok()?;
            subscriber.next().await
        };
        timeout(NATS_ROUND_TRIP_MAX, trip)
            .await
            .is_ok_and(|message| message.is_some())
    }
}

fn addresses(config: &NatsConfig) -> Result<Vec<ServerAddr>, NatsError> {
    if config.servers.is_empty() {
        return Err(NatsError::NoServers);
    }
    let parse = |server: &String| {
        server.parse().map_err(|source| NatsError::Address {
            server: server.clone(),
            source,
        })
    };
    config.servers.iter().map(parse).collect()
}

async fn options(
    config: &NatsConfig,
    name: &'static str,
    said: Arc<Mutex<Option<String>>>,
) -> Result<ConnectOptions, NatsError> {
    let mut options = ConnectOptions::new()
        .name(format!("{} {name}", config.name))
        .ping_interval(NATS_PING_INTERVAL)
        .connection_timeout(NATS_CONNECT_TIMEOUT)
        .client_capacity(NATS_COMMANDS_MAX)
        .subscription_capacity(NATS_SUBSCRIPTION_MESSAGES_MAX)
        .reconnect_delay_callback(pause)
        .require_tls(config.tls.required)
        .event_callback(move |event| {
            heed(name, event, &said);
            std::future::ready(())
        });
    if !config.discover_servers {
        options = options.ignore_discovered_servers();
    }
    if let Some(ca) = &config.tls.ca {
        readable(ca, "nats.tls_ca").await?;
        options = options.add_root_certificates(ca.clone());
    }
    if let Some(client) = &config.tls.client {
        readable(&client.certificate, "nats.tls_cert").await?;
        readable(&client.key, "nats.tls_key").await?;
        options = options.add_client_certificate(client.certificate.clone(), client.key.clone());
    }
    Ok(match &config.credentials {
        NatsCredentials::None => options,
        NatsCredentials::Password { user, password } => {
            options.user_and_password(user.clone(), password.clone())
        }
        NatsCredentials::Token(token) => options.token(token.clone()),
        NatsCredentials::NkeyFile(path) => {
            options.nkey(readable(path, "nats.nkey_file").await?.trim().to_owned())
        }
        NatsCredentials::CredentialsFile(path) => {
            let text = readable(path, "nats.credentials_file").await?;
            options
                .credentials(&text)
                .map_err(|source| file_error(path, "nats.credentials_file", source))?
        }
    })
}

/// Reads a file now, so that what is wrong with it is told with its setting.
async fn readable(path: &Path, setting: &'static str) -> Result<String, NatsError> {
    let owned = path.to_owned();
    let read = tokio::task::spawn_blocking(move || std::fs::read_to_string(owned)).await;
    read.unwrap_or_else(|error| Err(std::io::Error::other(error)))
        .map_err(|source| file_error(path, setting, source))
}

fn file_error(path: &Path, setting: &'static str, source: std::io::Error) -> NatsError {
    NatsError::File {
        path: path.to_owned(),
        setting,
        source,
    }
}

/// Pause before the given attempt (the first is 1): none, then doubling, a quarter of it random.
fn pause(attempt: usize) -> Duration {
    if attempt <= 1 {
        return Duration::ZERO;
    }
    let doublings = u32::try_from(attempt - 2).unwrap_or(u32::MAX).min(16);
    let whole = (PAUSE_FIRST * 2_u32.pow(doublings)).min(NATS_RECONNECT_PAUSE_MAX);
    whole.mul_f64(1.0 - 0.25 * fastrand::f64())
}

/// What the client tells of itself. It may leave some out when there is much to tell, so nothing
/// but counting and logging rests on it.
fn heed(name: &'static str, event: Event, said: &Mutex<Option<String>>) {
    match event {
        Event::Connected => {
            metrics::nats_connected(name, true);
            tracing::info!(nats.connection = name, "nats connected");
        }
        Event::Disconnected => {
            metrics::nats_connected(name, false);
            tracing::warn!(nats.connection = name, "nats disconnected");
        }
        Event::SlowConsumer(_) => metrics::bus_dropped(Overflow::Client),
        Event::ServerError(error) => {
            metrics::nats_error(name);
            tracing::error!(nats.connection = name, error = %error, "nats told an error");
            *said.lock().expect("no panic while held") = Some(error.to_string());
        }
        Event::ClientError(error) => {
            tracing::warn!(nats.connection = name, error = %error, "nats connection failed");
        }
        Event::LameDuckMode => {
            tracing::info!(nats.connection = name, "nats server is about to stop");
        }
        Event::Draining | Event::Closed => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pause_grows_to_its_bound_and_differs() {
        assert_eq!(pause(1), Duration::ZERO);
        assert!(pause(2) <= PAUSE_FIRST);
        for attempt in [10, 100, usize::MAX] {
            let pause = pause(attempt);
            assert!(pause <= NATS_RECONNECT_PAUSE_MAX);
            assert!(pause >= NATS_RECONNECT_PAUSE_MAX.mul_f64(0.75));
        }
    }
}
