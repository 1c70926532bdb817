//! One of an answer's two texts in memory: what has been said so far, and how much of that the
//! database has.

/// A text that only grows.
#[derive(Default)]
pub(super) struct Track {
    pub so_far: String,
    /// Bytes that are in the database.
    pub flushed: usize,
    /// Where the chunk ends that was written and not confirmed. The next flush writes exactly it
    /// again, so that a chunk that is there twice is there twice alike.
    pub tried: Option<usize>,
    /// What was said while the text was being held still.
    pub held: String,
}

impl Track {
    pub fn len(&self) -> usize {
        self.so_far.len() + self.held.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn append(&mut self, piece: &str, is_held: bool) {
        if is_held {
            self.held.push_str(piece);
        } else {
            self.so_far.push_str(piece);
        }
    }

    /// What was held back belongs to the text now.
    pub fn let_go(&mut self) {
        let held = std::mem::take(&mut self.held);
        self.so_far.push_str(&held);
    }

    /// The places of what the database does not have: what was tried and not confirmed once more
    /// as it was, and the rest.
    pub fn unflushed(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let whole = self.so_far.len();
        let middle = self.tried.unwrap_or(whole);
        let pieces = [(self.flushed, middle), (middle, whole)];
        pieces.into_iter().filter(|(start, end)| start < end)
    }

    /// The place of the chunk that the next flush writes.
    pub fn next_chunk(&mut self) -> Option<(usize, usize)> {
        let whole = self.so_far.len();
        if self.flushed == whole {
            return None;
        }
        Some((self.flushed, *self.tried.get_or_insert(whole)))
    }

    pub fn mark_flushed(&mut self, bytes: usize) {
        self.flushed += bytes;
        self.tried = None;
    }
}
