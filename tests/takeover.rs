//! The binary itself, stopped and continued by signals, and a session that nobody reads.

#![allow(clippy::unwrap_used, reason = "a test may stop at what it did not expect")]

mod support;

use std::{
    io::ErrorKind,
    net::SocketAddr,
    process::{Child, Command, Stdio},
};

use adit::time::{self, Duration};
use rustix::process::{Pid, Signal, kill_process};
use support::{
    RunningServer, TOKEN, echo, is_reset, named, read_until_broken, reset, run, server_config, until,
    upstream, visit,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// An `adit client` in a process of its own.
struct Process(Child);

impl Process {
    fn client(id: &str, control: SocketAddr, target: SocketAddr) -> Self {
        Self::logging_client(id, control, target, Stdio::null())
    }

    /// Its log goes to `log`.
    fn logging_client(id: &str, control: SocketAddr, target: SocketAddr, log: Stdio) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_adit"))
            .args([
                "client",
                "--client-id",
                id,
                "--server",
                &control.to_string(),
                "--local",
                &target.to_string(),
            ])
            .env("ADIT_TOKEN", TOKEN)
            .stdout(log)
            .spawn();
        Self(child.unwrap())
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A stopped process keeps its connections, but answers nothing: its id goes to who asks for it. When it wakes,
/// it finds the id taken and is refused.
#[test]
fn a_stopped_client_loses_its_id_and_does_not_get_it_back() {
    run(|| async {
        let server = RunningServer::start(server_config()).await;
        let first = Process::client("a", server.addresses.control, named("first").await);
        server.wait_for_clients(1).await;
        assert_eq!(visit(server.public(), b"").await.unwrap(), b"first");

        first.signal(Signal::STOP);
        let second = named("second").await;
        let _second = server.client("a", second);
        until(|| server.metrics.links_lost.count("taken_over") == 1).await;
        assert_eq!(visit(server.public(), b"").await.unwrap(), b"second");

        first.signal(Signal::CONT);
        until(|| server.metrics.registrations_denied.count("duplicate_id") >= 1).await;
        assert_eq!(server.metrics.clients.get(), 1);
        assert_eq!(visit(server.public(), b"").await.unwrap(), b"second");
    });
}

/// A client that falls silent is declared dead, and what it carries is reset: it must not hang, nor look finished.
#[test]
fn the_sessions_of_a_silent_client_are_reset() {
    run(|| async {
        let mut config = server_config();
        config.link.heartbeat = Duration::from_millis(100);
        let server = RunningServer::start(config).await;
        let client = Process::client("a", server.addresses.control, echo().await);
        server.wait_for_clients(1).await;
        let mut visitor = TcpStream::connect(server.public()).await.unwrap();
        visitor.write_all(b"hello").await.unwrap();
        visitor.read_exact(&mut [0; 5]).await.unwrap();

        client.signal(Signal::STOP);
        let error = read_until_broken(&mut visitor).await;
        assert!(is_reset(&error), "{error}");
        assert_eq!(server.metrics.links_lost.count("silent"), 1);
        until(|| server.metrics.session_outcomes.count("link_silent") == 1).await;
    });
}

/// An upstream that never reads blocks the visitor; when the visitor gives up, the session ends all the same.
#[test]
fn a_blocked_visitor_that_resets_is_noticed() {
    run(|| async {
        let target = upstream(|stream| async move {
            time::sleep(Duration::from_secs(3600)).await;
            drop(stream);
        })
        .await;
        let server = RunningServer::start(server_config()).await;
        let _client = server.client("a", target);
        server.wait_for_clients(1).await;
        let mut visitor = TcpStream::connect(server.public()).await.unwrap();
        let block = vec![7; 1 << 20];
        while time::within(Duration::from_secs(1), visitor.write(&block))
            .await
            .is_some()
        {}
        assert_eq!(
            visitor.try_write(&block).unwrap_err().kind(),
            ErrorKind::WouldBlock
        );
        reset(visitor);
        until(|| server.metrics.session_outcomes.count("visitor_gone") == 1).await;
        until(|| server.metrics.sessions.get() == 0).await;
    });
}

/// logrotate and many scripts send these to everything that writes a log.
#[test]
fn hang_up_and_user_signals_end_nobody() {
    run(|| async {
        let server = RunningServer::start(server_config()).await;
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let file = std::fs::File::create(&log).unwrap();
        let target = named("first").await;
        let client = Process::logging_client("a", server.addresses.control, target, file.into());
        server.wait_for_clients(1).await;
        for (signal, word) in [(Signal::HUP, "SIGHUP"), (Signal::USR1, "SIGUSR1")] {
            client.signal(signal);
            until(|| std::fs::read_to_string(&log).unwrap().contains(word)).await;
            assert_eq!(visit(server.public(), b"").await.unwrap(), b"first");
        }
        assert_eq!(server.metrics.clients.get(), 1);
        assert_eq!(server.metrics.links_lost.count("closed"), 0);
    });
}

/// A full disk behind standard output and a reader that has left are no reason to panic.
#[test]
fn a_command_whose_output_nobody_takes_does_not_panic() {
    let full = || Stdio::from(std::fs::File::create("/dev/full").unwrap());
    let check = |args: &[&str], code| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_adit"));
        let ended = command.args(args).stdout(full()).stderr(full()).status();
        assert_eq!(ended.unwrap().code(), Some(code), "{args:?}");
    };
    check(&["check", "-c", "docs/examples/forward.yaml"], 0);
    check(&["check", "-c", "docs/examples/no-such-file.yaml"], 2);
    let explain = ["rules", "explain", "-c", "docs/examples/server.yaml"];
    check(
        &[&explain[..], &["--method", "GET", "--url", "http://a.example/"]].concat(),
        1,
    );
    check(&["demo", "--once"], 0);
    // A hash that nobody gets is no success.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, "a password\n").unwrap();
    let hash = |output: Stdio| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_adit"));
        let password = std::fs::File::open(&file).unwrap();
        let ended = command
            .arg("hash-password")
            .stdin(password)
            .stdout(output)
            .status();
        ended.unwrap().success()
    };
    assert!(hash(Stdio::null()));
    assert!(!hash(full()));
}
