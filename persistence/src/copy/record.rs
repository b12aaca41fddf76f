//! How far a copy is, as it is kept in the target: one line of text.

use rookery_proto::ids::{Offset, RoomId, UserId};

use crate::sqlite::export::Source;

/// What a copy has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// The installation, and how often it had been started.
    pub(super) made_ms: u64,
    pub(super) starts: u64,
    /// Rows of the log that were copied.
    pub(super) rows: u64,
    pub(super) done: Done,
}

/// Everything before this is in the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Done {
    /// Nothing.
    Nothing,
    /// The rooms before this one, and its log up to that offset.
    Inside(RoomId, Offset),
    /// The rooms up to this one.
    Room(RoomId),
    /// All rooms.
    Rooms,
    /// All rooms, and the users up to this one.
    User(UserId),
    /// All of it.
    Users,
    /// And it was compared.
    Verified,
}

impl Record {
    /// Of a copy that begins.
    pub(super) const fn new(source: Source) -> Self {
        Self {
            made_ms: source.made_ms,
            starts: source.starts,
            rows: 0,
            done: Done::Nothing,
        }
    }

    /// As it is kept.
    pub(super) fn to_text(&self) -> String {
        let Self {
            made_ms,
            starts,
            rows,
            done,
        } = self;
        let (word, offset, name) = match done {
            Done::Nothing => ("nothing", 0, ""),
            Done::Inside(room, offset) => ("inside", offset.0, room.as_str()),
            Done::Room(room) => ("room", 0, room.as_str()),
            Done::Rooms => ("rooms", 0, ""),
            Done::User(user) => ("user", 0, user.as_str()),
            Done::Users => ("users", 0, ""),
            Done::Verified => (VERIFIED, 0, ""),
        };
        format!("{word} {made_ms} {starts} {rows} {offset} {name}")
    }

    /// From its text; `None` when that is not sound.
    pub(super) fn from_text(text: &str) -> Option<Self> {
        let mut fields = text.splitn(6, ' ');
        let word = fields.next()?;
        let mut number = || fields.next()?.parse().ok();
        let (made_ms, starts, rows, offset) = (number()?, number()?, number()?, number()?);
        let name = fields.next()?;
        let done = match word {
            "nothing" => Done::Nothing,
            "inside" => Done::Inside(RoomId::parse(name).ok()?, Offset(offset)),
            "room" => Done::Room(RoomId::parse(name).ok()?),
            "rooms" => Done::Rooms,
            "user" => Done::User(UserId::parse(name).ok()?),
            "users" => Done::Users,
            VERIFIED => Done::Verified,
            _ => return None,
        };
        Some(Self {
            made_ms,
            starts,
            rows,
            done,
        })
    }
}

const VERIFIED: &str = "verified";

/// Whether a keyspace with that record must not be served.
pub(crate) fn is_unfinished(record: Option<&str>) -> bool {
    record.is_some_and(|record| record.split(' ').next() != Some(VERIFIED))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_survives_its_text() {
        let room = RoomId::parse("a:b").unwrap();
        let user = UserId::parse("ada").unwrap();
        for (done, unfinished) in [
            (Done::Nothing, true),
            (Done::Inside(room.clone(), Offset(7)), true),
            (Done::Room(room), true),
            (Done::Rooms, true),
            (Done::User(user), true),
            (Done::Users, true),
            (Done::Verified, false),
        ] {
            let record = Record {
                made_ms: 1,
                starts: 2,
                rows: 3,
                done,
            };
            let text = record.to_text();
            assert_eq!(is_unfinished(Some(&text)), unfinished, "{text}");
            assert_eq!(Record::from_text(&text), Some(record), "{text}");
        }
        assert!(!is_unfinished(None));
    }

    #[test]
    fn damaged_record_is_refused_and_not_served() {
        for text in [
            "",
            "verifie 1 2 3 0 ",
            "room 1 2 3 0 ",
            "rooms 1 2 x 0 ",
            "rooms 1",
        ] {
            assert_eq!(Record::from_text(text), None, "{text:?}");
            assert!(is_unfinished(Some(text)), "{text:?}");
        }
    }
}
