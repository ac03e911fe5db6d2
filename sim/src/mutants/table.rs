//! Every planted bug, in the order of the places it stands in. `sim/tests/probes.rs` compares the list with the
//! source.

/// A mistake that is made when it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planted {
    /// Its name, as in `mutant!`.
    pub name: &'static str,
    /// What it breaks, in one sentence.
    pub breaks: &'static str,
}

/// Felt in too few runs to be searched for; the plans that find them are in `sim/regressions`.
const KEPT_AS_PLAN: [&str; 5] = [
    "last-words-not-waited-for",
    "ended-session-stops-reading",
    "visitor-reset-for-late-bytes",
    "slow-upgraded-visitor-not-answered-for",
    "half-closed-upgrade-not-answered-for",
];

/// The seeds that have found them, a line `name seed` each. `adit-sim mutants --afresh --record` writes it.
const KNOWN: &str = include_str!("known.txt");

/// The seed that is known to find it in its scenario.
pub fn known_seed(planted: &Planted) -> Option<u64> {
    known().find_map(|(name, seed)| (name == planted.name).then_some(seed))
}

/// Every bug of which such a seed is known.
pub fn known() -> impl Iterator<Item = (&'static str, u64)> {
    KNOWN.lines().filter_map(|line| {
        let (name, seed) = line.split_once(' ')?;
        Some((name, seed.parse().ok()?))
    })
}

/// Whether a search can be expected to find it.
pub fn is_searched(planted: &Planted) -> bool {
    !KEPT_AS_PLAN.contains(&planted.name)
}

/// The planted bug of that name, as the probe wants it.
pub fn name(name: &str) -> Option<&'static str> {
    all()
        .find(|planted| planted.name == name)
        .map(|planted| planted.name)
}

/// All of them, those of data links, of an HTTP entry and of the forwarder last.
pub fn all() -> impl Iterator<Item = &'static Planted> {
    PLANTED
        .iter()
        .chain(super::figures::PLANTED)
        .chain(super::mux::PLANTED)
        .chain(super::web::PLANTED)
        .chain(super::asks::PLANTED)
        .chain(super::forward::PLANTED)
        .chain(super::tunnel::PLANTED)
        .chain(super::outside::ANY)
        .chain(super::outside::WEB)
        .chain(super::groups::PLANTED)
}

/// The scenario in which a bug is searched for.
pub fn scenario(planted: &Planted) -> &'static str {
    if super::outside::ANY.contains(planted) {
        "any"
    } else if super::forward::PLANTED.contains(planted) {
        "forward"
    } else if super::outside::WEB.contains(planted)
        || super::web::PLANTED.contains(planted)
        || super::asks::PLANTED.contains(planted)
    {
        "web"
    } else {
        "chaos"
    }
}

