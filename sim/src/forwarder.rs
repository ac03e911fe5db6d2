//! The forwarder on its host: the production role, its list of candidates, and who reads its journal.

use std::{cell::RefCell, fmt::Write as _, net::SocketAddr, rc::Rc, time::Duration};

use adit::{
    candidates,
    config::{Candidates, Drain, ForwardConfig, ForwardLimits, GroupConfig, Logging},
    env::Env,
    pool, prober, role,
    selector::{
        self, Switching,
        actor::{ReadJournal, ReadStatus},
        health::{Evidence, State},
        journal::Decision,
        roster::Standing,
    },
    session,
};

use crate::{
    event::Event,
    node::{Node, PUBLIC_PORT, RESTART, any, millis},
    plan::{
        forward::{Choice, Forward},
        knobs::Knobs,
        who::Who,
    },
    upstream,
};

/// The file with the candidates.
const LIST: &str = "/etc/candidates";

/// Between two looks at the journal.
const LOOK: Duration = Duration::from_millis(250);

/// A host that runs a forwarder, through all of its lives. Cheap to clone.
#[derive(Clone)]
pub struct Forwarder {
    node: Node,
    forward: Rc<Forward>,
    /// How many faults keep each candidate off the list.
    unlisted: Rc<RefCell<Vec<i32>>>,
    /// By how much faults make each heavier.
    heavier: Rc<RefCell<Vec<i32>>>,
}

impl Forwarder {
    /// A forwarder that has never run; its list is written.
    pub fn new(node: Node, forward: Forward) -> Self {
        let forwarder = Self {
            node,
            unlisted: Rc::new(RefCell::new(vec![0; forward.candidates.len()])),
            heavier: Rc::new(RefCell::new(vec![0; forward.candidates.len()])),
            forward: Rc::new(forward),
        };
        forwarder.write();
        forwarder
    }

    /// Takes a candidate from the list for one reason more, or less.
    pub fn unlist(&self, candidate: usize, by: i32) {
        if let Some(reasons) = self.unlisted.borrow_mut().get_mut(candidate) {
            *reasons += by;
        }
        self.write();
    }

    /// Gives a candidate more weight, or less.
    pub fn reweigh(&self, candidate: usize, by: i32) {
        if let Some(weight) = self.heavier.borrow_mut().get_mut(candidate) {
            *weight += by;
        }
        self.write();
    }

    fn write(&self) {
        self.node.files.write(LIST, self.list());
    }

    fn list(&self) -> String {
        let mut text = String::new();
        let (unlisted, heavier) = (self.unlisted.borrow(), self.heavier.borrow());
        for (n, candidate) in self.forward.candidates.iter().enumerate() {
            if unlisted[n] > 0 {
                continue;
            }
            let host = Who::Upstream(n).to_string();
            let place = match candidate.named {
                true => host,
                false => self.node.addresses[&host].to_string(),
            };
            let weight = match candidate.weight.saturating_add_signed(heavier[n]) {
                0 => String::new(),
                weight => format!(" weight={weight}"),
            };
            // Writing to a string does not fail.
            let _ = writeln!(text, "{place}:{}{weight}", upstream::PORT);
        }
        text
    }

    /// Lives of the forwarder, until it has stopped as it was told to.
    pub async fn run(self) {
        loop {
            let env = self.node.begin();
            match self.live(env).await {
                Ok(()) => return self.node.finish(),
                // Its supervisor tries again.
                Err(error) => self.node.oracle.tell(Event::Stops {
                    host: self.node.who,
                    why: format!("{error:#}"),
                }),
            }
            adit::time::sleep(RESTART).await;
        }
    }

    async fn live(&self, env: Env) -> Result<(), role::StartError> {
        let forwarder = role::forward::Forwarder::bind(self.config(), env).await?;
        let (this, selector) = (self.clone(), forwarder.selector());
        let reader = tokio::task::spawn_local(async move {
            let (mut last, mut poor) = (None, (0, 0));
            loop {
                adit::time::sleep(LOOK).await;
                let Ok(decisions) = selector.send(ReadJournal).await else {
                    return;
                };
                this.read(&decisions, &mut last);
                let Ok(status) = selector.send(ReadStatus).await else {
                    return;
                };
                let is_poor = |state| {
                    matches!(
                        state,
                        State::Open(Evidence::Soft) | State::HalfOpen(Evidence::Soft)
                    )
                };
                let standings = || status.targets.iter().map(|one| &one.standing);
                let is_low = |one: &&Standing| one.low && one.state == State::Closed;
                let now = (
                    standings().filter(|one| is_poor(one.state)).count(),
                    standings().filter(is_low).count(),
                );
                if std::mem::replace(&mut poor, now) != now {
                    let ((poor, low), of) = (poor, status.targets.len());
                    this.node.oracle.tell(Event::Poor { poor, low, of });
                }
            }
        });
        forwarder.run().await;
        reader.abort();
        Ok(())
    }

