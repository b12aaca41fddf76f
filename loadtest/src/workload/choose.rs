//! What a random client does next.

use fastrand::Rng;
use serde::Deserialize;

use crate::{
    client::command::{self, Command},
    replica::{MessageState, Replica},
};

/// How often each command is chosen, relative to the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Weights {
    /// New messages.
    pub send: u32,
    /// Edits of own messages.
    pub edit: u32,
    /// Deletes of own messages.
    pub delete: u32,
    /// Reactions to any message.
    pub react: u32,
    /// Own reactions taken back.
    pub unreact: u32,
    /// Cursor moves to a random place.
    pub mark_read: u32,
    /// History pages from a random place.
    pub history: u32,
    /// Lists of the own rooms.
    pub rooms: u32,
    /// Joins again, resuming from where the client stands.
    pub rejoin: u32,
    /// The user stops being a member.
    pub leave: u32,
}

impl Default for Weights {
    fn default() -> Self {
        Self {
            send: 50,
            edit: 12,
            delete: 5,
            react: 12,
            unreact: 5,
            mark_read: 10,
            history: 4,
            rooms: 1,
            rejoin: 1,
            leave: 1,
        }
    }
}

/// Reactions chosen from: few, so that several users meet on one.
const EMOJI: [&str; 4] = ["👍", "🎉", "❤️", "👀"];
/// How far back a target is looked for: people react to what is on the screen.
const RECENT_MESSAGES: usize = 40;

impl Weights {
    /// All of them together.
    #[must_use]
    pub fn total(&self) -> u32 {
        [
            self.send,
            self.edit,
            self.delete,
            self.react,
            self.unreact,
            self.mark_read,
            self.history,
            self.rooms,
            self.rejoin,
            self.leave,
        ]
        .into_iter()
        .fold(0, u32::saturating_add)
    }

    /// Chooses a command for `user` in the replica's room. `serial` makes its text and client id
    /// unique for the user. Where there is no target for the chosen kind, it is a message.
    pub fn choose(&self, replica: &Replica, user: &str, serial: u64, random: &mut Rng) -> Command {
        let room = replica.room();
        let mut pick = random.u32(0..self.total().max(1));
        let mut falls = |weight: u32| {
            let hit = pick < weight;
            pick = pick.wrapping_sub(weight);
            hit
        };
        let chosen = if falls(self.send) {
            None
        } else if falls(self.edit) {
            recent(replica, random, |m| m.sender == user && !m.deleted)
                .map(|(target, _)| command::edit(room, target, &format!("edit {user} {serial}")))
        } else if falls(self.delete) {
            recent(replica, random, |m| m.sender == user && !m.deleted)
                .map(|(target, _)| command::delete(room, target))
        } else if falls(self.react) {
            let emoji = EMOJI[random.usize(0..EMOJI.len())];
            recent(replica, random, |m| !m.deleted)
                .map(|(target, _)| command::react(room, target, emoji))
        } else if falls(self.unreact) {
            recent(replica, random, |m| own_reaction(m, user).is_some()).and_then(
                |(target, message)| {
                    own_reaction(message, user).map(|emoji| command::unreact(room, target, emoji))
                },
            )
        } else if falls(self.mark_read) {
            Some(command::mark_read(room, random.u64(0..=replica.head())))
        } else if falls(self.history) {
            let at = random.u64(0..=replica.head() + 1);
            let limit = random.u32(1..=60);
            Some(match random.u8(0..3) {
                0 => command::history_after(room, at, limit),
                1 => command::history_before(room, at.max(1), limit),
                _ => command::history_newest(room, limit),
            })
        } else if falls(self.rooms) {
            Some(command::rooms("", 0))
        } else if falls(self.rejoin) {
            Some(command::resume(room, replica.head()))
        } else {
            Some(command::leave(room, false))
        };
        chosen.unwrap_or_else(|| {
            command::send(
                room,
                &format!("text {user} {serial}"),
                &format!("{user}-{serial}"),
            )
        })
    }
}

fn recent<'a>(
    replica: &'a Replica,
    random: &mut Rng,
    wanted: impl Fn(&MessageState) -> bool,
) -> Option<(u64, &'a MessageState)> {
    let found: Vec<_> = replica
        .messages()
        .iter()
        .rev()
        .take(RECENT_MESSAGES)
        .filter(|(_, message)| wanted(message))
        .collect();
    let (offset, message) = found.get(random.usize(0..found.len().max(1)))?;
    Some((**offset, message))
}

fn own_reaction<'a>(message: &'a MessageState, user: &str) -> Option<&'a str> {
    message
        .reactions
        .iter()
        .find(|(_, users)| users.contains(user))
        .map(|(emoji, _)| emoji.as_str())
}
