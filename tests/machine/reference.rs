//! The reference: what must hold, in the plainest terms. No editions, positions, revisions or
//! transactions; a message is two texts, what was said and what was thought, with a status, and a
//! request is a line in a queue.
//!
//! Steps name what they act on by a number that is taken modulo what there is, so that any
//! sequence of steps makes sense and a failing one can be shrunk freely.

use std::collections::BTreeMap;

use entity::chat::OnBusy;
use entity::chat_message::Status;

pub const CHATS: usize = 2;
pub const CLIENTS: usize = 4;
pub const MAX_ATTEMPTS: usize = 3;
pub const LEASE_MS: i64 = 1_000;
/// Leaves a lease as it is.
const KEEP: i64 = -1;

/// What happens.
#[derive(Clone, Debug)]
pub enum Step {
    Send {
        node: usize,
        chat: usize,
        on_busy: OnBusy,
    },
    Claim {
        node: usize,
    },
    /// The model says a piece of the answer, or thinks it.
    Say {
        writer: usize,
        piece: &'static str,
        thinks: bool,
    },
    /// The model's stream ends.
    End {
        writer: usize,
        how: StreamEnd,
    },
    /// `lost`: before it, a flush is given up after being polled so often. Whether it was
    /// committed nobody knows; meanwhile the models say more.
    Flush {
        node: usize,
        renew: bool,
        lost: Option<usize>,
    },
    /// The process dies, or is told to end, and another one takes its place.
    Restart {
        node: usize,
        in_order: bool,
    },
    /// All leases run out, and a node looks for what is abandoned or in need of repair.
    Rescue {
        node: usize,
    },
    Cancel {
        node: usize,
        message: usize,
    },
    Retry {
        node: usize,
        message: usize,
    },
    Regenerate {
        node: usize,
        message: usize,
    },
    Select {
        node: usize,
        message: usize,
        number: usize,
    },
    Edit {
        node: usize,
        message: usize,
    },
    Delete {
        node: usize,
        message: usize,
    },
    PollMessages {
        client: usize,
        node: usize,
        chat: usize,
    },
    PollTokens {
        client: usize,
        node: usize,
        message: usize,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamEnd {
    Finished,
    /// The connection was closed before the answer was finished.
    BrokeOff,
    /// An error that another try may heal.
    Passing,
    /// An error for good.
    Refused,
}

/// What a model has said, and what it has thought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Texts {
    pub said: String,
    pub thought: String,
}

impl Texts {
    pub fn of(said: &str) -> Self {
        Self {
            said: said.to_owned(),
            thought: String::new(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.said.is_empty() && self.thought.is_empty()
    }

    /// These, unless an earlier attempt left words where there are none here, or anything at all where
    /// there is nothing.
    fn or(self, remains: Self) -> Self {
        let is_worse = if self.is_empty() {
            !remains.is_empty()
        } else {
            self.said.is_empty() && !remains.said.is_empty()
        };
        if is_worse { remains } else { self }
    }

    fn push(&mut self, piece: &str, thinks: bool) {
        let text = if thinks {
            &mut self.thought
        } else {
            &mut self.said
        };
        text.push_str(piece);
    }
}

/// Texts that a message has or had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    pub status: Status,
    pub texts: Texts,
}

#[derive(Clone, Debug)]
pub struct Message {
    pub chat: usize,
    /// The question, if this is an answer.
    pub answers: Option<usize>,
    /// The texts are empty while the answer is being written.
    pub now: Version,
    pub number: usize,
    /// All that are kept, the one shown now left out or not.
    pub kept: BTreeMap<usize, Version>,
    pub count: usize,
    pub request: usize,
    pub deleted: bool,
    pub superseded: bool,
}

impl Message {
    pub fn is_visible(&self) -> bool {
        !self.deleted && !self.superseded
    }

    pub fn is_written(&self) -> bool {
        self.answers.is_some() && self.now.status == Status::Pending
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Queued,
    Running,
    Over,
}

#[derive(Clone, Debug)]
pub struct Request {
    pub question: usize,
    pub answer: Option<usize>,
    pub state: State,
    /// What each attempt had flushed; the last one is the current attempt.
    pub flushed: Vec<Texts>,
    has_started: bool,
    expires_at: i64,
}

impl Request {
    pub fn attempt(&self) -> usize {
        self.flushed.len() - 1
    }

