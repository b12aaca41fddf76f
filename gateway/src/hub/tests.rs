//! Tests of the worker: inputs in, packets and frames out; no socket, no thread, no clock.

mod cluster_prop;
mod commands;
mod fakes;
mod moves;
mod presence;
mod sessions;
mod slow;
mod stream;
mod stream_prop;
