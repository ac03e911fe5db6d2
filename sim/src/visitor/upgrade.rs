//! A visitor that asks for a connection as good as one of TCP: a WebSocket, over HTTP/1 or over HTTP/2.

use http::{HeaderValue, Method, Request as HttpRequest, StatusCode, header};
use hyper::ext::Protocol;
use hyper_util::rt::TokioIo;

use super::{Short, Visitor, browser::target};
use crate::{
    event::Oddity,
    payload::{Body, Direction},
    plan::{Visit, web::Call, web::Version},
    web::{HOP, Spoken, words},
};

impl Visitor {
    /// Asks for it, and uses it.
    pub(super) async fn ask_to_upgrade(&self, session: u64, visit: &Visit, call: Call) -> Result<(), Short> {
        let mut line = self.connect_line(call.version).await?;
        let asked = self.asked(session, visit, call);
        let mut request = HttpRequest::new(Spoken::new(Body::new(session, Direction::Up), 0, 1));
        let host = asked.told.host(visit.group);
        let expected = match call.version {
            Version::H1 => {
                *request.uri_mut() = target(session).parse().expect("it is a URI");
                let headers = request.headers_mut();
                headers.insert(header::HOST, HeaderValue::from_str(&host).expect("it is text"));
                headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade, x-hop"));
                headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
                headers.insert(HOP, HeaderValue::from_static("visitor"));
                StatusCode::SWITCHING_PROTOCOLS
            }
            // RFC 8441.
            Version::H2 => {
                *request.method_mut() = Method::CONNECT;
                let uri = format!("http://{host}{}", target(session));
                *request.uri_mut() = uri.parse().expect("it is a URI");
                request
                    .extensions_mut()
                    .insert(Protocol::from_static("websocket"));
                StatusCode::OK
            }
        };
        self.introduce(request.headers_mut(), &asked);
        let response = line.ask(request).await;
        let response = response.map_err(|(_, why)| Short::Broken(format!("{why} before the answer")))?;
        let headers = response.headers();
        if response.status() != expected {
            self.read_head(session, call, response.status(), headers)?;
            return Err(self.strange(session, Oddity::WrongHead(format!("{headers:?}"))));
        }
        let of_http1 = [header::SEC_WEBSOCKET_ACCEPT, header::CONNECTION, header::UPGRADE];
        if asked.told.extended && of_http1.iter().any(|name| headers.contains_key(name)) {
            return Err(self.strange(session, Oddity::WrongHead(format!("{headers:?}"))));
        }
        let upgraded = hyper::upgrade::on(response).await;
        let upgraded = upgraded.map_err(|error| Short::Broken(words(&error)))?;
        let (read, write) = tokio::io::split(TokioIo::new(upgraded));
        self.converse(session, visit, (read, write), line.hand()).await
    }
}
