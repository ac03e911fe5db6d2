//! Lists of candidates: one on each line, with comments, weights and ranges.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use super::{CANDIDATES_MAX, Candidate, Place, WEIGHT_MAX};

/// What a line may look like.
pub const LINES_FORM: &str =
    "`HOST:PORT`, `[IPV6]:PORT` or `ADDRESS/BITS:PORT`, with ` weight=N` behind it if need be";

/// The largest prefix of an IPv4 net whose first and last address are not hosts.
const V4_NET_BITS_MAX: u32 = 30;

/// What is wrong with a list.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name}:{line}: {message}")]
pub struct ListError {
    /// The list, usually a path.
    pub name: String,
    /// The line, from 1.
    pub line: usize,
    /// What was found, and what was expected.
    pub message: String,
}

/// Reads a list: one candidate or range on each line, `#` begins a comment, empty lines are nothing. `name` is for
/// errors.
///
/// Comes out in order of the places; what stands twice counts once, with the later weight.
///
/// # Errors
/// The first line that is not a candidate, or that brings more than [`CANDIDATES_MAX`] together.
pub fn parse(text: &str, name: &str) -> Result<Vec<Candidate>, ListError> {
    let mut found = BTreeMap::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        let error = |message| ListError {
            name: name.to_owned(),
            line: index + 1,
            message,
        };
        for candidate in parse_line(line).map_err(error)? {
            found.insert(candidate.place, candidate.weight);
        }
        if found.len() > CANDIDATES_MAX {
            return Err(error(format!(
                "{line:?} makes it {}, and {CANDIDATES_MAX} are the most",
                found.len()
            )));
        }
    }
    let candidate = |(place, weight)| Candidate { place, weight };
    Ok(found.into_iter().map(candidate).collect())
}

/// Reads one line without its comment: one candidate, or all of a range.
///
/// # Errors
/// A sentence that shows the form.
pub fn parse_line(line: &str) -> Result<Vec<Candidate>, String> {
    let (place, weight) = split_weight(line)?;
    if place.contains(char::is_whitespace) {
        return Err(malformed(line));
    }
    let places = if place.contains('/') {
        range(place)?
    } else {
        vec![one(place)?]
    };
    let candidate = |place| Candidate { place, weight };
    Ok(places.into_iter().map(candidate).collect())
}

/// Takes `weight=N` off the end of a line; without one, the weight is 1.
///
/// # Errors
/// A sentence that shows the form.
pub fn split_weight(line: &str) -> Result<(&str, u32), String> {
    let is_word = |(before, number): &(&str, &str)| {
        before.ends_with(char::is_whitespace) && !number.contains(char::is_whitespace)
    };
    let Some((place, number)) = line.rsplit_once("weight=").filter(is_word) else {
        return Ok((line, 1));
    };
    let legal = number.parse().ok().filter(|w| (1..=WEIGHT_MAX).contains(w));
    let weight = legal.ok_or_else(|| {
        format!("expected `weight=` and a whole number from 1 to {WEIGHT_MAX}, found \"weight={number}\"")
    })?;
    Ok((place.trim_end(), weight))
}

fn malformed(text: &str) -> String {
    format!("expected {LINES_FORM}, found {text:?}")
}

fn port(text: &str) -> Option<u16> {
    // `+80` is a number for the standard library and for nobody else.
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|port| *port != 0 && digits)
}

fn one(text: &str) -> Result<Place, String> {
    if let Ok(address) = text.parse::<SocketAddr>()
        && address.port() != 0
    {
        return Ok(Place::Address(address));
    }
    let (host, port) = text
        .rsplit_once(':')
        .and_then(|(host, digits)| Some((host, port(digits)?)))
        .ok_or_else(|| malformed(text))?;
    if host.contains(':') {
        return Err(malformed(text));
    }
    let part = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
    // All digits and dots is an address with a mistake in it, never a name.
    let a_name = host.chars().any(|c| c != '.' && !c.is_ascii_digit());
    if a_name && host.chars().all(part) {
        Ok(Place::Name(format!("{}:{port}", host.to_lowercase())))
    } else {
        Err(malformed(text))
    }
}

