//! A second server, with which all clients register as well. What befalls it concerns nobody who comes by way of the other.

use rand::RngExt;

use super::{Millis, Plan, Purpose, who::Who};
use crate::fault::{
    AnyAct, Fault,
    path::{Clog, Cut},
    process::{Crash, PowerLoss, Stop},
};

/// In one seed of so many of chaos, if no client is lost for good.
const ONE_IN: u32 = 5;

/// How often something befalls it, and for how long.
const TIMES: (u32, u32) = (1, 4);
const LASTS_MS: (Millis, Millis) = (1_000, 15_000);

/// Has clients register with a second server, too, if the seed says so.
pub(super) fn add(seed: u64, plan: &mut Plan) {
    let mut rng = Purpose::SecondServer.rng(seed);
    // Who is cut off from the first server for good is not from the second.
    if !rng.random_ratio(1, ONE_IN) || plan.registered().len() < plan.clients.len() {
        return;
    }
    plan.second_server = true;
    let who = Who::SecondServer;
    let (first, last) = (super::draw::FIRST_FAULT, plan.heal_ms.saturating_sub(LASTS_MS.1));
    for _ in 0..rng.random_range(TIMES.0..=TIMES.1) {
        let from_ms = rng.random_range(first..last.max(first + 1));
        let lasts = rng.random_range(LASTS_MS.0..LASTS_MS.1);
        let client = Who::Client(rng.random_range(0..plan.clients.len()));
        let between = (client, who);
        plan.add_fault(Fault {
            from_ms,
            to_ms: Some((from_ms + lasts).min(plan.heal_ms)),
            act: match rng.random_range(0..5) {
                0 => AnyAct::Crash(Crash { who }),
                1 => AnyAct::Stop(Stop { who }),
                2 => AnyAct::PowerLoss(PowerLoss { who }),
                3 => AnyAct::Cut(Cut { between, both: true }),
                _ => AnyAct::Clog(Clog { between, both: true }),
            },
        });
    }
}
