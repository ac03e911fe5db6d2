//! Byte counts as people write them.

/// Reads a byte count: a whole number with `B`, `KiB`, `MiB`, `GiB` (powers of 1,024) or `KB`, `MB`, `GB`
/// (powers of 1,000); nothing after the number is bytes.
///
/// # Errors
/// A sentence that shows the form.
pub fn parse(text: &str) -> Result<usize, String> {
    let malformed = || format!("expected a size like `64KiB` or `64MiB`, found {text:?}");
    let trimmed = text.trim();
    let digits = trimmed
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(digits);
    let number: usize = number.parse().map_err(|_| malformed())?;
    let factor = match unit.trim_start().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "kib" | "k" => 1 << 10,
        "mib" | "m" => 1 << 20,
        "gib" | "g" => 1 << 30,
        _ => return Err(malformed()),
    };
    number
        .checked_mul(factor)
        .ok_or_else(|| format!("{text:?} is more than this machine can address"))
}

/// Writes a byte count the short way: `64MiB`.
pub fn display(bytes: usize) -> String {
    for (shift, unit) in [(30, "GiB"), (20, "MiB"), (10, "KiB")] {
        if bytes > 0 && bytes.trailing_zeros() >= shift {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    format!("{bytes}B")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write() {
        let check = |text: &str, expected: usize| assert_eq!(parse(text).unwrap(), expected, "{text}");
        check("0", 0);
        check("512", 512);
        check("512B", 512);
        check("64KiB", 65_536);
        check("64 KiB", 65_536);
        check("64k", 65_536);
        check("1MB", 1_000_000);
        check(" 2GiB ", 2 << 30);
        for text in [
            "",
            "KiB",
            "1.5MiB",
            "-1",
            "1TiB",
            "1 2",
            "99999999999999999999",
            "99999999999999GiB",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn writes_what_it_reads() {
        for bytes in [0, 1, 1023, 1024, 65_536, 64 << 20, (64 << 20) + 1, 3 << 30] {
            assert_eq!(parse(&display(bytes)).unwrap(), bytes);
        }
        assert_eq!(display(64 << 20), "64MiB");
    }
}
