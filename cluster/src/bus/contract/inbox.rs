//! Cases of [`Bus`](crate::Bus).

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use prost::Message as _;
use rustc_hash::FxHashMap;

use super::{AnyBus, Pair, batch, endpoint, next, numbered, read, within};
use crate::{
    bus::BusError,
    limits::{BATCH_BYTES, PAYLOAD_BYTES_MAX, SUBSCRIPTION_BYTES_MAX, SUBSCRIPTION_MESSAGES_MAX},
    task::{TaskKind, spawn},
};

/// What one publisher sends arrives once, in its order, while the reader keeps up.
pub async fn messages_of_one_publisher_arrive_once_and_in_order<B: AnyBus>(pair: Pair<B>) {
    let inbox = endpoint();
    let mut subscription = pair.here.subscribe(&inbox).await.expect("reachable");
    for round in 0..20_u64 {
        for number in round * 100..(round + 1) * 100 {
            let sent = pair.there.publish(&inbox, numbered(1, number, 100)).await;
            sent.expect("reachable");
        }
        for number in round * 100..(round + 1) * 100 {
            assert_eq!(read(&next(&mut subscription).await), (1, number));
        }
    }
}

/// Publishers do not disturb each other's order.
pub async fn messages_of_many_publishers_keep_each_ones_order<B: AnyBus>(pair: Pair<B>) {
    const PUBLISHERS: u64 = 8;
    const EACH: u64 = 100;
    let inbox = endpoint();
    let mut subscription = pair.here.subscribe(&inbox).await.expect("reachable");
    for publisher in 0..PUBLISHERS {
        let from = if publisher % 2 == 0 {
            &pair.here
        } else {
            &pair.there
        };
        let (bus, inbox) = (Arc::clone(from), inbox.clone());
        spawn(TaskKind::Passing, "contract publisher", async move {
            for number in 0..EACH {
                let message = numbered(publisher, number, 64);
                bus.publish(&inbox, message).await.expect("reachable");
            }
        });
    }
    let mut seen: FxHashMap<u64, u64> = FxHashMap::default();
    for _ in 0..PUBLISHERS * EACH {
        let (publisher, number) = read(&next(&mut subscription).await);
        let expected = seen.entry(publisher).or_default();
        assert_eq!(number, *expected, "of publisher {publisher}");
        *expected += 1;
    }
}

/// Nobody listens: `Ok`, and nothing is kept.
pub async fn message_without_subscriber_is_dropped<B: AnyBus>(pair: Pair<B>) {
    let inbox = endpoint();
    for number in 0..10 {
        let sent = pair.there.publish(&inbox, numbered(1, number, 16)).await;
        sent.expect("no subscriber is no error");
    }
}

/// A subscription starts with what is sent after it.
pub async fn message_before_the_subscription_never_arrives<B: AnyBus>(pair: Pair<B>) {
    let inbox = endpoint();
    let early = pair.here.publish(&inbox, numbered(1, 1, 16)).await;
    early.expect("reachable");
    let mut subscription = pair.here.subscribe(&inbox).await.expect("reachable");
    let late = pair.there.publish(&inbox, numbered(1, 2, 16)).await;
    late.expect("reachable");
    assert_eq!(read(&next(&mut subscription).await), (1, 2));
}

/// One byte too many is refused and says how many there may be.
pub async fn message_over_the_limit_is_refused<B: AnyBus>(pair: Pair<B>) {
    let inbox = endpoint();
    let mut subscription = pair.here.subscribe(&inbox).await.expect("reachable");
    let huge = numbered(1, 1, PAYLOAD_BYTES_MAX + 1);
    match pair.there.publish(&inbox, huge).await {
        Err(BusError::TooLarge { bytes, max }) => {
            assert_eq!((bytes, max), (PAYLOAD_BYTES_MAX + 1, PAYLOAD_BYTES_MAX));
        }
        other => panic!("must be refused as too large, is {other:?}"),
    }
    let next_one = pair.there.publish(&inbox, numbered(1, 2, 16)).await;
    next_one.expect("reachable");
    assert_eq!(read(&next(&mut subscription).await), (1, 2));
}

/// The largest message allowed, and the empty one.
pub async fn largest_message_arrives_whole<B: AnyBus>(pair: Pair<B>) {
    let inbox = endpoint();
    let mut subscription = pair.here.subscribe(&inbox).await.expect("reachable");
    let large: Bytes = (0..PAYLOAD_BYTES_MAX)
        .map(|at| u8::try_from(at % 251).expect("below 251"))
        .collect::<Vec<_>>()
        .into();
    for message in [large, Bytes::new()] {
        let sent = pair.there.publish(&inbox, message.clone()).await;
        sent.expect("reachable");
        assert!(next(&mut subscription).await == message, "comes back whole");
    }
}

/// Whoever reads bytes reads a batch's; whoever reads batches gets them, however they were sent.
pub async fn batches_arrive_among_messages_as_their_bytes<B: AnyBus>(pair: Pair<B>) {
    let inbox = endpoint();
    let mut subscription = pair.here.subscribe(&inbox).await.expect("reachable");
    for sequence in [1, 3, 5] {
        let sent = pair.there.publish_batch(&inbox, batch(sequence, 8)).await;
        sent.expect("reachable");
        let bytes = Bytes::from(batch(sequence + 1, 8).encode_to_vec());
        let sent = pair.there.publish(&inbox, bytes).await;
        sent.expect("reachable");
    }
    for sequence in 1..=2 {
        let bytes = next(&mut subscription).await;
        assert!(bytes == batch(sequence, 8).encode_to_vec());
    }
    for sequence in 3..=6 {
        let arrived = within("next batch", subscription.next_batch()).await;
        let arrived = arrived.expect("the subscription goes on");
        assert_eq!(arrived.expect("a batch"), batch(sequence, 8));
    }
}

