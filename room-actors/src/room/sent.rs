//! Results of sends with a `clientId`: what makes a retry return the first result.

use std::{collections::VecDeque, sync::Arc};

use rookery_persistence::{EpochList, SentRow, limits::SENT_ID_TTL};
use rookery_proto::ids::{Epoch, Offset, UserId};
use rustc_hash::{FxHashMap, FxHashSet};
use xxhash_rust::xxh3::xxh3_64;

use crate::limits::{Memory, SENT_HASHES_MAX, SENT_LOAD_AFTER};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SentResult {
    pub(super) offset: Offset,
    pub(super) epoch: Epoch,
    pub(super) digest: u64,
    pub(super) time_ms: u64,
}

/// What memory knows of one client id.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// It was sent, with this result.
    Sent(SentResult),
    /// It was not sent within the time we remember.
    New,
    /// The user sends often: all its ids are to be read at once.
    NeedSender,
    /// This may be one of the user's ids that are not in memory.
    NeedSentId,
}

/// Digest of what was sent, to tell a retry from a conflict.
pub(super) fn digest(text: &str) -> u64 {
    xxh3_64(text.as_bytes())
}

fn short_hash(client_id: &str) -> u32 {
    xxh3_64(client_id.as_bytes()) as u32
}

#[derive(Debug, Default)]
struct UserSent {
    results: FxHashMap<Arc<str>, SentResult>,
    /// Hashes of ids whose results have left memory. A new id with the hash of another is looked for
    /// in the store, in vain: that is rare enough for short ones.
    older: FxHashSet<u32>,
    /// Every id within the time is in `results` or `older`.
    complete: bool,
    /// The store was asked for all of them; it may have more than it gives.
    loaded: bool,
}

/// Sent ids of a room.
#[derive(Debug, Default)]
pub(super) struct SentIds {
    users: FxHashMap<UserId, UserSent>,
    /// The store answers for results up to here: memory may forget them.
    saved: Offset,
    /// Results, oldest first.
    order: VecDeque<(UserId, Arc<str>)>,
    hashes: usize,
    /// Nothing was ever sent before memory began: there is nothing to load.
    from_the_beginning: bool,
    memory: Memory,
    /// One id the store was just asked for and does not have.
    absent: Option<(UserId, String)>,
}

impl SentIds {
    pub(super) fn new(from_the_beginning: bool, memory: Memory) -> Self {
        Self {
            from_the_beginning,
            memory,
            ..Self::default()
        }
    }

    pub(super) fn find(&self, user: &UserId, client_id: &str, now_ms: u64) -> Known {
        let Some(sent) = self.users.get(user) else {
            return if self.from_the_beginning {
                Known::New
            } else {
                self.need_one(user, client_id)
            };
        };
        if let Some(result) = sent.results.get(client_id) {
            return if fresh(result.time_ms, now_ms) {
                Known::Sent(*result)
            } else {
                Known::New
            };
        }
        if sent.complete && !sent.older.contains(&short_hash(client_id)) {
            return Known::New;
        }
        if !sent.complete && !sent.loaded && sent.results.len() >= SENT_LOAD_AFTER {
            return Known::NeedSender;
        }
        self.need_one(user, client_id)
    }

    fn need_one(&self, user: &UserId, client_id: &str) -> Known {
        match &self.absent {
            Some((absent_user, absent)) if absent_user == user && absent == client_id => Known::New,
            _ => Known::NeedSentId,
        }
    }

    /// From here on results up to that offset may be forgotten: the store has them.
    pub(super) fn saved_up_to(&mut self, offset: Offset) {
        self.saved = offset;
    }

