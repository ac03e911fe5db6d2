//! The two cores of a session against each other, over a stream that breaks wherever it likes.

#![allow(clippy::unwrap_used, reason = "a test may stop at what it did not expect")]

mod model;

use adit::{
    id::Ordinal,
    session::{
        core::{Action, Core, Fate},
        first_bytes::{FirstBytes, ReplayBudget},
        upstream_side::UpstreamSide,
        visitor_side::Outcome,
    },
    time,
    wire::message::{Message, ResetCode, ToClient, ToServer},
};
use model::{End, HALF_CLOSED, Raw, Step, Try};
use proptest::{prelude::*, sample::select};

/// Bytes in which every position differs from its neighbours, so that a shift shows.
fn speech(len: usize, salt: u32) -> Vec<u8> {
    let byte = |n: u32| (n.wrapping_add(salt).wrapping_mul(2_654_435_761) >> 13) as u8;
    (0..len as u32).map(byte).collect()
}

fn length() -> impl Strategy<Value = usize> {
    prop_oneof![Just(0), 1usize..200, 1usize..5_000, 60_000usize..150_000]
}

fn end() -> impl Strategy<Value = End> {
    select(vec![End::Visitor, End::Upstream])
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => (end(), prop_oneof![1usize..100, Just(70_000)]).prop_map(|(end, n)| Step::Read(end, n)),
        14 => (end(), 1usize..6).prop_map(|(end, n)| Step::Deliver(end, n)),
        3 => end().prop_map(Step::ShutDown),
        1 => end().prop_map(Step::Reset),
        1 => Just(Step::Working),
        3 => Just(Step::Connect),
        2 => Just(Step::Refuse),
        2 => prop_oneof![1u64..400, 900u64..1_500, Just(301_000)].prop_map(Step::Wait),
        1 => (0usize..300, 0usize..300).prop_map(|(up, down)| Step::Break(up, down)),
        1 => Just(Step::Break(usize::MAX, usize::MAX)),
        1 => Just(Step::Abort),
    ]
}

/// Steps that bring a session on, without any fault.
fn mild_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (end(), 1usize..70_000).prop_map(|(end, n)| Step::Read(end, n)),
        4 => (end(), 1usize..6).prop_map(|(end, n)| Step::Deliver(end, n)),
        1 => end().prop_map(Step::ShutDown),
        1 => Just(Step::Connect),
        1 => Just(Step::Working),
    ]
}

#[derive(Clone, Debug)]
struct Plan {
    visitor_len: usize,
    upstream_len: usize,
    budget: usize,
    /// What happens on each try; a last, undisturbed one follows.
    tries: Vec<Vec<Step>>,
}

fn plan() -> impl Strategy<Value = Plan> {
    let tries = prop::collection::vec(prop::collection::vec(step(), 0..40), 1..4);
    let budget = select(vec![0usize, 16 * 1024, 1 << 20]);
    (length(), length(), budget, tries).prop_map(|(visitor_len, upstream_len, budget, tries)| Plan {
        visitor_len,
        upstream_len,
        budget,
        tries,
    })
}