/// A batch is refused where its bytes would be.
pub async fn batch_over_the_limit_is_refused<B: AnyBus>(pair: Pair<B>) {
    let inbox = endpoint();
    let mut subscription = pair.here.subscribe(&inbox).await.expect("reachable");
    let huge = batch(1, PAYLOAD_BYTES_MAX);
    let large = huge.encoded_len();
    match pair.there.publish_batch(&inbox, huge).await {
        Err(BusError::TooLarge { bytes, max }) => {
            assert_eq!((bytes, max), (large, PAYLOAD_BYTES_MAX));
        }
        other => panic!("must be refused as too large, is {other:?}"),
    }
    let next_one = pair.there.publish_batch(&inbox, batch(2, 8)).await;
    next_one.expect("reachable");
    assert!(next(&mut subscription).await == batch(2, 8).encode_to_vec());
}

/// The newer subscription gets everything, the older one ends.
pub async fn second_subscription_replaces_the_first<B: AnyBus>(pair: Pair<B>) {
    let inbox = endpoint();
    let mut first = pair.here.subscribe(&inbox).await.expect("reachable");
    let mut second = pair.here.subscribe(&inbox).await.expect("reachable");
    assert!(within("end of the first", first.next()).await.is_none());
    for number in 0..10 {
        let sent = pair.there.publish(&inbox, numbered(1, number, 16)).await;
        sent.expect("reachable");
    }
    for number in 0..10 {
        assert_eq!(read(&next(&mut second).await), (1, number));
    }
}

/// Dropping ends it; the inbox can be opened again and starts empty.
pub async fn dropped_subscription_can_be_opened_again<B: AnyBus>(pair: Pair<B>) {
    let inbox = endpoint();
    drop(pair.here.subscribe(&inbox).await.expect("reachable"));
    let unheard = pair.here.publish(&inbox, numbered(1, 1, 16)).await;
    unheard.expect("no subscriber is no error");
    let mut subscription = pair.here.subscribe(&inbox).await.expect("reachable");
    let heard = pair.there.publish(&inbox, numbered(1, 2, 16)).await;
    heard.expect("reachable");
    assert_eq!(read(&next(&mut subscription).await), (1, 2));
}

/// A message reaches the inbox it is for, and no other.
pub async fn inboxes_are_told_apart<B: AnyBus>(pair: Pair<B>) {
    let (one, two) = (endpoint(), endpoint());
    let mut first = pair.here.subscribe(&one).await.expect("reachable");
    let mut second = pair.here.subscribe(&two).await.expect("reachable");
    for number in 0..100 {
        let to = if number % 2 == 0 { &one } else { &two };
        let sent = pair.there.publish(to, numbered(1, number, 16)).await;
        sent.expect("reachable");
    }
    for number in (0..100).step_by(2) {
        assert_eq!(read(&next(&mut first).await), (1, number));
        assert_eq!(read(&next(&mut second).await), (1, number + 1));
    }
}

/// Nobody reads for a while: what waits is bounded (publishers wait, or messages are lost), its
/// order holds, and the inbox works again once it is read.
pub async fn unread_inbox_is_bounded_and_recovers<B: AnyBus>(pair: Pair<B>) {
    /// What may wait elsewhere on the way: the message a publisher holds, an adapter's buffers.
    const UNDER_WAY: usize = 16 * 1024 * 1024;
    let flood = 2 * (SUBSCRIPTION_BYTES_MAX + UNDER_WAY) / BATCH_BYTES;
    assert!(flood > SUBSCRIPTION_MESSAGES_MAX);
    let (inbox, after) = (endpoint(), endpoint());
    let mut subscription = pair.here.subscribe(&inbox).await.expect("reachable");
    let mut end = pair.here.subscribe(&after).await.expect("reachable");
    for number in 0..flood {
        let message = numbered(1, number as u64, BATCH_BYTES);
        let publish = pair.there.publish(&inbox, message);
        match tokio::time::timeout(Duration::from_secs(1), publish).await {
            Ok(sent) => sent.expect("reachable"),
            Err(_) => break,
        }
    }
    // One publisher's messages come in order, whichever inbox they are for.
    let told = pair.there.publish(&after, numbered(1, 0, 16)).await;
    told.expect("reachable");
    next(&mut end).await;
    let (mut received, mut newest) = (0, None);
    while let Ok(message) =
        tokio::time::timeout(Duration::from_millis(500), subscription.next()).await
    {
        let message = message.expect("the subscription goes on");
        received += message.len();
        let (_, number) = read(&message);
        assert!(newest.is_none_or(|newest| newest < number), "order");
        newest = Some(number);
    }
    assert!(received >= BATCH_BYTES, "some arrived");
    assert!(
        received <= SUBSCRIPTION_BYTES_MAX + UNDER_WAY,
        "{received} bytes waited"
    );
    let again = pair.there.publish(&inbox, numbered(2, 0, 16)).await;
    again.expect("reachable");
    while read(&next(&mut subscription).await) != (2, 0) {}
}
