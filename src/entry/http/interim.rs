//! Interim answers (1xx) of upstreams, on their way to visitors of HTTP/1.
//!
//! Hyper 1.12 hears them from an HTTP/1 upstream, and has no way to say them. So they are written beside it, before the head
//! of the answer: at a moment when hyper has nothing left to write. `100 Continue` is hyper's own, 101 is no interim answer.

use std::sync::{
    Arc, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use bytes::{Buf, Bytes};
use http::{HeaderMap, Request, StatusCode, header::CONTENT_LENGTH};
use tokio::sync::Notify;

use super::headers;
use crate::probe::{mutant, sometimes};

#[allow(
    clippy::disallowed_types,
    reason = "one lock per connection, held while bytes are put in or taken out"
)]
type Lock<T> = std::sync::Mutex<T>;

/// The most bytes of them that wait for a visitor who does not read. What does not fit is not said.
const WAITING_MAX: usize = 16 * 1024;

/// What of interim answers is still to be said on one visitor's connection.
#[derive(Debug, Default)]
pub struct Interim {
    /// Whether there is something.
    any: AtomicBool,
    /// Whether hyper has something left to write. Said and asked by the one task that works on the connection.
    busy: AtomicBool,
    waiting: Lock<Waiting>,
    came: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    bytes: Vec<u8>,
    /// The try whose upstream may say something: none does once there is an answer.
    from: Option<Arc<()>>,
}

