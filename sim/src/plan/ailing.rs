//! A service that ails to the end: it hangs, stops in the middle, or resets every connection.

use std::time::Duration;

use rand::{RngExt, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;

use super::{Manner, Millis, Plan, Purpose, patience};
use crate::{
    fault::{AnyAct, Fault, upstream::Ail},
    upstream::Mood,
};

/// In one seed of so many of chaos a service ails to the end, if its group can do without.
const ONE_IN: u32 = 8;

/// Of so many visits one says more than all buffers on its way hold, where they are small.
const SAYS_MORE_ONE_IN: u32 = 8;
const SMALL_LEN: usize = 16 * 1024;

/// When it begins.
const BEGINS_MS: (Millis, Millis) = (6_000, 45_000);

impl Plan {
    /// From when on the service of that client ails to the end, in a way that loses whoever comes there.
    pub fn ails_for_good(&self, client: usize) -> Option<Duration> {
        let fault = self.faults.iter().find(|fault| {
            let his = matches!(&fault.act, AnyAct::Ail(ail) if ail.upstream == client && ail.mood.loses());
            his && fault.to_ms.is_none()
        });
        fault.map(|fault| Duration::from_millis(fault.from_ms))
    }

    /// Whether some service does.
    pub fn has_lost_service(&self) -> bool {
        (0..self.clients.len()).any(|client| self.ails_for_good(client).is_some())
    }
}

/// Has a service ail to the end, if the seed says so.
pub(super) fn ail(seed: u64, plan: &mut Plan) {
    let mut rng = Purpose::Ailing.rng(seed);
    if !rng.random_ratio(1, ONE_IN) || plan.core().len() < plan.clients.len() {
        return;
    }
    let lost = rng.random_range(0..plan.clients.len());
    let mood = *[Mood::Hangs, Mood::Stalls, Mood::Resets, Mood::Resets]
        .choose(&mut rng)
        .expect("some");
    let asks = plan.knobs.probe_http && plan.knobs.probe_interval_ms > 0;
    let mood = match asks && rng.random_bool(0.5) {
        true => Mood::Unready,
        false => mood,
    };
    let groups: Vec<_> = plan.offers_of(lost).chain([plan.clients[lost]]).collect();
    let others =
        |group: &usize| (0..plan.clients.len()).any(|other| other != lost && plan.serves(other, *group));
    if !groups.iter().all(others) {
        return;
    }
    if mood.is_mute() {
        // A reset behind the end of a visitor's direction is not seen.
        if !patience::ends_half_closed_soon(&mut rng, plan) {
            return;
        }
        resets_only(plan);
        say_more(&mut rng, plan);
    }
    let from_ms = rng.random_range(BEGINS_MS.0..BEGINS_MS.1);
    // Nothing else happens to it from then on.
    plan.faults.retain(|fault| {
        !fault.act.troubles().clients.contains(&lost) || fault.to_ms.is_some_and(|to| to < from_ms)
    });
    plan.add_fault(Fault {
        from_ms,
        to_ms: None,
        act: AnyAct::Ail(Ail { upstream: lost, mood }),
    });
}

/// Has every visitor that leaves in the middle leave with a reset. Behind bytes that nobody takes an end is not seen, and
/// without a service that takes them such a session has no end.
fn resets_only(plan: &mut Plan) {
    for visit in plan.visitors.iter_mut().flatten() {
        if matches!(visit.manner, Manner::Leave | Manner::Quit { .. }) {
            visit.manner = Manner::Reset;
        }
    }
}

/// Has some visitors say so much that a service which takes none of it holds up everybody on the way.
fn say_more(rng: &mut ChaCha8Rng, plan: &mut Plan) {
    let knobs = &plan.knobs;
    // On a data link a window does the same.
    if knobs.has_links() || knobs.kernel_buffer > SMALL_LEN || knobs.chop_one_in == 1 {
        return;
    }
    let more = 8 * knobs.kernel_buffer as u64;
    for visit in plan.visitors.iter_mut().flatten() {
        let plain = visit.at_once == 1 && visit.piece_pause_ms == 0 && visit.hold_ms == 0;
        if plain && rng.random_ratio(1, SAYS_MORE_ONE_IN) {
            visit.len = visit.len.max(more);
        }
    }
}
