//! A world of an HTTP entry: what its upstreams are like, what visitors ask, and what is drawn of a seed for both.

use rand::{RngExt, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::{
    Manner, Millis, Plan, Purpose, Visit,
    asks::{Extras, extras},
    disk, draw,
    knobs::Knobs,
    steady, strangers,
    visits::{LULL_MS, come_at_once},
};
use crate::{
    fault::{
        AnyAct, Fault,
        upstream::{Ail, Shut},
    },
    payload::When,
    upstream::Mood,
};

/// An HTTP entry, and the upstreams behind it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Web {
    /// What its rules say that upstreams speak; without it gRPC goes over HTTP/2 and all else over HTTP/1.
    pub upstream: Option<Version>,
    /// How long an upstream keeps a connection on which nothing is asked; 0 is for ever.
    pub idle_ms: Millis,
    /// How long an upstream may take to begin its answer, and a visitor to go on with its request's body.
    pub first_byte_ms: Millis,
    /// An upstream of HTTP/2 turns away one stream in so many; 0 is none.
    pub refuses_one_in: u64,
    /// The visitors whom the entry takes for proxies that it trusts.
    pub trusted: Vec<usize>,
    /// How long an answer may pause; 0 is for ever.
    pub answer_idle_ms: Millis,
}

/// A version of HTTP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Version {
    /// HTTP/1.1.
    #[default]
    H1,
    /// HTTP/2 without TLS.
    H2,
}

/// A visit as a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Call {
    /// What is asked.
    pub kind: Kind,
    /// What the visitor speaks.
    pub version: Version,
    /// It goes over the connection of the visitor's request before, if there still is one.
    pub keeps: bool,
    /// The request does not say how long its body is.
    pub chunked: bool,
    /// The request logs its upstream's connection in, as NTLM and Negotiate do.
    pub logs_in: bool,
    /// The request says that it comes from elsewhere, in every way that servers believe.
    pub forges: bool,
    /// What it has besides.
    #[serde(skip_serializing_if = "is_plain")]
    pub extras: Extras,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
fn is_plain(extras: &Extras) -> bool {
    *extras == Extras::default()
}

/// What is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// GET, without a body.
    #[default]
    Get,
    /// GET, and another behind it on the same connection before the first is answered.
    Pipelined,
    /// PUT: it may be made twice.
    Put,
    /// POST: it may not.
    Post,
    /// A call of gRPC, with trailers.
    Grpc,
    /// A WebSocket; what passes then is what passes on a connection of TCP.
    WebSocket,
}

impl Call {
    /// Whether it is a WebSocket over HTTP/2 (RFC 8441).
    pub fn is_extended(self) -> bool {
        self.kind == Kind::WebSocket && self.version == Version::H2
    }

    /// Whether the request may be made twice.
    pub fn may_repeat(self) -> bool {
        matches!(
            self.kind,
            Kind::Get | Kind::Pipelined | Kind::Put | Kind::WebSocket
        )
    }
}

/// The most requests that a visitor makes at once.
const CROWD: usize = 60;

/// A time to answer that a slow upload outlasts.
const SOON_MS: Millis = 5_000;

/// The longest body of a request that has to be answered that soon.
const SHORT: u64 = 16 * 1024;

/// Pieces of a slow upload, at least.
const PIECES: u64 = 10;

