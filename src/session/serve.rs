//! One proxy connection at the client: opened for a ticket, then one session after another.

use std::{
    fmt,
    future::poll_fn,
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use rand_chacha::ChaCha8Rng;
use serde_bytes::ByteBuf;
use tokio::sync::watch;
use tracing::{debug, warn};

use super::{
    approach::{Approach, ApproachError, Reached},
    core::{Action, Core, Fate},
    raw::RawStream,
    relay::Relay,
    upstream_side::{Outcome, UpstreamSide},
};
use crate::{
    env::Env,
    id::{ClientId, Epoch, Ordinal, ProxyConnId, UpstreamName},
    link::{
        self,
        carrier::Carrier,
        connect::dial,
        framed::{Framed, FramedError, Input},
    },
    metrics::Counted,
    notice::times,
    probe::{audit, mutant, sometimes},
    selector::strategy::bound_to,
    time::{self, Duration, Instant, Timer},
    transport::{BoxFuture, null::Null},
    wire::{
        codec::Head,
        frame::{PROXY_BODY_LEN_MAX, kind},
        message::{NewProxyConn, PROTOCOL_HTTP, PROTOCOL_PROBE, RefuseCode, Start, ToClient, ToServer},
        preamble::Purpose,
        proof::{LinkKey, matches},
    },
};

/// An upstream that takes longer than this to connect is announced with `Accepted`.
const WORKING_AFTER: Duration = Duration::from_millis(5);

/// One service of this client.
pub struct Upstream {
    /// Its name.
    pub name: UpstreamName,
    /// The way to its addresses. Its `connect_timeout` is for all of them together.
    pub approach: Approach,
}

/// What all proxy connections of one registration share.
pub struct Registration {
    /// The world.
    pub env: Env,
    /// The client's name.
    pub client: ClientId,
    /// The registration.
    pub epoch: Epoch,
    /// Proves its proxy connections and data links.
    pub key: LinkKey,
    /// Where they go, as `host:port`.
    pub proxy: String,
    /// What the client serves.
    pub upstreams: Arc<Vec<Upstream>>,
    /// How long opening one may take, and what its data links may carry, as the server has granted it.
    pub link: link::Options,
    /// Sessions in flight, of all registrations of this client.
    pub load: Arc<AtomicUsize>,
    /// Data links that are open, and proxy connections that have carried something, of all registrations of this client: the
    /// server may not have heard yet what was said on them last.
    pub unfinished: Arc<AtomicUsize>,
    /// Turns true when the registration has ended: parked connections close.
    pub ended: watch::Receiver<bool>,
}

/// Why a connection of a registration was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// No connection.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The connection ended during the proof.
    #[error(transparent)]
    Framed(#[from] FramedError),
    /// The server did not prove itself.
    #[error("the server's proof does not match the link's key")]
    Proof,
    /// No answer in time.
    #[error("no answer in time")]
    Timeout,
}

/// Opens the connection for `ticket`: a proxy connection, or a data link.
///
/// # Errors
/// [`OpenError`]; the server is told, and may ask again.
pub async fn open(
    registration: &Registration,
    purpose: Purpose,
    ticket: ProxyConnId,
) -> Result<Framed, OpenError> {
    let body_len_max = match purpose {
        Purpose::Proxy => PROXY_BODY_LEN_MAX,
        // Whoever takes it over reads bodies with a decoder of its own.
        Purpose::Link | Purpose::Control => 0,
    };
    let opening = async {
        let (epoch, key) = (registration.epoch, &registration.key);
        let stream = dial(
            &registration.env,
            &registration.proxy,
            registration.link.handshake_timeout,
        )
        .await?;
        let mut framed = Framed::new(stream, body_len_max);
        framed.queue_raw(&purpose.preamble());
        framed.queue(
            0,
            &ToServer::NewProxyConn(NewProxyConn {
                client_id: registration.client.to_string(),
                boot: epoch.boot(),
                counter: epoch.counter(),
                proxy_conn_id: ByteBuf::from(*ticket.bytes()),
                mac: ByteBuf::from(key.conn_proof(purpose, epoch, ticket)),
            }),
        );
        framed.flush().await?;
        let head = framed.read_head().await?;
        match head.message().map_err(FramedError::from)? {
            Some(ToClient::ProxyConnReady(ready))
                if matches(&key.ready_proof(purpose, epoch, ticket), &ready.mac) =>
            {
                Ok(framed)
            }
            Some(ToClient::ProxyConnReady(_)) => Err(OpenError::Proof),
            _ => Err(FramedError::Unexpected.into()),
        }
    };
    time::within(registration.link.handshake_timeout, opening)
        .await
        .unwrap_or(Err(OpenError::Timeout))
}

/// Serves session after session on an open proxy connection, until it dies or the server lets go of it.
pub async fn serve(registration: &Registration, framed: Framed) {
    let mut carrier = Carrier::Dedicated(Box::new(framed));
    let mut timer = Timer::default();
    let mut last = Ordinal::CONNECTION;
    let mut ended = registration.ended.clone();
    let mut rng = registration.env.entropy.rng();
    let mut unfinished = None;
    loop {
        let came = tokio::select! {
            biased;
            came = poll_fn(|cx| carrier.poll_idle(cx, &mut timer)) => Some(came),
            () = over(&mut ended) => None,
        };
        let head = match came {
            Some(Ok(Input::Head(head))) => head,
            None if unfinished.is_some() && !mutant!("last-words-not-waited-for") => {
                return part(&mut carrier, &mut timer, last).await;
            }
            _ => return,
        };
        if is_crossed_reset(&head, last) {
            sometimes!("reset-crossed-the-end");
            return;
        }
        let Some((ordinal, start)) = accept(&head, last) else {
            registration.env.metrics.violations.inc();
            return;
        };
        last = ordinal;
        unfinished.get_or_insert_with(|| Held::new(&registration.unfinished));
        let _in_flight = (
            Held::new(&registration.load),
            Counted::new(&registration.env.metrics.sessions),
        );
        let begun = begin(registration, &mut carrier, ordinal, start, &mut rng).await;
        let fate = carry(registration, &mut carrier, &mut timer, begun).await;
        if fate == Fate::Dead || !carrier.is_flushed() {
            return;
        }
    }
}

/// Waits until the server has heard what was said last, as long as it gives signs of life. Its visitor may take its time, and
/// what waits in this kernel is lost if the server says anything to a connection that is closed here.
async fn part(carrier: &mut Carrier, timer: &mut Timer, last: Ordinal) {
    let Carrier::Dedicated(framed) = carrier else {
        return;
    };
    framed.ask(last.value());
    let heard = |head: &Head| head.prefix.kind == kind::PONG && head.prefix.stream_id == last.value();
    loop {
        match poll_fn(|cx| framed.poll_idle(cx, timer)).await {
            Ok(Input::Head(head)) if head.prefix.kind == kind::PONG && !heard(&head) => {}
            _ => return,
        }
    }
}

/// Serves the one session of a stream that the server has opened on a data link.
pub async fn serve_stream(registration: &Registration, mut carrier: Carrier) {
    // A stream begins with START, or it would not be here.
    let Ok(Input::Head(head)) = poll_fn(|cx| carrier.poll_input(cx)).await else {
        return;
    };
    let accepted = accept(&head, Ordinal::CONNECTION);
    drop(head);
    let Some((ordinal, start)) = accepted else {
        registration.env.metrics.violations.inc();
        return;
    };
    let _in_flight = (
        Held::new(&registration.load),
        Counted::new(&registration.env.metrics.sessions),
    );
    let begun = {
        let mut rng = Box::new(registration.env.entropy.rng());
        begin(registration, &mut carrier, ordinal, start, &mut rng).await
    };
    carry(registration, &mut carrier, &mut Timer::default(), begun).await;
}

/// Waits until a registration has ended.
pub(super) async fn over(ended: &mut watch::Receiver<bool>) {
    // One that nobody holds has ended too.
    let _ = ended.wait_for(|ended| *ended).await;
}

/// Counts one more in a shared figure while it lives.
pub(super) struct Held(Arc<AtomicUsize>);

impl Held {
    pub(super) fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let before = self.0.fetch_sub(1, Ordering::Relaxed);
        audit!(before > 0, "only what was counted is counted no more");
    }
}

