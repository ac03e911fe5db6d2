//! Follows the heads of HTTP/1 requests, to find those that say twice how long their body is. Pure.
//!
//! Hyper decides what a request is, and reads one with both `Content-Length` and `Transfer-Encoding` as chunked, as it may
//! (RFC 9112, section 6.3); that there was a length it does not tell. Who sends both is up to no good, and is refused.

use memchr::memchr;

use crate::probe::mutant;

/// So much of a line is looked at: both names fit, and every length.
const LINE_LEN: usize = 48;

/// Where one visitor is in what it says.
#[derive(Debug)]
pub struct Heads {
    place: Place,
    /// Requests whose heads have ended.
    ended: usize,
    line: Line,
    /// Lines of this head that are not empty.
    lines: usize,
    head: Head,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Head,
    /// In a body that goes on for so many bytes, or in a chunk of one.
    Body {
        left: u64,
        chunked: bool,
    },
    /// Before a chunk, in the line that says how long it is.
    Size,
    Trailers,
    /// In something that is not followed: hyper refuses it.
    Elsewhere,
}

/// The beginning of a line.
#[derive(Debug)]
struct Line {
    bytes: [u8; LINE_LEN],
    len: usize,
    /// It was longer.
    cut: bool,
}

/// What a head has said up to now.
#[derive(Debug, Default)]
struct Head {
    /// Said once or more often; the last, if it is one.
    length: Option<Option<u64>>,
    encoded: bool,
}

impl Default for Heads {
    fn default() -> Self {
        Self {
            place: Place::Head,
            ended: 0,
            line: Line {
                bytes: [0; LINE_LEN],
                len: 0,
                cut: false,
            },
            lines: 0,
            head: Head::default(),
        }
    }
}

impl Heads {
    /// Whether more has to come of a body.
    pub fn is_within_body(&self) -> bool {
        matches!(self.place, Place::Body { .. } | Place::Size | Place::Trailers)
    }

    /// What comes next is the head of a request or goes on with one, and so many have begun before it.
    pub fn next_is_head(&mut self, begun: usize) {
        if self.place == Place::Elsewhere {
            self.place = Place::Head;
            self.ended = begun;
        }
    }

    /// Takes what comes. The number of a request is given whose body has both a length and an encoding: the first has the
    /// number 1. What comes behind it is not looked at.
    pub fn hear(&mut self, mut bytes: &[u8]) -> Option<usize> {
        while !bytes.is_empty() {
            match self.place {
                Place::Elsewhere => return None,
                Place::Body { left, chunked } => {
                    let here = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
                    bytes = &bytes[here..];
                    self.place = match left - here as u64 {
                        0 if chunked => Place::Size,
                        0 => Place::Head,
                        left => Place::Body { left, chunked },
                    };
                }
                Place::Head | Place::Size | Place::Trailers => match memchr(b'\n', bytes) {
                    None => {
                        self.line.add(bytes);
                        return None;
                    }
                    Some(end) => {
                        self.line.add(&bytes[..end]);
                        bytes = &bytes[end + 1..];
                        if self.line_ended() {
                            return Some(self.ended);
                        }
                    }
                },
            }
        }
        None
    }

    /// Whether a head has ended with it that has both.
    fn line_ended(&mut self) -> bool {
        let line = self.line.text();
        match (self.place, line.is_empty()) {
            (Place::Size, _) => self.place = after_size(line),
            (Place::Trailers, true) => self.place = Place::Head,
            (Place::Trailers, false) => {}
            // Before a request (RFC 9112, section 2.2).
            (_, true) if self.lines == 0 => {}
            (_, true) => return self.head_ended(),
            (_, false) => {
                if self.lines > 0 {
                    self.head.add(line, self.line.cut);
                }
                self.lines += 1;
            }
        }
        self.line.clear();
        false
    }

    fn head_ended(&mut self) -> bool {
        let head = std::mem::take(&mut self.head);
        self.line.clear();
        self.lines = 0;
        self.ended += 1;
        self.place = match head {
            Head { encoded: true, .. } => Place::Size,
            Head {
                length: None | Some(Some(0)),
                ..
            } => Place::Head,
            Head {
                length: Some(Some(length)),
                ..
            } => Place::Body {
                left: length,
                chunked: false,
            },
            // Hyper refuses what is no length.
            Head {
                length: Some(None), ..
            } => Place::Elsewhere,
        };
        head.encoded && head.length.is_some()
    }
}

/// What comes behind the line that says how long a chunk is (RFC 9112, section 7.1).
fn after_size(line: &[u8]) -> Place {
    let len = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let size = str::from_utf8(&line[..len]).ok();
    match size.and_then(|size| u64::from_str_radix(size, 16).ok()) {
        Some(0) => Place::Trailers,
        // An empty line ends it.
        Some(size) => Place::Body {
            left: size.saturating_add(2),
            chunked: true,
        },
        None => Place::Elsewhere,
    }
}

