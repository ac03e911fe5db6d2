//! Asks through the tunnel whether a client's upstream is there: who refuses is dead, who is silent has a bad link.

use std::sync::Arc;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    sync::oneshot,
};

use super::{
    carry::{judge, relay, tidy},
    core::Fate,
    first_bytes::{FirstBytes, ReplayBudget},
    patience::Patience,
    raw::RawStream,
    relay::Stopped,
    testimony::words,
    visitor_side::{Cause, Outcome, VisitorSide},
    way::Ways,
};
use crate::{
    pool::conn::{Conn, Job},
    probe::{mutant, sometimes},
    prober::{
        Kind,
        probe::{HttpQuestion, Probe, ProbeFailure},
    },
    target::{Target, Tunnel},
    time::{self, Duration, Instant},
    transport::{BoxFuture, Stream, null::Null, pipe::pipe},
    wire::message::{PROTOCOL_PROBE, PROTOCOL_TCP, Start},
};

/// How long a client may take to agree that a probe is over. Longer holds its connection; shorter costs a new one.
const AGREE_TIMEOUT: Duration = Duration::from_secs(1);

/// What is read of an answer at once, once it is known.
const DISCARD_LEN: usize = 4 * 1024;

/// What a probe came to.
type Answer = Result<Duration, ProbeFailure>;

/// The probe of tunnels that `kind` asks for; none when it is off.
pub fn of_tunnels(ways: &Ways, kind: &Kind) -> Option<Arc<dyn Probe<Tunnel>>> {
    let question = match kind {
        Kind::Tcp => None,
        Kind::Http { path, status, host } => Some(HttpQuestion {
            path: path.clone(),
            status: *status,
            host: host.clone(),
        }),
        Kind::Off => return None,
    };
    Some(Arc::new(TunnelProbe {
        ways: ways.clone(),
        question,
    }))
}

/// Goes the way a session goes, and has the client connect its upstream.
///
/// What it takes is counted from `Start` to `Started`; with a question, to its answer. It counts neither as a session
/// nor as its bytes. A connection that is whole afterwards goes back to its pool.
pub struct TunnelProbe {
    ways: Ways,
    /// What the upstream is asked; `None` when it is enough that it accepts.
    question: Option<HttpQuestion>,
}

impl Probe<Tunnel> for TunnelProbe {
    fn probe(&self, target: Arc<Target<Tunnel>>, timeout: Duration) -> BoxFuture<'static, Answer> {
        let (tell, told) = oneshot::channel();
        let inquiry = Inquiry {
            target,
            question: self.question.clone(),
            timeout,
            deadline: time::now() + timeout,
            tell: Some(tell),
        };
        // A task of its own: where it was dropped while a connection is on its way to it, nobody would give that back.
        self.ways.env.spawn(inquiry.begin(self.ways.clone())).detach();
        Box::pin(async move {
            let told = time::within(timeout, told).await;
            // A connection that died in this very moment drops the inquiry.
            let unheard = Err(ProbeFailure::Unreachable);
            let answer = told.map_or(Err(ProbeFailure::Timeout), |told| told.unwrap_or(unheard));
            let timed_out = answer == Err(ProbeFailure::Timeout);
            sometimes!(timed_out, "probe-timed-out-through-tunnel");
            let refused = answer == Err(ProbeFailure::Refused);
            sometimes!(refused, "probe-refused-through-tunnel");
            answer
        })
    }
}

/// One probe: a job for whatever leads to the client.
struct Inquiry {
    target: Arc<Target<Tunnel>>,
    question: Option<HttpQuestion>,
    timeout: Duration,
    deadline: Instant,
    tell: Option<oneshot::Sender<Answer>>,
}

impl Inquiry {
    /// Finds a way for itself. By the deadline it is known whether there is one.
    async fn begin(mut self, ways: Ways) {
        match ways.find(&self.target.reach, self.deadline).await {
            Some(way) => way.run(&ways.env, Box::new(self)),
            None => self.say(Err(ProbeFailure::Timeout)),
        }
    }

