//! Rookery's load and proof tool: a client of the wire, and nothing of the server's inside.
//!
//! Reading order: [`client`] speaks the wire over a foreign WebSocket library; [`replica`] folds a
//! room's events into what a client sees; [`history`] is the file of all that clients did and saw;
//! [`recorder`] is the client that writes it; [`checker`] judges it; [`workload`] drives many
//! recorders at random through whatever happens to the server; [`load`] measures sends;
//! [`scenario`] (a [`document`], like the plans of [`verify`]) says what load a run puts on, [`light`] puts it on, [`run`] does all of it on one
//! server after the other, a [`floor`] among them, and [`outcome`] is what was measured, in
//! [`histogram`]s; [`report`] makes a page of outcomes, [`compare`] holds two against each other,
//! [`plan`] computes with what they cost, [`shown`] writes their numbers for people, and [`files`] keeps
//! them; [`server`]
//! runs the real binary as a child process; [`cluster`] runs many of them with NATS and a database,
//! every wire through a [`proxy`]; [`verify`] runs workloads under faults and has them judged;
//! [`measure`] measures what users of such a cluster wait for; [`wait`] and [`services`] are for
//! tests; [`mod@bench`] makes histories for the benches.
//!
//! Invariants: nothing is judged from the inside of the server; an outcome that no answer told is
//! unknown until the final log tells; the checker is linear in the history.

pub mod bench;
pub mod checker;
pub mod client;
pub mod cluster;
pub mod compare;
pub mod document;
pub mod files;
pub mod floor;
pub mod histogram;
pub mod history;
pub mod light;
pub mod limits;
pub mod load;
pub mod measure;
pub mod outcome;
pub mod plan;
pub mod proxy;
pub mod recorder;
pub mod replica;
pub mod report;
pub mod run;
pub mod scenario;
pub mod server;
pub mod services;
pub mod shown;
pub mod verify;
pub mod wait;
pub mod workload;

#[cfg(test)]
mod fake;
mod ports;
