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
