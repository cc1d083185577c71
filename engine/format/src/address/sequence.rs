//! The n-gram history of one request.

use super::scheme::{BoundaryRule, MAX_ORDER, Scheme};

/// The token id that marks a position which never reads rows of its own, such as an image token.
///
/// Its n-grams are all fill, and later n-grams reach neither it nor anything before it.
pub const DEAD: u32 = u32::MAX;

/// The hashed ids of one request so far, from which the next windows are taken.
///
/// It holds four bytes a token, so a request can be cut back to any length. Cloning forks it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sequence {
    pub(super) ids: Vec<u32>,
}

impl Sequence {
    /// An empty history.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty history with memory for `tokens` tokens.
    pub fn with_capacity(tokens: usize) -> Self {
        Self {
            ids: Vec::with_capacity(tokens),
        }
    }

    /// Number of tokens so far, dead positions included.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether no token has been added.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Drops all but the first `len` tokens, for example rejected speculative ones. Does nothing if the sequence is not
    /// longer.
    pub fn truncate(&mut self, len: usize) {
        self.ids.truncate(len);
    }

    /// A copy that grows independently from here on. Copies four bytes a token.
    #[must_use]
    pub fn fork(&self) -> Self {
        self.clone()
    }

    /// The window with which the next token is hashed.
    pub(super) fn window(&self, scheme: &Scheme) -> Window {
        let mut window = Window::new(scheme);
        let reach = self.ids.len().saturating_sub(scheme.max_order as usize - 1);
        for &id in &self.ids[reach..] {
            window.push(id, scheme);
        }
        window
    }
}

/// The newest hashed ids, newest first, with fill in place of those that no n-gram may reach.
///
/// A dead position, a boundary or the start of the history hides everything before it. So when one is met the whole
/// window is filled anew, and nothing about it has to be remembered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    ids: [u32; MAX_ORDER],
    /// Whether the newest id ends the history, so that the next window does not reach it.
    closed: bool,
}

impl Window {
    pub(super) fn new(scheme: &Scheme) -> Self {
        Self {
            ids: [scheme.fill; MAX_ORDER],
            closed: false,
        }
    }

    /// Moves on by one token and returns the window of that token.
    #[inline]
    pub(super) fn push(&mut self, id: u32, scheme: &Scheme) -> &[u32; MAX_ORDER] {
        let ends = scheme
            .boundary
            .as_ref()
            .filter(|boundary| boundary.tokens.contains(&id))
            .map(|boundary| boundary.rule);
        if id == DEAD || ends == Some(BoundaryRule::Dead) {
            *self = Self::new(scheme);
            return &self.ids;
        }
        if self.closed {
            *self = Self::new(scheme);
        }
        self.ids.copy_within(..MAX_ORDER - 1, 1);
        self.ids[0] = id;
        self.closed = ends.is_some();
        &self.ids
    }
}
