//! How a link comes to its end.

use super::*;

#[test]
fn a_link_is_left_though_nobody_has_looked_at_its_last_stream() {
    let mut pair = Pair::new(Options::default());
    let id = pair.open();
    pair.settle();
    pair.server.mux.leave();
    pair.settle();
    assert!(!pair.client.mux.is_left(), "the stream goes on");
    pair.server.mux.reset(pair.now, id, ResetCode::VisitorGone);
    pair.server.mux.release(pair.now, id);
    pair.settle();
    assert!(pair.server.mux.is_over() && pair.client.mux.is_left());
    assert_eq!(pair.client.mux.streams(), 1, "its session has not noticed");
}
