//! The HTTP entry on real sockets: requests find their upstreams, and come back as they were.

#![allow(clippy::unwrap_used, reason = "a test may stop at what it did not expect")]

mod support;

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::{
    body::Frame,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use support::{
    RunningServer,
    http::{exchange, full, http_upstream, mirror, named_upstream, run_http_by_each, status},
    nowhere, until,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
};

/// One request on a connection of its own, read to its end.
async fn get(server: &RunningServer, method: Method, path: &str) -> Response<Bytes> {
    let stream = TcpStream::connect(server.public()).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::task::spawn_local(connection);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "Example.COM:80");
    let answer = sender
        .send_request(request.body(Empty::<Bytes>::new()).unwrap())
        .await
        .unwrap();
    let (parts, body) = answer.into_parts();
    Response::from_parts(parts, body.collect().await.unwrap().to_bytes())
}

async fn http2_client<B>(server: &RunningServer) -> http2::SendRequest<B>
where
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let stream = TcpStream::connect(server.public()).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (sender, mut connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    // The server has to say that it knows extended CONNECT before it may be asked.
    std::future::poll_fn(|cx| {
        let ended = std::pin::Pin::new(&mut connection).poll(cx).is_ready();
        match ended || connection.is_extended_connect_protocol_enabled() {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        }
    })
    .await;
    tokio::task::spawn_local(connection);
    sender
}

#[test]
fn a_request_arrives_as_it_was_and_says_where_it_came_from() {
    run_http_by_each(|config| async move {
        let server = RunningServer::start(config).await;
        let _client = server.client("a", http_upstream(mirror).await);
        server.wait_for_clients(1).await;
        let asked = "POST /a/b?c=d HTTP/1.1\r\nHost: Example.COM:80\r\nX-Forwarded-For: 6.6.6.6\r\nFoo: bar\r\n\
                     Connection: close, Foo\r\nKeep-Alive: 9\r\nContent-Length: 5\r\nCookie: a=b\r\n\r\nhello";
        let answer = exchange(server.public(), asked.as_bytes()).await;
        assert_eq!(status(&answer), Some(200), "{answer}");
        let said = answer.split_once("\r\n\r\n").unwrap().1;
        assert_eq!(
            said,
            "POST /a/b?c=d HTTP/1.1\nadit-hops: 1\ncontent-length: 5\ncookie: a=b\n\
             forwarded: for=127.0.0.1;proto=http;host=\"Example.COM:80\"\nhost: Example.COM:80\n\
             x-forwarded-for: 127.0.0.1\nx-forwarded-host: Example.COM:80\nx-forwarded-port: 80\n\
             x-forwarded-proto: http\nx-real-ip: 127.0.0.1\n\nhello"
        );
    });
}

#[test]
fn one_upstream_connection_serves_many_requests_of_many_visitors() {
    run_http_by_each(|config| async move {
        let server = RunningServer::start(config).await;
        let _client = server.client("a", named_upstream("a").await);
        server.wait_for_clients(1).await;
        for _ in 0..20 {
            let answer = get(&server, Method::GET, "/").await;
            assert_eq!((answer.status(), &answer.body()[..]), (StatusCode::OK, &b"a"[..]));
        }
        assert_eq!(server.metrics.sessions.get(), 1, "and it waits for the next");
        assert_eq!(server.metrics.http_answers.count("2xx"), 20);
        until(|| server.metrics.http_open_requests.get() == 0).await;
    });
}

#[test]
fn bodies_are_passed_on_as_they_come() {
    run_http_by_each(|config| async move {
        let server = RunningServer::start(config).await;
        let upstream = http_upstream(|request| async move {
            // Each piece comes back before the next is sent.
            let incoming = request
                .into_body()
                .map_err(|_| unreachable!("nothing fails here"));
            Response::new(incoming.boxed_unsync())
        });
        let _client = server.client("a", upstream.await);
        server.wait_for_clients(1).await;
        let mut stream = TcpStream::connect(server.public()).await.unwrap();
        let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut heard = String::new();
        for n in 0..20 {
            let piece = format!("piece {n};");
            stream
                .write_all(format!("{:x}\r\n{piece}\r\n", piece.len()).as_bytes())
                .await
                .unwrap();
            let mut buffer = [0; 1024];
            while !heard.contains(&piece) {
                let read = stream.read(&mut buffer).await.unwrap();
                assert!(read > 0);
                heard.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
            }
        }
        assert!(heard.contains("transfer-encoding: chunked"), "{heard}");
    });
}