    /// Said once; what is said later is not heard.
    fn say(&mut self, answer: Answer) {
        if let Some(tell) = self.tell.take() {
            // The prober may be gone.
            let _ = tell.send(answer);
        }
    }

    /// A visitor's side without a visitor.
    fn side(&self, conn: &Conn, now: Instant) -> VisitorSide {
        let protocol = match self.question {
            None => PROTOCOL_PROBE,
            Some(_) => PROTOCOL_TCP,
        };
        let upstream = match mutant!("probe-names-no-upstream") {
            false => self.target.reach.upstream.to_string(),
            true => String::new(),
        };
        let start = Start {
            session_id: 0,
            protocol: protocol.to_owned(),
            upstream,
            address: String::new(),
            visitor: String::new(),
            entry: String::new(),
        };
        let patience = Patience {
            answer: self.timeout,
            connect: self.timeout,
            start_deadline: self.deadline,
            half_closed: AGREE_TIMEOUT,
        };
        // Nothing is kept to be said again.
        let mut first = FirstBytes::new(ReplayBudget::new(0));
        if self.question.is_none() {
            first.push_fin();
        }
        VisitorSide::new(now, conn.last, start, patience, first)
    }

    /// Has the client connect the upstream, and asks what there is to ask.
    async fn ask(&mut self, conn: &mut Conn, side: &mut VisitorSide, asked_at: Instant) -> Option<Fate> {
        let Some(question) = self.question.clone() else {
            let nobody = RawStream::new(Box::new(Null));
            let started = |side: &VisitorSide| {
                if side.was_served() {
                    self.say(Ok(time::now() - asked_at));
                }
            };
            return fate(relay(conn, side, nobody, None, None, started).await);
        };
        let (visitor, far) = pipe();
        let visitor: Box<dyn Stream> = Box::new(visitor);
        let carried = async {
            // Dropped where it was released: whoever asks waits for no answer then.
            fate(relay(conn, side, RawStream::new(visitor), None, None, |_| {}).await)
        };
        tokio::join!(biased; carried, self.converse(&question, far, asked_at)).0
    }

    /// Asks the upstream, and hears it to its end while there is time.
    async fn converse(&mut self, question: &HttpQuestion, mut far: DuplexStream, asked_at: Instant) {
        let name = self.target.reach.upstream.to_string();
        let left = self.deadline.saturating_duration_since(time::now());
        let answered = async {
            let answer = question.ask(&mut far, &name).await;
            if let Ok(()) | Err(ProbeFailure::BadStatus(_)) = answer {
                self.say(answer.map(|()| time::now() - asked_at));
            }
            let mut rest = vec![0; DISCARD_LEN];
            // Whatever ends it, the connection's own end is what counts.
            let _ = far.shutdown().await;
            while far.read(&mut rest).await.is_ok_and(|read| read > 0) {}
        };
        // What is late is not an answer: the pipe is dropped, and the session with it.
        let _ = time::within(left, answered).await;
    }
}

impl Job for Inquiry {
    fn run(mut self: Box<Self>, mut conn: Conn) -> BoxFuture<'static, Result<Conn, &'static str>> {
        Box::pin(async move {
            let asked_at = time::now();
            if asked_at >= self.deadline {
                // Nobody listens any more, and the connection is as good as it was.
                return Ok(conn);
            }
            conn.last = conn.last.next().ok_or("out_of_ordinals")?;
            let mut side = self.side(&conn, asked_at);
            let ended = self.ask(&mut conn, &mut side, asked_at).await;
            if let Some(outcome @ Outcome::NotStarted { .. }) = side.outcome() {
                let waited = time::now() - asked_at;
                self.target
                    .gauges
                    .note_failure(&words(outcome, side.refusal(), waited));
            }
            self.say(unanswered(&side, asked_at));
            let fate = match ended {
                Some(fate) => fate,
                None if mutant!("refused-probe-leaves-words-unread") => return Ok(conn),
                None => tidy(&mut conn, &mut side).await,
            };
            if mutant!("probe-keeps-its-connection") {
                std::future::pending::<()>().await;
            }
            judge(&side, fate).map(|()| conn)
        })
    }
}

