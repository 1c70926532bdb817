//! Summaries: what a model is told of the messages that its window has no room for. A summary is
//! stored with its chat and holds until something that it is of changes.

use std::time::Duration;

use entity::chat_message::{Model as Message, Role};
use entity::llm_request::Status;
use tokio::time::timeout;

use super::aside::{self, Aside};
use super::prepare::{Conversation, left_out, weights};
use super::{Chats, Claimed};
use crate::ledger::Live;
use crate::model::context::with_margin;
use crate::model::history::turns;
use crate::model::usage::{Usage, estimate_tokens};
use crate::provider::{ProviderError, Speaker, Turn};
use crate::store::{ChatChange, StoreError};

/// How long a summary may take. After that what it was to be of is just left out.
const TIME_LIMIT: Duration = Duration::from_mins(1);
/// The longest summary, in tokens.
const MAX_TOKENS: u32 = 600;
/// The same in characters of English, where a server does not stop at `max_tokens`. In other languages
/// so many tokens are fewer characters.
const MAX_CHARS: usize = 2_400;
/// What is kept of the budget when something has to be summarised, so that it is not at every message.
const KEPT_PART: i64 = 2;
/// Bytes of text for a token, when a long text is cut to what a summary may be made of.
const BYTES_PER_TOKEN: i64 = 3;
const INSTRUCTION: &str = "Summarise the conversation below for the assistant that will go on with it. Keep facts, \
names, numbers, decisions and open questions; leave out pleasantries. Write plain text, 300 words at most, in \
the language of the conversation.";

/// A summary, and the places of the messages that it stands for.
pub(super) struct Summary {
    pub text: String,
    pub out: Vec<usize>,
}

/// How a summary is told to the model.
pub(super) fn turn(text: &str) -> Turn {
    Turn {
        speaker: Speaker::System,
        content: format!(
            "Earlier messages of this conversation are left out. This is what they said:\n\n{text}"
        ),
        reasoning: None,
    }
}

impl Chats {
    /// A summary of what does not fit, the stored one if it will do. None if the model could not
    /// make one.
    pub(super) async fn summarised(
        &self,
        conversation: &Conversation,
        claimed: &Claimed,
    ) -> Option<Summary> {
        let budget = conversation.budget()?;
        let budget = budget - i64::from(MAX_TOKENS);
        let chat = &conversation.chat;
        if let (Some(text), Some(through)) = (&chat.summary, chat.summary_through) {
            let out = told(&conversation.messages, through);
            let weights = weights(conversation, budget).await;
            let kept = weights.iter().enumerate();
            let kept = kept.filter(|(place, _)| !out.contains(place));
            let kept: i64 = kept.map(|(_, weight)| weight.tokens).sum();
            if kept <= budget {
                let text = text.clone();
                return Some(Summary { text, out });
            }
        }
        let out = match left_out(conversation, Some(budget / KEPT_PART)).await {
            Ok(out) => out,
            Err(_) => left_out(conversation, Some(budget)).await.ok()?,
        };
        let text = match timeout(
            TIME_LIMIT,
            self.summarise(conversation, &out, &claimed.live),
        )
        .await
        {
            Ok(Ok(text)) if !text.trim().is_empty() => text,
            Ok(Ok(_)) => return None,
            Ok(Err(error)) => {
                tracing::warn!(%error, "no summary; earlier messages are left out");
                return None;
            }
            Err(_) => {
                tracing::warn!("no summary in time; earlier messages are left out");
                return None;
            }
        };
        let stored = self.store_summary(conversation, claimed, &out, &text);
        if let Err(error) = stored.await {
            tracing::warn!(%error, "the summary could not be stored; earlier messages are left out");
            return None;
        }
        Some(Summary { text, out })
    }