impl Line {
    fn add(&mut self, bytes: &[u8]) {
        let fits = bytes.len().min(LINE_LEN - self.len);
        self.bytes[self.len..self.len + fits].copy_from_slice(&bytes[..fits]);
        self.len += fits;
        self.cut |= fits < bytes.len();
    }

    /// Without what ends it.
    fn text(&self) -> &[u8] {
        let line = &self.bytes[..self.len];
        line.strip_suffix(b"\r").unwrap_or(line)
    }

    fn clear(&mut self) {
        (self.len, self.cut) = (0, false);
    }
}

impl Head {
    fn add(&mut self, line: &[u8], cut: bool) {
        let mut halves = line.splitn(2, |byte| *byte == b':');
        let (Some(name), Some(value)) = (halves.next(), halves.next()) else {
            return;
        };
        let is = |wanted: &[u8]| name.eq_ignore_ascii_case(wanted);
        if is(b"content-length") {
            let length = str::from_utf8(value).ok().map(str::trim);
            self.length = Some(length.and_then(|length| length.parse().ok()).filter(|_| !cut));
        }
        self.encoded |= match mutant!("encoding-known-in-lower-case-only") {
            false => is(b"transfer-encoding"),
            true => name == b"transfer-encoding",
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    const BOTH: &str = "POST / HTTP/1.1\r\ncontent-length: 3\r\nTRANSFER-encoding: chunked\r\n\r\n";

    /// Every way to cut it into two, and byte by byte.
    fn found(said: &str) -> Option<usize> {
        let said = said.as_bytes();
        let whole = Heads::default().hear(said);
        for cut in 0..said.len() {
            let mut heads = Heads::default();
            let (first, second) = said.split_at(cut);
            assert_eq!(heads.hear(first).or_else(|| heads.hear(second)), whole);
        }
        let mut heads = Heads::default();
        assert_eq!(said.chunks(1).find_map(|byte| heads.hear(byte)), whole);
        whole
    }

    #[test]
    fn who_says_both_is_found() {
        assert_eq!(found(BOTH), Some(1));
        assert_eq!(found(&BOTH.replace("\r\n", "\n")), Some(1));
        assert_eq!(found(&format!("\r\n\r\n{BOTH}")), Some(1));
        assert_eq!(found(&BOTH.replace("content", "X: y\r\nContent")), Some(1));
        let long = format!("X: {}\r\ncontent", "a".repeat(1000));
        assert_eq!(found(&BOTH.replace("content", &long)), Some(1));
    }

    #[test]
    fn also_behind_others() {
        assert_eq!(found(&format!("{GET}{GET}{BOTH}")), Some(3));
        let post = format!("POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n", BOTH.len());
        assert_eq!(found(&format!("{post}{BOTH}")), None);
        assert_eq!(found(&format!("{post}{BOTH}{BOTH}")), Some(2));
    }

    #[test]
    fn an_upgrade_before_it_hides_nothing() {
        let upgrade = GET.replace("Host", "Upgrade: x\r\nHost");
        assert_eq!(found(&format!("{upgrade}{BOTH}")), Some(2));
    }

    #[test]
    fn nobody_else_is() {
        assert_eq!(found(GET), None);
        assert_eq!(found(&BOTH.replace("content-length", "x-content-length")), None);
        assert_eq!(found(&BOTH.replace("TRANSFER-encoding", "X")), None);
        // A line of the request that looks like one of them, and two requests with one of them each.
        assert_eq!(
            found("content-length:4\r\nTransfer-Encoding: chunked\r\n\r\n"),
            None
        );
        assert_eq!(
            found(&format!(
                "POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n{}",
                BOTH.replace("content-length", "x")
            )),
            None
        );
    }

    #[test]
    fn chunks_are_no_heads() {
        let chunked = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
        let both = format!("{:x};a=b\r\n{BOTH}\r\n", BOTH.len());
        for end in [
            "0\r\n\r\n",
            "000;last\r\nContent-Length: 1\r\nTransfer-Encoding: x\r\n\r\n",
        ] {
            let body = format!("{chunked}{both}5\r\nhello\r\n{both}{end}");
            assert_eq!(found(&body), None);
            assert_eq!(found(&format!("{body}{BOTH}")), Some(2));
            assert_eq!(found(&format!("{body}{GET}{body}{BOTH}")), Some(4));
        }
        // Hyper refuses what is no size.
        assert_eq!(found(&format!("{chunked}x\r\n{BOTH}")), None);
        assert_eq!(found(&format!("{chunked}{}\r\n{BOTH}", "f".repeat(17))), None);
    }

    #[test]
    fn what_is_not_followed_is_taken_up_again() {
        let mut heads = Heads::default();
        // Hyper refuses what is no length.
        let odd = GET.replace("Host", "Content-Length: x\r\nHost");
        assert_eq!(heads.hear(odd.as_bytes()), None);
        assert_eq!(heads.hear(BOTH.as_bytes()), None);
        heads.next_is_head(4);
        assert_eq!(heads.hear(BOTH.as_bytes()), Some(5));
    }
}
