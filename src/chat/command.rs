//! Slash commands: a message that begins with a slash is carried out by the server, which answers it as
//! an `agent` message. The command, what it does and the answer are one transaction; no model is asked,
//! and no model is ever shown either of the two messages.

use std::fmt::Write as _;

use entity::chat::Model as Chat;
use entity::chat_message::{Model as Message, Role, Status};
use entity::llm_request::CacheUse;
use entity::{MessageId, OwnerId, llm_request};

use super::agents::finished_message;
use super::end::{Cut, End};
use super::send::{Question, Sent, known};
use super::standing::Standing;
use super::{
    Again, AgainError, AgentError, Chats, ExportFormat, MAX_STALE, Once, Otherwise, OwnedChat,
    SendError,
};
use crate::fault;
use crate::model::command::{Name, Parsed, listing};
use crate::model::text::{MessageText, Title};
use crate::store::{Advance, ChatChange, StoreError, Tx, UsageGroup};

/// Models that `/model` lists at most.
const LISTED_MODELS: usize = 60;

/// A command on its way.
pub(super) struct Order {
    /// None: there is no such command.
    name: Option<Name>,
    /// What stands behind the command; or the unknown word itself.
    argument: String,
    /// What was looked up before, for commands that only tell something.
    facts: String,
    /// Whose it is, and whether it may ask a model, if it is one that does.
    standing: Standing,
}

impl Chats {
    /// Carries out a command in a chat.
    pub(super) async fn send_command(
        &self,
        chat: &OwnedChat,
        id: Option<MessageId>,
        text: &MessageText,
        parsed: Parsed,
        cache_use: CacheUse,
        once: Option<&Once>,
    ) -> Result<Sent, SendError> {
        let otherwise = &Otherwise {
            cache_use,
            ..Otherwise::default()
        };
        let owner = chat.row().owner_id;
        let order = &self.order(owner, parsed).await?;
        for _ in 0..MAX_STALE {
            let cuts = self.cuts(chat, order).await?;
            let cuts_here = &cuts;
            let question = &Question {
                chat: chat.id(),
                id,
                text,
                otherwise,
                now: self.clock.now(),
            };
            let done = self
                .once(once, |tx| async move {
                    if let Some(known) = known(&tx, question).await? {
                        return Ok(known);
                    }
                    let done = self.carry_out(&tx, question, order, cuts_here).await?;
                    fault::point("send.before_commit");
                    Ok::<_, SendError>(done)
                })
                .await;
            match done {
                Err(SendError::Store(StoreError::Stale)) => self.let_others_pass().await,
                Err(SendError::Store(StoreError::Missing { .. })) => {
                    return Err(SendError::ChatGone);
                }
                Err(SendError::Store(error)) if error.is_duplicate() => {
                    return Err(SendError::UuidTaken);
                }
                Err(error) => return Err(error),
                Ok(sent) => {
                    if let Err(error) = self.finish_cuts(cuts).await {
                        // It is stored. The tasks find out at their next flush.
                        tracing::warn!(%error, "the stopped answers could not be looked at");
                    }
                    self.announce();
                    return Ok(sent);
                }
            }
        }
        Err(StoreError::Stale.into())
    }

    /// Gets a command ready: what it tells is looked up while no transaction is open.
    pub(super) async fn order(&self, owner: OwnerId, parsed: Parsed) -> Result<Order, StoreError> {
        let (name, argument) = match parsed {
            Parsed::Command { name, argument } => (Some(name), argument),
            Parsed::Unknown(word) | Parsed::Message(word) => (None, word),
        };
        let facts = match name {
            Some(Name::Model) if argument.is_empty() => self.list_models(owner).await?,
            Some(Name::Usage) => self.tell_usage(owner).await?,
            _ => String::new(),
        };
        let member = self.member(owner).await?;
        let spent = match name {
            Some(Name::Retry) => self.allowance(&member).await?,
            _ => Ok(()),
        };
        Ok(Order {
            name,
            argument,
            facts,
            standing: Standing { member, spent },
        })
    }

