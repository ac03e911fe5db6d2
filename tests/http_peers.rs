//! The HTTP entry between peers that others wrote: reqwest, tonic, tokio-tungstenite.

#![allow(clippy::unwrap_used, reason = "a test may stop at what it did not expect")]

mod support;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use bytes::{Buf, BufMut, Bytes};
use futures_util::{SinkExt, StreamExt, TryStreamExt, future, stream};
use http_body_util::BodyExt;
use support::{
    Mortal, RunningServer, client_config,
    http::{full, http_upstream, run_http_by_each},
    until,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::{
    Message,
    protocol::{
        CloseFrame,
        frame::{
            Frame,
            coding::{CloseCode, Data, OpCode},
        },
    },
};
use tonic::{
    Code, Request, Response, Status, Streaming,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    transport::Channel,
};

/// Bytes that are not the same anywhere.
fn many(len: usize) -> Bytes {
    let byte = |n: usize| (n.wrapping_mul(2_654_435_761) >> 13) as u8;
    (0..len).map(byte).collect()
}

#[test]
fn reqwest_gets_and_posts_over_both_versions() {
    run_http_by_each(|config| async move {
        let server = RunningServer::start(config).await;
        let upstream = http_upstream(|request| async move {
            let len = request.headers().get("content-length").cloned();
            let body = request.into_body().collect().await.unwrap().to_bytes();
            let mut response = http::Response::new(full(body));
            let len = len.unwrap_or_else(|| "none".parse().unwrap());
            response.headers_mut().insert("x-length", len);
            response
        });
        let _client = server.client("a", upstream.await);
        server.wait_for_clients(1).await;
        let url = format!("http://{}/a?b", server.public());
        for versioned in [
            reqwest::Client::builder().http1_only(),
            reqwest::Client::builder().http2_prior_knowledge(),
        ] {
            let peer = versioned.no_proxy().build().unwrap();
            let answer = peer.get(&url).send().await.unwrap();
            assert_eq!(answer.status(), 200);
            let body = many(1_000_000);
            let answer = peer.post(&url).body(body.clone()).send().await.unwrap();
            assert_eq!(answer.headers()["x-length"], "1000000");
            assert!(answer.bytes().await.unwrap() == body);
            let pieces: Vec<_> = body.chunks(70_000).map(Bytes::copy_from_slice).collect();
            let pieces = stream::iter(pieces.into_iter().map(Ok::<_, std::io::Error>));
            let streamed = peer.post(&url).body(reqwest::Body::wrap_stream(pieces));
            let answer = streamed.send().await.unwrap();
            assert_eq!(answer.headers()["x-length"], "none");
            assert!(answer.bytes().await.unwrap() == body);
            let at_once = (0..50).map(|n| peer.post(&url).body(n.to_string()).send());
            for (n, answer) in future::join_all(at_once).await.into_iter().enumerate() {
                assert_eq!(answer.unwrap().text().await.unwrap(), n.to_string());
            }
        }
        until(|| server.metrics.http_open_requests.get() == 0).await;
    });
}

/// A message with a field of text and one of a number, as protobuf writes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Item {
    name: String,
    count: u64,
}

impl Item {
    fn new(name: &str, count: u64) -> Self {
        Self {
            name: name.to_owned(),
            count,
        }
    }
}

/// Reads and writes items; a field's number and kind stand before it.
#[derive(Clone, Copy, Default)]
struct Items;

const NAME: u8 = 1 << 3 | 2;
const COUNT: u8 = 2 << 3;

fn varint(mut number: u64, to: &mut impl BufMut) {
    while number > 0x7f {
        to.put_u8(number as u8 | 0x80);
        number >>= 7;
    }
    to.put_u8(number as u8);
}

fn from_varint(from: &mut impl Buf) -> u64 {
    let (mut number, mut shift) = (0, 0);
    loop {
        let byte = from.get_u8();
        number |= u64::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            return number;
        }
    }
}

