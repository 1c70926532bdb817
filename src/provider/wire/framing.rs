//! Where one piece of an answer ends and the next begins, and lines that come in time.

use std::io;
use std::time::Duration;

use futures::{Stream, StreamExt, TryStreamExt};
use reqwest::Response;
use tokio::time::{Instant, timeout_at};
use tokio_util::codec::{FramedRead, LinesCodec, LinesCodecError};
use tokio_util::io::StreamReader;

use super::settings::TimeLimits;
use super::sse;

/// The longest line that a server may send, and the longest event, in bytes.
pub(super) const MAX_LINE_BYTES: usize = 1 << 20;
/// The longest body that is read where no stream came.
const MAX_BODY_BYTES: usize = 16 << 20;

/// How pieces are told from each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::provider) enum Framing {
    /// Server-sent events.
    Events,
    /// A JSON object a line.
    Lines,
}

/// Puts lines together to pieces.
pub(super) enum Assembler {
    Events(sse::Assembler),
    Lines,
}

impl Assembler {
    pub fn new(framing: Framing) -> Self {
        match framing {
            Framing::Events => Self::Events(sse::Assembler::default()),
            Framing::Lines => Self::Lines,
        }
    }

    /// Takes the next line, without its end. The piece that it completes, if it does.
    pub fn line(&mut self, line: &str) -> Option<String> {
        match self {
            Self::Events(events) => events.line(line),
            Self::Lines => {
                let line = line.trim_start_matches('\u{FEFF}').trim();
                (!line.is_empty()).then(|| line.to_owned())
            }
        }
    }

    /// The stream has ended. A piece that its server forgot to close counts.
    pub fn end(&mut self) -> Option<String> {
        match self {
            Self::Events(events) => events.end(),
            Self::Lines => None,
        }
    }

    /// Bytes of the piece that is being put together.
    pub fn len(&self) -> usize {
        match self {
            Self::Events(events) => events.len(),
            Self::Lines => 0,
        }
    }
}

/// Nothing came for this long.
#[derive(Debug, thiserror::Error)]
#[error("nothing came for {0:?}")]
pub(super) struct Stalled(pub Duration);

/// The body as lines, each piece of it read under its time limit: the first one by `first_byte`.
/// The time in which nobody asks for a line does not count.
pub(super) fn lines(
    response: Response,
    first_byte: Instant,
    limits: TimeLimits,
) -> impl Stream<Item = Result<String, LinesCodecError>> + Unpin + Send {
    let bytes = response.bytes_stream().map_err(io::Error::other);
    let timed = futures::stream::unfold(
        (Box::pin(bytes), Some(first_byte)),
        move |(mut bytes, first_byte)| async move {
            let (end, limit) = match first_byte {
                Some(end) => (end, limits.first_byte),
                None => (Instant::now() + limits.stall, limits.stall),
            };
            let item = match timeout_at(end, bytes.next()).await {
                Ok(item) => item?,
                Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, Stalled(limit))),
            };
            Some((item, (bytes, None)))
        },
    );
    FramedRead::new(StreamReader::new(Box::pin(timed)), codec())
}

/// What cuts a body into lines, of UTF-8 and no longer than a server may send.
pub(super) fn codec() -> LinesCodec {
    LinesCodec::new_with_max_length(MAX_LINE_BYTES)
}

/// A body that is no stream, up to the length that is read of one.
pub(super) async fn read_body(response: Response) -> Result<Vec<u8>, reqwest::Error> {
    let mut body = Vec::new();
    let mut bytes = response.bytes_stream();
    while let Some(piece) = bytes.next().await {
        body.extend_from_slice(&piece?);
        if body.len() > MAX_BODY_BYTES {
            break;
        }
    }
    Ok(body)
}
