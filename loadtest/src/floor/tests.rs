//! The tool's own clients on the floor.

use rookery_proto::v1::{self, event::Body};

use super::Floor;
use crate::{
    client::{Client, ConnectOptions, Encoding, ServerAddress, command},
    light::{
        harness::{Light, task},
        orders::{Order, Task},
    },
};

fn floor() -> ServerAddress {
    let floor = Floor::bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = floor.address().into();
    // It ends with the test's process.
    std::thread::spawn(move || floor.serve().unwrap());
    address
}

fn texts(events: &[v1::Event]) -> Vec<(u64, String)> {
    let texts = events.iter().filter_map(|event| match &event.body {
        Some(Body::Message(message)) => Some((event.offset, message.text.clone())),
        _ => None,
    });
    texts.collect()
}

#[tokio::test]
async fn clients_chat_resume_and_read_back_over_the_floor() {
    let address = floor();
    let ann = ConnectOptions::named(&address, "ann");
    let (ann, _heard) = Client::connect(&ann).await.unwrap();
    ann.create(command::create_channel("hall")).await.unwrap();
    let joined = ann.join(command::join("hall")).await.unwrap();
    assert_eq!((joined.head, joined.reset), (1, false));
    for text in ["one", "two", "three"] {
        ann.send("hall", text, "").await.unwrap();
    }
    let want = [(2, "one"), (3, "two"), (4, "three")].map(|(at, text)| (at, text.to_owned()));

    for encoding in Encoding::ALL {
        let options = ConnectOptions {
            encoding,
            ..ConnectOptions::named(&address, "bob")
        };
        let (bob, _heard) = Client::connect(&options).await.unwrap();
        let joined = bob.join(command::join_after("hall", 2)).await.unwrap();
        assert_eq!((joined.head, joined.reset), (4, false));
        assert_eq!(texts(&joined.events), want[1..]);
        let joined = bob.join(command::join_after("hall", 99)).await.unwrap();
        assert!(joined.reset);
        let page = bob.history(command::history_newest("hall", 2)).await;
        assert_eq!(texts(&page.unwrap().events), want[1..]);
        let page = bob.history(command::history_before("hall", 3, 50)).await;
        assert_eq!(texts(&page.unwrap().events), want[..1]);
        let page = bob.history(command::history_after("hall", 1, 2)).await;
        assert_eq!(texts(&page.unwrap().events), want[..2]);
        let unknown = bob.send("nowhere", "x", "").await;
        assert!(unknown.is_err(), "{unknown:?}");
    }
}

#[tokio::test]
async fn every_listener_of_the_floor_hears_every_event_in_its_encoding() {
    let server = floor().authority().parse().unwrap();
    let changes = [
        "people.connections=80",
        "people.active=4",
        "people.rooms=1",
        "people.rooms_each=1",
        "stage.0.warm_up_seconds=0",
        "stage.0.seconds=1",
        "stage.0.rates.sends=100",
    ];
    // Two processes, forty connections each; half of each speak JSON.
    let one = Task {
        parts: 2,
        ..task(server, &changes)
    };
    let two = Task {
        part: 1,
        ..one.clone()
    };
    let (mut one, mut two) = (Light::joined(&one).await, Light::joined(&two).await);
    let stage = Order::Stage(0);
    one.orders.give(stage).unwrap();
    two.orders.give(stage).unwrap();
    let ((one_part, one_settled), (two_part, two_settled)) =
        tokio::join!(one.settled(), two.settled());
    let acked = one_part.counts.acked + two_part.counts.acked;
    assert_eq!(acked, 100);
    for part in [&one_part, &two_part] {
        // One began a little later than the other: the first sends are not in its stage.
        let all = part.latency.all.count();
        assert!((80..=100).contains(&all), "{all}");
    }
    for lost in [one_part.counts, two_part.counts, one_settled, two_settled] {
        assert_eq!((lost.lost, lost.doubled, lost.dropped), (0, 0, 0));
    }
    // Half of them go; the other half still hears.
    drop(two);
    one.orders.give(stage).unwrap();
    let (part, settled) = one.settled().await;
    assert_eq!(part.counts.acked, 50);
    assert_eq!(part.counts.delivered, 50 * 40);
    assert_eq!((part.counts.lost, settled.lost), (0, 0));
}
