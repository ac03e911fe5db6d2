//! The planted bugs of somebody who knew the documents and not the judges.

use super::table::Planted;

/// Those of the tunnel.
pub const ANY: &[Planted] = &[
    Planted {
        name: "comeback-at-full-share",
        breaks: "Who comes back to a group gets its whole share at once.",
    },
    Planted {
        name: "earlier-waits-not-forgotten",
        breaks: "The wait behind a shut gate goes on where it was, although the target was well for long.",
    },
    Planted {
        name: "second-hurry-forgotten",
        breaks: "A target is probed out of turn once, and never again.",
    },
    Planted {
        name: "failed-orders-never-forgiven",
        breaks: "A connection that arrives does not forgive the failed orders before it.",
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
        name: "ended-streams-fill-the-link",
        breaks: "Streams that are over count for the limit of a link until they are let go of.",
    },
    Planted {
        name: "drain-acknowledged-one-start-early",
        breaks: "A client's drain is acknowledged while one session is starting.",
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
];

/// Those of the forwarder.
pub const FORWARD: &[Planted] = &[Planted {
    name: "wrong-side-looked-at",
    breaks: "Of two blocked ways the wrong side is looked at for a reset.",
}];
