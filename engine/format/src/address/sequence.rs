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

    /// An empty history that takes `tokens` tokens before it allocates again.
    pub fn with_capacity(tokens: usize) -> Self {
        Self {
            ids: Vec::with_capacity(tokens),
        }
    }

    /// Tokens so far.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether no token has been added.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Forgets all but the first `len` tokens, such as rejected speculative ones. No effect when the
    /// sequence is not longer.
    pub fn truncate(&mut self, len: usize) {
        self.ids.truncate(len);
    }

    /// An equal history that goes its own way from here. Copies four bytes a token.
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

/// The newest hashed ids, newest first, with everything out of reach replaced by fill.
///
/// Blocking is sticky: past a dead position, a boundary or the start, every older place is fill. So
/// such an event simply refills the history, and no marks need to be kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    places: [u32; MAX_ORDER],
    /// Set when the newest id must not be seen by the next window.
    closed: bool,
}

impl Window {
    fn new(scheme: &Scheme) -> Self {
        Self {
            places: [scheme.fill; MAX_ORDER],
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
            return &self.places;
        }
        if self.closed {
            *self = Self::new(scheme);
        }
        self.places.copy_within(..MAX_ORDER - 1, 1);
        self.places[0] = id;
        self.closed = ends.is_some();
        &self.places
    }
}
