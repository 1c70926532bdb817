//! Open loop: viewers who each poll messages and tokens every so often, whatever the server does. How long they wait is
//! counted from the moment at which they were due and not from that at which they got to ask, or a server that stands
//! still for a second would make one viewer wait and not all.

use std::io::Write as _;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Result;
use hdrhistogram::Histogram;
use mio::{Events, Poll};
use serde::Serialize;

use super::closed::poll;
use super::connection::{BUFFER_BYTES, Connection, First, Protocol, open_all};
use super::viewer::{State, Viewer};
use crate::http;
use crate::stats::{number, per};
use crate::talks::Talk;

const EVENTS: usize = 4_096;
/// Whoever waits longer than this has not been answered.
const DRAIN: Duration = Duration::from_secs(10);
const LONGEST_US: u64 = 120_000_000;

/// How often they poll, for how long, and what.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// Both: first the messages, then the tokens. Else the tokens alone.
    pub polls_messages: bool,
    pub interval: Duration,
    pub warm_up: Duration,
    pub time: Duration,
}

/// Viewers with a connection to each node.
pub struct Open {
    poll: Poll,
    /// One viewer's after the other's.
    connections: Vec<Connection>,
    nodes: usize,
    viewers: Vec<Viewer>,
    /// Which node is asked; the same ones in every run.
    random: fastrand::Rng,
}

/// How long they waited for a pair, and whether all were answered.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Waited {
    pub pairs_per_second: f64,
    /// Of the pairs that were due.
    pub answered: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub max_ms: f64,
    /// How late the generator itself was with the first request of a pair whose viewer was free.
    pub generator_p99_ms: f64,
    pub errors: u64,
}

/// What a run has come to.
struct Run {
    begin: Instant,
    times: Times,
    waits: Histogram<u64>,
    lags: Histogram<u64>,
    errors: u64,
    /// Pairs that ended within the time, whenever they were due.
    ended: u64,
    under_way: usize,
    request: Vec<u8>,
}

impl Open {
    /// The viewers share out the talks, and hop between the nodes at random if there are several.
    pub fn connect(nodes: &[SocketAddr], talks: &[Talk], viewers: usize) -> Result<Self> {
        let mut poll = Poll::new()?;
        let requests: Vec<Vec<u8>> = talks
            .iter()
            .map(|talk| http::get(&talk.tokens_path(talk.position)))
            .collect();
        let count = viewers * nodes.len();
        let connections = open_all(&mut poll, count, |number| First {
            address: nodes[number % nodes.len()],
            protocol: Protocol::Http1,
            request: &requests[number / nodes.len() % requests.len()],
        })?;
        let viewers = (0..viewers)
            .map(|number| Viewer::of(&talks[number % talks.len()]))
            .collect();
        Ok(Self {
            poll,
            connections,
            nodes: nodes.len(),
            viewers,
            random: fastrand::Rng::with_seed(1),
        })
    }

    /// Lets them poll. Blocks the thread.
    pub fn run(&mut self, times: Times) -> Result<Waited> {
        let count = u32::try_from(self.viewers.len())?;
        for (number, viewer) in (0..).zip(&mut self.viewers) {
            viewer.offset = times.interval * number / count;
            (viewer.round, viewer.state) = (0, State::Idle);
        }
        let mut run = Run {
            begin: Instant::now(),
            times,
            waits: Histogram::new_with_max(LONGEST_US, 3)?,
            lags: Histogram::new_with_max(LONGEST_US, 3)?,
            errors: 0,
            ended: 0,
            under_way: 0,
            request: Vec::new(),
        };
        let end = run.begin + times.warm_up + times.time;
        self.poll_until(end, &mut run)?;
        self.drain(&mut run)?;
        let measured = times.time.as_secs_f64();
        let due = number(u64::from(count)) * measured / times.interval.as_secs_f64();
        let answered = number(run.waits.len());
        self.record_unanswered(&mut run, end);
        let ms = |us: u64| number(us) / 1e3;
        Ok(Waited {
            pairs_per_second: per(number(run.ended), measured),
            answered: per(answered, due),
            p50_ms: ms(run.waits.value_at_quantile(0.5)),
            p99_ms: ms(run.waits.value_at_quantile(0.99)),
            max_ms: ms(run.waits.max()),
            generator_p99_ms: ms(run.lags.value_at_quantile(0.99)),
            errors: run.errors,
        })
    }

    fn poll_until(&mut self, end: Instant, run: &mut Run) -> Result<()> {
        let mut events = Events::with_capacity(EVENTS);
        let mut buffer = vec![0; BUFFER_BYTES];
        // Whose turn it is: they are due in this order, again and again.
        let (mut next, mut round) = (0, 0);
        loop {
            let mut now = Instant::now();
            if now >= end {
                return Ok(());
            }
            let mut due = run.due(&self.viewers[next], round);
            while due <= now {
                let viewer = &self.viewers[next];
                // Whoever is still busy begins when they are done.
                if viewer.state == State::Idle && viewer.round == round {
                    self.begin(next, now, run)?;
                }
                next += 1;
                if next == self.viewers.len() {
                    (next, round) = (0, round + 1);
                }
                due = run.due(&self.viewers[next], round);
            }
            now = Instant::now();
            let patience = due.min(end).saturating_duration_since(now);
            poll(&mut self.poll, &mut events, patience)?;
            for event in &events {
                self.read(event.token().0, &mut buffer, true, run)?;
            }
        }
    }

