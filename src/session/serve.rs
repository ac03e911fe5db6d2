//! One proxy connection at the client: opened for a ticket, then one session after another.

use std::{
    future::poll_fn,
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use serde_bytes::ByteBuf;
use tokio::sync::watch;
use tracing::debug;

use super::{
    core::{Action, Core, Fate},
    raw::RawStream,
    relay::Relay,
    upstream_side::{Outcome, UpstreamSide},
};
use crate::{
    env::Env,
    id::{ClientId, Epoch, Ordinal, ProxyConnId, UpstreamName},
    link::{
        connect::dial,
        framed::{Framed, FramedError, Input},
    },
    probe::sometimes,
    time::{self, Duration, Timer},
    transport::null::Null,
    wire::{
        codec::Head,
        frame::PROXY_BODY_LEN_MAX,
        message::{NewProxyConn, PROTOCOL_PROBE, RefuseCode, Start, ToClient, ToServer},
        preamble::Purpose,
        proof::{LinkKey, matches},
    },
};

/// An upstream that takes longer than this to connect is announced with `Accepted`.
const WORKING_AFTER: Duration = Duration::from_millis(5);

/// One service of this client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// Its name.
    pub name: UpstreamName,
    /// `host:port` of each of its addresses, tried in order.
    pub targets: Vec<String>,
    /// How long connecting may take, over all addresses.
    pub connect_timeout: Duration,
}

/// What all proxy connections of one registration share.
pub struct Registration {
    /// The world.
    pub env: Env,
    /// The client's name.
    pub client: ClientId,
    /// The registration.
    pub epoch: Epoch,
    /// Proves its proxy connections.
    pub key: LinkKey,
    /// Where they go, as `host:port`.
    pub proxy: String,
    /// What the client serves.
    pub upstreams: Arc<Vec<Upstream>>,
    /// How long opening one may take.
    pub handshake_timeout: Duration,
    /// How long a half-closed session may stay without a byte.
    pub half_closed_timeout: Duration,
    /// Sessions in flight, of all registrations of this client.
    pub load: Arc<AtomicUsize>,
    /// Turns true when the registration has ended: parked connections close.
    pub ended: watch::Receiver<bool>,
}

/// Why a proxy connection was not opened.
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

/// Opens the proxy connection for `ticket`.
///
/// # Errors
/// [`OpenError`]; the server is told, and may ask again.
pub async fn open(registration: &Registration, ticket: ProxyConnId) -> Result<Framed, OpenError> {
    let opening = async {
        let (epoch, key) = (registration.epoch, &registration.key);
        let stream = dial(
            &registration.env,
            &registration.proxy,
            registration.handshake_timeout,
        )
        .await?;
        let mut framed = Framed::new(stream, PROXY_BODY_LEN_MAX);
        framed.queue_raw(&Purpose::Proxy.preamble());
        framed.queue(
            0,
            &ToServer::NewProxyConn(NewProxyConn {
                client_id: registration.client.to_string(),
                boot: epoch.boot(),
                counter: epoch.counter(),
                proxy_conn_id: ByteBuf::from(*ticket.bytes()),
                mac: ByteBuf::from(key.conn_proof(Purpose::Proxy, epoch, ticket)),
            }),
        );
        framed.flush().await?;
        let head = framed.read_head().await?;
        match head.message().map_err(FramedError::from)? {
            Some(ToClient::ProxyConnReady(ready))
                if matches(&key.ready_proof(Purpose::Proxy, epoch, ticket), &ready.mac) =>
            {
                Ok(framed)
            }
            Some(ToClient::ProxyConnReady(_)) => Err(OpenError::Proof),
            _ => Err(FramedError::Unexpected.into()),
        }
    };
    time::within(registration.handshake_timeout, opening)
        .await
        .unwrap_or(Err(OpenError::Timeout))
}

