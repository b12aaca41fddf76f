//! What a node makes of losses and silences on a gateway's link.

use bytes::Bytes;
use prost::Message as _;
use rookery_cluster::{EndpointId, Inbound, Inbox, Role};
use rookery_proto::{
    link::{self, Packet, packet::Body, reply, room_request::Command},
    v1,
};
use tokio::time::{Duration, timeout};

use super::harness::{DEADLINE, Harness, appended, caller, create, join, send, typing};
use crate::RoomLimits;

/// A gateway whose batches are made by hand, without heartbeats.
struct Gateway {
    me: EndpointId,
    inbox: Inbox,
}

impl Gateway {
    async fn new(harness: &Harness) -> Self {
        let me = EndpointId::new(Role::Gateway, 77);
        let inbox = Inbox::open(&harness.bus, &me).await.unwrap();
        Self { me, inbox }
    }

    /// Says this in the batch of that number of a run.
    async fn say(&self, harness: &Harness, (incarnation, sequence): (u64, u64), body: Body) {
        let batch = link::Batch {
            from: self.me.as_str().into(),
            incarnation,
            sequence,
            packets: vec![Packet { body: Some(body) }],
        };
        let payload = Bytes::from(batch.encode_to_vec());
        harness.bus.publish(&harness.rooms, payload).await.unwrap();
    }

    /// What the wanted one of the next packets holds.
    async fn next<T>(&mut self, mut wanted: impl FnMut(Body) -> Option<T>) -> T {
        let found = timeout(DEADLINE, async {
            loop {
                if let Some(Inbound::Packets { packets, .. }) = self.inbox.next().await
                    && let Some(found) = packets
                        .into_iter()
                        .filter_map(|packet| packet.body)
                        .find_map(&mut wanted)
                {
                    return found;
                }
            }
        });
        found.await.unwrap()
    }

    async fn reply(&mut self, request: u64) -> reply::Result {
        self.next(|body| match body {
            Body::Reply(reply) if reply.request == request => reply.result,
            _ => None,
        })
        .await
    }
}

fn request(request: u64, turn: u64, command: Command) -> Body {
    Body::RoomRequest(link::RoomRequest {
        turn,
        request,
        room: "r".into(),
        caller: Some(caller("b")),
        command: Some(command),
    })
}

#[tokio::test]
async fn gateway_that_lost_packets_announces_again_and_misses_nothing() {
    let mut harness = Harness::new(RoomLimits::default()).await;
    harness.open_room("r").await;
    let mut gateway = Gateway::new(&harness).await;
    gateway.say(&harness, (77, 1), request(1, 1, join())).await;
    gateway
        .say(&harness, (77, 3), request(2, 1, typing()))
        .await;
    appended(harness.run("r", "a", send("while away")).await);
    let resync = link::RoomResync {
        room: "r".into(),
        lane: 1,
        after_offset: 1,
        sessions: vec![caller("b")],
        number: 1,
        adds: false,
    };
    gateway
        .say(&harness, (77, 4), Body::RoomResync(resync))
        .await;
    let mut reannounced = false;
    let missed = gateway
        .next(|body| match body {
            Body::Reannounce(_) => {
                reannounced = true;
                None
            }
            Body::RoomEvents(events) => Some(events),
            _ => None,
        })
        .await;
    assert!(reannounced);
    assert_eq!(
        (missed.head, missed.reset, missed.events.len()),
        (2, false, 1)
    );
    appended(harness.run("r", "a", send("after")).await);
    let event = gateway
        .next(|body| match body {
            Body::RoomEvent(event) => Some(event),
            _ => None,
        })
        .await;
    assert_eq!((event.offset, event.lanes), (3, 1 << 1));
    assert_eq!(v1::Event::decode(event.event).unwrap().offset, 3);
}

/// What it said last before the silence may be lost, and its new run shows no hole.
#[tokio::test]
async fn gateway_heard_again_after_a_silence_begins_a_new_turn() {
    let limits = RoomLimits {
        passivate_after: Duration::from_millis(40),
        ..RoomLimits::default()
    };
    let mut harness = Harness::new(limits).await;
    harness.run("r", "a", create(&["b"])).await.unwrap();
    let mut gateway = Gateway::new(&harness).await;
    gateway.say(&harness, (77, 1), request(1, 1, join())).await;
    assert!(matches!(gateway.reply(1).await, reply::Result::Ack(_)));
    harness
        .eventually("its listener is dropped, the room sleeps", |harness| {
            harness.node.rooms_awake() == 0
        })
        .await;
    gateway
        .say(&harness, (78, 1), request(2, 1, typing()))
        .await;
    gateway
        .say(&harness, (78, 2), request(3, 2, typing()))
        .await;
    match gateway.reply(2).await {
        reply::Result::NotOwner(told) => assert_eq!(told.owner, harness.rooms.as_str()),
        other => panic!("{other:?}"),
    }
    assert!(matches!(gateway.reply(3).await, reply::Result::Ack(_)));
}
