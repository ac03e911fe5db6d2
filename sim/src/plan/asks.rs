//! What some requests have besides what all have: an answer of which only the head is wanted, cookies, a chain of proxies,
//! interim answers, a deadline, trailers, pauses; and heads that an entry has to refuse.

use rand::{RngExt, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::{
    Manner, Millis, Plan, Purpose, Visit,
    web::{Call, Kind, Version, Web},
};
use crate::{payload::When, web::chain::CHAINS};

/// What a request has besides what all have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Extras {
    /// Only the head of the answer is asked for (HEAD).
    #[serde(skip_serializing_if = "is_default")]
    pub head: bool,
    /// The rule of the request has no plugins.
    #[serde(skip_serializing_if = "is_default")]
    pub plain: bool,
    /// Header fields that the cookie comes in; 0 is no cookie.
    #[serde(skip_serializing_if = "is_default")]
    pub crumbs: usize,
    /// Which of [`CHAINS`] a visitor brings that the entry trusts.
    #[serde(skip_serializing_if = "is_default")]
    pub chain: usize,
    /// Interim answers before the answer, and the pause after each.
    #[serde(skip_serializing_if = "is_default")]
    pub hints: u64,
    #[allow(missing_docs, reason = "see above")]
    #[serde(skip_serializing_if = "is_default")]
    pub hint_pause_ms: Millis,
    /// The body is not sent before the entry has said 100.
    #[serde(skip_serializing_if = "is_default")]
    pub expects: bool,
    /// How long a call of gRPC may take; 0 is for ever.
    #[serde(skip_serializing_if = "is_default")]
    pub timeout_ms: Millis,
    /// The request's body has trailers.
    #[serde(skip_serializing_if = "is_default")]
    pub trailers: bool,
    /// The upstream pauses after the first and the second third of its answer.
    #[serde(skip_serializing_if = "is_default")]
    pub pause_ms: Millis,
    /// The head of the request comes in pieces and takes so long.
    #[serde(skip_serializing_if = "is_default")]
    pub head_ms: Millis,
    /// The request says how long its body is, and that it is chunked: which of the spellings, counted from 1; 0 is not.
    #[serde(skip_serializing_if = "is_default")]
    pub framed_twice: usize,
    /// The request offers to go on over HTTP/2, which nobody takes up.
    #[serde(skip_serializing_if = "is_default")]
    pub offers: bool,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// How an entry waits for the head of a request: docs/http.md.
pub const HEAD_TIMEOUT_MS: Millis = 10_000;

/// A length and an encoding, as some spell them.
pub const FRAMED_TWICE: [[(&str, &str); 2]; 4] = [
    [("Content-Length", "5"), ("Transfer-Encoding", "chunked")],
    [("Transfer-Encoding", "chunked"), ("Content-Length", "5")],
    [("content-length", "0"), ("transfer-encoding", "chunked")],
    [("CONTENT-LENGTH", " 5"), ("TRANSFER-ENCODING", "Chunked")],
];

impl Extras {
    /// What these make a request take longer, at most.
    pub fn takes_ms(&self) -> Millis {
        2 * self.pause_ms + self.hints * self.hint_pause_ms + self.head_ms
    }

    /// Whether the visitor writes the request itself, byte by byte.
    pub fn is_written_by_hand(&self) -> bool {
        self.expects || self.head_ms > 0 || self.framed_twice > 0
    }

    /// Whether the entry has to refuse the request, or to give up waiting for it.
    pub fn must_be_refused(&self) -> bool {
        self.framed_twice > 0 || self.head_ms > HEAD_TIMEOUT_MS
    }
}

/// How long an answer may pause, where an entry limits it.
const IDLE_MS: Millis = 6_000;

/// A pause that is shorter, two of which are not; and one that is longer.
const PAUSES_MS: [Millis; 2] = [3_500, 13_000];

/// A pause after an interim answer: two are longer than some have for their answer, one and a delay are not.
const HINT_PAUSE_MS: Millis = 2_500;

/// Draws whom the entry trusts, how long an answer may pause, and what some requests have besides.
pub(super) fn extras(plan: &mut Plan) {
    let rng = &mut Purpose::Extras.rng(plan.seed);
    let Some(mut web) = plan.web.clone() else {
        return;
    };
    web.trusted = (0..plan.visitors.len())
        .filter(|_| rng.random_bool(0.3))
        .collect();
    web.answer_idle_ms = *[0, IDLE_MS].choose(rng).expect("some");
    for (n, visits) in plan.visitors.iter_mut().enumerate() {
        for visit in visits {
            let trusted = web.trusted.contains(&n);
            extra(visit, &web, trusted, rng);
        }
    }
    plan.web = Some(web);
}

fn extra(visit: &mut Visit, web: &Web, trusted: bool, rng: &mut ChaCha8Rng) {
    let Some(mut call) = visit.call else {
        return;
    };
    let mut extras = Extras {
        chain: if trusted {
            rng.random_range(0..CHAINS.len())
        } else {
            0
        },
        plain: rng.random_bool(0.3),
        ..Extras::default()
    };
    if call.version == Version::H2 && rng.random_bool(0.3) {
        extras.crumbs = rng.random_range(1..=4);
    }
    let patient = visit.manner == Manner::Plain && visit.stall_ms == 0 && visit.read_pause_ms == 0;
    match call.kind {
        Kind::Get | Kind::Put | Kind::Post if call.version == Version::H2 && rng.random_bool(0.1) => {
            call.kind = Kind::WebSocket;
        }
        Kind::Get => get(visit, call, &mut extras, rng),
        Kind::Put | Kind::Post => upload(visit, call, &mut extras, rng),
        Kind::Grpc if patient => deadline(visit, &mut extras, rng),
        _ => {}
    }
    let hinted = call.version == Version::H1
        && web.upstream != Some(Version::H2)
        && matches!(call.kind, Kind::Get | Kind::Put | Kind::Post);
    if hinted && !extras.must_be_refused() && rng.random_bool(0.3) {
        (extras.plain, extras.hints) = (true, rng.random_range(1..=3));
        extras.hint_pause_ms = *[0, 5, HINT_PAUSE_MS].choose(rng).expect("some");
        if extras.hint_pause_ms == HINT_PAUSE_MS {
            visit.delay_ms = visit.delay_ms.min(1_000);
        }
    }
    let whole = matches!(call.kind, Kind::Get | Kind::Put | Kind::Post | Kind::Grpc) && !extras.head;
    if whole && patient && extras.timeout_ms == 0 && extras.hint_pause_ms < 1_000 && rng.random_bool(0.05) {
        visit.reply_len = visit.reply_len.max(3);
        extras.pause_ms = *PAUSES_MS.choose(rng).expect("some");
    }
    let bare = Extras {
        chain: extras.chain,
        plain: extras.plain,
        head: extras.head,
        ..Extras::default()
    };
    let alone = matches!(call.kind, Kind::Get | Kind::Put | Kind::Post) && extras == bare;
    extras.offers = call.version == Version::H1 && alone && rng.random_bool(0.3);
    call.extras = extras;
    visit.call = Some(call);
}

fn get(visit: &mut Visit, call: Call, extras: &mut Extras, rng: &mut ChaCha8Rng) {
    let raw = call.version == Version::H1 && visit.manner == Manner::Plain;
    match rng.random_range(0..20) {
        0..=4 => extras.head = true,
        5..=6 if raw => {
            extras.framed_twice = rng.random_range(1..=FRAMED_TWICE.len());
        }
        7 if raw => extras.head_ms = *[4_000, 7_000, 16_000].choose(rng).expect("some"),
        _ => {}
    }
    if extras.is_written_by_hand() {
        visit.stall_ms = 0;
    }
}

fn upload(visit: &mut Visit, call: Call, extras: &mut Extras, rng: &mut ChaCha8Rng) {
    let plain = visit.manner == Manner::Plain && visit.stall_ms == 0 && visit.hold_ms == 0;
    match rng.random_range(0..10) {
        0..=1 => extras.trailers = true,
        2..=3 if plain && call.version == Version::H1 => {
            extras.expects = true;
            visit.when = When::AfterRequest;
            visit.len = visit.len.max(1);
        }
        _ => {}
    }
}

/// Some calls are answered in time, some begin to be too late, and some end too late.
fn deadline(visit: &mut Visit, extras: &mut Extras, rng: &mut ChaCha8Rng) {
    if rng.random_bool(0.5) {
        return;
    }
    extras.timeout_ms = match rng.random_range(0..4) {
        0 => 1_000 * rng.random_range(1..=3),
        _ => rng.random_range(400..4_000),
    };
    // A visitor that goes on with its body behind the answer is not late.
    visit.piece_pause_ms = 0;
    if visit.hold_ms > 0 {
        visit.when = When::AfterRequest;
    }
    let late_ms = extras.timeout_ms + rng.random_range(500..1_500);
    match rng.random_range(0..3) {
        0 => visit.delay_ms = late_ms,
        1 => {
            visit.reply_len = visit.reply_len.clamp(3, 16 * 1024);
            extras.pause_ms = late_ms;
        }
        _ => {}
    }
}
