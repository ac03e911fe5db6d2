//! What visitors do, as it is drawn.

use rand::{Rng, RngExt};
use rand_chacha::ChaCha8Rng;

use super::{Manner, Millis, Purpose, Visit};
use crate::payload::When;

/// Longer than a reader may pause to keep its window.
pub(super) const LULL_MS: Millis = 5_500;

/// Now and then somebody stops reading in the middle of more than a window holds: the visitor, or its upstream. Or the visitor
/// says two windows at once, and goes on after a lull that is too long for a reader.
pub(super) fn stall(rng: &mut ChaCha8Rng, visit: &mut Visit, window: u64) {
    let (much, ms) = (4 * window, 100 * rng.random_range(10..80));
    match rng.random_range(0..30) {
        0 if visit.stall_ms == 0 => (visit.stall_ms, visit.reply_len) = (ms, visit.reply_len.max(much)),
        // Whoever is answered before all was read may be gone long before the upstream goes on.
        1 if visit.when != When::AfterHeader => {
            (visit.hold_ms, visit.len) = (ms, visit.len.max(much));
            (visit.piece, visit.piece_pause_ms) = (PIECE, 0);
        }
        2 if visit.hold_ms == 0 => {
            visit.len = visit.len.max(much);
            (visit.piece, visit.piece_pause_ms) = (visit.len.div_ceil(2) as usize, LULL_MS + ms / 2);
        }
        _ => {}
    }
}

/// A visit of somebody: whose, and which.
type Place = (usize, usize);

fn some(rng: &mut ChaCha8Rng, visitors: &[Vec<Visit>]) -> Option<(Place, Visit)> {
    let visitor = rng.random_range(0..visitors.len());
    let nth = rng.random_range(0..visitors[visitor].len().clamp(1, 60));
    let visit = visitors[visitor].get(nth)?;
    Some(((visitor, nth), visit.clone()))
}

/// Some come in a crowd, all at once, and some stay for more than a minute and go on slowly.
pub(super) fn crowds(rng: &mut ChaCha8Rng, visitors: &mut [Vec<Visit>], (at_once, most): (usize, u64)) {
    let all = [crowd(rng, visitors, at_once), long(rng, visitors, most)];
    for ((visitor, nth), visit) in all.into_iter().flatten() {
        visitors[visitor][nth] = visit;
    }
}

impl Visit {
    /// The same, without any pause of the visitor's, or of who does not read.
    pub fn without_pauses(self) -> Self {
        Self {
            piece_pause_ms: 0,
            read_pause_ms: 0,
            stall_ms: 0,
            hold_ms: 0,
            mute_ms: 0,
            ..self
        }
    }
}

/// Now and then up to so many come in a crowd.
pub(super) fn come_at_once(seed: u64, visitors: &mut [Vec<Visit>], at_once: usize) {
    if let Some(((visitor, nth), visit)) = crowd(&mut Purpose::Crowds.rng(seed), visitors, at_once) {
        visitors[visitor][nth] = visit;
    }
}

fn crowd(rng: &mut ChaCha8Rng, visitors: &[Vec<Visit>], at_once: usize) -> Option<(Place, Visit)> {
    if !rng.random_ratio(1, 6) {
        return None;
    }
    let (place, visit) = some(rng, visitors)?;
    let crowd = Visit {
        len: rng.random_range(0..200),
        reply_len: rng.random_range(0..200),
        piece: PIECE,
        at_once: rng.random_range(at_once / 4..=at_once),
        ..visit.without_pauses()
    };
    Some((place, crowd))
}

