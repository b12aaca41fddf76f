use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use prost::Message as _;
use rookery_proto::link::{Batch, Reannounce, RoomDetach, packet::Body};

use tokio::time::Instant;

use super::*;
use crate::{
    bus::{Bus, BusError, InProcessBus, Subscription},
    endpoint::{EndpointId, Role},
    limits::{LINK_QUEUE_BYTES_MAX, SILENCE},
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

/// Loses the messages whose numbers are named, and counts all.
struct LossyBus {
    inner: InProcessBus,
    lose: Vec<u64>,
    published: AtomicU64,
}

impl LossyBus {
    fn losing(lose: &[u64]) -> Arc<Self> {
        Arc::new(Self {
            inner: InProcessBus::default(),
            lose: lose.to_vec(),
            published: AtomicU64::new(0),
        })
    }
}

#[async_trait::async_trait]
impl Bus for LossyBus {
    async fn publish(&self, to: &EndpointId, payload: Bytes) -> Result<(), BusError> {
        let number = self.published.fetch_add(1, Ordering::Relaxed);
        if self.lose.contains(&number) {
            return Ok(());
        }
        self.inner.publish(to, payload).await
    }

    async fn subscribe(&self, inbox: &EndpointId) -> Result<Subscription, BusError> {
        self.inner.subscribe(inbox).await
    }
}

#[tokio::test(start_paused = true)]
async fn loss_before_silence_is_seen_within_a_second_and_a_half() {
    let [gateway, rooms] = [Role::Gateway, Role::Rooms].map(|role| EndpointId::new(role, 1));
    // The first message opens the link, the third is the room's last word.
    let bus: Arc<dyn Bus> = LossyBus::losing(&[2]);
    let mut inbox = Inbox::open(&bus, &gateway).await.unwrap();
    let link = Links::new(bus, rooms, 7).to(&gateway);
    for session in 0..2 {
        link.send(detach(session));
        assert_eq!(sessions(&mut inbox, 1).await, [session]);
    }
    link.send(detach(2));
    let lost = Instant::now();
    assert!(matches!(inbox.next().await, Some(Inbound::Lost { .. })));
    assert!(lost.elapsed() <= Duration::from_millis(1_500));
    link.send(detach(3));
    assert_eq!(sessions(&mut inbox, 1).await, [3]);
}

#[tokio::test(start_paused = true)]
async fn forgotten_link_opens_again_at_once_for_whoever_holds_it() {
    let (bus, gateway, rooms) = pair();
    let mut inbox = Inbox::open(&bus, &gateway).await.unwrap();
    let links = Links::new(bus, rooms.clone(), 7);
    let held = links.to(&gateway);
    held.send(detach(1));
    assert_eq!(sessions(&mut inbox, 1).await, [1]);
    links.forget(&gateway);
    let quiet = tokio::time::timeout(SILENCE, inbox.next()).await;
    assert!(
        matches!(quiet, Ok(Some(Inbound::Silent { .. }))),
        "a forgotten link says nothing: {quiet:?}"
    );
    for (session, link) in [(2, held), (3, links.to(&gateway))] {
        links.forget(&gateway);
        link.send(detach(session));
        let began = Instant::now();
        assert!(matches!(inbox.next().await, Some(Inbound::Opened { from }) if from == rooms));
        if session == 3 {
            assert!(matches!(inbox.next().await, Some(Inbound::Lost { .. })));
        }
        assert_eq!(sessions(&mut inbox, 1).await, [session]);
        assert!(began.elapsed() < Duration::from_millis(10));
    }
}

#[tokio::test(start_paused = true)]
async fn what_waits_on_a_forgotten_link_is_dropped_and_missed_by_whoever_hears_it_again() {
    let (bus, gateway, rooms) = pair();
    let mut inbox = Inbox::open(&bus, &gateway).await.unwrap();
    let links = Links::new(bus, rooms, 7);
    let link = links.to(&gateway);
    link.send(detach(1));
    links.forget(&gateway);
    link.send(detach(2));
    assert!(matches!(inbox.next().await, Some(Inbound::Opened { .. })));
    assert!(matches!(inbox.next().await, Some(Inbound::Lost { .. })));
    assert_eq!(sessions(&mut inbox, 1).await, [2]);
}

#[tokio::test(start_paused = true)]
async fn straggler_of_an_older_run_is_ignored() {
    let (bus, gateway, rooms) = pair();
    let mut inbox = Inbox::open(&bus, &rooms).await.unwrap();
    for (incarnation, session) in [(8, 1), (7, 2), (8, 3)] {
        let packets = vec![rookery_proto::link::Packet {
            body: Some(detach(session)),
        }];
        let batch = Batch {
            from: gateway.as_str().to_owned(),
            incarnation,
            sequence: session.div_ceil(2),
            packets,
        };
        let payload = Bytes::from(batch.encode_to_vec());
        bus.publish(&rooms, payload).await.unwrap();
    }
    assert!(matches!(inbox.next().await, Some(Inbound::Opened { .. })));
    assert_eq!(sessions(&mut inbox, 2).await, [1, 3]);
}

#[tokio::test(start_paused = true)]
async fn packets_that_come_together_share_batches_and_a_lone_one_leaves_at_once() {
    let [gateway, rooms] = [Role::Gateway, Role::Rooms].map(|role| EndpointId::new(role, 1));
    let counted = LossyBus::losing(&[]);
    let bus: Arc<dyn Bus> = counted.clone();
    let mut inbox = Inbox::open(&bus, &gateway).await.unwrap();
    let link = Links::new(bus, rooms, 7).to(&gateway);
    let began = Instant::now();
    link.send(detach(0));
    assert_eq!(sessions(&mut inbox, 1).await, [0]);
    assert_eq!(began.elapsed(), Duration::ZERO, "no timer is waited for");
    let before = counted.published.load(Ordering::Relaxed);
    for session in 0..10_000 {
        link.send(detach(session));
    }
    sessions(&mut inbox, 10_000).await;
    let batches = counted.published.load(Ordering::Relaxed) - before;
    assert!(batches <= 20, "{batches} batches");
}