/// The stream's fate; `None` when a visitor was released, who is nobody here, and the stream has yet to be tidied.
fn fate(stopped: Stopped) -> Option<Fate> {
    match stopped {
        Stopped::Ended(fate) => Some(fate),
        Stopped::Released(_) => None,
    }
}

/// What it means that a session ended without an answer.
fn unanswered(side: &VisitorSide, asked_at: Instant) -> Answer {
    Err(match side.outcome() {
        Some(Outcome::NotStarted { cause, .. }) => match cause {
            Cause::Refused(_) if mutant!("probe-takes-refusal-for-answer") => {
                return Ok(time::now() - asked_at);
            }
            // The link is well, and what is behind it is not.
            Cause::Refused(_) => ProbeFailure::Refused,
            Cause::Broken => ProbeFailure::Unreachable,
            Cause::Silent => ProbeFailure::Timeout,
        },
        _ => ProbeFailure::Broken,
    })
}

#[cfg(test)]
mod tests {
    use actix::{Actor, Context, Handler};
    use tokio::task::LocalSet;

    use super::*;
    use crate::{
        env::{Env, Stop},
        id::{ClientId, Epoch, UpstreamName},
        link::{carrier::Carrier, framed::Framed, links::Links},
        pool::{
            Options,
            actor::{Add, Arrived, Order},
            conn::ConnPool,
        },
        registry::data_links::WantLink,
        session,
        wire::{
            frame::PROXY_BODY_LEN_MAX,
            message::{Finished, RefuseCode, Refused, ToClient, ToServer},
        },
    };

    /// Nobody brings what is ordered.
    struct Nobody;

    impl Actor for Nobody {
        type Context = Context<Self>;
    }

    impl Handler<Order<Epoch>> for Nobody {
        type Result = ();

        fn handle(&mut self, _: Order<Epoch>, _ctx: &mut Self::Context) {}
    }

    impl Handler<WantLink> for Nobody {
        type Result = ();

        fn handle(&mut self, _: WantLink, _ctx: &mut Self::Context) {}
    }