fn long(rng: &mut ChaCha8Rng, visitors: &[Vec<Visit>], most: u64) -> Option<(Place, Visit)> {
    if !rng.random_ratio(1, 3) {
        return None;
    }
    let (place, visit) = some(rng, visitors)?;
    let steps = rng.random_range(60..80);
    let pause_ms = 1_000;
    let manner = match visit.manner {
        Manner::Plain | Manner::HalfClose | Manner::ReadFirst => visit.manner,
        _ => Manner::HalfClose,
    };
    let long = Visit {
        stall_ms: 0,
        hold_ms: 0,
        mute_ms: 0,
        manner,
        ..visit
    };
    let long = match rng.random_bool(0.5) && steps * 1_024 <= most {
        true => Visit {
            reply_len: steps * 1_024,
            read_pause_ms: pause_ms,
            ..long
        },
        false => Visit {
            len: steps * 10,
            piece: 10,
            piece_pause_ms: pause_ms,
            ..long
        },
    };
    Some((place, long))
}

/// In one seed of four one visit in twelve says nothing at first: for so long that a warm stream may be ended by whoever it leads
/// to, and longer than a start may take.
pub(super) fn fall_silent(seed: u64, visitors: &mut [Vec<Visit>]) {
    let mut rng = Purpose::Mute.rng(seed);
    if !rng.random_ratio(1, 4) {
        return;
    }
    for visit in visitors.iter_mut().flatten() {
        if visit.manner != Manner::ReadFirst && rng.random_ratio(1, 12) {
            visit.mute_ms = rng.random_range(6_000..14_000);
        }
    }
}

/// Bytes per write of a visitor that does not dawdle.
pub const PIECE: usize = 16 * 1024;

/// What each visitor does; the pause between two visits is so long on average, in ms.
pub(super) fn visitors(
    seed: u64,
    count: usize,
    groups: usize,
    pause_ms: Millis,
    for_ms: Millis,
) -> Vec<Vec<Visit>> {
    let each = |n| {
        let mut rng = Purpose::Visitor(n).rng(seed);
        // More than fit: a visitor does as many as it can before the last.
        (0..for_ms / pause_ms)
            .map(|_| visit(&mut rng, groups, pause_ms))
            .collect()
    };
    (0..count).map(each).collect()
}

fn visit(rng: &mut ChaCha8Rng, groups: usize, pause_ms: Millis) -> Visit {
    let manner = match rng.random_range(0..40) {
        0..16 => Manner::Plain,
        16..26 => Manner::HalfClose,
        26..33 => Manner::ReadFirst,
        33..35 => Manner::Leave,
        35..37 => Manner::Reset,
        _ => Manner::Quit {
            after_ms: rng.random_range(0..1_000),
        },
    };
    let when = match rng.random_range(0..4) {
        0 => When::AfterHeader,
        1 if manner == Manner::HalfClose => When::AfterEof,
        _ => When::AfterRequest,
    };
    let len = length(rng);
    // Now and then a reader stops for longer than a connection may be silent, with more to come than all
    // buffers on the way hold.
    let stall_ms = if rng.random_ratio(1, 60) {
        rng.random_range(26_000..32_000)
    } else {
        0
    };
    let reply_len = if stall_ms > 0 { 600_000 } else { length(rng) };
    let slow = rng.random_ratio(1, 10);
    let tenth = usize::try_from(len / 10).unwrap_or(usize::MAX).max(1);
    let (piece, piece_pause_ms) = if slow {
        (tenth, rng.random_range(20..200))
    } else {
        (PIECE, 0)
    };
    let long = rng.random_ratio(1, 10);
    Visit {
        pause_ms: rng.random_range(1..2 * pause_ms),
        group: rng.random_range(0..groups),
        len,
        reply_len,
        when,
        delay_ms: rng.random_range(0..if long { 3_000 } else { 60 }),
        piece,
        piece_pause_ms,
        read_pause_ms: if rng.random_ratio(1, 15) {
            rng.random_range(5..60)
        } else {
            0
        },
        stall_ms,
        hold_ms: 0,
        mute_ms: 0,
        manner,
        at_once: 1,
        call: None,
    }
}

/// Mostly small, now and then beyond what is kept for replay.
fn length(rng: &mut impl Rng) -> u64 {
    match rng.random_range(0..40) {
        0..22 => rng.random_range(0..200),
        22..34 => rng.random_range(200..16_384),
        34..38 => rng.random_range(16_384..80_000),
        _ => rng.random_range(65_536..200_000),
    }
}
