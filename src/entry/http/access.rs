//! The access log: a line for each request that is over, for people or for machines.

use std::{
    fmt::Write as _,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};

use http::{HeaderValue, Version};
use humantime_serde::re::humantime::format_rfc3339_millis;
use rand::RngExt as _;
use serde::{Serialize, Serializer};

use crate::{
    env::Env,
    files::{Lines, Output},
    metrics::Hop,
    probe::{mutant, sometimes},
    time::Duration,
};

/// What is logged, and where to.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Where lines go. Default standard output.
    pub output: Output,
    /// How lines look. Default JSON.
    pub format: Format,
    /// The share of requests that are logged, 0 to 1; those that end with 5xx always are. Default all.
    pub sample: f64,
    /// Whether a path is logged with its query, which may hold secrets. Default yes.
    pub query: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            output: Output::default(),
            format: Format::default(),
            sample: 1.0,
            query: true,
        }
    }
}

/// How lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// One JSON object each.
    #[default]
    Json,
    /// The combined format of Apache and nginx, which many programs read.
    Combined,
}

/// A log that is open.
pub struct AccessLog {
    lines: Arc<dyn Lines>,
    format: Format,
    sample: f64,
    query: bool,
    /// Of the lines that were lost, so many are counted.
    lost: AtomicU64,
}

impl AccessLog {
    /// Opens what `options` say.
    ///
    /// # Errors
    /// Its file cannot be opened.
    pub fn open(options: &Options, env: &Env) -> std::io::Result<Self> {
        Ok(Self {
            lines: env.files.lines(&options.output)?,
            format: options.format,
            sample: options.sample,
            query: options.query,
            lost: AtomicU64::new(0),
        })
    }

    /// Whether a request is logged that was answered with `status`, if it was.
    pub fn wants(&self, status: Option<u16>, env: &Env) -> bool {
        let failed = status.is_some_and(|status| status >= 500);
        failed || self.sample >= 1.0 || env.entropy.rng().random::<f64>() < self.sample
    }

    /// What is kept of the head of `request`.
    pub fn head<B>(&self, request: &http::Request<B>) -> Head {
        Head::of(request, self.query)
    }

    /// Writes the line of one request.
    pub fn write(&self, line: &Line<'_>, env: &Env) {
        let text = match self.format {
            Format::Json => json(line),
            Format::Combined => combined(line),
        };
        self.lines.write(text.as_bytes());
        let lost = match self.lines.lost() {
            lost if lost > 0 && mutant!("lost-lines-not-counted") => 0,
            lost => lost,
        };
        sometimes!(lost > 0, "line-lost-to-a-full-disk");
        let before = self.lost.fetch_max(lost, Ordering::Relaxed);
        env.metrics.access_lines_lost.inc_by(lost.saturating_sub(before));
    }
}

/// What a line says of one request.
#[derive(Debug, Serialize)]
pub struct Line<'a> {
    /// When its head was there.
    #[serde(serialize_with = "as_text")]
    pub time: SystemTime,
    /// The entry it came to.
    pub entry: &'a str,
    /// Who asks: the peer, or whom a trusted proxy names.
    pub client: IpAddr,
    /// Who the connection is from.
    pub peer: SocketAddr,
    /// Its head.
    #[serde(flatten)]
    pub head: &'a Head,
    /// The status of the answer; nobody waited for it if there is none.
    pub status: Option<u16>,
    /// How it ended.
    pub end: &'static str,
    /// Bytes of its body.
    pub received: u64,
    /// Bytes of the answer's body.
    pub sent: u64,
    /// The rule it fell under.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<&'a str>,
    /// The group that rule leads to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<&'a str>,
    /// The target that was asked last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// How many were asked.
    pub tries: u32,
    /// Who asks, if a plugin has proved it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<&'a str>,
    /// Why the entry answered itself: the word of a failure, or the plugin that refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// The id that a plugin gave it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<&'a str>,
    /// The status of a call of gRPC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grpc_status: Option<&'a str>,
    /// Where the time went.
    #[serde(flatten)]
    pub times: Times,
}

/// How long a request took at each hop.
#[derive(Clone, Copy, Debug, Default)]
pub struct Times([Duration; Hop::ALL.len()]);

impl Serialize for Times {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let hops = Hop::ALL.map(|hop| (format!("{}_ms", hop.label()), millis(self.of(hop))));
        to.collect_map(hops)
    }
}

