//! The gateway over real sockets, with scripted nodes behind it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod malformed;
mod moves;
mod sessions;
mod support;