    /// Keeps a summary for the next question, unless what it is of has changed meanwhile, or the
    /// request is no longer this task's.
    async fn store_summary(
        &self,
        conversation: &Conversation,
        claimed: &Claimed,
        out: &[usize],
        text: &str,
    ) -> Result<(), StoreError> {
        let turns = turns(&conversation.messages);
        let Some(through) = out.last().map(|place| turns[*place]) else {
            return Ok(());
        };
        let told = out.iter().map(|place| conversation.messages[*place].id);
        let (told, chat) = (&told.collect::<Vec<_>>(), &conversation.chat);
        let (id, attempt) = claimed.live.fence();
        self.store
            .tx(|tx| async move {
                // The request before its chat, and both locked: a message that is changed meanwhile is
                // seen by one of the two.
                let request = tx.lock_request(id).await?;
                let is_ours = request.is_some_and(|request| {
                    request.attempt == attempt && request.status == Status::Running
                });
                let now = tx.lock_chat(chat.id).await?;
                // What this one goes on from may have been forgotten since, with a message in it.
                let goes_on = now.is_some_and(|now| {
                    (now.summary, now.summary_through)
                        == (chat.summary.clone(), chat.summary_through)
                });
                if !is_ours || !goes_on || tx.have_changed(told, chat.revision).await? {
                    return Ok::<_, StoreError>(());
                }
                let change = ChatChange {
                    summary: Some(Some((text.to_owned(), through))),
                    ..ChatChange::default()
                };
                tx.change_chat(chat.id, change).await?;
                Ok(())
            })
            .await
    }

    /// Summarises these messages, behind the summary that there is; piece by piece, where they are more
    /// than the model can read at once.
    async fn summarise(
        &self,
        conversation: &Conversation,
        out: &[usize],
        live: &Live,
    ) -> Result<String, ProviderError> {
        let chat = &conversation.chat;
        let known = chat.summary.as_ref().zip(chat.summary_through);
        let turns = turns(&conversation.messages);
        let is_new = |place: &&usize| known.is_none_or(|(_, through)| turns[**place] > through);
        let said = |place: &usize| said(&conversation.messages[*place]);
        let mut rest = out.iter().filter(is_new).map(said).peekable();
        let budget = conversation.budget().unwrap_or(i64::MAX);
        let fits = |told: &str| with_margin(estimate_tokens(told)) <= budget;
        let (mut summary, mut used) = (known.map(|(text, _)| text.clone()), Usage::default());
        while rest.peek().is_some() {
            let mut told = match &summary {
                Some(summary) => format!("Summary of what came before:\n{summary}\n\n"),
                None => String::new(),
            };
            let begun = told.len();
            while let Some(more) = rest.peek() {
                told.push_str(more);
                if !fits(&told) && told.len() - more.len() > begun {
                    told.truncate(told.len() - more.len());
                    break;
                }
                rest.next();
            }
            // Of a message that is too long by itself the beginning is read.
            let most = usize::try_from(budget.saturating_mul(BYTES_PER_TOKEN)).unwrap_or(0);
            told.truncate(told.floor_char_boundary(most.max(begun)));
            let (text, usage) = self.summarise_piece(conversation, told).await?;
            used = used.plus(usage);
            live.note_extra(used);
            summary = Some(text);
        }
        Ok(summary.unwrap_or_default())
    }

    async fn summarise_piece(
        &self,
        conversation: &Conversation,
        told: String,
    ) -> Result<(String, Usage), ProviderError> {
        let aside = Aside {
            instruction: INSTRUCTION,
            told,
            max_tokens: MAX_TOKENS,
            max_chars: MAX_CHARS,
        };
        let said = aside::ask(&conversation.route, aside).await?;
        Ok((said.text, said.usage))
    }
}

/// A message as the one who summarises reads it.
fn said(message: &Message) -> String {
    let speaker = if message.role == Role::User {
        "User"
    } else {
        "Assistant"
    };
    format!("{speaker}: {}\n\n", message.content)
}

/// The places of the messages that a summary of all turns up to `through` stands for.
fn told(messages: &[Message], through: i64) -> Vec<usize> {
    let turns = turns(messages);
    let last = messages.len().saturating_sub(1);
    let is_told = |place: usize| messages[place].role != Role::System && turns[place] <= through;
    (0..last).filter(|place| is_told(*place)).collect()
}
