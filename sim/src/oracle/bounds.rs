//! Invariants 7, 8, 9 and 16: how much, and to whom.

use std::time::Duration;

use super::{Invariant, Model, rest::Rest};
use crate::{
    event::Event,
    fault::AnyAct,
    plan::{forward, who::Who},
};

/// 7: an address whose owner has died is free at once: a server finds its ports taken only by a fault.
pub struct Ports;

impl Invariant for Ports {
    fn number(&self) -> u8 {
        7
    }

    fn handle(&mut self, model: &Model, event: &Event) -> Option<String> {
        let Event::Stops {
            host: Who::Server,
            why,
        } = event
        else {
            return None;
        };
        let by_fault = model.plan.faults.iter().any(|fault| {
            let from = Duration::from_millis(fault.from_ms);
            let to = fault.to_ms.map_or(Duration::MAX, Duration::from_millis);
            matches!(fault.act, AnyAct::TakePorts(_)) && (from..=to).contains(&model.now)
        });
        (why.contains("address in use") && !by_fault)
            .then(|| format!("the server could not start again: {why}"))
    }
}

/// Fewer undisturbed sessions than this say nothing about balance.
const BALANCE_MIN: usize = 40;

/// 9: undisturbed sessions spread over the clients of a group as chance would spread them.
pub struct Balance;

impl Invariant for Balance {
    fn number(&self) -> u8 {
        9
    }

    fn handle_rest(&mut self, model: &Model, _: &Rest) -> Option<String> {
        // Where visitors are bound to targets, a few of them are no even shares; and who answers sooner may have more.
        let balance = model.plan.knobs.balance;
        if matches!(balance, forward::Balance::Hash | forward::Balance::PeakEwma) {
            return None;
        }
        for group in 0..model.plan.groups() {
            // Whoever ails for good is in the group, and whom it serves, if anybody, does not count.
            let members: Vec<_> = (model.plan.core().into_iter())
                .filter(|client| model.plan.serves(*client, group))
                .collect();
            let calm = model.sessions.values().filter(|session| {
                session.visit.group == group
                    && !session.was_exposed()
                    && !session.exposure.uneven
                    && session.exposure.sound_min >= members.len()
            });
            let mut shares = vec![0_usize; model.plan.clients.len()];
            for (_, greeting) in calm.filter_map(|session| session.greeted) {
                shares[usize::from(greeting.upstream)] += 1;
            }
            let total: usize = members.iter().map(|client| shares[*client]).sum();
            if members.len() < 2 || total < BALANCE_MIN {
                continue;
            }
            // Six standard deviations of a binomial share, and one for small numbers: about once in a hundred million, for
            // tens of thousands of seeds are looked at, some groups each.
            let targets = |client: usize| model.plan.targets_in(client, group);
            let all: usize = members.iter().map(|client| targets(*client)).sum();
            let odd = members.iter().find(|client| {
                let (n, p) = (total as f64, targets(**client) as f64 / all as f64);
                let most = n * p + 6.0 * (n * p * (1.0 - p)).sqrt() + 1.0;
                let least = n * p - 6.0 * (n * p * (1.0 - p)).sqrt() - 1.0;
                let share = shares[**client] as f64;
                share > most || share < least
            });
            if let Some(client) = odd {
                return Some(format!(
                    "{} had {} of {total} sessions: {shares:?}",
                    Who::Client(*client),
                    shares[*client]
                ));
            }
        }
        None
    }
}

/// 8: whatever is parked is there: no connection is shelved that is closed.
#[derive(Default)]
pub struct Shelved {
    /// Looks in a row at which there was less than was shelved.
    short: u32,
}

impl Invariant for Shelved {
    fn number(&self) -> u8 {
        8
    }

    fn handle_look(&mut self, model: &Model) -> Option<String> {
        if model.is_server_troubled() {
            // Of a server that is down nobody knows.
            self.short = 0;
            return None;
        }
        let sight = &model.sight;
        let shelved = sight.parked + sight.registered as i64 + sight.links;
        // News of an end may be under way between two actors.
        self.short = if shelved > sight.streams {
            self.short + 1
        } else {
            0
        };
        (self.short >= 3).then(|| {
            format!(
                "{} parked connections, {} links and {} data links, but {} streams",
                sight.parked, sight.registered, sight.links, sight.streams
            )
        })
    }
}

/// 16: limits hold at every moment.
pub struct Limits;

impl Invariant for Limits {
    fn number(&self) -> u8 {
        16
    }

    fn handle_look(&mut self, model: &Model) -> Option<String> {
        let (knobs, sight) = (&model.plan.knobs, &model.sight);
        // A client that comes back has two registrations, until the old one is wound up.
        let lives = if model.is_troubled() { 2 } else { 1 };
        let registered = lives * (model.plan.clients.len() + model.shams());
        // A data link that opens nothing more is there for as long as it carries something.
        let links = if knobs.has_links() {
            knobs.links * registered
        } else {
            0
        };
        let probes = match knobs.probe_interval_ms {
            0 => 0,
            _ => {
                lives
                    * model
                        .plan
                        .targets(&(0..model.plan.clients.len()).collect::<Vec<_>>())
            }
        };
        let links = links.saturating_add(knobs.sessions_max).saturating_add(probes);
        let streams = usize::try_from(sight.links).unwrap_or(0) * knobs.max_streams as usize;
        let limits = [
            ("sessions", sight.sessions, knobs.sessions_max),
            ("unproven connections", sight.unproven, knobs.unproven_max),
            ("bytes kept for replay", sight.replay_bytes, knobs.replay_bytes),
            (
                "connections parked",
                sight.parked,
                knobs.pool_max.saturating_mul(registered),
            ),
            ("data links", sight.links, links),
            ("streams on data links", sight.carried, streams),
        ];
        limits.into_iter().find_map(|(what, is, most)| {
            let over = is < 0 || usize::try_from(is).unwrap_or(usize::MAX) > most;
            over.then(|| format!("{is} {what}, at most {most} are allowed"))
        })
    }
}