/// Carries one visitor over as many tries as it needs; the model checks itself at every step.
fn carry(plan: &Plan) {
    let mut visitor = Raw::new(speech(plan.visitor_len, 1));
    let mut first = FirstBytes::new(ReplayBudget::new(plan.budget));
    let mut now = time::now();
    let mut ordinal = Ordinal::CONNECTION.next().unwrap();
    let nothing = Vec::new();
    for steps in plan.tries.iter().chain([&nothing]) {
        assert_eq!(
            first.bytes(),
            &visitor.says[..visitor.read],
            "all that was read is kept for the next try"
        );
        assert_eq!(first.fin(), visitor.end_read);
        let upstream = Raw::new(speech(plan.upstream_len, 2));
        let mut it = Try::new(now, ordinal, visitor, first, upstream);
        for step in steps {
            it.step(step);
        }
        it.finish();
        now = it.now;
        match it
            .visitor
            .core
            .outcome()
            .expect("an ended session has an outcome")
        {
            Outcome::NotStarted { .. } => {
                first = it.visitor.core.take_first_bytes();
                visitor = it.visitor.raw.handed_back();
                ordinal = ordinal.next().unwrap();
            }
            outcome => {
                let undisturbed = steps.is_empty() && !it.visitor.raw.broken;
                assert!(
                    !undisturbed || outcome == Outcome::Completed,
                    "nothing disturbed it: {outcome:?}"
                );
                return;
            }
        }
    }
    panic!("an undisturbed try starts");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_bytes_and_endings_are_honest(plan in plan()) {
        carry(&plan);
    }

    #[test]
    fn without_faults_every_session_completes(
        visitor_len in length(),
        upstream_len in length(),
        budget in select(vec![0usize, 16 * 1024, 1 << 20]),
        steps in prop::collection::vec(mild_step(), 0..60),
    ) {
        let first = FirstBytes::new(ReplayBudget::new(budget));
        let (visitor, upstream) = (Raw::new(speech(visitor_len, 1)), Raw::new(speech(upstream_len, 2)));
        let mut it = Try::new(time::now(), Ordinal::new(7), visitor, first, upstream);
        for step in &steps {
            it.step(step);
        }
        it.finish();
        prop_assert_eq!(it.visitor.core.outcome(), Some(Outcome::Completed));
        prop_assert_eq!(it.visitor.core.fate(), Some(Fate::Reusable));
        prop_assert_eq!(it.visitor.core.bytes(), (visitor_len as u64, upstream_len as u64));
    }

    /// A refusal costs nobody the stream while the visitor's bytes fit the limit.
    #[test]
    fn a_refused_try_leaves_a_reusable_stream(visitor_len in length(), read_first: bool) {
        let first = FirstBytes::new(ReplayBudget::new(1 << 20));
        let (visitor, upstream) = (Raw::new(speech(visitor_len, 1)), Raw::new(Vec::new()));
        let mut it = Try::new(time::now(), Ordinal::new(1), visitor, first, upstream);
        if read_first {
            it.step(&Step::Read(End::Visitor, usize::MAX));
        }
        it.step(&Step::Deliver(End::Upstream, 1));
        it.step(&Step::Refuse);
        it.finish();
        prop_assert_eq!(it.visitor.core.fate(), Some(Fate::Reusable));
        let refused = matches!(it.visitor.core.outcome(), Some(Outcome::NotStarted { .. }));
        prop_assert!(refused);
    }

    /// Arbitrary messages in arbitrary order: a peer that talks nonsense loses its stream, and nothing else.
    #[test]
    fn nonsense_from_a_peer_never_panics(
        kinds in prop::collection::vec((0u8..60, 0u32..3, any::<u32>()), 0..40),
        connect: bool,
    ) {
        let now = time::now();
        let first = FirstBytes::new(ReplayBudget::new(1 << 20));
        let mut server = Try::new(now, Ordinal::new(1), Raw::new(Vec::new()), first, Raw::new(Vec::new())).visitor.core;
        let mut client = UpstreamSide::new(now, Ordinal::new(1), HALF_CLOSED);
        if connect {
            client.handle_connected();
        }
        for (kind, stream_id, body_len) in kinds {
            if let Ok(message) = ToServer::decode(kind, if has_header(kind) { &[0x80] } else { &[] }) {
                server.handle_message(now, stream_id, message, body_len);
            }
            if let Ok(message) = ToClient::decode(kind, if has_header(kind) { &[0x80] } else { &[] }) {
                client.handle_message(now, stream_id, message, body_len);
            }
            while server.poll_action().is_some() || client.poll_action().is_some() {}
        }
    }
}

fn has_header(kind: u8) -> bool {
    use adit::wire::frame::kind::{ACCEPTED, DATA, FIN, GO_AWAY_ACK, PING, PONG, STARTED};
    ![ACCEPTED, DATA, FIN, GO_AWAY_ACK, PING, PONG, STARTED].contains(&kind)
}

#[test]
fn a_frame_of_another_session_ends_the_stream() {
    let mut client = UpstreamSide::new(time::now(), Ordinal::new(3), HALF_CLOSED);
    client.handle_connected();
    assert_eq!(client.poll_action(), Some(Action::Send(ToServer::Started)));
    client.handle_message(time::now(), 2, ToClient::Data, 10);
    assert_eq!(client.fate(), Some(Fate::Dead));
    let Some(Action::Send(ToServer::Reset(reset))) = client.poll_action() else {
        panic!("the peer is told");
    };
    assert_eq!(ResetCode::from(reset.code), ResetCode::Protocol);
    assert_eq!(client.poll_action(), Some(Action::ResetRaw));
}