    /// Keeps the result of a send.
    pub(super) fn insert(&mut self, user: &UserId, client_id: &str, result: SentResult) {
        self.absent = None;
        let client_id: Arc<str> = client_id.into();
        let from_the_beginning = self.from_the_beginning;
        if !self.users.contains_key(user) {
            let sent = UserSent {
                complete: from_the_beginning,
                ..UserSent::default()
            };
            self.users.insert(user.clone(), sent);
        }
        let sent = self.users.get_mut(user).expect("put there above");
        sent.results.insert(Arc::clone(&client_id), result);
        self.order.push_back((user.clone(), client_id));
        if self.order.len() > self.memory.sent_results_max {
            self.forget_oldest();
        }
        if self.hashes > SENT_HASHES_MAX {
            self.forget_all();
        }
    }

    /// Keeps only the hash of the oldest result; one that is not saved stays.
    fn forget_oldest(&mut self) {
        let Some((user, client_id)) = self.order.front() else {
            return;
        };
        if let Some(sent) = self.users.get_mut(user)
            && let Some(result) = sent.results.get(client_id)
        {
            if result.offset > self.saved {
                return;
            }
            sent.results.remove(client_id);
            self.hashes += usize::from(sent.older.insert(short_hash(client_id)));
        }
        self.order.pop_front();
    }

    /// Forgets all but what is not saved.
    fn forget_all(&mut self) {
        self.hashes = 0;
        self.from_the_beginning = false;
        let saved = self.saved;
        self.users.retain(|_, sent| {
            sent.older = FxHashSet::default();
            sent.complete = false;
            sent.loaded = false;
            sent.results.retain(|_, result| result.offset > saved);
            !sent.results.is_empty()
        });
        let users = &self.users;
        self.order.retain(|(user, client_id)| {
            users
                .get(user)
                .is_some_and(|sent| sent.results.contains_key(client_id))
        });
    }

    /// Takes what the store has of a user (newest first).
    pub(super) fn learn_sender(
        &mut self,
        user: &UserId,
        rows: Vec<SentRow>,
        epochs: &EpochList,
        head: Offset,
    ) {
        let complete = rows.len() < self.memory.sent_load_max as usize;
        self.users.entry(user.clone()).or_default();
        for row in rows.into_iter().rev() {
            self.learn_row(row, epochs, head);
        }
        let sent = self.users.entry(user.clone()).or_default();
        sent.complete = complete;
        sent.loaded = true;
    }

    /// Takes what the store has of one id.
    pub(super) fn learn_sent_id(
        &mut self,
        user: UserId,
        client_id: String,
        rows: Vec<SentRow>,
        epochs: &EpochList,
        head: Offset,
    ) {
        let mut found = false;
        for row in rows {
            found |= self.learn_row(row, epochs, head);
        }
        self.absent = (!found).then_some((user, client_id));
    }

    fn learn_row(&mut self, row: SentRow, epochs: &EpochList, head: Offset) -> bool {
        if row.offset > head || !epochs.is_canonical(row.offset, row.epoch) {
            return false;
        }
        let known = self
            .users
            .get(&row.user)
            .and_then(|sent| sent.results.get(row.client_id.as_str()))
            .is_some_and(|known| known.offset >= row.offset);
        if !known {
            let result = SentResult {
                offset: row.offset,
                epoch: row.epoch,
                digest: row.digest,
                time_ms: row.time_ms,
            };
            self.insert(&row.user, &row.client_id, result);
        }
        true
    }
}

fn fresh(time_ms: u64, now_ms: u64) -> bool {
    let ttl = u64::try_from(SENT_ID_TTL.as_millis()).unwrap_or(u64::MAX);
    now_ms.saturating_sub(time_ms) < ttl
}

