//! Who is registered, who wants to be, and which tickets are out. Pure: it is told the time.

use std::collections::{BTreeMap, VecDeque};

use super::{Options, tickets::Tickets};
use crate::{
    id::{ClientId, Epoch, GroupName, ProxyConnId, UpstreamName},
    probe::{audit, audit_eq, mutant, sometimes},
    time::{Duration, Instant},
    wire::{
        handshake::Proven,
        message::DenyCode,
        preamble::Purpose,
        proof::{LinkKey, matches},
    },
};

/// How long the holder of a contested id has to answer. Longer delays a take-over; shorter robs slow links.
const CONTEST_TIMEOUT: Duration = Duration::from_secs(1);

/// When a client that lost a contest may come back.
const CONTEST_RETRY: Duration = Duration::from_secs(5);

/// A client that wants in, as the shell knows it.
pub type JoinId = u64;

/// What a registration serves: pairs of group and upstream.
pub type Serves = Vec<(GroupName, UpstreamName)>;

/// A client that proved who it is and wants in.
#[derive(Debug)]
pub struct Candidate {
    /// The shell's name for it.
    pub join: JoinId,
    /// The id it wants to hold.
    pub client: ClientId,
    /// Its proof.
    pub proven: Proven,
}

/// What the shell does.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Let this one in under this epoch.
    Admit(JoinId, Epoch),
    /// Turn this one away.
    Deny(JoinId, DenyCode, &'static str, Option<Duration>),
    /// Ask the holder of a contested id whether it is there.
    Probe(Epoch),
    /// End this registration; `silent`: it is dead, not gone.
    Evict {
        /// The registration.
        epoch: Epoch,
        /// Whether its sessions are to be reset.
        silent: bool,
        /// For logs and metrics.
        reason: &'static str,
    },
}

struct Client {
    epoch: Epoch,
    key: LinkKey,
    tickets: Tickets,
    draining: bool,
    contest: Option<(Candidate, Instant)>,
}

/// Inputs: `handle_*`. Outputs: [`poll_action`](Self::poll_action), [`poll_timeout`](Self::poll_timeout).
pub struct Table {
    options: Options,
    boot: u64,
    next: u64,
    clients: BTreeMap<ClientId, Client>,
    epochs: BTreeMap<Epoch, ClientId>,
    closed: bool,
    actions: VecDeque<Action>,
}

/// Why a connection that claimed a ticket is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClaimError {
    /// No such registration, or no longer.
    #[error("no such registration")]
    Epoch,
    /// Never given out for this purpose, used already, or too old.
    #[error("no such ticket")]
    Ticket,
    /// Not proved with the link's key.
    #[error("the proof does not match the link's key")]
    Proof,
}

impl Table {
    /// An empty table of the server process `boot`.
    pub fn new(boot: u64, options: Options) -> Self {
        Self {
            options,
            boot,
            next: 1,
            clients: BTreeMap::new(),
            epochs: BTreeMap::new(),
            closed: false,
            actions: VecDeque::new(),
        }
    }

    /// Clients registered right now.
    pub fn len(&self) -> usize {
        self.clients.len()
    }

    /// Whether nobody is registered.
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    /// Admits nobody from now on.
    pub fn close(&mut self) {
        self.closed = true;
    }

    /// A client has proved who it is and wants in.
    pub fn handle_join(&mut self, now: Instant, candidate: Candidate) {
        let join = candidate.join;
        if self.closed {
            self.deny_draining(join);
            return;
        }
        let full = self.clients.len() >= self.options.clients_max;
        match self.clients.get_mut(&candidate.client) {
            None if full => self.deny(join, DenyCode::Overload, "too many clients"),
            None => self.admit(candidate),
            Some(holder) if candidate.proven.resumes(&holder.key) => {
                sometimes!("registration-resumed");
                let epoch = holder.epoch;
                if let Some(contender) = self.evict(epoch, false, "replaced") {
                    self.deny_duplicate(contender.join, "another live client holds this id");
                }
                self.admit(candidate);
            }
            Some(Client { contest: Some(_), .. }) => self.deny_duplicate(join, "the id is contested already"),
            Some(holder) => {
                self.actions.push_back(Action::Probe(holder.epoch));
                holder.contest = Some((candidate, now + CONTEST_TIMEOUT));
            }
        }
        self.check();
    }

