//! The planted bugs of somebody who knew the documents and not the judges.

use super::table::Planted;

/// Those of the tunnel.
pub const ANY: &[Planted] = &[
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
        name: "end-kept-of-bytes-that-were-cut",
        breaks: "A reset drops bytes without credit and leaves the end that was said behind them.",
    },
    Planted {
        name: "unstarted-session-reset-with-its-client",
        breaks: "A session that has not started is reset when its client falls silent.",
    },
    Planted {
        name: "probe-counted-as-a-session",
        breaks: "A client counts a server's probe as a session that ended well.",
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
];