#[test]
fn http2_carries_trailers_and_each_request_finds_its_own_way() {
    run_http_by_each(|config| async move {
        let server = RunningServer::start(config).await;
        let grpc = |name: &'static str| {
            http_upstream(move |request| async move {
                assert_eq!(request.version(), Version::HTTP_2, "gRPC is spoken over HTTP/2");
                let mut trailers = HeaderMap::new();
                trailers.insert("grpc-status", "0".parse().unwrap());
                let frames = [Frame::data(Bytes::from(name)), Frame::trailers(trailers)];
                let frames = futures_util::stream::iter(frames.map(Ok::<_, Infallible>));
                let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
                let kind = "application/grpc".parse().unwrap();
                response.headers_mut().insert("content-type", kind);
                response
            })
        };
        let _clients = [
            server.client("a", grpc("a").await),
            server.client("b", grpc("b").await),
        ];
        server.wait_for_clients(2).await;
        let mut sender = http2_client(&server).await;
        let mut served = [0, 0];
        for _ in 0..60 {
            let request = Request::post("http://shop.example/shop.Cart/Add")
                .header("content-type", "application/grpc")
                .header("te", "trailers")
                .body(Full::new(Bytes::from("request")))
                .unwrap();
            let answer = sender.send_request(request).await.unwrap();
            assert_eq!(answer.version(), Version::HTTP_2);
            let body = answer.into_body().collect().await.unwrap();
            assert_eq!(body.trailers().unwrap()["grpc-status"], "0");
            served[usize::from(&body.to_bytes()[..] == b"b")] += 1;
        }
        assert!(
            served.iter().all(|n| *n > 5),
            "calls are balanced one by one: {served:?}"
        );
    });
}

#[test]
fn nobody_there_is_an_answer_with_a_reason() {
    run_http_by_each(|config| async move {
        let server = RunningServer::start(config).await;
        let answer = get(&server, Method::GET, "/").await;
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.headers()["x-adit-reason"], "no_target");
        assert_eq!(answer.headers()["retry-after"], "1");
        let _client = server.client("a", nowhere().await);
        server.wait_for_clients(1).await;
        let answer = get(&server, Method::GET, "/").await;
        assert_eq!(answer.status(), StatusCode::BAD_GATEWAY);
        assert_eq!(answer.headers()["x-adit-reason"], "unreachable");
        let request =
            Request::post("http://shop.example/shop.Cart/Add").header("content-type", "application/grpc");
        let request = request.body(Full::new(Bytes::from("request"))).unwrap();
        let answer = http2_client(&server).await.send_request(request).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers()["grpc-status"], "14", "to gRPC it is UNAVAILABLE");
    });
}

#[test]
fn who_cannot_be_reached_is_passed_over() {
    run_http_by_each(|config| async move {
        let server = RunningServer::start(config).await;
        let _clients = [
            server.client("dead", nowhere().await),
            server.client("alive", named_upstream("alive").await),
        ];
        server.wait_for_clients(2).await;
        for method in [Method::GET, Method::POST] {
            for _ in 0..20 {
                let answer = get(&server, method.clone(), "/").await;
                assert_eq!(&answer.body()[..], b"alive", "nothing had reached an upstream");
            }
        }
    });
}

#[test]
fn what_may_have_arrived_is_said_again_only_where_that_does_no_harm() {
    run_http_by_each(|config| async move {
        let server = RunningServer::start(config).await;
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&asked);
        // Reads a request, and goes away.
        let rude = support::upstream(move |mut stream| {
            let counted = Arc::clone(&counted);
            async move {
                let _ = stream.read(&mut [0; 4096]).await;
                counted.fetch_add(1, Ordering::Relaxed);
            }
        });
        let _client = server.client("rude", rude.await);
        server.wait_for_clients(1).await;
        let answer = get(&server, Method::POST, "/").await;
        assert_eq!(answer.status(), StatusCode::BAD_GATEWAY);
        assert_eq!(answer.headers()["x-adit-reason"], "upstream_broke");
        assert_eq!(asked.load(Ordering::Relaxed), 1, "a POST is made once");
        let _polite = server.client("polite", named_upstream("polite").await);
        server.wait_for_clients(2).await;
        // No more than the retry budget has saved up to begin with.
        for _ in 0..10 {
            let answer = get(&server, Method::GET, "/").await;
            assert_eq!(&answer.body()[..], b"polite", "a GET is made again elsewhere");
        }
    });
}

