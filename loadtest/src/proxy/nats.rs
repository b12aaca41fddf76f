//! Losing single messages on their way to a NATS server, as its own buffers may.
//!
//! A client's side of the NATS protocol is lines; those of `PUB` and `HPUB` end with the number of
//! bytes that follow. See <https://docs.nats.io/reference/reference-protocols/nats-protocol>.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering::Relaxed},
};

/// Which published messages are lost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Loss {
    /// None.
    #[default]
    None,
    /// The next one that holds these bytes; none after it.
    NextWith(Vec<u8>),
    /// Each one of this many.
    OneIn(u64),
}

/// What is to be lost, and how many were, over all connections of a proxy.
#[derive(Debug, Default)]
pub(super) struct Losing {
    loss: Mutex<Loss>,
    seen: AtomicU64,
    lost: AtomicU64,
}

impl Losing {
    pub(super) fn set(&self, loss: Loss) {
        *self.loss.lock().unwrap_or_else(PoisonError::into_inner) = loss;
    }

    pub(super) fn count(&self) -> u64 {
        self.lost.load(Relaxed)
    }

    fn loses(&self, payload: &[u8]) -> bool {
        let mut loss = self.loss.lock().unwrap_or_else(PoisonError::into_inner);
        let lost = match &*loss {
            Loss::None => false,
            Loss::OneIn(many) => self.seen.fetch_add(1, Relaxed) % many == many - 1,
            Loss::NextWith(bytes) => payload
                .windows(bytes.len().max(1))
                .any(|part| part == bytes),
        };
        if lost {
            self.lost.fetch_add(1, Relaxed);
            if matches!(&*loss, Loss::NextWith(_)) {
                *loss = Loss::None;
            }
        }
        lost
    }
}

/// One connection's bytes, cut into whole lines and messages.
pub(super) struct Filter {
    losing: Arc<Losing>,
    /// Not yet whole.
    rest: Vec<u8>,
}

impl Filter {
    pub(super) fn new(losing: Arc<Losing>) -> Self {
        Self {
            losing,
            rest: Vec::new(),
        }
    }

    /// Takes what came; gives what goes on.
    pub(super) fn pass(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.rest.extend_from_slice(bytes);
        let mut passed = Vec::with_capacity(self.rest.len());
        let mut at = 0;
        while let Some(item) = first_item(&self.rest[at..]) {
            let whole = &self.rest[at..at + item.bytes];
            let lost = item.payload > 0 && self.losing.loses(&whole[item.bytes - item.payload..]);
            if !lost {
                passed.extend_from_slice(whole);
            }
            at += item.bytes;
        }
        self.rest.drain(..at);
        passed
    }
}

/// A line, with the payload that follows it.
struct Item {
    bytes: usize,
    /// Of these, the payload with its end of line; 0: there is none.
    payload: usize,
}

/// `None`: not whole yet.
fn first_item(bytes: &[u8]) -> Option<Item> {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n")? + 2;
    let line = &bytes[..end - 2];
    let publishes = line.starts_with(b"PUB ") || line.starts_with(b"HPUB ");
    let payload = if publishes {
        let size = line.rsplit(|byte| *byte == b' ').next()?;
        // A client that speaks otherwise is not ours; the server will tell it.
        let size: usize = std::str::from_utf8(size).ok()?.parse().ok()?;
        size + 2
    } else {
        0
    };
    let item = Item {
        bytes: end + payload,
        payload,
    };
    (item.bytes <= bytes.len()).then_some(item)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &[u8] = b"CONNECT {}\r\nPUB a.b 5\r\nhello\r\nPING\r\n\
        HPUB c 12 17\r\nNATS/1.0\r\n\r\nworld\r\nPUB d reply 0\r\n\r\nPUB e 7\r\na\r\nPUB \r\n";

    #[test]
    fn stream_cut_anywhere_passes_whole() {
        for cut in 0..STREAM.len() {
            let mut filter = Filter::new(Arc::default());
            let mut passed = filter.pass(&STREAM[..cut]);
            passed.extend(filter.pass(&STREAM[cut..]));
            assert_eq!(passed, STREAM, "cut at {cut}");
        }
    }

    #[test]
    fn only_the_message_that_is_named_is_lost_and_once() {
        let losing = Arc::new(Losing::default());
        losing.set(Loss::NextWith(b"worl".to_vec()));
        let mut filter = Filter::new(Arc::clone(&losing));
        let passed = String::from_utf8(filter.pass(STREAM)).unwrap();
        assert!(
            passed.contains("hello") && !passed.contains("HPUB"),
            "{passed}"
        );
        assert!(passed.ends_with("PUB d reply 0\r\n\r\nPUB e 7\r\na\r\nPUB \r\n"));
        assert_eq!(filter.pass(STREAM), STREAM);
        assert_eq!(losing.count(), 1);
    }

    #[test]
    fn each_of_so_many_is_lost() {
        let losing = Arc::new(Losing::default());
        losing.set(Loss::OneIn(4));
        let mut filter = Filter::new(Arc::clone(&losing));
        for _ in 0..10 {
            filter.pass(STREAM);
        }
        assert_eq!(losing.count(), 10);
    }
}
