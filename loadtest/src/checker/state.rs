//! A message, and a client's whole state of a room, against what the log folds to.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    content::Text,
    judged::Judged,
    log::{Folded, RoomLog},
};
use crate::replica::{MessageState, Replica};

/// Lines of a difference kept for reading; the rest are counted.
const LINES_MAX: usize = 10;

/// Whether a message, as somebody was told or shows it, is how the log folds.
pub(super) fn is_folded(told: &MessageState, want: &Folded, judged: &Judged) -> bool {
    if want.deleted {
        return told.deleted && told.text.is_empty();
    }
    !told.deleted
        && told.edited_ms == want.edited_ms
        && want.text.is_none_or(|text| text == Text::of(&*told.text))
        && same_reactions(&told.reactions, &want.reactions, judged)
}

fn same_reactions(
    told: &BTreeMap<String, BTreeSet<String>>,
    want: &BTreeMap<u32, BTreeSet<u32>>,
    judged: &Judged,
) -> bool {
    told.len() == want.len()
        && told.iter().all(|(emoji, users)| {
            let wanted = judged.emoji.find(emoji).and_then(|emoji| want.get(&emoji));
            wanted.is_some_and(|wanted| {
                let known = |user: &String| judged.people.find(user);
                wanted.len() == users.len()
                    && users
                        .iter()
                        .all(|user| known(user).is_some_and(|user| wanted.contains(&user)))
            })
        })
}

/// What differs between a client's state and the log folded to its head; `None`: nothing.
///
/// A client that started with a snapshot knows no older messages, and only one that saw the log
/// from its beginning knows the members.
pub(super) fn difference(log: &RoomLog, judged: &Judged, replica: &Replica) -> Option<String> {
    let mut lines = Vec::new();
    let mut more = 0;
    let mut say = |line: String| {
        if lines.len() < LINES_MAX {
            lines.push(line);
        } else {
            more += 1;
        }
    };
    if replica.head() != log.head() {
        say(format!("head {} against {}", replica.head(), log.head()));
    }
    let mut known = 0;
    for (offset, told) in replica.messages().range(replica.from()..) {
        known += 1;
        let place = log.entry(*offset).filter(|entry| entry.is_message());
        let (Some(entry), Some(want)) = (place, log.fold(*offset, log.head())) else {
            say(format!("message {offset}, which the log does not hold"));
            continue;
        };
        let sent = entry
            .change
            .is_some_and(|made| made.is_message(&told.sender, &told.client_id));
        if !sent || !is_folded(told, &want, judged) {
            let reactions = judged.named(&want.reactions);
            say(format!(
                "message {offset}: {told:?} against edited {}, deleted {}, reactions {reactions:?}, or another text, sender or id",
                want.edited_ms, want.deleted
            ));
        }
    }
    let before = log.messages_until(replica.from().saturating_sub(1));
    let want = log.messages_until(log.head()) - before;
    if known != want {
        say(format!("{known} messages against {want}"));
    }
    if let Some(told) = replica.members() {
        let want: BTreeMap<&str, i32> = log
            .members
            .present
            .iter()
            .map(|(user, role)| (judged.people.name(*user), *role))
            .collect();
        let users = told.keys().map(String::as_str).chain(want.keys().copied());
        for user in users.collect::<BTreeSet<&str>>() {
            let (one, other) = (told.get(user), want.get(user));
            if one != other {
                say(format!("member {user}: role {one:?} against {other:?}"));
            }
        }
    }
    if more > 0 {
        lines.push(format!("and {more} more"));
    }
    (!lines.is_empty()).then(|| lines.join("; "))
}
