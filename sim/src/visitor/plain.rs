//! A visitor that writes its requests of HTTP/1 itself: two at once, heads that come late, and what an entry has to refuse.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, Request as HttpRequest, StatusCode, header};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};

use super::{CHUNK_LEN, Short, Visitor, browser::target, ends, extras::Asked};
use crate::{
    event::{Event, Oddity},
    net::hands::Hand,
    payload::{Body, Direction, Request, When},
    plan::{
        Millis, Visit,
        asks::{FRAMED_TWICE, HEAD_TIMEOUT_MS},
        web::Call,
    },
    web::{ASK, REASON, Spoken, hex},
};

/// Pieces of a head that comes late.
const PIECES: usize = 8;

/// How much later than it should a head is given up, at most.
const LATE: Duration = Duration::from_secs(3);

/// How long an entry has to end a connection behind a request that it refuses. It reads on for a while.
const ENDS_WITHIN: Duration = Duration::from_secs(8);

/// The number of a request that stands behind another and must not be served.
const BEHIND: u64 = 1 << 40;

/// The head of a request, without the empty line at its end.
fn head_of(session: u64, request: &HttpRequest<Spoken>) -> String {
    let mut text = format!("{} {} HTTP/1.1\r\n", request.method(), target(session));
    for (name, value) in request.headers() {
        text += &format!("{name}: {}\r\n", value.to_str().expect("it is text"));
    }
    text
}

impl Visitor {
    /// One request, as its extras say.
    pub(super) async fn ask_by_hand(&self, session: u64, visit: &Visit, call: Call) -> Result<(), Short> {
        let hand = Hand::new(self.sockets.connect(self.public(0)).await?);
        let asked = self.asked(session, visit, call);
        let extras = asked.told.extras;
        let mut text = head_of(session, &self.request(&asked));
        if extras.expects {
            text += &format!("Expect: 100-continue\r\nContent-Length: {}\r\n", visit.len);
        }
        let framing = extras.framed_twice.checked_sub(1);
        for (name, value) in framing
            .into_iter()
            .flat_map(|n| FRAMED_TWICE[n % FRAMED_TWICE.len()])
        {
            text += &format!("{name}: {value}\r\n");
        }
        text += "\r\n";
        let mut lines = BufReader::new(hand.clone());
        if extras.framed_twice > 0 {
            text += &format!("0\r\n\r\n{}", behind(&asked));
            let mut hand = hand;
            hand.write_all(text.as_bytes()).await?;
            return self.be_refused(&mut lines, &asked).await;
        }
        let mut writing = std::pin::pin!(write_slowly(hand.clone(), &text, extras.head_ms));
        if extras.head_ms > HEAD_TIMEOUT_MS {
            let heard = tokio::select! {
                biased;
                heard = lines.fill_buf() => heard.map(<[u8]>::len).unwrap_or(0),
                () = async { drop(writing.await); std::future::pending().await } => 0,
            };
            return Err(self.be_left(&asked, heard));
        }
        writing.as_mut().await?;
        self.take_plain(&mut lines, &asked).await.map(drop)
    }

    /// How a request ends whose head took too long: the entry has said so many bytes, or ended the connection.
    fn be_left(&self, asked: &Asked<'_>, heard: usize) -> Short {
        let waited = self.oracle.now() - asked.since;
        let most = Duration::from_millis(HEAD_TIMEOUT_MS);
        let exposed = self.was_exposed(asked.session);
        if !exposed && (heard > 0 || waited > most + LATE) {
            let what = format!("a head that came late was answered with {heard} bytes after {waited:?}");
            return self.strange(asked.session, Oddity::WrongHead(what));
        }
        match waited + Duration::from_millis(500) < most {
            true => Short::Broken(format!("ended after {waited:?} of its head")),
            false => Short::Left,
        }
    }

    /// A request has to be refused, and nothing that stands behind it served.
    async fn be_refused(&self, lines: &mut BufReader<Hand>, asked: &Asked<'_>) -> Result<(), Short> {
        let (status, headers) = self.plain_head(lines, asked.session).await?;
        let reason = headers.get(REASON).and_then(|reason| reason.to_str().ok());
        let wrong = |what| Err(self.strange(asked.session, Oddity::WrongHead(what)));
        if status != StatusCode::BAD_REQUEST || reason != Some("framed_twice") {
            return wrong(format!(
                "a body framed twice is answered with {status} {headers:?}"
            ));
        }
        let mut rest = Vec::new();
        let ended = adit::time::within(ENDS_WITHIN, lines.read_to_end(&mut rest)).await;
        let len = length(&headers).unwrap_or(0);
        if rest.len() as u64 > len {
            let rest = rest.escape_ascii();
            return wrong(format!(
                "what stands behind a body framed twice is answered: {rest}"
            ));
        }
        if ended.is_none() && !self.was_exposed(asked.session) {
            return wrong("the connection goes on behind a body framed twice".to_owned());
        }
        Err(Short::Left)
    }

    /// Two requests at once; the answers come in their order, or the second does not come. Behind an answer that says it
    /// is the last of its connection it is asked for on another.
    pub(super) async fn ask_twice(&self, session: u64, visit: &Visit) -> Result<(), Short> {
        let mut hand = Hand::new(self.sockets.connect(self.public(0)).await?);
        let second = self.next_session();
        self.oracle.tell(Event::Opens {
            session: second,
            visitor: self.who,
            visit: visit.clone(),
        });
        let call = visit.call.unwrap_or_default();
        let both = [session, second].map(|session| self.asked(session, visit, call));
        let text = both
            .each_ref()
            .map(|asked| head_of(asked.session, &self.request(asked)) + "\r\n");
        let answered = async {
            hand.write_all(text.concat().as_bytes()).await?;
            let mut lines = BufReader::new(hand);
            let last = self.take_plain(&mut lines, &both[0]).await?;
            self.oracle.tell(ends(session, &Ok(())));
            if last {
                let mut hand = Hand::new(self.sockets.connect(self.public(0)).await?);
                hand.write_all(text[1].as_bytes()).await?;
                lines = BufReader::new(hand);
            }
            self.take_plain(&mut lines, &both[1]).await.map(drop)
        };
        let over = answered.await;
        // The one that ended is told here, the other where visits end.
        let told = self.oracle.read(|model| {
            model
                .sessions
                .get(&session)
                .is_some_and(|first| first.ended.is_some())
        });
        self.oracle.tell(ends(second, &over));
        match told {
            true => Err(Short::Told),
            false => over,
        }
    }

