//! Where visitors come in.

pub mod direct;
pub mod tcp;

use std::net::SocketAddr;

use crate::{
    id::{EntryName, GroupName},
    session,
};

/// One public TCP address.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Its name, for logs and metrics.
    pub name: EntryName,
    /// Where it listens; port 0 takes any free port.
    pub listen: SocketAddr,
    /// The group its visitors go to.
    pub group: GroupName,
    /// How its sessions behave.
    pub session: session::Options,
}
