//! Rookery's gateway: where clients connect.
//!
//! ```text
//! accept ─► http (upgrade, token) ─► conn (one reader task) ─► hub lane (owns the session) ─► link
//!                                                               ▲                             │
//!                                              sockets ◄────────┘◄──── inbox task ◄───────────┘
//! ```
//!
//! Reading order: [`config`] and [`limits`], `protocol` turns frames into messages and back, `ws`
//! is RFC 6455, `auth` judges tokens, `http` takes connections in, `conn` reads them, `hub` owns
//! every session and decides, [`gateway`] starts and stops it all.
//!
//! Invariants:
//! - One task a connection, and nothing else per connection: no timer, no writer, no buffer while
//!   idle.
//! - All state of a session is owned by one hub worker; nothing of it is behind a lock.
//! - An event's frame is built at most once per encoding and shared between all sockets.
//! - A session sees the events of a room densely and in order, or is told to resume.

pub mod auth;
pub mod config;
mod conn;
pub mod gateway;
mod http;
mod hub;
pub mod limits;
pub mod metrics;
mod protocol;
pub mod ws;

pub use config::GatewayConfig;
pub use gateway::{Gateway, GatewayPorts, StartError, StopReport, start};
