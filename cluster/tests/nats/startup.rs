//! Credentials and TLS that work, and errors that name the setting that is wrong.

use std::path::{Path, PathBuf};

use rookery_cluster::{
    Broadcast as _, Bus as _, EndpointId, NatsBus, NatsConfig, NatsCredentials, NatsError,
    NatsIdentity, NatsTls, Role,
};
use rookery_loadtest::services::NatsServer;

use super::{config, connect};

/// An nkey for these tests alone.
const NKEY_SEED: &str = "SUAHFMGQL3KS4R7ON2IUCDNPP72G4DBVYYHZYRQEB7GPNA22OHAI237QVU";
const NKEY_PUBLIC: &str = "UDTGZ6SVSNSL4GTV4QFBHKL2MNG55ZGD4VO44U3QBVXFCTRUUCILTF2V";

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/nats/tls")
        .join(name)
}

/// Connects and carries something on both connections.
async fn works(config: NatsConfig) {
    let bus = connect(config).await;
    let inbox = EndpointId::new(Role::Rooms, 1);
    let mut messages = bus.subscribe(&inbox).await.unwrap();
    bus.publish(&inbox, "data".into()).await.unwrap();
    assert_eq!(messages.next().await.unwrap(), "data");
    let mut heard = bus.listen().await.unwrap();
    bus.announce("control".into()).await.unwrap();
    assert_eq!(heard.next().await.unwrap(), "control");
}

/// Fails with an error that names the setting; returns it.
async fn fails(config: NatsConfig, setting: &str) -> NatsError {
    let error = NatsBus::connect(config).await.unwrap_err();
    assert!(error.to_string().contains(setting), "{error}");
    error
}

fn password(password: &str) -> NatsCredentials {
    NatsCredentials::Password {
        user: "rookery".to_owned(),
        password: password.to_owned(),
    }
}

#[tokio::test]
async fn settings_that_cannot_be_right_are_refused_before_connecting() {
    let good = config("nats://127.0.0.1:1");
    let bad = NatsConfig {
        servers: Vec::new(),
        ..good.clone()
    };
    assert!(matches!(
        fails(bad, "nats.servers").await,
        NatsError::NoServers
    ));
    let bad = NatsConfig {
        servers: vec!["nats://[".to_owned()],
        ..good.clone()
    };
    assert!(matches!(
        fails(bad, "nats.servers").await,
        NatsError::Address { .. }
    ));
    let bad = NatsConfig {
        prefix: "a.>".to_owned(),
        ..good.clone()
    };
    assert!(matches!(
        fails(bad, "nats.subject_prefix").await,
        NatsError::Prefix { .. }
    ));
    let missing = file("missing.pem");
    for (credentials, setting) in [
        (NatsCredentials::NkeyFile(missing.clone()), "nats.nkey"),
        (
            NatsCredentials::CredentialsFile(missing.clone()),
            "nats.credentials",
        ),
        (
            NatsCredentials::CredentialsFile(file("ca.pem")),
            "nats.credentials",
        ),
    ] {
        let bad = NatsConfig {
            credentials,
            ..good.clone()
        };
        assert!(matches!(fails(bad, setting).await, NatsError::File { .. }));
    }
    let tls = NatsTls {
        ca: Some(missing),
        ..NatsTls::default()
    };
    let bad = NatsConfig {
        tls,
        ..good.clone()
    };
    assert!(matches!(
        fails(bad, "nats.tls_ca").await,
        NatsError::File { .. }
    ));
    assert!(matches!(
        fails(good, "nats.servers").await,
        NatsError::Unreachable { .. }
    ));
}

#[tokio::test]
async fn password_is_checked() {
    let Some(server) = NatsServer::start(
        "password",
        "authorization { user: rookery, password: secret }",
    ) else {
        return;
    };
    let mut config = config(&server.url());
    for (credentials, good) in [
        (password("secret"), true),
        (password("wrong"), false),
        (NatsCredentials::None, false),
    ] {
        config.credentials = credentials;
        if good {
            works(config.clone()).await;
        } else {
            let error = fails(config.clone(), "nats.password").await;
            assert!(matches!(error, NatsError::Refused { .. }), "{error:?}");
            assert!(!format!("{error} {error:?}").contains("secret"));
        }
    }
}

