//! Engines against the fake server.

mod pusher;

use tokio::time::timeout;

use super::{
    Engine, LightError,
    harness::{DEADLINE, Light, task},
    orders::{Order, Report, Task},
};
use crate::{
    fake::{FakeServer, Fault},
    outcome::Counts,
};

/// Twenty connections, each in two of four rooms: ten listeners in each, half of them in JSON.
const SMALL: [&str; 6] = [
    "people.connections=20",
    "people.rooms=4",
    "people.rooms_each=2",
    "stage.0.warm_up_seconds=0",
    "stage.0.seconds=1",
    "stage.0.rates.sends=100",
];
const LISTENERS: u64 = 10;

fn small(server: &FakeServer, more: &[&str]) -> Task {
    let address = server.address.authority().parse().unwrap();
    task(address, &[&SMALL[..], more].concat())
}

#[tokio::test]
async fn every_second_of_a_stage_is_said_also_the_last() {
    let server = FakeServer::start().await;
    let mut light = Light::joined(&small(&server, &["stage.0.seconds=2"])).await;
    light.measuring().await;
    let mut due = Vec::new();
    light
        .until(|report| match report {
            Report::Tick(tick) => {
                due.push(tick.counts.due);
                None
            }
            Report::Stage(_) => Some(()),
            _ => None,
        })
        .await;
    // A machine that stops for a second has one tick for two.
    assert_eq!(due.iter().sum::<u64>(), 200, "{due:?}");
}

#[tokio::test]
async fn how_many_rooms_are_opened_and_joined_is_said_on_the_way() {
    let server = FakeServer::start().await;
    // Connections come over two seconds, so joins do.
    let changes = ["people.connects_per_second=10"];
    let mut light = Light::start(&small(&server, &changes));
    light.orders.give(Order::Open).unwrap();
    let opened = light
        .counts_until(|report| matches!(report, Report::Opened))
        .await;
    assert!(
        opened.iter().all(|count| (1..=4).contains(count)),
        "{opened:?}"
    );
    light.orders.give(Order::Connect).unwrap();
    let joined = light
        .counts_until(|report| matches!(report, Report::Joined))
        .await;
    assert!(
        joined.is_sorted() && (1..40).contains(&joined[0]),
        "{joined:?}"
    );
}

#[tokio::test]
async fn every_listener_counts_every_event() {
    let server = FakeServer::start().await;
    let mut light = Light::joined(&small(&server, &[])).await;
    light.measuring().await;
    let tick = light
        .until(|report| match report {
            Report::Tick(tick) => Some(tick),
            _ => None,
        })
        .await;
    assert_eq!(tick.connections, 20);
    assert!(tick.counts.delivered > 0);
    let (part, settled) = light.settled().await;
    let Counts { due, acked, .. } = part.counts;
    assert_eq!((due, acked), (100, 100));
    assert_eq!(part.counts.delivered, acked * LISTENERS);
    assert_eq!(
        (part.counts.lost, part.counts.doubled, part.counts.failed),
        (0, 0, 0)
    );
    assert_eq!(part.latency.ack.count(), acked);
    assert_eq!(part.latency.delivery.count(), acked * LISTENERS);
    assert_eq!(
        part.latency.all.count(),
        acked,
        "each came to its last listener"
    );
    assert!(part.took_ms >= 1_000);
    assert_eq!(settled, Counts::default());
}

#[tokio::test]
async fn connections_that_are_cut_resume_without_loss() {
    let server = FakeServer::start().await;
    let changes = ["stage.0.cut=1.0", "stage.0.seconds=30"];
    let mut light = Light::joined(&small(&server, &changes)).await;
    light.measuring().await;
    let (part, settled) = light.settled().await;
    assert!(part.took_ms < 20_000, "it ends when all are whole");
    assert_eq!(part.latency.whole.count(), 20);
    assert_eq!((part.counts.connected, part.counts.resumed), (20, 40));
    assert_eq!(
        (part.counts.lost, part.counts.reset, part.counts.dropped),
        (0, 0, 0)
    );
    assert_eq!(settled.lost, 0);
}

#[tokio::test]
async fn connections_the_server_cuts_are_dropped_and_resume_without_loss() {
    let server = FakeServer::start().await;
    let mut light = Light::joined(&small(&server, &["stage.0.seconds=3"])).await;
    light.measuring().await;
    server.cut_all();
    let (part, settled) = light.settled().await;
    assert_eq!((part.counts.dropped, part.counts.resumed), (20, 40));
    assert_eq!((part.counts.lost, settled.lost), (0, 0));
    assert_eq!(
        part.counts.due, 300,
        "what was due while nobody was there is done later"
    );
}

#[tokio::test]
async fn an_event_that_one_listener_does_not_get_is_lost() {
    let server = FakeServer::start().await;
    let mut light = Light::joined(&small(&server, &[])).await;
    server.break_next_event(Fault::Skipped);
    light.measuring().await;
    let (part, settled) = light.settled().await;
    assert_eq!(part.counts.lost + settled.lost, 1);
    assert_eq!(part.counts.doubled + settled.doubled, 0);
}

