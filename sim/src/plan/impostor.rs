//! When somebody takes the server's place, as it is drawn.

use rand::{RngExt, seq::IndexedRandom};

use super::{Plan, Purpose};
use crate::fault::{
    AnyAct, Fault,
    impostor::{Imposture, Usurp},
};

/// In one seed of six the server dies, and for a while somebody else listens at its control port.
pub(super) fn usurp(seed: u64, plan: &mut Plan) {
    let mut rng = Purpose::Impostor.rng(seed);
    if !rng.random_ratio(1, 6) {
        return;
    }
    let how = *Imposture::ALL.choose(&mut rng).expect("some");
    let from_ms = rng.random_range(6_000..plan.heal_ms - 16_000);
    let lasts = plan.knobs.handshake_timeout_ms + rng.random_range(3_000..8_000);
    plan.add_fault(Fault {
        from_ms,
        to_ms: Some((from_ms + lasts).min(plan.heal_ms)),
        act: AnyAct::Usurp(Usurp { how }),
    });
}