#[test]
fn an_answer_that_breaks_off_does_not_look_finished() {
    run_http_by_each(|config| async move {
        let server = RunningServer::start(config).await;
        let heard = Arc::new(tokio::sync::Notify::new());
        let told = Arc::clone(&heard);
        let broken = support::upstream(move |mut stream| {
            let told = Arc::clone(&told);
            async move {
                let _ = stream.read(&mut [0; 4096]).await;
                let half = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf";
                let _ = stream.write_all(half.as_bytes()).await;
                told.notified().await;
            }
        });
        let _client = server.client("a", broken.await);
        server.wait_for_clients(1).await;
        let mut stream = TcpStream::connect(server.public()).await.unwrap();
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            .await
            .unwrap();
        let mut answer = String::new();
        let mut buffer = [0; 1024];
        while !answer.ends_with("\r\n\r\nhalf") {
            let read = stream.read(&mut buffer).await.unwrap();
            assert!(read > 0, "{answer}");
            answer.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
        }
        heard.notify_one();
        support::read_until_broken(&mut stream).await;
    });
}

#[test]
fn an_upgrade_passes_bytes_once_the_upstream_has_agreed() {
    run_http_by_each(|config| async move {
        let server = RunningServer::start(config).await;
        let upstream = support::upstream(|mut stream| async move {
            let mut head = vec![0; 4096];
            let read = stream.read(&mut head).await.unwrap();
            let head = String::from_utf8_lossy(&head[..read]).into_owned();
            assert!(
                head.to_ascii_lowercase().contains("upgrade: websocket\r\n") && head.ends_with("\r\n\r\n"),
                "{head}"
            );
            let yes = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
            stream.write_all(yes.as_bytes()).await.unwrap();
            let (mut read, mut write) = stream.split();
            let _ = tokio::io::copy(&mut read, &mut write).await;
            let _ = write.shutdown().await;
        });
        let _client = server.client("a", upstream.await);
        server.wait_for_clients(1).await;
        let mut stream = TcpStream::connect(server.public()).await.unwrap();
        let head = "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nearly";
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut heard = String::new();
        let mut buffer = [0; 1024];
        while !heard.ends_with("early") {
            let read = stream.read(&mut buffer).await.unwrap();
            assert!(read > 0, "{heard}");
            heard.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
        }
        assert_eq!(status(&heard), Some(101));
        assert_eq!(server.metrics.http_upgrades.get(), 1);
        stream.shutdown().await.unwrap();
        assert_eq!(
            stream.read(&mut buffer).await.unwrap(),
            0,
            "half-closed both ways"
        );
        until(|| server.metrics.http_upgrades.get() == 0).await;
    });
}

#[test]
fn a_websocket_over_http2_becomes_an_upgrade() {
    run_http_by_each(|config| async move {
        let server = RunningServer::start(config).await;
        let upstream = support::upstream(|mut stream| async move {
            let mut head = vec![0; 4096];
            let read = stream.read(&mut head).await.unwrap();
            let head = String::from_utf8_lossy(&head[..read]).into_owned();
            assert!(head.starts_with("GET /chat HTTP/1.1\r\n"), "{head}");
            for header in [
                "upgrade: websocket\r\n",
                "sec-websocket-key: ",
                "sec-websocket-version: 13\r\n",
            ] {
                assert!(head.contains(header), "{head}");
            }
            let yes = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                       Sec-WebSocket-Accept: x\r\n\r\n";
            stream.write_all(yes.as_bytes()).await.unwrap();
            let (mut read, mut write) = stream.split();
            let _ = tokio::io::copy(&mut read, &mut write).await;
        });
        let _client = server.client("a", upstream.await);
        server.wait_for_clients(1).await;
        let mut sender = http2_client::<Empty<Bytes>>(&server).await;
        let request = Request::connect("http://a/chat")
            .extension(hyper::ext::Protocol::from_static("websocket"))
            .header("sec-websocket-version", "13");
        let answer = sender
            .send_request(request.body(Empty::new()).unwrap())
            .await
            .unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert!(!answer.headers().contains_key("sec-websocket-accept"));
        let mut stream = TokioIo::new(hyper::upgrade::on(answer).await.unwrap());
        stream.write_all(b"hello").await.unwrap();
        let mut heard = [0; 5];
        stream.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"hello");
    });
}