/// Only a `Start` with the next ordinal begins a session.
fn accept(head: &Head, last: Ordinal) -> Option<(Ordinal, Start)> {
    let expected = last.next()?;
    match head.message() {
        Ok(Some(ToClient::Start(start))) if head.prefix.stream_id == expected.value() => {
            Some((expected, start))
        }
        _ => None,
    }
}

/// A reset of the session that has just ended well here: its visitor left while the last words were under way.
/// The server has given the connection up.
fn is_crossed_reset(head: &Head, last: Ordinal) -> bool {
    head.prefix.stream_id == last.value() && matches!(head.message(), Ok(Some(ToClient::Reset(_))))
}

/// A session whose upstream was asked for. Of its `Start` it keeps what is said of it at the end.
struct Begun<'a> {
    began: Instant,
    side: UpstreamSide,
    session_id: u64,
    visitor: String,
    is_probe: bool,
    is_http: bool,
    connected: Result<(&'a Upstream, Reached), (RefuseCode, String)>,
}

/// Reaches the upstream. That needs much more memory than the session that follows, so it is a future of its own.
fn begin<'r: 'b, 'b>(
    registration: &'r Registration,
    carrier: &'b mut Carrier,
    ordinal: Ordinal,
    start: Start,
    rng: &'b mut ChaCha8Rng,
) -> BoxFuture<'b, Box<Begun<'r>>> {
    Box::pin(async move {
        let began = time::now();
        let mut side = UpstreamSide::new(began, ordinal, registration.link.half_closed_timeout);
        let connected = connect(registration, carrier, &mut side, &start, rng).await;
        Box::new(Begun {
            began,
            side,
            session_id: start.session_id,
            is_probe: start.protocol == PROTOCOL_PROBE,
            is_http: start.protocol == PROTOCOL_HTTP,
            visitor: start.visitor,
            connected,
        })
    })
}

