//! The whole node over the in-process bus and SQLite, with faults injected between it and the store.

mod cluster;
mod faults;
mod harness;
mod links;
mod node;
mod pages;
