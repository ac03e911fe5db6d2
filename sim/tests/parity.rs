//! The cases of `adit_sim::parity` on every ground.

mod grounds;

use std::collections::BTreeSet;

use adit_sim::parity::CASES;
use grounds::{
    Ground, engines, failures, listed, loopback,
    lying::{self, Lie},
};

const NO_RESET: &str = "there is no reset on demand: the peer sees a clean end";
const NOT_WOKEN: &str = "a writer that waits for room is not woken by a reset";
const NO_LOOK: &str = "whether a stream is broken cannot be told without using it";
const LOST_END: &str = "an end that arrives while the receiver holds its most segments is lost";
const NO_QUEUE: &str = "connecting waits until somebody accepts";

/// Where the stock network differs, and why. It fails exactly these.
const STOCK_DIFFERS: &[(&str, &str)] = &[
    ("ending-twice-is-fine", "ending again is an error"),
    ("writing-to-a-dropped-peer-fails", NOT_WOKEN),
    ("a-peer-that-ended-and-then-dropped-takes-no-more", NOT_WOKEN),
    ("a-blocked-reader-sees-a-reset", NO_RESET),
    ("a-blocked-writer-sees-a-reset", NOT_WOKEN),
    ("a-blocked-writer-sees-its-reader-drop", NOT_WOKEN),
    ("a-client-s-reset-is-a-reset-too", NO_RESET),
    ("a-reset-overtakes-bytes-that-were-just-written", NO_RESET),
    ("a-reset-passes-a-closed-window", NO_RESET),
    ("a-reset-while-idle-is-seen-by-the-next-read", NO_RESET),
    ("after-a-reset-no-byte-is-read-and-none-is-taken", NO_RESET),
    ("a-reset-after-the-peer-s-end-is-a-reset", NO_RESET),
    ("a-reset-after-the-own-end-fails-the-peer-s-writes", NOT_WOKEN),
    ("a-reset-leaves-other-connections-alone", NO_RESET),
    ("a-reset-shows-without-reading", NO_LOOK),
    ("a-reset-shows-behind-bytes-that-nobody-reads", NO_LOOK),
    (
        "one-write-takes-only-what-fits",
        "room is counted in segments, and one takes a write of any size",
    ),
    ("what-was-taken-outlives-a-drop", LOST_END),
    ("a-new-listener-leaves-alone-what-is-still-being-sent", LOST_END),
    ("connecting-succeeds-before-accepting", NO_QUEUE),
    ("bytes-and-the-end-arrive-before-accepting", NO_QUEUE),
    ("connections-are-accepted-in-their-order", NO_QUEUE),
    ("a-burst-of-connections-waits-to-be-accepted", NO_QUEUE),
    ("a-dropped-listener-resets-who-was-not-accepted", NO_QUEUE),
    ("a-port-is-free-after-connections-were-reset", NO_RESET),
    ("a-reset-in-the-queue-does-not-harm-the-listener", NO_QUEUE),
];

#[test]
fn every_case_has_a_name_of_its_own() {
    let names: BTreeSet<_> = CASES.iter().map(|case| case.name).collect();
    assert_eq!(names.len(), CASES.len());
}

/// Plays every case on `ground`: exactly those of `differs` must fail.
fn check(ground: Ground, differs: &[(&str, &str)]) {
    let failed = failures(CASES, ground);
    let failing: BTreeSet<_> = failed.iter().map(|(name, _)| *name).collect();
    let known: BTreeSet<_> = differs.iter().map(|(name, _)| *name).collect();
    let news = failed.iter().filter(|(name, _)| !known.contains(name));
    let news: Vec<_> = news.cloned().collect();
    let held: Vec<_> = known.difference(&failing).collect();
    assert!(
        news.is_empty() && held.is_empty(),
        "these fail, which is new:{}\nthese hold, which is new: {held:?}",
        listed(&news)
    );
}

#[test]
fn the_real_loopback_holds_every_case() {
    check(loopback::ground, &[]);
}

#[test]
fn the_main_engine_holds_every_case() {
    check(engines::main_engine, &[]);
}

