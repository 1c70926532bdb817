//! HTTP/2 without TLS, with one request at a time: frames are prepared once, of an answer only its status and its end are
//! looked at. RFC 9113, and RFC 7541 for the few headers that are sent.

use std::io;

/// Frames and flags, by their numbers.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

const FRAME_HEAD: usize = 9;
/// A setting: how much of an answer may come unasked. As much as there can be, as for all answers together.
const INITIAL_WINDOW_SIZE: [u8; 6] = [0, 4, 0x7f, 0xff, 0xff, 0xff];
const WINDOW: u32 = (1 << 31) - 1 - 65_535;

/// What one connection knows.
#[derive(Debug)]
pub struct Http2 {
    next_stream: u32,
    status: u16,
}

impl Default for Http2 {
    fn default() -> Self {
        Self {
            next_stream: 1,
            status: 0,
        }
    }
}

/// What has been found in the bytes that came.
#[derive(Debug, PartialEq, Eq)]
pub struct Found {
    /// Of an answer that is complete.
    pub status: Option<u16>,
    /// Bytes of whole frames, which need not be kept.
    pub taken: usize,
    /// What has to be said back.
    pub reply: Vec<u8>,
}

/// What a client says first.
pub fn preface() -> Vec<u8> {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(SETTINGS, 0, &INITIAL_WINDOW_SIZE));
    bytes.extend(frame(WINDOW_UPDATE, 0, &WINDOW.to_be_bytes()));
    bytes
}

/// A GET without its stream's number.
pub fn get(path: &str) -> Vec<u8> {
    // `:method: GET`, `:scheme: http`, and two whose names stand in the static table, with texts as they are.
    let mut block = vec![0x82, 0x86];
    for (name, value) in [(4, path), (1, "127.0.0.1")] {
        block.push(name);
        string(&mut block, value);
    }
    frame(HEADERS, END_STREAM | END_HEADERS, &block)
}

/// Its length, in seven bits and more bytes if it needs them (RFC 7541, 5.1), and the text.
fn string(block: &mut Vec<u8>, text: &str) {
    let mut length = text.len();
    if length < 127 {
        block.push(length.to_le_bytes()[0]);
    } else {
        block.push(127);
        length -= 127;
        while length >= 128 {
            block.push(128 | length.to_le_bytes()[0]);
            length >>= 7;
        }
        block.push(length.to_le_bytes()[0]);
    }
    block.extend(text.as_bytes());
}

fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let length = payload.len().to_be_bytes();
    let mut bytes = length[length.len() - 3..].to_vec();
    bytes.extend([kind, flags, 0, 0, 0, 0]);
    bytes.extend(payload);
    bytes
}

impl Http2 {
    /// Gives a prepared request the number of the next stream.
    pub fn number(&mut self, request: &mut [u8]) {
        request[5..FRAME_HEAD].copy_from_slice(&self.next_stream.to_be_bytes());
        self.next_stream += 2;
    }

    /// Goes through the whole frames that have come.
    pub fn take(&mut self, bytes: &[u8]) -> io::Result<Found> {
        let mut found = Found {
            status: None,
            taken: 0,
            reply: Vec::new(),
        };
        loop {
            let rest = &bytes[found.taken..];
            let Some(head) = rest.first_chunk::<FRAME_HEAD>() else {
                return Ok(found);
            };
            let [l0, l1, l2, kind, flags, ..] = *head;
            let length = usize::try_from(u32::from_be_bytes([0, l0, l1, l2])).unwrap_or(usize::MAX);
            let Some(payload) = rest[FRAME_HEAD..].get(..length) else {
                return Ok(found);
            };
            found.taken += FRAME_HEAD + length;
            match kind {
                HEADERS => self.status = status(payload),
                SETTINGS if flags & ACK == 0 => found.reply.extend(frame(SETTINGS, ACK, &[])),
                PING if flags & ACK == 0 => found.reply.extend(frame(PING, ACK, payload)),
                RST_STREAM | GOAWAY => return Err(io::ErrorKind::ConnectionReset.into()),
                _ => {}
            }
            if matches!(kind, HEADERS | DATA) && flags & END_STREAM != 0 {
                found.status = Some(self.status);
            }
        }
    }
}

/// The first header, where it is one of the static table's. Pollen's polls have no other.
fn status(block: &[u8]) -> u16 {
    match block.first() {
        Some(0x88) => 200,
        Some(0x89) => 204,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_ends_with_the_frame_that_says_so() {
        let mut connection = Http2::default();
        let mut bytes = frame(SETTINGS, 0, &[]);
        bytes.extend(frame(HEADERS, END_HEADERS, &[0x88, 0x5f]));
        let found = connection.take(&bytes).unwrap();
        assert_eq!((found.status, found.taken), (None, bytes.len()));
        assert_eq!(found.reply, frame(SETTINGS, ACK, &[]));
        let data = frame(DATA, END_STREAM, b"{}");
        assert_eq!(connection.take(&data[..10]).unwrap().taken, 0);
        assert_eq!(connection.take(&data).unwrap().status, Some(200));
    }

    #[test]
    fn streams_are_numbered_as_a_client_numbers_them() {
        let (mut connection, mut request) = (Http2::default(), get("/a"));
        connection.number(&mut request);
        connection.number(&mut request);
        assert_eq!(request[5..9], [0, 0, 0, 3]);
    }

    #[test]
    fn long_texts_say_their_length_in_more_bytes() {
        let mut block = Vec::new();
        string(&mut block, &"x".repeat(300));
        assert_eq!(block[..3], [127, 173, 1]);
        assert_eq!(block.len(), 303);
    }
}
