//! One answer, token by token. One timer for each answer and one write for each token: what the server reads are single
//! events, as from a model.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};

use super::Order;
use super::serve::{Mark, Model};
use super::text::{self, Token};

const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n";
/// What is said at once is written in pieces of this size.
const PIECE: usize = 64 * 1_024;

/// Counts an answer for as long as it is told.
struct Counted<'a>(&'a AtomicU64);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

pub(super) async fn say(
    model: &Model,
    stream: &mut TcpStream,
    order: Order,
    asked: std::time::Instant,
) -> io::Result<()> {
    model.live.fetch_add(1, Ordering::Relaxed);
    let _live = Counted(&model.live);
    let mut head = HEAD.to_vec();
    head.extend(text::chunk(
        &json!({"role": "assistant", "content": ""}),
        None,
    ));
    if order.waits_at_gate {
        stream.write_all(&head).await?;
        head.clear();
        model.pace.until_open().await;
    }
    if !order.first.is_zero() {
        sleep_until(Instant::from_std(asked) + order.first).await;
    }
    if order.mark != 0 {
        let (number, first) = (order.mark, std::time::Instant::now());
        model.note(Mark {
            number,
            asked,
            first,
        });
    }
    match order.tokens_per_second {
        0 => say_at_once(model, stream, head, order).await?,
        rate => {
            stream.write_all(&head).await?;
            say_in_time(model, stream, order, Duration::from_secs(1) / rate).await?;
        }
    }
    if order.holds {
        return until_gone(stream).await;
    }
    stream.write_all(&text::end(order.tokens)).await
}

async fn say_at_once(
    model: &Model,
    stream: &mut TcpStream,
    mut piece: Vec<u8>,
    order: Order,
) -> io::Result<()> {
    for token in text::answer(order.seed).take(order.tokens as usize) {
        piece.extend_from_slice(&token.chunk);
        count(model, token);
        if piece.len() >= PIECE {
            stream.write_all(&piece).await?;
            piece.clear();
        }
    }
    stream.write_all(&piece).await
}

async fn say_in_time(
    model: &Model,
    stream: &mut TcpStream,
    order: Order,
    pause: Duration,
) -> io::Result<()> {
    let mut due = spread(pause, order.seed);
    for token in text::answer(order.seed).take(order.tokens as usize) {
        sleep_until(due).await;
        if model.pace.is_paused() {
            model.pace.until_going_on().await;
            due = spread(pause, order.seed);
            sleep_until(due).await;
        }
        stream.write_all(&token.chunk).await?;
        count(model, token);
        due += pause;
    }
    Ok(())
}

/// Answers that begin at the same moment are not told in step.
fn spread(pause: Duration, seed: u32) -> Instant {
    Instant::now() + pause * (seed.wrapping_mul(37) % 100) / 100
}

fn count(model: &Model, token: &Token) {
    model.tokens.fetch_add(1, Ordering::Relaxed);
    model
        .bytes
        .fetch_add(token.text.len() as u64, Ordering::Relaxed);
}

async fn until_gone(stream: &mut TcpStream) -> io::Result<()> {
    let mut nothing = [0; 16];
    while stream.read(&mut nothing).await? > 0 {}
    Err(io::ErrorKind::ConnectionReset.into())
}
