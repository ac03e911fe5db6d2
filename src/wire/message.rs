//! The vocabulary: two enums by direction, one plain struct per message.
//!
//! A message's numeric kind stands in the frame prefix; its header is an rmp-serde *map* whose fields all
//! have defaults, so that an older and a newer peer understand each other. Byte fields are msgpack `bin`.
//! These are wire types: conversion to domain types happens at the edge that receives them.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{DeserializeOwned, Error as _, SeqAccess, Visitor},
};
use serde_bytes::ByteBuf;

pub use super::code::{DenyCode, RefuseCode, ResetCode};
use super::frame::kind;

/// How deep a header may nest. The crate's default of 1,024 overflows a worker's stack.
const DEPTH_MAX: usize = 64;

/// The most elements a list in a header may have. Longer lists would let 16 KiB of input ask for far more
/// memory than it has; shorter ones would cut a client's upstreams.
pub const LIST_LEN_MAX: usize = 256;

/// [`Start::protocol`] of a visitor's bytes.
pub const PROTOCOL_TCP: &str = "tcp";
/// [`Start::protocol`] of the requests of an HTTP entry: bytes like any others, of many visitors one after the other.
pub const PROTOCOL_HTTP: &str = "http";
/// [`Start::protocol`] of a question: the client connects the upstream, says whether it could, and closes it. A client
/// that does not know the word takes it for a visitor who leaves at once, which comes to the same.
pub const PROTOCOL_PROBE: &str = "probe";

/// In [`Register::features`]: this client opens data links when it is asked to.
pub const FEATURE_MUX: &str = "mux";

/// Why a header was not the message its kind names.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// A kind this build does not know in this direction.
    #[error("unknown message kind {0} in this direction")]
    UnknownKind(u8),
    /// Not the map that the kind calls for.
    #[error("header of kind {kind} is malformed: {error}")]
    Malformed {
        /// The kind in the prefix.
        kind: u8,
        /// What the decoder says.
        error: rmp_serde::decode::Error,
    },
    /// Bytes behind the map.
    #[error("header of kind {kind} has {left} bytes behind its end")]
    Trailing {
        /// The kind in the prefix.
        kind: u8,
        /// How many.
        left: usize,
    },
}

/// One direction's messages.
pub trait Message: Sized + Send + fmt::Debug {
    /// The number in the frame prefix.
    fn kind(&self) -> u8;
    /// Appends the header to `out`; nothing for bare kinds.
    fn encode_header(&self, out: &mut Vec<u8>);
    /// Decodes a header.
    ///
    /// # Errors
    /// [`DecodeError`]: the connection cannot be trusted any further.
    fn decode(kind: u8, header: &[u8]) -> Result<Self, DecodeError>;
}

