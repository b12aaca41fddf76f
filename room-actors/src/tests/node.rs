//! The node as gateways see it.

use std::sync::atomic::Ordering;

use rookery_proto::{
    errors::Code,
    link::{self, packet::Body, room_request::Command},
    v1::ack,
};
use tokio::time::Duration;

use super::{
    faults::Fault,
    harness::{DEADLINE, Harness, appended, create, join, room_id, send, typing},
};
use crate::{Health, RoomLimits};

async fn harness() -> Harness {
    let mut harness = Harness::new(RoomLimits::default()).await;
    harness.open_room("r").await;
    harness
}

fn is_failing(harness: &Harness) -> bool {
    matches!(*harness.node.health().borrow(), Health::Failing { .. })
}

#[tokio::test]
async fn answer_waits_for_the_commit_and_then_for_the_fence() {
    let mut harness = harness().await;
    harness.store.hold.store(true, Ordering::SeqCst);
    let commits = harness.store.commits_begun.load(Ordering::SeqCst);
    let fences = harness.store.fences_begun.load(Ordering::SeqCst);
    let sent = harness.ask("r", "a", send("hello"));
    harness
        .eventually("commit", |harness| {
            harness.store.commits_begun.load(Ordering::SeqCst) > commits
        })
        .await;
    // A whole turn through the room: what it had to say about the send would have come before.
    harness.run("r", "b", typing()).await.unwrap();
    assert!(
        harness.replies.is_empty() && harness.events.is_empty(),
        "not durable yet"
    );
    assert_eq!(
        harness.store.fences_begun.load(Ordering::SeqCst),
        fences,
        "fence after the commit"
    );
    harness.store.commits.add_permits(1);
    harness
        .eventually("fence read", |harness| {
            harness.store.fences_begun.load(Ordering::SeqCst) > fences
        })
        .await;
    harness.run("r", "b", typing()).await.unwrap();
    assert!(
        harness.replies.is_empty() && harness.events.is_empty(),
        "the fence is not read yet"
    );
    harness.store.fences.add_permits(1);
    assert_eq!(appended(harness.answer(sent).await).offset, 2);
    harness
        .eventually("event", |harness| harness.events.len() == 1)
        .await;
    harness.store.open();
}

#[tokio::test]
async fn answers_and_events_come_in_order_whatever_commit_ends_first() {
    let mut harness = harness().await;
    let slow = (0..40).map(|n| Fault::Slow(Duration::from_millis(n * 7 % 11)));
    harness.store.inject(slow);
    let mut asked = Vec::new();
    for n in 0..150 {
        asked.push(harness.ask("r", "a", send(&format!("text {n}"))));
        if n % 5 == 0 {
            tokio::task::yield_now().await;
        }
    }
    harness.reply_order.clear();
    harness
        .eventually("all answers", |harness| {
            harness.replies.len() == asked.len()
        })
        .await;
    assert_eq!(harness.reply_order, asked);
    for (offset, request) in (2..).zip(asked) {
        assert_eq!(appended(harness.answer(request).await).offset, offset);
    }
    harness
        .eventually("all events", |harness| harness.events.len() == 150)
        .await;
    let offsets: Vec<_> = harness.events.iter().map(|event| event.offset).collect();
    assert_eq!(offsets, (2..152).collect::<Vec<_>>());
}

#[tokio::test]
async fn failed_commit_is_repeated_until_it_succeeds() {
    for faults in [
        [Fault::Failed, Fault::Failed],
        [Fault::LostUnknown, Fault::HappenedUnknown],
        [Fault::HappenedUnknown, Fault::HappenedUnknown],
    ] {
        let mut harness = harness().await;
        harness.store.inject(faults);
        let error = harness.run("r", "a", send("maybe")).await.unwrap_err();
        assert_eq!(error.code(), Code::Unavailable);
        assert!(error.retry_after_ms > 0 && !error.correlation_id.is_empty());
        // What is new is refused meanwhile, reading goes on.
        if is_failing(&harness) {
            harness.run("r", "b", typing()).await.unwrap();
        }
        harness
            .eventually("recovery", |harness| {
                *harness.node.health().borrow() == Health::Ready
            })
            .await;
        let again = appended(harness.run_until_available("r", "a", send("maybe")).await);
        assert_eq!((again.offset, again.duplicate), (2, true));
        assert_eq!(harness.history("r").await, [(2, "maybe".into())]);
        harness
            .eventually("event", |harness| harness.events.len() == 1)
            .await;
    }
}

