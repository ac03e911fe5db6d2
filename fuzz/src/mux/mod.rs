//! Both ends of a data link, joined by two queues of bytes, under any deeds of those who hold its streams, of the wire
//! and of the clock. What is heard of a stream is what was said on it, in its order; honest ends never accuse each
//! other; whoever waits is told; and in the end everything is heard and nothing is left.
//!
//! In the other half of the inputs one end is no Adit at all, but frames and bytes out of the input.

mod end;
mod link;
mod said;

use adit::link::mux::{Options, Side};

use self::link::Link;
use crate::input::Input;

/// The most deeds of one input. Fewer hide what takes long; more make each input slow.
const DEEDS_MAX: usize = 300;

const WINDOWS: [u32; 4] = [64 * 1024, 1, 100, 5000];
const BUDGETS: [u64; 3] = [1 << 20, 0, 3000];
const STREAMS_MAX: [usize; 3] = [6, 1, 2];
const IDS_MAX: [u32; 2] = [1 << 30, 9];

/// Takes a byte that says whether one end is hostile and which, the options, and then the deeds.
pub fn mux(data: &[u8]) {
    let mut input = Input::new(data);
    let hostile = input.one_of(&[None, Some(Side::Opener), None, Some(Side::Acceptor)]);
    let options = Options {
        window: input.one_of(&WINDOWS),
        budget: input.one_of(&BUDGETS),
        streams_max: input.one_of(&STREAMS_MAX),
        ids_max: input.one_of(&IDS_MAX),
    };
    let mut link = Link::new(options, hostile);
    for _ in 0..DEEDS_MAX {
        if input.is_empty() || link.is_broken() {
            break;
        }
        link.act(&mut input);
    }
    link.end();
}
