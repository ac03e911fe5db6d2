//! Plans with something taken away. Who is left closes the ranks, and what named somebody who is gone goes too.

use std::ops::Range;

use crate::{
    fault::Fault,
    plan::{Plan, hosts, who::Who},
};

/// Without some of the strangers.
pub fn without_strangers(plan: &Plan, range: Range<usize>) -> Plan {
    let mut plan = plan.clone();
    plan.strangers.drain(range);
    plan
}

/// Without some of the faults.
pub fn without_faults(plan: &Plan, range: Range<usize>) -> Plan {
    let mut plan = plan.clone();
    plan.faults.drain(range);
    plan
}

/// Without some of a visitor's visits. The next one waits for as long as they would have paused.
pub fn without_visits(plan: &Plan, visitor: usize, range: Range<usize>) -> Plan {
    let mut plan = plan.clone();
    let visits = &mut plan.visitors[visitor];
    let next = range.start;
    let paused: u64 = visits.drain(range).map(|visit| visit.pause_ms).sum();
    if let Some(next) = visits.get_mut(next) {
        next.pause_ms += paused;
    }
    plan
}

/// Without some of the visitors.
pub fn without_visitors(plan: &Plan, range: Range<usize>) -> Plan {
    let mut plan = plan.clone();
    plan.visitors.drain(range.clone());
    plan.faults = renamed(&plan.faults, |who| match who {
        Who::Visitor(n) => left(n, &range).map(Who::Visitor),
        other => Some(other),
    });
    plan
}

/// Without some of the clients, and the groups that only they serve.
pub fn without_clients(plan: &Plan, range: Range<usize>) -> Plan {
    let mut plan = plan.clone();
    plan.clients.drain(range.clone());
    plan.offers
        .retain_mut(|offer| move_down(Some(&mut offer.client), &range));
    plan.faults = renamed(&plan.faults, |who| match who {
        Who::Client(n) => left(n, &range).map(Who::Client),
        Who::Upstream(n) => left(n, &range).map(Who::Upstream),
        other => Some(other),
    });
    plan.strangers
        .retain_mut(|one| move_down(one.deed.client_mut(), &range));
    close_empty_groups(&mut plan);
    let groups = plan.groups();
    for visits in &mut plan.visitors {
        visits.retain(|visit| visit.group < groups);
    }
    plan.strangers
        .retain_mut(|one| one.deed.group_mut().is_none_or(|group| *group < groups));
    plan
}

/// Without some of the further upstreams of clients, and the groups that only they serve.
pub fn without_offers(plan: &Plan, range: Range<usize>) -> Plan {
    let mut plan = plan.clone();
    let groups = plan.groups();
    plan.offers.drain(range);
    for group in (plan.groups()..groups).rev() {
        close_group(&mut plan, group);
    }
    close_empty_groups(&mut plan);
    plan
}

fn close_empty_groups(plan: &mut Plan) {
    for group in (0..plan.groups()).rev() {
        if !(0..plan.clients.len()).any(|client| plan.serves(client, group)) {
            close_group(plan, group);
        }
    }
}

/// Takes away a group that nobody serves; those above it move down.
fn close_group(plan: &mut Plan, gone: usize) {
    let range = gone..gone + 1;
    for group in &mut plan.clients {
        *group = left(*group, &range).unwrap_or(*group);
    }
    for offer in &mut plan.offers {
        offer.group = left(offer.group, &range).unwrap_or(offer.group);
    }
    for visits in &mut plan.visitors {
        visits.retain_mut(|visit| move_down(Some(&mut visit.group), &range));
    }
    plan.strangers
        .retain_mut(|one| move_down(one.deed.group_mut(), &range));
}

/// Gives a number, if there is one, the place it has when those of `range` are gone. Whether it has one.
fn move_down(number: Option<&mut usize>, range: &Range<usize>) -> bool {
    let Some(number) = number else {
        return true;
    };
    match left(*number, range) {
        Some(lower) => {
            *number = lower;
            true
        }
        None => false,
    }
}

/// The number that `n` has when those of `range` are gone.
fn left(n: usize, range: &Range<usize>) -> Option<usize> {
    if n < range.start {
        Some(n)
    } else if range.contains(&n) {
        None
    } else {
        Some(n - range.len())
    }
}

/// The faults whose hosts are still there, under their new names.
fn renamed(faults: &[Fault], mut rename: impl FnMut(Who) -> Option<Who>) -> Vec<Fault> {
    let each = faults.iter().filter_map(|fault| {
        let act = hosts::renamed(&fault.act, &mut rename)?;
        Some(Fault { act, ..fault.clone() })
    });
    each.collect()
}
