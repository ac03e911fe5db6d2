//! The planted bugs of data links and their streams.

use super::table::Planted;

/// All of them, in the order of the places they stand in.
pub const PLANTED: &[Planted] = &[
    // Who is carried by what.
    Planted {
        name: "finished-stream-never-dropped",
        breaks: "A stream whose session is over stays open at the server.",
    },
    Planted {
        name: "lost-link-not-replaced",
        breaks: "A data link that was lost is not ordered again.",
    },
    Planted {
        name: "leaving-link-ends-at-once",
        breaks: "A data link that opens nothing more ends, whatever it carries.",
    },
    Planted {
        name: "streams-of-lost-link-not-told",
        breaks: "Whoever waits for a stream of a lost data link waits on.",
    },
    // Streams: ids, ends and resets.
    Planted {
        name: "stream-id-used-twice",
        breaks: "A stream is opened under the id of the one before.",
    },
    Planted {
        name: "dropped-stream-left-open",
        breaks: "A stream that nobody holds any more is not reset.",
    },
    Planted {
        name: "dropped-stream-never-released",
        breaks: "Nobody learns that a stream is not held any more.",
    },
    Planted {
        name: "reset-of-stream-never-sent",
        breaks: "A stream is reset without a word to its peer.",
    },
    Planted {
        name: "reset-by-peer-wakes-nobody",
        breaks: "Whoever waits for a stream that its peer has reset waits on.",
    },
    Planted {
        name: "end-sent-before-last-bytes",
        breaks: "FIN overtakes the bytes that wait before it.",
    },
    Planted {
        name: "pieces-joined-in-wrong-order",
        breaks: "Two pieces of a body that came apart are put together the wrong way round.",
    },
    Planted {
        name: "partial-write-forgotten",
        breaks: "What a write has taken of small frames is written again, and what it left is not.",
    },
    // Windows and turns.
    Planted {
        name: "consumed-bytes-never-credited",
        breaks: "What a reader has taken is never granted again.",
    },
    Planted {
        name: "credit-granted-with-each-read",
        breaks: "Each read is answered with credit, however little it is.",
    },
    Planted {
        name: "split-credit-read-from-its-middle",
        breaks: "Credit that comes in two pieces is read from the second alone.",
    },
    Planted {
        name: "sender-forgets-a-byte-it-sent",
        breaks: "A sender counts a byte less than it has sent.",
    },
    Planted {
        name: "returned-credit-used-again",
        breaks: "An idle sender gives credit back and keeps it.",
    },
    Planted {
        name: "returned-credit-lost-to-budget",
        breaks: "Credit that is given back is not free for other streams.",
    },
    Planted {
        name: "ended-stream-keeps-budget",
        breaks: "What the window of a stream had grown by is never free again.",
    },
    Planted {
        name: "stream-with-new-credit-not-scheduled",
        breaks: "A stream that gets credit does not get a turn.",
    },
    Planted {
        name: "link-that-gathers-sleeps",
        breaks: "A link that gives others a turn before it writes does not come back to it.",
    },
    Planted {
        name: "waiting-writer-never-told",
        breaks: "A writer that waits for room is not told of it.",
    },
    Planted {
        name: "stream-without-credit-blocks-others",
        breaks: "While one stream of a link has no credit, no other has a turn.",
    },
    Planted {
        name: "link-leaves-pings-unanswered",
        breaks: "A link gives no sign of life when it is asked for one.",
    },
];
