//! One probe of one address: does it accept a connection, does it answer a request.

use std::{io, net::SocketAddr, sync::Arc};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::Kind;
use crate::{
    env::Env,
    probe::mutant,
    target::{Reach, Target},
    time::{self, Duration, Instant},
    transport::{BoxFuture, Stream},
};

/// How much of an answer is read for its status line. An honest one needs 13 bytes.
const STATUS_LINE_MAX: usize = 256;

/// What is well where no status is named.
const STATUS_WELL: std::ops::RangeInclusive<u16> = 200..=399;

/// Why a probe failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProbeFailure {
    /// Nobody accepts connections there.
    #[error("refused")]
    Refused,
    /// The network says that it is not to be reached.
    #[error("unreachable")]
    Unreachable,
    /// Nothing came in time.
    #[error("timed out")]
    Timeout,
    /// It accepted, and broke off before it answered, or what it said was no answer.
    #[error("broken")]
    Broken,
    /// It answered with another status than a well one would.
    #[error("status {0}")]
    BadStatus(u16),
}

impl ProbeFailure {
    /// What it says of a probe of this `kind` that had so long: `None` where whoever probed has noted it at the target.
    pub fn words(self, kind: &Kind, timeout: Duration) -> Option<String> {
        let asked = match kind {
            Kind::Http { path, .. } => format!("GET {path}"),
            Kind::Tcp | Kind::Off => "the probe".to_owned(),
        };
        match (self, kind) {
            (
                Self::BadStatus(got),
                Kind::Http {
                    status: Some(right), ..
                },
            ) => Some(format!("{asked} answered {got}, expected {right}")),
            (Self::BadStatus(got), _) => Some(format!(
                "{asked} answered {got}, expected {} to {}",
                STATUS_WELL.start(),
                STATUS_WELL.end()
            )),
            (Self::Broken, _) => Some(format!("{asked} had no answer before the connection ended")),
            (Self::Timeout, _) => Some(format!("{asked} had no answer within {timeout:?}")),
            (Self::Refused | Self::Unreachable, _) => None,
        }
    }

    /// Whether the target itself said no. Else the way to it may be at fault, or this node.
    pub fn is_refusal(self) -> bool {
        match self {
            Self::Refused | Self::Broken | Self::BadStatus(_) => true,
            Self::Unreachable | Self::Timeout => false,
        }
    }
}