/// Joins the upstream, if it was reached, and the server, until both are through with each other.
async fn carry(
    registration: &Registration,
    carrier: &mut Carrier,
    timer: &mut Timer,
    begun: Box<Begun<'_>>,
) -> Fate {
    let Begun {
        began,
        mut side,
        session_id: session,
        visitor,
        is_probe,
        is_http,
        connected,
    } = *begun;
    let (raw, held) = match connected {
        Ok((upstream, reached)) => {
            side.handle_connected();
            let Reached {
                stream,
                target,
                in_flight,
                ..
            } = reached;
            // Whoever only asks whether the upstream is there says nothing to it, and hears nothing of it.
            let stream = if is_probe { forget(stream) } else { stream };
            (Some(stream), Some((upstream, target, in_flight)))
        }
        Err((code, message)) => {
            side.handle_not_connected(time::now(), code, &message);
            (None, None)
        }
    };
    let metrics = &registration.env.metrics;
    let relay = Relay::new(&mut side, carrier, raw, timer, None).counting(metrics.bytes.at_upstream());
    let fate = match &held {
        Some((upstream, target, _)) if is_http => {
            let left = upstream.approach.group.wait_until_left(&target.reach);
            Box::pin(finish_or_retire(relay, left)).await
        }
        _ => relay.finish().await,
    };
    let outcome = side.outcome().map_or("broken", Outcome::label);
    if side.is_violated() {
        metrics.violations.inc();
    }
    if is_probe && !mutant!("probe-counted-as-a-session") {
        return fate;
    }
    let mut name = "";
    if let Some((upstream, target, _in_flight)) = held {
        let well = !side.was_broken_by_upstream();
        upstream.approach.report_end(&target, well);
        name = upstream.name.as_str();
    }
    metrics.session_outcomes.inc(outcome);
    let (down, up) = side.bytes();
    debug!(session, %visitor, upstream = name, outcome, up, down, took = ?(time::now() - began), "session ended");
    fate
}

