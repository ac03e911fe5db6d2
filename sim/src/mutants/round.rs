//! A round of planted bugs by an outside tester.

use super::table::Planted;

/// ANY of the tunnel.
pub const ANY: &[Planted] = &[
    Planted {
        name: "r-first-link-key-kept",
        breaks: "A client proves by the key of its first registration for ever: later ones do not resume.",
    },
    Planted {
        name: "r-comeback-at-full-share",
        breaks: "Who comes back to a group gets its whole share at once.",
    },
    Planted {
        name: "r-earlier-waits-not-forgotten",
        breaks: "The wait behind a shut gate goes on where it was, although the target was well for long.",
    },
    Planted {
        name: "r-second-hurry-forgotten",
        breaks: "A target is probed out of turn once, and never again.",
    },
    Planted {
        name: "r-failed-orders-never-forgiven",
        breaks: "A connection that arrives does not forgive the failed orders before it.",
    },
    Planted {
        name: "r-ambiguous-tries-counted-by-round",
        breaks: "Ambiguous tries are counted anew in each round.",
    },
    Planted {
        name: "r-served-visitor-keeps-its-place",
        breaks: "Who waited for a target and got one keeps its place in the queue.",
    },
    Planted {
        name: "r-ended-streams-fill-the-link",
        breaks: "Streams that are over count for the limit of a link until they are let go of.",
    },
    Planted {
        name: "r-drain-acknowledged-one-start-early",
        breaks: "A client's drain is acknowledged while one session is starting.",
    },
];

/// WEB of the HTTP entry.
pub const WEB: &[Planted] = &[
    Planted {
        name: "r-kept-connection-of-any-age",
        breaks: "Connections to upstreams carry requests however old they are.",
    },
    Planted {
        name: "r-queue-charged-to-pool",
        breaks: "The time until a target is chosen is counted as that of the pool.",
    },
    Planted {
        name: "r-eight-digits-are-too-many",
        breaks: "A deadline of gRPC with eight digits is taken for none.",
    },
    Planted {
        name: "r-goaway-after-drain-delay-only",
        breaks: "Visitors of HTTP/2 hear of a drain only when its delay is over.",
    },
];

/// FORWARD of the forwarder.
pub const FORWARD: &[Planted] = &[
    Planted {
        name: "r-wrong-side-looked-at",
        breaks: "Of two blocked ways the wrong side is looked at for a reset.",
    },
];
