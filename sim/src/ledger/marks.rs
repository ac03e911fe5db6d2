//! Every mark, in the order of the places it stands in. `sim/tests/probes.rs` compares the list with the source.

/// Something worth reaching.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Its name, as in `sometimes!`.
    pub name: &'static str,
    /// What happened when it is counted, in one sentence.
    pub means: &'static str,
}

/// All of them.
pub const MARKS: &[Mark] = &[
    // Impostors.
    Mark {
        name: "false-admission-refused",
        means: "A client did not believe who granted it a registration.",
    },
    // Several servers of a client.
    Mark {
        name: "registered-elsewhere",
        means: "A client could not register with one of its servers while another had it.",
    },
    // Sessions before their start.
    Mark {
        name: "session-limit-reached",
        means: "A visitor came when every session slot was taken.",
    },
    Mark {
        name: "visitor-waited-for-empty-group",
        means: "A visitor waited for a group without targets, and a target came.",
    },
    Mark {
        name: "start-retried-elsewhere",
        means: "A visitor whose try failed was sent to a target it had not been on.",
    },
    Mark {
        name: "silent-link-passed-over",
        means: "A stream was opened on another data link than one that had fallen silent.",
    },
    Mark {
        name: "silent-link-left-for-connection",
        means: "A session that would ride on a data link got a proxy connection, for every link had fallen silent.",
    },
    Mark {
        name: "every-upstream-refused",
        means: "A visitor was given up because every target refused it.",
    },
    Mark {
        name: "start-deadline-passed",
        means: "A visitor was given up because nobody had started it in time.",
    },
    Mark {
        name: "sent-bytes-repeated",
        means: "A try failed after visitor bytes were sent, and another was allowed.",
    },
    Mark {
        name: "first-bytes-sent-again",
        means: "A try began with bytes that an earlier one had been sent.",
    },
    Mark {
        name: "replay-buffer-exhausted",
        means: "A visitor said more before its start than may be kept.",
    },
    Mark {
        name: "visitor-gone-before-start",
        means: "A visitor reset before a client had started it.",
    },
    Mark {
        name: "visitor-ended-before-start",
        means: "A visitor ended its direction before a client had started it.",
    },
    Mark {
        name: "client-refused-start",
        means: "A client refused a visitor.",
    },
    Mark {
        name: "client-left-start-unanswered",
        means: "A client did not answer a start in time.",
    },
    Mark {
        name: "lent-connection-was-dead",
        means: "A connection died between being lent and being used.",
    },
    // Sessions after their start.
    Mark {
        name: "proxy-connection-reused",
        means: "A proxy connection carried its second or a later visitor.",
    },
    Mark {
        name: "visitor-half-closed-first",
        means: "A visitor ended its direction while the upstream's went on.",
    },
    Mark {
        name: "upstream-half-closed-first",
        means: "An upstream ended its direction while the visitor's went on.",
    },
    Mark {
        name: "reset-crossed-the-end",
        means: "A visitor left while its session's end was under way, and its reset came to a free connection.",
    },
    Mark {
        name: "upstream-reset-session",
        means: "An upstream reset a session that had started.",
    },
    Mark {
        name: "slow-reader-blocked-relay",
        means: "A relay had bytes that the raw side did not take.",
    },
    Mark {
        name: "half-closed-bytes-moved-on",
        means: "A half-closed session was about to be ended for its silence while bytes read before were still going out.",
    },
    // Who is left out, and why.
    Mark {
        name: "probe-refused-through-tunnel",
        means: "A client was there, and the upstream behind it refused a probe.",
    },
    Mark {
        name: "probe-timed-out-through-tunnel",
        means: "A probe had no answer in time, or no connection.",
    },
    Mark {
        name: "target-left-out-by-probe",
        means: "A target left the active set because of a probe.",
    },
    Mark {
        name: "target-left-out-by-sessions",
        means: "A target left the active set because of what visitors met.",
    },
    Mark {
        name: "target-used-again",
        means: "A target came back into the active set because of a probe.",
    },
    // Pool.
    Mark {
        name: "pool-was-empty",
        means: "A session asked for a connection when none was parked.",
    },
    Mark {
        name: "waiter-gave-up",
        means: "A session waited for a connection until its deadline.",
    },
    Mark {
        name: "order-failed",
        means: "A client could not open a connection it was asked for.",
    },
    Mark {
        name: "parked-connection-died",
        means: "A connection ended while it was parked.",
    },
    Mark {
        name: "proxy-connection-retired",
        means: "A parked connection was closed because it was not needed.",
    },
    // Registry and door.
    Mark {
        name: "door-was-full",
        means: "A stranger came when its address, or everybody together, had no place left at the door.",
    },
    Mark {
        name: "wrong-proof-refused",
        means: "A client proved the wrong token, or replayed another's proof.",
    },
    Mark {
        name: "old-epoch-refused",
        means: "A proxy connection named a registration that is no more.",
    },
    Mark {
        name: "void-ticket-refused",
        means: "A proxy connection came with a ticket that was used, too old or never given out.",
    },
    Mark {
        name: "registration-resumed",
        means: "A client came back before its old registration was known to have ended.",
    },
    Mark {
        name: "contender-turned-away",
        means: "The holder of a contested id answered, and the contender was denied.",
    },
    Mark {
        name: "silent-holder-lost-its-id",
        means: "The holder of a contested id did not answer, and the contender got it.",
    },
    Mark {
        name: "client-denied-while-draining",
        means: "A client wanted in while the server was draining.",
    },
    // Life and death.
    Mark {
        name: "link-fell-silent",
        means: "A link was found dead by its heartbeat.",
    },
    Mark {
        name: "proxy-connection-fell-silent",
        means: "A proxy connection was found dead by its keepalive.",
    },
    Mark {
        name: "drain-deadline-hit",
        means: "A drain ended sessions because its time was up.",
    },
    Mark {
        name: "next-address-reached",
        means: "An upstream could not be reached at one address, and was at another.",
    },
    Mark {
        name: "moved-while-dialled",
        means: "An address left a connect unanswered, names were asked for, and another address was reached.",
    },
    Mark {
        name: "name-not-resolved",
        means: "A host name could not be resolved.",
    },
    // The forwarder.
    Mark {
        name: "pool-miss",
        means: "A forwarder dialled for a visitor, for want of a warm stream.",
    },
    Mark {
        name: "dial-beside-a-slow-one",
        means: "A connect took so long that the next target was dialled beside it.",
    },
    Mark {
        name: "standby-tried",
        means: "A visitor whom no member served was brought to somebody who stood by.",
    },
    Mark {
        name: "stale-stream-discarded",
        means: "A warm stream that its target had left was discarded before anybody took it.",
    },
    Mark {
        name: "warm-stream-was-stale",
        means: "A warm stream was left by its target as it was taken, and its visitor said everything again.",
    },
    Mark {
        name: "target-speaks-first",
        means: "A target spoke on a warm stream that nobody used.",
    },
    Mark {
        name: "member-ejected-hard",
        means: "A member that could not be reached was put out.",
    },
    Mark {
        name: "member-ejected-soft",
        means: "A member that did poorly was put out.",
    },
    Mark {
        name: "target-held-off",
        means: "A target that answered again was held off.",
    },
    Mark {
        name: "last-resort-used",
        means: "Nobody was well, and somebody was used all the same.",
    },
    Mark {
        name: "group-panicked",
        means: "So many were out that doing poorly was forgiven.",
    },
    Mark {
        name: "slow-start-began",
        means: "A member that came back began with a small share.",
    },
    Mark {
        name: "probes-frozen",
        means: "Nearly all probes failed at once, and were not believed.",
    },
    // Data links.
    Mark {
        name: "session-overflowed-to-link",
        means: "A visitor found no proxy connection parked and rode on a data link.",
    },
    Mark {
        name: "link-had-no-room",
        means: "A visitor for data links found none with room, and took a proxy connection.",
    },
    Mark {
        name: "another-link-wanted",
        means: "Every data link of a client was crowded, or there was none.",
    },
    Mark {
        name: "data-link-replaced",
        means: "A data link that opens no more made room for another.",
    },
    Mark {
        name: "link-lost-with-sessions",
        means: "A data link was lost while sessions rode on it.",
    },
    Mark {
        name: "link-ran-out-of-ids",
        means: "A data link came to the last id it may give a stream.",
    },
    Mark {
        name: "link-full-of-streams",
        means: "A data link carried as many streams as it may.",
    },
    Mark {
        name: "peer-leaves-link",
        means: "One end of a data link said that nothing more would be opened.",
    },
    Mark {
        name: "stream-refused-by-full-link",
        means: "A stream was turned away by an end that had yet to let go of others.",
    },
    Mark {
        name: "stream-half-closed",
        means: "The end of a visitor came while its upstream could still speak, on a stream.",
    },
    Mark {
        name: "stream-reset-by-peer",
        means: "A stream was ended by the other side.",
    },
    Mark {
        name: "stream-reset-before-it-began",
        means: "A stream was given up before its start had gone out.",
    },
    Mark {
        name: "reset-crossed-end-of-stream",
        means: "A reset came for a stream that had ended already.",
    },
    Mark {
        name: "stream-out-of-credit",
        means: "A stream had something to say and no credit.",
    },
    Mark {
        name: "frames-left-together",
        means: "A link gave others a turn before it wrote, and they had something to say too.",
    },
    Mark {
        name: "window-grew",
        means: "A window was doubled, as it held its stream back.",
    },
    Mark {
        name: "link-budget-exhausted",
        means: "A window could not grow, as others of its link had taken everything.",
    },
    Mark {
        name: "slow-reader-lost-its-window",
        means: "A reader that slept lost what its window had grown by.",
    },
    Mark {
        name: "idle-credit-given-back",
        means: "A sender that was idle gave credit back.",
    },
    Mark {
        name: "start-behind-traffic",
        means: "The answer to a start did not come in time, and bytes that may have stood before it had just moved.",
    },
    // Requests.
    Mark {
        name: "kept-upstream-retired",
        means: "A client said that no new request should come on a session, as its address was not chosen any more.",
    },
    Mark {
        name: "kept-connection-was-closed",
        means: "A connection that was kept for requests turned out to be closed.",
    },
    Mark {
        name: "kept-connection-grew-old",
        means: "A connection to an upstream was in use for so long that it takes no more requests.",
    },
    Mark {
        name: "kept-connection-was-busy",
        means: "A connection had answered, and was not done with its request.",
    },
    Mark {
        name: "upstream-connection-shared",
        means: "A request shared a connection to its upstream with another.",
    },
    Mark {
        name: "upstream-connection-dropped",
        means: "A stream to an upstream was dropped before its end.",
    },
    Mark {
        name: "request-tried-elsewhere",
        means: "A request whose try failed was made again.",
    },
    Mark {
        name: "request-body-said-again",
        means: "A body was said again to somebody else.",
    },
    Mark {
        name: "request-broke-off",
        means: "A visitor broke off in the middle of a request.",
    },
    Mark {
        name: "answer-was-not-read-to-its-end",
        means: "A visitor went away in the middle of its answer.",
    },
    Mark {
        name: "visitor-left-before-the-answer",
        means: "A visitor went away before there was an answer to its request.",
    },
    Mark {
        name: "visitor-used-its-own-connection",
        means: "A visitor's request went on the connection that it had logged in to.",
    },
    Mark {
        name: "connections-closed-as-their-target-left",
        means: "Connections that were kept were closed, as their target had left the active set.",
    },
    Mark {
        name: "request-not-processed",
        means: "An upstream of HTTP/2 had not worked on a request, and it was sent again.",
    },
    Mark {
        name: "request-upgraded",
        means: "A request became a connection of its own.",
    },
    Mark {
        name: "cookie-came-in-crumbs",
        means: "A cookie came in several header fields over HTTP/2.",
    },
    Mark {
        name: "chain-of-proxies-walked",
        means: "A trusted proxy named another one, and that the one before it.",
    },
    Mark {
        name: "only-the-head-was-asked-for",
        means: "An answer to HEAD was passed on.",
    },
    Mark {
        name: "line-lost-to-a-full-disk",
        means: "A line of the access log could not be written.",
    },
    Mark {
        name: "deadline-over-before-the-answer",
        means: "The deadline of a call of gRPC was over before its answer began.",
    },
    Mark {
        name: "deadline-over-within-the-answer",
        means: "The deadline of a call of gRPC was over within its answer.",
    },
    Mark {
        name: "answer-paused-too-long",
        means: "An answer paused for longer than its rule allows.",
    },
    Mark {
        name: "interim-answer-passed-on",
        means: "An interim answer of an upstream was written to a visitor.",
    },
    Mark {
        name: "websocket-asked-for-by-connect",
        means: "A visitor of HTTP/2 got a WebSocket (RFC 8441).",
    },
    Mark {
        name: "body-framed-twice",
        means: "A request was refused that said how long its body is and that it is chunked.",
    },
    Mark {
        name: "request-with-trailers",
        means: "The body of a request ended with trailers.",
    },
    Mark {
        name: "head-came-too-late",
        means: "A connection was ended because the head of a request took too long.",
    },
    // Several upstreams, services that ail to the end, groups of one.
    Mark {
        name: "further-upstream-served",
        means: "A client was asked for another upstream than its first.",
    },
    Mark {
        name: "held-up-side-was-reset",
        means: "A side that was not read, because nothing went on to the other, turned out to be reset.",
    },
    Mark {
        name: "held-up-bytes-dropped",
        means: "A stream was reset, and what its upstream had not taken was dropped.",
    },
    Mark {
        name: "lone-target-found-out",
        means: "A group of one was found to be unusable.",
    },
];