#[test]
fn the_main_engine_holds_every_case_under_strain() {
    check(engines::main_engine_strained, &[]);
}

#[test]
fn the_stock_network_differs_where_it_is_known_to() {
    check(engines::stock, STOCK_DIFFERS);
}

/// For each lie, cases that it cannot get past.
const CAUGHT: &[(Lie, &[&str])] = &[
    (
        Lie::LosesABytePerWrite,
        &[
            "the-end-follows-all-bytes",
            "bytes-and-the-end-wait-for-a-late-reader",
        ],
    ),
    (
        Lie::TakesWhatDoesNotFit,
        &[
            "a-writer-blocks-until-the-reader-reads",
            "one-write-takes-only-what-fits",
        ],
    ),
    (
        Lie::NeverWakesWriters,
        &[
            "a-closed-window-reopens-under-tiny-reads",
            "a-blocked-writer-sees-a-reset",
        ],
    ),
    (Lie::EndsAtAnEmptyWrite, &["an-empty-write-says-nothing"]),
    (Lie::TakesAByteAtAnEmptyRead, &["an-empty-read-takes-nothing"]),
    (
        Lie::ForgetsWhatNobodyTookAtOnce,
        &["a-read-that-was-given-up-loses-nothing"],
    ),
    (
        Lie::EndsInsteadOfResetting,
        &["a-blocked-reader-sees-a-reset", "a-reset-passes-a-closed-window"],
    ),
    (
        Lie::ResetsInsteadOfEnding,
        &[
            "a-drop-with-nothing-unread-is-a-clean-end",
            "what-was-taken-outlives-a-drop",
        ],
    ),
    (
        Lie::ShowsFailuresAsEnds,
        &[
            "a-client-s-reset-is-a-reset-too",
            "a-dropped-listener-resets-who-was-not-accepted",
        ],
    ),
    (
        Lie::ReadsAllBeforeDropping,
        &["a-drop-with-unread-bytes-resets-the-peer"],
    ),
    (Lie::NeverEnds, &["both-ends-cross-and-both-arrive"]),
    (
        Lie::EndsBothDirections,
        &["a-client-goes-on-after-the-server-ended"],
    ),
    (Lie::LooksSound, &["a-reset-shows-without-reading"]),
    (Lie::LooksBroken, &["a-sound-stream-does-not-look-broken"]),
    (Lie::HidesThePeer, &["the-peer-s-address-is-the-other-end"]),
    (
        Lie::LosesWhoIsAccepted,
        &["an-accept-that-was-given-up-loses-nobody"],
    ),
    (
        Lie::AcceptsTheLaterFirst,
        &["connections-are-accepted-in-their-order"],
    ),
    (
        Lie::ListensForEver,
        &[
            "a-port-without-listener-refuses",
            "a-port-is-free-beside-an-open-connection",
        ],
    ),
];

#[test]
fn a_lying_transport_is_caught() {
    let known = |name: &str| CASES.iter().find(|case| case.name == name).copied();
    let named = |lie, name| (lie, known(name).expect("the table names cases"));
    let names = |(lie, names): &(Lie, &[&'static str])| names.iter().map(|name| named(*lie, name)).collect();
    let told: Vec<_> = CAUGHT.iter().flat_map::<Vec<_>, _>(names).collect();
    let believed = lying::believed(&told);
    assert!(believed.is_empty(), "believed: {believed:?}");
    // The same cases, where nobody lies.
    let honest: Vec<_> = told.iter().map(|(_, case)| (Lie::None, *case)).collect();
    assert_eq!(lying::believed(&honest).len(), honest.len());
}

#[test]
fn every_case_catches_some_lie() {
    let mut left = CASES.to_vec();
    for (lie, _) in CAUGHT {
        let told: Vec<_> = left.iter().map(|case| (*lie, *case)).collect();
        left = lying::believed(&told).into_iter().map(|(_, case)| case).collect();
    }
    assert!(left.is_empty(), "no lie turns these red: {left:?}");
}
