//! A visitor that speaks HTTP: one request after another, over one connection as long as it lasts.

use std::{cell::RefCell, net::IpAddr, time::Duration};

use http::{HeaderMap, HeaderValue, Method, Request as HttpRequest, Response, StatusCode, Uri, header};
use http_body_util::BodyExt;
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioIo, TokioTimer};

use super::{Short, Visitor, extras::Asked};
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
        login, told::CHECKED, unhex, words,
    },
};

/// What a visitor of HTTP has besides what it does.
pub struct Browser {
    /// Its address, as the server sees it.
    pub address: IpAddr,
    /// Its connection, while nothing is asked on it.
    pub line: RefCell<Option<Line>>,
    /// The entry believes it for whom it speaks.
    pub trusted: bool,
    /// How long an answer may pause; zero is for ever.
    pub answer_idle: Duration,
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
    /// The entry has no reason to close it.
    stays: bool,
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
    /// A hand on it.
    pub(super) fn hand(&self) -> &Hand {
        &self.hand
    }

    /// It was closed although nothing was wrong.
    fn was_closed(&self) -> bool {
        self.stays && matches!(&self.sender, Sender::H1(sender) if sender.is_closed())
    }

    fn speaks(&self, version: Version) -> bool {
        match &self.sender {
            Sender::H1(sender) => version == Version::H1 && !sender.is_closed(),
            Sender::H2(sender) => version == Version::H2 && !sender.is_closed(),
        }
    }