    /// What is left when whoever wrote it is gone: the latest attempt's that said anything, or else
    /// the latest one's that thought anything.
    pub fn remains(&self) -> Texts {
        let mut latest = self.flushed.iter().rev();
        let said = latest.clone().find(|texts| !texts.said.is_empty());
        let begun = said.or_else(|| latest.find(|texts| !texts.is_empty()));
        begun.cloned().unwrap_or_default()
    }
}

/// An answer's texts in the memory of a node, which may have lost the request and not know it.
#[derive(Clone, Debug)]
pub struct Writer {
    pub node: usize,
    pub request: usize,
    pub attempt: usize,
    pub answer: usize,
    pub texts: Texts,
}

#[derive(Clone, Debug)]
pub struct Reference {
    pub nodes: usize,
    pub replaces_broken: bool,
    pub now: i64,
    pub messages: Vec<Message>,
    pub requests: Vec<Request>,
    pub writers: Vec<Writer>,
    /// Attempts that have ended, by chat.
    pub ended: [i64; CHATS],
    /// Texts that attempts have said, by answer, as far as they got.
    said: Vec<(usize, Texts)>,
    /// What the last step has come to.
    pub did: Did,
}

/// A step with all that it acts on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Did {
    Nothing,
    /// Whether it is taken.
    Send {
        text: String,
        taken: bool,
    },
    /// The answer that is written from now on, what was lost to make room for it, and the
    /// history that the model is sent.
    Claim {
        answer: Option<usize>,
        history: Vec<String>,
    },
    /// The writer that was spoken to, by node and answer.
    Writer(usize, usize),
    /// Writers that learnt that they are fenced, by answer.
    Flush {
        dropped: Vec<usize>,
    },
    /// What was asked of a message, and whether it is granted.
    Message {
        message: usize,
        granted: bool,
    },
}

impl Reference {
    pub fn new(nodes: usize, replaces_broken: bool) -> Self {
        Self {
            nodes,
            replaces_broken,
            now: 1_000_000,
            messages: Vec::new(),
            requests: Vec::new(),
            writers: Vec::new(),
            ended: [0; CHATS],
            said: Vec::new(),
            did: Did::Nothing,
        }
    }

    pub fn step(&mut self, step: &Step) {
        self.now += 1;
        self.did = match *step {
            Step::Send {
                node,
                chat,
                on_busy,
            } => self.send(node, chat, on_busy),
            Step::Claim { node } => self.claim(node),
            Step::Say {
                writer,
                piece,
                thinks,
            } => self.at_writer(writer, |all, at| {
                all.writers[at].texts.push(piece, thinks);
                let Writer { answer, texts, .. } = all.writers[at].clone();
                all.said.push((answer, texts));
            }),
            Step::End { writer, how } => self.at_writer(writer, |all, at| {
                let writer = all.writers.remove(at);
                all.finish(writer, how);
            }),
            Step::Flush { node, renew, lost } => {
                let lease = if renew { LEASE_MS } else { KEEP };
                self.flush(node, lease, lost.is_some())
            }
            Step::Restart { node, in_order } => {
                if in_order {
                    self.flush(node, 0, false);
                }
                self.writers.retain(|writer| writer.node != node);
                self.rescue(node, self.nodes == 1);
                Did::Nothing
            }
            Step::Rescue { node } => {
                self.now += LEASE_MS + 1;
                self.rescue(node, false);
                Did::Nothing
            }
            Step::Cancel { node, message } => {
                self.at_message(message, |all, m| all.cancel(node, m))
            }
            Step::Retry { message, .. } => self.at_message(message, |all, m| {
                all.again(m, &[Status::Failed, Status::Cancelled])
            }),
            Step::Regenerate { message, .. } => {
                self.at_message(message, |all, m| all.again(m, &[Status::Completed]))
            }
            Step::Select {
                message, number, ..
            } => self.at_message(message, |all, m| all.select(m, number)),
            Step::Edit { node, message } => self.at_message(message, |all, m| all.edit(node, m)),
            Step::Delete { node, message } => {
                self.at_message(message, |all, m| all.delete(node, m))
            }
            Step::PollTokens { message, .. } => self.at_message(message, |_, _| true),
            Step::PollMessages { .. } => Did::Nothing,
        };
    }

    /// The words of the next user message, which are nobody else's.
    fn words(&self) -> String {
        format!("said at {}", self.now)
    }

    fn at_writer(&mut self, pick: usize, act: impl FnOnce(&mut Self, usize)) -> Did {
        let Some(at) = pick.checked_rem(self.writers.len()) else {
            return Did::Nothing;
        };
        let (node, answer) = (self.writers[at].node, self.writers[at].answer);
        act(self, at);
        Did::Writer(node, answer)
    }