/// Serves session after session on an open proxy connection, until it dies or the server lets go of it.
pub async fn serve(registration: &Registration, mut framed: Framed) {
    let mut timer = Timer::default();
    let mut last = Ordinal::CONNECTION;
    let mut ended = registration.ended.clone();
    loop {
        let came = tokio::select! {
            biased;
            came = poll_fn(|cx| framed.poll_idle(cx, &mut timer)) => came,
            _ = ended.wait_for(|ended| *ended) => return,
        };
        let Ok(Input::Head(head)) = came else {
            return;
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
        registration.load.fetch_add(1, Ordering::Relaxed);
        registration.env.metrics.sessions.inc();
        let _in_flight = InFlight(registration);
        let fate = carry(registration, &mut framed, &mut timer, ordinal, &start).await;
        if fate == Fate::Dead || !framed.is_flushed() {
            return;
        }
    }
}

struct InFlight<'a>(&'a Registration);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.load.fetch_sub(1, Ordering::Relaxed);
        self.0.env.metrics.sessions.dec();
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

async fn carry(
    registration: &Registration,
    framed: &mut Framed,
    timer: &mut Timer,
    ordinal: Ordinal,
    start: &Start,
) -> Fate {
    let began = time::now();
    let is_probe = start.protocol == PROTOCOL_PROBE;
    let mut side = UpstreamSide::new(began, ordinal, registration.half_closed_timeout);
    let raw = match connect(registration, framed, &mut side, start).await {
        Ok(stream) => {
            registration
                .env
                .metrics
                .connect_seconds
                .observe(time::now() - began);
            side.handle_connected();
            // Whoever only asks whether the upstream is there says nothing to it, and hears nothing of it.
            Some(if is_probe { forget(stream) } else { stream })
        }
        Err((code, message)) => {
            side.handle_not_connected(time::now(), code, &message);
            None
        }
    };
    let metrics = &registration.env.metrics;
    let relay = Relay::new(&mut side, framed, raw, timer, None).counting(metrics.bytes.at_upstream());
    let fate = relay.finish().await;
    let outcome = side.outcome().map_or("broken", Outcome::label);
    if side.is_violated() {
        metrics.violations.inc();
    }
    if is_probe {
        return fate;
    }
    metrics.session_outcomes.inc(outcome);
    let (down, up) = side.bytes();
    let (session, visitor) = (start.session_id, &start.visitor);
    debug!(session, %visitor, upstream = %start.upstream, outcome, up, down, took = ?(time::now() - began), "session ended");
    fate
}

/// Closes an upstream that nobody wants anything of, and stands in for it.
fn forget(stream: RawStream) -> RawStream {
    stream.close();
    RawStream::new(Box::new(Null))
}

/// Connects the upstream that `start` names; tells the server when that takes a while.
async fn connect(
    registration: &Registration,
    framed: &mut Framed,
    side: &mut UpstreamSide,
    start: &Start,
) -> Result<RawStream, (RefuseCode, String)> {
    let Some(upstream) = registration
        .upstreams
        .iter()
        .find(|up| up.name.as_str() == start.upstream)
    else {
        return Err((
            RefuseCode::UnknownUpstream,
            format!("no upstream {:?}", start.upstream),
        ));
    };
    let connecting = time::within(
        upstream.connect_timeout,
        dial_any(&registration.env, &upstream.targets, upstream.connect_timeout),
    );
    let mut connecting = std::pin::pin!(connecting);
    let connected = tokio::select! {
        biased;
        connected = &mut connecting => connected,
        () = time::sleep(WORKING_AFTER) => {
            side.handle_working();
            while let Some(Action::Send(message)) = side.poll_action() {
                framed.queue(side.ordinal().value(), &message);
            }
            let told = time::within(upstream.connect_timeout, framed.flush());
            tokio::join!(biased; connecting, told).0
        }
    };
    match connected {
        Some(Ok(stream)) => Ok(stream),
        Some(Err(error)) if error.kind() == io::ErrorKind::TimedOut => {
            Err((RefuseCode::Timeout, error.to_string()))
        }
        Some(Err(error)) => Err((RefuseCode::Unreachable, error.to_string())),
        None => Err((
            RefuseCode::Timeout,
            format!("no answer within {:?}", upstream.connect_timeout),
        )),
    }
}

async fn dial_any(env: &Env, targets: &[String], patience: Duration) -> io::Result<RawStream> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    let share = patience / u32::try_from(targets.len()).unwrap_or(u32::MAX).max(1);
    for target in targets {
        match dial(env, target, share).await {
            Ok(stream) => return Ok(RawStream::new(stream)),
            Err(error) => last = error,
        }
    }
    Err(last)
}
