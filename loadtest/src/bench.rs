//! Building blocks of the benches: histories made in great number.

mod made;

pub use made::MadeHistory;
