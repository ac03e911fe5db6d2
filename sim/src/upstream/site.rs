//! An upstream that speaks HTTP: each request is checked and answered as the header `x-ask` says.

use std::{
    cell::{Cell, RefCell},
    io,
    rc::Rc,
    time::Duration,
};

use adit::transport::Stream;
use http::{HeaderMap, HeaderValue, Method, Request as HttpRequest, Response, StatusCode, Version, header};
use http_body_util::BodyExt;
use hyper::{
    body::{Body as _, Incoming},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{io::AsyncWriteExt, sync::watch};

use super::{Mood, Progress, Stage, Upstream};
use crate::{
    event::{Event, Oddity},
    net::hands::Hand,
    payload::{Body, Direction, Greeting, Request, When},
    plan::Millis,
    web::{
        ASK, GREETING, GRPC_STATUS, HOP, HostTasks, SESSION, Spoken, Stop, examined, hex,
        told::{HINTS, Told},
        unhex,
    },
};

/// How an upstream of HTTP always is.
#[derive(Clone, Copy, Debug)]
pub struct Site {
    /// The group that it serves.
    pub group: usize,
    /// How long a connection may wait for a request; 0 is for ever.
    pub idle_ms: Millis,
    /// Of HTTP/2 it turns away one stream in so many; 0 is none.
    pub refuses_one_in: u64,
}

/// One connection of visitors' requests.
struct Line {
    /// The door that it came in by.
    door: usize,
    /// When it did.
    since: Duration,
    /// Who has logged in to it.
    login: RefCell<Option<String>>,
    /// To write what hyper cannot.
    hand: Hand,
}

/// Whether this stream is turned away.
fn refuses(upstream: &Upstream, site: Site, request: &HttpRequest<Incoming>) -> bool {
    if request.version() != Version::HTTP_2 || site.refuses_one_in == 0 {
        return false;
    }
    upstream.streams.set(upstream.streams.get() + 1);
    upstream.streams.get().is_multiple_of(site.refuses_one_in)
}

/// Bytes of an answer's body said at once.
const PIECE: usize = 16 * 1024;

impl Upstream {
    /// Answers what is asked on one connection.
    pub(super) async fn talk(self, site: Site, door: usize, stream: Box<dyn Stream>, mood: Mood) {
        if mood == Mood::ClosesAtOnce {
            return;
        }
        let begun = Rc::new(Cell::new((0_u64, 0_u64)));
        let counts = Rc::clone(&begun);
        let hand = Hand::new(stream);
        let line = Rc::new(Line {
            door,
            since: self.oracle.now(),
            login: RefCell::default(),
            hand: hand.clone(),
        });
        let service = service_fn(move |request| {
            let refused = refuses(&self, site, &request);
            let (upstream, counts, line) = (self.clone(), Rc::clone(&counts), Rc::clone(&line));
            async move {
                if refused {
                    // Nobody has looked at it.
                    return Err(Box::from(h2::Error::from(h2::Reason::REFUSED_STREAM)));
                }
                let (all, open) = counts.get();
                counts.set((all + 1, open + 1));
                let answer = upstream.answer(site, &line, request).await;
                let (all, open) = counts.get();
                counts.set((all, open - 1));
                answer.map_err(Box::<dyn std::error::Error + Send + Sync>::from)
            }
        });
        let mut server = auto::Builder::new(HostTasks);
        server.http1().timer(TokioTimer::new()).auto_date_header(false);
        server.http2().timer(TokioTimer::new()).auto_date_header(false);
        let mut talk = std::pin::pin!(server.serve_connection_with_upgrades(TokioIo::new(hand), service));
        let idle = async {
            if site.idle_ms == 0 {
                return std::future::pending().await;
            }
            loop {
                let (before, _) = begun.get();
                adit::time::sleep(Duration::from_millis(site.idle_ms)).await;
                if begun.get() == (before, 0) {
                    return;
                }
            }
        };
        tokio::select! {
            biased;
            // Whoever asks may go as it likes.
            _ = &mut talk => return,
            () = idle => talk.as_mut().graceful_shutdown(),
        }
        let _ = talk.await;
    }

    async fn answer(
        &self,
        site: Site,
        line: &Line,
        request: HttpRequest<Incoming>,
    ) -> io::Result<Response<Spoken>> {
        let (upstream, mood) = (self.who(), *self.mood.borrow());
        if examined::is_question(request.headers()) {
            return self.say_back(request, mood).await;
        }
        self.serial.set(self.serial.get() + 1);
        let serial = self.serial.get();
        let door = line.door;
        self.oracle.tell(Event::Accepts {
            upstream,
            serial,
            door,
        });
        if let Some(said) = request.headers().get(header::AUTHORIZATION) {
            let said = said
                .to_str()
                .ok()
                .and_then(|said| said.strip_prefix("Negotiate "));
            *line.login.borrow_mut() = said.map(str::to_owned);
        }
        if line.login.borrow().is_none() {
            self.check_age(line.since, request.headers());
        }
        if request
            .headers()
            .get(header::UPGRADE)
            .is_some_and(|to| to == "websocket")
        {
            self.check(site, &line.login.borrow(), None, &request);
            return Ok(self.upgrade(request, serial, mood));
        }
        let Some(asked) = unhex(request.headers(), &ASK).and_then(|bytes| Request::decode(&bytes)) else {
            let what = Oddity::NoRequest(format!("{:?}", request.headers()).into_bytes());
            self.oracle.tell(Event::Odd {
                place: upstream,
                session: None,
                what,
            });
            return Err(io::ErrorKind::InvalidData.into());
        };
        let session = asked.connection;
        self.oracle.tell(Event::Requested {
            upstream,
            serial,
            request: asked,
        });
        self.check(site, &line.login.borrow(), Some(session), &request);
        let (stage, mut reached) = watch::channel(Stage::Header);
        let grpc = request.headers().contains_key(header::TE);
        let h1 = request.version() == Version::HTTP_11;
        let told = Told::of(request.headers());
        let head = *request.method() == Method::HEAD;
        let taker = self.clone();
        let body = request.into_body();
        tokio::task::spawn_local(async move {
            let mut progress = Progress::default();
            let note = taker.take_body(body, (&asked, told), stage, &mut progress).await;
            taker.tell_served(serial, progress, note.to_owned());
        });
        match mood {
            Mood::ClosesAtOnce => return Err(io::ErrorKind::ConnectionAborted.into()),
            Mood::Hangs => {
                let _ = self.hang().await;
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            _ => {}
        }
        let wanted = match asked.when {
            When::AfterHeader => Stage::Header,
            _ => Stage::Request,
        };
        if reached.wait_for(|stage| *stage >= wanted).await.is_err() {
            // The request has broken.
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        let hints = if h1 { told.extras.hints } else { 0 };
        self.hint(line, (session, serial), (hints, told.extras.hint_pause_ms))
            .await?;
        adit::time::sleep(Duration::from_millis(asked.delay_ms)).await;
        let len = if head { 0 } else { asked.reply_len };
        let mut body = Spoken::new(Body::new(session, Direction::Down), len, PIECE)
            .resting(Duration::from_millis(told.extras.pause_ms));
        if mood == Mood::AnswersHalf {
            body = body.stopped(len / 2, Stop::Broken);
        }
        if grpc {
            let ok = HeaderMap::from_iter([
                (GRPC_STATUS, HeaderValue::from(0)),
                (SESSION, HeaderValue::from(session)),
            ]);
            body = body.followed_by(ok);
        }
        let mut response = Response::new(body);
        let headers = response.headers_mut();
        self.sign(headers, serial);
        headers.insert(SESSION, HeaderValue::from(session));
        if head {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(asked.reply_len));
        }
        if hints > 0 {
            headers.insert(HINTS, HeaderValue::from(hints));
        }
        if h1 {
            headers.insert(header::CONNECTION, HeaderValue::from_static("x-hop"));
            headers.insert(HOP, HeaderValue::from_static("upstream"));
        }
        Ok(response)
    }

    /// Answers with what was asked.
    async fn say_back(&self, request: HttpRequest<Incoming>, mood: Mood) -> io::Result<Response<Spoken>> {
        if matches!(mood, Mood::ClosesAtOnce | Mood::AnswersHalf) {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        if mood == Mood::Hangs {
            let _ = self.hang().await;
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        let (head, body) = request.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        let text = examined::echo(&head.method, &head.uri, &head.headers, body.len());
        let mut response = Response::new(Spoken::text(text));
        for (name, value) in [("x-answer", "old"), ("x-secret", "1")] {
            let value = HeaderValue::from_static(value);
            response.headers_mut().insert(name, value);
        }
        Ok(response)
    }

    /// Sends so many interim answers, with a pause after each. Hyper cannot, and has nothing to write before the answer.
    async fn hint(
        &self,
        line: &Line,
        (session, serial): (u64, u64),
        (hints, pause_ms): (u64, Millis),
    ) -> io::Result<()> {
        let mut signed = HeaderMap::new();
        self.sign(&mut signed, serial);
        let greeting = signed[GREETING].to_str().expect("digits are text");
        let mut hand = line.hand.clone();
        for n in 0..hints {
            let head = format!(
                "HTTP/1.1 103 Early Hints\r\nLink: </{n}.css>; rel=preload\r\n{GREETING}: {greeting}\r\n\
                 {SESSION}: {session}\r\n{HINTS}: {n}\r\nConnection: x-hop\r\n{HOP}: upstream\r\n\r\n"
            );
            hand.write_all(head.as_bytes()).await?;
            hand.flush().await?;
            adit::time::sleep(Duration::from_millis(pause_ms)).await;
        }
        Ok(())
    }

    fn sign(&self, headers: &mut HeaderMap, serial: u64) {
        let upstream = u8::try_from(self.index).expect("upstreams are few");
        headers.insert(GREETING, hex(&Greeting { upstream, serial }.encode()));
    }

    /// What comes after the answer is a connection of TCP, and as such it is served.
    fn upgrade(&self, mut request: HttpRequest<Incoming>, serial: u64, mood: Mood) -> Response<Spoken> {
        let key = request.headers().get(header::SEC_WEBSOCKET_KEY).cloned();
        let upstream = self.clone();
        let upgraded = hyper::upgrade::on(&mut request);
        tokio::task::spawn_local(async move {
            let mut progress = Progress::default();
            let served = async {
                let stream = upgraded.await.map_err(io::Error::other)?;
                upstream
                    .serve(TokioIo::new(stream), serial, mood, &mut progress)
                    .await
            };
            let note = served
                .await
                .map_or_else(|error| error.kind().to_string(), str::to_owned);
            upstream.tell_served(serial, progress, note);
        });
        let mut response = Response::new(Spoken::new(Body::new(0, Direction::Down), 0, PIECE));
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        if let Some(key) = key {
            // Whether it is the right one is not this visitor's business.
            headers.insert(header::SEC_WEBSOCKET_ACCEPT, key);
        }
        response
    }

    /// Reads and checks a request's body up to its end.
    async fn take_body(
        &self,
        mut incoming: Incoming,
        (request, told): (&Request, Told),
        stage: watch::Sender<Stage>,
        progress: &mut Progress,
    ) -> &'static str {
        let body = Body::new(request.connection, Direction::Up);
        let mut trailers = HeaderMap::new();
        loop {
            // Where the length was said, the end may be known before it is told.
            let ended = incoming.is_end_stream();
            let frame = if ended { None } else { incoming.frame().await };
            let frame = match frame {
                Some(Ok(frame)) => frame,
                Some(Err(_)) => return "broken",
                None if progress.got < request.len => {
                    progress.ended = true;
                    return "cut short";
                }
                None => {
                    self.check_trailers(request.connection, told, &trailers);
                    (progress.ended, progress.clean) = (true, true);
                    stage.send_replace(Stage::Request);
                    return "complete";
                }
            };
            let bytes = match frame.into_data() {
                Ok(bytes) => bytes,
                Err(frame) => {
                    trailers = frame.into_trailers().unwrap_or_default();
                    continue;
                }
            };
            let (got, n) = (progress.got, bytes.len() as u64);
            if let Some(at) = body.mismatch(got, &bytes) {
                self.odd(request.connection, Oddity::WrongByte { at });
                return "wrong byte";
            }
            let holds = got < request.len / 2 && got + n >= request.len / 2;
            if holds && request.hold_ms > 0 {
                adit::time::sleep(Duration::from_millis(request.hold_ms)).await;
            }
            progress.got += n;
            if progress.got > request.len {
                let (got, of) = (progress.got, request.len);
                self.odd(request.connection, Oddity::TooMuch { got, of });
                return "too many bytes";
            }
        }
    }

    fn odd(&self, session: u64, what: Oddity) {
        self.oracle.tell(Event::Odd {
            place: self.who(),
            session: Some(session),
            what,
        });
    }
}