/// Those of the tunnel.
pub const PLANTED: &[Planted] = &[
    // Relay: bytes and ends.
    Planted {
        name: "relay-loses-byte-when-read-fills-room",
        breaks: "A read that fills all the room there is loses its last byte.",
    },
    Planted {
        name: "relay-repeats-byte-after-partial-write",
        breaks: "The last byte of a partial write to the raw side is written again.",
    },
    Planted {
        name: "relay-takes-reset-for-end",
        breaks: "A raw side that resets is taken for one that ended, so its peer sees a clean end.",
    },
    Planted {
        name: "ended-session-stops-reading",
        breaks: "A session that waits for its last frames to be written does not hear that the slow reader lives.",
    },
    Planted {
        name: "relay-drops-half-close",
        breaks: "An ended direction is never ended on the raw side, so whoever waits for it hangs.",
    },
    Planted {
        name: "upload-end-ends-answer-too",
        breaks: "The end of the visitor's direction ends the upstream's as well, and cuts its answer.",
    },
    Planted {
        name: "dropped-session-looks-finished",
        breaks: "A raw stream that is dropped is closed instead of reset, so half an answer looks whole.",
    },
    // Session: start, retries, replay.
    Planted {
        name: "answer-deadline-ignored",
        breaks: "A client that does not answer a start keeps the visitor for its whole patience.",
    },
    Planted {
        name: "first-refusal-is-final",
        breaks: "A visitor is given up when the first target refuses, although others are untried.",
    },
    Planted {
        name: "failed-target-forgotten",
        breaks: "A target that failed may be tried again while others are untried, and refusals never end.",
    },
    Planted {
        name: "session-tried-again-after-start",
        breaks: "A session that broke after its start is tried again, without what it has said.",
    },
    Planted {
        name: "start-deadline-ignored",
        breaks: "A visitor that nobody can start is tried for ever.",
    },
    Planted {
        name: "refused-only-repeats-sent-bytes",
        breaks: "Under `refused_only` bytes that may have arrived are sent again elsewhere.",
    },
    Planted {
        name: "replay-forgets-first-bytes",
        breaks: "A second try does not send what the visitor said before it.",
    },
    Planted {
        name: "replay-sends-first-bytes-twice",
        breaks: "A second try sends what the visitor said before it twice.",
    },
    Planted {
        name: "replay-sends-end-before-first-bytes",
        breaks: "A second try ends the visitor's direction before the bytes that belong to it.",
    },
    Planted {
        name: "replay-budget-never-given-back",
        breaks: "Memory for first bytes is never given back to the budget all sessions share.",
    },
    Planted {
        name: "visitor-that-leaves-keeps-its-slot",
        breaks: "A visitor that resets keeps its session slot, so a drain waits for nobody.",
    },
    // What sessions and probes say of a target.
    Planted {
        name: "refused-session-not-reported",
        breaks: "A session that was refused tells nobody, so without probes who is dead is tried for ever.",
    },
    Planted {
        name: "probe-takes-refusal-for-answer",
        breaks: "A probe that the client refused counts as answered, so who is dead is never left out.",
    },
    Planted {
        name: "probe-names-no-upstream",
        breaks: "A probe names no upstream, so every target is thought to be dead.",
    },
    Planted {
        name: "probe-keeps-its-connection",
        breaks: "A probe never gives its connection back.",
    },
    Planted {
        name: "refused-probe-leaves-words-unread",
        breaks: "A connection on which a probe was refused goes back before the client's last word on it.",
    },
    // Pool.
    Planted {
        name: "connection-parked-before-client-finished",
        breaks: "A connection goes back to the pool before the client has finished the session on it.",
    },
    Planted {
        name: "pool-keeps-dead-connection",
        breaks: "A parked connection that died stays on the shelf and is lent.",
    },
    Planted {
        name: "arrived-connection-shelved-under-wrong-client",
        breaks: "A new connection is shelved under whichever client registered first.",
    },
    Planted {
        name: "refused-taker-never-told",
        breaks: "A taker that will get no connection is not told, so its session waits for ever.",
    },
    Planted {
        name: "refill-stops-after-failure",
        breaks: "After a failed order nothing is ordered until something else happens.",
    },
    Planted {
        name: "lost-order-never-expires",
        breaks: "An order that came to nothing unnoticed is counted as under way for ever.",
    },
    Planted {
        name: "surplus-never-retired",
        breaks: "Connections beyond the minimum are never retired.",
    },
    // Registry and door.
    Planted {
        name: "replaced-registration-keeps-its-targets",
        breaks: "A registration that was replaced keeps its place in groups and pool, and gets work.",
    },
    Planted {
        name: "ticket-accepted-twice",
        breaks: "A ticket for a proxy connection is accepted a second time.",
    },
    Planted {
        name: "challenge-never-changes",
        breaks: "Every client gets the same challenge, so a recorded handshake opens the door.",
    },
    Planted {
        name: "wrong-token-accepted",
        breaks: "A client that does not know the token is registered.",
    },
    Planted {
        name: "door-place-never-freed",
        breaks: "A place at the door is never freed, so an address is shut out after a while.",
    },
    Planted {
        name: "group-of-upstream-ignored",
        breaks: "An upstream joins its client's group instead of its own.",
    },
    Planted {
        name: "group-keeps-dead-member",
        breaks: "A group keeps the targets of registrations that have ended.",
    },
    // Heartbeats and keepalive.
    Planted {
        name: "heartbeat-does-not-restart-silence",
        breaks: "What is heard on a link does not count as a sign of life, so sound links are lost.",
    },
    Planted {
        name: "server-never-notices-silence",
        breaks: "The server never declares a silent client dead.",
    },
    Planted {
        name: "client-never-notices-silence",
        breaks: "A client never declares a silent server dead.",
    },
    Planted {
        name: "keepalive-ignores-input",
        breaks: "What is heard on a proxy connection does not count as a sign of life.",
    },
    Planted {
        name: "silent-connection-never-given-up",
        breaks: "A proxy connection that swallows everything is asked for ever, and its session hangs.",
    },
    Planted {
        name: "stalled-side-gives-no-sign",
        breaks: "A side that waits for a slow reader gives no sign of life, and is taken for dead.",
    },
    // Clients.
    Planted {
        name: "client-gives-up-when-denied",
        breaks: "A client that was denied once never comes back.",
    },
    Planted {
        name: "client-stops-after-lost-link",
        breaks: "A client whose link was lost never comes back.",
    },
    Planted {
        name: "client-drain-drops-sessions",
        breaks: "A client that drains leaves without waiting for its sessions.",
    },
    Planted {
        name: "reconnect-forgets-last-upstream",
        breaks: "A client that comes back does not offer its last upstream.",
    },
    Planted {
        name: "dialling-permit-never-given-back",
        breaks: "A client opens only so many proxy connections for one registration, and then no more.",
    },
    Planted {
        name: "backoff-without-cap",
        breaks: "The pause between two attempts grows without bound.",
    },
    Planted {
        name: "backoff-never-grows",
        breaks: "A client that finds nobody asks again as soon after the tenth failure as after the first.",
    },
    Planted {
        name: "backoff-without-jitter",
        breaks: "All clients of a server come back at the same moments.",
    },
    Planted {
        name: "backoff-never-forgives",
        breaks: "A link that was stable for long still waits as after many failures.",
    },
    // Addresses of upstreams.
    Planted {
        name: "name-not-asked-again",
        breaks: "A client that finds nobody where a name led waits for the next round of questions.",
    },
    Planted {
        name: "refused-address-ends-the-search",
        breaks: "A client whose upstream refuses at one address does not try the other.",
    },
    Planted {
        name: "who-is-put-out-stays-active",
        breaks: "A target that fails is put out of the books, and not of the snapshot that sessions read.",
    },
    // Choice, limits, drain.
    Planted {
        name: "first-target-always-picked",
        breaks: "Every visitor goes to the first target of its group.",
    },
    Planted {
        name: "session-limit-one-too-high",
        breaks: "One session more than the limit is let in, and a drain ends with one left.",
    },
    Planted {
        name: "refused-visitor-has-no-outcome",
        breaks: "A visitor beyond the limit is counted as accepted, and never as ended.",
    },
    Planted {
        name: "failed-handshake-stays-counted",
        breaks: "A handshake that failed stays counted as under way.",
    },
    Planted {
        name: "drain-stops-accepting-at-once",
        breaks: "A server that is told to stop accepts nobody any more, although its drain is delayed.",
    },
    Planted {
        name: "entries-stay-open-in-drain",
        breaks: "Visitors are still accepted while the server drains.",
    },
    Planted {
        name: "drain-ends-sessions-at-once",
        breaks: "A drain resets sessions without giving them their time.",
    },
    Planted {
        name: "drain-deadline-ignored",
        breaks: "A drain waits for its last session without a deadline.",
    },
    Planted {
        name: "last-words-not-waited-for",
        breaks: "A proxy connection whose registration has ended is closed although its server may not have heard the last words.",
    },
    // Control connections, doors and tries.
    Planted {
        name: "sessions-end-with-control-connection",
        breaks: "A client drops what it serves when its control connection closes.",
    },
    Planted {
        name: "sessions-reset-with-registration",
        breaks: "A server resets what a client serves when its control connection closes.",
    },
    Planted {
        name: "own-beat-taken-for-sign-of-life",
        breaks: "A client takes its own heartbeat for one of its server's.",
    },
    Planted {
        name: "strangers-have-all-the-time",
        breaks: "Somebody at the door is not shut out when the time for a proof is over.",
    },
    Planted {
        name: "repeated-without-end",
        breaks: "Bytes that may have arrived are said again as often as somebody can be tried.",
    },
    // Codec.
    Planted {
        name: "oversized-header-accepted",
        breaks: "A frame header longer than the limit is accepted.",
    },
    Planted {
        name: "split-prefix-takes-a-byte-too-many",
        breaks: "A frame prefix that comes in two pieces takes the byte behind it as well.",
    },
];
