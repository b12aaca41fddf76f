//! The synchronous half: one user's devices, sessions and watchers, and what is to be done.
//!
//! ```text
//! Command ─► User::apply(command, now, rules) ─► Vec<Effect>
//!                                  User::deadline() ─► when to apply Command::Tick
//! ```
//!
//! Nothing here does I/O, reads a clock or sends anything.

mod command;
mod devices;
mod few;
mod last_seen;
#[cfg(test)]
mod model_tests;
mod state;
mod status;
#[cfg(test)]
mod tests;

pub(crate) use command::{Address, Command, Effect, Now, Rules, SessionKey};
pub(crate) use state::User;
pub(crate) use status::{Choice, Shown};
