//! For the fuzz targets: an answer out of bytes, by all that stands between a connection and the
//! events, without the connection.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use secrecy::SecretString;

use super::format::Asked;
use super::framing::{Assembler, Cutter};
use super::remote::{DONE, Server};
use super::{Framing, ProviderSettings, TimeLimits, WireFormat, remote};
use crate::provider::{Event, ProviderError};

/// The key of the server. Seeds quote it, so that it is seen when it gets into an error.
const KEY: &str = "sk-fuzz-0123456789";
const MODEL: &str = "fuzz-model";
/// More tokens than any answer has.
const MANY_TOKENS: i64 = 1 << 40;
const LIMIT: Duration = Duration::from_secs(1);

const FORMATS: [WireFormat; 5] = [
    WireFormat::OpenAi,
    WireFormat::OpenAiResponses,
    WireFormat::Anthropic,
    WireFormat::Gemini,
    WireFormat::Ollama,
];

static SERVERS: LazyLock<Vec<(WireFormat, Arc<Server>)>> = LazyLock::new(|| {
    let server = |format| Some((format, remote(settings(format)).ok()?.server));
    FORMATS.into_iter().filter_map(server).collect()
});

fn settings(format: WireFormat) -> ProviderSettings {
    ProviderSettings {
        name: "fuzz".to_owned(),
        format,
        base_url: "http://127.0.0.1:9".to_owned(),
        api_key: Some(SecretString::from(KEY)),
        key_header: None,
        headers: Vec::new(),
        query: Vec::new(),
        send_reasoning: false,
        limits: TimeLimits {
            connect: LIMIT,
            first_byte: LIMIT,
            stall: LIMIT,
            total: None,
        },
        proxy: None,
        ca_certificate: None,
    }
}

/// The pieces do not depend on where the packets end: the first byte says how long they are.
pub(in crate::provider) fn framing_alone(framing: Framing, data: &[u8]) {
    let [length, data @ ..] = data else { return };
    let packets = pieces(framing, data.chunks(usize::from(*length).max(1)));
    assert_eq!(packets, pieces(framing, [data]));
}

/// The pieces of a body, up to the first line that is none.
fn pieces<'a>(framing: Framing, packets: impl IntoIterator<Item = &'a [u8]>) -> Vec<String> {
    let (mut cutter, mut assembler) = (Cutter::default(), Assembler::new(framing));
    let mut pieces = Vec::new();
    for packet in packets {
        cutter.push(packet);
        loop {
            match cutter.line() {
                Ok(Some(line)) if assembler.line(line) => pieces.push(assembler.piece().to_owned()),
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(_) => return pieces,
            }
        }
    }
    if let Ok(Some(line)) = cutter.last()
        && assembler.line(line)
    {
        pieces.push(assembler.piece().to_owned());
    }
    if assembler.end() {
        pieces.push(assembler.piece().to_owned());
    }
    pieces
}

/// Reads the bytes as an answer that streams, as one that does not, and as a list of models.
pub(in crate::provider) fn answer(format: WireFormat, data: &[u8]) {
    let server = SERVERS.iter().find(|(known, _)| *known == format);
    assert!(server.is_some(), "{format:?} has no server");
    let Some((_, server)) = server else { return };
    streamed(server, data);
    let (mut parser, mut events) = (server.format.parser(), Vec::new());
    let asked = Asked::AnswerOf(MODEL);
    let read = server.read_whole(asked, data, &mut *parser, &mut events);
    told(&events, read);
    told(&[], server.read_listing(data).map(|_| ()));
}

fn streamed(server: &Server, data: &[u8]) {
    let (mut parser, mut events) = (server.format.parser(), Vec::new());
    for piece in pieces(server.format.framing(), [data]) {
        if piece == DONE {
            return;
        }
        let asked = Asked::AnswerOf(MODEL);
        let read = server.read(asked, &piece, &mut *parser, &mut events);
        let is_over = !matches!(&read, Ok(flow) if flow.is_continue());
        told(&events, read.map(|_| ()));
        if is_over {
            return;
        }
    }
}

/// What came is what somebody can count with, and what went wrong does not tell the key.
fn told(events: &[Event], read: Result<(), ProviderError>) {
    for event in events {
        if let Event::Usage(usage) = event {
            let counts = [
                usage.input_tokens,
                usage.output_tokens,
                usage.reasoning_tokens,
                usage.cached_tokens,
            ];
            let mut counts = counts.into_iter().flatten();
            assert!(
                counts.all(|count| (0..MANY_TOKENS).contains(&count)),
                "{usage:?}"
            );
        }
    }
    if let Err(error) = read {
        assert!(!error.to_string().contains(KEY), "{error}");
    }
}