#[tokio::test]
async fn an_event_that_one_listener_gets_twice_is_doubled() {
    let server = FakeServer::start().await;
    let mut light = Light::joined(&small(&server, &[])).await;
    server.break_next_event(Fault::Doubled);
    light.measuring().await;
    let (part, settled) = light.settled().await;
    assert_eq!(part.counts.doubled + settled.doubled, 1);
    assert_eq!(part.counts.lost + settled.lost, 0);
}

#[tokio::test]
async fn the_wait_at_a_server_that_stalls_is_in_every_latency() {
    let server = FakeServer::start().await;
    let mut light = Light::joined(&small(&server, &["stage.0.seconds=3"])).await;
    server.stall(true);
    light.measuring().await;
    light
        .until(|report| matches!(report, Report::Tick(_)).then_some(()))
        .await;
    server.stall(false);
    let (part, _) = light.settled().await;
    assert_eq!((part.counts.due, part.counts.acked), (300, 300));
    let slow = 1_000_000 - 1_000_000 / 10;
    assert!(part.latency.ack.max() > slow, "{}", part.latency.ack);
    // What was due in the second that stalled waited half a second in the mean.
    assert!(
        part.latency.ack.percentile(80.0) > 250_000,
        "{}",
        part.latency.ack
    );
}

#[tokio::test]
async fn sends_in_flight_go_by_acknowledgements() {
    let server = FakeServer::start().await;
    let changes = [
        "stage.0.rates.sends=0",
        "stage.0.sends_in_flight=2",
        "people.active=3",
    ];
    let mut light = Light::joined(&small(&server, &changes)).await;
    light.measuring().await;
    let (part, settled) = light.settled().await;
    assert!(part.counts.acked > 6, "{:?}", part.counts);
    assert_eq!(part.counts.due, part.counts.acked);
    assert_eq!(part.counts.delivered, part.counts.acked * LISTENERS);
    assert_eq!((part.counts.failed, settled.lost), (0, 0));
}

#[tokio::test]
async fn connections_read_look_back_and_come_again() {
    let server = FakeServer::start().await;
    let changes = [
        "stage.0.rates.reads=50",
        "stage.0.rates.history=50",
        "stage.0.rates.reconnects=10",
    ];
    let mut light = Light::joined(&small(&server, &changes)).await;
    light.measuring().await;
    let (part, settled) = light.settled().await;
    assert_eq!(part.counts.answered, 100);
    assert_eq!(part.counts.connected, 10);
    assert_eq!(part.counts.resumed, 20);
    assert_eq!(
        (part.counts.lost, part.counts.failed, part.counts.dropped),
        (0, 0, 0)
    );
    assert_eq!(settled, Counts::default());
}

#[tokio::test]
async fn two_processes_share_what_is_due() {
    let server = FakeServer::start().await;
    let first = small(&server, &[]);
    let second = Task {
        part: 1,
        parts: 2,
        ..first.clone()
    };
    let first = Task { parts: 2, ..first };
    let (mut one, mut two) = (Light::joined(&first).await, Light::joined(&second).await);
    one.orders.give(Order::Stage(0)).unwrap();
    two.orders.give(Order::Stage(0)).unwrap();
    let ((one, _), (two, _)) = tokio::join!(one.settled(), two.settled());
    assert_eq!((one.counts.due, two.counts.due), (50, 50));
    assert_eq!(one.counts.lost + two.counts.lost, 0);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nobody.local_addr().unwrap();
    drop(nobody);
    let (engine, orders) = Engine::new(&task(address, &SMALL)).unwrap();
    orders.give(Order::Connect).unwrap();
    let mut said = Vec::new();
    let run = tokio::task::spawn_blocking(move || (engine.run(|report| said.push(report)), said));
    let (ended, said) = timeout(DEADLINE, run).await.unwrap().unwrap();
    assert!(matches!(ended, Err(LightError::Failed(_))));
    let [Report::Failed(why)] = &said[..] else {
        panic!("{said:?}");
    };
    assert!(why.contains(&address.to_string()), "{why}");
}

#[test]
fn tasks_that_cannot_be_done_say_what_is_wrong() {
    let good = task(([127, 0, 0, 1], 1).into(), &SMALL);
    for (bad, named) in [
        (
            Task {
                gateways: Vec::new(),
                ..good.clone()
            },
            "gateways",
        ),
        (
            Task {
                parts: 0,
                ..good.clone()
            },
            "part ",
        ),
        (
            Task {
                prefix: "a\"b".to_owned(),
                ..good.clone()
            },
            "prefix",
        ),
    ] {
        let Err(error) = Engine::new(&bad) else {
            panic!("{named} was accepted");
        };
        assert!(error.to_string().contains(named), "{error}");
    }
}

#[test]
fn an_engine_ends_when_nobody_orders_any_more() {
    let (engine, orders) = Engine::new(&task(([127, 0, 0, 1], 1).into(), &SMALL)).unwrap();
    drop(orders);
    engine.run(|report| panic!("{report:?}")).unwrap();
}
