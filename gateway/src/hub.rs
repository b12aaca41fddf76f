//! The hub: lanes that own the sessions.

/// All lanes. Cloning shares them.
#[derive(Clone, Debug)]
pub(crate) struct Lanes {}
