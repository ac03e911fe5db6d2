//! TCP on the operating system's sockets.

use std::{io, net::SocketAddr};

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::{BoxFuture, Listener, Stream, Transport};
use crate::time::Duration;

/// Idle time before the kernel asks whether the peer is there, the pause between questions, and how many
/// go unanswered before the connection is dead: 30 s in all. Longer hides a dead peer; shorter costs packets.
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(15), Duration::from_secs(5), 3);

/// How long bytes sent to a prompt reader may stay unacknowledged. Longer hides a black hole; shorter kills
/// slow mobile paths. Linux counts the time of a closed window too, so this would end every session whose far
/// side pauses: it is set where the peer always reads, and PING watches the rest.
const USER_TIMEOUT: Duration = Duration::from_secs(20);

/// Bytes that may wait unsent where the queue is to be short. Larger makes urgent frames wait behind bulk; smaller
/// lets the path run dry between two wake-ups.
const NOTSENT_LOWAT: u32 = 128 * 1024;

/// Connections the kernel completes ahead of `accept`. Smaller drops SYNs in a burst.
const BACKLOG: i32 = 1024;

/// The production transport. Stateless.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tcp;

impl Transport for Tcp {
    fn connect(&self, peer: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Stream>>> {
        Box::pin(async move {
            let socket = if peer.is_ipv4() {
                TcpSocket::new_v4()?
            } else {
                TcpSocket::new_v6()?
            };
            tune(SockRef::from(&socket))?;
            let stream = socket.connect(peer).await?;
            Ok(Box::new(stream) as Box<dyn Stream>)
        })
    }

    fn listen(&self, local: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Listener>>> {
        Box::pin(async move {
            let inner = listener(local)?;
            let local = inner.local_addr()?;
            Ok(Box::new(Bound { inner, local }) as Box<dyn Listener>)
        })
    }
}

fn listener(local: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(local), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    // What it accepts inherits this: five calls fewer for each visitor.
    tune(SockRef::from(&socket))?;
    socket.bind(&local.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

struct Bound {
    inner: TcpListener,
    local: SocketAddr,
}

impl Listener for Bound {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(Box<dyn Stream>, SocketAddr)>> {
        Box::pin(async move {
            let (stream, peer) = self.inner.accept().await?;
            Ok((Box::new(stream) as Box<dyn Stream>, peer))
        })
    }

    fn local_addr(&self) -> SocketAddr {
        self.local
    }
}

fn tune(socket: SockRef<'_>) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    let (idle, interval, retries) = KEEPALIVE;
    socket.set_tcp_keepalive(
        &TcpKeepalive::new()
            .with_time(idle)
            .with_interval(interval)
            .with_retries(retries),
    )
}

impl Stream for TcpStream {
    fn peer_addr(&self) -> Option<SocketAddr> {
        TcpStream::peer_addr(self).ok()
    }

    fn expect_prompt_reader(&self) {
        // Failing means the socket is gone already, which reading it will tell.
        let _ = SockRef::from(self).set_tcp_user_timeout(Some(USER_TIMEOUT));
    }

    fn keep_queue_short(&self) {
        // Failing means the socket is gone already, which reading it will tell.
        let _ = SockRef::from(self).set_tcp_notsent_lowat(NOTSENT_LOWAT);
    }

    fn is_broken(&self) -> bool {
        !matches!(self.take_error(), Ok(None))
    }

    fn reset(self: Box<Self>) {
        // Zero linger makes the close that follows send RST instead of FIN. Failing means the socket is
        // already gone, and then there is nobody to tell.
        let _ = self.set_zero_linger();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_accepted_inherits_how_its_listener_is_tuned() {
        let listener = listener(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let connecting = TcpStream::connect(listener.local_addr().unwrap());
        let (accepted, connected) = tokio::join!(listener.accept(), connecting);
        let (accepted, _) = accepted.unwrap();
        let socket = SockRef::from(&accepted);
        let (idle, interval, retries) = KEEPALIVE;
        assert!(socket.tcp_nodelay().unwrap() && socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), idle);
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), interval);
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), retries);
        drop(connected);
    }
}