#[tokio::test]
async fn token_is_checked() {
    let Some(server) = NatsServer::start("token", "authorization { token: secret }") else {
        return;
    };
    let mut config = config(&server.url());
    config.credentials = NatsCredentials::Token("secret".to_owned());
    works(config.clone()).await;
    config.credentials = NatsCredentials::Token("wrong".to_owned());
    let error = fails(config, "nats.token").await;
    assert!(matches!(error, NatsError::Refused { .. }), "{error:?}");
}

#[tokio::test]
async fn nkey_is_checked() {
    let users = format!("authorization {{ users: [ {{ nkey: {NKEY_PUBLIC} }} ] }}");
    let Some(server) = NatsServer::start("nkey", &users) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let seed = folder.path().join("seed");
    let mut config = config(&server.url());
    config.credentials = NatsCredentials::NkeyFile(seed.clone());
    std::fs::write(&seed, format!("{NKEY_SEED}\n")).unwrap();
    works(config.clone()).await;
    std::fs::write(&seed, "nonsense").unwrap();
    let error = fails(config, "nats.nkey").await;
    assert!(matches!(error, NatsError::Refused { .. }), "{error:?}");
}

#[tokio::test]
async fn subjects_that_are_not_allowed_are_told() {
    let Some(server) = NatsServer::start(
        "permissions",
        r#"authorization { users: [ { user: rookery, password: secret,
            permissions: { publish: "chat.>", subscribe: "chat.>" } } ] }"#,
    ) else {
        return;
    };
    let mut config = config(&server.url());
    config.credentials = password("secret");
    config.prefix = "other".to_owned();
    let error = fails(config.clone(), "nats.subject_prefix").await;
    assert!(matches!(error, NatsError::NotCarried { .. }), "{error:?}");
    assert!(
        error.to_string().contains("Permissions Violation"),
        "{error}"
    );
    config.prefix = "chat".to_owned();
    works(config).await;
}

#[tokio::test]
async fn payload_limit_that_is_too_small_is_told() {
    let Some(server) = NatsServer::start("payload limit", "max_payload: 65536") else {
        return;
    };
    let error = fails(config(&server.url()), "max_payload").await;
    assert!(
        matches!(error, NatsError::PayloadLimit { found: 65_536, .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn tls_is_checked_on_both_sides() {
    let lines = format!(
        "tls {{ cert_file: {:?}, key_file: {:?}, ca_file: {:?}, verify: true }}",
        file("server.pem"),
        file("server-key.pem"),
        file("ca.pem")
    );
    let Some(server) = NatsServer::start("tls", &lines) else {
        return;
    };
    let mut config = config(&server.url());
    let client = NatsIdentity {
        certificate: file("client.pem"),
        key: file("client-key.pem"),
    };
    config.tls = NatsTls {
        required: true,
        ca: Some(file("ca.pem")),
        client: Some(client),
    };
    works(config.clone()).await;
    // Without a certificate of our own.
    config.tls.client = None;
    let error = fails(config.clone(), "nats.tls").await;
    assert!(matches!(error, NatsError::Tls { .. }), "{error:?}");
    // With an authority that did not sign the server's.
    config.tls.ca = None;
    let error = fails(config, "nats.tls").await;
    assert!(matches!(error, NatsError::Tls { .. }), "{error:?}");
}

#[tokio::test]
async fn server_that_comes_up_late_is_waited_for() {
    let Some(mut server) = NatsServer::start("late server", "") else {
        return;
    };
    server.kill();
    let mut config = config(&server.url());
    config.connect_patience = std::time::Duration::from_secs(20);
    let restart = tokio::task::spawn_blocking(move || {
        server.restart();
        server
    });
    let (bus, server) = tokio::join!(NatsBus::connect(config), restart);
    assert!(bus.unwrap().is_connected());
    drop(server);
}
