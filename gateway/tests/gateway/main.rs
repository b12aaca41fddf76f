//! The gateway over real sockets, with scripted nodes behind it.

mod malformed;
mod sessions;
mod support;
