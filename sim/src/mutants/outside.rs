//! The planted bugs of somebody who knew the documents and not the judges.

use super::table::Planted;

/// Those of the tunnel.
pub const ANY: &[Planted] = &[
    Planted {
        name: "closed-control-connection-taken-for-full",
        breaks: "A client whose control connection has just closed is taken for one that does not read any more.",
    },
    Planted {
        name: "delay-taken-off-the-drain",
        breaks: "What a client waits before its drain is taken off the time that its sessions have.",
    },
    Planted {
        name: "first-rule-of-a-path-decides",
        breaks: "Of several rules with one path only the first is asked.",
    },
    Planted {
        name: "grace-counted-from-what-is-over",
        breaks: "Who wakes late has its grace from a deadline that is over.",
    },
    Planted {
        name: "last-waiter-served-first",
        breaks: "Of those who wait for a connection the last gets it.",
    },
    Planted {
        name: "own-end-stops-credit",
        breaks: "Whoever has ended its own direction gives no more credit for the other.",
    },
    Planted {
        name: "repeated-body-announced-without-what-is-kept",
        breaks: "A request that is made again announces only the part of its body that is still to come.",
    },
    Planted {
        name: "fastest-answer-never-forgotten",
        breaks: "Who was quick once is never slow twice in a row.",
    },
    Planted {
        name: "header-seen-in-its-first-line",
        breaks: "Of a header that stands several times only the first is compared.",
    },
    Planted {
        name: "answer-has-one-round-trip",
        breaks: "An answer to a start may take one round trip, where that is long, and not four.",
    },
    Planted {
        name: "first-visitors-wait-for-the-default-only",
        breaks: "As long as no heartbeat has said how far away a client is, it is taken to be near.",
    },
    Planted {
        name: "start-counted-from-last-try",
        breaks: "How long a start took is counted from the last try.",
    },
    Planted {
        name: "resume-key-never-renewed",
        breaks: "A client that comes back a second time proves that it was the first registration.",
    },
    Planted {
        name: "who-comes-back-needs-a-second-place",
        breaks: "A client that comes back to a full server is turned away while its old registration is there.",
    },
    Planted {
        name: "own-failures-bypass-plugins",
        breaks: "The answers of an entry itself do not pass the plugins of their rule.",
    },
    Planted {
        name: "refused-request-costs-a-token",
        breaks: "A request that a limit refuses costs as much as one that it lets through.",
    },
    Planted {
        name: "busy-connections-count-as-ready",
        breaks: "Connections that carry a session count among those that are kept ready.",
    },
    Planted {
        name: "failed-lookup-drops-addresses",
        breaks: "A name that does not resolve any more loses the addresses it had.",
    },
    Planted {
        name: "encoded-slash-is-a-border",
        breaks: "An encoded slash separates segments where paths are compared.",
    },
    Planted {
        name: "unregistered-client-stays-ready",
        breaks: "A client that was registered once is ready for ever.",
    },
    Planted {
        name: "known-password-goes-to-upstream",
        breaks: "Credentials that a plugin remembers go on to the upstream.",
    },
    Planted {
        name: "body-limit-for-each-piece",
        breaks: "The limit of a body without a length is one for each of its pieces.",
    },
    Planted {
        name: "own-host-beats-priority",
        breaks: "A rule with the exact host wins over one with a higher priority.",
    },
    Planted {
        name: "wildcard-widens-own-rule",
        breaks: "A client with a rule of its own may serve the groups of all others, too.",
    },
    Planted {
        name: "probe-names-no-chosen-host",
        breaks: "Probes by HTTP name another host than was configured.",
    },
    Planted {
        name: "few-visitors-shrink-the-stock",
        breaks: "A pool that follows its visitors keeps fewer connections than its least number.",
    },
    Planted {
        name: "upgraded-leaves-in-flight",
        breaks: "An upgraded connection counts at its target no longer than its answer.",
    },
    Planted {
        name: "run-of-the-young-never-over",
        breaks: "Once young streams have had sixteen turns, bulk goes before them for ever.",
    },
    Planted {
        name: "arrival-forgives-no-failure",
        breaks: "Orders that fail are counted as if no connection had come between them.",
    },
    Planted {
        name: "refusals-outlive-an-answer",
        breaks: "Probes that a target refuses are counted as if it had answered none between them.",
    },
    Planted {
        name: "lost-link-counted-down-twice",
        breaks: "What a data link held as it was lost is taken off the metrics twice.",
    },
    Planted {
        name: "silence-begins-anew-with-each-stream",
        breaks: "A data link is silent since the last stream that nothing answers, not the first.",
    },
    Planted {
        name: "ambiguous-tries-counted-by-round",
        breaks: "Ambiguous tries are counted anew in each round.",
    },
    Planted {
        name: "served-visitor-keeps-its-place",
        breaks: "Who waited for a target and got one keeps its place in the queue.",
    },
    Planted {
        name: "winner-of-a-contest-never-told",
        breaks: "Whoever waits for an id whose holder's link ends is neither admitted nor denied.",
    },
    Planted {
        name: "busy-connections-beyond-the-most",
        breaks: "Connections that carry a session do not count for the most of a pool.",
    },
    Planted {
        name: "unstarted-session-reset-with-its-client",
        breaks: "A session that has not started is reset when its client falls silent.",
    },
    Planted {
        name: "probe-counted-as-a-session",
        breaks: "A client counts a server's probe as a session that ended well.",
    },
    Planted {
        name: "earlier-waits-not-forgotten",
        breaks: "The wait behind a gate is not short again after a good time.",
    },
    Planted {
        name: "low-score-forgiven-early",
        breaks: "Who scored too little comes back before its hold-off.",
    },
    Planted {
        name: "probe-believes-any-status",
        breaks: "A probe by HTTP takes every status for a good one.",
    },
    Planted {
        name: "leaving-link-sleeps-on",
        breaks: "The last stream of a link that leaves does not wake it.",
    },
    Planted {
        name: "failures-not-in-a-row",
        breaks: "A success does not end a row of failed connects.",
    },
    Planted {
        name: "refusal-taken-for-loss",
        breaks: "A refusal counts as bytes that may have arrived.",
    },
    Planted {
        name: "left-request-open-in-its-rule",
        breaks: "A request that is left before its answer stays open in the figures of its rule.",
    },
    Planted {
        name: "relisted-target-never-probed",
        breaks: "A target that leaves while it is probed is never probed when it is back.",
    },
    Planted {
        name: "long-request-repeated-in-part",
        breaks: "Of more than can be kept the beginning is said again, without the rest.",
    },
    Planted {
        name: "link-one-stream-too-many",
        breaks: "A link opens one stream more than it may.",
    },
    Planted {
        name: "failed-take-counts-as-starting",
        breaks: "A session that got no connection counts as starting for ever.",
    },
    Planted {
        name: "age-of-the-rest-forgotten",
        breaks: "Behind connections that grew old the age of the others is forgotten.",
    },
    Planted {
        name: "broken-sessions-remembered",
        breaks: "Who is well again is put out by the next session that breaks.",
    },
    Planted {
        name: "candidate-with-new-weight-lost",
        breaks: "A candidate whose weight changes leaves and does not join.",
    },
    Planted {
        name: "leaving-visitor-held-against-candidate",
        breaks: "A session that its visitor broke off counts against its candidate.",
    },
    Planted {
        name: "login-lost-with-second-request",
        breaks: "A connection that somebody has logged in on is given to others after a request without credentials.",
    },
    Planted {
        name: "refused-knock-stays-counted",
        breaks: "A connection that is one too many from its address stays counted.",
    },
    Planted {
        name: "turned-away-counted-at-client",
        breaks: "A visitor that is turned away after a try is counted at its client.",
    },
    Planted {
        name: "idle-streams-swept-once",
        breaks: "Idle streams give back credit once, and never again.",
    },
    Planted {
        name: "first-address-takes-all-the-time",
        breaks: "Of several addresses of a server the first gets the whole time for a handshake.",
    },
    Planted {
        name: "served-verdict-not-forgiven",
        breaks: "A target that is well again is held to what it did before.",
    },
    Planted {
        name: "replay-bytes-shown-before-they-are-freed",
        breaks: "The gauge of bytes kept for repeating is set before a visitor's are freed.",
    },
    Planted {
        name: "link-lived-since-the-client-began",
        breaks: "How long a registration has lasted is counted from the start of the client.",
    },
    Planted {
        name: "doors-close-before-the-delay",
        breaks: "A server that drains takes no clients and connections of theirs within its delay.",
    },
    Planted {
        name: "hurried-while-probed-never-again",
        breaks: "A target that is hurried while it is being probed is never hurried again.",
    },
];