    /// # Errors
    /// The request, where nothing of it was said, and why.
    pub(super) async fn ask(
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
            Kind::WebSocket => self.ask_to_upgrade(session, visit, call).await,
            _ if call.extras.is_written_by_hand() => self.ask_by_hand(session, visit, call).await,
            _ => self.ask_once(session, visit, call).await,
        }
    }

    async fn ask_once(&self, session: u64, visit: &Visit, call: Call) -> Result<(), Short> {
        let browser = &self.browser;
        let kept = browser.line.borrow_mut().take();
        let lasts = |line: &Line| self.oracle.now() - line.used < KEPT_FOR && !self.was_struck(line.since);
        if kept
            .as_ref()
            .is_some_and(|line| lasts(line) && line.was_closed() && !self.was_killed(line.since))
        {
            let what = "the connection of the request before was closed".to_owned();
            return Err(self.strange(session, Oddity::WrongHead(what)));
        }
        let kept = kept.filter(|line| call.keeps && line.speaks(call.version) && lasts(line));
        let was_kept = kept.is_some();
        let has_to_leave = kept
            .as_ref()
            .is_some_and(|line| call.version == Version::H2 && self.is_due_to_leave(line.used));
        let mut line = match kept {
            Some(line) => line,
            None => self.connect_line(call.version).await?,
        };
        line.free = false;
        let asked_for = self.asked(session, visit, call);
        let request = self.request(&asked_for);
        let (said, mut whole_said) = (request.body().said(), request.body().said());
        let asked = async {
            match line.ask(request).await {
                // What was closed meanwhile is no loss.
                Err((Some(request), _)) if was_kept => {
                    line = self.connect_line(call.version).await?;
                    line.ask(request).await
                }
                Ok(_) if has_to_leave => {
                    let what = "a connection goes on without a GOAWAY while its server drains".to_owned();
                    return Err(self.strange(session, Oddity::GoesOn(what)));
                }
                asked => asked,
            }
            .map_err(|(_, why)| Short::Broken(format!("{why} before the answer")))
        };
        let whole = async {
            let response = asked.await?;
            let stays = self.take_answer(&asked_for, response).await?;
            // An answer may be over before its request is; whether the rest is taken is not the visitor's business.
            let _ = whole_said.wait_for(|said| *said).await;
            Ok::<bool, Short>(stays)
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
            Some(over) => line.stays = over?,
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
    pub(super) fn was_struck(&self, since: Duration) -> bool {
        let mine = |trouble: &Trouble| {
            trouble.server || trouble.visitors.iter().any(|n| Who::Visitor(*n) == self.who)
        };
        self.oracle.read(|model| model.was_troubled(since, mine))
    }

    /// Whether the server was killed since then, also where it had been told to stop and served on.
    fn was_killed(&self, since: Duration) -> bool {
        self.oracle
            .read(|model| model.has_ended(since, |trouble| trouble.server))
    }

    pub(super) async fn connect_line(&self, version: Version) -> Result<Line, Short> {
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
            stays: false,
        })
    }

    pub(super) fn request(&self, asked_for: &Asked<'_>) -> HttpRequest<Spoken> {
        let Asked {
            session,
            visit,
            call,
            told,
            ref hints,
            ..
        } = *asked_for;
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
        if told.extras.trailers {
            let checked = HeaderMap::from_iter([(CHECKED, HeaderValue::from(session))]);
            body = body.followed_by(checked);
        }
        let mut request = HttpRequest::new(body);
        if told.extras.hints > 0 {
            let hints = hints.clone();
            hyper::ext::on_informational(&mut request, move |answer| {
                hints.with(|hints| hints.push(answer.headers().clone()));
            });
        }
        *request.method_mut() = match call.kind {
            Kind::Put => Method::PUT,
            Kind::Post | Kind::Grpc => Method::POST,
            _ if told.extras.head => Method::HEAD,
            _ => Method::GET,
        };
        let (host, target) = (told.host(visit.group), target(session));
        let uri = match call.version {
            Version::H1 => target,
            Version::H2 => format!("http://{host}{target}"),
        };
        *request.uri_mut() = uri.parse::<Uri>().expect("it is a URI");
        let headers = request.headers_mut();
        headers.insert(ASK, hex(&asked.encode()));
        self.introduce(headers, asked_for);
        match call.version {
            Version::H1 => {
                headers.insert(header::HOST, HeaderValue::from_str(&host).expect("it is text"));
                headers.insert(header::CONNECTION, HeaderValue::from_static("x-hop"));
                headers.insert(HOP, HeaderValue::from_static("visitor"));
                if told.extras.offers {
                    let named = HeaderValue::from_static("x-hop, Upgrade, HTTP2-Settings");
                    headers.insert(header::CONNECTION, named);
                    headers.insert(header::UPGRADE, HeaderValue::from_static("h2c"));
                    headers.insert("http2-settings", HeaderValue::from_static("AAMAAABk"));
                }
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
    pub(super) fn introduce(&self, headers: &mut HeaderMap, asked: &Asked<'_>) {
        let from = HeaderValue::from_str(&self.browser.address.to_string()).expect("it is text");
        headers.insert(FROM, from);
        headers.insert(SESSION, HeaderValue::from(asked.session));
        asked.told.add_to(headers, asked.session);
        self.speak_for(headers, &asked.told);
        if asked.call.forges {
            forge(headers, asked.told.names_port());
        }
        if asked.call.logs_in {
            headers.insert(header::AUTHORIZATION, login(self.browser.address));
        }
    }

    /// What is wrong, for the oracle and for the end of the session.
    pub(super) fn strange(&self, session: u64, what: Oddity) -> Short {
        let words = what.to_string();
        self.oracle.tell(Event::Odd {
            place: self.who,
            session: Some(session),
            what,
        });
        Short::Broken(words)
    }

    /// The head of an answer: whose it is, or why there is none.
    pub(super) fn read_head(
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

    /// Takes and checks an answer to its end. True if the connection has to stay open behind it.
    async fn take_answer(&self, asked: &Asked<'_>, response: Response<Incoming>) -> Result<bool, Short> {
        let (session, visit, call) = (asked.session, asked.visit, asked.call);
        let headers = response.headers();
        if let Some(over) = self.over_by_deadline(asked, headers) {
            return Err(over);
        }
        self.read_head(session, call, response.status(), headers)?;
        self.check_hints(asked, headers)?;
        if call.version == Version::H1 {
            self.check_last(asked, headers)?;
        }
        let head = asked.told.extras.head;
        let length = headers.get(header::CONTENT_LENGTH);
        if head && length != Some(&HeaderValue::from(visit.reply_len)) {
            return Err(self.strange(session, Oddity::WrongHead(format!("{headers:?}"))));
        }
        let alone = matches!(call.kind, Kind::Get) && call.version == Version::H1;
        let stays = alone && !headers.contains_key(header::CONNECTION);
        let len = if head { 0 } else { visit.reply_len };
        let body = Body::new(session, Direction::Down);
        let mut incoming = response.into_body();
        let (mut got, mut trailers, mut came) = (0, None, self.oracle.now());
        while let Some(frame) = incoming.frame().await {
            let waited = self.oracle.now() - came;
            came = self.oracle.now();
            let frame = frame
                .map_err(|error| self.broke(asked, waited, format!("{} in the answer", words(&error))))?;
            self.check_pause(asked, waited)?;
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
            if got > len {
                return Err(self.strange(session, Oddity::TooMuch { got, of: len }));
            }
            self.dawdle(visit, before, got).await;
        }
        let over = trailers
            .as_ref()
            .and_then(|trailers| self.over_by_deadline(asked, trailers));
        if let Some(over) = over {
            return Err(over);
        }
        if got < len {
            return Err(Short::Cut(format!("cut at {got} of {len} bytes")));
        }
        let owner = trailers
            .as_ref()
            .and_then(|trailers: &HeaderMap| trailers.get(SESSION));
        if call.kind == Kind::Grpc && owner != Some(&HeaderValue::from(session)) {
            return Err(Short::Cut(format!("cut before its trailers: {trailers:?}")));
        }
        Ok(stays)
    }
}

pub(super) fn target(session: u64) -> String {
    format!("{PREFIX}/{session}?n={session}")
}
