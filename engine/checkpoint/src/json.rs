//! JSON as Python writes and reads it, with numbers that are not in its standard.

use std::borrow::Cow;

use serde_json::Value;

/// Begins the strings that stand for such numbers; the rest is their sign and blanks.
const MARK: char = '\u{7F}';
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// `text` with a string in the place of each `NaN`, `Infinity` and `-Infinity`, and of each number too large for a
/// double, which Python reads as infinite. Nothing changes its place, so that errors name the line and column of the
/// file. A byte order mark at the start becomes blanks.
pub(crate) fn standard_json(text: &[u8]) -> Cow<'_, [u8]> {
    let mut changed = Cow::Borrowed(text);
    if text.starts_with(BYTE_ORDER_MARK) {
        changed.to_mut()[..BYTE_ORDER_MARK.len()].fill(b' ');
    }
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let len = match rest[0] {
            b'"' => string_len(rest),
            b'-' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => word_len(rest),
            _ => 1,
        };
        if is_no_standard_number(&rest[..len]) {
            let sign = usize::from(rest[0] == b'-');
            let place = &mut changed.to_mut()[at..at + len];
            place.fill(b' ');
            place[0] = b'"';
            place[1] = MARK as u8;
            place[1 + sign] = [MARK as u8, b'-'][sign];
            place[len - 1] = b'"';
        }
        at += len;
    }
    changed
}

/// The value as its file has it.
pub(crate) fn as_written(value: &Value) -> String {
    match value.as_str().and_then(|text| text.strip_prefix(MARK)) {
        None => value.to_string(),
        Some("") => "NaN".into(),
        Some(rest) if rest.starts_with('-') => "-Infinity".into(),
        Some(_) => "Infinity".into(),
    }
}

/// Bytes of the string at the start of `text`, both quotes included.
fn string_len(text: &[u8]) -> usize {
    let mut at = 1;
    while at < text.len() && text[at] != b'"' {
        at += if text[at] == b'\\' { 2 } else { 1 };
    }
    text.len().min(at + 1)
}

/// Bytes of the number or literal at the start of `text`.
fn word_len(text: &[u8]) -> usize {
    let is_in =
        |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.' | b'_');
    text.iter()
        .position(|byte| !is_in(byte))
        .unwrap_or(text.len())
}

fn is_no_standard_number(word: &[u8]) -> bool {
    match word {
        b"NaN" | b"Infinity" | b"-Infinity" => true,
        [b'-' | b'0'..=b'9', ..] => {
            let number = str::from_utf8(word)
                .ok()
                .and_then(|word| word.parse::<f64>().ok());
            number.is_some_and(f64::is_infinite) && word.last().is_some_and(u8::is_ascii_digit)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Value {
        let standard = standard_json(text.as_bytes());
        assert_eq!(standard.len(), text.len());
        serde_json::from_slice(&standard).unwrap()
    }

    #[test]
    fn numbers_of_python_are_read_and_shown_as_they_are_written() {
        let read = read(r#"{"a":NaN,"b":[Infinity, -Infinity],"c":1e999,"d":-1E+400}"#);
        let shown = [
            &read["a"],
            &read["b"][0],
            &read["b"][1],
            &read["c"],
            &read["d"],
        ]
        .map(as_written);
        assert_eq!(
            shown,
            ["NaN", "Infinity", "-Infinity", "Infinity", "-Infinity"]
        );
        assert_eq!(as_written(&"x".into()), r#""x""#);
    }

    #[test]
    fn strings_and_other_numbers_stay() {
        for text in [
            r#"{"NaN":"Infinity \" NaN","b":"\\","c":NaN0}"#,
            r#"[1e308, -1.5, true, null, "-Infinity"]"#,
            r#"["open NaN"#,
            r#"["open\"#,
            "[infinity, nan, inf, -inf]",
            "",
        ] {
            assert!(
                matches!(standard_json(text.as_bytes()), Cow::Borrowed(_)),
                "{text}"
            );
        }
        assert_eq!(read("\u{FEFF}[1]"), serde_json::json!([1]));
    }

    #[test]
    fn errors_name_the_place_in_the_file() {
        let text = "{\"a\": NaN,\n \"b\": -Infinity, ?}";
        let error = serde_json::from_slice::<Value>(&standard_json(text.as_bytes())).unwrap_err();
        assert_eq!((error.line(), error.column()), (2, 18));
    }
}
