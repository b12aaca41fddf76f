//! The one suite of cases that every adapter of [`Bus`] and [`Broadcast`] must pass.
//!
//! An adapter's tests call [`bus_contract!`](crate::bus_contract) with the path of an async
//! function that returns `Some((Pair<B>, guard))`: two handles of one bus, as two processes would have
//! them. The guard is dropped after the case. `None` skips the case; who returns it says why. Cases use endpoints never used before and tolerate
//! strangers' announcements, so several may share one server.

pub mod broadcast;
pub mod inbox;

use std::{future::Future, sync::Arc, time::Duration};

use bytes::Bytes;
use rookery_proto::link::{Batch, Packet, RoomDetach, packet::Body};

use super::{Broadcast, Bus, Subscription};
use crate::endpoint::{EndpointId, Role};

/// Both ports in one.
pub trait AnyBus: Bus + Broadcast {}
impl<B: Bus + Broadcast> AnyBus for B {}

/// Two handles of one bus, as two processes would have them.
#[derive(Clone)]
pub struct Pair<B> {
    /// Where cases subscribe.
    pub here: Arc<B>,
    /// Where cases publish.
    pub there: Arc<B>,
}

impl<B: AnyBus> Pair<B> {
    /// Takes both handles.
    pub fn new(here: B, there: B) -> Self {
        Self {
            here: Arc::new(here),
            there: Arc::new(there),
        }
    }
}

/// Longer than any step of a case takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(30);

/// What the future gives, or a panic when that takes too long.
pub(crate) async fn within<F: Future>(what: &str, future: F) -> F::Output {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(output) => output,
        Err(_) => panic!("{what}: nothing within {DEADLINE:?}"),
    }
}

/// The next message of a subscription that must not end.
async fn next(subscription: &mut Subscription) -> Bytes {
    within("next message", subscription.next())
        .await
        .expect("the subscription goes on")
}

/// An endpoint no other case has.
fn endpoint() -> EndpointId {
    EndpointId::new(Role::Rooms, fastrand::u64(1..))
}

/// A message that tells who published it and as which of its messages.
fn numbered(publisher: u64, number: u64, bytes: usize) -> Bytes {
    let mut message = Vec::with_capacity(bytes.max(16));
    message.extend(publisher.to_be_bytes());
    message.extend(number.to_be_bytes());
    message.resize(bytes.max(16), 0x5a);
    message.into()
}

/// Reads what [`numbered`] made.
fn read(message: &Bytes) -> (u64, u64) {
    let word = |at: usize| {
        let bytes = message.get(at..at + 8).expect("16 bytes at least");
        u64::from_be_bytes(bytes.try_into().expect("8 bytes"))
    };
    (word(0), word(8))
}

/// A batch of one packet, for a room whose name has so many bytes.
fn batch(sequence: u64, bytes: usize) -> Batch {
    let detach = RoomDetach {
        room: "r".repeat(bytes),
        session: sequence,
    };
    let packet = Packet {
        body: Some(Body::RoomDetach(detach)),
    };
    Batch {
        from: "gateway-1".into(),
        incarnation: 1,
        sequence,
        packets: vec![packet],
    }
}

/// Makes one test of each case of the contract.
#[macro_export]
macro_rules! bus_contract {
    ($make:path) => {
        $crate::bus_contract! { @cases $make;
            inbox::messages_of_one_publisher_arrive_once_and_in_order
            inbox::messages_of_many_publishers_keep_each_ones_order
            inbox::message_without_subscriber_is_dropped
            inbox::message_before_the_subscription_never_arrives
            inbox::message_over_the_limit_is_refused
            inbox::largest_message_arrives_whole
            inbox::batches_arrive_among_messages_as_their_bytes
            inbox::batch_over_the_limit_is_refused
            inbox::second_subscription_replaces_the_first
            inbox::dropped_subscription_can_be_opened_again
            inbox::inboxes_are_told_apart
            inbox::unread_inbox_is_bounded_and_recovers
            broadcast::everybody_hears_the_speaker_included
            broadcast::announcements_keep_each_speakers_order
            broadcast::announcement_over_the_limit_is_refused
            broadcast::unread_listener_delays_nobody
        }
    };
    (@cases $make:path; $($module:ident :: $case:ident)*) => {
        $(
            #[::tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let Some((pair, _guard)) = $make().await else { return };
                $crate::bus::contract::$module::$case(pair).await;
            }
        )*
    };
}
