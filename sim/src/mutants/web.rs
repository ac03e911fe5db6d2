//! The planted bugs of an HTTP entry.

use super::table::Planted;

/// All of them, in the order of the way of a request.
pub const PLANTED: &[Planted] = &[
    Planted {
        name: "post-made-twice",
        breaks: "A request that may not be made twice is made again when its upstream breaks.",
    },
    Planted {
        name: "answer-keeps-what-is-hop-by-hop",
        breaks: "What belongs to the upstream's connection is passed on to the visitor.",
    },
    Planted {
        name: "named-hop-by-hop-passed-on",
        breaks: "A header that `Connection` names is passed on.",
    },
    Planted {
        name: "anybody-believed-for-whom-they-speak",
        breaks: "A visitor that nobody trusts says whom it speaks for, and is believed.",
    },
    Planted {
        name: "underscored-claim-passed-on",
        breaks: "A header that says where a request came from is passed on if it is spelled with underscores.",
    },
    Planted {
        name: "forged-port-believed",
        breaks: "A visitor that nobody trusts says which port it came to, and is believed.",
    },
    Planted {
        name: "failed-call-answered-with-status",
        breaks: "A call of gRPC that fails is answered with a status of HTTP.",
    },
    Planted {
        name: "every-request-to-first-group",
        breaks: "Whatever its rule says, a request goes to the first group.",
    },
    Planted {
        name: "all-targets-share-connections",
        breaks: "A connection to one target is used for all of them.",
    },
    Planted {
        name: "login-bound-to-nobody",
        breaks: "A connection that a visitor has logged in to is used for others.",
    },
    Planted {
        name: "refused-stream-is-final",
        breaks: "A request that an upstream of HTTP/2 has turned away is taken for one that it may have worked on.",
    },
    Planted {
        name: "drain-delay-closes-kept-connections",
        breaks: "As soon as a node drains it closes visitors' connections on which nothing is asked, also new ones.",
    },
    Planted {
        name: "connections-kept-to-those-who-left",
        breaks: "Connections to a target that has left the active set are kept.",
    },
    Planted {
        name: "retirement-not-said",
        breaks: "A client does not say that a connection leads to an address that it has left out.",
    },
    Planted {
        name: "retired-connection-used-again",
        breaks: "A server goes on asking on a connection that its client has called retired.",
    },
    Planted {
        name: "answer-clock-runs-during-upload",
        breaks: "An upstream's time to answer counts from the start of a request whose body is still coming.",
    },
    Planted {
        name: "answer-clock-begins-anew",
        breaks: "When an upstream's time to answer is over, it is given the same time again.",
    },
    Planted {
        name: "prefix-not-taken-off",
        breaks: "A rule leaves the beginning of a path that it should take off.",
    },
    Planted {
        name: "request-open-for-ever",
        breaks: "A request is counted as open after its end.",
    },
    Planted {
        name: "broken-request-looks-whole",
        breaks: "A request whose visitor breaks off looks finished to its upstream.",
    },
    Planted {
        name: "repeated-request-loses-its-first-piece",
        breaks: "A request that is made again begins with its body's second piece.",
    },
    Planted {
        name: "broken-answer-looks-whole",
        breaks: "An answer that breaks off looks finished to its visitor.",
    },
    Planted {
        name: "trailers-not-passed-on",
        breaks: "Trailers of an answer are dropped.",
    },
    Planted {
        name: "visitor-reset-for-late-bytes",
        breaks: "A visitor that goes on after its upstream has ended is reset in the end.",
    },
    Planted {
        name: "idle-connections-kept-for-ever",
        breaks: "A connection that carries nothing is kept.",
    },
    Planted {
        name: "slow-upgraded-visitor-not-answered-for",
        breaks: "While an upgraded visitor takes nothing, nobody answers for what carries it.",
    },
    Planted {
        name: "half-closed-upgrade-not-answered-for",
        breaks: "Once an upgraded connection's upstream has ended, what carries it is asked whether it is there, and nobody reads the answer.",
    },
    Planted {
        name: "end-of-upgraded-not-passed-on",
        breaks: "One direction of an upgraded connection ends, and the other side is not told.",
    },
    Planted {
        name: "bytes-without-room-lost",
        breaks: "Bytes that do not fit into a reader's room are dropped.",
    },
    Planted {
        name: "second-slice-not-written",
        breaks: "Of several slices written at once only the first is sent.",
    },
    Planted {
        name: "end-of-request-never-sent",
        breaks: "A stream to an upstream is ended without a word.",
    },
    Planted {
        name: "dropped-request-looks-whole",
        breaks: "A stream to an upstream that is dropped in the middle looks finished.",
    },
    Planted {
        name: "request-not-logged",
        breaks: "A request that was tried on several targets is missing in the access log.",
    },
    Planted {
        name: "time-counted-twice",
        breaks: "Time that a request waited for a target counts for its connection as well.",
    },
    Planted {
        name: "upstream-connection-counted-for-ever",
        breaks: "A connection to an upstream is counted as a session after its end.",
    },
    Planted {
        name: "login-outlives-its-visitor",
        breaks: "A connection that a visitor has logged in to is kept when the visitor is gone.",
    },
    Planted {
        name: "retries-not-saved-up-by-time",
        breaks: "The budget for retries is filled by requests alone.",
    },
    Planted {
        name: "lost-lines-not-counted",
        breaks: "Lines of the access log that cannot be written are not counted.",
    },
    Planted {
        name: "retry-never-granted",
        breaks: "No request is tried again that may have arrived.",
    },
];
