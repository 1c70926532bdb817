//! Closed loop: so many connections, each of which asks again as soon as it is answered.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use mio::{Events, Poll};
use serde::Serialize;

use super::connection::{BUFFER_BYTES, Connection, First, Protocol, open_all};
use crate::procfs::Usage;
use crate::stats::{number, per};

/// Events that are taken from the system at once.
const EVENTS: usize = 1_024;
/// How long the last answers may take.
const DRAIN: Duration = Duration::from_secs(10);

/// Who is asked, and what.
#[derive(Clone, Debug)]
pub struct Target {
    pub address: SocketAddr,
    pub pid: u32,
    /// The core that is its own.
    pub core: Option<u32>,
    /// Ready to be written; one after the other, whichever connection is free.
    pub requests: Vec<Vec<u8>>,
    /// Of every answer.
    pub status: u16,
    pub protocol: Protocol,
}

/// Open connections. They stay open between runs.
pub struct Closed {
    poll: Poll,
    connections: Vec<Connection>,
    target: Target,
    /// Which request comes next.
    next: usize,
}

/// What one run gave.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Measured {
    pub requests_per_second: f64,
    /// Of the server's, all its threads together.
    pub cpu_us_per_request: f64,
    /// The share of its core, or of one core's time, that it had.
    pub busy: f64,
    /// The share of its core that others took: the machine was not quiet.
    pub disturbed: f64,
    pub errors: u64,
}

/// What a run has come to.
struct Count {
    answered: u64,
    errors: u64,
    under_way: usize,
}

impl Closed {
    pub fn connect(target: Target, connections: usize) -> Result<Self> {
        ensure!(!target.requests.is_empty(), "nothing to ask");
        let mut poll = Poll::new()?;
        let connections = open_all(&mut poll, connections, |number| First {
            address: target.address,
            protocol: target.protocol,
            request: &target.requests[number % target.requests.len()],
        })?;
        Ok(Self {
            poll,
            connections,
            target,
            next: 0,
        })
    }

    /// Asks, and counts what is answered within `time` after the warm-up.
    pub fn run(&mut self, warm_up: Duration, time: Duration) -> Result<Measured> {
        let mut events = Events::with_capacity(EVENTS);
        let mut buffer = vec![0; BUFFER_BYTES];
        let mut count = Count {
            answered: 0,
            errors: 0,
            under_way: self.connections.len(),
        };
        for number in 0..self.connections.len() {
            self.ask(number)?;
        }
        self.ask_until(
            Instant::now() + warm_up,
            &mut events,
            &mut buffer,
            &mut count,
        )?;
        (count.answered, count.errors) = (0, 0);
        let usage = Usage::begin(self.target.pid, self.target.core)?;
        let begin = Instant::now();
        self.ask_until(begin + time, &mut events, &mut buffer, &mut count)?;
        let (elapsed, used) = (begin.elapsed().as_secs_f64(), usage.end()?);
        let answered = number(count.answered);
        self.drain(&mut events, &mut buffer, &mut count)?;
        Ok(Measured {
            requests_per_second: per(answered, elapsed),
            cpu_us_per_request: per(used.own.as_secs_f64() * 1e6, answered),
            busy: used.own.as_secs_f64() / elapsed,
            disturbed: used.others.as_secs_f64() / elapsed,
            errors: count.errors,
        })
    }

    fn ask_until(
        &mut self,
        end: Instant,
        events: &mut Events,
        buffer: &mut [u8],
        count: &mut Count,
    ) -> Result<()> {
        loop {
            let now = Instant::now();
            if now >= end {
                return Ok(());
            }
            poll(&mut self.poll, events, end - now)?;
            for event in events.iter() {
                let number = event.token().0;
                let Some(answer) = self.connections[number].read(buffer)? else {
                    continue;
                };
                // A refusal is quickly made: it is no answer.
                if answer.status == self.target.status {
                    count.answered += 1;
                } else {
                    count.errors += 1;
                }
                self.ask(number)?;
            }
        }
    }

    fn ask(&mut self, number: usize) -> io::Result<()> {
        self.connections[number].ask(&self.target.requests[self.next])?;
        self.next += 1;
        if self.next == self.target.requests.len() {
            self.next = 0;
        }
        Ok(())
    }

    /// Nothing is to be under way when somebody else is measured.
    fn drain(&mut self, events: &mut Events, buffer: &mut [u8], count: &mut Count) -> Result<()> {
        let end = Instant::now() + DRAIN;
        while count.under_way > 0 {
            let left = end.checked_duration_since(Instant::now());
            let left = left.context("some requests were never answered")?;
            poll(&mut self.poll, events, left)?;
            for event in events.iter() {
                let answer = self.connections[event.token().0].read(buffer)?;
                count.under_way -= usize::from(answer.is_some());
            }
        }
        Ok(())
    }
}

pub(super) fn poll(poll: &mut Poll, events: &mut Events, patience: Duration) -> io::Result<()> {
    match poll.poll(events, Some(patience)) {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
        polled => polled,
    }
}