macro_rules! direction {
    ($(#[$doc:meta])* $name:ident {
        $($(#[$vdoc:meta])* $variant:ident $(($body:ty))? = $kind:ident,)*
    }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq)]
        pub enum $name { $($(#[$vdoc])* $variant $(($body))?,)* }

        impl Message for $name {
            fn kind(&self) -> u8 {
                match self { $(direction!(@pattern $variant $(, $body)?) => kind::$kind,)* }
            }

            fn encode_header(&self, out: &mut Vec<u8>) {
                match self { $(direction!(@bind header $variant $(, $body)?) => direction!(@encode header out $(, $body)?),)* }
            }

            fn decode(kind: u8, header: &[u8]) -> Result<Self, DecodeError> {
                match kind {
                    $(kind::$kind => direction!(@decode kind header $variant $(, $body)?),)*
                    unknown => Err(DecodeError::UnknownKind(unknown)),
                }
            }
        }
    };
    (@pattern $variant:ident) => { Self::$variant };
    (@pattern $variant:ident, $body:ty) => { Self::$variant(_) };
    (@bind $header:ident $variant:ident) => { Self::$variant };
    (@bind $header:ident $variant:ident, $body:ty) => { Self::$variant($header) };
    (@encode $header:ident $out:ident) => { { let _ = &$out; } };
    (@encode $header:ident $out:ident, $body:ty) => { encode_map($header, $out) };
    (@decode $kind:ident $header:ident $variant:ident) => {
        if $header.is_empty() { Ok(Self::$variant) }
        else { Err(DecodeError::Trailing { kind: $kind, left: $header.len() }) }
    };
    (@decode $kind:ident $header:ident $variant:ident, $body:ty) => { decode_map($kind, $header).map(Self::$variant) };
}

direction! {
    /// What a client tells the server.
    ToServer {
        /// First on a control connection: I am here, and this is what I serve.
        Register(Register) = REGISTER,
        /// In answer to `Challenge`: I know the secret.
        Proof(Proof) = PROOF,
        /// First on a proxy connection: this is the one you asked for.
        NewProxyConn(NewProxyConn) = NEW_PROXY_CONN,
        /// On control: the proxy connection you asked for could not be opened.
        ProxyConnFailed(ProxyConnFailed) = PROXY_CONN_FAILED,
        /// On a stream: working on it; sent only when the upstream takes more than 5 ms to connect.
        Accepted = ACCEPTED,
        /// On a stream: the upstream is connected, its bytes follow. Sent before the first upstream write.
        Started = STARTED,
        /// On a stream: not possible here, and no byte reached an upstream: safe to try elsewhere.
        Refused(Refused) = REFUSED,
        /// On a stream, last: every byte is written upstream and the upstream socket is closed.
        Finished(Finished) = FINISHED,
        /// On a stream of [`PROTOCOL_HTTP`], after `Started`: the client does not choose this upstream address any more; send
        /// no new request on the stream. A server that does not know it ignores it.
        Retire = RETIRE,
        /// On a stream: bytes from the upstream, in the frame's body.
        Data = DATA,
        /// On a stream: the upstream will send no more.
        Fin = FIN,
        /// On a stream: the session broke; the connection is closed after it.
        Reset(Reset) = RESET,
        /// On any connection: are you there? The prefix's stream id is a token to echo.
        Ping = PING,
        /// In answer to `Ping`.
        Pong = PONG,
        /// On control, every heartbeat interval: alive, and how loaded.
        Heartbeat(Heartbeat) = HEARTBEAT,
        /// On control: this client drains; no new sessions please.
        GoAway(GoAway) = GO_AWAY,
        /// On control: the server's `GoAway` is understood.
        GoAwayAck = GO_AWAY_ACK,
    }
}

direction! {
    /// What the server tells a client.
    ToClient {
        /// In answer to `Register`: prove it.
        Challenge(Challenge) = CHALLENGE,
        /// In answer to `Proof`: admitted, or why not.
        RegisterResult(RegisterResult) = REGISTER_RESULT,
        /// On control: open these proxy connections.
        RequestNewProxyConn(RequestNewProxyConn) = REQUEST_NEW_PROXY_CONN,
        /// In answer to `NewProxyConn`: proved from the server's side too; sessions may follow.
        ProxyConnReady(ProxyConnReady) = PROXY_CONN_READY,
        /// On a stream, first: a visitor is on this stream.
        Start(Start) = START,
        /// On a stream: bytes from the visitor, in the frame's body.
        Data = DATA,
        /// On a stream: the visitor will send no more.
        Fin = FIN,
        /// On a stream: the session broke; the connection is closed after it.
        Reset(Reset) = RESET,
        /// On any connection: are you there? The prefix's stream id is a token to echo.
        Ping = PING,
        /// In answer to `Ping`.
        Pong = PONG,
        /// In answer to `Heartbeat`.
        HeartbeatAck(HeartbeatAck) = HEARTBEAT_ACK,
        /// On control: the server drains; no new sessions will come.
        GoAway(GoAway) = GO_AWAY,
        /// On control: the client's `GoAway` is understood, no `Start` follows this.
        GoAwayAck = GO_AWAY_ACK,
    }
}

macro_rules! header {
    ($(#[$doc:meta])* $name:ident { $($(#[$fdoc:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
        #[serde(default)]
        pub struct $name { $($(#[$fdoc])* pub $field: $type,)* }
    };
}

header! {
    /// See [`ToServer::Register`].
    Register {
        /// The name this client wants to hold.
        client_id: String,
        /// The group of upstreams that name none.
        group: String,
        /// What it serves.
        #[serde(deserialize_with = "bounded_list")]
        upstreams: Vec<Upstream>,
        /// 16 random bytes, one set per client process. Never logged.
        instance: ByteBuf,
        /// Optional abilities, by name; unknown ones are ignored.
        #[serde(deserialize_with = "bounded_list")]
        features: Vec<String>,
        /// 32 random bytes.
        nonce: ByteBuf,
    }
}
header! {
    /// One service behind a client.
    Upstream {
        /// Its name, unique within the client.
        name: String,
        /// The group it serves; empty means the client's.
        group: String,
    }
}
header! {
    /// See [`ToClient::Challenge`].
    Challenge {
        /// 32 random bytes.
        nonce: ByteBuf,
    }
}
header! {
    /// See [`ToServer::Proof`].
    Proof {
        /// HMAC over the transcript with the key derived from the token.
        mac: ByteBuf,
        /// The same transcript with the link key of this process's previous registration, if it had one.
        previous: Option<ByteBuf>,
    }
}
header! {
    /// See [`ToClient::RegisterResult`].
    RegisterResult {
        /// A [`Verdict`] as an rmp-serde map, raw, so that the mac covers the very bytes.
        verdict: ByteBuf,
        /// HMAC over the transcript and `verdict`; empty when the client did not prove itself.
        mac: ByteBuf,
    }
}
header! {
    /// What the server decided about a registration: `granted` or `denied`.
    Verdict {
        /// Present when admitted.
        granted: Option<Granted>,
        /// Present when not.
        denied: Option<Denied>,
    }
}
header! {
    /// An admission.
    Granted {
        /// The registration's epoch: the server's boot id.
        boot: u64,
        /// The registration's epoch: its counter.
        counter: u64,
        /// Where proxy connections go, on the host the client used for control.
        proxy_port: u16,
        /// `host:port` that overrides it; empty when not set.
        proxy_address: String,
        /// Between two heartbeats, in milliseconds.
        heartbeat_ms: u32,
        /// Version of the configuration the server will push; 0 when it pushes none.
        config_version: u64,
        /// What may be sent on a stream of a data link before its receiver gives credit, in bytes; 0 is the default.
        window: u32,
        /// Streams of one data link at most; 0 is the default.
        max_streams: u32,
        /// How long a half-closed session may stay without a byte, in milliseconds; 0 is the default.
        half_closed_ms: u32,
        /// Groups of the registration that no entry leads to, some of them; left out where there are none.
        #[serde(deserialize_with = "bounded_list", skip_serializing_if = "Vec::is_empty")]
        unvisited: Vec<String>,
    }
}
header! {
    /// A denial.
    Denied {
        /// A [`DenyCode`].
        code: u16,
        /// For people.
        message: String,
        /// When to try again, in milliseconds; 0 leaves it to the client.
        retry_after_ms: u32,
    }
}
header! {
    /// See [`ToClient::RequestNewProxyConn`].
    RequestNewProxyConn {
        /// Tickets of 16 bytes, one per connection.
        #[serde(deserialize_with = "bounded_list")]
        ids: Vec<ByteBuf>,
        /// A [`super::preamble::Purpose`].
        purpose: u8,
    }
}
header! {
    /// See [`ToServer::NewProxyConn`].
    NewProxyConn {
        /// The client's name.
        client_id: String,
        /// The registration's epoch: the server's boot id.
        boot: u64,
        /// The registration's epoch: its counter.
        counter: u64,
        /// The ticket.
        proxy_conn_id: ByteBuf,
        /// HMAC with the link key.
        mac: ByteBuf,
    }
}
header! {
    /// See [`ToClient::ProxyConnReady`].
    ProxyConnReady {
        /// HMAC with the link key.
        mac: ByteBuf,
    }
}
header! {
    /// See [`ToServer::ProxyConnFailed`].
    ProxyConnFailed {
        /// The ticket.
        id: ByteBuf,
        /// A [`ResetCode`].
        code: u16,
    }
}
header! {
    /// See [`ToClient::Start`].
    Start {
        /// The session's number at the server, for logs on both sides.
        session_id: u64,
        /// What passes: [`PROTOCOL_TCP`], [`PROTOCOL_HTTP`], or [`PROTOCOL_PROBE`] where nothing does.
        protocol: String,
        /// Which of the client's upstreams.
        upstream: String,
        /// One address of that upstream, or empty to let the client choose.
        address: String,
        /// Who came, as `ip:port`.
        visitor: String,
        /// The entry the visitor came in by.
        entry: String,
    }
}
header! {
    /// See [`ToServer::Refused`].
    Refused {
        /// A [`RefuseCode`].
        code: u16,
        /// For people.
        message: String,
    }
}
header! {
    /// See [`ToServer::Finished`].
    Finished {
        /// 0: clean.
        outcome: u16,
        /// Bytes written upstream.
        bytes: u64,
    }
}
header! {
    /// See [`ToServer::Reset`].
    Reset {
        /// A [`ResetCode`].
        code: u16,
    }
}
header! {
    /// See [`ToServer::Heartbeat`].
    Heartbeat {
        /// 1, 2, 3 and so on.
        seq: u64,
        /// The sender's clock in microseconds since its link began; echoed.
        at: u64,
        /// Sessions in flight.
        load: u32,
        /// The round trip the sender last measured, in microseconds; 0 when it has none yet.
        rtt: u64,
    }
}
header! {
    /// See [`ToClient::HeartbeatAck`].
    HeartbeatAck {
        /// The heartbeat's.
        seq: u64,
        /// The heartbeat's.
        at: u64,
    }
}
header! {
    /// See [`ToServer::GoAway`] and [`ToClient::GoAway`].
    GoAway {
        /// For people.
        reason: String,
        /// When to come back, in milliseconds; 0 leaves it to the receiver.
        retry_after_ms: u32,
        /// Other servers to use meanwhile.
        #[serde(deserialize_with = "bounded_list")]
        servers: Vec<String>,
    }
}

/// Writes `value` as an rmp-serde map.
pub fn encode_map<T: Serialize>(value: &T, out: &mut Vec<u8>) {
    let mut serializer = rmp_serde::Serializer::new(out).with_struct_map();
    value
        .serialize(&mut serializer)
        .expect("plain structs always serialize into memory");
}

/// Reads an rmp-serde map that fills `header` to its end.
///
/// # Errors
/// [`DecodeError::Malformed`] or [`DecodeError::Trailing`].
pub fn decode_map<T: DeserializeOwned>(kind: u8, header: &[u8]) -> Result<T, DecodeError> {
    let mut deserializer = rmp_serde::Deserializer::new(std::io::Cursor::new(header));
    deserializer.set_max_depth(DEPTH_MAX);
    let value = T::deserialize(&mut deserializer).map_err(|error| DecodeError::Malformed { kind, error })?;
    let read = usize::try_from(deserializer.position()).expect("a header fits memory");
    match header.len() - read {
        0 => Ok(value),
        left => Err(DecodeError::Trailing { kind, left }),
    }
}

/// Reads a list of at most [`LIST_LEN_MAX`] elements, allocating as they come, never as they are claimed.
fn bounded_list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    struct List<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for List<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a list of at most {LIST_LEN_MAX} elements")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<T>, A::Error> {
            let mut list = Vec::new();
            while let Some(element) = seq.next_element()? {
                if list.len() == LIST_LEN_MAX {
                    return Err(A::Error::custom(format_args!(
                        "a list of more than {LIST_LEN_MAX} elements"
                    )));
                }
                list.push(element);
            }
            Ok(list)
        }
    }

    deserializer.deserialize_seq(List(PhantomData))
}