/// Moves everything to the end of the session. Tells the server once the upstream's address has `left` the active set: the
/// session carries many requests, and those that follow belong elsewhere.
async fn finish_or_retire(mut relay: Relay<'_, UpstreamSide>, left: impl Future<Output = ()>) -> Fate {
    tokio::select! {
        biased;
        fate = poll_fn(|cx| relay.poll_finish(cx)) => return fate,
        () = left => relay.core_mut().handle_retired(),
    }
    relay.finish().await
}

/// Closes an upstream that nobody wants anything of, and stands in for it.
fn forget(stream: RawStream) -> RawStream {
    stream.close();
    RawStream::new(Box::new(Null))
}

/// Reaches the upstream that `start` names; tells the server when that takes a while.
async fn connect<'a>(
    registration: &'a Registration,
    carrier: &mut Carrier,
    side: &mut UpstreamSide,
    start: &Start,
    rng: &mut ChaCha8Rng,
) -> Result<(&'a Upstream, Reached), (RefuseCode, String)> {
    let several = registration.upstreams.len() > 1;
    let mut upstreams = registration.upstreams.iter();
    let named = |up: &&Upstream| {
        up.name.as_str() == start.upstream || several && mutant!("first-upstream-serves-all")
    };
    let Some(upstream) = upstreams.find(named) else {
        let error = "the server asks for an upstream that this client does not have";
        say_unreachable(registration, &start.upstream, &error);
        return Err((
            RefuseCode::UnknownUpstream,
            format!("no upstream {:?}", start.upstream),
        ));
    };
    sometimes!(
        several && upstream.name != registration.upstreams[0].name,
        "further-upstream-served"
    );
    let patience = upstream.approach.connect_timeout;
    let visitor = start.visitor.parse().ok().map(bound_to);
    // A probe asks for the service, not for a stream that was there already.
    let fresh = start.protocol == PROTOCOL_PROBE;
    let deadline = time::now() + patience;
    let connecting = upstream.approach.reach(deadline, visitor, fresh, rng);
    let mut connecting = std::pin::pin!(connecting);
    let connected = tokio::select! {
        biased;
        connected = &mut connecting => connected,
        () = time::sleep(WORKING_AFTER) => {
            side.handle_working();
            while let Some(Action::Send(message)) = side.poll_action() {
                carrier.queue(side.ordinal().value(), &message);
            }
            let told = time::within(patience, poll_fn(|cx| carrier.poll_flush(cx)));
            tokio::join!(biased; connecting, told).0
        }
    };
    match connected {
        Ok(reached) => Ok((upstream, reached)),
        Err(error) => {
            if !fresh {
                upstream.approach.group.count_turned_away();
            }
            if let ApproachError::NoTarget | ApproachError::Unresolved(_) = error {
                say_unreachable(registration, &upstream.name, &error);
            }
            Err(refusal(error, patience))
        }
    }
}

/// Says that an upstream is not there to be asked. Of addresses that do not answer, their selector tells.
fn say_unreachable(registration: &Registration, upstream: &dyn fmt::Display, error: &dyn fmt::Display) {
    let (client, upstream) = (registration.client.clone(), upstream.to_string());
    let reason = error.to_string();
    let subject = format!("{upstream} {reason}");
    registration.env.notice("upstream", subject, move |n| {
        warn!(%client, upstream, reason, times = times(n), "upstream cannot be reached");
    });
}

/// What the server is told of an upstream that could not be reached.
fn refusal(error: ApproachError, patience: Duration) -> (RefuseCode, String) {
    match error {
        ApproachError::Unreachable(error) if error.kind() == io::ErrorKind::TimedOut => {
            (RefuseCode::Timeout, error.to_string())
        }
        ApproachError::Unreachable(error) => (RefuseCode::Unreachable, error.to_string()),
        ApproachError::TimedOut => (RefuseCode::Timeout, format!("no answer within {patience:?}")),
        ApproachError::NoTarget | ApproachError::Unresolved(_) => {
            (RefuseCode::Unreachable, error.to_string())
        }
    }
}
