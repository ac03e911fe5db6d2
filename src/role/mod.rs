//! The roles of the one binary: each assembles actors from configuration and decides nothing.

pub mod client;
pub mod demo;
pub mod server;
