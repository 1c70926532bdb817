//! Where one piece of an answer ends and the next begins, and lines that come in time.
//!
//! All of it is done once for each token of each answer: nothing here is allocated for a line.

use std::ops::Range;
use std::pin::Pin;
use std::str::Utf8Error;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::BoxStream;
use reqwest::Response;
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::bytes::Bytes;

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

/// What is kept of the room for a line, for the next one.
const KEPT_BYTES: usize = 4 << 10;

/// Puts lines together to pieces.
pub(super) enum Assembler {
    Events(sse::Assembler),
    /// The last line.
    Lines(String),
}

impl Assembler {
    pub fn new(framing: Framing) -> Self {
        match framing {
            Framing::Events => Self::Events(sse::Assembler::default()),
            Framing::Lines => Self::Lines(String::new()),
        }
    }

    /// Takes the next line, without its end. Whether it completes a piece.
    pub fn line(&mut self, line: &str) -> bool {
        match self {
            Self::Events(events) => events.line(line),
            Self::Lines(last) => {
                last.clear();
                last.push_str(line.trim_start_matches('\u{FEFF}').trim());
                !last.is_empty()
            }
        }
    }

    /// The stream has ended. A piece that its server forgot to close counts. Whether there is one.
    pub fn end(&mut self) -> bool {
        match self {
            Self::Events(events) => events.end(),
            Self::Lines(_) => false,
        }
    }

    /// The piece that has just been completed.
    pub fn piece(&self) -> &str {
        match self {
            Self::Events(events) => events.data(),
            Self::Lines(last) => last,
        }
    }

    /// Bytes of the piece that is being put together.
    pub fn len(&self) -> usize {
        match self {
            Self::Events(events) => events.data().len(),
            Self::Lines(_) => 0,
        }
    }
}

/// Why there is no next line.
#[derive(Debug, thiserror::Error)]
pub(super) enum LineError {
    #[error("a line of more than {MAX_LINE_BYTES} bytes")]
    TooLong,
    #[error(transparent)]
    NotText(#[from] Utf8Error),
    /// Nothing came for this long.
    #[error("nothing came for {0:?}")]
    Stalled(Duration),
    #[error(transparent)]
    Network(#[from] reqwest::Error),
}

/// Cuts what comes in packets into lines of UTF-8, no longer than a server may send.
#[derive(Default)]
pub(super) struct Cutter {
    bytes: Vec<u8>,
    /// Where the bytes begin that are no line yet, and how far they are known to have no end of one.
    begin: usize,
    searched: usize,
}

impl Cutter {
    pub fn push(&mut self, packet: &[u8]) {
        self.bytes.drain(..self.begin);
        self.searched -= self.begin;
        self.begin = 0;
        if self.bytes.is_empty() {
            self.bytes.shrink_to(KEPT_BYTES);
        }
        self.bytes.extend_from_slice(packet);
    }

    /// The place of the next line that has ended, without its end.
    fn cut(&mut self) -> Result<Option<Range<usize>>, LineError> {
        let rest = &self.bytes[self.searched..];
        let end = rest.iter().position(|byte| *byte == b'\n');
        let length = end.map_or(self.bytes.len(), |end| self.searched + end) - self.begin;
        if length > MAX_LINE_BYTES {
            return Err(LineError::TooLong);
        }
        if end.is_none() {
            self.searched = self.bytes.len();
            return Ok(None);
        }
        let line = self.begin..self.begin + length;
        self.begin = line.end + 1;
        self.searched = self.begin;
        Ok(Some(line))
    }

    /// What stands there, if it is text.
    fn text(&self, line: Range<usize>) -> Result<&str, LineError> {
        let line = std::str::from_utf8(&self.bytes[line])?;
        Ok(line.strip_suffix('\r').unwrap_or(line))
    }

    /// The next line that has ended.
    #[cfg(feature = "fuzz")]
    pub fn line(&mut self) -> Result<Option<&str>, LineError> {
        match self.cut()? {
            Some(line) => self.text(line).map(Some),
            None => Ok(None),
        }
    }

    /// No more comes: what has no end is a line too.
    pub fn last(&mut self) -> Result<Option<&str>, LineError> {
        let line = self.begin..self.bytes.len();
        (self.begin, self.searched) = (line.end, line.end);
        let line = self.text(line)?;
        Ok((!line.is_empty()).then_some(line))
    }
}

/// The lines of a body, each piece of it read under its time limit.
pub(super) struct Lines {
    packets: BoxStream<'static, reqwest::Result<Bytes>>,
    cutter: Cutter,
    limits: TimeLimits,
    /// By when the first piece has to come; none once it has.
    first_byte: Option<Instant>,
    /// Moved on only when it has rung: of all timers that are set nearly none ever does.
    alarm: Pin<Box<Sleep>>,
    has_ended: bool,
}

impl Lines {
    /// The first piece has to come by `first_byte`.
    pub fn of(response: Response, first_byte: Instant, limits: TimeLimits) -> Self {
        Self {
            packets: response.bytes_stream().boxed(),
            cutter: Cutter::default(),
            limits,
            first_byte: Some(first_byte),
            alarm: Box::pin(sleep_until(first_byte)),
            has_ended: false,
        }
    }

    /// The next line. The time in which nobody asks for one does not count. What is dropped before it has
    /// ended costs nothing.
    pub async fn next(&mut self) -> Option<Result<&str, LineError>> {
        let line = loop {
            match self.cutter.cut() {
                Ok(Some(line)) => break line,
                Err(error) => return Some(Err(error)),
                Ok(None) if self.has_ended => return self.cutter.last().transpose(),
                Ok(None) => {}
            }
            match self.packet().await {
                Ok(Some(packet)) => self.cutter.push(&packet),
                Ok(None) => self.has_ended = true,
                Err(error) => return Some(Err(error)),
            }
        };
        Some(self.cutter.text(line))
    }

    async fn packet(&mut self) -> Result<Option<Bytes>, LineError> {
        let (by, limit) = match self.first_byte {
            Some(by) => (by, self.limits.first_byte),
            None => (Instant::now() + self.limits.stall, self.limits.stall),
        };
        loop {
            tokio::select! {
                biased;
                packet = self.packets.next() => {
                    self.first_byte = None;
                    return Ok(packet.transpose()?);
                }
                () = &mut self.alarm => {
                    if by <= Instant::now() {
                        return Err(LineError::Stalled(limit));
                    }
                    self.alarm.as_mut().reset(by);
                }
            }
        }
    }
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
