//! Where two replicas of one room disagree, for people to read.

use std::{collections::BTreeSet, fmt};

use super::Replica;

/// Lines of a difference kept for reading; the rest are counted.
const LINES_MAX: usize = 10;

/// What differs between two replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    lines: Vec<String>,
    more: usize,
}

impl Difference {
    pub(super) fn between(left: &Replica, right: &Replica) -> Option<Self> {
        let mut difference = Self {
            lines: Vec::new(),
            more: 0,
        };
        if left.room() != right.room() {
            difference.say(format!("room {} against {}", left.room(), right.room()));
        }
        if left.head() != right.head() {
            difference.say(format!("head {} against {}", left.head(), right.head()));
        }
        let from = left.from().max(right.from());
        let offsets: BTreeSet<u64> = left
            .messages()
            .range(from..)
            .chain(right.messages().range(from..))
            .map(|(offset, _)| *offset)
            .collect();
        for offset in offsets {
            match (left.messages().get(&offset), right.messages().get(&offset)) {
                (Some(one), Some(other)) if one == other => {}
                (one, other) => {
                    difference.say(format!("message {offset}: {one:?} against {other:?}"));
                }
            }
        }
        if let (Some(one), Some(other)) = (left.members(), right.members()) {
            for user in one.keys().chain(other.keys()).collect::<BTreeSet<_>>() {
                if one.get(user) != other.get(user) {
                    difference.say(format!(
                        "member {user}: role {:?} against {:?}",
                        one.get(user),
                        other.get(user)
                    ));
                }
            }
        }
        (!difference.lines.is_empty()).then_some(difference)
    }

    fn say(&mut self, line: String) {
        if self.lines.len() < LINES_MAX {
            self.lines.push(line);
        } else {
            self.more += 1;
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines.join("; "))?;
        if self.more > 0 {
            write!(f, "; and {} more", self.more)?;
        }
        Ok(())
    }
}