    /// The answers that the command ends.
    async fn cuts(&self, chat: &OwnedChat, order: &Order) -> Result<Vec<Cut>, StoreError> {
        let mut cuts = Vec::new();
        if matches!(order.name, Some(Name::Stop | Name::Clear)) {
            for request in self.store.active_requests(chat.id()).await? {
                if request.started_at.is_some() {
                    cuts.push(self.cut(request).await?);
                }
            }
        }
        Ok(cuts)
    }

    /// Those that have ended are done with; an answer out of the memory of a key has ended nothing.
    async fn finish_cuts(&self, cuts: Vec<Cut>) -> Result<(), StoreError> {
        for cut in cuts {
            let now = self.store.request(cut.request.id).await?;
            let is_active = now.is_some_and(|now| {
                matches!(
                    now.status,
                    llm_request::Status::Queued | llm_request::Status::Running
                )
            });
            if !is_active {
                cut.done(self);
            }
        }
        Ok(())
    }

    /// Does what the command says and writes down both sides of it. The command as a message.
    pub(super) async fn carry_out(
        &self,
        tx: &Tx,
        question: &Question<'_>,
        order: &Order,
        cuts: &[Cut],
    ) -> Result<Sent, StoreError> {
        // The requests before the chat, as a claim locks them.
        let mut stopped = 0;
        if matches!(order.name, Some(Name::Stop | Name::Clear)) {
            stopped = self.end_all(tx, question, order, cuts).await?;
        }
        let now = question.now;
        let advance = Advance::touch(now);
        let chat = tx.advance_chat(question.chat, advance).await?;
        let chat = chat.ok_or(StoreError::Missing { what: "chat" })?;
        if let Some(id) = question.id
            && tx.message(id).await?.is_some()
        {
            // The same send was faster by the chat's lock: it is found when this is run again.
            return Err(StoreError::Raced);
        }
        if order.name == Some(Name::Clear) && !tx.active_requests(chat.id).await?.is_empty() {
            // Somebody sent one meanwhile.
            return Err(StoreError::Stale);
        }
        let (reply, request) = self.perform(tx, &chat, question, order, stopped).await?;
        let advance = Advance {
            messages: 2,
            status: None,
            now,
        };
        let chat = tx.advance_chat(question.chat, advance).await?;
        let chat = chat.ok_or(StoreError::Missing { what: "chat" })?;
        let asked = Message {
            id: question.id.unwrap_or_else(MessageId::generate),
            sequence: chat.next_sequence - 2,
            ..finished_message(&chat, Role::User, question.text.as_str(), now)
        };
        let reply = Message {
            reply_to: Some(asked.id),
            ..finished_message(&chat, Role::Agent, &reply, now)
        };
        tx.insert_message(asked.clone()).await?;
        tx.insert_message(reply).await?;
        Ok(Sent {
            message: asked,
            request,
        })
    }

    /// Ends the answer that is being written, or with `/clear` also what waits. How many there were.
    async fn end_all(
        &self,
        tx: &Tx,
        question: &Question<'_>,
        order: &Order,
        cuts: &[Cut],
    ) -> Result<usize, StoreError> {
        let active = tx.lock_active_requests(question.chat).await?;
        let is_cut =
            |request: &llm_request::Model| cuts.iter().any(|cut| cut.request.id == request.id);
        if active
            .iter()
            .any(|request| request.started_at.is_some() && !is_cut(request))
        {
            // Claimed since it was looked at.
            return Err(StoreError::Stale);
        }
        for cut in cuts {
            let ended = self.end_answer(tx, &cut.request, cut.ending(End::Cancelled));
            ended.await?.ok_or(StoreError::Stale)?;
        }
        if order.name == Some(Name::Clear) {
            for request in active.iter().filter(|request| !is_cut(request)) {
                if !tx.withdraw_request(request.id, question.now).await? {
                    return Err(StoreError::Stale);
                }
            }
        }
        Ok(cuts.len())
    }

