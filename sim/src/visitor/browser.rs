//! A visitor that speaks HTTP: one request after another, over one connection as long as it lasts.

use std::{cell::RefCell, net::IpAddr, time::Duration};

use http::{HeaderMap, HeaderValue, Method, Request as HttpRequest, Response, StatusCode, Uri, header};
use http_body_util::BodyExt;
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};

use super::{CHUNK_LEN, Short, Visitor, ends};
use crate::{
    event::{Event, Oddity},
    fault::Trouble,
    net::hands::Hand,
    payload::{Body, Direction, Greeting, Request},
    plan::{
        Manner, Visit,
        web::{Call, Kind, Version},
        who::Who,
    },
    web::{
        ASK, FROM, GREETING, GRPC_STATUS, HOP, HostTasks, PREFIX, REASON, SESSION, Spoken, Stop, forge, hex,
        host_of, login, unhex, words,
    },
};

/// What a visitor of HTTP has besides what it does.
pub struct Browser {
    /// Its address, as the server sees it.
    pub address: IpAddr,
    /// Its connection, while nothing is asked on it.
    pub line: RefCell<Option<Line>>,
}

/// How long a connection is kept on which nothing is asked: less than the server keeps it.
const KEPT_FOR: Duration = Duration::from_secs(50);

/// A connection to the server.
pub struct Line {
    hand: Hand,
    sender: Sender,
    /// When it was made, and when it was free last.
    since: Duration,
    used: Duration,
    /// Nothing is under way on it.
    free: bool,
}

impl Drop for Line {
    /// Who leaves in the middle closes it; hyper would go on with what it has begun.
    fn drop(&mut self) {
        if !self.free {
            self.hand.close();
        }
    }
}

enum Sender {
    H1(http1::SendRequest<Spoken>),
    H2(http2::SendRequest<Spoken>),
}

impl Line {
    fn speaks(&self, version: Version) -> bool {
        match &self.sender {
            Sender::H1(sender) => version == Version::H1 && !sender.is_closed(),
            Sender::H2(sender) => version == Version::H2 && !sender.is_closed(),
        }
    }

    /// # Errors
    /// The request, where nothing of it was said, and why.
    async fn ask(
        &mut self,
        request: HttpRequest<Spoken>,
    ) -> Result<Response<Incoming>, (Option<HttpRequest<Spoken>>, String)> {
        let sent = match &mut self.sender {
            Sender::H1(sender) => match sender.ready().await {
                Ok(()) => sender.try_send_request(request).await,
                Err(error) => return Err((Some(request), error.to_string())),
            },
            Sender::H2(sender) => match sender.ready().await {
                Ok(()) => sender.try_send_request(request).await,
                Err(error) => return Err((Some(request), error.to_string())),
            },
        };
        sent.map_err(|mut error| (error.take_message(), words(error.error())))
    }
}

impl Visitor {
    /// Asks as `call` says.
    pub(super) async fn ask(&self, session: u64, visit: &Visit, call: Call) -> Result<(), Short> {
        match call.kind {
            Kind::Pipelined => self.ask_twice(session, visit).await,
            Kind::WebSocket => self.ask_to_upgrade(session, visit).await,
            _ => self.ask_once(session, visit, call).await,
        }
    }

