//! Where visitors come in.

pub mod direct;
pub mod http;
pub mod tcp;

use std::net::SocketAddr;

use crate::{
    id::{EntryName, GroupName},
    session,
};

/// One public address.
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
    /// What it speaks.
    pub kind: Kind,
}

/// What an entry speaks.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Kind {
    /// Any bytes: a connection is a session.
    #[default]
    Tcp,
    /// HTTP: each request finds its own way.
    Http(http::Options),
}
