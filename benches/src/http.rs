//! As much of HTTP/1.1 as is needed to ask and to understand the answer: requests are prepared once, of an answer only
//! status and length are looked at. A client library would cost more than the server that is measured.

use std::sync::LazyLock;

use memchr::memmem::Finder;

static HEAD_END: LazyLock<Finder> = LazyLock::new(|| Finder::new("\r\n\r\n"));
static LENGTH: LazyLock<Finder> = LazyLock::new(|| Finder::new("\r\ncontent-length: "));

/// A GET, ready to be written.
pub fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n").into_bytes()
}

/// A GET as the page's script makes it.
pub fn get_fragment(path: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nhx-request: true\r\naccept: text/html\r\n\r\n"
    )
    .into_bytes()
}

/// A POST of JSON.
pub fn post(path: &str, body: &serde_json::Value) -> Vec<u8> {
    let body = body.to_string();
    format!(
        "POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// Where an answer, or a request, has its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Of an answer; of a request nothing that means anything.
    pub status: u16,
    /// Bytes before the body.
    pub head: usize,
    /// Bytes of all of it.
    pub end: usize,
}

/// None while the head is not complete. Hyper, which both servers that are measured are built on, writes the names
/// of headers in small letters, and Pollen's answers all have a length or no body (P8).
pub fn frame(bytes: &[u8]) -> Option<Frame> {
    let head = HEAD_END.find(bytes)?;
    let length = match LENGTH.find(&bytes[..head]) {
        Some(at) => decimal(&bytes[at + LENGTH.needle().len()..head]),
        None => 0,
    };
    let head = head + HEAD_END.needle().len();
    let status = bytes
        .get(9..12)
        .map_or(0, |code| u16::try_from(decimal(code)).unwrap_or(0));
    Some(Frame {
        status,
        head,
        end: head + length,
    })
}

/// The digits at the beginning, as a number.
fn decimal(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .fold(0, |number, digit| number * 10 + usize::from(*digit - b'0'))
}

/// The number behind the last `"name":`; what a text holds has its quotes escaped, so it is never mistaken for one.
pub fn last_number(body: &[u8], name: &Finder) -> Option<u64> {
    let at = memchr::memmem::rfind(body, name.needle())? + name.needle().len();
    u64::try_from(decimal(&body[at..])).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_found_as_soon_as_its_head_is_there() {
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\ndate: x\r\n\r\nbody";
        let frame_of = frame(answer).unwrap();
        assert_eq!((frame_of.status, frame_of.end), (200, answer.len()));
        assert_eq!(&answer[frame_of.head..frame_of.end], b"body");
        assert_eq!(frame(&answer[..40]), None);
    }

    #[test]
    fn an_answer_without_a_body_ends_with_its_head() {
        let answer = b"HTTP/1.1 204 No Content\r\ndate: x\r\n\r\n";
        let frame = frame(answer).unwrap();
        assert_eq!(
            (frame.status, frame.head, frame.end),
            (204, answer.len(), answer.len())
        );
    }

    #[test]
    fn the_last_number_of_a_name_counts() {
        let name = Finder::new("\"position\":");
        let body = br#"{"tokens":"\"position\":1","position":7,"poll_after_ms":300}"#;
        assert_eq!(last_number(body, &name), Some(7));
        assert_eq!(last_number(b"{}", &name), None);
    }
}
