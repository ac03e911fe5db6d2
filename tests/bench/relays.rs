//! Relays to compare a tunnel with: two processes of this benchmark, one beside the visitors and one beside the
//! upstream, as server and client are.

use std::{
    ffi::OsString,
    future::{pending, poll_fn},
    io,
    net::SocketAddr,
    process::Command,
    task::Poll,
};

use adit::time::{self, Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite, copy_bidirectional_with_sizes},
    net::{TcpListener, TcpStream},
};
use tokio_util::compat::{Compat, FuturesAsyncReadCompatExt, TokioAsyncReadCompatExt};
use yamux::{Config, Connection, Mode};

use crate::{
    program::{Program, free_addresses},
    tunnels::Ground,
};

/// Bytes that each direction of a session reads at a time.
const BLOCK_LEN: usize = 64 * 1024;

/// Bytes of a yamux data frame: what the crate has, and what a user would raise it to. Windows grow by themselves.
pub const FRAME_LEN_DEFAULT: usize = 16 * 1024;
pub const FRAME_LEN_RAISED: usize = 64 * 1024;

/// Between two tries of the yamux client to reach its server.
const RETRY: Duration = Duration::from_millis(20);

/// Two hops that do nothing but copy; each session has a connection of its own between them.
///
/// # Errors
/// See [`Program::start`].
pub async fn start_bare(ground: &Ground) -> Result<Program, String> {
    let [public, port] = free_addresses(ground.near);
    // The far side cannot be asked for a free port. Where it is not the near one, only the upstream listens there.
    let between = SocketAddr::new(ground.upstream.ip(), port.port());
    let this = this_program();
    let mut near = Command::new(&this);
    near.args(["hop", &public.to_string(), &between.to_string()]);
    let mut far = ground.far(&this);
    far.args(["hop", &between.to_string(), &ground.upstream.to_string()]);
    Program::start("bare", public, [near, far], None).await
}

/// Two halves with one yamux connection between them, whose data frames have at most `frame_len` bytes.
///
/// # Errors
/// See [`Program::start`].
pub async fn start_yamux(name: &'static str, ground: &Ground, frame_len: usize) -> Result<Program, String> {
    let [control, public] = free_addresses(ground.near);
    let (this, frame_len) = (this_program(), frame_len.to_string());
    let mut server = Command::new(&this);
    server.args([
        "yamux-server",
        &control.to_string(),
        &public.to_string(),
        &frame_len,
    ]);
    let mut client = ground.far(&this);
    client.args([
        "yamux-client",
        &control.to_string(),
        &ground.upstream.to_string(),
        &frame_len,
    ]);
    Program::start(name, public, [server, client], None).await
}

/// The path of this benchmark, which knows the words for its relays.
pub fn this_program() -> OsString {
    let path = std::env::current_exe();
    path.expect("this program is a file").into_os_string()
}

/// One hop that does nothing but copy: each connection at `listen` gets one of its own to `target`.
pub async fn hop(listen: SocketAddr, target: SocketAddr) {
    let listener = TcpListener::bind(listen).await.expect("the address can be bound");
    while let Ok((visitor, _)) = listener.accept().await {
        let _ = visitor.set_nodelay(true);
        spawn(reach(visitor, target));
    }
}

/// The half beside the visitors: takes one yamux connection at `control`, and opens a stream on it for each visitor
/// at `public`. Data frames have at most `frame_len` bytes; all else is as the crate has it.
pub async fn yamux_server(control: SocketAddr, public: SocketAddr, frame_len: usize) {
    let listener = TcpListener::bind(control)
        .await
        .expect("the address can be bound");
    let (socket, _) = listener.accept().await.expect("the client comes");
    let mut connection = yamux_connection(socket, frame_len, Mode::Server);
    let visitors = TcpListener::bind(public).await.expect("the address can be bound");
    let mut next = None;
    poll_fn(|cx| {
        loop {
            // Nothing moves on the connection but in this call. The client opens no streams.
            if connection.poll_next_inbound(cx).is_ready() {
                return Poll::Ready(());
            }
            if next.is_none() {
                match visitors.poll_accept(cx) {
                    Poll::Ready(accepted) => next = accepted.ok(),
                    Poll::Pending => return Poll::Pending,
                }
            }
            match connection.poll_new_outbound(cx) {
                Poll::Ready(Ok(stream)) => {
                    if let Some((visitor, _)) = next.take() {
                        let _ = visitor.set_nodelay(true);
                        spawn(join(visitor, stream.compat()));
                    }
                }
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await;
}

/// The half beside the upstream: connects to `control`, and joins each stream to a connection to `target`.
pub async fn yamux_client(control: SocketAddr, target: SocketAddr, frame_len: usize) {
    let socket = loop {
        match TcpStream::connect(control).await {
            Ok(socket) => break socket,
            Err(_) => time::sleep(RETRY).await,
        }
    };
    let mut connection = yamux_connection(socket, frame_len, Mode::Client);
    while let Some(Ok(stream)) = poll_fn(|cx| connection.poll_next_inbound(cx)).await {
        spawn(reach(stream.compat(), target));
    }
    // The server ended, and with it what is measured.
    pending().await
}

fn yamux_connection(socket: TcpStream, frame_len: usize, mode: Mode) -> Connection<Compat<TcpStream>> {
    socket.set_nodelay(true).expect("a socket takes its options");
    let mut config = Config::default();
    config.set_split_send_size(frame_len);
    Connection::new(socket.compat(), config, mode)
}

async fn reach(visitor: impl AsyncRead + AsyncWrite + Unpin, target: SocketAddr) -> io::Result<()> {
    let upstream = TcpStream::connect(target).await?;
    upstream.set_nodelay(true)?;
    join(visitor, upstream).await
}

async fn join(
    mut near: impl AsyncRead + AsyncWrite + Unpin,
    mut far: impl AsyncRead + AsyncWrite + Unpin,
) -> io::Result<()> {
    copy_bidirectional_with_sizes(&mut near, &mut far, BLOCK_LEN, BLOCK_LEN).await?;
    Ok(())
}

fn spawn(session: impl Future<Output = io::Result<()>> + Send + 'static) {
    #[allow(
        clippy::disallowed_methods,
        reason = "a relay to compare with is not part of Adit"
    )]
    tokio::spawn(session);
}