    fn at_message(&mut self, pick: usize, act: impl FnOnce(&mut Self, usize) -> bool) -> Did {
        let Some(message) = pick.checked_rem(self.messages.len()) else {
            return Did::Nothing;
        };
        let granted = act(self, message);
        Did::Message { message, granted }
    }

    /// A chat's requests that run or wait: the running one, then the others by their questions.
    pub fn active(&self, chat: usize) -> Vec<usize> {
        let mut active: Vec<usize> = (0..self.requests.len())
            .filter(|r| self.requests[*r].state != State::Over)
            .filter(|r| self.messages[self.requests[*r].question].chat == chat)
            .collect();
        active.sort_by_key(|r| {
            let request = &self.requests[*r];
            (request.state != State::Running, request.question)
        });
        active
    }

    /// The texts that a node shows of a message.
    pub fn shown(&self, node: usize, message: usize) -> &Texts {
        let row = &self.messages[message];
        if !row.is_written() {
            return &row.now.texts;
        }
        let (request, number) = (&self.requests[row.request], row.request);
        let here = self
            .writers
            .iter()
            .find(|w| w.node == node && w.request == number && w.attempt == request.attempt());
        here.map_or(&request.flushed[request.attempt()], |writer| &writer.texts)
    }

    /// Whether a message has shown these texts while it was written, each by itself: what was said
    /// and what was thought may come from two moments.
    pub fn has_said(&self, message: usize, texts: &Texts) -> bool {
        let row = &self.messages[message];
        let own = row.answers.is_none().then_some(&row.now.texts);
        let said = self.said.iter().filter(|(answer, _)| *answer == message);
        let all: Vec<&Texts> = own
            .into_iter()
            .chain(said.map(|(_, texts)| texts))
            .collect();
        (texts.said.is_empty() || all.iter().any(|other| other.said == texts.said))
            && (texts.thought.is_empty() || all.iter().any(|other| other.thought == texts.thought))
    }

    fn send(&mut self, node: usize, chat: usize, on_busy: OnBusy) -> Did {
        let text = self.words();
        let under_way = self.active(chat).first().copied();
        if let (Some(request), OnBusy::Interrupt | OnBusy::Rollback) = (under_way, on_busy) {
            self.cut(node, request);
            if on_busy == OnBusy::Rollback {
                self.roll_back(request);
            }
        }
        let taken = under_way.is_none() || on_busy != OnBusy::Reject;
        if taken {
            let question = self.messages.len();
            self.put(chat, None, &text);
            self.queue(question, None);
        }
        Did::Send { text, taken }
    }

    /// The turn disappears; an answer that was only asked for again has the version before again.
    fn roll_back(&mut self, request: usize) {
        let Request {
            question, answer, ..
        } = self.requests[request];
        let before = answer.filter(|m| self.messages[*m].number > 1);
        if let Some(answer) = before {
            self.select(answer, self.messages[answer].number - 1);
        } else {
            let turn = [Some(question), answer];
            turn.into_iter().flatten().for_each(|m| self.bury(m));
        }
    }

    fn put(&mut self, chat: usize, answers: Option<usize>, text: &str) {
        self.messages.push(Message {
            chat,
            answers,
            now: Version {
                status: Status::Pending,
                texts: Texts::of(text),
            },
            number: 1,
            kept: BTreeMap::new(),
            count: 1,
            request: 0,
            deleted: false,
            superseded: false,
        });
    }

    fn queue(&mut self, question: usize, answer: Option<usize>) {
        self.messages[answer.unwrap_or(question)].request = self.requests.len();
        self.requests.push(Request {
            question,
            answer,
            state: State::Queued,
            flushed: vec![Texts::default()],
            has_started: false,
            expires_at: 0,
        });
    }