#[test]
fn an_upgrade_that_is_refused_is_an_answer_like_others() {
    run_http_by_each(|config| async move {
        let server = RunningServer::start(config).await;
        let _client = server.client("a", named_upstream("no").await);
        server.wait_for_clients(1).await;
        let asked = "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade, close\r\nUpgrade: websocket\r\n\r\n";
        let answer = exchange(server.public(), asked.as_bytes()).await;
        assert_eq!(status(&answer), Some(200), "{answer}");
        assert!(answer.ends_with("no"), "{answer}");
    });
}

#[test]
fn a_server_that_drains_answers_what_it_has_begun() {
    run_http_by_each(|config| async move {
        let server = RunningServer::start(config).await;
        let (tell, told) = mpsc::channel::<()>(1);
        let told = Arc::new(tokio::sync::Mutex::new(told));
        let upstream = http_upstream(move |_| {
            let told = Arc::clone(&told);
            async move {
                told.lock().await.recv().await;
                Response::new(full("late"))
            }
        });
        let _client = server.client("a", upstream.await);
        server.wait_for_clients(1).await;
        let mut idle = TcpStream::connect(server.public()).await.unwrap();
        let answer = tokio::task::spawn_local({
            let public = server.public();
            async move { exchange(public, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await }
        });
        until(|| server.metrics.http_open_requests.get() == 1).await;
        server.stopper.advance();
        assert_eq!(
            idle.read(&mut [0; 8]).await.unwrap(),
            0,
            "an idle connection is closed"
        );
        tell.send(()).await.unwrap();
        let answer = answer.await.unwrap();
        assert!(
            answer.contains("connection: close") && answer.ends_with("late"),
            "{answer}"
        );
        server.task.await.unwrap();
    });
}

/// Counts when it is dropped.
struct GivenUp(Arc<AtomicUsize>);

impl Drop for GivenUp {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_call_ends_when_its_caller_gives_up() {
    run_http_by_each(|config| async move {
        let server = RunningServer::start(config).await;
        let given_up = Arc::new(AtomicUsize::new(0));
        let upstream = http_upstream({
            let given_up = Arc::clone(&given_up);
            move |request| {
                let given_up = Arc::clone(&given_up);
                async move {
                    let given_up = GivenUp(given_up);
                    if request.uri().path() == "/a.B/Never" {
                        std::future::pending::<()>().await;
                    }
                    // One piece, and then nothing.
                    let said = futures_util::stream::unfold((0, given_up), |(n, held)| async move {
                        match n {
                            0 => Some((Ok::<_, Infallible>(Frame::data(Bytes::from("one"))), (1, held))),
                            _ => std::future::pending().await,
                        }
                    });
                    Response::new(StreamBody::new(said).boxed_unsync())
                }
            }
        });
        let _client = server.client("a", upstream.await);
        server.wait_for_clients(1).await;
        let mut peer = http2_client::<Empty<Bytes>>(&server).await;
        let call = |path: &str| {
            let request = Request::post(format!("http://a{path}")).header("content-type", "application/grpc");
            request.header("grpc-timeout", "300m").body(Empty::new()).unwrap()
        };
        // Nobody answers in time: the status takes the place of the answer.
        let answer = peer.send_request(call("/a.B/Never")).await.unwrap();
        assert_eq!(answer.headers()["grpc-status"], "4");
        until(|| given_up.load(Ordering::SeqCst) == 1).await;
        // The answer does not end in time: the status stands behind what came of it.
        let answer = peer.send_request(call("/a.B/Slow")).await.unwrap();
        assert!(!answer.headers().contains_key("grpc-status"));
        let whole = answer.into_body().collect().await.unwrap();
        assert_eq!(whole.trailers().unwrap()["grpc-status"], "4");
        assert_eq!(whole.to_bytes(), "one");
        until(|| given_up.load(Ordering::SeqCst) == 2).await;
        until(|| server.metrics.http_open_requests.get() == 0).await;
    });
}