/// A way to ask targets of one kind whether they are well.
pub trait Probe<R: Reach>: Send + Sync {
    /// Asks `target` and says how long the answer took; ends within `timeout`.
    fn probe(
        &self,
        target: Arc<Target<R>>,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<Duration, ProbeFailure>>;
}

/// The probe of addresses that `kind` asks for; none when it is off.
pub fn of_addresses(env: &Env, kind: &Kind) -> Option<Arc<dyn Probe<SocketAddr>>> {
    match kind {
        Kind::Tcp => Some(Arc::new(TcpProbe { env: env.clone() })),
        Kind::Http { path, status, host } => Some(Arc::new(HttpProbe {
            env: env.clone(),
            question: HttpQuestion {
                path: path.clone(),
                status: *status,
                host: host.clone(),
            },
        })),
        Kind::Off => None,
    }
}

/// Whoever accepts a connection is well.
#[derive(Clone)]
pub struct TcpProbe {
    /// The world.
    pub env: Env,
}

impl Probe<SocketAddr> for TcpProbe {
    fn probe(
        &self,
        target: Arc<Target<SocketAddr>>,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<Duration, ProbeFailure>> {
        let env = self.env.clone();
        Box::pin(async move {
            let asked_at = time::now();
            let asked = connect(&env, &target);
            let stream = time::within(timeout, asked)
                .await
                .ok_or(ProbeFailure::Timeout)??;
            if mutant!("probe-connection-kept") {
                std::mem::forget(stream);
            } else {
                drop(stream);
            }
            Ok(since(asked_at))
        })
    }
}

/// Whoever answers `GET path` with the right status is well. What it takes is counted from the first packet to the
/// status line.
#[derive(Clone)]
pub struct HttpProbe {
    /// The world.
    pub env: Env,
    /// What is asked.
    pub question: HttpQuestion,
}

/// `GET path`, and which answer is right.
#[derive(Clone, Debug)]
pub struct HttpQuestion {
    /// The path asked for.
    pub path: String,
    /// The status expected; `None` is any from 200 to 399.
    pub status: Option<u16>,
    /// The `Host` header; `None` is what the target is called.
    pub host: Option<String>,
}

impl Probe<SocketAddr> for HttpProbe {
    fn probe(
        &self,
        target: Arc<Target<SocketAddr>>,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<Duration, ProbeFailure>> {
        let this = self.clone();
        Box::pin(async move {
            let asked_at = time::now();
            let asked = async {
                let mut stream = connect(&this.env, &target).await?;
                this.question.ask(&mut stream, &target.reach.to_string()).await
            };
            time::within(timeout, asked)
                .await
                .ok_or(ProbeFailure::Timeout)??;
            Ok(since(asked_at))
        })
    }
}

impl HttpQuestion {
    /// Asks on `stream`, where `name` is what its far end is called. Without a deadline of its own.
    ///
    /// # Errors
    /// [`ProbeFailure::BadStatus`] for a wrong answer, [`ProbeFailure::Broken`] for none.
    pub async fn ask(
        &self,
        stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
        name: &str,
    ) -> Result<(), ProbeFailure> {
        let host = self.host.as_deref();
        let host = host.filter(|_| !mutant!("probe-names-no-chosen-host"));
        let host = host.unwrap_or(name);
        let broken = |_| ProbeFailure::Broken;
        let request = request(&self.path, host);
        stream.write_all(request.as_bytes()).await.map_err(broken)?;
        let mut answer = [0; STATUS_LINE_MAX];
        let mut read = 0;
        loop {
            let more = stream.read(&mut answer[read..]).await.map_err(broken)?;
            read += more;
            if let Some(line) = answer[..read].split(|byte| *byte == b'\n').nth(0)
                && line.len() < read
            {
                return self.judge(status(line).ok_or(ProbeFailure::Broken)?);
            }
            if more == 0 {
                return Err(ProbeFailure::Broken);
            }
        }
    }