    /// The oldest request whose chat is free goes first; in a chat the earliest question.
    fn claim(&mut self, node: usize) -> Did {
        let next = (0..self.requests.len()).find(|r| {
            let request = &self.requests[*r];
            request.state == State::Queued
                && self.active(self.messages[request.question].chat)[0] == *r
        });
        let Some(next) = next else {
            return Did::Claim {
                answer: None,
                history: Vec::new(),
            };
        };
        let question = self.requests[next].question;
        let answer = self.requests[next].answer.unwrap_or_else(|| {
            self.messages[question].now.status = Status::Completed;
            self.put(self.messages[question].chat, Some(question), "");
            self.messages.len() - 1
        });
        self.messages[answer].request = next;
        let request = &mut self.requests[next];
        request.answer = Some(answer);
        request.state = State::Running;
        request.has_started = true;
        request.expires_at = self.now + LEASE_MS;
        let attempt = request.attempt();
        self.writers
            .retain(|w| (w.node, w.answer) != (node, answer));
        self.writers.push(Writer {
            node,
            request: next,
            attempt,
            answer,
            texts: Texts::default(),
        });
        let history = self.history(question);
        Did::Claim {
            answer: Some(answer),
            history,
        }
    }

    /// The completed turns before a question, and the question.
    fn history(&self, question: usize) -> Vec<String> {
        let turn = |m: usize| (self.messages[m].answers.unwrap_or(m), m);
        let mut turns: Vec<usize> = (0..self.messages.len())
            .filter(|m| self.messages[*m].chat == self.messages[question].chat)
            .filter(|m| self.messages[*m].is_visible())
            .filter(|m| self.messages[*m].now.status == Status::Completed)
            .filter(|m| turn(*m).0 < question || *m == question)
            .collect();
        turns.sort_by_key(|m| turn(*m));
        turns
            .into_iter()
            .map(|m| self.messages[m].now.texts.said.clone())
            .collect()
    }

    fn is_fenced(&self, writer: &Writer) -> bool {
        let request = &self.requests[writer.request];
        request.state != State::Running || request.attempt() != writer.attempt
    }

    fn finish(&mut self, writer: Writer, how: StreamEnd) {
        if self.is_fenced(&writer) {
            return;
        }
        let is_broken = matches!(how, StreamEnd::BrokeOff | StreamEnd::Passing);
        let texts = writer.texts;
        let goes_on = self.replaces_broken && self.may_go_on(writer.request);
        if is_broken && !texts.is_empty() && goes_on {
            self.requests[writer.request].flushed[writer.attempt] = texts;
            return self.requeue(writer.request);
        }
        // A model that has only thought has not answered.
        let status = match how {
            StreamEnd::Finished if !texts.said.is_empty() => Status::Completed,
            _ => Status::Failed,
        };
        let remains = self.requests[writer.request].remains();
        let texts = if writer.attempt > 0 {
            texts.or(remains)
        } else {
            texts
        };
        self.end(writer.request, status, texts);
    }

    fn may_go_on(&self, request: usize) -> bool {
        self.requests[request].attempt() + 1 < MAX_ATTEMPTS
    }

    fn requeue(&mut self, request: usize) {
        self.count_attempt(request);
        self.requests[request].state = State::Queued;
        self.requests[request].flushed.push(Texts::default());
    }

    fn count_attempt(&mut self, request: usize) {
        self.ended[self.messages[self.requests[request].question].chat] += 1;
    }

    fn end(&mut self, request: usize, status: Status, texts: Texts) {
        if self.requests[request].state == State::Running {
            self.count_attempt(request);
        }
        self.requests[request].state = State::Over;
        match self.requests[request].answer {
            Some(answer) => self.messages[answer].now = Version { status, texts },
            None => self.messages[self.requests[request].question].now.status = Status::Cancelled,
        }
    }

    /// Somebody at this node ends a request: what the node has in memory is kept, or else what
    /// was flushed. Thoughts alone do not displace what an earlier attempt may have said.
    fn cut(&mut self, node: usize, request: usize) {
        let attempt = self.requests[request].attempt();
        let here = self
            .writers
            .iter()
            .position(|w| (w.node, w.request, w.attempt) == (node, request, attempt));
        let texts = here.map(|at| self.writers.remove(at).texts);
        let remains = self.requests[request].remains();
        let texts = match texts {
            Some(texts) if attempt == 0 => texts,
            Some(texts) => texts.or(remains),
            None => remains,
        };
        self.end(request, Status::Cancelled, texts);
    }

    fn flush(&mut self, node: usize, lease: i64, lost: bool) -> Did {
        let mut dropped = Vec::new();
        for mut writer in std::mem::take(&mut self.writers) {
            if writer.node != node {
                self.writers.push(writer);
                continue;
            }
            if lost {
                writer.texts.push(MEANWHILE, true);
                self.said.push((writer.answer, writer.texts.clone()));
                writer.texts.push(MEANWHILE, false);
                self.said.push((writer.answer, writer.texts.clone()));
            }
            if self.is_fenced(&writer) {
                dropped.push(writer.answer);
                continue;
            }
            let request = &mut self.requests[writer.request];
            request.flushed[writer.attempt].clone_from(&writer.texts);
            if lease != KEEP {
                request.expires_at = self.now + lease;
            }
            self.writers.push(writer);
        }
        Did::Flush { dropped }
    }