    /// What the client at the other end of a connection says to each probe.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Client {
        Starts,
        Refuses,
        Hangs,
        Breaks,
    }

    impl Client {
        async fn serve(self, stream: Box<dyn Stream>) {
            let mut framed = Framed::new(stream, PROXY_BODY_LEN_MAX);
            let finished = ToServer::Finished(Finished { outcome: 0, bytes: 0 });
            while let Ok(head) = framed.read_head().await {
                let (ordinal, message) = (head.prefix.stream_id, head.message().unwrap());
                match (self, message) {
                    (_, Some(ToClient::Start(start))) => {
                        assert_eq!((&*start.protocol, &*start.upstream), (PROTOCOL_PROBE, "main"));
                    }
                    (Self::Starts, Some(ToClient::Fin)) => {
                        let said = [
                            ToServer::Accepted,
                            ToServer::Started,
                            ToServer::Fin,
                            finished.clone(),
                        ];
                        said.iter().for_each(|message| framed.queue(ordinal, message));
                    }
                    (Self::Refuses, Some(ToClient::Fin)) => {
                        let refused = Refused {
                            code: RefuseCode::Unreachable.code(),
                            message: String::new(),
                        };
                        framed.queue(ordinal, &ToServer::Refused(refused));
                        framed.queue(ordinal, &finished);
                    }
                    (Self::Hangs, _) => {}
                    (Self::Breaks, _) => return,
                    (_, other) => panic!("{self:?} has no answer to {other:?}"),
                }
                framed.flush().await.unwrap();
            }
        }
    }

    /// A pool with one connection, at whose other end is `client`, and without one where there is none.
    async fn pool_with(env: &Env, client: Option<Client>) -> (actix::Addr<ConnPool>, Arc<Target<Tunnel>>) {
        let epoch = Epoch::new(1, 1);
        let options = Options {
            min: 1,
            ..Options::default()
        };
        let pool = ConnPool::new(env.clone(), options, Nobody.start().recipient()).start();
        pool.do_send(Add(epoch));
        if let Some(client) = client {
            let mut listener = env
                .transport
                .listen("127.0.0.1:0".parse().unwrap())
                .await
                .unwrap();
            let far = env.transport.connect(listener.local_addr()).await.unwrap();
            let (near, _) = listener.accept().await.unwrap();
            env.spawn(client.serve(far)).detach();
            let conn = Conn::new(Carrier::Dedicated(Box::new(Framed::new(
                near,
                PROXY_BODY_LEN_MAX,
            ))));
            pool.do_send(Arrived { key: epoch, conn });
        }
        let tunnel = Tunnel {
            client: ClientId::new("a").unwrap(),
            epoch,
            upstream: UpstreamName::new("main").unwrap(),
            link: Arc::default(),
            links: Arc::new(Links::new(0)),
        };
        (pool, Arc::new(Target::new(tunnel)))
    }

    /// Waits until there are so many connections, and all of them parked.
    async fn parked(env: &Env, count: i64) -> bool {
        let there = || (env.metrics.pool_parked.get(), env.metrics.proxy_connections.get());
        let reached = async {
            while there() != (count, count) {
                time::sleep(Duration::from_millis(1)).await;
            }
        };
        time::within(Duration::from_secs(10), reached).await.is_some()
    }

    #[tokio::test]
    async fn a_connection_that_is_taken_and_not_used_is_parked_again() {
        let taken = async {
            let (_, stop) = Stop::channel();
            let env = Env::production(stop);
            let (pool, target) = pool_with(&env, Some(Client::Hangs)).await;
            let more = Nobody.start().recipient();
            let ways = Ways::new(&env, &pool, more, &session::Options::default());
            assert!(parked(&env, 1).await);
            let patience = time::now() + Duration::from_secs(10);
            let way = ways.find(&target.reach, patience).await;
            assert_eq!((way.is_some(), env.metrics.pool_parked.get()), (true, 0));
            drop(way);
            assert!(parked(&env, 1).await);
        };
        LocalSet::new().run_until(taken).await;
    }

    #[tokio::test]
    async fn a_probe_says_what_the_client_says_and_gives_its_connection_back() {
        const PATIENT: Duration = Duration::from_secs(10);
        const SHORT: Duration = Duration::from_millis(100);
        let check = async |client, timeout, expected: Result<(), ProbeFailure>, reused: bool| {
            let (_, stop) = Stop::channel();
            let env = Env::production(stop);
            let (pool, target) = pool_with(&env, client).await;
            let more = Nobody.start().recipient();
            let ways = Ways::new(&env, &pool, more, &session::Options::default());
            let probe = of_tunnels(&ways, &Kind::Tcp).unwrap();
            // The second rides on the connection of the first.
            for _ in 0..if reused { 2 } else { 1 } {
                let began = time::now();
                let seen = probe.probe(Arc::clone(&target), timeout).await;
                assert_eq!(seen.map(drop), expected, "{client:?}");
                assert!(time::now() - began < timeout + PATIENT / 2, "{client:?}");
                assert!(parked(&env, reused.into()).await, "{client:?}");
            }
            let metrics = &env.metrics;
            assert_eq!((metrics.sessions.get(), metrics.bytes.up.get()), (0, 0));
        };
        LocalSet::new()
            .run_until(async {
                let refused = Err(ProbeFailure::Refused);
                check(Some(Client::Starts), PATIENT, Ok(()), true).await;
                check(Some(Client::Refuses), PATIENT, refused, true).await;
                check(Some(Client::Hangs), SHORT, Err(ProbeFailure::Timeout), false).await;
                check(
                    Some(Client::Breaks),
                    PATIENT,
                    Err(ProbeFailure::Unreachable),
                    false,
                )
                .await;
                check(None, SHORT, Err(ProbeFailure::Timeout), false).await;
            })
            .await;
    }
}