    /// What the command does, and what it answers. A mistake of the user's is an answer too.
    async fn perform(
        &self,
        tx: &Tx,
        chat: &Chat,
        question: &Question<'_>,
        order: &Order,
        stopped: usize,
    ) -> Result<(String, Option<entity::RequestId>), StoreError> {
        let argument = order.argument.as_str();
        let Some(name) = order.name else {
            let commands = listing();
            return Ok((
                format!(
                    "There is no command `{argument}`. There are:\n\n{commands}\nTo send a message that begins with a slash, write two: `//`."
                ),
                None,
            ));
        };
        let reply = match name {
            Name::Help => format!(
                "{}\nA message that begins with two slashes is sent with one.",
                listing()
            ),
            Name::Model if argument.is_empty() => {
                let model = chat.model.as_deref();
                let rules = self.rules();
                let model = model.unwrap_or(&rules.catalogue.default_model().id);
                format!("This chat is answered by `{model}`.\n\n{}", order.facts)
            }
            Name::Model => self.choose_model(tx, chat, order).await?,
            Name::Agent if argument.is_empty() => self.list_agents(chat),
            Name::Agent => self.choose_agent(tx, chat, order).await?,
            Name::System if argument.is_empty() => {
                "What is the model to be told? Write `/system` and then the text.".to_owned()
            }
            Name::System => {
                self.set_system(tx, chat, argument).await?;
                "The system prompt is set. It holds from the next message on.".to_owned()
            }
            Name::Title => rename(tx, chat, argument).await?,
            Name::Retry => {
                let cache_use = question.otherwise.cache_use;
                return self.retry_last(tx, chat, cache_use, &order.standing).await;
            }
            Name::Stop if stopped > 0 => "Stopped.".to_owned(),
            Name::Stop => "Nothing is being written in this chat.".to_owned(),
            Name::Clear => {
                clear(tx, chat).await?;
                "This chat is empty now.".to_owned()
            }
            Name::Export => export_link(chat, argument),
            Name::Usage => order.facts.clone(),
        };
        Ok((reply, None))
    }

    async fn choose_model(
        &self,
        tx: &Tx,
        chat: &Chat,
        order: &Order,
    ) -> Result<String, StoreError> {
        match self.known_model(&order.standing.member, &order.argument) {
            Err(error) => Ok(format!("{error}. `/model` alone lists them.")),
            Ok(model) => {
                let model = model.into_string();
                let reply = format!("From the next message on `{model}` answers.");
                let change = ChatChange {
                    model: Some(model),
                    ..ChatChange::default()
                };
                tx.change_chat(chat.id, change).await?;
                Ok(reply)
            }
        }
    }

    async fn choose_agent(
        &self,
        tx: &Tx,
        chat: &Chat,
        order: &Order,
    ) -> Result<String, StoreError> {
        let member = &order.standing.member;
        let adopted = match self.agent(&order.argument) {
            Ok(agent) => {
                let adopted = self.adopt(tx, chat, (&agent, None), member).await;
                adopted.map(|_| agent)
            }
            Err(error) => Err(error),
        };
        match adopted {
            Ok(agent) => Ok(format!("You are talking to **{}** now.", agent.name)),
            Err(AgentError::Store(error)) => Err(error),
            Err(error) => Ok(format!("{error}.")),
        }
    }

    /// Asks for the last answer again, as the buttons do.
    async fn retry_last(
        &self,
        tx: &Tx,
        chat: &Chat,
        cache_use: CacheUse,
        standing: &Standing,
    ) -> Result<(String, Option<entity::RequestId>), StoreError> {
        let Some(answer) = tx.last_answer(chat.id).await? else {
            return Ok((
                "There is no answer yet that could be asked for again.".to_owned(),
                None,
            ));
        };
        let again = match answer.status {
            Status::Completed => Again::Regenerate,
            Status::Pending | Status::Failed | Status::Cancelled => Again::Retry,
        };
        let otherwise = Otherwise {
            cache_use,
            ..Otherwise::default()
        };
        let asked = (answer.id, again, &otherwise);
        match self.again_in(tx, chat, asked, standing).await {
            Ok(sent) => {
                self.follower.forget(answer.id);
                Ok(("Asked again.".to_owned(), sent.request))
            }
            Err(AgainError::Store(error)) => Err(error),
            Err(error) => Ok((format!("{error}."), None)),
        }
    }

