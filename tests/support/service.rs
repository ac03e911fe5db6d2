//! Services that say who they are, and may die.

use std::{io, net::SocketAddr};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// A service that answers each request with its number; it can be killed, with all it holds.
pub struct Service {
    pub address: SocketAddr,
    task: JoinHandle<()>,
}

impl Service {
    pub async fn start(number: u8, at: SocketAddr) -> Self {
        let listener = TcpListener::bind(at).await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::task::spawn_local(async move {
            let mut all = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                all.spawn_local(answer(stream, number));
            }
        });
        Self { address, task }
    }

    pub async fn kill(self) -> SocketAddr {
        self.task.abort();
        // It is dead when its task is gone.
        let _ = self.task.await;
        self.address
    }
}

/// Answers the request when it is whole: up to the visitor's end.
pub async fn answer(mut stream: TcpStream, number: u8) {
    let mut request = Vec::new();
    if stream.read_to_end(&mut request).await.is_ok() {
        let _ = stream.write_all(&[number]).await;
        let _ = stream.write_all(&request).await;
        let _ = stream.shutdown().await;
    }
}

/// One visitor: the number of the service that answered, after a look at every byte.
pub async fn ask(address: SocketAddr, request: &[u8]) -> io::Result<u8> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(request).await?;
    stream.shutdown().await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    assert_eq!(answer.get(1..), Some(request), "what was sent comes back");
    Ok(answer[0])
}
