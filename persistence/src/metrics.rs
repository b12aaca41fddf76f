//! What this crate counts.
