//! What kind of text a token is.

/// A kind of token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
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

impl Kind {
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
            ("", " the", Kind::WordStart),
            (" the", " the", Kind::WordStart),
            ("\n", "the", Kind::WordStart),
            (" th", "e", Kind::Continuation),
            (" it", "'s", Kind::Continuation),
            (" Mc", "Donald", Kind::Continuation),
            (".", " London", Kind::Capitalised),
            ("(", "London", Kind::Capitalised),
            (" ", "\u{6d77}", Kind::WordStart),
            ("a", "1", Kind::Number),
            ("", " 19", Kind::Number),
            (" th", "...", Kind::Punctuation),
            ("", " (", Kind::Punctuation),
            (" th", "\n\n", Kind::Space),
            ("", "", Kind::Space),
            ("", "\u{fffd}", Kind::Fragment),
        ] {
            assert_eq!(Kind::of(text, before), kind, "{text:?} after {before:?}");
        }
    }
}
