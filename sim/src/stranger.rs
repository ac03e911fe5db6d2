//! A host that means no good: it knocks at the server's doors with everything but what belongs there.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use adit::{transport::Transport, wire::preamble};
use rand::Rng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    event::Event,
    lock::Shared,
    net::Overheard,
    node::{CONFINED, CONTROL_PORT, Node, PROXY_PORT, PUBLIC_PORT, Part, TOKEN},
    oracle::Oracle,
    plan::{Deed, Intrusion, Purpose, who::Who},
    upstream,
};

/// Connections of one address at once, of which the server refuses some, and the limit on all that leaves room for them.
const CROWD: usize = 36;
const ROOMY: usize = 1_024;

/// How long a client that is none plays its part.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a stranger waits for the door to be shut in its face.
pub fn patience(deed: Deed) -> Duration {
    match deed {
        // Longer than whatever is kept for the next request.
        Deed::Lingers { .. } => Duration::from_secs(75),
        _ => PATIENCE,
    }
}

/// One stranger, with its one deed. Cheap to clone.
#[derive(Clone)]
pub struct Stranger {
    /// The client it pretends to be, when it does.
    pub node: Node,
    /// What it does.
    pub intrusion: Intrusion,
    /// Where the server is.
    pub server: IpAddr,
    /// Its sockets.
    pub sockets: Arc<dyn Transport>,
    /// What it has heard clients say.
    pub overheard: Shared<Overheard>,
    /// The judge.
    pub oracle: Oracle,
}

