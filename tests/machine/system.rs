//! The system under test: one or two nodes on one database, and clients of them. Each step is
//! done and waited for; then everything that can be seen is compared with the reference.

use std::sync::Arc;

use entity::chat_message::{Model as Row, Status};
use entity::llm_request::CacheUse;
use entity::{ChatId, MessageId, OwnerId, Timestamp};
use pollen::chat::{Abandoned, Again, Cursors, NewChat, NewMessage, Otherwise, SendError};
use pollen::ledger::Leases;
use pollen::model::failure::{Failure, FailureCode};
use pollen::provider::{Event, ProviderError, Verdict};
use pollen::store::UsageGroup;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest};

use super::client::{Client, Text};
use super::node::{Hands, Node, give_up};
use super::reference::{CHATS, CLIENTS, Did, MEANWHILE, Reference, State, Step, StreamEnd, Texts};
use super::steps::Machine;
use crate::support::Database;
use crate::support::database::Kind;

const OWNER: OwnerId = OwnerId::LOCAL;
/// The client that polls whenever a model has said something.
const EAGER: usize = CLIENTS - 1;

/// Everything that is there.
pub struct System {
    clock: Arc<Hands>,
    nodes: Vec<Node>,
    clients: Vec<Client>,
    chats: Vec<ChatId>,
    /// The ids of the reference's messages.
    ids: Vec<MessageId>,
    database: Database,
}

impl System {
    async fn start(reference: &Reference) -> Self {
        let kind = if reference.nodes == 1 {
            Kind::Sqlite
        } else {
            Kind::Postgres
        };
        let database = Database::create(kind).await;
        let clock = Arc::<Hands>::default();
        clock.set(reference.now);
        let mut nodes = Vec::new();
        for _ in 0..reference.nodes {
            nodes.push(Node::start(&database.url, &clock, reference.replaces_broken).await);
        }
        let mut chats = Vec::new();
        for _ in 0..CHATS {
            let created = nodes[0].chats.create(OWNER, NewChat::default(), None).await;
            chats.push(created.unwrap().chat.id);
        }
        let clients = (0..CLIENTS).map(Client::new).collect();
        Self {
            clock,
            nodes,
            clients,
            chats,
            ids: Vec::new(),
            database,
        }
    }

    async fn step(&mut self, step: &Step, after: &Reference) {
        self.clock.set(after.now);
        match (step, &after.did) {
            (
                Step::Send {
                    node,
                    chat,
                    on_busy,
                },
                Did::Send { text, taken },
            ) => {
                let chats = &self.nodes[*node].chats;
                let chat = chats.own(OWNER, self.chats[*chat]).await.unwrap();
                let new = NewMessage {
                    id: None,
                    text: text.clone(),
                    on_busy: Some(*on_busy),
                    otherwise: Otherwise::default(),
                };
                let sent = chats.send(&chat, new, None).await;
                assert_eq!(sent.is_ok(), *taken, "{sent:?}");
                assert!(matches!(sent, Ok(_) | Err(SendError::Busy)), "{sent:?}");
            }
            (Step::Claim { node }, Did::Claim { answer, history }) => {
                self.claim(*node, *answer, history, after).await;
            }
            (Step::Say { piece, thinks, .. }, Did::Writer(node, answer)) => {
                let piece = (*piece).to_owned();
                let event = if *thinks {
                    Event::Reasoning(piece)
                } else {
                    Event::Text(piece)
                };
                self.say(*node, *answer, event, after).await;
            }
            (Step::End { how, .. }, Did::Writer(node, answer)) => {
                let writing = self.nodes[*node]
                    .writing
                    .remove(&self.ids[*answer])
                    .unwrap();
                if let Some(last) = last_word(*how) {
                    writing.say(last);
                }
                writing.end().await;
            }
            (Step::Flush { node, renew, lost }, Did::Flush { .. }) => {
                self.flush(*node, *renew, *lost, after).await;
            }
            (Step::Restart { node, in_order }, _) => {
                let mut before = self.nodes.remove(*node);
                if *in_order {
                    before.let_go().await;
                }
                before.die().await;
                let next = Node::start(&self.database.url, &self.clock, after.replaces_broken);
                self.nodes.insert(*node, next.await);
            }
            (Step::Rescue { node }, _) => {
                let chats = &self.nodes[*node].chats;
                chats.rescue(Abandoned::LeaseExpired).await.unwrap();
                chats.repair().await.unwrap();
            }
            (Step::PollMessages { client, node, chat }, _) => {
                self.poll_messages(*client, *node, *chat, after).await;
            }
            (Step::PollTokens { client, node, .. }, Did::Message { message, .. }) => {
                self.poll_tokens(*client, *node, *message, after).await;
            }
            (step, Did::Message { message, granted }) => {
                let done = self.ask(step, *message, after).await;
                assert_eq!(done.is_ok(), *granted, "{done:?}");
            }
            (_, did) => assert_eq!(did, &Did::Nothing),
        }
        if !matches!(
            step,
            Step::Say { .. } | Step::PollMessages { .. } | Step::PollTokens { .. }
        ) {
            self.compare(after).await;
        }
    }

