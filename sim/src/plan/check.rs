//! Whether a plan that somebody wrote can be run: what it names is there, and no run is bound to fail by it.

use super::{Intrusion, Manner, Millis, Plan, Visit, hosts, knobs::Knobs};
use crate::{fault::Fault, mutants, payload::When, upstream::FURTHER_DOORS};

impl Plan {
    /// Checks what its types cannot say.
    ///
    /// # Errors
    /// The first thing that is wrong, by its path in the plan file.
    pub fn check(&self) -> Result<(), String> {
        let groups = self.groups();
        match &self.forward {
            None => ensure(!self.clients.is_empty(), || "clients: there is none".to_owned())?,
            Some(forward) => {
                ensure(self.clients.is_empty() && self.strangers.is_empty(), || {
                    "clients: a forwarder has none, nor strangers".to_owned()
                })?;
                ensure(!forward.candidates.is_empty(), || {
                    "forward.candidates: there is none".to_owned()
                })?;
            }
        }
        for group in (0..groups).filter(|_| self.forward.is_none()) {
            ensure(
                (0..self.clients.len()).any(|client| self.serves(client, group)),
                || format!("clients: nobody serves group {group}, but somebody serves a higher one"),
            )?;
        }
        for (n, offer) in self.offers.iter().enumerate() {
            ensure(offer.client < self.clients.len(), || {
                format!(
                    "offers[{n}].client: there is no client number {}, counted from 0",
                    offer.client
                )
            })?;
            ensure(self.offers_of(offer.client).count() <= FURTHER_DOORS, || {
                format!("offers[{n}]: a client has at most {FURTHER_DOORS}")
            })?;
        }
        let ends = [("heal_ms", self.heal_ms), ("last_visit_ms", self.last_visit_ms)];
        for (name, at) in ends {
            ensure(at <= self.duration_ms, || {
                format!("{name}: {at} is later than duration_ms, {}", self.duration_ms)
            })?;
        }
        check_knobs(&self.knobs).map_err(|what| format!("knobs.{what}"))?;
        for (n, fault) in self.faults.iter().enumerate() {
            self.check_fault(fault)
                .map_err(|what| format!("faults[{n}].{what}"))?;
        }
        for (n, intrusion) in self.strangers.iter().enumerate() {
            self.check_intrusion(intrusion)
                .map_err(|what| format!("strangers[{n}].deed: {what}"))?;
        }
        for (n, visits) in self.visitors.iter().enumerate() {
            for (k, visit) in visits.iter().enumerate() {
                check_visit(visit, groups).map_err(|what| format!("visitors[{n}][{k}].{what}"))?;
            }
        }
        match &self.planted {
            Some(name) if mutants::table::name(name).is_none() => {
                Err(format!("planted: no planted bug is called {name:?}"))
            }
            _ => Ok(()),
        }
    }

    fn check_fault(&self, fault: &Fault) -> Result<(), String> {
        match fault.to_ms {
            Some(to) => {
                ensure(fault.from_ms <= to, || {
                    format!("to_ms: {to} is before from_ms, {}", fault.from_ms)
                })?;
                ensure(to <= self.heal_ms, || {
                    format!("to_ms: {to} is later than heal_ms, {}", self.heal_ms)
                })?;
            }
            None => ensure(fault.act.may_last(), || {
                format!("to_ms: {} has to be over at heal_ms", fault.act.name())
            })?,
        }
        let there = self.hosts();
        let lost = hosts::named(&fault.act)
            .into_iter()
            .find(|who| !there.contains(who));
        match lost {
            Some(who) => Err(format!("act: there is no {who}")),
            None => Ok(()),
        }
    }

    fn check_intrusion(&self, intrusion: &Intrusion) -> Result<(), String> {
        let mut deed = intrusion.deed;
        match deed.client_mut() {
            Some(client) if *client >= self.clients.len() => {
                return Err(format!("there is no client number {client}, counted from 0"));
            }
            _ => {}
        }
        match deed.group_mut() {
            Some(group) if *group >= self.groups() => Err(format!("nobody serves group {group}")),
            _ => Ok(()),
        }
    }
}

