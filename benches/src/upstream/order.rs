//! What a user's message orders of the model. It stands in the message itself, so that one model serves all cases and
//! the server in between carries it as it carries any text.

use std::fmt;
use std::time::Duration;

use memchr::memmem;

/// Words no other text has.
const MARK: &[u8] = b"bench-order ";

/// One answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    pub tokens: u32,
    /// 0: all of them at once.
    pub tokens_per_second: u32,
    /// Until the first token.
    pub first: Duration,
    /// After the last token it says nothing more and keeps the stream open.
    pub holds: bool,
    /// The first token waits until the gate is opened.
    pub waits_at_gate: bool,
    /// Where in the model's text the answer begins.
    pub seed: u32,
    /// What the model notes the answer's times under. 0: it does not.
    pub mark: u32,
}

impl Order {
    /// So many tokens at once.
    pub fn of(tokens: u32) -> Self {
        Self {
            tokens,
            tokens_per_second: 0,
            first: Duration::ZERO,
            holds: false,
            waits_at_gate: false,
            seed: 0,
            mark: 0,
        }
    }

    /// The last one in a request's body: those before are earlier messages.
    pub fn find(body: &[u8]) -> Option<Self> {
        let at = memmem::rfind(body, MARK)? + MARK.len();
        let rest = &body[at..];
        let end = memchr::memchr(b'"', rest)?;
        let mut numbers = std::str::from_utf8(&rest[..end])
            .ok()?
            .split_whitespace()
            .map_while(|word| word.parse::<u32>().ok());
        let mut next = || numbers.next();
        Some(Self {
            tokens: next()?,
            tokens_per_second: next()?,
            first: Duration::from_millis(next()?.into()),
            holds: next()? == 1,
            waits_at_gate: next()? == 1,
            seed: next()?,
            mark: next()?,
        })
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let words = [
            self.tokens,
            self.tokens_per_second,
            u32::try_from(self.first.as_millis()).unwrap_or(u32::MAX),
            self.holds.into(),
            self.waits_at_gate.into(),
            self.seed,
            self.mark,
        ];
        f.write_str("bench-order")?;
        words.iter().try_for_each(|word| write!(f, " {word}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_comes_out_of_a_body_as_it_went_in() {
        let order = Order {
            tokens: 500,
            tokens_per_second: 50,
            first: Duration::from_millis(20),
            holds: true,
            waits_at_gate: true,
            seed: 7,
            mark: 9,
        };
        let earlier = Order::of(1);
        let body = format!(
            r#"{{"messages":[{{"content":"{earlier}"}},{{"content":"{order}"}}],"stream":true}}"#
        );
        assert_eq!(Order::find(body.as_bytes()), Some(order));
        assert_eq!(Order::find(b"{}"), None);
    }
}
