//! `body_limit`: how long the body of a request may be.

use http::{StatusCode, header::CONTENT_LENGTH, request};

use super::{Decision, Memo, Plugin, Refusal, Visit};

/// Refuses requests that announce a longer body. [`Chain::body_limit`](super::Chain::body_limit) tells the limit to
/// whoever moves the bodies that do not.
#[derive(Clone, Copy, Debug)]
pub(super) struct BodyLimit {
    bytes: u64,
}

impl BodyLimit {
    pub fn new(bytes: u64) -> Self {
        Self { bytes }
    }
}

impl Plugin for BodyLimit {
    fn name(&self) -> &'static str {
        "body_limit"
    }

    fn request(&self, request: &mut request::Parts, _: &Visit, _: &mut Memo) -> Decision {
        let mut lengths = request.headers.get_all(CONTENT_LENGTH).iter();
        if lengths.all(|length| is_within(length.as_bytes(), self.bytes)) {
            return Decision::Pass;
        }
        let message = "the body is longer than this rule lets through";
        Refusal::new(self.name(), StatusCode::PAYLOAD_TOO_LARGE, message).into()
    }

    fn body_limit(&self) -> Option<u64> {
        Some(self.bytes)
    }
}

/// Whether a length is no more than this. What is no number, or one that no number can hold, is more.
fn is_within(length: &[u8], bytes: u64) -> bool {
    let digits = length.iter().all(u8::is_ascii_digit);
    let number = str::from_utf8(length)
        .ok()
        .and_then(|text| text.parse::<u64>().ok());
    digits && number.is_some_and(|length| length <= bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::testing::{decide, refusal, request};

    #[test]
    fn a_body_that_says_it_is_longer_is_refused_at_once() {
        let check = |lengths: &[&str], passes: bool| {
            let headers: Vec<_> = lengths.iter().map(|length| ("content-length", *length)).collect();
            let decision = decide(&BodyLimit::new(1024), &mut request("POST /", &headers));
            match passes {
                true => assert!(matches!(decision, Decision::Pass), "{lengths:?}"),
                false => assert_eq!(refusal(decision).status, 413, "{lengths:?}"),
            }
        };
        check(&[], true);
        check(&["0"], true);
        check(&["1024"], true);
        check(&["1025"], false);
        check(&["99999999999999999999999999"], false);
        check(&["5", "5000"], false);
        check(&["5, 5000"], false);
        check(&["+5"], false);
        check(&["-1"], false);
        check(&[""], false);
        assert_eq!(BodyLimit::new(1024).body_limit(), Some(1024));
    }
}
