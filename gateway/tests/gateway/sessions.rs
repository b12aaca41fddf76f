//! Sessions over real sockets: the happy path, tokens, heartbeat, slow readers, moving, stopping.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::support::{Client, PATIENCE, Seen, eventually, start};
use futures_util::StreamExt as _;
use rookery_gateway::auth::{Algorithm, KeyConfig, MintClaims, Secret, SigningKey, mint};
use rookery_proto::{
    errors::Code,
    v1::{ack, notice, server_frame::Frame},
};
use tokio::time::{Instant, timeout};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_reach_everyone_in_the_room_in_order() {
    let cluster = start(|_| ()).await;
    let mut ada = Client::login(cluster.addr, "ada").await;
    let mut bob = Client::login(cluster.addr, "bob").await;
    ada.join("lobby").await;
    bob.join("lobby").await;
    for n in 1..=50 {
        ada.send(&format!(
            r#"{{"id":"{n}","send":{{"room":"lobby","text":"hi {n}"}}}}"#
        ))
        .await;
    }
    for n in 1..=50 {
        match bob.next().await {
            Seen::Frame(Frame::Event(event)) => assert_eq!(event.offset, n),
            other => panic!("{other:?}"),
        }
    }
    let (mut acks, mut events) = (0, 0);
    while acks < 50 || events < 50 {
        match ada.next().await {
            Seen::Frame(Frame::Event(event)) => {
                events += 1;
                assert_eq!(event.offset, events);
            }
            Seen::Frame(Frame::Ack(ack)) => {
                acks += 1;
                assert!(matches!(ack.result, Some(ack::Result::Appended(_))));
                assert_eq!(events, acks, "an event comes before its ack");
            }
            other => panic!("{other:?}"),
        }
    }
    drop(bob);
    eventually("bob is detached", || cluster.nodes.listeners("lobby") == 1).await;
    drop(ada);
    assert_eq!(cluster.gateway.stop(PATIENCE).await.connections_cut, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn session_without_token_is_closed_in_time_and_may_authenticate_before() {
    let cluster = start(|config| config.authenticate_timeout = Duration::from_millis(300)).await;
    let mut silent = Client::connect(cluster.addr, "").await;
    let mut ada = Client::connect(cluster.addr, "").await;
    ada.send(r#"{"id":"1","authenticate":{"name":"ada"}}"#)
        .await;
    assert!(matches!(ada.next().await, Seen::Frame(Frame::Welcome(_))));
    assert_eq!(silent.close_code().await, 4102);
    ada.check_alive().await;
    let mut hasty = Client::connect(cluster.addr, "").await;
    hasty.send(r#"{"id":"1","ping":{}}"#).await;
    assert_eq!(hasty.error().await.code(), Code::Unauthenticated);
    assert_eq!(hasty.close_code().await, 4201);
}

/// A gateway that takes tokens signed with a secret, and the key to sign them.
async fn start_with_tokens() -> (crate::support::Cluster, SigningKey) {
    let secret = Secret::new("a secret of thirty-two bytes or more");
    let key = SigningKey::from_secret(&secret);
    let cluster = start(|config| {
        config.dev = false;
        config.auth.leeway = Duration::ZERO;
        config.auth.keys = vec![KeyConfig {
            alg: Algorithm::HS256,
            kid: None,
            secret: Some(secret),
            secret_base64: None,
            public_key_pem: None,
        }];
    })
    .await;
    (cluster, key)
}

fn token(key: &SigningKey, user: &str, exp: u64) -> String {
    let claims = MintClaims {
        sub: user.to_owned(),
        exp,
        ..MintClaims::default()
    };
    mint(key, &claims).unwrap()
}

fn now_s() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn token_expires_unless_it_is_refreshed_for_the_same_user() {
    let (cluster, key) = start_with_tokens().await;
    let short = token(&key, "ada", now_s() + 3);
    let mut lapsing = Client::connect(cluster.addr, &format!("token={short}")).await;
    let mut renewing = Client::connect(cluster.addr, &format!("token={short}")).await;
    for client in [&mut lapsing, &mut renewing] {
        assert!(matches!(
            client.next().await,
            Seen::Frame(Frame::Welcome(_))
        ));
    }
    let refresh = |token: String| format!(r#"{{"id":"r","refreshToken":{{"token":"{token}"}}}}"#);
    renewing
        .send(&refresh(token(&key, "bob", now_s() + 600)))
        .await;
    assert_eq!(renewing.error().await.code(), Code::Forbidden);
    renewing.send(&refresh("a.b.c".to_owned())).await;
    let error = renewing.error().await;
    assert_eq!(
        (error.code(), error.field.as_str()),
        (Code::Unauthenticated, "refreshToken.token")
    );
    let expires = now_s() + 600;
    renewing.send(&refresh(token(&key, "ada", expires))).await;
    let ack = renewing.ack().await;
    assert!(
        matches!(ack.result, Some(ack::Result::TokenRefreshed(new)) if new.token_expires_ms == expires * 1_000)
    );
    match lapsing.next().await {
        Seen::Frame(Frame::Notice(notice)) => {
            assert!(matches!(notice.body, Some(notice::Body::TokenExpiring(_))));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(lapsing.close_code().await, 4100);
    renewing.check_alive().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expired_and_forged_tokens_are_closed_with_the_code_for_a_new_one() {
    let (cluster, key) = start_with_tokens().await;
    let forger = SigningKey::from_secret(&Secret::new("another secret of thirty-two bytes"));
    let expired = token(&key, "ada", now_s() - 10);
    let forged = token(&forger, "ada", now_s() + 600);
    for bad in [expired.as_str(), forged.as_str(), "nonsense"] {
        let mut client = Client::connect(cluster.addr, &format!("token={bad}")).await;
        assert_eq!(client.error().await.code(), Code::Unauthenticated);
        assert_eq!(client.close_code().await, 4101);
        let mut client = Client::connect(cluster.addr, "").await;
        client
            .send(&format!(
                r#"{{"id":"1","authenticate":{{"token":"{bad}"}}}}"#
            ))
            .await;
        let error = client.error().await;
        assert_eq!(
            (error.id.as_str(), error.code()),
            ("1", Code::Unauthenticated)
        );
        assert_eq!(client.close_code().await, 4101);
    }
    let mut named = Client::connect(cluster.addr, "").await;
    named
        .send(r#"{"id":"1","authenticate":{"name":"ada"}}"#)
        .await;
    assert_eq!(named.close_code().await, 4101);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_peer_is_gone_within_two_intervals_and_a_living_one_stays() {
    let cluster = start(|config| config.heartbeat_interval = Duration::from_secs(1)).await;
    let mut living = Client::login(cluster.addr, "ada").await;
    // Not polled, so it answers no ping: dead, as far as anyone can tell.
    let mut dead = Client::login(cluster.addr, "bob").await;
    let since = Instant::now();
    let watching = eventually("one is left", || cluster.gateway.connections() == 1);
    let answering = async { while let Some(Ok(_)) = living.socket.next().await {} };
    tokio::select! {
        () = watching => {}
        () = answering => panic!("the living peer was closed"),
    }
    let gone_after = since.elapsed();
    // Two intervals until it is closed, then the time its half of the close may take.
    let bound = Duration::from_millis(2_000)..Duration::from_millis(4_000);
    assert!(bound.contains(&gone_after), "{gone_after:?}");
    // Its library answers the pings first, which may fail before it comes to the close frame.
    assert!(matches!(dead.next().await, Seen::Close(4002) | Seen::End));
    living.check_alive().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_reader_is_closed_with_the_code_to_resume_and_harms_nobody() {
    let cluster = start(|_| ()).await;
    let mut slow = Client::login(cluster.addr, "slow").await;
    slow.join("busy").await;
    let mut quick = Client::login(cluster.addr, "quick").await;
    quick.join("busy").await;
    // 96 MB: the system's buffers take some tens of megabytes before the gateway notices.
    let (text, count) = ("x".repeat(16_000), 6_000);
    let reading = async {
        for offset in 1..=count {
            if offset % 50 == 1 {
                cluster.nodes.publish("busy", 50, &text);
            }
            match quick.next().await {
                Seen::Frame(Frame::Event(event)) => assert_eq!(event.offset, offset),
                other => panic!("{other:?}"),
            }
        }
    };
    timeout(3 * PATIENCE, reading)
        .await
        .expect("the quick reader is not held up");
    // It reads what the system still holds, in order, then why it was closed.
    let mut offset = 0;
    loop {
        match slow.next().await {
            Seen::Frame(Frame::Event(event)) => {
                offset += 1;
                assert_eq!(event.offset, offset);
            }
            Seen::Close(code) => break assert_eq!(code, 4001),
            other => panic!("{other:?}"),
        }
    }
    assert!(offset < count);
    quick.check_alive().await;
    drop(slow);
    eventually("the slow reader is gone", || {
        cluster.gateway.connections() == 1
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn moved_sessions_go_each_at_their_own_time() {
    let cluster = start(|_| ()).await;
    let mut clients = Vec::new();
    for n in 0..20 {
        clients.push(Client::login(cluster.addr, &format!("user{n}")).await);
    }
    cluster.gateway.stop_accepting();
    cluster.gateway.move_sessions(Duration::from_secs(2)).await;
    let mut told = Vec::new();
    for client in &mut clients {
        match client.next().await {
            Seen::Frame(Frame::Notice(notice)) => match notice.body {
                Some(notice::Body::GoingAway(away)) => told.push(away.reconnect_after_ms),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }
    told.sort_unstable();
    assert!(told[0] <= 400 && told[19] >= 1_600, "{told:?}");
    for client in &mut clients {
        assert_eq!(client.close_code().await, 4000);
    }
    drop(clients);
    assert_eq!(cluster.gateway.stop(PATIENCE).await.connections_cut, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopped_gateway_tells_its_sessions_to_resume() {
    let cluster = start(|_| ()).await;
    let mut ada = Client::login(cluster.addr, "ada").await;
    let leaving = async {
        assert_eq!(ada.close_code().await, 4000);
        drop(ada);
    };
    let (report, ()) = tokio::join!(cluster.gateway.stop(PATIENCE), leaving);
    assert_eq!(report.connections_cut, 0);
}
