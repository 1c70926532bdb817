//! One person with one chat: sends in a way that can be repeated, and reads by the rules P1 to P11,
//! each call at another server. What the rules promise is checked at every answer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::pieces;
use super::servers::{Call, Calls, Servers};
use crate::support::Reader;

/// The largest position, 2^53 − 1 (P1).
const MAX_POSITION: u64 = (1 << 53) - 1;
/// Bytes of a position that are the offset in its edition.
const OFFSET_BITS: u32 = 32;
/// Longer than all crashes of a round together.
const PATIENCE: Duration = Duration::from_mins(2);

/// What a person asks, and how.
#[derive(Clone, Debug)]
pub struct Habit {
    pub name: String,
    /// Pieces of each answer.
    pub pieces: usize,
    /// How probable it is that an answer is read before the next question is asked.
    pub reads: f64,
    /// The longest wait between two polls, or two questions.
    pub pause_ms: u64,
}

pub struct Person {
    servers: Arc<Servers>,
    dice: fastrand::Rng,
    habit: Habit,
    pub chat: Uuid,
    pub calls: Calls,
    pub polls: u64,
    /// The accepted messages: (UUID, text), in order.
    pub asked: Vec<(String, String)>,
    /// The messages that the messages poll has shown, by UUID (P11).
    seen: BTreeMap<String, Value>,
    cursor: String,
    revision: Option<u64>,
    answers: BTreeMap<String, Following>,
}

/// An answer that is being read, from its beginning and by somebody who came later.
struct Following {
    question: String,
    readers: Vec<Reader>,
}

impl Person {
    pub fn new(servers: Arc<Servers>, dice: fastrand::Rng, habit: Habit) -> Self {
        Self {
            servers,
            dice,
            habit,
            chat: Uuid::now_v7(),
            calls: Calls::default(),
            polls: 0,
            asked: Vec::new(),
            seen: BTreeMap::new(),
            cursor: String::new(),
            revision: None,
            answers: BTreeMap::new(),
        }
    }

    /// Asks so many questions, reads all answers to their ends, and returns then.
    pub async fn live(mut self, questions: usize) -> Self {
        self.create().await;
        for _ in 0..questions {
            self.take_turn().await;
        }
        self.read_to_the_end().await;
        self
    }

    /// Asks until it is over, reads what there is to read, and returns then.
    pub async fn live_until(mut self, over: CancellationToken) -> Self {
        self.create().await;
        while !over.is_cancelled() {
            self.take_turn().await;
            self.pause().await;
        }
        self.read_to_the_end().await;
        self
    }

    async fn take_turn(&mut self) {
        let text = format!("{}-{}", self.habit.name, self.asked.len());
        self.send(text).await;
        if self.dice.f64() < self.habit.reads {
            self.read_to_the_end().await;
        }
    }

    async fn pause(&mut self) {
        let pause = self.dice.u64(..self.habit.pause_ms);
        sleep(Duration::from_millis(pause)).await;
    }

    /// What the person ended with: (UUID of the answer, text, status).
    pub fn answers(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        self.answers.iter().flat_map(|(uuid, following)| {
            let readers = following.readers.iter();
            readers.map(|r| (uuid.as_str(), r.text.as_str(), r.status.as_str()))
        })
    }

    /// How often a text had to be thrown away.
    pub fn replaced(&self) -> usize {
        let readers = self.answers.values().flat_map(|f| &f.readers);
        readers.map(|reader| reader.replaced).sum()
    }

    async fn ask(&mut self, call: Call<'_>) -> Value {
        let servers = Arc::clone(&self.servers);
        servers.ask(&mut self.dice, &mut self.calls, call).await
    }

    async fn create(&mut self) {
        let body = json!({"uuid": self.chat});
        let chat = self.ask(Call::post("/chat/create", &body)).await;
        assert_eq!(chat["uuid"], self.chat.to_string());
    }

    /// Repeatable either by its key or by its own UUID; sent once more at times, as somebody does
    /// who has not seen the answer.
    async fn send(&mut self, text: String) {
        let path = format!("/chat/{}/send", self.chat);
        let name = Uuid::now_v7().to_string();
        let (key, body) = if self.dice.bool() {
            (Some(name.as_str()), json!({"message": text}))
        } else {
            (None, json!({"message": text, "uuid": name}))
        };
        let sent = self.ask(Call::post(&path, &body).under(key)).await;
        if self.dice.u8(..4) == 0 {
            let again = self.ask(Call::post(&path, &body).under(key)).await;
            assert_eq!(again["message"]["uuid"], sent["message"]["uuid"]);
            assert_eq!(again["request_uuid"], sent["request_uuid"]);
        }
        let uuid = sent["message"]["uuid"].as_str().unwrap();
        self.asked.push((uuid.to_owned(), text));
    }

