use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::{
    time::Duration,
    transport::pipe::pipe,
    wire::message::{GoAway, ToServer},
};

#[tokio::test]
async fn who_takes_the_stream_over_reads_on_behind_the_last_frame() {
    for behind in [&b""[..], b"said in the same breath"] {
        let (near, mut far) = pipe();
        let mut framed = Framed::new(Box::new(near), 0);
        let mut said = Vec::new();
        encode(&mut said, 0, &ToServer::GoAway(GoAway::default()));
        said.extend_from_slice(behind);
        far.write_all(&said).await.unwrap();
        let head = framed.read_head().await.unwrap();
        assert_eq!(head.prefix.kind, kind::GO_AWAY);

        let mut stream = framed.into_stream();
        far.write_all(b", and later").await.unwrap();
        stream.write_all(b"answer").await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        far.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer, b"answer");
        drop(far);
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, [behind, b", and later"].concat());
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_takes_bulk_slowly_is_there() {
    let (near, mut far) = pipe();
    let mut framed = Framed::new(Box::new(near), 0);
    // Much more than the pipe holds; PING stands behind it.
    let (mut raw, mut bulk) = pipe();
    let endless = async move { while bulk.write_all(&[b'x'; 4096]).await.is_ok() {} };
    let slow = async move {
        let mut piece = vec![0; 8 * 1024];
        for _ in 0..100 {
            far.read_exact(&mut piece).await.unwrap();
            time::sleep(Duration::from_secs(1)).await;
        }
        // It stays, and takes no more.
        std::future::pending::<()>().await;
        drop(far);
    };
    let (mut timer, began) = (Timer::default(), time::now());
    let ended = poll_fn(|cx| {
        loop {
            if let Poll::Ready(ended) = framed.poll_idle(cx, &mut timer) {
                return Poll::Ready(ended);
            }
            if !framed.is_flushed() {
                return Poll::Pending;
            }
            let read = ready!(framed.poll_fill(cx, Pin::new(&mut raw), CHUNK_LEN));
            framed.send_filled(0, read.unwrap());
        }
    });
    let ended = tokio::select! {
        ended = ended => ended,
        ((), ()) = async { tokio::join!(endless, slow) } => panic!("they go on"),
    };
    assert!(matches!(ended, Err(FramedError::Silent)), "{ended:?}");
    // Silent as soon as it takes nothing any more, and not before.
    let lasted = (time::now() - began).as_secs();
    assert!((110..=130).contains(&lasted), "{lasted}");
}
