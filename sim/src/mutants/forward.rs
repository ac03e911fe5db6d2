//! The planted bugs of the forwarder, which only its own scenario can find.

use super::table::Planted;

/// All of them, in the order of the places they stand in.
pub const PLANTED: &[Planted] = &[
    // Sessions: who is reached, and what is said again.
    Planted {
        name: "standby-never-tried",
        breaks: "A visitor whom every member refuses is given up, although others stand by.",
    },
    Planted {
        name: "stale-stream-not-repeated",
        breaks: "A visitor is lost with the warm stream that its target had left.",
    },
    Planted {
        name: "stale-bytes-not-repeated",
        breaks: "What a visitor had said on a stale stream is not said again.",
    },
    Planted {
        name: "repeated-after-the-answer",
        breaks: "A warm stream that breaks after its first byte is taken for stale, and the answer begins anew.",
    },
    Planted {
        name: "session-slot-kept",
        breaks: "A session that has ended still counts as one that runs.",
    },
    Planted {
        name: "direct-drops-half-close",
        breaks: "The end of a direction is not passed on, so whoever waits for it hangs.",
    },
    Planted {
        name: "direct-forgets-rest-of-a-write",
        breaks: "What a write leaves over is thrown away.",
    },
    Planted {
        name: "forwarder-ends-at-once",
        breaks: "A forwarder that is told to stop resets what still runs, long before its deadline.",
    },
    // Warm streams.
    Planted {
        name: "dead-stream-kept",
        breaks: "A warm stream that its target has closed stays parked.",
    },
    Planted {
        name: "speaks-first-stock-kept",
        breaks: "Streams to a target that speaks first stay parked.",
    },
    Planted {
        name: "old-streams-stay",
        breaks: "Warm streams are kept for ever.",
    },
    Planted {
        name: "removed-target-keeps-streams",
        breaks: "A target that is no member any more keeps its warm streams.",
    },
    // Candidates, and who of them is used.
    Planted {
        name: "name-resolved-once",
        breaks: "A name is asked for once, so whoever was not found then never is.",
    },
    Planted {
        name: "unlisted-target-stays",
        breaks: "A target that was taken from the list is used all the same.",
    },
    Planted {
        name: "relisted-target-forgotten",
        breaks: "A target that is listed again is not noticed.",
    },
    Planted {
        name: "left-target-still-probed",
        breaks: "A target that was taken from the list is probed for ever.",
    },
    Planted {
        name: "only-members-probed",
        breaks: "Nobody outside the active set is ever probed.",
    },
    Planted {
        name: "probe-connection-kept",
        breaks: "A probe never closes its connection.",
    },
    Planted {
        name: "failing-probe-forgiven",
        breaks: "A probe that fails is not held against its target.",
    },
    Planted {
        name: "failed-member-stays",
        breaks: "A member that cannot be reached any more stays in the active set.",
    },
    Planted {
        name: "last-resort-empty",
        breaks: "When nobody is well, nobody is used.",
    },
    Planted {
        name: "hold-off-ignored",
        breaks: "A target that was put out for failing comes back as soon as it answers.",
    },
    Planted {
        name: "half-open-closes-at-once",
        breaks: "One success is enough for a target that was put out.",
    },
    Planted {
        name: "improvement-without-dwell",
        breaks: "A member has to make way as soon as another is better.",
    },
    Planted {
        name: "cooldown-ignored",
        breaks: "One member after another has to make way, without a pause.",
    },
    Planted {
        name: "settled-for-the-worse",
        breaks: "Who was taken before anybody was measured gives way to one that is worse.",
    },
    Planted {
        name: "worst-of-those-outside-enters",
        breaks: "The worst of those that find no room takes the place of a member, if it is better than that.",
    },
    Planted {
        name: "slow-candidate-stays",
        breaks: "A candidate that scores too little stays a member while others score more.",
    },
    Planted {
        name: "small-group-judged-softly",
        breaks: "Targets of a small group are put out for succeeding rarely.",
    },
];
