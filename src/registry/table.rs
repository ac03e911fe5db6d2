//! Who is registered, who wants to be, and which tickets are out. Pure: it is told the time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{Options, tickets::Tickets};
use crate::{
    id::{ClientId, Epoch, GroupName, ProxyConnId, UpstreamName},
    probe::{AUDITS, audit, audit_eq, mutant, sometimes},
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
            holder if full && (holder.is_none() || mutant!("who-comes-back-needs-a-second-place")) => {
                self.deny(join, DenyCode::Overload, "too many clients");
            }
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
        let issued = client.map_or(Vec::new(), |client| {
            client.tickets.issue(now, purpose, count, fresh)
        });
        if AUDITS {
            let (all, different) = self.tickets_out();
            audit_eq!(all, different, "no two tickets are the same");
        }
        issued
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
        audit!(
            self.poll_timeout().is_none_or(|due| due > now),
            "a contest that is over is decided"
        );
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
        audit!(
            self.clients
                .values()
                .all(|client| client.epoch.counter() < self.next),
            "an epoch is given out once"
        );
        audit!(
            self.clients.iter().all(|(id, client)| client
                .contest
                .as_ref()
                .is_none_or(|(candidate, _)| candidate.client == *id)),
            "who contests an id wants that one"
        );
        audit!(
            self.clients.len() <= self.options.clients_max,
            "no more clients are registered than may be"
        );
    }

    /// Those who wait for the end of a contest.
    pub(super) fn contenders(&self) -> impl Iterator<Item = JoinId> {
        let contests = self.clients.values().filter_map(|client| client.contest.as_ref());
        contests.map(|(candidate, _)| candidate.join)
    }

    /// The registrations in force.
    pub(super) fn epochs(&self) -> impl Iterator<Item = &Epoch> {
        self.epochs.keys()
    }

    /// Whether nobody is admitted any more.
    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// How many tickets are out, and how many different ones.
    fn tickets_out(&self) -> (usize, usize) {
        let out = || self.clients.values().flat_map(|client| client.tickets.out());
        (out().count(), out().collect::<BTreeSet<_>>().len())
    }
}

#[cfg(test)]
mod tests;