/// Every address of `ADDRESS/BITS:PORT`.
fn range(text: &str) -> Result<Vec<Place>, String> {
    let malformed = || malformed(text);
    let (net, digits) = text.rsplit_once(':').ok_or_else(malformed)?;
    let port = port(digits).ok_or_else(malformed)?;
    let bracketed = net.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let (ip, bits) = bracketed.unwrap_or(net).split_once('/').ok_or_else(malformed)?;
    let ip: IpAddr = ip.parse().map_err(|_| malformed())?;
    if ip.is_ipv6() != bracketed.is_some() {
        return Err(malformed());
    }
    let width: u32 = if ip.is_ipv4() { 32 } else { 128 };
    let bits = bits.parse().ok().filter(|bits| *bits <= width);
    let bits: u32 = bits.ok_or_else(malformed)?;
    let first = match ip {
        IpAddr::V4(ip) => u128::from(ip.to_bits()),
        IpAddr::V6(ip) => ip.to_bits(),
    };
    let hosts = width - bits;
    let count = 1_u128.checked_shl(hosts).unwrap_or(u128::MAX);
    if count > CANDIDATES_MAX as u128 {
        let message = format!("{text:?} is 2^{hosts} addresses, and {CANDIDATES_MAX} are the most");
        return Err(message);
    }
    if !first.is_multiple_of(count) {
        let net = address(ip, first - first % count);
        return Err(format!(
            "{text:?} is not the first address of its range: did you mean {net}/{bits}, or {ip} alone?"
        ));
    }
    // The first address of an IPv4 net is its own name, the last one reaches everybody.
    let spare = u128::from(ip.is_ipv4() && bits <= V4_NET_BITS_MAX);
    let all = first + spare..first + count - spare;
    Ok(all
        .map(|n| Place::Address(SocketAddr::new(address(ip, n), port)))
        .collect())
}