/// A world of an HTTP entry: that of chaos, whose visitors ask by HTTP.
pub(super) fn web(seed: u64) -> Plan {
    let mut rng = Purpose::Web.rng(seed);
    let mut plan = draw::tunnel(seed);
    "web".clone_into(&mut plan.scenario);
    plan.web = Some(Web {
        upstream: *[None, None, Some(Version::H1), Some(Version::H2)]
            .choose(&mut rng)
            .expect("some"),
        // For ever would be for ever where a machine has lost power at the other end.
        idle_ms: *[1_500, 6_000, 20_000].choose(&mut rng).expect("some"),
        first_byte_ms: *[SOON_MS, SOON_MS, 30_000, 60_000].choose(&mut rng).expect("some"),
        refuses_one_in: *[0, 0, 5, 20].choose(&mut rng).expect("some"),
        ..Web::default()
    });
    roomy(&mut plan.knobs);
    come_at_once(seed, &mut plan.visitors, CROWD);
    // An upstream connection is kept for a while after its last request.
    plan.last_visit_ms -= 8_000;
    let speech = plan.web.as_ref().and_then(|web| web.upstream);
    for visits in &mut plan.visitors {
        let version = *[Version::H1, Version::H2].choose(&mut rng).expect("some");
        for visit in visits {
            if visit.piece_pause_ms >= LULL_MS {
                // An entry waits for 5 s for more of a body.
                visit.piece_pause_ms = 0;
            }
            ask(visit, version, speech, &mut rng);
        }
    }
    let mut rng = Purpose::Asking.rng(seed);
    let is_soon = plan.web.as_ref().is_some_and(|web| web.first_byte_ms == SOON_MS);
    for visit in plan.visitors.iter_mut().flatten() {
        vary(visit, is_soon, &mut rng);
    }
    if steady::asks_on(&mut plan) {
        return plan;
    }
    if rng.random_bool(0.1) {
        only_services(&mut plan, &mut rng);
    } else if rng.random_bool(0.1) {
        only_doors(&mut plan, &mut rng);
        return plan;
    }
    extras(&mut plan);
    disk::fill(seed, &mut plan);
    strangers::linger(seed, &mut plan);
    strangers::examine(seed, &mut plan);
    strangers::watch(seed, &mut plan);
    plan
}

/// Nothing but services is in trouble, one after another: what the entry does about each is seen undisturbed. One hangs and
/// another refuses, both for long; or one refuses after the other, for as long as it takes to be found out.
fn only_services(plan: &mut Plan, rng: &mut ChaCha8Rng) {
    let is_long = rng.random_bool(0.5);
    let (lasts_ms, pause_ms) = match is_long {
        true => (15_000..18_000, 5_000..8_000),
        false => (1_000..3_000, 3_000..5_000),
    };
    let mut from_ms = 6_000;
    let mut ail = |mood| {
        let upstream = rng.random_range(0..plan.clients.len());
        let to_ms = from_ms + rng.random_range(lasts_ms.clone());
        let fault = Fault {
            from_ms,
            to_ms: Some(to_ms),
            act: AnyAct::Ail(Ail { upstream, mood }),
        };
        from_ms = to_ms + rng.random_range(pause_ms.clone());
        fault
    };
    plan.faults = match is_long {
        true => vec![ail(Mood::Hangs), ail(Mood::Refuses)],
        false => (0..6).map(|_| ail(Mood::Refuses)).collect(),
    };
    if !is_long {
        plan.strangers.clear();
        for visits in &mut plan.visitors {
            visits.retain(|visit| visit.at_once == 1 && visit.stall_ms == 0);
            come_often(visits, rng);
        }
    }
}

/// Has those visits follow soon upon each other, again and again.
fn come_often(visits: &mut Vec<Visit>, rng: &mut ChaCha8Rng) {
    let often = visits.iter().cycle().take(OFTEN).map(|visit| Visit {
        pause_ms: rng.random_range(20..300),
        ..visit.clone()
    });
    *visits = often.collect();
}

/// Visits of each visitor that come one soon after another.
const OFTEN: usize = 400;

/// Nothing happens but that one door of a service after another is shut, while request follows upon request: what becomes of
/// the connections that are kept by it is seen undisturbed.
fn only_doors(plan: &mut Plan, rng: &mut ChaCha8Rng) {
    plan.knobs.spare_doors = true;
    plan.strangers.clear();
    let mut from_ms = 5_000;
    let mut shut = || {
        let act = AnyAct::Shut(Shut {
            upstream: rng.random_range(0..plan.clients.len()),
            spare: rng.random_bool(0.5),
        });
        let to_ms = from_ms + rng.random_range(8_000..10_000);
        let fault = Fault {
            from_ms,
            to_ms: Some(to_ms),
            act,
        };
        from_ms = to_ms + rng.random_range(1_000..2_000);
        fault
    };
    plan.faults = (0..4).map(|_| shut()).collect();
    for visits in &mut plan.visitors {
        visits.retain(|visit| {
            visit.call.is_some_and(|call| call.kind != Kind::WebSocket) && visit.stall_ms == 0
        });
        come_often(visits, rng);
    }
}

