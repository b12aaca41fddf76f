//! What one thing costs, as measured: a TOML file with the source of each number.

use std::{collections::BTreeMap, fmt, path::Path};

use serde::{Deserialize, Serialize};

use crate::files::{self, FileError};

/// Version of the file's format; another is refused.
const FORMAT: u32 = 1;

/// The costs the tool comes with, for when there is no file of one's own.
const BUILT_IN: &str = include_str!("../../costs.toml");

macro_rules! kinds {
    ($($(#[doc = $about:literal])+ $variant:ident = $name:literal,)+) => {
        /// Things that have a cost.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum CostKind {
            $($(#[doc = $about])+ #[serde(rename = $name)] $variant,)+
        }

        impl CostKind {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// Its name in the file.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// What it is, in words.
            #[must_use]
            pub fn about(self) -> &'static str {
                match self { $(Self::$variant => concat!($($about),+).trim_start(),)+ }
            }
        }
    };
}

kinds! {
    /// CPU of a gateway for each event it writes to a connection, µs.
    GatewayCpuPerDelivery = "gateway_cpu_us_per_delivery",
    /// CPU of a gateway for each send it takes, beside deliveries, µs.
    GatewayCpuPerSend = "gateway_cpu_us_per_send",
    /// CPU of a gateway for each other command that a room answers, µs.
    GatewayCpuPerCommand = "gateway_cpu_us_per_command",
    /// CPU of a gateway for each connection that is opened and joined, µs.
    GatewayCpuPerConnect = "gateway_cpu_us_per_connect",
    /// CPU of a gateway for each second of a connection that does nothing, µs.
    GatewayCpuPerIdleSecond = "gateway_cpu_us_per_idle_connection_second",
    /// Memory of a gateway for each connection, bytes.
    GatewayBytesPerConnection = "gateway_bytes_per_connection",
    /// Memory of a gateway without connections, bytes.
    GatewayBytesAlone = "gateway_bytes_alone",
    /// CPU of a node for each send it commits, µs.
    NodeCpuPerSend = "node_cpu_us_per_send",
    /// CPU of a node for each other command a room answers, µs.
    NodeCpuPerCommand = "node_cpu_us_per_command",
    /// Memory of a node for each room that is awake and quiet, bytes.
    NodeBytesPerIdleRoom = "node_bytes_per_idle_room",
    /// Memory of a node for each room that is written to, bytes.
    NodeBytesPerHotRoom = "node_bytes_per_hot_room",
    /// Memory of a node for each connection (who is where, who is online), bytes.
    NodeBytesPerConnection = "node_bytes_per_connection",
    /// Memory of a node without rooms, bytes.
    NodeBytesAlone = "node_bytes_alone",
    /// CPU of NATS for each batch of a link, µs.
    NatsCpuPerMessage = "nats_cpu_us_per_message",
    /// Bytes of an event on the wire beside its text.
    WireBytesPerEvent = "wire_bytes_per_event_beside_text",
    /// Rows that a send writes, before they are copied to replicas.
    DatabaseRowsPerSend = "database_rows_per_send",
    /// CPU of the database for each row that one replica writes, µs.
    DatabaseCpuPerRow = "database_cpu_us_per_row",
    /// Bytes that a send takes on one replica's disk beside its text.
    DatabaseBytesPerSend = "database_bytes_per_send_beside_text",
}

impl fmt::Display for CostKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A number and where it comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cost {
    /// In the unit that its name says.
    pub value: f64,
    /// The run's file, or the document that tells it.
    pub from: String,
    /// When it was measured.
    pub date: String,
    /// On what.
    pub machine: String,
    /// Under which load.
    pub load: String,
}

impl Cost {
    /// Where it comes from, in a line.
    #[must_use]
    pub fn source(&self) -> String {
        let Self {
            from,
            date,
            machine,
            load,
            ..
        } = self;
        format!("{from}, {date}, {machine}; {load}")
    }
}

/// What a new file begins with.
const HEAD: &str = "\
# What one thing costs, as measured: `rookery-loadtest plan --costs` computes with it, `run … --costs`
# and `plan learn` put more costs in. What is not here was not measured; `plan` names it.
# These first lines stay when the file is written again; comments further down do not.
";

/// Costs by what they are of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Costs {
    /// The file's first lines, as far as they are comments or empty.
    #[serde(skip)]
    head: String,
    format: u32,
    cost: BTreeMap<CostKind, Cost>,
}

impl Default for Costs {
    fn default() -> Self {
        Self {
            head: HEAD.to_owned(),
            format: FORMAT,
            cost: BTreeMap::new(),
        }
    }
}

/// A file of costs cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CostsError {
    /// The file.
    #[error(transparent)]
    File(#[from] FileError),
    /// Its syntax, a name that is no cost, or a value that cannot be.
    #[error("{path}: {message}")]
    Syntax {
        /// Which.
        path: String,
        /// What is wrong, and where.
        message: String,
    },
}

impl Costs {
    /// Those the tool comes with.
    ///
    /// # Panics
    /// Never: a test reads them.
    #[must_use]
    pub fn built_in() -> Self {
        Self::parse("costs.toml", BUILT_IN).expect("the file that is built in can be read")
    }

    /// Reads a file.
    ///
    /// # Errors
    /// See [`CostsError`].
    pub fn read(path: &Path) -> Result<Self, CostsError> {
        Self::parse(&path.display().to_string(), &files::read(path)?)
    }

    /// Writes it, whole or not at all; the comment it began with is kept.
    ///
    /// # Errors
    /// The file cannot be written.
    ///
    /// # Panics
    /// Never: names and numbers can be TOML.
    pub fn write(&self, path: &Path) -> Result<(), FileError> {
        files::replace(path, self.text())
    }

    fn text(&self) -> String {
        let costs = toml::to_string(self).expect("names and numbers can be TOML");
        format!("{}{costs}", self.head)
    }

    fn parse(path: &str, text: &str) -> Result<Self, CostsError> {
        let wrong = |message: String| CostsError::Syntax {
            path: path.to_owned(),
            message,
        };
        let mut costs: Self = toml::from_str(text).map_err(|error| wrong(error.to_string()))?;
        let lines = text.split_inclusive('\n');
        costs.head = lines
            .take_while(|line| line.trim().is_empty() || line.starts_with('#'))
            .collect();
        if costs.format != FORMAT {
            let found = costs.format;
            return Err(wrong(format!(
                "has format {found}; this tool reads format {FORMAT}"
            )));
        }
        let unusable =
            |(_, cost): &(&CostKind, &Cost)| !(cost.value.is_finite() && cost.value >= 0.0);
        match costs.cost.iter().find(unusable) {
            None => Ok(costs),
            Some((kind, cost)) => Err(wrong(format!(
                "cost.{kind}.value must be 0 or more, not {}",
                cost.value
            ))),
        }
    }

    /// The cost of one thing, if it was measured.
    #[must_use]
    pub fn get(&self, kind: CostKind) -> Option<&Cost> {
        self.cost.get(&kind)
    }

    /// Puts a cost in place of the one before.
    pub fn set(&mut self, kind: CostKind, cost: Cost) {
        self.cost.insert(kind, cost);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_costs_name_their_sources() {
        let costs = Costs::built_in();
        assert!(costs.cost.len() >= 5);
        for (kind, cost) in &costs.cost {
            assert!(!cost.from.is_empty() && !cost.load.is_empty(), "{kind}");
        }
        assert_eq!(Costs::parse("again", &costs.text()).unwrap(), costs);
    }

    #[test]
    fn a_file_that_is_written_again_begins_as_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("costs.toml");
        std::fs::write(&path, format!("# Ours.\n#\n\n{}", "format = 1\n[cost]\n")).unwrap();
        let mut costs = Costs::read(&path).unwrap();
        let built_in = Costs::built_in();
        let (kind, cost) = built_in.cost.first_key_value().unwrap();
        costs.set(*kind, cost.clone());
        costs.write(&path).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("# Ours.\n#\n\nformat = 1\n"), "{text}");
        assert_eq!(Costs::read(&path).unwrap(), costs);
        // A new file says what it is.
        assert!(Costs::default().text().starts_with(HEAD));
    }

    #[test]
    fn a_file_that_cannot_be_used_is_refused_with_its_key() {
        let cost = |name: &str, value: &str| {
            format!(
                "format = 1\n[cost.{name}]\nvalue = {value}\nfrom = \"\"\ndate = \"\"\nmachine = \"\"\nload = \"\"\n"
            )
        };
        for (text, named) in [
            ("format = 2\n[cost]\n".to_owned(), "format 2"),
            (
                cost("gateway_cpu_us_per_deliveries", "1"),
                "gateway_cpu_us_per_deliveries",
            ),
            (
                cost("node_cpu_us_per_send", "-1"),
                "cost.node_cpu_us_per_send.value",
            ),
            (
                cost("node_cpu_us_per_send", "nan"),
                "cost.node_cpu_us_per_send.value",
            ),
            (cost("node_cpu_us_per_send", "\"much\""), "value"),
        ] {
            let error = Costs::parse("c.toml", &text).unwrap_err().to_string();
            assert!(
                error.contains(named) && error.starts_with("c.toml"),
                "{error}"
            );
        }
    }

    #[test]
    fn names_in_the_file_and_in_words_are_the_same() {
        for kind in CostKind::ALL {
            let named = serde_json::to_value(kind).unwrap();
            assert_eq!(named, kind.name());
            assert!(kind.about().ends_with('.'), "{kind}");
        }
    }
}
