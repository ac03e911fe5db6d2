//! The planted bugs of clients with several upstreams, of services that ail to the end, and of who is alone in its group.

use super::table::Planted;

/// All of them.
pub const PLANTED: &[Planted] = &[
    // Several upstreams of a client.
    Planted {
        name: "first-upstream-serves-all",
        breaks: "A client brings every visitor to its first upstream, whichever was asked for.",
    },
    Planted {
        name: "only-first-upstream-joins",
        breaks: "Of the upstreams of a client only the first joins its group.",
    },
    Planted {
        name: "lost-client-stays-in-further-groups",
        breaks: "The upstreams of a lost client leave the group of the first of them only.",
    },
    // Several servers of a client.
    Planted {
        name: "lost-server-given-up",
        breaks: "A client that cannot register with one of its servers while another has it never tries again.",
    },
    Planted {
        name: "proxies-go-to-first-server",
        breaks: "A client opens the proxy connections of all its servers to the first one.",
    },
    // Services that ail to the end.
    Planted {
        name: "broken-sessions-forgiven",
        breaks: "However many sessions a target breaks, it is not put out.",
    },
    Planted {
        name: "reset-of-held-up-side-unnoticed",
        breaks: "A side that is not read because nothing goes on to the other is not looked at for a reset.",
    },
    Planted {
        name: "reset-waits-behind-held-up-bytes",
        breaks: "A client learns of a reset only when its upstream has taken all bytes before it.",
    },
    // Alone in a group.
    Planted {
        name: "lone-target-not-probed",
        breaks: "A target that is alone in its group is probed only once a visitor has failed there.",
    },
    Planted {
        name: "failing-group-shown-as-usable",
        breaks: "A group is shown as usable while it has a target, though all of them fail.",
    },
    Planted {
        name: "success-of-last-resort-not-enough",
        breaks: "A target that succeeds while nobody is well has to wait as if others were.",
    },
];