/// Those of the HTTP entry.
pub const WEB: &[Planted] = &[
    Planted {
        name: "kept-connection-of-any-age",
        breaks: "Connections to upstreams carry requests however old they are.",
    },
    Planted {
        name: "queue-charged-to-pool",
        breaks: "The time until a target is chosen is counted as that of the pool.",
    },
    Planted {
        name: "eight-digits-are-too-many",
        breaks: "A deadline of gRPC with eight digits is taken for none.",
    },
    Planted {
        name: "goaway-after-drain-delay-only",
        breaks: "Visitors of HTTP/2 hear of a drain only when its delay is over.",
    },
    Planted {
        name: "body-that-was-not-kept-said-again",
        breaks: "A request is tried again although the beginning of its body was not kept.",
    },
    Planted {
        name: "answer-left-early-taken-for-whole",
        breaks: "An answer that is dropped before its end counts as whole.",
    },
    Planted {
        name: "gone-taker-keeps-connection",
        breaks: "A connection that is given to somebody who has gone stays busy.",
    },
    Planted {
        name: "visitor-that-asked-is-never-quiet",
        breaks: "A connection that has brought a request is kept for ever, however long it asks nothing.",
    },
    Planted {
        name: "forwarded-port-of-the-inner-host",
        breaks: "The port that is told is that of `Host`, though a proxy names another host.",
    },
];