/// Varies how a request is made. `is_soon`: its upstream has to answer within [`SOON_MS`].
fn vary(visit: &mut Visit, is_soon: bool, rng: &mut ChaCha8Rng) {
    let (forges, slow, pause_ms) = (
        rng.random_bool(0.3),
        rng.random_bool(0.1),
        rng.random_range(700..1_000),
    );
    let Some(call) = &mut visit.call else {
        return;
    };
    call.forges = forges;
    if is_soon {
        visit.hold_ms = visit.hold_ms.min(SOON_MS / 2);
        if visit.hold_ms > 0 {
            // Both together have to be shorter.
            visit.delay_ms = visit.delay_ms.min(SOON_MS / 4);
        }
    }
    if !matches!(call.kind, Kind::Put | Kind::Post | Kind::Grpc) {
        return;
    }
    if is_soon {
        // What is on its way when a body has ended has to arrive in that time as well.
        visit.len = visit.len.min(SHORT);
    }
    if slow && visit.manner == Manner::Plain && visit.hold_ms == 0 {
        visit.len = visit.len.max(PIECES);
        visit.piece = usize::try_from(visit.len / PIECES).unwrap_or(usize::MAX);
        visit.piece_pause_ms = pause_ms;
    }
}

/// An HTTP entry needs more room than a session: heads are longer than a session's first words, a visitor's connection
/// counts besides those to upstreams, and these are kept.
fn roomy(knobs: &mut Knobs) {
    let calm = Knobs::default();
    knobs.kernel_buffer = knobs.kernel_buffer.max(4_096);
    knobs.window = knobs.window.max(4_096);
    knobs.max_streams = knobs.max_streams.max(64);
    knobs.pool_max = knobs.pool_max.max(64);
    knobs.sessions_max = calm.sessions_max;
    knobs.waiting_max = calm.waiting_max;
    knobs.replay_unacknowledged = calm.replay_unacknowledged;
    knobs.replay_bytes = calm.replay_bytes;
    if knobs.chop_one_in == 1 {
        // HTTP/2 has a frame for each piece, and takes too many of them for an attack.
        knobs.chop_to = knobs.chop_to.max(1_000);
    }
}

/// Makes a request of a visit.
fn ask(visit: &mut Visit, version: Version, speech: Option<Version>, rng: &mut ChaCha8Rng) {
    // Upgrades are HTTP/1's, and gRPC is HTTP/2's.
    let kinds: &[Kind] = match (version, speech) {
        (Version::H1, _) => &[
            Kind::Get,
            Kind::Pipelined,
            Kind::Put,
            Kind::Post,
            Kind::WebSocket,
            Kind::WebSocket,
        ],
        (Version::H2, Some(Version::H1)) => &[Kind::Get, Kind::Put, Kind::Post],
        (Version::H2, _) => &[Kind::Get, Kind::Put, Kind::Post, Kind::Grpc, Kind::Grpc],
    };
    let call = Call {
        kind: *kinds.choose(rng).expect("some"),
        version,
        keeps: rng.random_bool(0.7),
        chunked: rng.random_bool(0.5),
        logs_in: rng.random_bool(0.1),
        forges: false,
        extras: Extras::default(),
    };
    visit.call = Some(call);
    if call.kind == Kind::WebSocket {
        return;
    }
    if matches!(call.kind, Kind::Get | Kind::Pipelined) {
        visit.len = 0;
    }
    if call.kind == Kind::Pipelined {
        visit.manner = Manner::Plain;
        visit.stall_ms = 0;
    }
    // A request ends by itself.
    if matches!(visit.manner, Manner::HalfClose | Manner::ReadFirst) {
        visit.manner = Manner::Plain;
    }
    if visit.when == When::AfterEof {
        visit.when = When::AfterRequest;
    }
}
