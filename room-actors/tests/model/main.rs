//! A model of claim, wake, append and acknowledge (DESIGN §4), searched for broken promises.
//!
//! Reading order: [`state`] (what there is), [`step`] (what may happen), [`cluster`] (when it may
//! happen, what it does, what must hold), [`rule`] (the designed rule and the weaker ones). Two
//! searches use that one transition function: [`exhaustive`] visits every state of a small cluster,
//! [`schedules`] walks randomly ([`walk`]) through a larger one. [`weaker`] shows that the search
//! sees what it looks for. `docs/model.md` says what is abstracted and how to run it for longer.

mod cluster;
mod exhaustive;
mod list;
mod reduce;
mod rule;
mod schedules;
mod state;
mod step;
mod walk;
mod weaker;

/// A setting of this search, from the environment: `cargo test` has no arguments of our own.
#[expect(
    clippy::disallowed_methods,
    reason = "nothing is configured here, only how long to search and what to show again"
)]
fn setting<T>(name: &str) -> Option<T>
where
    T: std::str::FromStr<Err: std::fmt::Display>,
{
    let value = std::env::var(name).ok()?;
    match value.parse() {
        Ok(value) => Some(value),
        Err(error) => panic!("{name}={value}: {error}"),
    }
}