    /// Tells the oracle what the journal says since the decision that was `last`.
    fn read(&self, decisions: &[Decision], last: &mut Option<Decision>) {
        let known = last
            .as_ref()
            .and_then(|last| decisions.iter().rposition(|one| one == last));
        for decision in &decisions[known.map_or(0, |at| at + 1)..] {
            self.tell(decision);
        }
        *last = decisions.last().cloned().or(last.take());
    }

    fn tell(&self, decision: &Decision) {
        let now = adit::time::now();
        let ago = now.saturating_duration_since(decision.at);
        let target = decision
            .target
            .as_deref()
            .and_then(|name| name.parse::<SocketAddr>().ok());
        let who = |target: SocketAddr| {
            let at = self.node.addresses.iter().find(|(_, ip)| **ip == target.ip());
            at.and_then(|(name, _)| name.parse::<Who>().ok())
        };
        self.node.oracle.tell(Event::Decides {
            ago_ms: u64::try_from(ago.as_millis()).unwrap_or(u64::MAX),
            target: target
                .map(|target| who(target).map_or_else(|| target.to_string(), |who| who.to_string())),
            change: decision.change,
            reason: decision.reason,
            members: decision.members,
            targets: decision.targets,
        });
    }

    fn config(&self) -> ForwardConfig {
        let (knobs, choice) = (&*self.node.knobs, &self.forward.choice);
        ForwardConfig {
            listen: any(PUBLIC_PORT),
            candidates: Candidates {
                inline: Vec::new(),
                file: Some(LIST.into()),
                listed: candidates::parse(&self.list(), LIST).expect("the list is written well"),
            },
            group: group(choice),
            session: session::Options {
                connect_timeout: millis(choice.connect_timeout_ms),
                start_timeout: millis(knobs.start_timeout_ms),
                half_closed_timeout: millis(knobs.half_closed_timeout_ms),
                ..session::Options::default()
            },
            limits: limits(knobs),
            admin: None,
            metrics: None,
            drain: Drain {
                delay: millis(knobs.drain_delay_ms),
                timeout: millis(knobs.drain_timeout_ms),
            },
            logging: Logging::default(),
            origin: None,
        }
    }
}

fn limits(knobs: &Knobs) -> ForwardLimits {
    ForwardLimits {
        sessions: knobs.sessions_max,
        waiting: knobs.waiting_max,
    }
}

fn group(choice: &Choice) -> GroupConfig {
    GroupConfig {
        balance: choice.balance.into(),
        probing: prober::Options {
            interval: millis(choice.probe_interval_ms),
            timeout: millis(choice.probe_timeout_ms),
            kind: if choice.http {
                prober::Kind::Http {
                    path: "/".to_owned(),
                    status: None,
                    host: None,
                }
            } else {
                prober::Kind::Tcp
            },
            ..prober::Options::default()
        },
        selector: selector::Options {
            evaluation_interval: millis(choice.evaluation_ms),
            active_set_size: (choice.active > 0).then_some(choice.active),
            switching: Switching {
                hysteresis: f64::from(choice.hysteresis_percent) / 100.0,
                min_dwell: millis(choice.dwell_ms),
                cooldown: millis(choice.cooldown_ms),
                hold_off: millis(choice.hold_off_ms),
            },
            slow_start: millis(choice.slow_start_ms),
            ..selector::Options::default()
        },
        pool: pool::Options {
            mode: if choice.pool_follows {
                pool::Mode::Dynamic
            } else {
                pool::Mode::Fixed
            },
            min: choice.pool_min,
            max: choice.pool_max,
            max_age: (choice.pool_age_ms > 0).then(|| millis(choice.pool_age_ms)),
            ..pool::Options::default()
        },
        ..GroupConfig::default()
    }
}