    fn drain(&mut self, run: &mut Run) -> Result<()> {
        let mut events = Events::with_capacity(EVENTS);
        let mut buffer = vec![0; BUFFER_BYTES];
        let end = Instant::now() + DRAIN;
        while run.under_way > 0 {
            let now = Instant::now();
            if now >= end {
                return Ok(());
            }
            poll(&mut self.poll, &mut events, end - now)?;
            for event in &events {
                self.read(event.token().0, &mut buffer, false, run)?;
            }
        }
        Ok(())
    }

    /// Whoever was due and never got to it has waited at least until the end.
    fn record_unanswered(&self, run: &mut Run, end: Instant) {
        for viewer in &self.viewers {
            let mut round = viewer.round;
            while run.due(viewer, round) < end {
                run.record(viewer, round, end);
                round += 1;
            }
        }
    }

    fn begin(&mut self, number: usize, now: Instant, run: &mut Run) -> Result<()> {
        let viewer = &mut self.viewers[number];
        viewer.state = if run.times.polls_messages {
            State::Messages
        } else {
            State::Tokens
        };
        if self.nodes > 1 {
            viewer.node = self.random.usize(0..self.nodes);
        }
        let lag = now.saturating_duration_since(run.due(viewer, viewer.round));
        if run.counts(viewer, viewer.round) {
            run.lags.saturating_record(micros(lag));
        }
        run.under_way += 1;
        self.ask(number, run)
    }

    fn ask(&mut self, number: usize, run: &mut Run) -> Result<()> {
        let viewer = &self.viewers[number];
        run.request.clear();
        let into = &mut run.request;
        match viewer.state {
            State::Tokens => write!(
                into,
                "GET /chat/message/{}/tokens/{}",
                viewer.answer, viewer.position
            ),
            _ => write!(
                into,
                "GET /chat/{}/messages/{}?revision={}",
                viewer.chat, viewer.cursor, viewer.revision
            ),
        }?;
        into.extend(b" HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n");
        let connection = &mut self.connections[number * self.nodes + viewer.node];
        Ok(connection.ask(into)?)
    }

    fn read(
        &mut self,
        token: usize,
        buffer: &mut [u8],
        goes_on: bool,
        run: &mut Run,
    ) -> Result<()> {
        let number = token / self.nodes;
        let Some(answer) = self.connections[token].read(buffer)? else {
            return Ok(());
        };
        let viewer = &mut self.viewers[number];
        run.errors += u64::from(viewer.take(&answer).is_none());
        if viewer.state == State::Messages {
            viewer.state = State::Tokens;
            return self.ask(number, run);
        }
        let now = Instant::now();
        run.end(viewer, now);
        (viewer.state, viewer.round) = (State::Idle, viewer.round + 1);
        if goes_on && run.due(viewer, viewer.round) <= now {
            return self.begin(number, now, run);
        }
        Ok(())
    }
}

impl Run {
    fn due(&self, viewer: &Viewer, round: u32) -> Instant {
        self.begin + viewer.offset + self.times.interval * round
    }

    fn counts(&self, viewer: &Viewer, round: u32) -> bool {
        let after = self.due(viewer, round) - self.begin;
        (self.times.warm_up..self.times.warm_up + self.times.time).contains(&after)
    }

    /// Counts a pair that has ended.
    fn end(&mut self, viewer: &Viewer, now: Instant) {
        let after = now - self.begin;
        let is_in_time =
            self.times.warm_up <= after && after < self.times.warm_up + self.times.time;
        self.ended += u64::from(is_in_time);
        self.under_way -= 1;
        self.record(viewer, viewer.round, now);
    }

    fn record(&mut self, viewer: &Viewer, round: u32, now: Instant) {
        if self.counts(viewer, round) {
            let wait = now.saturating_duration_since(self.due(viewer, round));
            self.waits.saturating_record(micros(wait));
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(LONGEST_US)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_counts_from_the_due_time() {
        let times = Times {
            polls_messages: true,
            interval: Duration::from_millis(300),
            warm_up: Duration::from_millis(300),
            time: Duration::from_millis(600),
        };
        let mut run = Run {
            begin: Instant::now(),
            times,
            waits: Histogram::new_with_max(LONGEST_US, 3).unwrap(),
            lags: Histogram::new_with_max(LONGEST_US, 3).unwrap(),
            errors: 0,
            ended: 0,
            under_way: 0,
            request: Vec::new(),
        };
        let viewer = Viewer::of(&Talk {
            chat: "c".into(),
            answer: "a".into(),
            revision: 1,
            position: 0,
        });
        let late = run.begin + Duration::from_secs(1);
        run.record(&viewer, 0, late);
        assert_eq!(run.waits.len(), 0, "it was due in the warm-up");
        run.record(&viewer, 1, late);
        assert!((699_000..702_000).contains(&run.waits.max()));
    }
}