    fn list_agents(&self, chat: &Chat) -> String {
        let mut list = match chat.agent.as_deref().map(|alias| self.agent(alias)) {
            Some(Ok(agent)) => format!("You are talking to **{}**.\n\n", agent.name),
            _ => String::new(),
        };
        let agents = self.agents();
        for agent in &*agents {
            // Writing to a String cannot fail.
            let _ = writeln!(
                list,
                "- `{}` – {} **{}**: {}",
                agent.alias, agent.icon, agent.name, agent.description
            );
        }
        if agents.is_empty() {
            list.push_str("There are no agents here.");
        }
        list
    }

    async fn list_models(&self, owner: OwnerId) -> Result<String, StoreError> {
        let offers = self.models(owner).await?;
        let mut list = String::new();
        for offer in offers.iter().take(LISTED_MODELS) {
            let (spec, mark) = (
                &offer.spec,
                if offer.is_default {
                    ", the default"
                } else {
                    ""
                },
            );
            let _ = writeln!(list, "- `{}` ({}{mark})", spec.id, spec.provider);
        }
        if offers.len() > LISTED_MODELS {
            let _ = writeln!(list, "\nand {} more.", offers.len() - LISTED_MODELS);
        }
        Ok(list)
    }

    async fn tell_usage(&self, owner: OwnerId) -> Result<String, StoreError> {
        let report = match self.usage(owner, UsageGroup::Model, None, None).await {
            Ok(report) => report,
            Err(super::UsageError::Store(error)) => return Err(error),
            Err(super::UsageError::EmptyRange) => return Ok(String::new()),
        };
        let mut told = String::from(
            "In the last 30 days:\n\n| model | answers | tokens read | tokens written | cost |\n| --- | --: | --: | --: | --: |\n",
        );
        let rows = report.rows.iter().map(|row| (row.name.as_str(), &row.sum));
        for (name, sum) in rows.chain([("all", &report.total)]) {
            let cost = if sum.priced > 0 {
                format!("{:.4}", crate::model::usage::amount(sum.cost_micros))
            } else {
                "–".to_owned()
            };
            let _ = writeln!(
                told,
                "| {name} | {} | {} | {} | {cost} |",
                sum.attempts, sum.input_tokens, sum.output_tokens
            );
        }
        if let Some(line) = super::usage::cache_line(&report.total) {
            let _ = writeln!(told, "\n{line}");
        }
        for line in super::usage::spelled(&report.limits) {
            let _ = writeln!(told, "\n{line}");
        }
        Ok(told)
    }
}

async fn rename(tx: &Tx, chat: &Chat, argument: &str) -> Result<String, StoreError> {
    match Title::parse(argument) {
        Err(error) => Ok(format!("{error}.")),
        Ok(title) => {
            let title = title.into_string();
            let reply = format!("This chat is called **{title}** now.");
            let change = ChatChange {
                title: Some(title),
                ..ChatChange::default()
            };
            tx.change_chat(chat.id, change).await?;
            Ok(reply)
        }
    }
}

/// Takes all messages out of sight. What the system says stays.
async fn clear(tx: &Tx, chat: &Chat) -> Result<(), StoreError> {
    let places = tx.message_places(chat.id).await?;
    let ids: Vec<MessageId> = places
        .iter()
        .filter(|place| !place.is_gone)
        .map(|place| place.id)
        .collect();
    let change = ChatChange {
        summary: Some(None),
        ..ChatChange::default()
    };
    tx.change_chat(chat.id, change).await?;
    tx.supersede_messages(&ids, chat.revision, chat.updated_at)
        .await
}

fn export_link(chat: &Chat, argument: &str) -> String {
    let format = if argument.is_empty() {
        Some(ExportFormat::Markdown)
    } else {
        ExportFormat::parse(argument)
    };
    match format {
        None => format!(
            "`{argument}` is no format: there are `markdown`, `json`, `text`, `html` and `pdf`."
        ),
        Some(format) => format!(
            "[This chat as {name}](/chat/{}/export?format={name})",
            chat.id,
            name = format.as_str()
        ),
    }
}
