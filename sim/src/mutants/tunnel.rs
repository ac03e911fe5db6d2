//! Planted bugs of timeouts, of how clients meet who is not their server, and of how targets are chosen.

use super::table::Planted;

/// All of them, in the order of the places they stand in.
pub const PLANTED: &[Planted] = &[
    Planted {
        name: "ready-while-draining",
        breaks: "A server that was told to stop says that it is ready.",
    },
    Planted {
        name: "one-usable-group-is-enough",
        breaks: "A server is ready as soon as one of its groups is usable.",
    },
    // Timeouts.
    Planted {
        name: "half-closed-deadline-ignores-what-is-read",
        breaks: "The time of a half-closed session goes on while bytes are read from its raw side.",
    },
    Planted {
        name: "half-closed-deadline-ignores-what-is-written",
        breaks: "The time of a half-closed session goes on while bytes are written to its raw side.",
    },
    Planted {
        name: "half-closed-deadline-ignores-what-waits",
        breaks: "The time of a half-closed session goes on while bytes that wait to be sent go out.",
    },
    Planted {
        name: "half-closed-deadline-never-comes",
        breaks: "A half-closed session may be silent for ever.",
    },
    Planted {
        name: "half-closed-deadline-waits-for-both-ends",
        breaks: "The time of a half-closed session begins when both directions have ended.",
    },
    Planted {
        name: "open-session-has-half-closed-deadline",
        breaks: "A session of which nobody has ended a direction is ended for its silence.",
    },
    // Impostors.
    Planted {
        name: "server-proof-not-checked",
        breaks: "Whoever grants a registration is believed, whatever it proves.",
    },
    Planted {
        name: "missing-server-proof-accepted",
        breaks: "Whoever grants a registration without any proof is believed.",
    },
    Planted {
        name: "own-proof-taken-for-the-server-s",
        breaks: "A client's own proof, sent back to it, is taken for its server's.",
    },
    Planted {
        name: "challenge-of-any-length-answered",
        breaks: "A client proves itself to who challenges it with nothing.",
    },
    Planted {
        name: "silent-server-waited-for",
        breaks: "A client waits for ever for a server that takes its connection and says nothing.",
    },
    // Strategies.
    Planted {
        name: "turn-never-comes-round",
        breaks: "In turn, the first target always has its turn.",
    },
    Planted {
        name: "turns-taken-by-chance",
        breaks: "In turn, anybody has the next turn.",
    },
    Planted {
        name: "most-connections-chosen",
        breaks: "The target with the most sessions is chosen, where it should be the one with the fewest.",
    },
    Planted {
        name: "sessions-in-flight-not-weighed",
        breaks: "How many sessions a target has does not count.",
    },
    Planted {
        name: "worse-of-two-chosen",
        breaks: "Of two that were drawn the busier is chosen.",
    },
    Planted {
        name: "visitor-not-bound",
        breaks: "A visitor that is bound to a target goes to any.",
    },
    // Shares.
    Planted {
        name: "slow-start-never-over",
        breaks: "A target that came back never gets its whole share.",
    },
];