    /// The holder of a contested id answered.
    pub fn handle_answered(&mut self, epoch: Epoch) {
        let contest = self.client_mut(epoch).and_then(|client| client.contest.take());
        if let Some((candidate, _)) = contest {
            sometimes!("contender-turned-away");
            self.deny_duplicate(candidate.join, "another live client holds this id");
        }
        self.check();
    }

    /// A link has ended.
    pub fn handle_lost(&mut self, epoch: Epoch, silent: bool, reason: &'static str) {
        match self.evict(epoch, silent, reason) {
            Some(candidate) if self.closed => self.deny_draining(candidate.join),
            Some(_) if mutant!("winner-of-a-contest-never-told") => {}
            Some(candidate) => self.admit(candidate),
            None => {}
        }
        self.check();
    }

    /// A client drains: it stays registered, and serves nothing new.
    pub fn handle_draining(&mut self, epoch: Epoch) {
        if let Some(client) = self.client_mut(epoch) {
            client.draining = true;
        }
    }

    /// Gives out up to `count` tickets for connections of one purpose; `fresh` makes each.
    pub fn issue(
        &mut self,
        now: Instant,
        epoch: Epoch,
        (purpose, count): (Purpose, usize),
        fresh: impl FnMut() -> ProxyConnId,
    ) -> Vec<ProxyConnId> {
        let client = self.client_mut(epoch).filter(|client| !client.draining);
        client.map_or(Vec::new(), |client| {
            client.tickets.issue(now, purpose, count, fresh)
        })
    }

    /// A ticket will not be used; says what it was for, if it was out.
    pub fn handle_ticket_failed(&mut self, epoch: Epoch, ticket: ProxyConnId) -> Option<Purpose> {
        self.client_mut(epoch)?.tickets.remove(ticket)
    }

    /// Redeems a ticket for a connection of this purpose, once; returns the proof for the client.
    ///
    /// # Errors
    /// [`ClaimError`]; the ticket stays valid, so that a stranger cannot burn it.
    pub fn claim(
        &mut self,
        now: Instant,
        claimed: (&str, Epoch),
        (purpose, ticket): (Purpose, ProxyConnId),
        mac: &[u8],
    ) -> Result<[u8; 32], ClaimError> {
        let (client_id, epoch) = claimed;
        if self
            .epochs
            .get(&epoch)
            .is_none_or(|holder| holder.as_str() != client_id)
        {
            sometimes!("old-epoch-refused");
            return Err(ClaimError::Epoch);
        }
        let client = self.client_mut(epoch).ok_or(ClaimError::Epoch)?;
        if !client.tickets.is_valid(now, purpose, ticket) {
            sometimes!("void-ticket-refused");
            return Err(ClaimError::Ticket);
        }
        if !matches(&client.key.conn_proof(purpose, epoch, ticket), mac) {
            return Err(ClaimError::Proof);
        }
        if !mutant!("ticket-accepted-twice") {
            client.tickets.remove(ticket);
        }
        Ok(client.key.ready_proof(purpose, epoch, ticket))
    }

    /// A deadline may have come: who did not answer loses its id.
    pub fn handle_timeout(&mut self, now: Instant) {
        for client in self.clients.values_mut() {
            // A timer this late means that this process slept: the answer may lie in the mailbox.
            if let Some((_, due)) = &mut client.contest
                && now > *due + CONTEST_TIMEOUT
            {
                *due = now + CONTEST_TIMEOUT;
            }
        }
        let due = |client: &&Client| client.contest.as_ref().is_some_and(|(_, due)| *due <= now);
        let silent: Vec<_> = self
            .clients
            .values()
            .filter(due)
            .map(|client| client.epoch)
            .collect();
        for epoch in silent {
            sometimes!("silent-holder-lost-its-id");
            self.handle_lost(epoch, true, "taken_over");
        }
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.clients
            .values()
            .filter_map(|client| client.contest.as_ref())
            .map(|(_, due)| *due)
            .min()
    }

