//! Rookery's words on the wire.
//!
//! Reading order: [`v1`] is what clients speak (`rookery/v1/wire.proto`), [`link`] what gateways
//! and nodes say to each other (`rookery/link/v1/link.proto`), [`ids`] the checked names and
//! positions both carry, [`errors`] the closed table of errors, [`close`] the WebSocket close
//! codes, [`limits`] the sizes the wire itself promises, [`shard`] how a name finds its shard.
//!
//! Nothing here does I/O, and nothing here knows any other crate of the workspace.

pub mod close;
pub mod errors;
pub mod ids;
pub mod limits;
pub mod shard;

pub use generated::link::v1 as link;
pub use generated::v1;

/// Written by `tests/generated.rs` from the `.proto` files; nested as the packages are.
#[expect(
    clippy::allow_attributes,
    unreachable_pub,
    unused_qualifications,
    missing_docs,
    reason = "generated code"
)]
mod generated {
    pub mod v1 {
        include!("generated/rookery.v1.rs");
        include!("generated/rookery.v1.serde.rs");
    }
    pub mod link {
        pub mod v1 {
            include!("generated/rookery.link.v1.rs");
        }
    }
}