    /// The next head of an answer.
    async fn plain_head(
        &self,
        lines: &mut BufReader<Hand>,
        session: u64,
    ) -> Result<(StatusCode, HeaderMap), Short> {
        let (mut status, mut headers) = (None, HeaderMap::new());
        loop {
            let mut line = String::new();
            if lines.read_line(&mut line).await? == 0 {
                return Err(Short::Cut("cut before the answer".to_owned()));
            }
            let line = line.trim_end();
            match (status, line.split_once(": ")) {
                (None, _) => {
                    let code = line.split(' ').nth(1).and_then(|code| code.parse::<u16>().ok());
                    status = code.and_then(|code| StatusCode::from_u16(code).ok());
                    if status.is_none() {
                        return Err(self.strange(session, Oddity::WrongHead(line.to_owned())));
                    }
                }
                (Some(_), Some((name, value))) => {
                    let name = name.parse::<http::HeaderName>();
                    if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(value)) {
                        headers.append(name, value);
                    }
                }
                (Some(status), None) => return Ok((status, headers)),
            }
        }
    }

    /// The head of the answer itself. The body of a request that expects 100 is sent once that has come.
    async fn final_head(
        &self,
        lines: &mut BufReader<Hand>,
        asked: &Asked<'_>,
    ) -> Result<(StatusCode, HeaderMap), Short> {
        let mut waits = asked.told.extras.expects;
        loop {
            let (status, headers) = self.plain_head(lines, asked.session).await?;
            match status {
                StatusCode::CONTINUE if waits => {
                    waits = false;
                    let mut body = vec![0; usize::try_from(asked.visit.len).unwrap_or(usize::MAX)];
                    Body::new(asked.session, Direction::Up).fill(0, &mut body);
                    // Whether all of it is taken, the answer says.
                    let _ = lines.get_mut().write_all(&body).await;
                }
                StatusCode::EARLY_HINTS => asked.hints.with(|hints| hints.push(headers)),
                status if status.is_informational() => {
                    let what = format!("an interim answer is {status} {headers:?}");
                    return Err(self.strange(asked.session, Oddity::WrongHead(what)));
                }
                _ => return Ok((status, headers)),
            }
        }
    }

    /// An answer of HTTP/1 whose head says how long it is. True if it says that it is the last of its connection.
    async fn take_plain(&self, lines: &mut BufReader<Hand>, asked: &Asked<'_>) -> Result<bool, Short> {
        let (session, visit) = (asked.session, asked.visit);
        let (status, headers) = self.final_head(lines, asked).await?;
        self.read_head(session, asked.call, status, &headers)?;
        self.check_hints(asked, &headers)?;
        self.check_last(asked, &headers)?;
        if length(&headers) != Some(visit.reply_len) {
            return Err(self.strange(session, Oddity::WrongHead(format!("{headers:?}"))));
        }
        let body = Body::new(session, Direction::Down);
        let (mut got, mut came) = (0, self.oracle.now());
        let mut buffer = vec![0; CHUNK_LEN];
        while got < visit.reply_len {
            let left = usize::try_from(visit.reply_len - got).unwrap_or(usize::MAX);
            let read = lines.read(&mut buffer[..left.min(CHUNK_LEN)]).await;
            let waited = self.oracle.now() - came;
            let n = read.map_err(|error| self.broke(asked, waited, error.kind().to_string()))?;
            self.check_pause(asked, waited)?;
            if n == 0 {
                return Err(Short::Cut(format!("cut at {got} of {} bytes", visit.reply_len)));
            }
            if let Some(at) = body.mismatch(got, &buffer[..n]) {
                return Err(self.strange(session, Oddity::WrongByte { at }));
            }
            (got, came) = (got + n as u64, self.oracle.now());
        }
        Ok(headers
            .get(header::CONNECTION)
            .is_some_and(|value| value == "close"))
    }
}

fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// A request that stands behind another and must not be served.
fn behind(asked: &Asked<'_>) -> String {
    let connection = asked.session | BEHIND;
    let request = Request {
        connection,
        len: 0,
        reply_len: 0,
        when: When::AfterHeader,
        delay_ms: 0,
        hold_ms: 0,
    };
    let ask = hex(&request.encode());
    let (host, ask) = (
        asked.told.host(asked.visit.group),
        ask.to_str().expect("digits are text"),
    );
    format!(
        "GET {} HTTP/1.1\r\nHost: {host}\r\n{ASK}: {ask}\r\n\r\n",
        target(connection)
    )
}

/// Writes `text` within so many milliseconds, in pieces.
async fn write_slowly(mut hand: Hand, text: &str, ms: Millis) -> std::io::Result<()> {
    let piece = match ms {
        0 => text.len(),
        _ => text.len().div_ceil(PIECES),
    };
    for bytes in text.as_bytes().chunks(piece.max(1)) {
        hand.write_all(bytes).await?;
        if ms > 0 {
            adit::time::sleep(Duration::from_millis(ms / PIECES as u64)).await;
        }
    }
    Ok(())
}