    fn client_mut(&mut self, epoch: Epoch) -> Option<&mut Client> {
        self.clients.get_mut(self.epochs.get(&epoch)?)
    }

    fn deny(&mut self, join: JoinId, code: DenyCode, message: &'static str) {
        self.actions
            .push_back(Action::Deny(join, code, message, Some(CONTEST_RETRY)));
    }

    fn deny_duplicate(&mut self, join: JoinId, message: &'static str) {
        self.deny(join, DenyCode::DuplicateId, message);
    }

    fn deny_draining(&mut self, join: JoinId) {
        sometimes!("client-denied-while-draining");
        self.deny(join, DenyCode::Overload, "the server is draining");
    }

    fn admit(&mut self, candidate: Candidate) {
        let epoch = Epoch::new(self.boot, self.next);
        self.next += 1;
        self.actions.push_back(Action::Admit(candidate.join, epoch));
        self.epochs.insert(epoch, candidate.client.clone());
        let client = Client {
            epoch,
            key: candidate.proven.link_key(),
            tickets: Tickets::default(),
            draining: false,
            contest: None,
        };
        self.clients.insert(candidate.client, client);
    }

    /// Ends a registration; returns who was waiting for its id. An epoch that is no more ends nothing: what
    /// an old link left behind cannot unregister the new one.
    fn evict(&mut self, epoch: Epoch, silent: bool, reason: &'static str) -> Option<Candidate> {
        let client_id = self.epochs.remove(&epoch)?;
        let client = self.clients.remove(&client_id)?;
        if reason != "replaced" || !mutant!("replaced-registration-keeps-its-targets") {
            self.actions.push_back(Action::Evict {
                epoch,
                silent,
                reason,
            });
        }
        client.contest.map(|(candidate, _)| candidate)
    }