/// The longest that a request can ask its upstream to stop reading.
const HOLD_MAX_MS: Millis = 25_500;

fn check_knobs(knobs: &Knobs) -> Result<(), String> {
    let (least, most) = knobs.latency_ms;
    ensure(least <= most, || {
        format!("latency_ms: the least, {least}, is more than the most, {most}")
    })?;
    let positive = [
        ("mtu", u64::from(knobs.mtu)),
        ("kernel_buffer", knobs.kernel_buffer as u64),
        ("chop_to", knobs.chop_to as u64),
        ("heartbeat_ms", knobs.heartbeat_ms),
        ("missed_max", u64::from(knobs.missed_max)),
        ("pool_max", knobs.pool_max as u64),
        ("links", knobs.links as u64),
        ("max_streams", u64::from(knobs.max_streams)),
        ("window", u64::from(knobs.window)),
        ("ids_max", u64::from(knobs.ids_max)),
        ("sessions_max", knobs.sessions_max as u64),
        ("unproven_max", knobs.unproven_max as u64),
        ("clients_max", knobs.clients_max as u64),
        ("backoff_base_ms", knobs.backoff_base_ms),
        ("backoff_cap_ms", knobs.backoff_cap_ms),
    ];
    match positive.into_iter().find(|(_, value)| *value == 0) {
        Some((name, _)) => Err(format!("{name}: 0 leaves nothing to run")),
        None => Ok(()),
    }
}

fn check_visit(visit: &Visit, groups: usize) -> Result<(), String> {
    ensure(visit.hold_ms <= HOLD_MAX_MS, || {
        format!("hold_ms: {} is more than {HOLD_MAX_MS}", visit.hold_ms)
    })?;
    ensure(visit.group < groups, || {
        format!("group: nobody serves group {}", visit.group)
    })?;
    ensure(visit.piece > 0, || "piece: 0 bytes at once never end".to_owned())?;
    let waits = visit.when == When::AfterEof && matches!(visit.manner, Manner::Plain | Manner::ReadFirst);
    ensure(!waits, || {
        "when: the upstream waits for the end of a visitor that waits for the reply".to_owned()
    })
}

fn ensure(holds: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{
        Deed,
        draw::{SCENARIOS, scenario},
    };

    #[test]
    fn every_plan_of_every_scenario_can_be_run() {
        for scenario in SCENARIOS {
            for seed in 0..300 {
                let plan = (scenario.draw)(seed);
                assert_eq!(plan.check(), Ok(()), "{} {seed}", scenario.name);
            }
        }
    }

    #[test]
    fn what_is_wrong_is_named_by_its_path() {
        let check = |change: fn(&mut Plan), expected: &str| {
            let mut plan = (scenario("smoke").unwrap().draw)(1);
            change(&mut plan);
            let found = plan.check().unwrap_err();
            assert!(found.starts_with(expected), "{found:?} instead of {expected:?}");
        };
        check(|plan| plan.clients.clear(), "clients: there is none");
        check(|plan| plan.clients = vec![0, 2], "clients: nobody serves group 1");
        check(|plan| plan.heal_ms = 60_001, "heal_ms: 60001 is later");
        check(|plan| plan.knobs.latency_ms = (3, 2), "knobs.latency_ms: ");
        check(|plan| plan.knobs.chop_to = 0, "knobs.chop_to: 0");
        check(
            |plan| plan.faults[1].to_ms = Some(31_000),
            "faults[1].to_ms: 31000",
        );
        check(|plan| plan.clients.truncate(1), "faults[");
        check(|plan| plan.visitors[2][3].group = 1, "visitors[2][3].group: ");
        check(
            |plan| {
                plan.visitors[0][0].when = When::AfterEof;
                plan.visitors[0][0].manner = Manner::Plain;
            },
            "visitors[0][0].when: ",
        );
        check(|plan| plan.planted = Some("a-bee".to_owned()), "planted: ");
        check(
            |plan| {
                plan.strangers = vec![Intrusion {
                    at_ms: 1,
                    deed: Deed::DuplicateId { client: 3, for_ms: 1 },
                }];
            },
            "strangers[0].deed: there is no client number 3",
        );
    }
}