    async fn ask_once(&self, session: u64, visit: &Visit, call: Call) -> Result<(), Short> {
        let browser = &self.browser;
        let kept = browser.line.borrow_mut().take();
        let lasts = |line: &Line| self.oracle.now() - line.used < KEPT_FOR && !self.was_struck(line.since);
        let kept = kept.filter(|line| call.keeps && line.speaks(call.version) && lasts(line));
        let was_kept = kept.is_some();
        let mut line = match kept {
            Some(line) => line,
            None => self.connect_line(call.version).await?,
        };
        line.free = false;
        let request = self.request(session, visit, call);
        let (said, mut whole_said) = (request.body().said(), request.body().said());
        let asked = async {
            match line.ask(request).await {
                // What was closed meanwhile is no loss.
                Err((Some(request), _)) if was_kept => {
                    line = self.connect_line(call.version).await?;
                    line.ask(request).await
                }
                asked => asked,
            }
            .map_err(|(_, why)| Short::Broken(format!("{why} before the answer")))
        };
        let whole = async {
            let response = asked.await?;
            self.take_answer(session, visit, call, response).await?;
            // An answer may be over before its request is; whether the rest is taken is not the visitor's business.
            let _ = whole_said.wait_for(|said| *said).await;
            Ok::<(), Short>(())
        };
        let leaves = matches!(visit.manner, Manner::Leave | Manner::Reset);
        let left = async {
            let mut said = said;
            if !leaves || said.wait_for(|said| *said).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        let over = tokio::select! {
            biased;
            () = left => None,
            over = whole => Some(over),
        };
        match over {
            Some(over) => over?,
            None if visit.manner == Manner::Reset => {
                line.hand.reset();
                return Err(Short::Left);
            }
            None => return Err(Short::Left),
        }
        line.free = true;
        line.used = self.oracle.now();
        *browser.line.borrow_mut() = Some(line);
        Ok(())
    }

    /// Whether something was done to this visitor's way since then: a connection that it has may be dead, and nobody
    /// knows it yet.
    fn was_struck(&self, since: Duration) -> bool {
        let mine = |trouble: &Trouble| {
            trouble.server || trouble.visitors.iter().any(|n| Who::Visitor(*n) == self.who)
        };
        self.oracle.read(|model| model.was_troubled(since, mine))
    }

    async fn connect_line(&self, version: Version) -> Result<Line, Short> {
        let hand = Hand::new(self.sockets.connect(self.public(0)).await?);
        let broken = |error: hyper::Error| Short::Broken(format!("{} in the handshake", words(&error)));
        let sender = match version {
            Version::H1 => {
                let shaken = http1::handshake(TokioIo::new(hand.clone())).await;
                let (sender, connection) = shaken.map_err(broken)?;
                tokio::task::spawn_local(async move { drop(connection.with_upgrades().await) });
                Sender::H1(sender)
            }
            Version::H2 => {
                let mut builder = http2::Builder::new(HostTasks);
                builder.timer(TokioTimer::new());
                let shaken = builder.handshake(TokioIo::new(hand.clone())).await;
                let (sender, connection) = shaken.map_err(broken)?;
                tokio::task::spawn_local(async move { drop(connection.await) });
                Sender::H2(sender)
            }
        };
        Ok(Line {
            hand,
            sender,
            since: self.oracle.now(),
            used: self.oracle.now(),
            free: false,
        })
    }

    fn request(&self, session: u64, visit: &Visit, call: Call) -> HttpRequest<Spoken> {
        let fits = |ms| self.oracle.now() + Duration::from_millis(ms) < self.last_visit;
        let pieces = visit.len / visit.piece.max(1) as u64;
        let pause_ms = match fits(pieces * visit.piece_pause_ms) {
            true => visit.piece_pause_ms,
            false => 0,
        };
        let asked = Request {
            connection: session,
            len: visit.len,
            reply_len: visit.reply_len,
            when: visit.when,
            delay_ms: visit.delay_ms,
            hold_ms: if fits(visit.hold_ms) { visit.hold_ms } else { 0 },
        };
        let mut body = Spoken::new(Body::new(session, Direction::Up), visit.len, visit.piece)
            .paced(Duration::from_millis(pause_ms));
        if call.chunked {
            body = body.chunked();
        }
        if matches!(visit.manner, Manner::Leave | Manner::Reset) {
            body = body.stopped(visit.len / 2, Stop::Silent);
        }
        let mut request = HttpRequest::new(body);
        *request.method_mut() = match call.kind {
            Kind::Put => Method::PUT,
            Kind::Post | Kind::Grpc => Method::POST,
            _ => Method::GET,
        };
        let (host, target) = (host_of(visit.group), target(session));
        let uri = match call.version {
            Version::H1 => target,
            Version::H2 => format!("http://{host}{target}"),
        };
        *request.uri_mut() = uri.parse::<Uri>().expect("it is a URI");
        let headers = request.headers_mut();
        headers.insert(ASK, hex(&asked.encode()));
        self.introduce(headers, session, call);
        match call.version {
            Version::H1 => {
                headers.insert(header::HOST, HeaderValue::from_str(&host).expect("it is text"));
                headers.insert(header::CONNECTION, HeaderValue::from_static("x-hop"));
                headers.insert(HOP, HeaderValue::from_static("visitor"));
            }
            Version::H2 if call.kind == Kind::Grpc => {
                headers.insert(header::TE, HeaderValue::from_static("trailers"));
                let grpc = HeaderValue::from_static("application/grpc");
                headers.insert(header::CONTENT_TYPE, grpc);
            }
            Version::H2 => {}
        }
        request
    }

    /// Says who asks, and lies about it where it is not believed.
    fn introduce(&self, headers: &mut HeaderMap, session: u64, call: Call) {
        let from = HeaderValue::from_str(&self.browser.address.to_string()).expect("it is text");
        headers.insert(FROM, from);
        headers.insert(SESSION, HeaderValue::from(session));
        headers.insert("x-forwarded-for", HeaderValue::from_static("10.9.8.7"));
        if call.forges {
            forge(headers);
        }
        if call.logs_in {
            headers.insert(header::AUTHORIZATION, login(self.browser.address));
        }
    }

    /// What is wrong, for the oracle and for the end of the session.
    fn strange(&self, session: u64, what: Oddity) -> Short {
        let words = what.to_string();
        self.oracle.tell(Event::Odd {
            place: self.who,
            session: Some(session),
            what,
        });
        Short::Broken(words)
    }

    /// The head of an answer: whose it is, or why there is none.
    fn read_head(
        &self,
        session: u64,
        call: Call,
        status: StatusCode,
        headers: &HeaderMap,
    ) -> Result<(), Short> {
        let text = |name| {
            headers
                .get(name)
                .and_then(|value: &HeaderValue| value.to_str().ok())
        };
        if !headers.contains_key(GREETING) {
            return Err(match (call.kind, text(GRPC_STATUS), text(REASON)) {
                (Kind::Grpc, Some(code), _) if status == StatusCode::OK => {
                    Short::Broken(format!("grpc status {code}"))
                }
                (kind, _, Some(reason)) if kind != Kind::Grpc && status != StatusCode::OK => {
                    Short::Broken(format!("{} {reason}", status.as_u16()))
                }
                _ => self.strange(session, Oddity::WrongHead(format!("{status} {headers:?}"))),
            });
        }
        let greeting = unhex(headers, &GREETING).and_then(|bytes| Greeting::decode(&bytes));
        let Some(greeting) = greeting else {
            let what = Oddity::NoGreeting(format!("{headers:?}").into_bytes());
            return Err(self.strange(session, what));
        };
        let owner = text(SESSION).and_then(|text| text.parse().ok()).unwrap_or(0);
        if owner != session {
            let (connection, serial) = (owner, greeting.serial);
            return Err(self.strange(session, Oddity::ForeignReply { connection, serial }));
        }
        if status != StatusCode::OK || headers.contains_key(HOP) {
            return Err(self.strange(session, Oddity::WrongHead(format!("{status} {headers:?}"))));
        }
        self.oracle.tell(Event::Greeted { session, greeting });
        Ok(())
    }

    async fn take_answer(
        &self,
        session: u64,
        visit: &Visit,
        call: Call,
        response: Response<Incoming>,
    ) -> Result<(), Short> {
        self.read_head(session, call, response.status(), response.headers())?;
        let body = Body::new(session, Direction::Down);
        let mut incoming = response.into_body();
        let (mut got, mut trailers) = (0, None);
        while let Some(frame) = incoming.frame().await {
            let frame = frame.map_err(|error| Short::Broken(format!("{} in the answer", words(&error))))?;
            let bytes = match frame.into_data() {
                Ok(bytes) => bytes,
                Err(frame) => {
                    trailers = frame.into_trailers().ok();
                    continue;
                }
            };
            if let Some(at) = body.mismatch(got, &bytes) {
                return Err(self.strange(session, Oddity::WrongByte { at }));
            }
            let before = got;
            got += bytes.len() as u64;
            if got > visit.reply_len {
                let of = visit.reply_len;
                return Err(self.strange(session, Oddity::TooMuch { got, of }));
            }
            self.dawdle(visit, before, got).await;
        }
        if got < visit.reply_len {
            return Err(Short::Cut(format!("cut at {got} of {} bytes", visit.reply_len)));
        }
        let owner = trailers
            .as_ref()
            .and_then(|trailers: &HeaderMap| trailers.get(SESSION));
        if call.kind == Kind::Grpc && owner != Some(&HeaderValue::from(session)) {
            return Err(Short::Cut(format!("cut before its trailers: {trailers:?}")));
        }
        Ok(())
    }

    /// Two requests at once; the answers come in their order, or the second does not come. Behind an answer that says it
    /// is the last of its connection it is asked for on another.
    async fn ask_twice(&self, session: u64, visit: &Visit) -> Result<(), Short> {
        let mut hand = Hand::new(self.sockets.connect(self.public(0)).await?);
        let second = self.next_session();
        self.oracle.tell(Event::Opens {
            session: second,
            visitor: self.who,
            visit: visit.clone(),
        });
        let call = visit.call.unwrap_or_default();
        let text = [session, second].map(|session| {
            let request = self.request(session, visit, call);
            let mut text = format!("GET {} HTTP/1.1\r\n", target(session));
            for (name, value) in request.headers() {
                text += &format!("{name}: {}\r\n", value.to_str().expect("it is text"));
            }
            text + "\r\n"
        });
        let answered = async {
            hand.write_all(text.concat().as_bytes()).await?;
            let mut lines = BufReader::new(hand);
            let last = self.take_plain(&mut lines, session, visit, call).await?;
            self.oracle.tell(ends(session, &Ok(())));
            if last {
                let mut hand = Hand::new(self.sockets.connect(self.public(0)).await?);
                hand.write_all(text[1].as_bytes()).await?;
                lines = BufReader::new(hand);
            }
            self.take_plain(&mut lines, second, visit, call).await.map(drop)
        };
        let over = answered.await;
        // The one that ended is told here, the other where visits end.
        let told = self.oracle.read(|model| {
            model
                .sessions
                .get(&session)
                .is_some_and(|first| first.ended.is_some())
        });
        if !told {
            self.oracle.tell(ends(second, &over));
            return over;
        }
        self.oracle.tell(ends(second, &over));
        Err(Short::Told)
    }

    /// An answer of HTTP/1 whose head says how long it is. True if it says that it is the last of its connection.
    async fn take_plain(
        &self,
        lines: &mut BufReader<Hand>,
        session: u64,
        visit: &Visit,
        call: Call,
    ) -> Result<bool, Short> {
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
                (Some(status), None) => {
                    self.read_head(session, call, status, &headers)?;
                    break;
                }
            }
        }
        let len = headers
            .get(header::CONTENT_LENGTH)
            .and_then(|len| len.to_str().ok());
        if len.and_then(|len| len.parse().ok()) != Some(visit.reply_len) {
            return Err(self.strange(session, Oddity::WrongHead(format!("{headers:?}"))));
        }
        let body = Body::new(session, Direction::Down);
        let mut got = 0;
        let mut buffer = vec![0; CHUNK_LEN];
        while got < visit.reply_len {
            let left = usize::try_from(visit.reply_len - got).unwrap_or(usize::MAX);
            let n = lines.read(&mut buffer[..left.min(CHUNK_LEN)]).await?;
            if n == 0 {
                return Err(Short::Cut(format!("cut at {got} of {} bytes", visit.reply_len)));
            }
            if let Some(at) = body.mismatch(got, &buffer[..n]) {
                return Err(self.strange(session, Oddity::WrongByte { at }));
            }
            got += n as u64;
        }
        Ok(headers
            .get(header::CONNECTION)
            .is_some_and(|value| value == "close"))
    }

    /// Asks for a connection that is as good as one of TCP, and uses it as such.
    async fn ask_to_upgrade(&self, session: u64, visit: &Visit) -> Result<(), Short> {
        let mut line = self.connect_line(Version::H1).await?;
        let mut request = HttpRequest::new(Spoken::new(Body::new(session, Direction::Up), 0, 1));
        *request.uri_mut() = target(session).parse().expect("it is a URI");
        let headers = request.headers_mut();
        let host = host_of(visit.group);
        headers.insert(header::HOST, HeaderValue::from_str(&host).expect("it is text"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade, x-hop"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(HOP, HeaderValue::from_static("visitor"));
        self.introduce(headers, session, visit.call.unwrap_or_default());
        let asked = line.ask(request).await;
        let response = asked.map_err(|(_, why)| Short::Broken(format!("{why} before the answer")))?;
        let headers = response.headers();
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            let call = visit.call.unwrap_or_default();
            self.read_head(session, call, response.status(), headers)?;
            return Err(self.strange(session, Oddity::WrongHead(format!("{headers:?}"))));
        }
        let upgraded = hyper::upgrade::on(response).await;
        let upgraded = upgraded.map_err(|error| Short::Broken(words(&error)))?;
        let (read, write) = tokio::io::split(TokioIo::new(upgraded));
        self.converse(session, visit, (read, write), &line.hand).await
    }
}

fn target(session: u64) -> String {
    format!("{PREFIX}/{session}?n={session}")
}
