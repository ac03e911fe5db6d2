//! What the log says of the faults that people have most often. The client is the binary itself.

#![allow(clippy::unwrap_used, reason = "a test may stop at what it did not expect")]

mod support;

use std::{
    fs::File,
    io,
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command},
    sync::{Arc, OnceLock, PoisonError, RwLock},
};

use support::{RunningServer, TOKEN, named, nowhere, run, server_config, until, upstream, visit};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

/// The log of this process: all servers of all tests here.
#[derive(Clone, Default)]
struct Collected(Arc<RwLock<Vec<u8>>>);

impl Collected {
    /// Begins to collect, once.
    fn begin() -> Self {
        static LOG: OnceLock<Collected> = OnceLock::new();
        let begin = || {
            let log = Self::default();
            let writer = log.clone();
            tracing_subscriber::fmt()
                .with_ansi(false)
                .with_writer(move || writer.clone())
                .init();
            log
        };
        LOG.get_or_init(begin).clone()
    }

    /// The lines that have all of `words`.
    fn lines(&self, words: &[&str]) -> Vec<String> {
        let log = self.0.read().unwrap_or_else(PoisonError::into_inner);
        having(&String::from_utf8_lossy(&log), words)
    }
}

impl io::Write for Collected {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut log = self.0.write().unwrap_or_else(PoisonError::into_inner);
        log.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn having(log: &str, words: &[&str]) -> Vec<String> {
    let all = log
        .lines()
        .filter(|line| words.iter().all(|word| line.contains(word)));
    all.map(str::to_owned).collect()
}

/// An `adit` in a process of its own, and its log.
struct Process {
    child: Child,
    folder: tempfile::TempDir,
}

impl Process {
    fn start(args: &[&str], token: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = File::create(folder.path().join("log")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_adit"))
            .args(args)
            .env("ADIT_TOKEN", token)
            .stdout(log)
            .spawn();
        Self {
            child: child.unwrap(),
            folder,
        }
    }

    fn client(id: &str, control: SocketAddr, target: SocketAddr, token: &str) -> Self {
        let (control, target) = (control.to_string(), target.to_string());
        let args = [
            "client",
            "--client-id",
            id,
            "--server",
            &control,
            "--local",
            &target,
        ];
        Self::start(&args, token)
    }

    fn lines(&self, words: &[&str]) -> Vec<String> {
        let log: PathBuf = self.folder.path().join("log");
        having(&std::fs::read_to_string(log).unwrap(), words)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_group_that_nobody_visits_is_told_on_both_sides() {
    let log = Collected::begin();
    run(|| async {
        let server = RunningServer::start(server_config()).await;
        let (control, target) = (server.addresses.control.to_string(), nowhere().await.to_string());
        let args = [
            "client",
            "--client-id",
            "wiki",
            "--group",
            "wikii",
            "--server",
            &control,
            "--local",
            &target,
        ];
        let client = Process::start(&args, TOKEN);
        server.wait_for_clients(1).await;
        let told = ["WARN", "group=wikii", "leads to this group"];
        until(|| log.lines(&told).len() == 1).await;
        until(|| client.lines(&told).len() == 1).await;
    });
}

#[test]
fn a_service_that_is_down_is_told_on_both_sides_until_it_is_up() {
    let log = Collected::begin();
    run(|| async {
        let server = RunningServer::start(server_config()).await;
        let service = nowhere().await;
        let address = format!("address={service}");
        let client = Process::client("downs", server.addresses.control, service, TOKEN);
        server.wait_for_clients(1).await;
        for _ in 0..5 {
            let _ = visit(server.public(), b"").await;
        }
        let refused = "Connection refused (os error 111)";
        let fails = ["WARN", "target fails", "client=downs", "upstream=main", refused];
        until(|| log.lines(&fails).len() == 1).await;
        let there = [
            "WARN",
            "target fails",
            "client=downs",
            "upstream=main",
            &address,
            refused,
        ];
        until(|| client.lines(&there).len() == 1).await;
        until(|| !client.lines(&["WARN", "all targets fail"]).is_empty()).await;
        until(|| {
            !log.lines(&["INFO", "visitor turned away", "127.0.0.1", refused])
                .is_empty()
        })
        .await;
        // The first lines say what runs, what it serves, and where it goes.
        let first = client.lines(&[""]);
        assert!(first[0].contains("adit client starts version="), "{}", first[0]);
        assert!(first[1].contains(&format!("main at {service}")), "{}", first[1]);
        let control = server.addresses.control.to_string();
        assert!(first[1].contains(&control), "{}", first[1]);
        assert_eq!(
            log.lines(&["client registered client=downs peer=127.0.0.1:"])
                .len(),
            1
        );
        assert!(
            client.lines(&["joined", "score"]).is_empty(),
            "a score is no news of a newcomer"
        );

        let listener = TcpListener::bind(service).await.unwrap();
        support::serve_each(listener, |mut stream| async move {
            let _ = stream.write_all(b"up").await;
        });
        while visit(server.public(), b"")
            .await
            .is_ok_and(|answer| answer != b"up")
        {}
        let well = ["INFO", "target is well again", "client=downs", "failures="];
        until(|| log.lines(&well).len() == 1 && client.lines(&well).len() == 1).await;
        let summary = ["WARN", "visitors turned away in the last minute"];
        until(|| !client.lines(&summary).is_empty()).await;
    });
}

#[test]
fn a_service_whose_sessions_break_is_told_with_the_reason() {
    let log = Collected::begin();
    run(|| async {
        let server = RunningServer::start(server_config()).await;
        let service = upstream(|mut stream| async move {
            let _ = stream.read(&mut [0; 1]).await;
            let _ = stream.write_all(b"half of").await;
            support::reset(stream);
        })
        .await;
        let _client = server.client("breaks", service);
        server.wait_for_clients(1).await;
        let reason = "sessions break after they have started";
        let fails = ["WARN", "target fails", "client=breaks", "upstream=main", reason];
        for _ in 0..5 {
            assert_eq!(log.lines(&fails), [""; 0], "one that breaks is no news");
            let _ = visit(server.public(), b"?").await;
        }
        // Server and client are in this process, and either may say so.
        until(|| !log.lines(&fails).is_empty()).await;
    });
}

#[test]
fn a_wrong_token_is_told_with_the_peers_address_and_not_each_time() {
    let log = Collected::begin();
    run(|| async {
        let server = RunningServer::start(server_config()).await;
        let service = named("first").await;
        let wrong = "another token that is long enough";
        let client = Process::client("stranger", server.addresses.control, service, wrong);
        until(|| server.metrics.handshake_failures.count("bad_proof") >= 3).await;
        let denied = [
            "WARN",
            "registration denied",
            "peer=127.0.0.1:",
            "stranger",
            "the token does not match",
        ];
        assert_eq!(log.lines(&denied).len(), 1);
        until(|| {
            client
                .lines(&["WARN", "not registered", "the token does not match"])
                .len()
                == 1
        })
        .await;
    });
}

#[test]
fn a_wrong_port_says_what_it_speaks() {
    run(|| async {
        let service = named("first").await;
        let check = async |answer: &'static [u8], said: &str| {
            let other = upstream(move |mut stream| async move {
                let _ = stream.read(&mut [0; 4096]).await;
                let _ = stream.write_all(answer).await;
            })
            .await;
            let client = Process::client("a", other, service, TOKEN);
            until(|| !client.lines(&["not registered", said]).is_empty()).await;
        };
        let asks = "is this the control port?";
        check(
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            &format!("the server speaks HTTP: {asks}"),
        )
        .await;
        check(
            b"\x15\x03\x01\x00\x02\x02\x46",
            &format!("the server speaks TLS: {asks}"),
        )
        .await;
        check(
            b"SSH-2.0-OpenSSH_9.7\r\n",
            &format!("the server speaks SSH: {asks}"),
        )
        .await;
        check(b"", "closed the connection before it said anything").await;
    });
}

#[test]
fn what_ends_a_start_is_in_the_configured_log() {
    run(|| async {
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (log, config) = (folder.path().join("adit.log"), folder.path().join("server.yaml"));
        let port = taken.local_addr().unwrap().port();
        let text = format!("bind: 127.0.0.1\ncontrol: {{ port: {port} }}\nlogging: {{ file: {log:?} }}\n");
        std::fs::write(&config, text).unwrap();
        let mut server = Process::start(&["server", "--config", config.to_str().unwrap()], TOKEN);
        assert!(!server.child.wait().unwrap().success());
        let log = std::fs::read_to_string(log).unwrap();
        let first = having(&log, &["INFO", "adit server starts", "version=", "server.yaml"]);
        assert_eq!(first.len(), 1, "{log}");
        assert_eq!(
            having(&log, &["ERROR", "cannot listen on", "os error 98"]).len(),
            1,
            "{log}"
        );
    });
}
