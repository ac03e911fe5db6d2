//! Bytes to frames to messages. A stream means the same however it is cut; every limit holds; what is held is explained
//! by what came; and a message that was understood can be said again.

use std::fmt::Debug;

use adit::wire::{
    codec::{Decoder, FrameError, Head, Piece, encode},
    frame::{HEADER_LEN_MAX, IGNORABLE, PROXY_BODY_LEN_MAX},
    message::{LIST_LEN_MAX, Message, ToClient, ToServer},
};

use crate::{
    expected::{Fault, expected},
    input::Input,
};

/// What control connections, links and proxy connections allow.
const BODY_LEN_MAX: [u32; 3] = [0, 64 * 1024, PROXY_BODY_LEN_MAX];

/// The most sizes of pieces that an input names; they take turns.
const CUTS_MAX: usize = 15;

/// What a decoder and one message may hold whatever came: two lists of [`LIST_LEN_MAX`] elements as they grow.
const HELD_BASE: u64 = 40 * 1024;

/// How many times the bytes that came may be held at once: in the decoder, as they grow, and in the message.
const HELD_FACTOR: u64 = 6;

/// Takes which limit, how many cuts, the cuts, and then the stream itself.
pub fn codec(data: &[u8]) {
    let mut input = Input::new(data);
    let body_len_max = input.one_of(&BODY_LEN_MAX);
    let count = usize::from(input.byte()) % (CUTS_MAX + 1);
    let cuts = input.take(count);
    let stream = input.rest();

    let expected = expected(stream, body_len_max);
    for cuts in [&[], cuts, &[0]] {
        let mut frames = Vec::new();
        let end = decode(stream, body_len_max, cuts, &mut |seen| match seen {
            Seen::Head(head) => frames.push((head, Vec::new())),
            Seen::Body(bytes) => {
                let (_, body) = frames.last_mut().expect("a body has a head");
                body.extend_from_slice(bytes);
            }
        });
        assert_eq!(frames, expected.frames, "in pieces of {cuts:?}");
        match end {
            Ok(between) => {
                assert!(
                    expected.faults.is_empty(),
                    "accepted in spite of {:?}",
                    expected.faults
                );
                assert_eq!(between, expected.between, "in pieces of {cuts:?}");
            }
            Err(error) => {
                let fault = fault(&error);
                assert!(
                    expected.faults.contains(&fault),
                    "{error}, but {:?}",
                    expected.faults
                );
            }
        }
    }
    for (head, _) in &expected.frames {
        said_again(head, |message: &ToServer| match message {
            ToServer::Register(register) => register.upstreams.len().max(register.features.len()),
            ToServer::GoAway(away) => away.servers.len(),
            _ => 0,
        });
        said_again(head, |message: &ToClient| match message {
            ToClient::RequestNewProxyConn(request) => request.ids.len(),
            ToClient::GoAway(away) => away.servers.len(),
            _ => 0,
        });
    }
    let held = allocation_counter::measure(|| {
        let end = decode(stream, body_len_max, &[], &mut |seen| {
            if let Seen::Head(head) = seen {
                drop(head.message::<ToServer>());
                drop(head.message::<ToClient>());
            }
        });
        drop(end);
    });
    let held_max = HELD_BASE + HELD_FACTOR * stream.len() as u64;
    assert!(
        held.bytes_max <= held_max,
        "{} bytes held for {}",
        held.bytes_max,
        stream.len()
    );
}

/// What a decoder has found.
enum Seen<'a> {
    Head(Head),
    Body(&'a [u8]),
}

/// Gives `stream` to a decoder in pieces of `cuts` + 1 bytes in turn, whole without cuts, and takes bodies in such
/// pieces too. Returns whether it ends between two frames.
fn decode(
    stream: &[u8],
    body_len_max: u32,
    cuts: &[u8],
    found: &mut dyn FnMut(Seen<'_>),
) -> Result<bool, FrameError> {
    let mut decoder = Decoder::new(body_len_max);
    let mut sizes = cuts.iter().cycle().map(|cut| usize::from(*cut) + 1);
    let mut size = || sizes.next().unwrap_or(usize::MAX);
    let mut left = stream;
    while !left.is_empty() {
        let (mut piece, rest) = left.split_at(size().min(left.len()));
        left = rest;
        loop {
            match decoder.next(&mut piece)? {
                Piece::Incomplete => break,
                Piece::Head(head) => found(Seen::Head(head)),
                Piece::Body(there) => {
                    assert!(
                        (1..=piece.len()).contains(&there),
                        "{there} of {} bytes",
                        piece.len()
                    );
                    let (taken, rest) = piece.split_at(size().min(there));
                    decoder.consume_body(taken.len());
                    found(Seen::Body(taken));
                    piece = rest;
                }
            }
        }
        assert!(piece.is_empty(), "an incomplete frame has taken all there was");
    }
    Ok(decoder.is_empty())
}

fn fault(error: &FrameError) -> Fault {
    match error {
        FrameError::HeaderTooLong(_) => Fault::HeaderTooLong,
        FrameError::BodyTooLong(..) => Fault::BodyTooLong,
        FrameError::UnexpectedBody(_) => Fault::UnexpectedBody,
        FrameError::UnexpectedHeader(_) => Fault::UnexpectedHeader,
        FrameError::CreditLen(_) => Fault::CreditLen,
    }
}

/// A head that is a message of this direction is the same message after another turn. `longest` is the length of its
/// longest list.
fn said_again<M: Message + PartialEq + Debug>(head: &Head, longest: impl Fn(&M) -> usize) {
    let message = match head.message::<M>() {
        Ok(Some(message)) => message,
        Ok(None) => {
            assert!(
                head.prefix.flags & IGNORABLE != 0,
                "what is skipped says that it may be"
            );
            return;
        }
        Err(_) => return,
    };
    assert_eq!(message.kind(), head.prefix.kind);
    assert!(longest(&message) <= LIST_LEN_MAX);
    let mut header = Vec::new();
    message.encode_header(&mut header);
    let again = M::decode(message.kind(), &header).expect("what is said is understood");
    assert_eq!(again, message);

    // A short way to write a message may be longer in full.
    if header.len() > usize::from(HEADER_LEN_MAX) {
        return;
    }
    let mut frame = Vec::new();
    encode(&mut frame, head.prefix.stream_id, &message);
    let mut frames = expected(&frame, 0).frames;
    let (head_again, _) = frames.pop().expect("a message is a frame");
    assert!(frames.is_empty(), "a message is one frame");
    assert_eq!(head_again.header, header);
    assert_eq!(head_again.prefix.stream_id, head.prefix.stream_id);
}
