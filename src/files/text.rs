//! The text of a file, as editors on any system save it.

use std::borrow::Cow;

/// The mark that some editors put in front of UTF-8.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// Why the bytes of a file are not text that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotText {
    /// Another encoding, which editors on Windows call "Unicode".
    #[error("the file is encoded in UTF-16: save it as UTF-8")]
    Utf16,
    /// Some byte that UTF-8 does not have.
    #[error("the file is not UTF-8 text: line {line} has a byte that UTF-8 does not allow there")]
    NotUtf8 {
        /// Where, from 1.
        line: usize,
    },
}

/// The text of a file without the byte order mark of UTF-8, if it begins with one. Where a line ends with CR alone it ends with
/// LF then: nobody else reads such lines.
///
/// # Errors
/// The bytes are not UTF-8.
pub fn decode(bytes: &[u8]) -> Result<Cow<'_, str>, NotText> {
    let marked = bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff");
    // Without a mark: the first character is ASCII, and half of it is a zero byte.
    let unmarked =
        matches!(bytes, [0, second, ..] if *second != 0) || matches!(bytes, [first, 0, ..] if *first != 0);
    if marked || unmarked {
        return Err(NotText::Utf16);
    }
    let bytes = bytes.strip_prefix(MARK).unwrap_or(bytes);
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let before = std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default();
        let line = 1 + with_line_feeds(before).matches('\n').count();
        NotText::NotUtf8 { line }
    })?;
    Ok(match text.contains('\r') {
        true => with_line_feeds(text).into(),
        false => text.into(),
    })
}

/// The same with LF behind each line. Copied once: it may be a secret.
fn with_line_feeds(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\r' if letters.peek() == Some(&'\n') => {}
            '\r' => out.push('\n'),
            letter => out.push(letter),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_taken_off_and_utf_16_is_named() {
        let check = |bytes: &[u8], expected: &str| assert_eq!(decode(bytes).as_deref(), Ok(expected));
        check(b"\xef\xbb\xbfa: 1\r\n", "a: 1\n");
        check(b"# a\rb\rc\r\n\r\nd\n", "# a\nb\nc\n\nd\n");
        check(b"a", "a");
        check(b"", "");
        for bytes in [&b"\xff\xfea\0"[..], b"\xfe\xff\0a", b"a\0b\0", b"\0a\0b"] {
            assert_eq!(decode(bytes), Err(NotText::Utf16), "{bytes:?}");
        }
        for bytes in [&b"a\nb\xe9\n"[..], b"a\rb\xe9\r", b"a\r\nb\xe9\r\n"] {
            assert_eq!(decode(bytes), Err(NotText::NotUtf8 { line: 2 }), "{bytes:?}");
        }
    }
}