/// From when on sent ids count, in milliseconds since the Unix epoch.
pub(crate) fn since_ms(now_ms: u64) -> u64 {
    let ttl = u64::try_from(SENT_ID_TTL.as_millis()).unwrap_or(u64::MAX);
    now_ms.saturating_sub(ttl)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str) -> UserId {
        UserId::parse(name).unwrap()
    }

    fn result(offset: u64) -> SentResult {
        SentResult {
            offset: Offset(offset),
            epoch: Epoch(1),
            digest: 7,
            time_ms: 1_000,
        }
    }

    #[test]
    fn unknown_user_needs_the_store_unless_memory_is_whole() {
        assert_eq!(
            SentIds::new(true, Memory::default()).find(&user("a"), "x", 0),
            Known::New
        );
        assert_eq!(
            SentIds::new(false, Memory::default()).find(&user("a"), "x", 0),
            Known::NeedSentId
        );
    }

    #[test]
    fn user_who_goes_on_sending_is_loaded_once() {
        let mut sent = SentIds::new(false, Memory::default());
        let (ada, epochs) = (user("a"), EpochList::default());
        for n in 1..=SENT_LOAD_AFTER as u64 {
            let id = n.to_string();
            assert_eq!(sent.find(&ada, &id, 1_000), Known::NeedSentId);
            sent.learn_sent_id(ada.clone(), id.clone(), Vec::new(), &epochs, Offset(n));
            assert_eq!(sent.find(&ada, &id, 1_000), Known::New);
            sent.insert(&ada, &id, result(n));
        }
        assert_eq!(sent.find(&ada, "more", 1_000), Known::NeedSender);
        sent.learn_sender(&ada, Vec::new(), &epochs, Offset(9));
        assert_eq!(sent.find(&ada, "more", 1_000), Known::New);
        assert_eq!(sent.find(&ada, "1", 1_000), Known::Sent(result(1)));
    }

    #[test]
    fn forgotten_result_is_asked_for_by_its_id() {
        let mut sent = SentIds::new(true, Memory::default());
        for n in 1..=crate::limits::SENT_RESULTS_MAX as u64 + 1 {
            sent.insert(&user("a"), &n.to_string(), result(n));
            sent.saved_up_to(Offset(n));
        }
        assert_eq!(sent.find(&user("a"), "1", 1_000), Known::NeedSentId);
        assert_eq!(sent.find(&user("a"), "2", 1_000), Known::Sent(result(2)));
        assert_eq!(sent.find(&user("a"), "new", 1_000), Known::New);
    }

    #[test]
    fn result_older_than_its_time_is_new() {
        let mut sent = SentIds::new(true, Memory::default());
        sent.insert(&user("a"), "x", result(1));
        let ttl = u64::try_from(SENT_ID_TTL.as_millis()).unwrap();
        assert_eq!(
            sent.find(&user("a"), "x", 999 + ttl),
            Known::Sent(result(1))
        );
        assert_eq!(sent.find(&user("a"), "x", 1_000 + ttl), Known::New);
    }

    #[test]
    fn void_row_from_the_store_is_not_a_result() {
        let epochs =
            EpochList::from_entries(vec![(Epoch(1), Offset(1)), (Epoch(2), Offset(5))]).unwrap();
        let row = |offset, epoch| SentRow {
            user: user("a"),
            client_id: "x".into(),
            offset: Offset(offset),
            epoch: Epoch(epoch),
            digest: 7,
            time_ms: 1_000,
        };
        let mut sent = SentIds::new(false, Memory::default());
        sent.learn_sender(&user("a"), vec![row(6, 1), row(5, 1)], &epochs, Offset(6));
        assert_eq!(sent.find(&user("a"), "x", 1_000), Known::New);
        sent.learn_sender(&user("a"), vec![row(6, 1), row(4, 1)], &epochs, Offset(6));
        assert_eq!(sent.find(&user("a"), "x", 1_000), Known::Sent(result(4)));
    }

    #[test]
    fn forgetting_all_keeps_what_is_not_saved() {
        let mut sent = SentIds::new(true, Memory::default());
        sent.insert(&user("a"), "saved", result(1));
        sent.insert(&user("a"), "waits", result(2));
        sent.saved_up_to(Offset(1));
        sent.forget_all();
        assert_eq!(
            sent.find(&user("a"), "waits", 1_000),
            Known::Sent(result(2))
        );
        assert_eq!(sent.find(&user("a"), "saved", 1_000), Known::NeedSentId);
        assert_eq!(sent.find(&user("b"), "x", 1_000), Known::NeedSentId);
    }
}
