//! What load a run puts on: a scenario, from a TOML file or one of those built in.
//!
//! A scenario is people (connections, rooms, who is in which) and stages, one after the other, each
//! with rates of what those people do. The built-in scenarios are files of `scenarios/`; nothing
//! they do is written elsewhere.

mod load;
mod problems;

use serde::{Deserialize, Serialize};

/// The scenarios built in, by name, in the order of the help.
pub const BUILT_IN: [(&str, &str); 8] = [
    ("fanout", include_str!("../scenarios/fanout.toml")),
    ("idle", include_str!("../scenarios/idle.toml")),
    ("chat", include_str!("../scenarios/chat.toml")),
    ("storm", include_str!("../scenarios/storm.toml")),
    ("churn", include_str!("../scenarios/churn.toml")),
    ("dm", include_str!("../scenarios/dm.toml")),
    ("hot-room", include_str!("../scenarios/hot-room.toml")),
    ("mixed", include_str!("../scenarios/mixed.toml")),
];

/// A load, stage by stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Its name: in reports and figures.
    pub name: String,
    /// What it is for, in a sentence.
    pub about: String,
    /// Settings the server is started with, as its `--set` takes them, where the run starts it.
    #[serde(default)]
    pub settings: Vec<String>,
    /// Who is there.
    pub people: People,
    /// What happens, in this order; at least one.
    #[serde(rename = "stage")]
    pub stages: Vec<Stage>,
    /// What the figures must keep to, checked at the end of the run.
    #[serde(rename = "bound", default, skip_serializing_if = "Vec::is_empty")]
    pub bounds: Vec<Bound>,
}

/// Connections and the rooms they listen to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct People {
    /// Connections, each of a user of its own.
    pub connections: u32,
    /// Rooms.
    pub rooms: u32,
    /// What kind of rooms.
    #[serde(default)]
    pub kind: RoomKind,
    /// Rooms each connection listens to.
    #[serde(default = "one")]
    pub rooms_each: u32,
    /// Which rooms those are.
    #[serde(default)]
    pub popularity: Popularity,
    /// Connections that do what the rates say, the first ones; absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active: Option<u32>,
    /// Share of the connections that speak JSON, 0 to 1; the others speak protobuf.
    #[serde(default)]
    pub json: f64,
    /// Users whose presence each connection watches.
    #[serde(default)]
    pub watched_each: u32,
    /// Bytes of each message's text, at least 32: it begins with when it was due.
    #[serde(default = "text_bytes")]
    pub text_bytes: u32,
    /// Whether the rooms, once opened, are left alone until the server has put them all to sleep:
    /// the first who joins one wakes it from the store.
    #[serde(default, skip_serializing_if = "is_false")]
    pub rooms_asleep: bool,
    /// Whether the servers, once the rooms are opened, are restarted on the same data: from then on
    /// nobody has opened one.
    #[serde(default, skip_serializing_if = "is_false")]
    pub rooms_cold: bool,
    /// Connections opened a second before the first stage.
    #[serde(default = "connects_per_second")]
    pub connects_per_second: u32,
}

const fn one() -> u32 {
    1
}

const fn text_bytes() -> u32 {
    64
}

const fn connects_per_second() -> u32 {
    2_000
}

/// Kinds of rooms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RoomKind {
    /// No member rows: a large audience joins without an event for each.
    #[default]
    Channel,
    /// Public groups: each connection's user becomes a member.
    Group,
}

/// Which rooms a connection listens to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Popularity {
    /// In turn: every room has the same audience.
    #[default]
    Even,
    /// The first in turn, the others by Zipf's law with this exponent: few rooms are large.
    Zipf(f64),
}

/// A part of the run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// Its name: in reports and figures.
    pub name: String,
    /// How long it is measured.
    pub seconds: u32,
    /// Before that, under the same load, not measured.
    #[serde(default)]
    pub warm_up_seconds: u32,
    /// Things done a second by all connections together, each when it is due, whether or not the
    /// ones before it were answered: latency counts from when it was due.
    #[serde(default, skip_serializing_if = "Rates::is_none")]
    pub rates: Rates,
    /// Instead of a rate of sends: each active connection has this many under way, the next when
    /// one is acknowledged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sends_in_flight: Option<u32>,
    /// Share of the connections cut at the stage's beginning, 0 to 1. They connect again and
    /// resume each room by its last offset; the stage ends early when all are whole again.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cut: f64,
}

/// Things done a second, by all connections together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rates {
    /// Messages.
    pub sends: f64,
    /// Typing signals.
    pub typing: f64,
    /// Cursors moved to the newest message.
    pub reads: f64,
    /// Newest pages of history.
    pub history: f64,
    /// Changes of one's status.
    pub presence: f64,
    /// Connections closed in order and opened anew, with their rooms resumed.
    pub reconnects: f64,
}

impl Rates {
    fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Each with its name.
    #[must_use]
    pub const fn named(&self) -> [(&'static str, f64); 6] {
        [
            ("sends", self.sends),
            ("typing", self.typing),
            ("reads", self.reads),
            ("history", self.history),
            ("presence", self.presence),
            ("reconnects", self.reconnects),
        ]
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(share: &f64) -> bool {
    *share == 0.0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_false(value: &bool) -> bool {
    !value
}

/// What a figure must keep to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bound {
    /// The figure, without its side: `STAGE/NAME`, see [`crate::outcome::Side::figures`].
    pub figure: String,
    /// At most this; where `over` names a side, this many times that side's same figure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// At least this, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// The side it is a ratio to, measured in the same run: `floor`, say. When that side was not
    /// run, the bound is said to be not checked, and nothing fails for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over: Option<String>,
}

#[cfg(test)]
mod tests;
