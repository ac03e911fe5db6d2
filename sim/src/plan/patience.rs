//! Short patience: in some seeds the timeouts of the product are short, and some visits outlast them.

use rand::{RngExt, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;

use super::{Manner, Millis, Plan, Purpose, Visit, visits::PIECE};
use crate::payload::When;

/// The shortest time that a half-closed session gets, and the longest that is short.
const HALF_CLOSED_MS: (Millis, Millis) = (5_000, 15_000);

/// How long a byte may take on its way beside exchanges: a reader pauses, and its upstream thinks.
const UNDER_WAY_MS: Millis = 4_000;

/// Of so many visits one outlasts the time of a half-closed session.
const OUTLASTS_ONE_IN: u32 = 12;

/// Shortens timeouts in some seeds.
pub(super) fn shorten(seed: u64, plan: &mut Plan) {
    let mut rng = Purpose::Patience.rng(seed);
    if plan.forward.is_none() && rng.random_ratio(1, 5) {
        starts(&mut rng, plan);
    }
    if rng.random_ratio(1, 6) {
        half_closed(&mut rng, plan);
    }
}

/// Handshakes and starts get little time, as much as they need.
fn starts(rng: &mut ChaCha8Rng, plan: &mut Plan) {
    let exchange = plan.knobs.exchange_ms();
    let mut of = |all: &[Millis]| *all.choose(rng).expect("some");
    let knobs = &mut plan.knobs;
    knobs.handshake_timeout_ms = of(&[1_000, 2_000]).max(6 * exchange);
    knobs.answer_timeout_ms = of(&[100, 300, 1_000]);
    knobs.connect_timeout_ms = of(&[1_000, 2_000]).max(4 * exchange);
    knobs.start_timeout_ms = of(&[4_000, 6_000]).max(10 * exchange);
}

/// Reads of a visitor for what kernels on its way may hold, twice over.
const READS_HELD: Millis = 16;

/// Whether a half-closed session ends soon, or does from now on.
pub(super) fn ends_half_closed_soon(rng: &mut ChaCha8Rng, plan: &mut Plan) -> bool {
    let is_soon = |plan: &Plan| plan.knobs.half_closed_timeout_ms <= HALF_CLOSED_MS.1;
    if !is_soon(plan) {
        half_closed(rng, plan);
    }
    is_soon(plan)
}

/// A half-closed session ends soon, and some visits stay for longer: without a word, or going on in one direction.
fn half_closed(rng: &mut ChaCha8Rng, plan: &mut Plan) {
    let (least, most) = HALF_CLOSED_MS;
    let timeout = rng.random_range(least..=most);
    let timeout = timeout.max(4 * plan.knobs.exchange_ms() + UNDER_WAY_MS);
    if timeout > most {
        return;
    }
    plan.knobs.half_closed_timeout_ms = timeout;
    for visit in plan.visitors.iter_mut().flatten() {
        visit.stall_ms = visit.stall_ms.min(timeout / 3);
        // Whole tenths of a second.
        visit.hold_ms = visit.hold_ms.min(timeout / 300 * 100);
        // Behind its last piece its upstream may have ended.
        if visit.piece_pause_ms > timeout / 2 {
            visit.piece_pause_ms = 0;
        }
        // What kernels hold is read for as long as it takes, and nobody else sees that it moves.
        if visit.read_pause_ms * READS_HELD > timeout {
            visit.read_pause_ms = 0;
        }
        let lasts = matches!(visit.manner, Manner::Plain | Manner::HalfClose);
        if lasts && visit.at_once == 1 && rng.random_ratio(1, OUTLASTS_ONE_IN) {
            outlast(rng, visit, timeout);
        }
    }
}

fn outlast(rng: &mut ChaCha8Rng, visit: &mut Visit, timeout: Millis) {
    let longer = timeout + rng.random_range(5_000..10_000);
    let steps = longer / 1_000;
    *visit = Visit {
        len: rng.random_range(2..100),
        reply_len: rng.random_range(0..100),
        delay_ms: 0,
        piece: PIECE,
        ..visit.clone().without_pauses()
    };
    match rng.random_range(0..4) {
        // The visitor has ended, and its upstream thinks for too long.
        0 => {
            (visit.manner, visit.when) = (Manner::HalfClose, When::AfterRequest);
            visit.delay_ms = longer;
        }
        // The upstream has ended, and the visitor says nothing for too long.
        1 => {
            (visit.manner, visit.when) = (Manner::Plain, When::AfterHeader);
            visit.piece = usize::try_from(visit.len).unwrap_or(usize::MAX).div_ceil(2);
            visit.piece_pause_ms = longer;
        }
        // The upstream has ended, and the visitor goes on.
        2 => {
            (visit.manner, visit.when) = (Manner::Plain, When::AfterHeader);
            (visit.len, visit.piece, visit.piece_pause_ms) = (steps * 10, 10, 1_000);
        }
        // Nobody has ended, and nobody says anything.
        _ => {
            (visit.manner, visit.when) = (Manner::Plain, When::AfterRequest);
            visit.delay_ms = longer;
        }
    }
}

impl Visit {
    /// Whether one direction has ended, and nothing is said in the other for longer than a half-closed session may last.
    pub fn outlasts(&self, half_closed_timeout_ms: Millis) -> Option<Outlasts> {
        if self.call.is_some() || half_closed_timeout_ms > HALF_CLOSED_MS.1 {
            return None;
        }
        let longer = |ms| ms > half_closed_timeout_ms;
        match (self.manner, self.when) {
            (Manner::HalfClose, _) if longer(self.delay_ms) => Some(Outlasts::Upstream),
            (Manner::Plain, When::AfterHeader) if longer(self.piece_pause_ms) && self.len > 0 => {
                Some(Outlasts::Visitor)
            }
            _ => None,
        }
    }

    /// The same without a silence that no time is left for.
    pub(crate) fn in_time(&self, left_ms: Millis) -> Self {
        let mut visit = self.clone();
        if visit.delay_ms > UNDER_WAY_MS && visit.delay_ms > left_ms {
            visit.delay_ms = 0;
        }
        // A visitor that would not be through before the last visit hurries.
        let pauses_ms = visit.len / visit.piece.max(1) as u64 * visit.piece_pause_ms;
        if visit.piece_pause_ms > UNDER_WAY_MS && pauses_ms + UNDER_WAY_MS > left_ms {
            visit.piece_pause_ms = 0;
        }
        visit
    }
}

/// Who is silent for too long while the other has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outlasts {
    /// The upstream thinks.
    Upstream,
    /// The visitor pauses.
    Visitor,
}