    fn rescue(&mut self, node: usize, all: bool) {
        for r in 0..self.requests.len() {
            let (request, attempt) = (&self.requests[r], self.requests[r].attempt());
            let runs_here = self
                .writers
                .iter()
                .any(|w| (w.node, w.request, w.attempt) == (node, r, attempt));
            let is_over = all || request.expires_at < self.now;
            if request.state != State::Running || !is_over || runs_here {
                continue;
            }
            if self.may_go_on(r) {
                self.requeue(r);
            } else {
                let texts = self.requests[r].remains();
                self.end(r, Status::Failed, texts);
            }
        }
    }

    fn cancel(&mut self, node: usize, message: usize) -> bool {
        if self.messages[message].deleted {
            return false;
        }
        let behind = self
            .active(self.messages[message].chat)
            .into_iter()
            .find(|r| {
                let request = &self.requests[*r];
                request.answer == Some(message) || request.question == message
            });
        if let Some(request) = behind {
            self.cut(node, request);
        }
        true
    }

    fn again(&mut self, answer: usize, from: &[Status]) -> bool {
        let Some(question) = self.messages[answer].answers else {
            return false;
        };
        let message = &mut self.messages[answer];
        if !message.is_visible() || !from.contains(&message.now.status) {
            return false;
        }
        if self.messages[question].deleted {
            return false;
        }
        self.rewrite(answer, "");
        self.queue(question, Some(answer));
        true
    }

    /// Other texts take the place of those that there are, which are kept.
    fn rewrite(&mut self, message: usize, text: &str) {
        let message = &mut self.messages[message];
        let now = Version {
            status: Status::Pending,
            texts: Texts::of(text),
        };
        let before = std::mem::replace(&mut message.now, now);
        message.kept.insert(message.number, before);
        message.count += 1;
        message.number = message.count;
    }

    fn select(&mut self, answer: usize, number: usize) -> bool {
        let message = &mut self.messages[answer];
        if message.answers.is_none() || !message.is_visible() || message.is_written() {
            return false;
        }
        if number == message.number {
            return true;
        }
        let Some(chosen) = message.kept.get(&number).cloned() else {
            return false;
        };
        let before = std::mem::replace(&mut message.now, chosen);
        message.kept.insert(message.number, before);
        message.number = number;
        true
    }

    fn edit(&mut self, node: usize, question: usize) -> bool {
        let (text, chat) = (self.words(), self.messages[question].chat);
        let row = &mut self.messages[question];
        if row.answers.is_some() || !row.is_visible() {
            return false;
        }
        if row.now.status == Status::Pending {
            row.now.texts.said = text;
            return true;
        }
        for request in self.active(chat) {
            if self.requests[request].question >= question {
                self.cut(node, request);
            }
        }
        for (at, message) in self.messages.iter_mut().enumerate() {
            let turn = message.answers.unwrap_or(at);
            if message.chat == chat && at != question && turn >= question && message.is_visible() {
                message.superseded = true;
            }
        }
        self.rewrite(question, &text);
        self.queue(question, None);
        true
    }

    fn delete(&mut self, node: usize, message: usize) -> bool {
        let row = &self.messages[message];
        if row.deleted || row.is_written() {
            return false;
        }
        for request in self.active(row.chat) {
            if self.requests[request].question == message {
                self.cut(node, request);
            }
        }
        self.bury(message);
        true
    }

    fn bury(&mut self, message: usize) {
        let message = &mut self.messages[message];
        message.deleted = true;
        message.now.texts = Texts::default();
        message.kept.clear();
    }

    /// What is left to do until nothing is under way.
    pub fn unfinished(&self) -> Option<Step> {
        let is = |state| self.requests.iter().any(|request| request.state == state);
        if !self.writers.is_empty() {
            Some(Step::End {
                writer: 0,
                how: StreamEnd::Finished,
            })
        } else if is(State::Running) {
            Some(Step::Rescue { node: 0 })
        } else if is(State::Queued) {
            Some(Step::Claim { node: 0 })
        } else {
            None
        }
    }
}

/// What the models say between a flush that was lost and the next one.
pub const MEANWHILE: &str = "…";
