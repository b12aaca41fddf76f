//! The one suite of cases that every adapter of [`crate::Store`] must pass.
