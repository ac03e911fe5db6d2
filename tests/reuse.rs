//! Thousands of sessions over the same few proxy connections: no byte of one appears in another.

#![allow(clippy::unwrap_used, reason = "a test may stop at what it did not expect")]

mod support;

use std::{collections::BTreeMap, sync::LazyLock};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use support::{RunningServer, Speech, is_reset, reset, run, server_config, until, upstream, with_pool};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
};

const SESSIONS: u32 = 10_000;
const LANES: u32 = 4;
const HEADER_LEN: usize = 16;

/// Who ends a session, and how.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Ending {
    VisitorFirst,
    UpstreamFirst,
    VisitorResets,
    UpstreamResets,
}

/// What one session is to be. It stands in the first bytes that the visitor says.
#[derive(Clone, Copy, Debug)]
struct Script {
    number: u32,
    up_len: usize,
    down_len: usize,
    ending: Ending,
}

impl Script {
    fn of(number: u32) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(number.into());
        let mut len = |_| match rng.random_range(0..10) {
            0..6 => rng.random_range(1..1_000),
            6..9 => rng.random_range(1..20_000),
            _ => rng.random_range(1..200_000),
        };
        let (up_len, down_len) = (len(()), len(()));
        let ending = match rng.random_range(0..16) {
            0..8 => Ending::VisitorFirst,
            8..14 => Ending::UpstreamFirst,
            14 => Ending::VisitorResets,
            _ => Ending::UpstreamResets,
        };
        Self {
            number,
            up_len,
            down_len,
            ending,
        }
    }

    fn header(&self) -> [u8; HEADER_LEN] {
        let mut header = [0xad; HEADER_LEN];
        header[..4].copy_from_slice(&self.number.to_le_bytes());
        header
    }

    fn read(header: [u8; HEADER_LEN]) -> Self {
        assert_eq!(
            header[4..],
            [0xad; HEADER_LEN - 4],
            "a session begins with its own first bytes"
        );
        Self::of(u32::from_le_bytes(header[..4].try_into().unwrap()))
    }

    /// What each says; no two sessions say the same.
    fn speeches(&self) -> (Voice, Voice) {
        (Voice(self.number * 2), Voice(self.number * 2 + 1))
    }
}

/// A cheap speech: a shared block, from a place that depends on the speaker.
#[derive(Clone, Copy)]
struct Voice(u32);

static BLOCK: LazyLock<Speech> = LazyLock::new(|| Speech::new(99));

impl Voice {
    fn offset(self) -> usize {
        self.0 as usize * 7_919
    }

    async fn write(self, stream: &mut TcpStream, len: usize) -> std::io::Result<()> {
        BLOCK.write(stream, self.offset()..self.offset() + len).await
    }

    /// Reads up to `len` bytes or the end; says how many there were.
    async fn hear(self, stream: &mut TcpStream, len: usize) -> (usize, std::io::Result<()>) {
        let (at, end) = BLOCK.hear_some(stream, self.offset(), self.offset() + len).await;
        (at - self.offset(), end)
    }
}

/// Expects the end of the stream, and nothing before it.
async fn expect_end(stream: &mut TcpStream, script: Script) {
    assert_eq!(
        stream.read(&mut [0; 64]).await.unwrap(),
        0,
        "nothing follows: {script:?}"
    );
}

async fn expect_reset(voice: Voice, stream: &mut TcpStream, len: usize, script: Script) {
    let (heard, end) = voice.hear(stream, len).await;
    let error = match end {
        Err(error) => error,
        Ok(()) if heard == len => stream.read(&mut [0; 1]).await.expect_err("it ends with a reset"),
        Ok(()) => panic!("a reset session looks finished: {script:?}"),
    };
    assert!(is_reset(&error), "{error}: {script:?}");
}

