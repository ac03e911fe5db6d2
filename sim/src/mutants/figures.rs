//! The planted bugs of what nodes count.

use super::table::Planted;

/// All of them.
pub const PLANTED: &[Planted] = &[
    Planted {
        name: "bytes-before-a-session-counted-again",
        breaks: "What a try has moved is counted again by the next one.",
    },
    Planted {
        name: "traffic-the-wrong-way-round",
        breaks: "By entry and client, what goes up is counted as going down.",
    },
    Planted {
        name: "heartbeats-sent-not-counted",
        breaks: "A client does not count the heartbeats that it sends.",
    },
    Planted {
        name: "closed-proxy-connection-still-counted",
        breaks: "A client counts proxy connections as open that are closed.",
    },
];
