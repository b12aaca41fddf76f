//! Who talks on the bus.

use std::{fmt, sync::Arc};

/// What an endpoint does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Clients connect here.
    Gateway,
    /// Rooms live here.
    Rooms,
    /// Users' presence lives here.
    Presence,
}

impl Role {
    /// As in endpoint ids, configuration and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Rooms => "rooms",
            Self::Presence => "presence",
        }
    }
}

/// Names one run of one role of one process: `<role>-<incarnation in hex>`. Never used twice.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EndpointId(Arc<str>);

impl EndpointId {
    /// The endpoint of that role and incarnation.
    #[must_use]
    pub fn new(role: Role, incarnation: u64) -> Self {
        Self(format!("{}-{incarnation:016x}", role.as_str()).into())
    }

    /// Takes a name read from the bus.
    #[must_use]
    pub fn from_wire(name: &str) -> Self {
        Self(name.into())
    }

    /// What it does; `None` for a name read from the bus that tells no role.
    #[must_use]
    pub fn role(&self) -> Option<Role> {
        let (role, _) = self.0.split_once('-')?;
        [Role::Gateway, Role::Rooms, Role::Presence]
            .into_iter()
            .find(|known| known.as_str() == role)
    }

    /// Of which run; `None` for a name read from the bus that tells none.
    #[must_use]
    pub fn incarnation(&self) -> Option<u64> {
        let (_, run) = self.0.split_once('-')?;
        u64::from_str_radix(run, 16).ok()
    }

    /// The name; also the subject of its inbox.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