    /// Does to a message what a user can do to it.
    async fn ask(&self, step: &Step, message: usize, after: &Reference) -> Result<(), String> {
        let id = self.ids[message];
        let chats = |node: &usize| &self.nodes[*node].chats;
        match step {
            Step::Cancel { node, .. } => said(chats(node).cancel(OWNER, id, None).await),
            Step::Retry { node, .. } => said(
                chats(node)
                    .ask_again(OWNER, id, Again::Retry, &Otherwise::default(), None)
                    .await,
            ),
            Step::Regenerate { node, .. } => said(
                chats(node)
                    .ask_again(OWNER, id, Again::Regenerate, &Otherwise::default(), None)
                    .await,
            ),
            Step::Select { node, number, .. } => {
                let number = i64::try_from(*number).unwrap();
                said(chats(node).select_version(OWNER, id, number, None).await)
            }
            Step::Edit { node, .. } => {
                let text = after.messages[message].now.texts.said.clone();
                said(chats(node).edit(OWNER, id, text, CacheUse::Any).await)
            }
            Step::Delete { node, .. } => said(chats(node).delete_message(OWNER, id).await),
            step => panic!("{step:?} is not asked of a message"),
        }
    }

    async fn claim(
        &mut self,
        node: usize,
        answer: Option<usize>,
        history: &[String],
        after: &Reference,
    ) {
        let claimed = self.nodes[node].claim().await;
        let Some((asked, writing)) = claimed else {
            return assert_eq!(answer, None, "nothing could be claimed");
        };
        assert_eq!(asked, history, "what the model is sent");
        self.learn_ids(after).await;
        let id = self.ids[answer.expect("something was claimed")];
        let before = self.nodes[node].writing.insert(id, writing);
        if let Some(before) = before {
            before.stopped().await;
        }
    }

    async fn say(&mut self, number: usize, answer: usize, event: Event, after: &Reference) {
        let writer = after
            .writers
            .iter()
            .find(|w| (w.node, w.answer) == (number, answer));
        let (id, node) = (self.ids[answer], &self.nodes[number]);
        node.writing[&id].say(Ok(event));
        node.heard(id, &writer.unwrap().texts).await;
        // Somebody always reads along, and so has seen what a crash may lose.
        self.poll_tokens(EAGER, number, answer, after).await;
    }

    async fn flush(&mut self, number: usize, renew: bool, lost: Option<usize>, after: &Reference) {
        let node = &self.nodes[number];
        let leases = if renew { Leases::Renew } else { Leases::Keep };
        if let Some(polls) = lost {
            give_up(node.flusher.flush(leases), polls).await;
            for writing in node.writing.values() {
                writing.say(Ok(Event::Reasoning(MEANWHILE.to_owned())));
                writing.say(Ok(Event::Text(MEANWHILE.to_owned())));
            }
            for writer in after.writers.iter().filter(|writer| writer.node == number) {
                node.heard(self.ids[writer.answer], &writer.texts).await;
            }
            // This one writes again what may be there already, and the next one the rest.
            node.flusher.flush(leases).await.unwrap();
        }
        node.flusher.flush(leases).await.unwrap();
    }

    async fn poll_messages(&mut self, client: usize, node: usize, chat: usize, after: &Reference) {
        let (client, id) = (&mut self.clients[client], self.chats[chat]);
        client.poll_messages(&self.nodes[node].chats, id).await;
        let known = &client.feeds[&id].known;
        let in_chat = after
            .messages
            .iter()
            .zip(&self.ids)
            .filter(|(m, _)| m.chat == chat);
        for (message, id) in in_chat {
            let Some(known) = known.get(id) else {
                assert!(!message.is_visible(), "P10: a message was skipped");
                continue;
            };
            if client.sends_revision {
                assert_eq!(known.is_gone, !message.is_visible(), "P11: {known:?}");
                assert_eq!(known.status, message.now.status, "P11: {known:?}");
                let is_same = message.is_written() || known.content == message.now.texts.said;
                assert!(is_same || known.is_gone, "P11: {known:?}, not {message:?}");
            }
        }
        let order: Vec<i64> = self
            .ids
            .iter()
            .filter_map(|id| known.get(id))
            .map(|k| k.sequence)
            .collect();
        assert!(order.is_sorted(), "the order of the messages");
    }

