//! Agents: which there are, and how a chat gets one. A chat takes its agent on while it is empty: the
//! system prompt is stored in it, and so is the greeting, so that both stay what they were.

use std::sync::Arc;

use entity::chat::Model as Chat;
use entity::chat_message::{Model as Message, Role, Status};
use entity::{MessageId, Timestamp};

use super::{Chats, Member, ModelError, Once, OnceError, OwnedChat};
use crate::model::agent::{Agent, Values, render};
use crate::store::{Advance, ChatChange, StoreError, Tx};

/// What an agent calls somebody of whom no name is known.
const NAMELESS_USER: &str = "the user";

#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    #[error("there is no agent {alias:?}; there are: {}", known.join(", "))]
    Unknown { alias: String, known: Vec<String> },
    #[error("the chat is not empty any more; start a new one to talk to another agent")]
    NotEmpty,
    #[error(transparent)]
    Model(#[from] ModelError),
    #[error("the chat is gone")]
    ChatGone,
    #[error(transparent)]
    Once(#[from] OnceError),
    #[error("the agent could not be stored")]
    Store(#[from] StoreError),
}

impl Chats {
    /// All agents, in the order in which they are shown.
    #[must_use]
    pub fn agents(&self) -> Arc<[Agent]> {
        Arc::clone(&self.rules().settings.agents)
    }

    /// The agent of this alias.
    ///
    /// # Errors
    /// If there is none.
    pub fn agent(&self, alias: &str) -> Result<Agent, AgentError> {
        let agents = self.agents();
        let found = agents.iter().find(|agent| agent.alias == alias);
        found.cloned().ok_or_else(|| AgentError::Unknown {
            alias: alias.to_owned(),
            known: agents.iter().map(|agent| agent.alias.clone()).collect(),
        })
    }

    /// Gives an empty chat an agent. The chat as it then is.
    ///
    /// # Errors
    /// If there is no such agent, the chat is not empty or gone, or the database fails.
    pub async fn set_agent(
        &self,
        chat: &OwnedChat,
        alias: &str,
        once: Option<&Once>,
    ) -> Result<Chat, AgentError> {
        let agent = &self.agent(alias)?;
        let (id, member) = (chat.id(), &self.member(chat.row().owner_id).await?);
        self.once(once, |tx| async move {
            let now = self.clock.now();
            let advanced = tx.advance_chat(id, Advance::touch(now)).await?;
            let chat = advanced.ok_or(AgentError::ChatGone)?;
            self.adopt(&tx, &chat, (agent, None), member).await
        })
        .await
    }

    /// Puts an agent's words into a chat, and takes out those of the one before. A model that is `named`
    /// goes before the agent's own. The chat must have been advanced in this transaction.
    pub(super) async fn adopt(
        &self,
        tx: &Tx,
        chat: &Chat,
        (agent, named): (&Agent, Option<&str>),
        member: &Member,
    ) -> Result<Chat, AgentError> {
        if tx.has_question(chat.id).await? {
            return Err(AgentError::NotEmpty);
        }
        let now = self.clock.now();
        let new = named.or(agent.model.as_deref());
        if let Some(model) = new {
            self.known_model(member, model)?;
        }
        let model = new.or(chat.model.as_deref());
        let route = self.route(member, model)?;
        let values = Values {
            now,
            user: user_name(member),
            agent: &agent.name,
            model: &route.spec.name,
        };
        let change = ChatChange {
            agent: Some(agent.alias.clone()),
            model: new.map(str::to_owned),
            ..ChatChange::default()
        };
        tx.change_chat(chat.id, change).await?;
        self.retire_prologue(tx, chat, |_| true).await?;
        let system = render(&agent.system_prompt, &values);
        let greeting = render(&agent.greeting, &values);
        self.say(tx, chat, Role::System, &system).await?;
        self.say(tx, chat, Role::Assistant, &greeting).await?;
        let chat = tx.chat(chat.id).await?;
        chat.ok_or(AgentError::ChatGone)
    }

    /// What the agent of a chat that comes from elsewhere says to its model. None: nothing.
    pub(super) fn system_words_of(&self, chat: &Chat, member: &Member) -> Option<String> {
        let agent = self.agent(chat.agent.as_deref()?).ok()?;
        let route = self.route(member, chat.model.as_deref()).ok()?;
        self.system_words(&agent, &route.spec.name, member)
    }

    /// What an agent says to the model of this name. None: nothing.
    pub(super) fn system_words(
        &self,
        agent: &Agent,
        model: &str,
        member: &Member,
    ) -> Option<String> {
        let values = Values {
            now: self.clock.now(),
            user: user_name(member),
            agent: &agent.name,
            model,
        };
        let words = render(&agent.system_prompt, &values);
        (!words.trim().is_empty()).then_some(words)
    }

    /// Sets the system prompt of a chat in the place of the one that it has.
    pub(super) async fn set_system(
        &self,
        tx: &Tx,
        chat: &Chat,
        text: &str,
    ) -> Result<(), StoreError> {
        let is_system = |message: &Message| message.role == Role::System;
        self.retire_prologue(tx, chat, is_system).await?;
        self.say(tx, chat, Role::System, text).await
    }

    async fn retire_prologue(
        &self,
        tx: &Tx,
        chat: &Chat,
        which: impl Fn(&Message) -> bool,
    ) -> Result<(), StoreError> {
        let before = tx.prologue(chat.id).await?;
        let ids: Vec<MessageId> = before
            .iter()
            .filter(|message| which(message))
            .map(|message| message.id)
            .collect();
        tx.supersede_messages(&ids, chat.revision, self.clock.now())
            .await
    }

    /// Adds a message that nobody was asked for; nothing if there is nothing to say.
    async fn say(&self, tx: &Tx, chat: &Chat, role: Role, text: &str) -> Result<(), StoreError> {
        if text.trim().is_empty() {
            return Ok(());
        }
        let now = self.clock.now();
        let advance = Advance {
            messages: 1,
            status: None,
            now,
        };
        let chat = tx.advance_chat(chat.id, advance).await?;
        let chat = chat.ok_or(StoreError::Missing { what: "chat" })?;
        tx.insert_message(finished_message(&chat, role, text, now))
            .await
    }
}

/// A message that is complete as it is, at the last place that the chat has given out.
pub(super) fn finished_message(chat: &Chat, role: Role, text: &str, now: Timestamp) -> Message {
    Message {
        id: MessageId::generate(),
        chat_id: chat.id,
        sequence: chat.next_sequence - 1,
        revision: chat.revision,
        role,
        status: Status::Completed,
        reply_to: None,
        request_id: None,
        content: text.to_owned(),
        reasoning: String::new(),
        origin: None,
        edition: 0,
        version: 1,
        versions: 1,
        error_code: None,
        error_message: None,
        reaction: None,
        reaction_comment: None,
        created_at: now,
        completed_at: Some(now),
        deleted_at: None,
        superseded_at: None,
    }
}

fn user_name(member: &Member) -> &str {
    if member.name.is_empty() {
        NAMELESS_USER
    } else {
        &member.name
    }
}