async fn serve(mut stream: TcpStream, tell: mpsc::UnboundedSender<u32>) {
    let mut header = [0; HEADER_LEN];
    stream.read_exact(&mut header).await.unwrap();
    let script = Script::read(header);
    let (up, down) = script.speeches();
    match script.ending {
        Ending::VisitorFirst => {
            assert_eq!(up.hear(&mut stream, script.up_len).await.0, script.up_len);
            expect_end(&mut stream, script).await;
            down.write(&mut stream, script.down_len).await.unwrap();
        }
        Ending::UpstreamFirst => {
            down.write(&mut stream, script.down_len).await.unwrap();
            stream.shutdown().await.unwrap();
            assert_eq!(up.hear(&mut stream, script.up_len).await.0, script.up_len);
            expect_end(&mut stream, script).await;
        }
        Ending::VisitorResets => {
            down.write(&mut stream, script.down_len).await.unwrap();
            expect_reset(up, &mut stream, script.up_len, script).await;
        }
        Ending::UpstreamResets => {
            assert_eq!(up.hear(&mut stream, script.up_len).await.0, script.up_len);
            down.write(&mut stream, script.down_len).await.unwrap();
            reset(stream);
        }
    }
    tell.send(script.number).unwrap();
}

async fn visit(public: std::net::SocketAddr, script: Script) {
    let mut stream = TcpStream::connect(public).await.unwrap();
    let (up, down) = script.speeches();
    stream.write_all(&script.header()).await.unwrap();
    match script.ending {
        Ending::VisitorFirst => {
            up.write(&mut stream, script.up_len).await.unwrap();
            stream.shutdown().await.unwrap();
            assert_eq!(down.hear(&mut stream, script.down_len).await.0, script.down_len);
            expect_end(&mut stream, script).await;
        }
        Ending::UpstreamFirst => {
            assert_eq!(down.hear(&mut stream, script.down_len).await.0, script.down_len);
            expect_end(&mut stream, script).await;
            up.write(&mut stream, script.up_len).await.unwrap();
        }
        Ending::VisitorResets => {
            assert_eq!(down.hear(&mut stream, script.down_len).await.0, script.down_len);
            up.write(&mut stream, script.up_len).await.unwrap();
            reset(stream);
        }
        Ending::UpstreamResets => {
            up.write(&mut stream, script.up_len).await.unwrap();
            expect_reset(down, &mut stream, script.down_len, script).await;
        }
    }
}

#[test]
fn ten_thousand_sessions_share_four_connections_and_nothing_else() {
    run(|| async {
        let (tell, mut told) = mpsc::unbounded_channel();
        let target = upstream(move |stream| serve(stream, tell.clone())).await;
        let server = RunningServer::start(with_pool(server_config(), 4, 4)).await;
        let client = server.client("a", target);
        server.wait_for_clients(1).await;
        let lanes: Vec<_> = (0..LANES)
            .map(|lane| {
                let public = server.public();
                tokio::task::spawn_local(async move {
                    for number in (lane..SESSIONS).step_by(LANES as usize) {
                        visit(public, Script::of(number)).await;
                    }
                })
            })
            .collect();
        for lane in lanes {
            lane.await.unwrap();
        }
        let mut served = BTreeMap::<u32, u32>::new();
        while served.len() < SESSIONS as usize {
            *served.entry(told.recv().await.unwrap()).or_default() += 1;
        }
        assert!(served.values().all(|times| *times == 1), "nothing was replayed");

        let clean = |number: &u32| {
            matches!(
                Script::of(*number).ending,
                Ending::VisitorFirst | Ending::UpstreamFirst
            )
        };
        let completed = (0..SESSIONS).filter(clean).count() as u64;
        let outcomes = &server.metrics.session_outcomes;
        until(|| outcomes.count("completed") == completed).await;
        assert_eq!(client.metrics.session_outcomes.count("completed"), completed);
        assert_eq!(
            server.metrics.violations.get() + client.metrics.violations.get(),
            0
        );
        let used_up = server.metrics.pool_discarded.count("used_up");
        assert!(
            used_up <= u64::from(SESSIONS) - completed,
            "only a broken session costs its connection: {used_up}"
        );
    });
}
