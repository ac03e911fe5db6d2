//! What is listened to on a node's streams for the books of data links: the links, and whatever sessions go to.

use super::Life;
use crate::{
    event::Event,
    node::{PROXY_PORT, PUBLIC_PORT},
    oracle::wire::Wire,
    payload::{REQUEST_LEN, Request},
    plan::who::Who,
    trace::Move,
    upstream,
};

/// Who listens to a stream.
pub enum Ear {
    /// Nobody.
    Deaf,
    /// It may be a data link.
    Link(Box<Wire>),
    /// A visitor or an upstream.
    Raw(Raw),
}

/// What is known of a visitor's or an upstream's stream.
pub struct Raw {
    /// The request goes to it; else it comes from it.
    to_upstream: bool,
    request: Vec<u8>,
    session: Option<u64>,
    /// Bytes that were handed to it.
    handed: u64,
}

impl Ear {
    /// Who listens to a stream of `life` to or from that port.
    pub fn of(life: &Life, how: Move, port: u16) -> Self {
        let Some(terms) = life.terms else {
            return Self::Deaf;
        };
        let raw = |to_upstream| {
            Self::Raw(Raw {
                to_upstream,
                request: Vec::new(),
                session: None,
                handed: 0,
            })
        };
        let serves = how == Move::Accepted;
        match port {
            PROXY_PORT => Self::Link(Box::new(Wire::new(serves, terms, life.holdings.clone()))),
            port if serves && port >= PUBLIC_PORT => raw(false),
            port if !serves && upstream::DOORS.contains(&port) && life.who != Who::Server => raw(true),
            _ => Self::Deaf,
        }
    }

    /// The node says or hears these bytes.
    pub fn handle(&mut self, life: &Life, says: bool, bytes: &[u8]) {
        match self {
            Self::Deaf => {}
            Self::Link(wire) => {
                if let Some((number, what)) = wire.handle(says, bytes) {
                    let host = life.who;
                    life.oracle.tell(Event::Irregular { host, number, what });
                }
            }
            Self::Raw(raw) => raw.handle(life, says, bytes),
        }
    }

    /// The stream is over, or takes no more.
    pub fn handle_gone(&mut self, life: &Life) {
        if let Self::Raw(Raw {
            session: Some(session),
            ..
        }) = std::mem::replace(self, Self::Deaf)
        {
            life.holdings.with(|holdings| holdings.handle_gone(session));
        }
    }
}

impl Raw {
    fn handle(&mut self, life: &Life, says: bool, bytes: &[u8]) {
        if says {
            self.handed += bytes.len() as u64;
        }
        match self.session {
            Some(session) if says => {
                let said = bytes.len() as u64;
                life.holdings
                    .with(|holdings| holdings.handle_handed(session, said));
            }
            None if says == self.to_upstream && self.request.len() < REQUEST_LEN => {
                let missing = REQUEST_LEN - self.request.len();
                self.request.extend_from_slice(&bytes[..bytes.len().min(missing)]);
                let whole = <&[u8; REQUEST_LEN]>::try_from(&self.request[..]).ok();
                self.session = whole.and_then(Request::decode).map(|request| request.connection);
                if let Some(session) = self.session {
                    let handed = self.handed;
                    life.holdings
                        .with(|holdings| holdings.handle_found(session, handed));
                }
            }
            _ => {}
        }
    }
}