/// The address with these bits, of the family of `like`.
fn address(like: IpAddr, bits: u128) -> IpAddr {
    match (like, u32::try_from(bits)) {
        (IpAddr::V4(_), Ok(bits)) => Ipv4Addr::from_bits(bits).into(),
        _ => Ipv6Addr::from_bits(bits).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(text: &str) -> Vec<String> {
        let candidates = parse(text, "list").unwrap();
        let shown = |candidate: Candidate| match candidate.weight {
            1 => candidate.place.to_string(),
            weight => format!("{} weight={weight}", candidate.place),
        };
        candidates.into_iter().map(shown).collect()
    }

    #[test]
    fn reads_what_people_list() {
        let text = "# ours\r\n\n 192.0.2.1:443 # the old one\n192.0.2.2:443 weight=3\r\n\
                    [2001:db8::1]:443\nCache.Example.com:80   weight=2#x\n\n192.0.2.1:443\n";
        assert_eq!(
            shown(text),
            [
                "192.0.2.1:443",
                "192.0.2.2:443 weight=3",
                "[2001:db8::1]:443",
                "cache.example.com:80 weight=2",
            ]
        );
        assert_eq!(shown("# nothing\n"), [""; 0]);
        assert_eq!(
            shown("a:1\na:1 weight=7\n"),
            ["a:1 weight=7"],
            "the later weight counts"
        );
    }

    #[test]
    fn ranges_are_all_of_their_hosts() {
        assert_eq!(shown("10.0.0.0/30:443"), ["10.0.0.1:443", "10.0.0.2:443"]);
        assert_eq!(
            shown("10.0.0.4/31:443 weight=2"),
            ["10.0.0.4:443 weight=2", "10.0.0.5:443 weight=2"]
        );
        assert_eq!(shown("10.0.0.4/32:443"), ["10.0.0.4:443"]);
        assert_eq!(shown("[2001:db8::/127]:1"), ["[2001:db8::]:1", "[2001:db8::1]:1"]);
        assert_eq!(shown("[::/112]:1").len(), 65_536);
        assert_eq!(shown("255.255.255.252/30:1").len(), 2);
        assert_eq!(
            shown("10.0.0.0/28:443\n10.0.0.0/29:443").len(),
            14,
            "overlap counts once"
        );
    }

    #[test]
    fn a_mistake_names_its_line() {
        let check = |text: &str, expected: &str| {
            assert_eq!(parse(text, "c.txt").unwrap_err().to_string(), expected);
        };
        for wrong in [
            "192.0.2.1",
            "192.0.2.1:0",
            "192.0.2.1:+80",
            "192.0.2:80",
            "256.0.0.1:80",
            ":80",
            "a b:80",
            "http://a:80",
            "::1:80",
            "[::1]",
            "[x]:80",
            "a:70000",
            "a:1 2",
            "a:1 weight=1 b",
            "a:b:1",
            "10.0.0.0/x:1",
            "10.0.0.0/33:1",
            "10.0.0.0/28",
            "2001:db8::/120:1",
            "[10.0.0.0/28]:1",
        ] {
            check(
                &format!("a:1\n\n{wrong} # no\n"),
                &format!("c.txt:3: expected {LINES_FORM}, found {wrong:?}"),
            );
        }
        for wrong in ["weight=0", "weight=1001", "weight=-1", "weight=", "weight=x"] {
            check(
                &format!("a:1 {wrong}"),
                &format!("c.txt:1: expected `weight=` and a whole number from 1 to 1000, found {wrong:?}"),
            );
        }
        check(
            "10.0.0.5/28:443",
            "c.txt:1: \"10.0.0.5/28:443\" is not the first address of its range: did you mean \
             10.0.0.0/28, or 10.0.0.5 alone?",
        );
        check(
            "10.0.0.0/8:443",
            "c.txt:1: \"10.0.0.0/8:443\" is 2^24 addresses, and 65536 are the most",
        );
        check(
            "[::/0]:443",
            "c.txt:1: \"[::/0]:443\" is 2^128 addresses, and 65536 are the most",
        );
        check(
            "10.0.0.0/16:443\n10.1.0.0/29:443\n",
            "c.txt:2: \"10.1.0.0/29:443\" makes it 65540, and 65536 are the most",
        );
    }

    #[test]
    fn ten_thousand_lines_are_no_work() {
        let text: String = (0..10_000)
            .map(|n| {
                format!(
                    "10.{}.{}.{}:443 weight={}\n",
                    n / 65_536,
                    n / 256 % 256,
                    n % 256,
                    n % 9 + 1
                )
            })
            .collect();
        let began = crate::time::now();
        assert_eq!(parse(&text, "list").unwrap().len(), 10_000);
        // About 3 ms when it was written, in a build for debugging; a second is for busy machines.
        assert!(crate::time::now() - began < crate::time::Duration::from_secs(1));
    }

    proptest! {
        #[test]
        fn no_text_is_too_much(text in "\\PC{0,60}(\n\\PC{0,60}){0,4}") {
            let _ = parse(&text, "list");
        }

        #[test]
        fn no_candidate_is_too_much(text in "[0-9a-f:.\\[\\]/]{0,24}:[0-9]{1,5}( weight=[0-9]{1,4})?") {
            let _ = parse(&text, "list");
        }

        #[test]
        fn what_is_written_is_read(ip: IpAddr, port in 1_u16.., weight in 1..=WEIGHT_MAX) {
            let place = Place::Address(SocketAddr::new(ip, port));
            let read = parse(&format!("{place} weight={weight}"), "list").unwrap();
            prop_assert_eq!(read, [Candidate { place, weight }]);
        }
    }
}