impl Codec for Items {
    type Encode = Item;
    type Decode = Item;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Items {
    type Item = Item;
    type Error = Status;

    fn encode(&mut self, item: Item, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put_u8(NAME);
        varint(item.name.len() as u64, to);
        to.put_slice(item.name.as_bytes());
        to.put_u8(COUNT);
        varint(item.count, to);
        Ok(())
    }
}

impl Decoder for Items {
    type Item = Item;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Item>, Status> {
        let mut item = Item::default();
        while from.has_remaining() {
            match from.get_u8() {
                NAME => {
                    let len = from_varint(from) as usize;
                    item.name = String::from_utf8(from.copy_to_bytes(len).to_vec()).unwrap();
                }
                COUNT => item.count = from_varint(from),
                other => return Err(Status::internal(format!("no field {other}"))),
            }
        }
        Ok(Some(item))
    }
}

type Answers = stream::BoxStream<'static, Result<Item, Status>>;

/// One method of the service. On the wire every kind of call is a stream each way.
#[derive(Clone)]
struct Method {
    name: String,
    /// Calls that nobody answers, and whose caller still waits.
    waiting: Arc<AtomicUsize>,
}

/// Counts while it lives.
struct Waits(Arc<AtomicUsize>);

impl Drop for Waits {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl tower_service::Service<Request<Streaming<Item>>> for Method {
    type Response = Response<Answers>;
    type Error = Status;
    type Future = future::BoxFuture<'static, Result<Response<Answers>, Status>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Streaming<Item>>) -> Self::Future {
        let (name, waiting) = (self.name.clone(), Arc::clone(&self.waiting));
        Box::pin(async move {
            let timeout = request.metadata().get("grpc-timeout").cloned();
            let mut asked = request.into_inner();
            let answers: Answers = match name.as_str() {
                "/shop.Cart/Add" => {
                    let item = asked.message().await?.unwrap();
                    if item.name == "missing" {
                        return Err(Status::not_found("no such thing: \u{e4}"));
                    }
                    stream::iter([Ok(Item::new(&item.name, item.count + 1))]).boxed()
                }
                "/shop.Cart/List" => {
                    let item = asked.message().await?.unwrap();
                    let some = (0..item.count).map(move |n| Ok(Item::new(&item.name, n)));
                    // It fails after the last one.
                    let last = [Err(Status::out_of_range("no more"))];
                    stream::iter(some.chain(last)).boxed()
                }
                "/shop.Cart/Sum" => {
                    let counts = asked.map_ok(|item| item.count).try_collect::<Vec<_>>().await?;
                    stream::iter([Ok(Item::new("sum", counts.iter().sum()))]).boxed()
                }
                "/shop.Cart/Chat" => asked.boxed(),
                _ => {
                    waiting.fetch_add(1, Ordering::SeqCst);
                    let _waits = Waits(waiting);
                    future::pending().await
                }
            };
            let mut response = Response::new(answers);
            if let Some(timeout) = timeout {
                response.metadata_mut().insert("seen-timeout", timeout);
            }
            Ok(response)
        })
    }
}

/// An upstream of the service.
async fn cart(waiting: &Arc<AtomicUsize>) -> SocketAddr {
    let waiting = Arc::clone(waiting);
    http_upstream(move |request| {
        let method = Method {
            name: request.uri().path().to_owned(),
            waiting: Arc::clone(&waiting),
        };
        async move {
            let mut grpc = tonic::server::Grpc::new(Items);
            let answer = grpc.streaming(method, request).await;
            answer.map(|body| {
                body.map_err(|_| unreachable!("what fails is said in trailers"))
                    .boxed_unsync()
            })
        }
    })
    .await
}

async fn channel(server: &RunningServer) -> tonic::client::Grpc<Channel> {
    let address = Channel::from_shared(format!("http://{}", server.public())).unwrap();
    let mut peer = tonic::client::Grpc::new(address.connect().await.unwrap());
    peer.ready().await.unwrap();
    peer
}

fn path(method: &'static str) -> http::uri::PathAndQuery {
    http::uri::PathAndQuery::from_static(method)
}

#[test]
fn an_answer_that_breaks_off_comes_as_far_as_it_went() {
    run_http_by_each(|config| async move {
        let server = RunningServer::start(config).await;
        let upstream = support::upstream(|mut stream| async move {
            let _ = stream.read(&mut [0; 1024]).await;
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
                .await;
        });
        let _client = server.client("a", upstream.await);
        server.wait_for_clients(1).await;
        let url = format!("http://{}/", server.public());
        for versioned in [
            reqwest::Client::builder().http1_only(),
            reqwest::Client::builder().http2_prior_knowledge(),
        ] {
            let peer = versioned.no_proxy().build().unwrap();
            let answers = (0..200).map(|_| async {
                let mut answer = peer.get(&url).send().await.unwrap();
                assert_eq!(answer.status(), 200);
                assert_eq!(answer.chunk().await.unwrap().unwrap(), "hello");
                answer.chunk().await.unwrap_err();
            });
            stream::iter(answers)
                .buffer_unordered(20)
                .collect::<Vec<()>>()
                .await;
        }
    });
}

#[test]
fn tonic_calls_in_all_four_ways() {
    run_http_by_each(|config| async move {
        let server = RunningServer::start(config).await;
        let _client = server.client("a", cart(&Arc::default()).await);
        server.wait_for_clients(1).await;
        let mut peer = channel(&server).await;

        let mut request = Request::new(Item::new("a", 41));
        request.set_timeout(adit::time::Duration::from_secs(30));
        let answer = peer.unary(request, path("/shop.Cart/Add"), Items).await.unwrap();
        assert_eq!(answer.metadata().get("seen-timeout").unwrap(), "30000000u");
        assert_eq!(answer.into_inner(), Item::new("a", 42));

        peer.ready().await.unwrap();
        let asked = Request::new(Item::new("missing", 0));
        let error = peer
            .unary(asked, path("/shop.Cart/Add"), Items)
            .await
            .unwrap_err();
        assert_eq!(
            (error.code(), error.message()),
            (Code::NotFound, "no such thing: \u{e4}")
        );

        peer.ready().await.unwrap();
        let asked = Request::new(Item::new("a", 2000));
        let listed = peer.server_streaming(asked, path("/shop.Cart/List"), Items).await;
        let listed: Vec<_> = listed.unwrap().into_inner().collect().await;
        assert_eq!(listed.len(), 2001);
        assert_eq!(listed[1999].as_ref().unwrap(), &Item::new("a", 1999));
        assert_eq!(listed[2000].as_ref().unwrap_err().code(), Code::OutOfRange);

        peer.ready().await.unwrap();
        let asked = stream::iter((1..=1000).map(|n| Item::new("a", n)));
        let sum = peer
            .client_streaming(Request::new(asked), path("/shop.Cart/Sum"), Items)
            .await;
        assert_eq!(sum.unwrap().into_inner().count, 500_500);

        peer.ready().await.unwrap();
        let (say, said) = tokio::sync::mpsc::channel(1);
        let said = stream::unfold(said, |mut said| async {
            said.recv().await.map(|item| (item, said))
        });
        let chat = peer.streaming(Request::new(said), path("/shop.Cart/Chat"), Items);
        let mut chat = chat.await.unwrap().into_inner();
        for n in 0..100 {
            say.send(Item::new("ping", n)).await.unwrap();
            assert_eq!(chat.message().await.unwrap(), Some(Item::new("ping", n)));
        }
        drop(say);
        assert_eq!(chat.message().await.unwrap(), None);
    });
}

#[test]
fn tonic_hears_of_deadlines_and_of_what_is_not_there_and_cancels() {
    run_http_by_each(|config| async move {
        let server = RunningServer::start(config).await;
        let mut peer = channel(&server).await;
        let asked = || Request::new(Item::default());
        let error = peer
            .unary(asked(), path("/shop.Cart/Add"), Items)
            .await
            .unwrap_err();
        assert_eq!((error.code(), error.message()), (Code::Unavailable, "no_target"));

        let waiting = Arc::<AtomicUsize>::default();
        let config = client_config("a", server.addresses.control, cart(&waiting).await);
        let client = Mortal::client(config);
        server.wait_for_clients(1).await;
        peer.ready().await.unwrap();
        let mut late = asked();
        late.set_timeout(adit::time::Duration::from_secs(1));
        let mut other = peer.clone();
        let call = tokio::task::spawn_local(async move {
            other.ready().await.unwrap();
            other.unary(late, path("/shop.Cart/Never"), Items).await
        });
        until(|| waiting.load(Ordering::SeqCst) == 1).await;
        let error = call.await.unwrap().unwrap_err();
        assert!(
            matches!(error.code(), Code::DeadlineExceeded | Code::Cancelled),
            "{error}"
        );
        until(|| waiting.load(Ordering::SeqCst) == 0).await;

        let never = |mut peer: tonic::client::Grpc<Channel>| async move {
            peer.ready().await.unwrap();
            peer.unary(asked(), path("/shop.Cart/Never"), Items).await
        };
        let call = tokio::task::spawn_local(never(peer.clone()));
        until(|| waiting.load(Ordering::SeqCst) == 1).await;
        call.abort();
        until(|| waiting.load(Ordering::SeqCst) == 0).await;

        let call = tokio::task::spawn_local(never(peer.clone()));
        until(|| waiting.load(Ordering::SeqCst) == 1).await;
        // Its client dies: the call may have been made.
        client.kill();
        let error = call.await.unwrap().unwrap_err();
        assert_eq!(error.code(), Code::Unavailable, "{error}");
    });
}

/// Sends every message back, and tells how the other side closed.
async fn mirror(stream: tokio::net::TcpStream, told: tokio::sync::mpsc::UnboundedSender<Option<u16>>) {
    let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
    while let Some(message) = socket.next().await {
        match message {
            Ok(Message::Close(frame)) => {
                told.send(frame.map(|frame| frame.code.into())).unwrap();
            }
            Ok(Message::Ping(_) | Message::Pong(_)) => {}
            Ok(message) => socket.send(message).await.unwrap(),
            Err(_) => return told.send(None).unwrap(),
        }
    }
}

#[test]
fn tungstenite_speaks_all_kinds_of_frames() {
    run_http_by_each(|config| async move {
        let server = RunningServer::start(config).await;
        let (told, mut closed) = tokio::sync::mpsc::unbounded_channel();
        let upstream = support::upstream(move |stream| mirror(stream, told.clone())).await;
        let _client = server.client("a", upstream);
        server.wait_for_clients(1).await;
        let url = format!("ws://{}/chat?a=b", server.public());

        let (mut socket, answer) = tokio_tungstenite::connect_async(&url).await.unwrap();
        assert_eq!(answer.status(), 101);
        let text = "t".repeat(126);
        for message in [
            Message::text("hello"),
            Message::text(""),
            Message::text(text),
            Message::binary(many(70_000)),
            Message::binary(many(4 << 20)),
        ] {
            socket.send(message.clone()).await.unwrap();
            assert!(socket.next().await.unwrap().unwrap() == message);
        }
        let piece = |bytes: &'static str, code, last| {
            Message::Frame(Frame::message(
                Bytes::from_static(bytes.as_bytes()),
                OpCode::Data(code),
                last,
            ))
        };
        socket.send(piece("one ", Data::Text, false)).await.unwrap();
        socket
            .send(Message::Ping(Bytes::from_static(b"between")))
            .await
            .unwrap();
        socket.send(piece("two ", Data::Continue, false)).await.unwrap();
        socket.send(piece("three", Data::Continue, true)).await.unwrap();
        let mut heard = [
            socket.next().await.unwrap().unwrap(),
            socket.next().await.unwrap().unwrap(),
        ];
        heard.sort_by_key(Message::is_text);
        assert_eq!(
            heard,
            [
                Message::Pong(Bytes::from_static(b"between")),
                Message::text("one two three")
            ]
        );
        let close = CloseFrame {
            code: CloseCode::Library(4321),
            reason: "bye".into(),
        };
        socket.close(Some(close.clone())).await.unwrap();
        let answer = socket.next().await.unwrap().unwrap();
        assert_eq!(answer, Message::Close(Some(close)));
        assert!(socket.next().await.is_none(), "and nothing behind it");
        assert_eq!(closed.recv().await, Some(Some(4321)));
        drop(socket);

        // Whoever is gone without a word is gone for the other side too.
        let (socket, _) = tokio_tungstenite::connect_async(&url).await.unwrap();
        drop(socket);
        assert_eq!(closed.recv().await, Some(None));
        until(|| server.metrics.http_upgrades.get() == 0).await;
    });
}