#[tokio::test]
async fn store_that_fails_refuses_new_writes_and_serves_readers() {
    let mut harness = harness().await;
    appended(harness.run("r", "a", send("before")).await);
    harness.store.inject([Fault::Failed; 3]);
    harness.run("r", "a", send("first")).await.unwrap_err();
    assert!(is_failing(&harness));
    let refused = harness.run("r", "a", send("second")).await.unwrap_err();
    assert_eq!(
        (refused.code(), refused.message.as_str()),
        (Code::Unavailable, "storage unavailable")
    );
    assert_eq!(harness.history("r").await, [(2, "before".into())]);
    assert!(matches!(
        harness.run("r", "b", join()).await,
        Ok(ack::Result::Joined(_))
    ));
    assert_eq!(
        appended(harness.run_until_available("r", "a", send("second")).await).offset,
        4
    );
    let all = [
        (2, "before".into()),
        (3, "first".into()),
        (4, "second".into()),
    ];
    assert_eq!(harness.history("r").await, all);
}

#[tokio::test]
async fn fenced_node_acknowledges_nothing() {
    let mut harness = harness().await;
    harness.store.fenced.store(true, Ordering::SeqCst);
    let error = harness.run("r", "a", send("too late")).await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable);
    harness
        .eventually("fenced", |harness| {
            *harness.node.health().borrow() == Health::Fenced
        })
        .await;
    harness
        .eventually("rooms dropped", |harness| harness.node.rooms_awake() == 0)
        .await;
    let error = harness.run("r", "a", join()).await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable);
    assert!(harness.events.is_empty());
}

#[tokio::test]
async fn crashed_room_wakes_under_a_new_epoch_with_nothing_lost_or_doubled() {
    let mut harness = harness().await;
    let epoch = appended(harness.run("r", "a", send("one")).await).epoch;
    harness.store.hold.store(true, Ordering::SeqCst);
    let begun = harness.store.commits_begun.load(Ordering::SeqCst);
    let waits = harness.ask("r", "a", send("two"));
    harness
        .eventually("commit", |harness| {
            harness.store.commits_begun.load(Ordering::SeqCst) > begun
        })
        .await;
    harness.node.crash_room(&room_id("r"));
    let error = harness.answer(waits).await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable);
    harness.store.open();
    let two = appended(harness.run_until_available("r", "a", send("two")).await);
    assert_eq!(two.offset, 3);
    let three = appended(harness.run_until_available("r", "a", send("three")).await);
    assert_eq!(three.offset, 4);
    assert!(three.epoch > epoch);
    let all = [(2, "one".into()), (3, "two".into()), (4, "three".into())];
    assert_eq!(harness.history("r").await, all);
    let mut harness = harness.restart().await;
    assert_eq!(harness.history("r").await, all);
}

#[tokio::test]
async fn room_that_crashes_again_and_again_still_comes_back() {
    let mut harness = harness().await;
    for round in 0..3 {
        harness.node.crash_room(&room_id("r"));
        let sent = appended(
            harness
                .run_until_available("r", "a", send(&round.to_string()))
                .await,
        );
        assert_eq!(sent.offset, round + 2);
    }
}

#[tokio::test]
async fn idle_room_sleeps_and_wakes_as_it_was() {
    let limits = RoomLimits {
        passivate_after: Duration::from_millis(40),
        ..RoomLimits::default()
    };
    let mut harness = Harness::new(limits).await;
    harness.run("r", "a", create(&["b"])).await.unwrap();
    let epoch = appended(harness.run("r", "a", send("one")).await).epoch;
    for round in 0..3 {
        harness
            .eventually("sleep", |harness| harness.node.rooms_awake() == 0)
            .await;
        let again = appended(harness.run("r", "a", send("one")).await);
        assert_eq!(
            (again.offset, again.epoch, again.duplicate),
            (2, epoch, true),
            "{round}"
        );
    }
    let summary = |user: &'static str| (user, Command::Summary(link::Summary {}));
    for ((user, command), (cursor, unread)) in [(summary("a"), (2, 0)), (summary("b"), (1, 1))] {
        harness
            .eventually("sleep", |harness| harness.node.rooms_awake() == 0)
            .await;
        let Ok(ack::Result::Rooms(page)) = harness.run("r", user, command).await else {
            panic!()
        };
        assert_eq!(
            (page.rooms[0].cursor, page.rooms[0].unread),
            (cursor, unread)
        );
    }
    // Who listens keeps it awake.
    harness.run("r", "b", join()).await.unwrap();
    appended(harness.run("r", "a", send("two")).await);
    harness
        .eventually("event", |harness| harness.events.len() == 1)
        .await;
}

#[tokio::test]
async fn name_without_a_room_leaves_no_trace() {
    let limits = RoomLimits {
        passivate_after: Duration::from_millis(40),
        ..RoomLimits::default()
    };
    let mut harness = Harness::new(limits).await;
    let error = harness.run("nothing", "a", join()).await.unwrap_err();
    assert_eq!(error.code(), Code::NotFound);
    harness
        .eventually("sleep", |harness| harness.node.rooms_awake() == 0)
        .await;
    let list = harness
        .store
        .inner
        .room_epochs(&room_id("nothing"))
        .await
        .unwrap();
    assert!(list.entries().is_empty());
}

