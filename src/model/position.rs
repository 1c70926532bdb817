//! Positions: where in a message's ledgers a client has read to.
//!
//! A position is `edition · 2^32 + byte offset in that edition's text`. It needs no state of its
//! own: from the number alone any node knows whether the client holds the current edition, an
//! older one, or a newer one than the node has seen. For the first edition it is the plain offset.
//! A new edition's positions are larger than all of the editions before it, so the positions that
//! a message gives out never decrease (P2).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::ToSchema;

/// The largest integer that JavaScript holds exactly: 2^53 − 1.
pub const MAX_POSITION: u64 = (1 << 53) - 1;

const OFFSET_BITS: u32 = 32;
const MAX_OFFSET: u64 = (1 << OFFSET_BITS) - 1;

/// The n-th text (from 0) of one message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Edition(u32);

impl Edition {
    pub const FIRST: Self = Self(0);
    /// The last edition that a position can name: 2^21 − 1.
    pub const LAST: Self = Self((1 << 21) - 1);

    /// The edition that a database row holds; a number outside the range is taken as the nearest.
    #[must_use]
    pub fn from_stored(number: i64) -> Self {
        let last = Self::LAST.0;
        Self(u32::try_from(number.max(0)).map_or(last, |n| n.min(last)))
    }

    #[must_use]
    pub fn to_stored(self) -> i64 {
        i64::from(self.0)
    }

    /// The edition after this one. Past the last it stays: two million texts of one message do not happen.
    #[must_use]
    pub fn next(self) -> Self {
        Self((self.0 + 1).min(Self::LAST.0))
    }
}

/// Where a client has read to: 0 to 2^53 − 1 (P1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, ToSchema)]
#[schema(maximum = 9_007_199_254_740_991_u64)]
pub struct Position(u64);

/// The text is not an integer from 0 to 2^53 − 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a position is an integer from 0 to 9007199254740991")]
pub struct InvalidPosition;

impl Position {
    pub const START: Self = Self(0);

    /// The position after `offset` bytes of an edition's text. Offsets are held below 4 GiB, which
    /// the limit on an answer's length keeps far away.
    #[must_use]
    pub fn new(edition: Edition, offset: usize) -> Self {
        let offset = u64::try_from(offset).map_or(MAX_OFFSET, |bytes| bytes.min(MAX_OFFSET));
        Self((u64::from(edition.0) << OFFSET_BITS) | offset)
    }

    #[must_use]
    pub fn edition(self) -> Edition {
        Edition(u32::try_from(self.0 >> OFFSET_BITS).unwrap_or(Edition::LAST.0))
    }

    /// Bytes of UTF-8 into the edition's text.
    #[must_use]
    pub fn offset(self) -> usize {
        usize::try_from(self.0 & MAX_OFFSET).unwrap_or(usize::MAX)
    }

    /// The position so many bytes before this one, in the same edition; at most back to its start.
    #[must_use]
    pub fn back(self, bytes: usize) -> Self {
        Self::new(self.edition(), self.offset().saturating_sub(bytes))
    }

    #[must_use]
    pub fn get(self) -> u64 {
        self.0
    }
}

impl FromStr for Position {
    type Err = InvalidPosition;

    /// Digits only: `u64` would take `+5` too.
    fn from_str(text: &str) -> Result<Self, InvalidPosition> {
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(InvalidPosition);
        }
        match text.parse() {
            Ok(number) if number <= MAX_POSITION => Ok(Self(number)),
            _ => Err(InvalidPosition),
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<'de> Deserialize<'de> for Position {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u64::deserialize(deserializer)?;
        number.to_string().parse().map_err(serde::de::Error::custom)
    }
}

impl Serialize for Position {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}
