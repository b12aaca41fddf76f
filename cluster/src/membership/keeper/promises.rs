//! Whose shards are on their way to us: a few at a time.
//!
//! All nodes that give to one that joins offer at the same moments. Were all accepted at once, each
//! busy room would wait behind the transactions and the waking of all others.

use std::collections::{BTreeMap, VecDeque};

use rookery_proto::shard::Shard;
use tokio::time::Instant;

use crate::{
    limits::{EXPECTED_FOR, OFFER_REPEAT, PROMISED_MAX},
    membership::hand_over::HandOver,
};

#[derive(Debug, Default)]
pub(super) struct Promises {
    /// Accepted and not taken yet; until when it counts.
    accepted: BTreeMap<Shard, Instant>,
    /// Offers that wait for their turn, oldest first, one of each shard; when they were heard.
    waiting: VecDeque<(HandOver, Instant)>,
}

impl Promises {
    /// An offer came: whether to accept it at once. Otherwise it waits.
    pub(super) fn offered(&mut self, offer: &HandOver, now: Instant) -> bool {
        self.expire(now);
        self.waiting.retain(|(it, _)| it.shard != offer.shard);
        let again = self.accepted.contains_key(&offer.shard);
        if !again && self.accepted.len() >= PROMISED_MAX {
            self.waiting.push_back((offer.clone(), now));
            return false;
        }
        self.accepted.insert(offer.shard, now + EXPECTED_FOR);
        true
    }

    pub(super) fn is_empty(&self) -> bool {
        self.accepted.is_empty()
    }

    /// The shard came, or is not coming.
    pub(super) fn settled(&mut self, shard: Shard) {
        self.accepted.remove(&shard);
    }

    /// The next offer that is accepted, if there is room for one.
    pub(super) fn next(&mut self, now: Instant) -> Option<HandOver> {
        self.expire(now);
        if self.accepted.len() >= PROMISED_MAX {
            return None;
        }
        let (offer, _) = self.waiting.pop_front()?;
        self.accepted.insert(offer.shard, now + EXPECTED_FOR);
        Some(offer)
    }

    /// Forgets what is not kept, and offers that are not repeated.
    fn expire(&mut self, now: Instant) {
        self.accepted.retain(|_, until| now < *until);
        self.waiting
            .retain(|(_, heard)| now.duration_since(*heard) < OFFER_REPEAT * 2);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rookery_proto::ids::Epoch;

    use super::*;
    use crate::{
        endpoint::{EndpointId, Role},
        membership::hand_over::Step,
    };

    fn offer(number: usize) -> HandOver {
        HandOver {
            from: EndpointId::new(Role::Rooms, 1),
            to: EndpointId::new(Role::Rooms, 2),
            shard: Shard::all().nth(number).unwrap(),
            epoch: Epoch(1),
            step: Step::Offer,
        }
    }

    #[test]
    fn offers_of_one_moment_are_accepted_one_after_the_other() {
        let (mut promises, now) = (Promises::default(), Instant::now());
        assert!(promises.offered(&offer(0), now));
        assert!(!promises.offered(&offer(1), now));
        assert!(!promises.offered(&offer(2), now));
        assert!(promises.offered(&offer(0), now), "the answer was lost");
        assert_eq!(promises.next(now), None);
        promises.settled(offer(0).shard);
        assert_eq!(promises.next(now), Some(offer(1)));
        assert_eq!(promises.next(now), None);
        promises.settled(offer(1).shard);
        assert_eq!(promises.next(now), Some(offer(2)));
    }

    #[test]
    fn promise_that_is_not_kept_makes_room_and_an_offer_that_is_not_repeated_is_forgotten() {
        let (mut promises, now) = (Promises::default(), Instant::now());
        assert!(promises.offered(&offer(0), now));
        assert!(!promises.offered(&offer(1), now));
        let later = now + EXPECTED_FOR - Duration::from_millis(1);
        assert!(!promises.offered(&offer(2), later));
        assert_eq!(promises.next(now + EXPECTED_FOR), Some(offer(2)));
    }
}
