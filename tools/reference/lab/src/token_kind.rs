//! What kind of text a token is.

/// A kind of token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenKind {
    /// The beginning of a word in small letters, or of a script without capitals.
    WordStart,
    /// The beginning of a word with a capital: a name, or the first of a sentence.
    Capitalised,
    /// Any other part of a word.
    Continuation,
    Number,
    Punctuation,
    /// Nothing but spaces and line ends.
    Space,
    /// A part of a character.
    Fragment,
}

impl TokenKind {
    pub(crate) const ALL: [Self; 7] = [
        Self::WordStart,
        Self::Capitalised,
        Self::Continuation,
        Self::Number,
        Self::Punctuation,
        Self::Space,
        Self::Fragment,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::WordStart => "word start",
            Self::Capitalised => "capitalised",
            Self::Continuation => "rest of word",
            Self::Number => "number",
            Self::Punctuation => "punctuation",
            Self::Space => "space",
            Self::Fragment => "fragment",
        }
    }

    /// The kind of the token with this `text`, after one with the text `before`. The first letter or digit decides.
    pub(crate) fn of(text: &str, before: &str) -> Self {
        if text.contains(char::REPLACEMENT_CHARACTER) {
            return Self::Fragment;
        }
        if text.chars().all(char::is_whitespace) {
            return Self::Space;
        }
        let joined = before.ends_with(char::is_alphabetic);
        match text.chars().find(|c| c.is_alphanumeric()) {
            None => Self::Punctuation,
            Some(first) if first.is_numeric() => Self::Number,
            Some(_) if joined && !text.starts_with(char::is_whitespace) => Self::Continuation,
            Some(first) if first.is_uppercase() => Self::Capitalised,
            Some(_) => Self::WordStart,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_told_by_text_and_what_is_before() {
        for (before, text, kind) in [
            ("", " the", TokenKind::WordStart),
            (" the", " the", TokenKind::WordStart),
            ("\n", "the", TokenKind::WordStart),
            (" th", "e", TokenKind::Continuation),
            (" it", "'s", TokenKind::Continuation),
            (" Mc", "Donald", TokenKind::Continuation),
            (".", " London", TokenKind::Capitalised),
            ("(", "London", TokenKind::Capitalised),
            (" ", "\u{6d77}", TokenKind::WordStart),
            ("a", "1", TokenKind::Number),
            ("", " 19", TokenKind::Number),
            (" th", "...", TokenKind::Punctuation),
            ("", " (", TokenKind::Punctuation),
            (" th", "\n\n", TokenKind::Space),
            ("", "", TokenKind::Space),
            ("", "\u{fffd}", TokenKind::Fragment),
        ] {
            assert_eq!(
                TokenKind::of(text, before),
                kind,
                "{text:?} after {before:?}"
            );
        }
    }
}
