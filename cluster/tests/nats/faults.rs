//! Links through faults: whatever was lost is seen, and the link goes on.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use rookery_cluster::{
    Bus, BusError, EndpointId, Inbound, Inbox, Links, NatsBus, Role,
    task::{TaskKind, spawn},
};
use rookery_loadtest::services::NatsServer;
use rookery_proto::link::{RoomDetach, packet::Body};
use tokio::{task::JoinHandle, time::interval};

use super::{
    config, connect, eventually,
    proxy::{Proxy, Way},
};

/// What an inbox tells, in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Number(u64),
    /// Opened, lost or silent: what came before is not to be relied on.
    Break,
}

/// A link on which a number is sent each millisecond, and what arrives.
struct Flow {
    sent: Arc<AtomicU64>,
    seen: Arc<Mutex<Vec<Seen>>>,
    tasks: [JoinHandle<()>; 2],
}

impl Flow {
    async fn start(from: &NatsBus, to: &NatsBus) -> Self {
        let sender = EndpointId::new(Role::Rooms, fastrand::u64(1..));
        let receiver = EndpointId::new(Role::Gateway, fastrand::u64(1..));
        let to: Arc<dyn Bus> = Arc::new(to.clone());
        let mut inbox = Inbox::open(&to, &receiver).await.unwrap();
        let link = Links::new(Arc::new(from.clone()), sender, 1).to(&receiver);
        let sent = Arc::new(AtomicU64::new(0));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let sending = {
            let sent = Arc::clone(&sent);
            spawn(TaskKind::Passing, "test sender", async move {
                let mut pace = interval(Duration::from_millis(1));
                loop {
                    pace.tick().await;
                    let session = sent.fetch_add(1, Ordering::Relaxed);
                    let room = "general".to_owned();
                    link.send(Body::RoomDetach(RoomDetach { room, session }));
                }
            })
        };
        let receiving = {
            let seen = Arc::clone(&seen);
            spawn(TaskKind::Passing, "test receiver", async move {
                while let Some(inbound) = inbox.next().await {
                    let mut seen = seen.lock().unwrap();
                    match inbound {
                        Inbound::Packets { packets, .. } => {
                            seen.extend(packets.into_iter().map(|packet| match packet.body {
                                Some(Body::RoomDetach(it)) => Seen::Number(it.session),
                                other => panic!("unexpected {other:?}"),
                            }));
                        }
                        Inbound::Opened { .. } | Inbound::Lost { .. } | Inbound::Silent { .. } => {
                            seen.push(Seen::Break);
                        }
                    }
                }
            })
        };
        Self {
            sent,
            seen,
            tasks: [sending, receiving],
        }
    }

    /// Something sent from now on arrives.
    async fn goes_on(&self) {
        let now = self.sent.load(Ordering::Relaxed);
        let newer = |seen: &Seen| matches!(seen, Seen::Number(number) if *number >= now);
        eventually("the link goes on", || {
            let seen = self.seen.lock().unwrap();
            seen.last().is_some_and(newer)
        })
        .await;
    }

    /// Every hole in the numbers has a break in it; returns how many numbers are missing.
    fn check(&self) -> u64 {
        let seen = self.seen.lock().unwrap().clone();
        let (mut expected, mut broken, mut missing) = (0, true, 0);
        for seen in seen {
            match seen {
                Seen::Break => broken = true,
                Seen::Number(number) => {
                    assert!(number >= expected, "{number} comes after {expected}");
                    assert!(
                        number == expected || broken,
                        "{expected}..{number} lost unseen"
                    );
                    missing += number - expected;
                    expected = number + 1;
                    broken = false;
                }
            }
        }
        missing
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// Publishing is refused, soon: of the two connections the one for data may notice it last.
async fn unreachable(bus: &NatsBus) {
    let nobody = EndpointId::new(Role::Rooms, 1);
    let refused = async {
        let mut pace = interval(Duration::from_millis(5));
        loop {
            match bus.publish(&nobody, Bytes::from_static(b"x")).await {
                Err(BusError::Unreachable) => return,
                Err(other) => panic!("{other}"),
                Ok(()) => pace.tick().await,
            };
        }
    };
    let soon = tokio::time::timeout(Duration::from_secs(30), refused).await;
    assert!(soon.is_ok(), "what is published goes on to be taken");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn link_heals_after_its_server_was_killed() {
    let Some(mut server) = NatsServer::start("killed server", "") else {
        return;
    };
    let config = config(&server.url());
    let (from, to) = (connect(config.clone()).await, connect(config).await);
    let flow = Flow::start(&from, &to).await;
    flow.goes_on().await;
    for _ in 0..3 {
        server.kill();
        eventually("both know", || !from.is_connected() && !to.is_connected()).await;
        unreachable(&from).await;
        let refused = to.subscribe(&EndpointId::new(Role::Rooms, 2)).await;
        assert!(matches!(refused, Err(BusError::Unreachable)));
        server.restart();
        eventually("both are back", || from.is_connected() && to.is_connected()).await;
        flow.goes_on().await;
    }
    assert!(flow.check() > 0, "something was lost");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn link_heals_after_its_connection_was_cut() {
    let Some(server) = NatsServer::start("cut connection", "") else {
        return;
    };
    let proxy = Proxy::to(server.port()).await;
    let direct = config(&server.url());
    let mut through = direct.clone();
    through.servers = vec![proxy.url()];
    for sender_is_cut in [true, false] {
        let (cut, whole) = (
            connect(through.clone()).await,
            connect(direct.clone()).await,
        );
        let flow = if sender_is_cut {
            Flow::start(&cut, &whole).await
        } else {
            Flow::start(&whole, &cut).await
        };
        flow.goes_on().await;
        proxy.set(Way::Cut);
        eventually("it knows", || !cut.is_connected()).await;
        proxy.set(Way::Open);
        eventually("it is back", || cut.is_connected()).await;
        flow.goes_on().await;
        flow.check();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stalled_connection_is_given_up_and_the_link_heals() {
    let Some(server) = NatsServer::start("stalled connection", "") else {
        return;
    };
    let proxy = Proxy::to(server.port()).await;
    let direct = config(&server.url());
    let mut through = direct.clone();
    through.servers = vec![proxy.url()];
    let (from, to) = (connect(through).await, connect(direct).await);
    let flow = Flow::start(&from, &to).await;
    flow.goes_on().await;
    proxy.set(Way::Stalled);
    // No sign of the stall but unanswered pings.
    eventually("it knows", || !from.is_connected()).await;
    unreachable(&from).await;
    proxy.set(Way::Open);
    eventually("it is back", || from.is_connected()).await;
    flow.goes_on().await;
    flow.check();
}
