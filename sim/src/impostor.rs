//! Whoever takes the server's place: it listens at the control port and does not know the token. It speaks the protocol well
//! enough to be taken for a server by a client that does not look closely.

use std::{io, net::SocketAddr, time::Duration};

use adit::{
    transport::Stream,
    wire::{
        codec::encode,
        frame::PREFIX_LEN,
        handshake::NONCE_LEN,
        message::{
            Challenge, Denied, DenyCode, Granted, Message, RegisterResult, ToClient, ToServer, Verdict,
            encode_map,
        },
        preamble,
    },
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    event::Event,
    fault::impostor::Imposture,
    node::{CONTROL_PORT, Node, PROXY_PORT, any, millis},
    plan::who::Who,
};

/// Bytes of a proof.
const PROOF_LEN: usize = 32;

/// How much longer than its handshake may take a client is watched.
const WATCHED: Duration = Duration::from_secs(3);

/// How long a client that is denied is asked to stay away, in ms.
const AWAY_MS: u32 = 4_000;

/// An impostor on the server's host.
#[derive(Clone)]
pub struct Impostor {
    node: Node,
    how: Imposture,
}

/// What a client has said so far.
struct Heard {
    /// What it said of itself to be challenged with.
    nonce: Vec<u8>,
    /// Its proof.
    proof: Vec<u8>,
}

impl Impostor {
    /// In the place of `node`.
    pub fn new(node: Node, how: Imposture) -> Self {
        Self { node, how }
    }

    /// Waits for clients, for ever.
    pub async fn run(self) {
        let mut listener = loop {
            match self.node.sockets.listen(any(CONTROL_PORT)).await {
                Ok(listener) => break listener,
                // What the server has left behind is still being cleared away.
                Err(_) => adit::time::sleep(millis(10)).await,
            }
        };
        while let Ok((stream, peer)) = listener.accept().await {
            let me = self.clone();
            tokio::task::spawn_local(async move { me.meet(stream, peer).await });
        }
    }

    /// Plays the server to one client, and says what came of it.
    async fn meet(&self, mut stream: Box<dyn Stream>, peer: SocketAddr) {
        let mut addresses = self.node.addresses.iter();
        let client = addresses
            .find_map(|(name, ip)| (*ip == peer.ip()).then_some(name))
            .and_then(|name| name.parse::<Who>().ok());
        let Some(client) = client else { return };
        let (oracle, began) = (&self.node.oracle, self.node.oracle.now());
        let patience = millis(self.node.knobs.handshake_timeout_ms) + WATCHED;
        let played = adit::time::within(patience, self.play(&mut stream)).await;
        // Whoever has said all it had to say hears what it said is worth, and leaves; a proof is given to who challenges.
        let mut more = [0; 1_024];
        let lured = match played {
            Some(Ok(())) => {
                let said = adit::time::within(patience, stream.read(&mut more)).await;
                matches!(said, Some(Ok(n)) if n > 0).then_some("it takes a false admission for one")
            }
            Some(Err(error)) if error.kind() == io::ErrorKind::InvalidData => {
                Some("it proves itself to who has challenged it with nothing")
            }
            _ => None,
        };
        let stayed_ms = u64::try_from((oracle.now() - began).as_millis()).unwrap_or(u64::MAX);
        oracle.tell(Event::Deceived {
            client,
            lured: lured.map(str::to_owned),
            stayed_ms,
        });
    }

    /// Says what this impostor has to say. Returns when it is through, or the client has left.
    async fn play(&self, stream: &mut Box<dyn Stream>) -> io::Result<()> {
        let mut preamble = [0; preamble::LEN];
        stream.read_exact(&mut preamble).await?;
        let register = hear(stream).await?;
        let mut heard = Heard {
            nonce: vec![7; NONCE_LEN],
            proof: Vec::new(),
        };
        if let Some(ToServer::Register(register)) = register {
            heard.nonce = register.nonce.into_vec();
        }
        match self.how {
            Imposture::SaysNothing => {
                stream.read_u8().await?;
                return Ok(());
            }
            Imposture::GrantsAtOnce => return grant(stream, vec![9; PROOF_LEN]).await,
            Imposture::NoChallenge => {
                challenge(stream, Vec::new()).await?;
                hear(stream).await?;
                return Err(io::ErrorKind::InvalidData.into());
            }
            Imposture::ReflectsNonce => challenge(stream, heard.nonce.clone()).await?,
            _ => challenge(stream, vec![7; NONCE_LEN]).await?,
        }
        if let Some(ToServer::Proof(proof)) = hear(stream).await? {
            heard.proof = proof.mac.into_vec();
        }
        match self.how {
            Imposture::WrongProof => grant(stream, vec![9; PROOF_LEN]).await,
            Imposture::NoProof => grant(stream, Vec::new()).await,
            Imposture::ChallengesTwice => {
                challenge(stream, vec![8; NONCE_LEN]).await?;
                hear(stream).await?;
                grant(stream, heard.proof).await
            }
            Imposture::Denies => {
                let denied = Denied {
                    code: DenyCode::Unauthorized.code(),
                    message: "go away".to_owned(),
                    retry_after_ms: AWAY_MS,
                };
                let verdict = Verdict {
                    granted: None,
                    denied: Some(denied),
                };
                result(stream, &verdict, Vec::new()).await
            }
            _ => grant(stream, heard.proof).await,
        }
    }
}

async fn say(stream: &mut Box<dyn Stream>, message: &ToClient) -> io::Result<()> {
    let mut bytes = Vec::new();
    encode(&mut bytes, 0, message);
    stream.write_all(&bytes).await
}

async fn challenge(stream: &mut Box<dyn Stream>, nonce: Vec<u8>) -> io::Result<()> {
    let nonce = nonce.into();
    say(stream, &ToClient::Challenge(Challenge { nonce })).await
}

async fn grant(stream: &mut Box<dyn Stream>, mac: Vec<u8>) -> io::Result<()> {
    let granted = Granted {
        boot: 1,
        counter: 1,
        proxy_port: PROXY_PORT,
        heartbeat_ms: 500,
        ..Granted::default()
    };
    let verdict = Verdict {
        granted: Some(granted),
        denied: None,
    };
    result(stream, &verdict, mac).await
}

async fn result(stream: &mut Box<dyn Stream>, verdict: &Verdict, mac: Vec<u8>) -> io::Result<()> {
    let mut raw = Vec::new();
    encode_map(verdict, &mut raw);
    let result = RegisterResult {
        verdict: raw.into(),
        mac: mac.into(),
    };
    say(stream, &ToClient::RegisterResult(result)).await
}

/// One frame of a client; none when it is not one that a client says.
async fn hear(stream: &mut Box<dyn Stream>) -> io::Result<Option<ToServer>> {
    let mut prefix = [0; PREFIX_LEN];
    stream.read_exact(&mut prefix).await?;
    let prefix = adit::wire::frame::Prefix::decode(&prefix);
    let mut header = vec![0; prefix.header_len.into()];
    stream.read_exact(&mut header).await?;
    Ok(ToServer::decode(prefix.kind, &header).ok())
}
