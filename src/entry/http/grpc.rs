//! How a call of gRPC is known, and how long it may take. Pure.

use http::{HeaderMap, header::CONTENT_TYPE};

use crate::{probe::mutant, time::Duration};

/// Whether a request is of gRPC.
pub fn is_grpc(headers: &HeaderMap) -> bool {
    let said = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    said.is_some_and(|said| {
        said == "application/grpc" || {
            said.strip_prefix("application/grpc")
                .is_some_and(|rest| rest.starts_with(['+', ';']))
        }
    })
}

/// How long a call of gRPC may take (its specification, "Requests": up to eight digits and a unit).
pub fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let said = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = said.split_at_checked(said.len().checked_sub(1)?)?;
    if digits.len() == 8 && mutant!("eight-digits-are-too-many") {
        return None;
    }
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(amount * 3600),
        "M" => Duration::from_secs(amount * 60),
        "S" if mutant!("seconds-read-as-milliseconds") => Duration::from_millis(amount),
        "S" => Duration::from_secs(amount),
        "m" => Duration::from_millis(amount),
        "u" if mutant!("microseconds-read-as-milliseconds") => Duration::from_millis(amount),
        "u" => Duration::from_micros(amount),
        "n" => Duration::from_nanos(amount),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name.parse().unwrap(), value.parse().unwrap())])
    }

    #[test]
    fn a_call_is_known_by_its_content_and_says_how_long_it_may_take() {
        let check =
            |kind: &str, expected| assert_eq!(is_grpc(&headers("content-type", kind)), expected, "{kind}");
        check("application/grpc", true);
        check("application/grpc+proto", true);
        check("application/grpc;x=y", true);
        check("application/grpc-web", false);
        check("text/plain", false);
        let check = |text: &str, millis: Option<u64>| {
            let found = timeout(&headers("grpc-timeout", text));
            assert_eq!(found, millis.map(Duration::from_millis), "{text}");
        };
        check("2H", Some(7_200_000));
        check("3M", Some(180_000));
        check("4S", Some(4000));
        check("00000150m", Some(150));
        check("5000u", Some(5));
        check("6000000n", Some(6));
        for bad in ["", "m", "5", "5x", "123456789m", "-1S", "1.5S", "1 S"] {
            check(bad, None);
        }
    }
}
