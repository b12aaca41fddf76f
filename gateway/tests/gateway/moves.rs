//! Owners change and links lose, as real sockets see it.

use std::time::Duration;

use rookery_proto::v1::{ack, server_frame::Frame};
use tokio::time::Instant;

use crate::support::{Client, Seen, eventually, start};

/// A link shows a hole with its next heartbeat, a second later at most; what is missing is fetched
/// at once. Twice that is for a busy machine.
const HEALED: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread")]
async fn event_lost_on_the_link_of_a_room_that_is_silent_since_comes_soon() {
    let cluster = start(|_| ()).await;
    let mut ada = Client::login(cluster.addr, "ada").await;
    ada.join("quiet").await;
    cluster.bus.lose_next();
    let began = Instant::now();
    cluster.nodes.publish("quiet", 1, "lost");
    match ada.next().await {
        Seen::Frame(Frame::Event(event)) => assert_eq!(event.offset, 1),
        other => panic!("{other:?}"),
    }
    assert!(cluster.bus.has_lost(), "the event came by the lost batch");
    let took = began.elapsed();
    assert!(took < HEALED, "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn answer_lost_on_the_link_is_asked_for_again() {
    let cluster = start(|_| ()).await;
    let mut ada = Client::login(cluster.addr, "ada").await;
    cluster.bus.lose_next();
    let began = Instant::now();
    ada.send(r#"{"id":"1","markRead":{"room":"quiet","offset":0}}"#)
        .await;
    assert_eq!(ada.ack().await.id, "1");
    assert!(cluster.bus.has_lost());
    let took = began.elapsed();
    assert!(took < HEALED, "{took:?}");
}

/// Sends without waiting for answers while the rooms move to and fro, known to the gateway only
/// later: no error, and the log has each message once, in the order sent.
#[tokio::test(flavor = "multi_thread")]
async fn move_of_a_busy_room_is_seen_by_no_client() {
    const MOVES: usize = 6;
    const SENDS: usize = 20;
    let cluster = start(|config| config.commands_burst = 10_000).await;
    let mut ada = Client::login(cluster.addr, "ada").await;
    ada.join("busy").await;
    let mut number = 0;
    for moved in 0..MOVES {
        for sent in 0..SENDS {
            number += 1;
            let send = format!(
                r#"{{"id":"{number}","send":{{"room":"busy","text":"{number}","clientId":"{number}"}}}}"#
            );
            ada.send(&send).await;
            if sent == SENDS / 2 {
                cluster.nodes.move_rooms();
            }
        }
        if moved % 3 == 0 {
            cluster.tell();
        }
    }
    cluster.tell();
    let (mut acks, mut texts) = (0, Vec::new());
    while acks < number || texts.len() < number {
        match ada.next().await {
            Seen::Frame(Frame::Ack(ack)) => {
                assert!(matches!(ack.result, Some(ack::Result::Appended(_))));
                acks += 1;
            }
            Seen::Frame(Frame::Event(event)) => {
                assert_eq!(event.offset, texts.len() as u64 + 1);
                let Some(rookery_proto::v1::event::Body::Message(message)) = event.body else {
                    panic!("not a message");
                };
                texts.push(message.text.parse::<usize>().unwrap());
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(acks, number);
    assert_eq!(texts, (1..=number).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn gateway_without_any_owner_says_so_and_its_commands_wait_for_one() {
    let cluster = start(|_| ()).await;
    let knows = cluster.gateway.knows_owners();
    assert!(*knows.borrow());
    cluster.tell_nobody();
    eventually("no owner known", || !*knows.borrow()).await;
    let mut ada = Client::login(cluster.addr, "ada").await;
    ada.send(r#"{"id":"j","join":{"room":"quiet"}}"#).await;
    ada.check_alive().await;
    cluster.tell();
    assert_eq!(ada.ack().await.id, "j");
    assert!(*knows.borrow());
}