impl Stranger {
    /// Does its deed.
    pub async fn run(self) {
        adit::time::sleep(Duration::from_millis(self.intrusion.at_ms)).await;
        let deed = self.intrusion.deed;
        self.tell(format!("begins: {deed}"));
        let control = preamble::Purpose::Control.preamble().to_vec();
        match deed {
            Deed::Garbage { len } => {
                let mut bytes = vec![0; len];
                Purpose::Strangers
                    .rng(self.intrusion.at_ms)
                    .fill_bytes(&mut bytes);
                self.knock(CONTROL_PORT, bytes, Duration::ZERO).await;
            }
            Deed::UnknownFrame => {
                let frame = [&control[..], &[0xEE, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0], &[0xC1; 4]];
                self.knock(CONTROL_PORT, frame.concat(), Duration::ZERO).await;
            }
            Deed::HugeHeader => {
                // Kind 1, no flags, the longest header that a prefix can claim, and some of it.
                let claim = [
                    &control[..],
                    &[1, 0, 0xFF, 0xFF, 0, 0, 0, 0, 0, 0, 0, 0],
                    &[0xC1; 64],
                ];
                self.knock(CONTROL_PORT, claim.concat(), Duration::ZERO).await;
            }
            Deed::HugeBody => {
                let claim = [
                    &control[..],
                    &[1, 0, 4, 0, 0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF],
                    &[0xC1; 64],
                ];
                self.knock(CONTROL_PORT, claim.concat(), Duration::ZERO).await;
            }
            Deed::WrongVersion => {
                let mut bytes = control;
                bytes[4] = 0xEE;
                self.knock(CONTROL_PORT, bytes, Duration::ZERO).await;
            }
            Deed::Slowloris => self.knock(CONTROL_PORT, control, Duration::from_secs(1)).await,
            Deed::Silence => {
                let knock = |_| self.knock(PROXY_PORT, Vec::new(), Duration::ZERO);
                futures_util::future::join_all((0..self.crowd()).map(knock)).await;
            }
            Deed::Lingers { asks } => {
                let said: &[u8] = if asks {
                    b"GET / HTTP/1.1\r\nHost: nobody.test\r\n\r\n"
                } else {
                    b""
                };
                self.knock(PUBLIC_PORT, said.to_vec(), Duration::ZERO).await;
            }
            Deed::Watches { client, for_ms } => {
                let both = [Who::Client(client), Who::Server].map(|of| self.watch(of));
                let all = futures_util::future::join_all(both);
                adit::time::within(Duration::from_millis(for_ms), all).await;
            }
            Deed::Examines { questions } => {
                let mut rng = Purpose::Strangers.rng(self.intrusion.at_ms);
                self.examine(&mut rng, questions).await;
            }
            Deed::ReplayControl { client } => self.replay(client, CONTROL_PORT).await,
            Deed::ReplayProxy { client } => self.replay(client, PROXY_PORT).await,
            Deed::WrongToken => {
                let token = "another token, as long as that".to_owned();
                self.pretend(&self.intrusion_name(), 0, token, PATIENCE).await;
            }
            Deed::OverReaches { group } => {
                self.pretend(CONFINED, group, TOKEN.to_owned(), PATIENCE).await;
            }
            Deed::DuplicateId { client, for_ms } => {
                let id = Who::Client(client).to_string();
                self.pretend(&id, 0, TOKEN.to_owned(), Duration::from_millis(for_ms))
                    .await;
            }
            Deed::NeverServes { group, for_ms } => {
                let for_ = Duration::from_millis(for_ms);
                self.pretend(&self.intrusion_name(), group, TOKEN.to_owned(), for_)
                    .await;
            }
            Deed::Flaps { group, times } => {
                for _ in 0..times {
                    let for_ = Duration::from_millis(400);
                    self.pretend(&self.intrusion_name(), group, TOKEN.to_owned(), for_)
                        .await;
                    adit::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
        self.tell("is done".to_owned());
    }

    /// How many connections it opens at once: where there is room for them, more than one address may have.
    fn crowd(&self) -> usize {
        match self.node.knobs.unproven_max >= ROOMY {
            true => CROWD,
            false => 1,
        }
    }

    fn intrusion_name(&self) -> String {
        self.node.who.to_string()
    }

    fn tell(&self, what: String) {
        self.oracle.tell(Event::Intrudes {
            stranger: self.node.who,
            what,
        });
    }

    /// Says what a client said first on its latest connection of a kind.
    async fn replay(&self, client: usize, port: u16) {
        let heard = self
            .overheard
            .with(|overheard| overheard.words(Who::Client(client), port).clone());
        self.knock(port, heard, Duration::ZERO).await;
    }

    /// Says `bytes` at a door, one in every `pace` or all at once, and listens until it is shut.
    async fn knock(&self, port: u16, bytes: Vec<u8>, pace: Duration) {
        let began = self.oracle.now();
        let mut answered = 0;
        let said = async {
            let mut stream = self.sockets.connect(SocketAddr::new(self.server, port)).await?;
            if pace.is_zero() {
                stream.write_all(&bytes).await?;
            } else {
                for byte in bytes {
                    stream.write_all(&[byte]).await?;
                    adit::time::sleep(pace).await;
                }
            }
            let mut answer = [0; 1_024];
            loop {
                match stream.read(&mut answer).await? {
                    0 => return Ok::<_, std::io::Error>(()),
                    n => answered += n,
                }
            }
        };
        // However it ends, the door is shut.
        let shut = adit::time::within(patience(self.intrusion.deed), said)
            .await
            .is_some();
        let after = (self.oracle.now() - began).as_millis();
        self.oracle.tell(Event::Knocked {
            stranger: self.node.who,
            answered,
            shut_after_ms: shut.then(|| u64::try_from(after).unwrap_or(u64::MAX)),
        });
    }

    /// Plays a client for a while. Nobody is behind it.
    async fn pretend(&self, id: &str, group: usize, token: String, for_: Duration) {
        let part = Part {
            id: id.to_owned(),
            group,
            doors: vec![format!("{}:{}", self.node.who, upstream::PORT)],
            second_server: false,
            further: Vec::new(),
            token,
        };
        let mut life = std::pin::pin!(self.node.clone().be_client(part));
        if adit::time::within(for_, &mut life).await.is_none() {
            if let Some(boot) = self.node.boot() {
                // Told twice, it ends at once.
                boot.stopper.advance();
                boot.stopper.advance();
            }
            life.await;
        }
        if let Some(boot) = self.node.boot() {
            let (stranger, proxies) = (self.node.who, boot.net.proxies());
            self.oracle.tell(Event::Pretended { stranger, proxies });
        }
    }
}
