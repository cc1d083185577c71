//! Numbers of bytes and rows as errors show them.

/// A number with a comma before each three digits.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// That `bytes` bytes of a file are missing.
pub(crate) fn missing(bytes: u64) -> String {
    let bytes = match bytes {
        1 => "1 byte is".into(),
        bytes => format!("{} bytes are", grouped(bytes)),
    };
    format!("{bytes} missing: the download is not complete")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_numbers_are_grouped() {
        assert_eq!(
            [0, 999, 1_000, 1_234_567].map(grouped),
            ["0", "999", "1,000", "1,234,567"]
        );
        assert!(
            missing(1_000).starts_with("1,000 bytes are missing")
                && missing(1).starts_with("1 byte is")
        );
    }
}