impl Times {
    /// So much more at `hop`.
    pub fn add(&mut self, hop: Hop, took: Duration) {
        self.0[hop as usize] += took;
    }

    /// So long at `hop`.
    pub fn of(&self, hop: Hop) -> Duration {
        self.0[hop as usize]
    }

    /// The value of `Server-Timing` (W3C, Server Timing): what is known when the head of the answer goes out.
    pub fn server_timing(&self) -> Option<HeaderValue> {
        let mut text = String::with_capacity(128);
        for hop in Hop::ALL {
            let separator = if text.is_empty() { "" } else { ", " };
            let (name, millis) = (hop.label().replace('_', "-"), millis(self.of(hop)));
            let _ = write!(text, "{separator}adit-{name};dur={millis}");
        }
        HeaderValue::from_str(&text).ok()
    }
}

/// The longest text of one header or path in a line, in bytes. Lines wait in memory: visitors choose their length.
const TEXT_LEN_MAX: usize = 1024;

/// What is kept of the head of a request for its line: copies, because what it came in is larger, and may be held for as
/// long as a WebSocket is open.
#[derive(Clone, Debug, Serialize)]
pub struct Head {
    method: Box<str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<Box<str>>,
    path: Box<str>,
    protocol: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    referer: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<Box<str>>,
}

impl Head {
    /// The head of `request`, with the query of its path or without.
    fn of<B>(request: &http::Request<B>, query: bool) -> Self {
        use http::header::{HOST, REFERER, USER_AGENT};
        let value = |name| {
            let value = request.headers().get(name);
            value.map(|value| kept(value.as_bytes()))
        };
        let uri = request.uri();
        let authority = uri.authority().map(|it| kept(it.as_str().as_bytes()));
        let path = match query {
            true => uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str),
            false => uri.path(),
        };
        Self {
            method: kept(request.method().as_str().as_bytes()),
            host: authority.or_else(|| value(HOST)),
            path: kept(path.as_bytes()),
            protocol: match request.version() {
                Version::HTTP_10 => "HTTP/1.0",
                Version::HTTP_2 => "HTTP/2.0",
                _ => "HTTP/1.1",
            },
            referer: value(REFERER),
            user_agent: value(USER_AGENT),
        }
    }
}

/// A name that a visitor chose, as it is logged.
pub(super) fn shown(name: &str) -> String {
    kept(name.as_bytes()).into()
}

/// As text, without what a terminal might obey, and not longer than it may be.
fn kept(bytes: &[u8]) -> Box<str> {
    let cut = bytes.len() > TEXT_LEN_MAX;
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(TEXT_LEN_MAX)]);
    let mut text = text.replace(|c: char| c.is_control(), "\u{fffd}");
    if cut {
        text.push('\u{2026}');
    }
    text.into()
}

fn millis(duration: Duration) -> f64 {
    // To the microsecond: more is noise.
    (duration.as_micros() as f64) / 1000.0
}

fn as_text<S: Serializer>(time: &SystemTime, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&format_rfc3339_millis(*time))
}

fn json(line: &Line<'_>) -> String {
    // There is nothing in it that could not be written.
    let mut text = serde_json::to_string(line).unwrap_or_default();
    text.push('\n');
    text
}

/// `client - user [time] "method path protocol" status bytes "referer" "user agent"`.
fn combined(line: &Line<'_>) -> String {
    let head = line.head;
    let mut text = String::with_capacity(256);
    let (client, day) = (line.client, day(line.time));
    // Whoever left is 499, as in nginx's.
    let (status, sent) = (line.status.unwrap_or(499), line.sent);
    let _ = write!(text, "{client} - ");
    match line.user.filter(|user| !user.is_empty()) {
        // A space would end the field.
        Some(user) => quote(&mut text, &user.replace(' ', "_")),
        None => text.push('-'),
    }
    let _ = write!(text, " [{day}] \"");
    quote(&mut text, &head.method);
    text.push(' ');
    quote(&mut text, &head.path);
    let _ = write!(text, " {}\" {status} {sent}", head.protocol);
    for value in [&head.referer, &head.user_agent] {
        text.push_str(" \"");
        quote(&mut text, value.as_deref().unwrap_or("-"));
        text.push('"');
    }
    text.push('\n');
    text
}