impl Interim {
    fn with<T>(&self, work: impl FnOnce(&mut Waiting) -> T) -> T {
        work(&mut self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn add(&self, from: &Arc<()>, status: StatusCode, headers: &HeaderMap) {
        if matches!(status, StatusCode::CONTINUE | StatusCode::SWITCHING_PROTOCOLS)
            && !mutant!("continue-of-upstream-passed-on")
        {
            return;
        }
        let head = encode(status, headers);
        self.with(|waiting| {
            let is_asked = waiting
                .from
                .as_ref()
                .is_some_and(|asked| Arc::ptr_eq(asked, from));
            if is_asked && waiting.bytes.len() + head.len() <= WAITING_MAX {
                if mutant!("only-last-interim-answer-kept") {
                    waiting.bytes.clear();
                }
                waiting.bytes.extend_from_slice(&head);
                self.any.store(true, Ordering::Release);
            }
        });
        self.came.notify_one();
    }

    /// Hyper has (not) written all that it had to.
    pub fn set_busy(&self, busy: bool) {
        self.busy.store(busy, Ordering::Relaxed);
    }

    /// What is to be said now.
    pub fn take(&self) -> Option<Bytes> {
        if self.busy.load(Ordering::Relaxed) || !self.any.swap(false, Ordering::Acquire) {
            return None;
        }
        let bytes = self.with(|waiting| std::mem::take(&mut waiting.bytes));
        sometimes!(!bytes.is_empty(), "interim-answer-passed-on");
        Some(bytes.into())
    }
}

/// The head of an answer as HTTP/1 has it, without what belongs to the connection it came on.
fn encode(status: StatusCode, headers: &HeaderMap) -> Vec<u8> {
    let mut headers = headers.clone();
    if !mutant!("interim-answer-keeps-what-is-hop-by-hop") {
        headers::strip_hop_by_hop(&mut headers);
    }
    headers.remove(CONTENT_LENGTH);
    let reason = status.canonical_reason().unwrap_or("Interim");
    let mut head = format!("HTTP/1.1 {} {reason}\r\n", status.as_u16()).into_bytes();
    for (name, value) in &headers {
        // As most write them: hyper does not tell how this one was written.
        let mut inside = false;
        head.extend(
            name.as_str()
                .bytes()
                .map(|byte| match std::mem::replace(&mut inside, byte != b'-') {
                    true => byte,
                    false => byte.to_ascii_uppercase(),
                }),
        );
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    head
}

/// One try, as long as its upstream may say something before it answers.
pub struct Asking {
    interim: Arc<Interim>,
}

impl Asking {
    /// Lets whoever is sent `request` speak to the visitor of that connection.
    pub fn begin<B>(interim: &Arc<Interim>, request: &mut Request<B>) -> Self {
        let from = Arc::new(());
        interim.with(|waiting| waiting.from = Some(Arc::clone(&from)));
        let to = Arc::clone(interim);
        hyper::ext::on_informational(request, move |answer| {
            to.add(&from, answer.status(), answer.headers());
        });
        Self {
            interim: Arc::clone(interim),
        }
    }

    /// Waits until the upstream has said something.
    pub async fn came(&self) {
        self.interim.came.notified().await;
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        let interim = &self.interim;
        interim.with(|waiting| {
            waiting.from = None;
            // Behind what is being written the answer comes next.
            if interim.busy.load(Ordering::Relaxed) {
                waiting.bytes.clear();
                interim.any.store(false, Ordering::Relaxed);
            }
        });
    }
}

/// Says what waits, in the place of a writer that has nothing left to say.
#[derive(Debug, Default)]
pub struct Saying {
    left: Bytes,
}

impl Saying {
    /// The bytes to be written next; empty if there are none.
    pub fn next(&mut self, interim: &Interim) -> &[u8] {
        if self.left.is_empty()
            && let Some(bytes) = interim.take()
        {
            self.left = bytes;
        }
        &self.left
    }

    /// Takes what waits as well: what is written after this comes behind it.
    pub fn gather(&mut self, interim: &Interim) {
        if let Some(bytes) = interim.take() {
            self.left = [&self.left[..], &bytes[..]].concat().into();
        }
    }

    /// So many were written.
    pub fn wrote(&mut self, bytes: usize) {
        self.left.advance(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HINTS: StatusCode = StatusCode::EARLY_HINTS;

    fn said(interim: &Interim) -> String {
        let mut saying = Saying::default();
        let bytes = saying.next(interim).to_vec();
        String::from_utf8(bytes).expect("heads are text")
    }

    fn asking(interim: &Arc<Interim>) -> (Asking, Arc<()>) {
        let asking = Asking::begin(interim, &mut Request::new(()));
        let from = interim.with(|waiting| waiting.from.clone());
        (asking, from.expect("somebody is asked"))
    }

    #[test]
    fn nothing_is_said_once_there_is_an_answer() {
        let interim = Arc::<Interim>::default();
        let (first, from_first) = asking(&interim);
        interim.add(&from_first, HINTS, &HeaderMap::new());
        assert_eq!(said(&interim), "HTTP/1.1 103 Early Hints\r\n\r\n");
        drop(first);
        interim.add(&from_first, HINTS, &HeaderMap::new());
        assert_eq!(said(&interim), "");
        // Nor by one that was given up, while another is asked.
        let (_second, from_second) = asking(&interim);
        interim.add(&from_first, HINTS, &HeaderMap::new());
        assert_eq!(said(&interim), "");
        interim.add(&from_second, HINTS, &HeaderMap::new());
        assert_ne!(said(&interim), "");
    }

    #[test]
    fn what_could_not_be_said_before_the_answer_is_not_said() {
        let interim = Arc::<Interim>::default();
        let (asked, from) = asking(&interim);
        interim.set_busy(true);
        interim.add(&from, HINTS, &HeaderMap::new());
        assert_eq!(said(&interim), "");
        drop(asked);
        interim.set_busy(false);
        assert_eq!(said(&interim), "");
    }

    #[test]
    fn what_waits_is_gathered_behind_what_is_written_in_part() {
        let interim = Arc::<Interim>::default();
        let (_asked, from) = asking(&interim);
        let mut saying = Saying::default();
        interim.add(&from, HINTS, &HeaderMap::new());
        let len = saying.next(&interim).len();
        saying.wrote(10);
        interim.add(&from, HINTS, &HeaderMap::new());
        saying.gather(&interim);
        // What comes now belongs to another answer.
        interim.set_busy(true);
        interim.add(&from, HINTS, &HeaderMap::new());
        assert_eq!(saying.next(&interim).len(), 2 * len - 10);
    }

    #[test]
    fn who_does_not_read_is_not_remembered_for_ever() {
        let interim = Arc::<Interim>::default();
        let (_asking, from) = asking(&interim);
        for _ in 0..10_000 {
            interim.add(&from, HINTS, &HeaderMap::new());
        }
        let len = said(&interim).len();
        assert!((WAITING_MAX - 100..=WAITING_MAX).contains(&len), "{len}");
    }
}