    async fn poll_tokens(&mut self, client: usize, node: usize, message: usize, after: &Reference) {
        let (id, row) = (self.ids[message], &after.messages[message]);
        let chats = &self.nodes[node].chats;
        // A node that has lost an answer and not noticed shows it for a moment.
        let stale = after
            .writers
            .iter()
            .find(|w| (w.node, w.answer) == (node, message));
        if row.deleted && stale.is_none() {
            let start = Cursors {
                text: pollen::model::position::Position::START,
                reasoning: None,
            };
            let polled = chats.poll_tokens(OWNER, id, start);
            assert!(polled.await.is_err(), "a deleted message is gone");
            return;
        }
        if row.deleted {
            return;
        }
        let client = &mut self.clients[client];
        let Text {
            said,
            thought,
            status,
        } = client.poll_tokens(chats, id).await;
        let texts = Texts {
            said: said.so_far,
            thought: thought.so_far,
        };
        // Who does not ask for the thoughts has at most those that the message came with.
        let seen_of = |of: &Texts| Texts {
            said: of.said.clone(),
            thought: if client.reads_thoughts {
                of.thought.clone()
            } else {
                texts.thought.clone()
            },
        };
        if status != Status::Pending {
            assert_eq!(
                (&texts, status),
                (&seen_of(&row.now.texts), row.now.status),
                "P4"
            );
        } else if after.nodes == 1 {
            assert_eq!(
                texts,
                seen_of(after.shown(node, message)),
                "the texts so far"
            );
        } else {
            assert!(
                after.has_said(message, &texts),
                "{texts:?} was never said in {row:?}"
            );
        }
    }

    /// The rows of the reference's messages: a chat's are in the order of their sequence numbers.
    async fn learn_ids(&mut self, reference: &Reference) -> Vec<Row> {
        let mut of_chats = Vec::new();
        for chat in &self.chats {
            let rows = self.nodes[0].store.all_messages(*chat).await.unwrap();
            of_chats.push(rows.into_iter());
        }
        let mut rows = Vec::new();
        for message in &reference.messages {
            rows.push(of_chats[message.chat].next().expect("a message is missing"));
        }
        assert!(
            of_chats.iter_mut().all(|rest| rest.next().is_none()),
            "a message too many"
        );
        self.ids = rows.iter().map(|row| row.id).collect();
        rows
    }

    /// Compares all that is stored and shown with the reference.
    async fn compare(&mut self, reference: &Reference) {
        let rows = self.learn_ids(reference).await;
        for (number, node) in self.nodes.iter_mut().enumerate() {
            let writers = reference
                .writers
                .iter()
                .filter(|writer| writer.node == number);
            let expected: Vec<MessageId> = writers.map(|w| self.ids[w.answer]).collect();
            node.reap(&expected).await;
        }
        for (at, row) in rows.iter().enumerate() {
            self.compare_message(reference, at, row).await;
        }
        if let Did::Message { message, .. } = reference.did {
            self.compare_versions(reference, message).await;
        }
        self.compare_requests(reference).await;
        self.find_nothing_to_repair().await;
    }

    /// No transaction leaves rows whose states disagree.
    async fn find_nothing_to_repair(&self) {
        let store = &self.nodes[0].store;
        let answers = store.lost_answers().await.unwrap();
        assert!(
            answers.is_empty(),
            "answers that nobody writes: {answers:?}"
        );
        let questions = store.lost_questions().await.unwrap();
        assert!(
            questions.is_empty(),
            "questions that nobody answers: {questions:?}"
        );
        let requests = store.pointless_requests().await.unwrap();
        assert!(
            requests.is_empty(),
            "requests without a point: {requests:?}"
        );
        let chats = store.mistaken_chats().await.unwrap();
        assert!(
            chats.is_empty(),
            "chats that do not say whose turn it is: {chats:?}"
        );
    }

    async fn compare_message(&self, reference: &Reference, at: usize, row: &Row) {
        let message = &reference.messages[at];
        let found = (
            row.status,
            row.deleted_at.is_some(),
            row.superseded_at.is_some(),
        );
        let expected = (message.now.status, message.deleted, message.superseded);
        assert_eq!(found, expected, "message {at}, {message:?}");
        if !message.is_written() {
            let found = (&row.content, &row.reasoning);
            let expected = (&message.now.texts.said, &message.now.texts.thought);
            assert_eq!(found, expected, "message {at}, {message:?}");
            return;
        }
        for (number, node) in self.nodes.iter().enumerate() {
            let read = node.chats.message(OWNER, row.id).await.unwrap();
            let read = Texts {
                said: read.content,
                thought: read.reasoning,
            };
            assert_eq!(
                read,
                *reference.shown(number, at),
                "message {at} at node {number}"
            );
        }
    }

