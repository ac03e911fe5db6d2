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

impl Options {
    /// The groups that its visitors may go to, and how their sessions behave.
    pub fn leads_to(&self) -> impl Iterator<Item = (&GroupName, &session::Options)> {
        let (own, others) = match &self.kind {
            Kind::Tcp => (true, None),
            Kind::Http(options) => (false, Some(options.groups.iter())),
        };
        let own = own.then_some((&self.group, &self.session));
        own.into_iter().chain(others.into_iter().flatten())
    }
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
