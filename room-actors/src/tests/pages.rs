//! What is large is cut or refused before it is too large for the bus.

use rookery_proto::{
    limits::TEXT_BYTES_MAX,
    link::{self, packet::Body, room_request::Command},
    v1::{self, ack},
};

use super::harness::{Harness, appended, caller};
use crate::{RoomLimits, limits::ANSWER_BYTES_MAX};

const MESSAGES: u64 = 200;

/// A room whose log is some 3 MiB: event 1 opens it, then come the messages.
async fn large_room() -> Harness {
    let mut harness = Harness::new(RoomLimits::default()).await;
    harness.open_room("r").await;
    for number in 0..MESSAGES {
        let send = Command::Send(v1::Send {
            room: String::new(),
            text: format!("{number:0width$}", width = TEXT_BYTES_MAX),
            client_id: number.to_string(),
        });
        appended(harness.run("r", "a", send).await);
    }
    harness
}

fn history(from: v1::history::From) -> Command {
    Command::History(v1::History {
        room: "r".into(),
        limit: 200,
        from: Some(from),
    })
}

async fn page(harness: &mut Harness, from: v1::history::From) -> Vec<u64> {
    match harness.run("r", "a", history(from)).await {
        Ok(ack::Result::History(page)) => {
            assert_eq!(page.head, MESSAGES + 1);
            offsets(&page.events)
        }
        other => panic!("not a page: {other:?}"),
    }
}

fn offsets(events: &[v1::Event]) -> Vec<u64> {
    let bytes: usize = events.iter().map(prost::Message::encoded_len).sum();
    assert!(bytes <= ANSWER_BYTES_MAX, "{bytes} bytes");
    let offsets: Vec<_> = events.iter().map(|event| event.offset).collect();
    assert!(
        offsets.windows(2).all(|pair| pair[0] + 1 == pair[1]),
        "dense: {offsets:?}"
    );
    offsets
}

async fn join(harness: &mut Harness, from: v1::join::From) -> v1::Joined {
    let join = v1::Join {
        room: "r".into(),
        from: Some(from),
        resume: false,
    };
    match harness.run("r", "b", Command::Join(join)).await {
        Ok(ack::Result::Joined(joined)) => joined,
        other => panic!("not joined: {other:?}"),
    }
}

/// Everything, page by page, in both directions; from memory and from the store.
async fn check_all_is_read(harness: &mut Harness) {
    let all: Vec<u64> = (1..=MESSAGES + 1).collect();
    let mut forward = Vec::new();
    while forward.len() < all.len() {
        let after = forward.last().copied().unwrap_or(0);
        let page = page(harness, v1::history::From::AfterOffset(after)).await;
        assert!(page.first() == Some(&(after + 1)), "{page:?} after {after}");
        forward.extend(page);
    }
    assert_eq!(forward, all);
    let mut backward: Vec<u64> = Vec::new();
    while backward.first() != Some(&1) {
        let before = backward.first().copied().unwrap_or(MESSAGES + 2);
        let mut page = page(harness, v1::history::From::BeforeOffset(before)).await;
        assert!(
            page.last() == Some(&(before - 1)),
            "{page:?} before {before}"
        );
        page.append(&mut backward);
        backward = page;
    }
    assert_eq!(backward, all);

    let newest = join(harness, v1::join::From::Last(200)).await;
    assert!(!newest.reset && newest.head == MESSAGES + 1);
    assert_eq!(offsets(&newest.events).last(), Some(&(MESSAGES + 1)));
    let far = join(harness, v1::join::From::AfterOffset(1)).await;
    assert!(far.reset, "too much to resume");
    assert_eq!(offsets(&far.events).last(), Some(&(MESSAGES + 1)));
    let near = join(harness, v1::join::From::AfterOffset(MESSAGES - 9)).await;
    assert!(!near.reset);
    assert_eq!(
        offsets(&near.events),
        (MESSAGES - 8..=MESSAGES + 1).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn log_larger_than_one_answer_is_read_in_shorter_pages() {
    let mut harness = large_room().await;
    check_all_is_read(&mut harness).await;
    let mut harness = harness.restart().await;
    check_all_is_read(&mut harness).await;
}

#[tokio::test]
async fn resync_of_more_than_one_answer_is_a_reset() {
    let mut harness = large_room().await;
    for (after, reset) in [(1, true), (MESSAGES - 9, false)] {
        harness.others.clear();
        harness.post(Body::RoomResync(link::RoomResync {
            room: "r".into(),
            lane: 1,
            after_offset: after,
            sessions: vec![caller("b")],
            number: after,
            adds: false,
        }));
        let answered = |harness: &Harness| {
            let is_answer = |body: &Body| match body {
                Body::RoomEvents(events) => {
                    assert_eq!(events.reset, reset);
                    assert_eq!(events.events.is_empty(), reset);
                    true
                }
                _ => false,
            };
            harness.others.iter().any(is_answer)
        };
        harness.eventually("answer to the resync", answered).await;
    }
}