    async fn compare_versions(&self, reference: &Reference, at: usize) {
        let message = &reference.messages[at];
        if message.deleted {
            return;
        }
        let found = self.nodes[0]
            .chats
            .versions(OWNER, self.ids[at])
            .await
            .unwrap()
            .versions;
        let found: Vec<_> = found
            .into_iter()
            .map(|v| (usize::try_from(v.number).unwrap(), v.status, v.content))
            .collect();
        let mut all = message.kept.clone();
        all.insert(message.number, message.now.clone());
        let shown = all.get_mut(&message.number).unwrap();
        shown.texts.clone_from(reference.shown(0, at));
        let all: Vec<_> = all
            .into_iter()
            .map(|(number, v)| (number, v.status, v.texts.said))
            .collect();
        assert_eq!(found, all, "the versions of message {at}");
    }

    async fn compare_requests(&self, reference: &Reference) {
        let store = &self.nodes[0].store;
        let usage = store.usage(
            OWNER,
            UsageGroup::Chat,
            Timestamp(0),
            Timestamp(i64::MAX),
            10,
        );
        let usage = usage.await.unwrap();
        for (at, chat) in self.chats.iter().enumerate() {
            let found = store.active_requests(*chat).await.unwrap();
            let found_ids: Vec<_> = found.iter().map(|request| request.id).collect();
            let running = entity::llm_request::Status::Running;
            let found: Vec<_> = found
                .into_iter()
                .map(|r| {
                    (
                        r.user_message_id,
                        r.status == running,
                        usize::try_from(r.attempt).unwrap(),
                    )
                })
                .collect();
            let expected: Vec<_> = reference
                .active(at)
                .into_iter()
                .map(|r| &reference.requests[r])
                .map(|r| (self.ids[r.question], r.state == State::Running, r.attempt()))
                .collect();
            assert_eq!(found, expected, "what runs and waits in chat {at}");
            for (id, request) in found_ids.into_iter().zip(reference.active(at)) {
                let kept = store.last_ledger_text(id).await.unwrap();
                let kept = kept.map(|(_, texts)| texts).unwrap_or_default();
                let kept = Texts {
                    said: kept.text,
                    thought: kept.reasoning,
                };
                let expected = reference.requests[request].remains();
                assert_eq!(kept, expected, "what would be kept if all nodes died now");
            }
            let key = chat.to_string().replace('-', "");
            let sum = usage.iter().find(|sum| sum.key.replace('-', "") == key);
            let attempts = sum.map_or(0, |sum| sum.attempts);
            assert_eq!(
                attempts, reference.ended[at],
                "the usage ledger has a row for each attempt"
            );
        }
    }

    /// Everything is brought to its end, and then everybody knows everything.
    async fn settle(mut self, mut reference: Reference) {
        while let Some(step) = reference.unfinished() {
            reference.step(&step);
            self.step(&step, &reference).await;
        }
        for client in 0..CLIENTS {
            for node in 0..self.nodes.len() {
                for chat in 0..CHATS {
                    self.poll_messages(client, node, chat, &reference).await;
                }
                for message in 0..reference.messages.len() {
                    self.poll_tokens(client, node, message, &reference).await;
                }
            }
        }
        for node in self.nodes {
            node.die().await;
        }
    }
}

fn said<T, E: std::error::Error>(result: Result<T, E>) -> Result<(), String> {
    result.map(drop).map_err(|error| format!("{error:?}"))
}

/// What the model says last.
fn last_word(how: StreamEnd) -> Option<Result<Event, ProviderError>> {
    let error = |verdict| ProviderError {
        failure: Failure::new(FailureCode::ProviderError, "It failed."),
        verdict,
        detail: None,
        is_model_or_address: false,
    };
    match how {
        StreamEnd::Finished => Some(Ok(Event::Finished {
            reason: "stop".into(),
        })),
        StreamEnd::BrokeOff => None,
        StreamEnd::Passing => Some(Err(error(Verdict::Retry { after: None }))),
        StreamEnd::Refused => Some(Err(error(Verdict::Fail))),
    }
}

/// The system, and what runs it.
pub struct Run {
    runtime: tokio::runtime::Runtime,
    system: System,
}

/// The test of so many nodes: one on SQLite, several on PostgreSQL.
pub struct Chatting<const NODES: usize>;

impl<const NODES: usize> StateMachineTest for Chatting<NODES> {
    type SystemUnderTest = Run;
    type Reference = Machine<NODES>;

    fn init_test(reference: &Reference) -> Run {
        // One thread: a task runs when the test waits, and no sooner.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let system = runtime.block_on(System::start(reference));
        Run { runtime, system }
    }

    fn apply(
        mut run: Run,
        after: &<Machine<NODES> as ReferenceStateMachine>::State,
        step: Step,
    ) -> Run {
        run.runtime.block_on(run.system.step(&step, after));
        run
    }

    fn teardown(run: Run, reference: Reference) {
        run.runtime.block_on(run.system.settle(reference));
    }
}
