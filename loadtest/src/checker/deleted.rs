//! How many messages behind a cursor were deleted up to a head, without looking at each.

/// Messages and when each was deleted.
///
/// A Fenwick tree over the deletes in the order of the log; each node holds, in order, the messages
/// of the deletes it covers. A question looks at one node for each bit of a number.
#[derive(Debug, Default)]
pub(super) struct Deleted {
    /// Offsets of the deletes, ascending.
    at: Vec<u64>,
    nodes: Vec<Vec<u64>>,
}

impl Deleted {
    /// Notes the next delete.
    pub(super) fn push(&mut self, at: u64, message: u64) {
        self.at.push(at);
        let number = self.at.len();
        let covers_from = number - lowest_bit(number);
        let mut messages = vec![message];
        let mut child = number - 1;
        while child > covers_from {
            messages.extend(&self.nodes[child - 1]);
            child -= lowest_bit(child);
        }
        messages.sort_unstable();
        self.nodes.push(messages);
    }

    /// Of the messages after `cursor`, how many were deleted up to `head`.
    pub(super) fn count(&self, cursor: u64, head: u64) -> u64 {
        let mut number = self.at.partition_point(|at| *at <= head);
        let mut count = 0;
        while number > 0 {
            let messages = &self.nodes[number - 1];
            count += messages.len() - messages.partition_point(|message| *message <= cursor);
            number -= lowest_bit(number);
        }
        count as u64
    }
}

const fn lowest_bit(number: usize) -> usize {
    number & number.wrapping_neg()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn count_is_that_of_looking_at_each() {
        let mut random = fastrand::Rng::with_seed(1);
        let mut deleted = Deleted::default();
        let mut all = Vec::new();
        for at in (100..400).step_by(3) {
            let message = random.u64(1..at);
            deleted.push(at, message);
            all.push((at, message));
            let (cursor, head) = (random.u64(0..400), random.u64(0..450));
            let slow = all
                .iter()
                .filter(|(at, message)| *at <= head && *message > cursor);
            assert_eq!(deleted.count(cursor, head), slow.count() as u64);
        }
        assert_eq!(Deleted::default().count(0, 9), 0);
    }
}