#[tokio::test]
async fn room_that_is_full_refuses_with_a_hint() {
    let limits = RoomLimits {
        room_commands_max: 4,
        ..RoomLimits::default()
    };
    let mut harness = Harness::new(limits).await;
    harness.open_room("r").await;
    harness.store.hold.store(true, Ordering::SeqCst);
    let asked: Vec<_> = (0..10)
        .map(|n| harness.ask("r", "a", send(&n.to_string())))
        .collect();
    harness
        .eventually("refusals", |harness| harness.replies.len() == 6)
        .await;
    for request in &asked[4..] {
        let error = harness.answer(*request).await.unwrap_err();
        assert_eq!(error.code(), Code::Overloaded);
        assert!(error.retry_after_ms > 0);
    }
    harness.store.open();
    for request in &asked[..4] {
        appended(harness.answer(*request).await);
    }
    appended(harness.run("r", "a", send("again")).await);
}

#[tokio::test]
async fn node_full_of_rooms_refuses_with_a_hint_until_an_idle_one_has_left() {
    let limits = RoomLimits {
        rooms_awake_max: 2,
        ..RoomLimits::default()
    };
    let mut harness = Harness::new(limits).await;
    for room in ["one", "two"] {
        harness.run(room, "a", create(&["b"])).await.unwrap();
    }
    let error = harness.run("three", "a", send("x")).await.unwrap_err();
    assert_eq!(error.code(), Code::Overloaded);
    assert!(error.retry_after_ms > 0);
    harness
        .eventually("one leaves", |harness| harness.node.rooms_awake() == 1)
        .await;
    harness.run("three", "a", create(&["b"])).await.unwrap();
}

#[tokio::test]
async fn restarted_node_knows_what_was_sent_and_created() {
    let mut harness = harness().await;
    let first = appended(harness.run("r", "a", send("one")).await);
    harness.store.hold.store(true, Ordering::SeqCst);
    harness.ask("r", "a", send("never acknowledged"));
    let mut harness = harness.restart().await;
    let again = appended(harness.run("r", "a", send("one")).await);
    assert_eq!(
        (again.offset, again.epoch, again.duplicate),
        (first.offset, first.epoch, true)
    );
    assert!(matches!(
        harness.run("r", "a", create(&["b"])).await,
        Ok(ack::Result::RoomCreated(_))
    ));
    let error = harness.run("r", "b", create(&["a"])).await.unwrap_err();
    assert_eq!(
        (error.code(), error.field.as_str()),
        (Code::Conflict, "createRoom.room")
    );
    let later = appended(harness.run("r", "a", send("never acknowledged")).await);
    assert_eq!(later.offset, 3);
    assert!(later.epoch > first.epoch);
}

#[tokio::test]
async fn stop_finishes_what_is_in_flight() {
    let mut harness = harness().await;
    harness
        .store
        .inject([Fault::Slow(Duration::from_millis(20)); 3]);
    let asked: Vec<_> = (0..20)
        .map(|n| harness.ask("r", "a", send(&n.to_string())))
        .collect();
    appended(harness.answer(asked[0]).await);
    let Harness { node, .. } = &harness;
    let health = node.health();
    let (node, mut rest) = split(harness).await;
    let report = node.stop(DEADLINE).await;
    assert_eq!((report.rooms, report.unfinished), (1, 0));
    assert_eq!(*health.borrow(), Health::Stopping);
    for request in asked.into_iter().skip(1) {
        match rest.answer(request).await {
            Ok(_) => {}
            Err(error) => assert_eq!(error.code(), Code::Unavailable),
        }
    }
    let rows = rest.store.inner.cursors(&room_id("r")).await.unwrap();
    let sender = rows.iter().find(|row| row.user.as_str() == "a").unwrap();
    let tail = rest.store.inner.log_tail(&room_id("r"), 1).await.unwrap();
    assert_eq!(
        sender.offset, tail[0].offset,
        "the sender's cursor is written"
    );
}

/// Takes the node out; a fresh one under another incarnation stands in its place.
async fn split(harness: Harness) -> (crate::RoomsNode, Harness) {
    let other = Harness::new(RoomLimits::default()).await;
    let mut harness = harness;
    let node = std::mem::replace(&mut harness.node, other.node);
    (node, harness)
}

#[tokio::test]
async fn bad_name_is_said_at_once_and_a_detach_wakes_nobody() {
    let mut harness = harness().await;
    let error = harness.run("not a room id", "a", join()).await.unwrap_err();
    assert_eq!(
        (error.code(), error.field.as_str()),
        (Code::Invalid, "room")
    );
    harness.post(Body::RoomDetach(link::RoomDetach {
        room: "r".into(),
        session: 1,
    }));
    harness.post(Body::RoomDetach(link::RoomDetach {
        room: "asleep".into(),
        session: 1,
    }));
    harness.run("r", "b", typing()).await.unwrap();
    assert_eq!(harness.node.rooms_awake(), 1, "a detach wakes nobody");
}
