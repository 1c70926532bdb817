//! What a poll at a position gets: the rules P3 to P7 as one function without state.

use super::position::{Edition, Position};

/// The most text that one answer carries, in bytes of UTF-8 (P7). The client goes on from the
/// position returned.
pub const MAX_DELTA_BYTES: usize = 256 * 1024;

/// How much the reader of an edition's text knows about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Knowledge {
    /// This node writes the text, or the text is final: nobody can know more of it.
    Whole,
    /// This node follows another one's writing through the database, and may lag behind what a
    /// client has already read there.
    Following,
}

/// The text between two positions, or a whole text that replaces what the client has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delta {
    pub tokens: String,
    /// `true`: `tokens` goes behind what the client has. `false`: it replaces it.
    pub append: bool,
    /// Where the client goes on from.
    pub position: Position,
    /// The client now has all that is known of the text.
    pub at_end: bool,
}

/// What a client at `from` gets of `edition`, whose text (so far) is `text`: at most `limit` bytes.
#[must_use]
pub fn delta(
    from: Position,
    edition: Edition,
    text: &str,
    knowledge: Knowledge,
    limit: usize,
) -> Delta {
    let limit = limit.min(MAX_DELTA_BYTES);
    let fits = from.edition() == edition && text.is_char_boundary(from.offset());
    if fits {
        return slice(edition, text, from.offset(), limit, true);
    }
    let is_ahead = from > Position::new(edition, text.len());
    if is_ahead && knowledge == Knowledge::Following {
        // Lag, not an error: the client has seen more than this node.
        return Delta {
            tokens: String::new(),
            append: true,
            position: from,
            at_end: true,
        };
    }
    // An older edition, or a position that fits nothing, heals by the whole text (P5).
    slice(edition, text, 0, limit, false)
}

/// The beginning of a text, at most `limit` bytes of it, and where to go on from: what a message
/// shows of its text among others.
#[must_use]
pub fn opening(edition: Edition, text: &str, limit: usize) -> Delta {
    slice(edition, text, 0, limit.min(MAX_DELTA_BYTES), false)
}

fn slice(edition: Edition, text: &str, start: usize, limit: usize, append: bool) -> Delta {
    let end = text.floor_char_boundary(start.saturating_add(limit));
    Delta {
        tokens: text[start..end].to_owned(),
        append,
        position: Position::new(edition, end),
        at_end: end == text.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1;

    fn at(edition: i64, offset: usize) -> Position {
        Position::new(Edition::from_stored(edition), offset)
    }

    #[test]
    fn a_position_in_the_text_gets_what_follows() {
        let got = delta(
            at(0, 2),
            Edition::FIRST,
            "abcd",
            Knowledge::Whole,
            MAX_DELTA_BYTES,
        );
        assert_eq!((got.tokens.as_str(), got.append), ("cd", true));
        assert_eq!(got.position, at(0, 4));
    }

    #[test]
    fn a_position_of_an_older_edition_is_replaced() {
        let edition = Edition::from_stored(SECOND);
        let got = delta(at(0, 2), edition, "xy", Knowledge::Whole, MAX_DELTA_BYTES);
        assert_eq!((got.tokens.as_str(), got.append), ("xy", false));
        assert_eq!(got.position, at(SECOND, 2));
    }

    #[test]
    fn a_position_inside_a_character_heals() {
        let got = delta(
            at(0, 1),
            Edition::FIRST,
            "é!",
            Knowledge::Whole,
            MAX_DELTA_BYTES,
        );
        assert_eq!((got.tokens.as_str(), got.append), ("é!", false));
    }

    #[test]
    fn a_position_past_the_end_heals_where_the_text_is_known() {
        let got = delta(
            at(0, 9),
            Edition::FIRST,
            "ab",
            Knowledge::Whole,
            MAX_DELTA_BYTES,
        );
        assert_eq!((got.tokens.as_str(), got.append), ("ab", false));
    }

    #[test]
    fn a_position_past_the_end_is_lag_for_a_follower() {
        for ahead in [at(0, 9), at(SECOND, 0)] {
            let got = delta(
                ahead,
                Edition::FIRST,
                "ab",
                Knowledge::Following,
                MAX_DELTA_BYTES,
            );
            assert_eq!((got.tokens.as_str(), got.append), ("", true));
            assert_eq!(got.position, ahead);
        }
    }

    #[test]
    fn a_long_text_comes_in_pieces_that_never_split_a_character() {
        // One byte, then characters of three: the limit falls inside one of them.
        let text = format!("a{}", "€".repeat(200_000));
        let (mut have, mut position) = (String::new(), Position::START);
        loop {
            let got = delta(
                position,
                Edition::FIRST,
                &text,
                Knowledge::Whole,
                MAX_DELTA_BYTES,
            );
            assert!(got.tokens.len() <= MAX_DELTA_BYTES && got.append);
            have.push_str(&got.tokens);
            position = got.position;
            if got.at_end {
                break;
            }
        }
        assert_eq!(have, text);
    }
}
