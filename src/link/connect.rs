//! How a client gets registered: connect, prove, be admitted.

use std::io;

use serde_bytes::ByteBuf;

use super::{
    Options,
    framed::{Framed, FramedError},
};
use crate::{
    env::Env,
    probe::mutant,
    time::{self, Duration},
    transport::Stream,
    wire::{
        handshake::{Greeting, HandshakeError, NONCE_LEN, Registered},
        message::{FEATURE_MUX, Register, Upstream},
        proof::{LinkKey, Token},
    },
};

/// What a client says of itself, at every server and every reconnect.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The name it wants to hold.
    pub client_id: String,
    /// The group of upstreams that name none.
    pub group: String,
    /// What it serves.
    pub upstreams: Vec<Upstream>,
    /// Random, once per process.
    pub instance: [u8; 16],
    /// The secret it proves.
    pub token: Token,
}

/// Why a registration did not come about.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No connection: the server is down, or a name does not resolve.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The server did not answer in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// Whoever listens there took the connection and did not answer.
    #[error("the server took the connection and said nothing within {0:?}: is this the control port?")]
    Mute(Duration),
    /// Whoever listens there speaks another protocol.
    #[error("the server speaks {0}: is this the control port?")]
    Foreign(&'static str),
    /// Whoever listens there hung up before it said anything.
    #[error("the server closed the connection before it said anything: is this the control port?")]
    HungUp,
    /// The connection ended during the handshake.
    #[error("the handshake was cut short: {0}")]
    Framed(#[from] FramedError),
    /// The server said no, or could not prove itself.
    #[error("{0}")]
    Handshake(#[from] HandshakeError),
}

impl ConnectError {
    /// A short name for metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Io(_) => "io",
            Self::Timeout(_) | Self::Mute(_) => "timeout",
            Self::Foreign(_) => "malformed",
            Self::HungUp => "closed",
            Self::Framed(error) => error.label(),
            Self::Handshake(error) => error.label(),
        }
    }
}

/// Connects to `server` (`host:port`) and registers.
///
/// # Errors
/// [`ConnectError`]; all are worth another try, later.
pub async fn register(
    env: &Env,
    server: &str,
    identity: &Identity,
    previous: Option<&LinkKey>,
    options: &Options,
) -> Result<(Framed, Registered), ConnectError> {
    let deadline = options.handshake_timeout;
    let mut connected = false;
    let attempt = async {
        let stream = dial(env, server, deadline).await?;
        connected = true;
        greet(env, Framed::new(stream, 0), identity, previous).await
    };
    let patience = match mutant!("silent-server-waited-for") {
        true => deadline * 1000,
        false => deadline,
    };
    let ended = time::within(patience, attempt).await;
    ended.unwrap_or(Err(match connected {
        true => ConnectError::Mute(deadline),
        false => ConnectError::Timeout(deadline),
    }))
}

/// Connects to the first address of `authority` that answers. Each gets its share of `patience`, so that one
/// that swallows packets does not hide the others.
///
/// # Errors
/// The last address's error.
pub async fn dial(env: &Env, authority: &str, patience: Duration) -> io::Result<Box<dyn Stream>> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    let addresses = env.resolve(authority).await?;
    let mut share = patience / u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
    if addresses.len() > 1 && mutant!("first-address-takes-all-the-time") {
        share = patience;
    }
    for address in addresses {
        match time::within(share, env.transport.connect(address)).await {
            Some(Ok(stream)) => return Ok(stream),
            Some(Err(error)) => last = error,
            None => last = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(last)
}

/// Why the first answer of a server was none, where `heard` is how it began.
fn stranger(heard: &[u8], error: FramedError) -> ConnectError {
    // Alerts and handshakes of TLS begin with their type and with 3, the major version of all of them.
    const TLS: [[u8; 2]; 2] = [[0x15, 3], [0x16, 3]];
    let hung_up = match &error {
        FramedError::Closed => true,
        FramedError::Io(error) => error.kind() == io::ErrorKind::ConnectionReset,
        _ => false,
    };
    match heard {
        [] if hung_up => ConnectError::HungUp,
        _ if heard.starts_with(b"HTTP/")
            || heard.starts_with(b"<html")
            || heard.starts_with(b"<!DOCTYPE") =>
        {
            ConnectError::Foreign("HTTP")
        }
        _ if heard.starts_with(b"SSH-") => ConnectError::Foreign("SSH"),
        [a, b, ..] if TLS.contains(&[*a, *b]) => ConnectError::Foreign("TLS"),
        _ if matches!(error, FramedError::Frame(_)) => ConnectError::Foreign("another protocol"),
        _ => error.into(),
    }
}

async fn greet(
    env: &Env,
    mut framed: Framed,
    identity: &Identity,
    previous: Option<&LinkKey>,
) -> Result<(Framed, Registered), ConnectError> {
    let mut upstreams = identity.upstreams.clone();
    if previous.is_some() && mutant!("reconnect-forgets-last-upstream") {
        upstreams.pop();
    }
    let register = Register {
        client_id: identity.client_id.clone(),
        group: identity.group.clone(),
        upstreams,
        instance: ByteBuf::from(identity.instance),
        features: vec![FEATURE_MUX.to_owned()],
        nonce: ByteBuf::from(env.entropy.bytes::<NONCE_LEN>()),
    };
    let (greeting, bytes) = Greeting::new(register);
    framed.queue_raw(&bytes);
    framed.flush().await?;
    let head = match framed.read_head().await {
        Ok(head) => head,
        Err(error) => return Err(stranger(framed.partial(), error)),
    };
    let (challenged, proof) = greeting.handle_challenge(&head, &[], identity.token.clone(), previous)?;
    framed.queue(0, &proof);
    framed.flush().await?;
    let head = framed.read_head().await?;
    Ok((framed, challenged.handle_result(&head)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::Stop;

    #[tokio::test]
    async fn who_takes_the_connection_and_says_nothing_is_asked_for_its_port() {
        let env = Env::production(Stop::channel().1);
        let mut listener = env.transport.listen(([127, 0, 0, 1], 0).into()).await.unwrap();
        let server = listener.local_addr().to_string();
        let identity = Identity {
            client_id: "a".to_owned(),
            group: "default".to_owned(),
            upstreams: Vec::new(),
            instance: [0; 16],
            token: Token::anonymous(),
        };
        let options = Options {
            handshake_timeout: Duration::from_millis(50),
            ..Options::default()
        };
        let registering = register(&env, &server, &identity, None, &options);
        let (registered, _accepted) = tokio::join!(registering, listener.accept());
        let error = registered.map(drop).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the server took the connection and said nothing within 50ms: is this the control port?"
        );
        assert_eq!(error.label(), "timeout");
    }

    #[test]
    fn a_stranger_is_known_by_its_first_bytes() {
        let check = |heard: &[u8], said: &str| {
            let error = stranger(heard, FramedError::Closed).to_string();
            assert!(error.contains(said), "{heard:?}: {error}");
        };
        check(b"HTTP/1.0 400", "speaks HTTP: is this the control port?");
        check(b"<!DOCTYPE HT", "speaks HTTP");
        check(&[0x16, 3, 1, 0], "speaks TLS");
        check(b"SSH-2.0-x\r\n", "speaks SSH");
        check(b"", "closed the connection before it said anything");
        check(&[1, 0, 0], "cut short");
    }
}
