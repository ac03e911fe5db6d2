//! Data links on real sockets: many sessions over one connection.

#![allow(clippy::unwrap_used, reason = "a test may stop at what it did not expect")]

mod support;
