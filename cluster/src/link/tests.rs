use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use prost::Message as _;
use rookery_proto::link::{Batch, Reannounce, RoomDetach, packet::Body};

use super::*;
use crate::{
    bus::{Bus, InProcessBus},
    endpoint::{EndpointId, Role},
    limits::LINK_QUEUE_BYTES_MAX,
};

fn pair() -> (Arc<dyn Bus>, EndpointId, EndpointId) {
    let bus: Arc<dyn Bus> = Arc::new(InProcessBus::default());
    (
        bus,
        EndpointId::new(Role::Gateway, 1),
        EndpointId::new(Role::Rooms, 2),
    )
}

fn detach(session: u64) -> Body {
    Body::RoomDetach(RoomDetach {
        room: "r".into(),
        session,
    })
}

async fn sessions(inbox: &mut Inbox, count: usize) -> Vec<u64> {
    let mut sessions = Vec::new();
    while sessions.len() < count {
        if let Inbound::Packets { packets, .. } = inbox.next().await.unwrap() {
            sessions.extend(packets.into_iter().map(|packet| match packet.body {
                Some(Body::RoomDetach(detach)) => detach.session,
                other => panic!("unexpected {other:?}"),
            }));
        }
    }
    sessions
}

#[tokio::test(start_paused = true)]
async fn packets_arrive_once_and_in_order() {
    let (bus, gateway, rooms) = pair();
    let mut inbox = Inbox::open(&bus, &rooms).await.unwrap();
    let link = Links::new(bus, gateway, 7).to(&rooms);
    for session in 0..5_000 {
        link.offer(detach(session)).unwrap();
    }
    assert_eq!(
        sessions(&mut inbox, 5_000).await,
        (0..5_000).collect::<Vec<_>>()
    );
}

#[tokio::test(start_paused = true)]
async fn dropped_packet_is_seen_as_a_hole() {
    let (bus, gateway, rooms) = pair();
    let mut inbox = Inbox::open(&bus, &rooms).await.unwrap();
    let link = Links::new(bus, gateway, 7).to(&rooms);
    link.send(detach(1));
    assert_eq!(sessions(&mut inbox, 1).await, [1]);
    let huge = Body::RoomDetach(RoomDetach {
        room: "x".repeat(LINK_QUEUE_BYTES_MAX),
        session: 2,
    });
    assert!(link.offer(huge.clone()).is_err());
    link.send(huge);
    link.send(detach(3));
    assert!(matches!(inbox.next().await, Some(Inbound::Lost { .. })));
    assert_eq!(sessions(&mut inbox, 1).await, [3]);
}

#[tokio::test(start_paused = true)]
async fn idle_link_is_heard_and_ended_link_is_silent() {
    let (bus, gateway, rooms) = pair();
    let mut inbox = Inbox::open(&bus, &rooms).await.unwrap();
    let links = Links::new(bus, gateway.clone(), 7);
    let link = links.to(&rooms);
    link.send(Body::Reannounce(Reannounce {}));
    assert!(matches!(inbox.next().await, Some(Inbound::Opened { from }) if from == gateway));
    assert!(matches!(inbox.next().await, Some(Inbound::Packets { .. })));
    let quiet = tokio::time::timeout(Duration::from_secs(30), inbox.next()).await;
    assert!(quiet.is_err(), "heartbeats keep an idle link alive");
    links.forget(&rooms);
    drop(link);
    assert!(matches!(inbox.next().await, Some(Inbound::Silent { from }) if from == gateway));
}

#[tokio::test(start_paused = true)]
async fn repeated_or_unreadable_batch_changes_nothing_but_leaves_a_hole() {
    let (bus, gateway, rooms) = pair();
    let mut inbox = Inbox::open(&bus, &rooms).await.unwrap();
    let batch = |sequence| {
        let packets = vec![rookery_proto::link::Packet {
            body: Some(detach(sequence)),
        }];
        let from = gateway.as_str().to_owned();
        Bytes::from(
            Batch {
                from,
                incarnation: 7,
                sequence,
                packets,
            }
            .encode_to_vec(),
        )
    };
    for payload in [
        batch(1),
        batch(1),
        Bytes::from_static(b"\xff\xff"),
        batch(3),
    ] {
        bus.publish(&rooms, payload).await.unwrap();
    }
    assert_eq!(sessions(&mut inbox, 1).await, [1]);
    assert!(matches!(inbox.next().await, Some(Inbound::Lost { .. })));
    assert_eq!(sessions(&mut inbox, 1).await, [3]);
}