/// Within quotes, as Apache has it: what would end them or be no text is escaped.
fn quote(text: &mut String, value: &str) {
    for byte in value.bytes() {
        match byte {
            b'"' | b'\\' => text.extend(['\\', char::from(byte)]),
            b' '..=b'~' => text.push(char::from(byte)),
            _ => {
                let _ = write!(text, "\\x{byte:02x}");
            }
        }
    }
}

/// `27/Nov/2026:05:12:43 +0000`, from `2026-11-27T05:12:43.120Z`.
fn day(time: SystemTime) -> String {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let text = format_rfc3339_millis(time).to_string();
    let part = |range| text.get(range).unwrap_or_default();
    let month: usize = part(5..7).parse().unwrap_or(1);
    let month = MONTHS[(month - 1) % MONTHS.len()];
    format!("{}/{month}/{}:{} +0000", part(8..10), part(0..4), part(11..19))
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use http::Request;

    use super::*;

    fn head() -> Head {
        let request = Request::get("/a%20b?q='1'").header("host", "example.com:80");
        let request = request.header("user-agent", "quo\"te \\ \t");
        Head::of(&request.body(()).unwrap(), true)
    }

    fn line(head: &Head) -> Line<'_> {
        let mut times = Times::default();
        times.add(Hop::Start, Duration::from_micros(1500));
        times.add(Hop::Total, Duration::from_nanos(2_000_999));
        Line {
            time: UNIX_EPOCH + Duration::from_millis(1_795_756_363_120),
            entry: "www",
            client: "192.0.2.1".parse().unwrap(),
            peer: "127.0.0.1:5000".parse().unwrap(),
            head,
            status: Some(200),
            end: "whole",
            received: 3,
            sent: 5,
            rule: Some("rules[0]"),
            group: Some("api"),
            target: Some("a/main".to_owned()),
            tries: 1,
            user: None,
            reason: None,
            request_id: None,
            grpc_status: None,
            times,
        }
    }

    #[test]
    fn a_line_of_json_says_everything() {
        let head = head();
        let text = json(&line(&head));
        assert!(text.ends_with('\n'));
        let found: serde_json::Value = serde_json::from_str(&text).unwrap();
        let expected = serde_json::json!({
            "time": "2026-11-27T05:12:43.120Z", "entry": "www", "client": "192.0.2.1", "peer": "127.0.0.1:5000",
            "method": "GET", "host": "example.com:80", "path": "/a%20b?q='1'", "protocol": "HTTP/1.1",
            "user_agent": "quo\"te \\ \u{fffd}", "status": 200, "end": "whole", "received": 3, "sent": 5,
            "rule": "rules[0]", "group": "api", "target": "a/main", "tries": 1,
            "queue_ms": 0.0, "pool_ms": 0.0, "start_ms": 1.5, "first_byte_ms": 0.0, "total_ms": 2.0,
        });
        assert_eq!(found, expected);
    }

    #[test]
    fn a_line_of_the_combined_format_cannot_be_broken_out_of() {
        let head = head();
        let mut line = line(&head);
        let start = "192.0.2.1 - - [27/Nov/2026:05:12:43 +0000] \"GET /a%20b?q='1' HTTP/1.1\"";
        let end = "\"-\" \"quo\\\"te \\\\ \\xef\\xbf\\xbd\"\n";
        assert_eq!(combined(&line), format!("{start} 200 5 {end}"));
        line.status = None;
        assert_eq!(combined(&line), format!("{start} 499 5 {end}"));
    }

    #[test]
    fn a_query_can_be_left_out_and_a_user_is_named() {
        let request = Request::get("/a?token=1").body(()).unwrap();
        let head = Head::of(&request, false);
        let mut line = line(&head);
        line.user = Some("ann b\" [x]");
        let found: serde_json::Value = serde_json::from_str(&json(&line)).unwrap();
        assert_eq!(
            (&found["path"], &found["user"]),
            (&"/a".into(), &"ann b\" [x]".into())
        );
        let start = "192.0.2.1 - ann_b\\\"_[x] [27/Nov/2026:05:12:43 +0000] \"GET /a HTTP/1.1\" 200";
        assert!(combined(&line).starts_with(start), "{}", combined(&line));
    }

    #[test]
    fn times_are_told_as_server_timing() {
        let head = head();
        let timing = line(&head).times.server_timing().unwrap();
        assert_eq!(
            timing,
            "adit-queue;dur=0, adit-pool;dur=0, adit-start;dur=1.5, adit-first-byte;dur=0, adit-total;dur=2"
        );
    }
}
