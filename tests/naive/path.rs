//! Paths, taken apart octet by octet.

use adit::rules::Refused;

/// One octet of a path: as a character, or encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Octet {
    Plain(u8),
    Encoded(u8),
}

/// The octets between two borders.
pub type Segment = Vec<Octet>;

/// Name and text.
pub type Params = Vec<(String, String)>;

const UNRESERVED: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
const RESERVED: &str = "/:@!$&'()*+,;=";

fn octets(text: &str) -> Result<Vec<Octet>, Refused> {
    let mut found = Vec::new();
    let mut left = text.as_bytes();
    while let [first, behind @ ..] = left {
        left = behind;
        let has = |set: &str, byte: u8| set.as_bytes().contains(&byte);
        found.push(match first {
            b'%' => {
                let digits = behind
                    .get(..2)
                    .filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
                let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
                let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
                let byte = byte.ok_or(Refused::PercentEncoding)?;
                left = &behind[2..];
                if has(UNRESERVED, byte) {
                    Octet::Plain(byte)
                } else {
                    Octet::Encoded(byte)
                }
            }
            byte if has(UNRESERVED, *byte) || has(RESERVED, *byte) => Octet::Plain(*byte),
            byte => Octet::Encoded(*byte),
        });
    }
    Ok(found)
}

fn split(octets: &[Octet], at: &[Octet]) -> Vec<Segment> {
    octets
        .split(|octet| at.contains(octet))
        .map(<[_]>::to_vec)
        .collect()
}

/// The segments of the path of a request.
pub fn segments(path: &str) -> Result<Vec<Segment>, Refused> {
    let Some(path) = path.strip_prefix('/') else {
        return Err(Refused::Relative);
    };
    let octets = octets(path)?;
    let borders = [Octet::Plain(b'/'), Octet::Encoded(b'/'), Octet::Encoded(b'\\')];
    for piece in split(&octets, &borders) {
        let name = split(&piece, &[Octet::Plain(b';')]).remove(0);
        let dot = Octet::Plain(b'.');
        if name == [dot] || name == [dot, dot] {
            return Err(Refused::DotSegments);
        }
    }
    Ok(split(&octets, &[Octet::Plain(b'/')]))
}

fn text(segments: &[Segment]) -> String {
    let octet = |octet: &Octet| match octet {
        Octet::Plain(byte) => char::from(*byte).to_string(),
        Octet::Encoded(byte) => format!("%{byte:02X}"),
    };
    let segment = |segment: &Segment| segment.iter().map(octet).collect::<String>();
    segments.iter().map(segment).collect::<Vec<_>>().join("/")
}

/// The segments of a pattern as they are written. A prefix has none behind its last `/`.
pub fn pattern_segments(pattern: &str) -> Vec<&str> {
    let path = pattern.trim_start_matches('=');
    let mut segments: Vec<_> = path.split('/').skip(1).collect();
    if is_prefix(pattern) && segments.last() == Some(&"") {
        segments.pop();
    }
    segments
}

fn is_prefix(pattern: &str) -> bool {
    !pattern.starts_with('=') && !pattern.contains('{')
}

/// The parameters of a path, if a pattern fits it.
pub fn fits_path(pattern: &str, path: &[Segment]) -> Option<Params> {
    let asked = pattern_segments(pattern);
    let mut params = Params::new();
    for (at, segment) in asked.iter().enumerate() {
        let name = segment.trim_matches(['{', '}']);
        if let Some(name) = name.strip_prefix('*').filter(|_| segment.starts_with('{')) {
            let rest = text(path.get(at..)?);
            params.push((name.to_owned(), rest.clone()));
            return (!rest.is_empty()).then_some(params);
        }
        let there = path.get(at)?;
        if segment.starts_with('{') {
            if there.is_empty() {
                return None;
            }
            params.push((name.to_owned(), text(std::slice::from_ref(there))));
        } else if octets(segment).as_ref() != Ok(there) {
            return None;
        }
    }
    (is_prefix(pattern) || path.len() == asked.len()).then_some(params)
}