    /// The sentences this core believes at every moment.
    fn check(&self) {
        audit_eq!(
            self.clients.len(),
            self.epochs.len(),
            "every client has exactly one epoch"
        );
        audit!(
            self.epochs
                .iter()
                .all(|(epoch, id)| self.clients.get(id).is_some_and(|c| c.epoch == *epoch)),
            "an epoch names the client that holds it"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        time,
        wire::{
            codec::{Decoder, Head, Piece, encode},
            handshake::{Greeted, Greeting},
            message::Register,
            proof::Token,
        },
    };

    fn head(bytes: &[u8]) -> Head {
        let mut input = bytes;
        match Decoder::new(0).next(&mut input) {
            Ok(Piece::Head(head)) => head,
            other => panic!("a head was expected, not {other:?}"),
        }
    }

    /// A candidate for the id `a`, which proves to hold `previous` too.
    fn candidate(join: JoinId, previous: Option<&LinkKey>) -> Candidate {
        let token = || Token::new("a token that is long enough").unwrap();
        let nonce = serde_bytes::ByteBuf::from(vec![join as u8; 32]);
        let (greeting, register) = Greeting::new(Register {
            nonce,
            ..Register::default()
        });
        let greeted = Greeted::handle_register(&head(&register[8..])).unwrap();
        let (challenging, challenge) = greeted.challenge([7; 32], &[]);
        let (_, proof) = greeting
            .handle_challenge(&head(&challenge), &[], token(), previous)
            .unwrap();
        let mut bytes = Vec::new();
        encode(&mut bytes, 0, &proof);
        let (_, proven) = challenging.handle_proof(&head(&bytes), token()).unwrap();
        Candidate {
            join,
            client: ClientId::new("a").unwrap(),
            proven,
        }
    }

    fn drain(table: &mut Table) -> Vec<Action> {
        std::iter::from_fn(|| table.poll_action()).collect()
    }

    fn denied(actions: &[Action]) -> Vec<JoinId> {
        let denied = |action: &Action| match action {
            Action::Deny(join, ..) => Some(*join),
            _ => None,
        };
        actions.iter().filter_map(denied).collect()
    }

    #[test]
    fn the_holder_keeps_its_id_while_it_answers_and_loses_it_when_it_does_not() {
        let now = time::now();
        let mut table = Table::new(9, Options::default());
        table.handle_join(now, candidate(1, None));
        let first = Epoch::new(9, 1);
        assert_eq!(drain(&mut table), [Action::Admit(1, first)]);

        table.handle_join(now, candidate(2, None));
        assert_eq!(drain(&mut table), [Action::Probe(first)]);
        table.handle_join(now, candidate(3, None));
        assert_eq!(denied(&drain(&mut table)), [3], "one contest at a time");
        table.handle_answered(first);
        assert_eq!(denied(&drain(&mut table)), [2]);

        table.handle_join(now, candidate(4, None));
        drain(&mut table);
        table.handle_timeout(table.poll_timeout().unwrap());
        let evicted = Action::Evict {
            epoch: first,
            silent: true,
            reason: "taken_over",
        };
        assert_eq!(drain(&mut table), [evicted, Action::Admit(4, Epoch::new(9, 2))]);
        table.handle_lost(first, false, "closed");
        assert_eq!(
            drain(&mut table),
            [],
            "what the old one left behind cannot unregister the new one"
        );
    }

    #[test]
    fn the_same_process_takes_over_at_once_and_its_contender_is_answered() {
        let now = time::now();
        let mut table = Table::new(9, Options::default());
        let holder = candidate(1, None);
        let key = holder.proven.link_key();
        table.handle_join(now, holder);
        table.handle_join(now, candidate(2, None));
        drain(&mut table);
        table.handle_join(now, candidate(3, Some(&key)));
        let actions = drain(&mut table);
        assert_eq!(denied(&actions), [2]);
        assert!(actions.contains(&Action::Admit(3, Epoch::new(9, 2))));
    }

    #[test]
    fn a_connection_is_claimed_for_the_purpose_of_its_ticket() {
        let now = time::now();
        let mut table = Table::new(9, Options::default());
        let first = candidate(1, None);
        let key = first.proven.link_key();
        table.handle_join(now, first);
        let epoch = Epoch::new(9, 1);
        let ticket = ProxyConnId::new([1; 16]);
        assert_eq!(table.issue(now, epoch, (Purpose::Link, 1), || ticket), [ticket]);
        let mut claim = |purpose, proved| {
            let mac = key.conn_proof(proved, epoch, ticket);
            table.claim(now, ("a", epoch), (purpose, ticket), &mac)
        };
        let (link, proxy) = (Purpose::Link, Purpose::Proxy);
        assert_eq!(claim(proxy, proxy), Err(ClaimError::Ticket));
        assert_eq!(claim(proxy, link), Err(ClaimError::Ticket));
        assert_eq!(claim(link, proxy), Err(ClaimError::Proof));
        assert_eq!(claim(link, link), Ok(key.ready_proof(link, epoch, ticket)));
        assert_eq!(
            claim(link, link),
            Err(ClaimError::Ticket),
            "it is good for one connection"
        );
        assert_eq!(table.issue(now, epoch, (link, 1), || ticket), [ticket]);
        assert_eq!(table.handle_ticket_failed(epoch, ticket), Some(link));
        assert_eq!(table.handle_ticket_failed(epoch, ticket), None);
    }

    #[test]
    fn nobody_is_admitted_to_a_server_that_drains() {
        let now = time::now();
        let mut table = Table::new(9, Options::default());
        table.handle_join(now, candidate(1, None));
        table.handle_join(now, candidate(2, None));
        drain(&mut table);
        table.close();
        table.handle_join(now, candidate(3, None));
        table.handle_lost(Epoch::new(9, 1), false, "closed");
        assert_eq!(denied(&drain(&mut table)), [3, 2]);
        assert!(table.is_empty());
    }
}
