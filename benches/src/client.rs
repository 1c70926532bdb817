//! A client for what is not measured, or not measured for its own cost: one connection, one request at a time.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::http;

pub struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
}

impl Client {
    pub async fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: Vec::new(),
        })
    }

    pub async fn get(&mut self, path: &str) -> Result<Answer> {
        self.ask(&http::get(path)).await
    }

    pub async fn post(&mut self, path: &str, body: &Value) -> Result<Answer> {
        self.ask(&http::post(path, body)).await
    }

    /// A request that is ready to be written.
    pub async fn ask(&mut self, request: &[u8]) -> Result<Answer> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        loop {
            let frame = http::frame(&self.buffer).filter(|frame| frame.end <= self.buffer.len());
            if let Some(frame) = frame {
                return Ok(Answer {
                    status: frame.status,
                    body: self.buffer[frame.head..frame.end].to_vec(),
                });
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                bail!("the connection was closed before the answer");
            }
        }
    }
}

impl Answer {
    /// Fails if the status is another one.
    pub fn expect(self, status: u16) -> Result<Self> {
        if self.status != status {
            let body = String::from_utf8_lossy(&self.body);
            bail!("answered {} instead of {status}: {body}", self.status);
        }
        Ok(self)
    }

    pub fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body).context("not JSON")
    }
}
