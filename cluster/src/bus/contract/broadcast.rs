//! Cases of [`Broadcast`](crate::Broadcast).

use bytes::Bytes;

use super::{AnyBus, Pair, Subscription, next, numbered, read, within};
use crate::{
    bus::BusError,
    limits::{PAYLOAD_BYTES_MAX, SUBSCRIPTION_MESSAGES_MAX},
};

/// A speaker no other case has.
fn speaker() -> u64 {
    fastrand::u64(1..)
}

/// The next announcement of this speaker; strangers' are passed over.
async fn hear(listener: &mut Subscription, speaker: u64) -> Bytes {
    loop {
        let message = next(listener).await;
        if message.len() >= 16 && read(&message).0 == speaker {
            return message;
        }
    }
}

/// Each listener hears it once, on the speaker's own handle too.
pub async fn everybody_hears_the_speaker_included<B: AnyBus>(pair: Pair<B>) {
    let me = speaker();
    let mut listeners = Vec::new();
    for bus in [&pair.here, &pair.here, &pair.there] {
        listeners.push(bus.listen().await.expect("reachable"));
    }
    for number in 1..=2 {
        let told = pair.there.announce(numbered(me, number, 100)).await;
        told.expect("reachable");
    }
    for listener in &mut listeners {
        for number in 1..=2 {
            assert_eq!(read(&hear(listener, me).await), (me, number));
        }
    }
}

/// Two speakers at once, each in its own order.
pub async fn announcements_keep_each_speakers_order<B: AnyBus>(pair: Pair<B>) {
    let speakers = [speaker(), speaker()];
    let mut listener = pair.here.listen().await.expect("reachable");
    for number in 0..100 {
        for (bus, speaker) in [&pair.here, &pair.there].into_iter().zip(speakers) {
            let told = bus.announce(numbered(speaker, number, 16)).await;
            told.expect("reachable");
        }
    }
    let mut heard = [0, 0];
    while heard != [100, 100] {
        let message = next(&mut listener).await;
        if message.len() < 16 {
            continue;
        }
        let (from, number) = read(&message);
        if let Some(at) = speakers.iter().position(|speaker| *speaker == from) {
            assert_eq!(number, heard[at]);
            heard[at] += 1;
        }
    }
}

/// As for inboxes.
pub async fn announcement_over_the_limit_is_refused<B: AnyBus>(pair: Pair<B>) {
    let huge = numbered(speaker(), 1, PAYLOAD_BYTES_MAX + 1);
    let refused = pair.there.announce(huge).await;
    assert!(
        matches!(refused, Err(BusError::TooLarge { .. })),
        "{refused:?}"
    );
}

/// A listener that does not read loses some; the others hear everything meanwhile.
pub async fn unread_listener_delays_nobody<B: AnyBus>(pair: Pair<B>) {
    let me = speaker();
    let mut idle = pair.here.listen().await.expect("reachable");
    let mut keen = pair.here.listen().await.expect("reachable");
    let rounds = SUBSCRIPTION_MESSAGES_MAX as u64 + 100;
    for number in 0..rounds {
        let announce = pair.there.announce(numbered(me, number, 16));
        let told = within("announcement", announce).await;
        told.expect("reachable");
        assert_eq!(read(&hear(&mut keen, me).await), (me, number));
    }
    assert_eq!(read(&hear(&mut idle, me).await).0, me);
}