    fn judge(&self, status: u16) -> Result<(), ProbeFailure> {
        let well = match self.status {
            Some(expected) => status == expected,
            None => STATUS_WELL.contains(&status) || mutant!("probe-believes-any-status"),
        };
        if well {
            Ok(())
        } else {
            Err(ProbeFailure::BadStatus(status))
        }
    }
}

async fn connect(env: &Env, target: &Target<SocketAddr>) -> Result<Box<dyn Stream>, ProbeFailure> {
    let failed = |error: io::Error| {
        target.gauges.note_failure(&error.to_string());
        match error.kind() {
            io::ErrorKind::TimedOut => ProbeFailure::Timeout,
            io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => ProbeFailure::Refused,
            _ => ProbeFailure::Unreachable,
        }
    };
    env.transport.connect(target.reach).await.map_err(failed)
}

fn since(start: Instant) -> Duration {
    time::now().saturating_duration_since(start)
}

/// A request as small as it can be. The connection ends with it.
fn request(path: &str, host: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: adit\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    )
}

/// The status of `HTTP/1.x NNN …`.
fn status(line: &[u8]) -> Option<u16> {
    let line = std::str::from_utf8(line).ok()?;
    let rest = line.strip_prefix("HTTP/1.")?;
    let (version, rest) = rest.split_once(' ')?;
    let code = rest
        .get(..3)
        .filter(|code| code.bytes().all(|b| b.is_ascii_digit()))?;
    let ends = matches!(rest.as_bytes().get(3), None | Some(b' ' | b'\r'));
    (matches!(version, "0" | "1") && ends).then(|| code.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::{Entropy, Stop};
    use crate::transport::Listener;

    #[test]
    fn only_a_status_line_has_a_status() {
        let check = |line: &str, expected| assert_eq!(status(line.as_bytes()), expected, "{line}");
        check("HTTP/1.1 200 OK\r", Some(200));
        check("HTTP/1.0 404", Some(404));
        check("HTTP/1.1 503\r", Some(503));
        check("HTTP/2 200 OK", None);
        check("HTTP/1.1 2000", None);
        check("HTTP/1.1 +20 OK", None);
        check("SSH-2.0-OpenSSH", None);
        check("", None);
    }

    #[test]
    fn a_failure_says_what_was_asked_and_what_was_expected() {
        let http = |status| Kind::Http {
            path: "/health".to_owned(),
            status,
            host: None,
        };
        let words =
            |failure: ProbeFailure, kind| failure.words(&kind, Duration::from_secs(2)).unwrap_or_default();
        let bad = ProbeFailure::BadStatus(500);
        assert_eq!(
            words(bad, http(None)),
            "GET /health answered 500, expected 200 to 399"
        );
        assert_eq!(
            words(bad, http(Some(204))),
            "GET /health answered 500, expected 204"
        );
        assert_eq!(
            words(ProbeFailure::Timeout, http(None)),
            "GET /health had no answer within 2s"
        );
        assert_eq!(words(ProbeFailure::Refused, Kind::Tcp), "");
    }

    #[test]
    fn a_request_ends_its_connection() {
        let request = request("/healthz", "127.0.0.1:80");
        assert!(request.starts_with("GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:80\r\n"));
        assert!(request.ends_with("Connection: close\r\n\r\n"));
    }

    fn world() -> Env {
        let (_, stop) = Stop::channel();
        Env {
            entropy: Entropy::seeded(1),
            ..Env::production(stop)
        }
    }

    /// Answers one connection with `says`, and tells what it was asked.
    async fn answer(mut listener: Box<dyn Listener>, says: &'static str) {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut asked = [0; 512];
        let _ = stream.read(&mut asked).await;
        let _ = stream.write_all(says.as_bytes()).await;
        let _ = stream.shutdown().await;
    }

    #[tokio::test]
    async fn whoever_answers_is_well() {
        let env = world();
        let local = SocketAddr::from(([127, 0, 0, 1], 0));
        let check = async |kind: Kind, says: &'static str, expected: Result<(), ProbeFailure>| {
            let listener = env.transport.listen(local).await.unwrap();
            let target = Arc::new(Target::new(listener.local_addr()));
            let answering = env.spawn(answer(listener, says));
            let probe = of_addresses(&env, &kind).unwrap();
            let seen = probe.probe(target, Duration::from_secs(5)).await;
            assert_eq!(seen.map(drop), expected, "{kind:?} {says:?}");
            drop(answering);
        };
        let http = |status| Kind::Http {
            path: "/".to_owned(),
            status,
            host: None,
        };
        check(Kind::Tcp, "", Ok(())).await;
        check(http(None), "HTTP/1.1 204 No Content\r\n\r\n", Ok(())).await;
        let bad = Err(ProbeFailure::BadStatus(503));
        check(http(None), "HTTP/1.1 503 Service Unavailable\r\n\r\n", bad).await;
        check(
            http(Some(503)),
            "HTTP/1.1 503 Service Unavailable\r\n\r\n",
            Ok(()),
        )
        .await;
        check(http(None), "HTTP/1.1 200", Err(ProbeFailure::Broken)).await;
        check(http(None), "what?\n", Err(ProbeFailure::Broken)).await;
    }

    #[tokio::test]
    async fn nobody_there_is_a_refusal() {
        let env = world();
        let local = SocketAddr::from(([127, 0, 0, 1], 0));
        let address = env.transport.listen(local).await.unwrap().local_addr();
        let probe = of_addresses(&env, &Kind::Tcp).unwrap();
        let seen = probe
            .probe(Arc::new(Target::new(address)), Duration::from_secs(5))
            .await;
        assert_eq!(seen, Err(ProbeFailure::Refused));
        assert!(of_addresses(&env, &Kind::Off).is_none());
    }
}
