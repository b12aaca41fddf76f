//! The machine against a naive model of a room, and its edges by tables.

mod edges;
mod model;
mod proptests;
mod recovery;
mod sim;