    async fn read_to_the_end(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while !self.has_read_all() {
            assert!(
                Instant::now() < deadline,
                "the answers do not end: {:?}",
                self.seen
            );
            self.pause().await;
            if self.open_answers().is_empty() || self.dice.u8(..4) == 0 {
                self.poll_messages().await;
            }
            for (answer, reader) in self.open_answers() {
                self.poll_tokens(&answer, reader).await;
            }
        }
    }

    /// Whether all questions have answers, all are read, and the messages poll says so too.
    fn has_read_all(&self) -> bool {
        self.answers.len() == self.asked.len()
            && self.open_answers().is_empty()
            && self.seen.values().all(|m| m["status"] != "pending")
    }

    /// The (answer, reader)s who are not at the end.
    fn open_answers(&self) -> Vec<(String, usize)> {
        let of_answer = |(uuid, following): (&String, &Following)| {
            let readers = following.readers.iter().enumerate();
            let open = readers.filter(|(_, reader)| !reader.is_done());
            open.map(|(n, _)| (uuid.clone(), n)).collect::<Vec<_>>()
        };
        self.answers.iter().flat_map(of_answer).collect()
    }

    async fn poll_messages(&mut self) {
        let mut path = format!("/chat/{}/messages/{}", self.chat, self.cursor);
        if let Some(revision) = self.revision {
            path = format!("{path}?revision={revision}");
        }
        let poll = self.ask(Call::get(&path)).await;
        self.polls += 1;
        let revision = poll["revision"].as_u64().unwrap();
        assert!(self.revision <= Some(revision), "a revision went back");
        self.revision = Some(revision);
        if let Some(cursor) = poll["last_uuid"].as_str() {
            cursor.clone_into(&mut self.cursor);
        }
        for message in poll["messages"].as_array().unwrap() {
            self.file(message);
        }
    }

    fn file(&mut self, message: &Value) {
        let uuid = message["uuid"].as_str().unwrap().to_owned();
        if let Some(before) = self.seen.get(&uuid) {
            assert!(before["status"] == "pending" || before["status"] == message["status"]);
            let edition = |m: &Value| m["position"].as_u64().unwrap() >> OFFSET_BITS;
            assert!(
                edition(before) <= edition(message),
                "P2: {before} {message}"
            );
        } else if let Some(question) = message["reply_to"].as_str() {
            self.follow(&uuid, question, message);
        }
        self.seen.insert(uuid, message.clone());
    }

    fn follow(&mut self, uuid: &str, question: &str, message: &Value) {
        let asked = self.asked.iter().find(|(uuid, _)| uuid == question);
        let (_, text) = asked.expect("an answer answers what was asked");
        let late = Reader {
            text: message["content"].as_str().unwrap().to_owned(),
            position: message["position"].as_u64().unwrap(),
            ..Reader::default()
        };
        let following = Following {
            question: text.clone(),
            readers: vec![Reader::default(), late],
        };
        self.answers.insert(uuid.to_owned(), following);
    }

    async fn poll_tokens(&mut self, answer: &str, reader: usize) {
        let before = self.answers[answer].readers[reader].clone();
        let path = format!("/chat/message/{answer}/tokens/{}", before.position);
        let poll = self.ask(Call::get(&path)).await;
        self.polls += 1;
        let following = self.answers.get_mut(answer).unwrap();
        let after = &mut following.readers[reader];
        after.apply(&poll);
        check_rules(&before, &poll);
        let whole = pieces(&following.question, self.habit.pieces).concat();
        assert!(
            whole.starts_with(&after.text),
            "no model said this: {:?} after {:?} at {}: {poll}",
            after.text,
            before.text,
            before.position
        );
        assert!(after.status != "completed" || after.text == whole);
    }
}

/// P1 to P3 as one answer shows them.
fn check_rules(before: &Reader, poll: &Value) {
    let position = poll["position"].as_u64().unwrap();
    let bytes = poll["tokens"].as_str().unwrap().len() as u64;
    assert!(position <= MAX_POSITION, "P1: {position}");
    assert!(
        position >= before.position,
        "P2: {position} after {}: {poll}",
        before.position
    );
    if poll["append"] == true {
        assert_eq!(position - before.position, bytes, "P3: {poll}");
    } else {
        assert_eq!(position % (1 << OFFSET_BITS), bytes, "P3: {poll}");
    }
}
