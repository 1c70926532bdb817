//! What must be true when it is over: of the database, of what people have, and of what the model's
//! server was asked.

use std::collections::HashMap;
use std::time::Duration;

use entity::{chat, chat_message, llm_request, token_ledger};
use sea_orm::{ColumnTrait, EntityTrait, PaginatorTrait, QueryFilter};
use tokio::time::Instant;

use super::person::Person;
use super::pieces;
use crate::support::upstream::Received;
use crate::support::{Database, app::eventually};

/// What the database says of all answers together.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stored {
    pub completed: usize,
    pub failed: usize,
    pub most_attempts: i64,
}

/// A time in which a server was halted.
#[derive(Clone, Debug)]
pub struct Halt {
    pub server: String,
    pub from: Instant,
    pub until: Instant,
}

/// Waits until everything has ended and been cleared away.
pub async fn settle(database: &Database) {
    let db = database.connect().await;
    eventually("all requests end and all ledgers are purged", async || {
        let open = llm_request::Entity::find()
            .filter(
                llm_request::Column::Status
                    .is_in([llm_request::Status::Queued, llm_request::Status::Running]),
            )
            .count(&db)
            .await
            .unwrap();
        let rows = token_ledger::Entity::find().count(&db).await.unwrap();
        (open + rows == 0).then_some(())
    })
    .await;
    db.close().await.unwrap();
    database.assert_nothing_left_over().await;
}

/// Compares what people sent and have read with what is stored.
pub async fn check(database: &Database, people: &[Person], length: usize) -> Stored {
    let db = database.connect().await;
    let chats = chat::Entity::find().all(&db).await.unwrap();
    let messages = chat_message::Entity::find().all(&db).await.unwrap();
    let requests = llm_request::Entity::find().all(&db).await.unwrap();
    db.close().await.unwrap();
    let asked: usize = people.iter().map(|person| person.asked.len()).sum();
    assert_eq!(chats.len(), people.len());
    assert_eq!(messages.len(), 2 * asked, "a question and an answer each");
    assert_eq!(requests.len(), asked);
    for chat in &chats {
        assert_eq!(chat.status, chat::Status::WaitingForUser);
    }
    for person in people {
        check_questions(person, &messages);
        check_answers(person, &messages, length);
    }
    let ended = |status| requests.iter().filter(|r| r.status == status).count();
    Stored {
        completed: ended(llm_request::Status::Completed),
        failed: ended(llm_request::Status::Failed),
        most_attempts: requests.iter().map(|r| r.attempt + 1).max().unwrap_or(0),
    }
}

/// Every message that was accepted is there once, in the order in which it was sent.
fn check_questions(person: &Person, messages: &[chat_message::Model]) {
    let mut stored: Vec<_> = messages
        .iter()
        .filter(|m| m.chat_id.0 == person.chat && m.role == chat_message::Role::User)
        .collect();
    stored.sort_by_key(|message| message.sequence);
    let stored: Vec<_> = stored
        .into_iter()
        .map(|message| (message.id.to_string(), message.content.clone()))
        .collect();
    assert_eq!(stored, person.asked);
}

/// Each question has one answer, and who read it has exactly what is stored.
fn check_answers(person: &Person, messages: &[chat_message::Model], length: usize) {
    let answers: HashMap<_, _> = messages
        .iter()
        .filter_map(|message| Some((message.reply_to?.to_string(), message)))
        .collect();
    for (question, text) in &person.asked {
        let answer = answers[question];
        let (whole, id) = (pieces(text, length).concat(), answer.id.to_string());
        match answer.status {
            chat_message::Status::Completed => assert_eq!(answer.content, whole),
            chat_message::Status::Failed => {
                assert!(whole.starts_with(&answer.content), "{}", answer.content);
                let code = answer.error_code.as_deref().unwrap();
                assert!(["interrupted", "internal"].contains(&code), "{code}");
            }
            status => panic!("{id} is {status:?}"),
        }
        let read: Vec<_> = person.answers().filter(|(uuid, ..)| *uuid == id).collect();
        assert!(!read.is_empty(), "{id} was never read");
        for (_, text, status) in read {
            assert_eq!(text, answer.content);
            assert_eq!(status == "completed", is_completed(answer));
        }
    }
}

fn is_completed(answer: &chat_message::Model) -> bool {
    answer.status == chat_message::Status::Completed
}

/// The longest time in which the model was asked the same by two servers that were both running.
pub fn longest_overlap(received: &[Received], halts: &[Halt]) -> Duration {
    let now = Instant::now();
    let mut by_question: HashMap<String, Vec<&Received>> = HashMap::new();
    for request in received {
        by_question
            .entry(request.asked())
            .or_default()
            .push(request);
    }
    let over = |request: &Received| request.over.get().copied().unwrap_or(now);
    let mut longest = Duration::ZERO;
    for requests in by_question.values() {
        for (n, first) in requests.iter().enumerate() {
            for second in &requests[n + 1..] {
                let from = first.begun.max(second.begun);
                let until = over(first).min(over(second));
                let both = [server(first), server(second)];
                longest = longest.max(running(from, until, &both, halts));
            }
        }
    }
    longest
}

/// Who asked: each server has a key of its own.
fn server(request: &Received) -> &str {
    let mut lines = request.head.lines();
    let key = lines.find_map(|line| line.strip_prefix("authorization: Bearer "));
    key.expect("a server has a key")
}

/// How much of this time neither server was halted.
fn running(from: Instant, until: Instant, servers: &[&str], halts: &[Halt]) -> Duration {
    let mut halts: Vec<_> = halts
        .iter()
        .filter(|halt| servers.contains(&halt.server.as_str()))
        .collect();
    halts.sort_by_key(|halt| halt.from);
    let (mut sum, mut at) = (Duration::ZERO, from);
    for halt in halts {
        sum += halt.from.min(until).saturating_duration_since(at);
        at = at.max(halt.until);
    }
    sum + until.saturating_duration_since(at)
}
