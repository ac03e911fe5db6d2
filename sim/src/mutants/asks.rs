//! The planted bugs of an HTTP entry in what only some requests have: `plan::asks`.

use super::table::Planted;

/// All of them, in the order of the way of a request.
pub const PLANTED: &[Planted] = &[
    Planted {
        name: "cookie-crumbs-not-joined",
        breaks: "A cookie that comes in several header fields is passed on in several.",
    },
    Planted {
        name: "cookie-crumbs-joined-as-a-list",
        breaks: "The pieces of a cookie are joined as a list is, by commas.",
    },
    Planted {
        name: "wish-for-trailers-not-passed-on",
        breaks: "An upstream is not told that trailers are welcome.",
    },
    Planted {
        name: "unknown-hop-skipped-in-chain",
        breaks: "A proxy that says `unknown` does not end the chain of those who are believed.",
    },
    Planted {
        name: "nearest-hop-taken-for-client",
        breaks: "Of a chain of proxies the last is taken for the client, a trusted one too.",
    },
    Planted {
        name: "unbelieved-chain-passed-on",
        breaks: "What stands before the client in `X-Forwarded-For`, and may be forged, reaches the upstream.",
    },
    Planted {
        name: "only-last-line-of-chain-walked",
        breaks: "Of several lines of `X-Forwarded-For` only the last is read.",
    },
    Planted {
        name: "hop-with-port-is-no-address",
        breaks: "An address with a port ends the chain of proxies.",
    },
    Planted {
        name: "trusted-scheme-overwritten",
        breaks: "The scheme that a trusted proxy tells is overwritten.",
    },
    Planted {
        name: "log-names-the-proxy",
        breaks: "The access log names the proxy where it should name the client.",
    },
    Planted {
        name: "length-left-out-of-a-bare-head",
        breaks: "An answer to HEAD loses its length.",
    },
    Planted {
        name: "deadline-ignored-within-the-answer",
        breaks: "The deadline of a call of gRPC does not count once its answer has begun.",
    },
    Planted {
        name: "microseconds-read-as-milliseconds",
        breaks: "A deadline in microseconds is a thousand times as late.",
    },
    Planted {
        name: "seconds-read-as-milliseconds",
        breaks: "A deadline in seconds is a thousand times too early.",
    },
    Planted {
        name: "interim-answer-is-no-sign-of-life",
        breaks: "An upstream's time to answer goes on while it sends interim answers.",
    },
    Planted {
        name: "pauses-of-an-answer-added-up",
        breaks: "What an answer may pause counts from its beginning, not from its last bytes.",
    },
    Planted {
        name: "answer-may-pause-for-ever",
        breaks: "An answer that pauses for too long is not broken off.",
    },
    Planted {
        name: "continue-of-upstream-passed-on",
        breaks: "The 100 of an upstream is passed on to a visitor that has had one.",
    },
    Planted {
        name: "interim-answer-keeps-what-is-hop-by-hop",
        breaks: "An interim answer is passed on with what belongs to the upstream's connection.",
    },
    Planted {
        name: "only-last-interim-answer-kept",
        breaks: "Of several interim answers that wait only the last is passed on.",
    },
    Planted {
        name: "websocket-asked-for-without-a-key",
        breaks: "A WebSocket of HTTP/2 is asked for over HTTP/1 without a key.",
    },
    Planted {
        name: "accept-key-passed-on-with-streams",
        breaks: "The answer to a WebSocket over HTTP/2 has the key of HTTP/1.",
    },
    Planted {
        name: "body-framed-twice-served",
        breaks: "A request that says twice how long its body is reaches an upstream.",
    },
    Planted {
        name: "encoding-known-in-lower-case-only",
        breaks: "`Transfer-Encoding` goes unnoticed unless it is in lower case.",
    },
    Planted {
        name: "trailers-of-a-request-dropped",
        breaks: "The trailers of a request are dropped.",
    },
    Planted {
        name: "trailers-taken-for-kept",
        breaks: "A request whose trailers were sent is made again without them.",
    },
    Planted {
        name: "late-head-waited-for",
        breaks: "The head of a request may take for ever.",
    },
    Planted {
        name: "head-clock-begins-anew-with-every-piece",
        breaks: "The time for the head of a request begins anew with each piece of it.",
    },
];
