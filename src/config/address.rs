//! Addresses as people write them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Reads the IP address to bind; `localhost` and brackets are fine.
///
/// # Errors
/// A sentence that shows the form.
pub fn bind(text: &str) -> Result<IpAddr, String> {
    let text = text.trim();
    if text == "localhost" {
        return Ok(Ipv4Addr::LOCALHOST.into());
    }
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(text);
    bare.parse()
        .map_err(|_| format!("expected an IP address like `0.0.0.0` or `::`, found {text:?}"))
}

/// Reads a listening address: `ADDRESS:PORT`, or `:PORT` and `PORT` on `ip`.
///
/// # Errors
/// A sentence that shows the form.
pub fn listen(text: &str, ip: IpAddr) -> Result<SocketAddr, String> {
    let text = text.trim();
    let malformed =
        || format!("expected an address and a port like `0.0.0.0:8080` or `:8080`, found {text:?}");
    let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
    let port = port.parse().map_err(|_| malformed())?;
    match host {
        "" => Ok(SocketAddr::new(ip, port)),
        "localhost" => Ok(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port)),
        _ => text.parse().map_err(|_| malformed()),
    }
}

/// Reads `HOST:PORT`; a `HOST` alone gets `default_port`, if there is one. The port must not be 0.
///
/// An IPv6 address comes out in brackets.
///
/// # Errors
/// A sentence that shows the form.
pub fn authority(text: &str, default_port: Option<u16>) -> Result<String, String> {
    let text = text.trim();
    let malformed = || {
        let form = match default_port {
            Some(port) => format!("a host like `example.com` or `example.com:{port}`"),
            None => "a host and a port like `127.0.0.1:3000`".to_owned(),
        };
        format!("expected {form}, found {text:?}")
    };
    if let Ok(IpAddr::V6(ip)) = text.trim_matches(['[', ']']).parse() {
        let port = default_port.ok_or_else(malformed)?;
        return Ok(format!("[{ip}]:{port}"));
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().map_err(|_| malformed())?),
        None => (text, default_port.ok_or_else(malformed)?),
    };
    let bracketed = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let legal = match bracketed {
        Some(ip) => ip.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            let part = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
            !host.is_empty() && host.chars().all(part)
        }
    };
    if legal && port != 0 {
        Ok(format!("{host}:{port}"))
    } else {
        Err(malformed())
    }
}

/// Reads the address of a service: `HOST:PORT`, or `PORT` and `:PORT` on this machine.
///
/// # Errors
/// A sentence that shows the form.
pub fn target(text: &str) -> Result<String, String> {
    let text = text.trim();
    match text.strip_prefix(':').unwrap_or(text).parse::<u16>() {
        Ok(port) if port != 0 => Ok(format!("{}:{port}", Ipv4Addr::LOCALHOST)),
        _ => authority(text, None),
    }
}

/// Whether only this machine can reach what is bound there.
pub fn is_loopback(authority: &str) -> bool {
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    match host.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(ip) => ip.is_loopback(),
        Err(_) => host == "localhost",
    }
}

/// Whether two listening addresses cannot be bound at once. Port 0 takes a free port and never conflicts.
pub fn conflict(a: SocketAddr, b: SocketAddr) -> bool {
    let covers =
        |a: IpAddr, b: IpAddr| a == b || (a.is_unspecified() && (a.is_ipv6() || a.is_ipv4() == b.is_ipv4()));
    a.port() != 0 && a.port() == b.port() && (covers(a.ip(), b.ip()) || covers(b.ip(), a.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_listening_addresses() {
        let ip = IpAddr::from([10, 0, 0, 1]);
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(
                listen(text, ip).ok(),
                expected.map(|addr| addr.parse().unwrap()),
                "{text}"
            );
        };
        check("0.0.0.0:80", Some("0.0.0.0:80"));
        check(":80", Some("10.0.0.1:80"));
        check("80", Some("10.0.0.1:80"));
        check("localhost:80", Some("127.0.0.1:80"));
        check("[::1]:80", Some("[::1]:80"));
        for text in ["example.com:80", "::1:80:", "0.0.0.0", "0.0.0.0:70000", ""] {
            check(text, None);
        }
        assert_eq!(bind("[::]"), Ok("::".parse().unwrap()));
        assert!(bind("0.0.0.0:7000").is_err());
    }

    #[test]
    fn reads_servers_and_targets() {
        let server = |text: &str, expected: Option<&str>| {
            assert_eq!(authority(text, Some(7000)).ok().as_deref(), expected, "{text}");
        };
        server("example.com", Some("example.com:7000"));
        server("example.com:9", Some("example.com:9"));
        server("::1", Some("[::1]:7000"));
        server("[::1]", Some("[::1]:7000"));
        server("[::1]:9", Some("[::1]:9"));
        for text in ["", ":9", "a b", "http://a", "a:0", "a:b", "a:1:2", "[x]:9"] {
            server(text, None);
        }
        let local = |text: &str, expected: Option<&str>| {
            assert_eq!(target(text).ok().as_deref(), expected, "{text}");
        };
        local("3000", Some("127.0.0.1:3000"));
        local(":3000", Some("127.0.0.1:3000"));
        local("db:5432", Some("db:5432"));
        for text in ["0", "db", "70000", ""] {
            local(text, None);
        }
    }

    #[test]
    fn finds_conflicts() {
        let check = |a: &str, b: &str, expected| {
            assert_eq!(
                conflict(a.parse().unwrap(), b.parse().unwrap()),
                expected,
                "{a} {b}"
            );
            assert_eq!(conflict(b.parse().unwrap(), a.parse().unwrap()), expected);
        };
        check("127.0.0.1:80", "127.0.0.1:80", true);
        check("127.0.0.1:80", "0.0.0.0:80", true);
        check("127.0.0.1:80", "[::]:80", true);
        check("0.0.0.0:80", "[::1]:80", false);
        check("127.0.0.1:80", "127.0.0.2:80", false);
        check("127.0.0.1:0", "127.0.0.1:0", false);
    }
}
