//! Starts and stops the gateway.
