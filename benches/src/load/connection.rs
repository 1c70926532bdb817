//! One keep-alive connection with at most one request under way.

use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Registry, Token};

use super::http2::{self, Http2};
use crate::http;

/// What a read asks for at most. Answers are far smaller: one read is enough, and the buffer is shared.
pub const BUFFER_BYTES: usize = 256 * 1_024;

/// Connections that are opened before the next ones are.
const AT_ONCE: usize = 256;
const PATIENCE: Duration = Duration::from_secs(20);

pub struct Connection {
    stream: TcpStream,
    /// None: it speaks HTTP/1.1.
    http2: Option<Http2>,
    /// What has come of an answer that is not complete yet.
    partial: Vec<u8>,
}

/// What is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Http1,
    /// Without TLS, and without asking: both sides know it.
    Http2,
}

/// An answer, in the buffer it was read into.
pub struct Answer<'a> {
    pub status: u16,
    pub body: &'a [u8],
}

/// Where a connection goes, and what it asks first.
pub struct First<'a> {
    pub address: SocketAddr,
    pub protocol: Protocol,
    pub request: &'a [u8],
}

/// Opens so many, some at a time, and has each ask once: who connects and asks for nothing is let go of after a while,
/// and many connections take theirs.
pub fn open_all<'a>(
    poll: &mut Poll,
    count: usize,
    first: impl Fn(usize) -> First<'a>,
) -> Result<Vec<Connection>> {
    let mut connections = Vec::with_capacity(count);
    let mut events = Events::with_capacity(AT_ONCE);
    let mut buffer = vec![0; BUFFER_BYTES];
    while connections.len() < count {
        let mut under_way = 0;
        while connections.len() < count && under_way < AT_ONCE {
            let number = connections.len();
            let First {
                address,
                protocol,
                request,
            } = first(number);
            let mut connection = Connection::open(address, protocol, poll.registry(), number)?;
            connection.ask(request)?;
            connections.push(connection);
            under_way += 1;
        }
        while under_way > 0 {
            poll.poll(&mut events, Some(PATIENCE))?;
            ensure!(!events.is_empty(), "the first polls were not answered");
            for event in &events {
                let answer = connections[event.token().0].read(&mut buffer)?;
                under_way -= usize::from(answer.is_some());
            }
        }
    }
    Ok(connections)
}

impl Connection {
    fn open(
        address: SocketAddr,
        protocol: Protocol,
        registry: &Registry,
        token: usize,
    ) -> Result<Self> {
        let mut stream = std::net::TcpStream::connect(address)
            .with_context(|| format!("connection {token} to {address}"))?;
        stream.set_nodelay(true)?;
        let http2 = match protocol {
            Protocol::Http1 => None,
            Protocol::Http2 => {
                stream.write_all(&http2::preface())?;
                Some(Http2::default())
            }
        };
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        registry.register(&mut stream, Token(token), Interest::READABLE)?;
        Ok(Self {
            stream,
            http2,
            partial: Vec::new(),
        })
    }

    /// Requests are far smaller than what a socket takes at once.
    pub fn ask(&mut self, request: &[u8]) -> io::Result<()> {
        let Some(http2) = &mut self.http2 else {
            return self.write(request);
        };
        let mut request = request.to_vec();
        http2.number(&mut request);
        self.write(&request)
    }

    fn write(&mut self, request: &[u8]) -> io::Result<()> {
        match self.stream.write(request)? {
            written if written == request.len() => Ok(()),
            _ => Err(io::ErrorKind::WriteZero.into()),
        }
    }

    /// None: the answer is not complete yet. What is told of by an edge has to be read to its end; a read that does
    /// not fill the buffer has been.
    pub fn read<'a>(&'a mut self, buffer: &'a mut [u8]) -> io::Result<Option<Answer<'a>>> {
        loop {
            let read = match self.stream.read(buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(error),
            };
            if self.http2.is_some() {
                match self.take_frames(&buffer[..read])? {
                    Some(status) => return Ok(Some(Answer { status, body: &[] })),
                    None => continue,
                }
            }
            if self.partial.is_empty()
                && let Some(frame) = http::frame(&buffer[..read])
                && frame.end == read
            {
                return Ok(Some(Answer {
                    status: frame.status,
                    body: &buffer[frame.head..frame.end],
                }));
            }
            self.partial.extend_from_slice(&buffer[..read]);
            let Some(frame) = http::frame(&self.partial) else {
                continue;
            };
            if frame.end <= self.partial.len() {
                buffer[..frame.end].copy_from_slice(&self.partial[..frame.end]);
                self.partial.clear();
                return Ok(Some(Answer {
                    status: frame.status,
                    body: &buffer[frame.head..frame.end],
                }));
            }
        }
    }

    /// The status, if an answer is complete.
    fn take_frames(&mut self, bytes: &[u8]) -> io::Result<Option<u16>> {
        let Some(http2) = &mut self.http2 else {
            return Ok(None);
        };
        self.partial.extend_from_slice(bytes);
        let found = http2.take(&self.partial)?;
        self.partial.drain(..found.taken);
        if !found.reply.is_empty() {
            self.write(&found.reply)?;
        }
        Ok(found.status)
    }
}
