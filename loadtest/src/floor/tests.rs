//! The tool's own clients on the floor.

use std::{sync::Arc, time::Duration};

use rookery_proto::v1::{self, event::Body};

use super::Floor;
use crate::{
    bench::{Listeners, ListenersOptions},
    client::{Client, ConnectOptions, Encoding, ServerAddress, command},
    wait::eventually,
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
    let address = floor();
    let options = ConnectOptions::named(&address, "speaker");
    let (speaker, _heard) = Client::connect(&options).await.unwrap();
    speaker
        .create(command::create_channel("hall"))
        .await
        .unwrap();
    let mut all = Vec::new();
    for encoding in Encoding::ALL {
        let options = ListenersOptions {
            address: address.clone(),
            encoding,
            room: "hall".to_owned(),
            count: 40,
            name: format!("{encoding:?}"),
        };
        let listeners = Listeners::connect(&options, Arc::new(|_: &[u8]| {})).await;
        all.push(listeners.unwrap());
    }
    for number in 0..100 {
        speaker
            .send("hall", &format!("text {number}"), "")
            .await
            .unwrap();
    }
    for listeners in &all {
        let tally = listeners.tally();
        eventually("all heard", Duration::from_secs(10), || {
            tally.events() >= 4_000
        })
        .await;
        assert_eq!((tally.events(), tally.ended()), (4_000, 0));
    }
    // Half of them go; the other half still hears.
    all.pop();
    speaker.send("hall", "to the rest", "").await.unwrap();
    let tally = all[0].tally();
    eventually("the rest heard", Duration::from_secs(10), || {
        tally.events() == 4_040
    })
    .await;
}
