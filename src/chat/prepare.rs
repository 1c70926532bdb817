//! What a model is asked: who answers, the history that fits its window, and the parameters. All of it
//! comes from the database and the configuration, never from the client that waits for the answer.

use std::sync::Arc;

use entity::chat::Model as Chat;
use entity::chat_message::{Model as Message, Role};
use entity::{Origin, Parameters, llm_request};

use super::agents::finished_message;
use super::{Chats, Claimed};
use crate::model::agent::Agent;
use crate::model::context::{self, Kind, TooLong, Weight};
use crate::model::failure::{Failure, FailureCode};
use crate::model::history::history;
use crate::model::parameters;
use crate::model::spec::ModelSpec;
use crate::model::tokens;
use crate::model::usage::estimate_tokens;
use crate::provider::{Call, Route, Speaker, Turn};
use crate::store::StoreError;

/// All that is needed to ask.
pub(super) struct Prepared {
    pub route: Route,
    pub call: Call,
    pub origin: Origin,
    /// About how many tokens the model is sent.
    pub input_tokens: i64,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum PrepareError {
    /// It cannot be asked, and this is what the user is told.
    #[error("{}", .0.message)]
    Refused(Failure),
    #[error("the history could not be read")]
    Store(#[from] StoreError),
}

/// A chat's turns up to a request's question.
pub(super) struct Conversation {
    pub chat: Chat,
    pub route: Route,
    pub parameters: Parameters,
    pub messages: Arc<[Message]>,
}

impl Chats {
    /// Gets a request ready to be sent to its model. What does not fit the window is left out, or
    /// summarised by the model first, if so configured.
    pub(super) async fn prepare(&self, claimed: &Claimed) -> Result<Prepared, PrepareError> {
        let conversation = self.conversation(&claimed.request, claimed.chat.clone());
        let conversation = conversation.await?;
        let spec = &conversation.route.spec;
        let out = left_out(&conversation, None).await;
        let out = out.map_err(|long| too_long(spec, long))?;
        let summary = if out.is_empty() || !self.rules().settings.summarises {
            None
        } else {
            self.summarised(&conversation, claimed).await
        };
        // A summary is of more than had to go, so that the next messages find room.
        let (out, summary) = match summary {
            Some(summary) => (summary.out, Some(summary.text)),
            None => (out, None),
        };
        let left_out = u32::try_from(out.len()).unwrap_or(u32::MAX);
        let summarised = summary.is_some();
        let mut turns = conversation.turns(&out);
        if let Some(text) = summary {
            let place = turns
                .iter()
                .take_while(|turn| turn.speaker == Speaker::System);
            turns.insert(place.count(), super::summary::turn(&text));
        }
        let Conversation {
            route, parameters, ..
        } = conversation;
        Ok(Prepared {
            origin: Origin {
                model: Some(route.spec.id.clone()),
                provider: Some(route.spec.provider.clone()),
                left_out,
                summarised,
                ..Origin::default()
            },
            input_tokens: weight_of(&turns),
            call: Call {
                model: route.spec.upstream.clone(),
                turns,
                parameters,
                context_window: route.spec.context_window,
                max_output: route.spec.max_output,
            },
            route,
        })
    }

    /// About how many tokens a request sends to its model.
    pub(super) async fn estimate_input(
        &self,
        request: &llm_request::Model,
    ) -> Result<i64, StoreError> {
        let Some(chat) = self.store.chat_of(request.chat_id).await? else {
            return Ok(0);
        };
        let conversation = match self.conversation(request, chat).await {
            Ok(conversation) => conversation,
            Err(PrepareError::Refused(_) | PrepareError::Store(StoreError::Missing { .. })) => {
                return Ok(0);
            }
            Err(PrepareError::Store(error)) => return Err(error),
        };
        let out = left_out(&conversation, None).await.unwrap_or_default();
        Ok(weight_of(&conversation.turns(&out)))
    }

    async fn conversation(
        &self,
        request: &llm_request::Model,
        chat: Chat,
    ) -> Result<Conversation, PrepareError> {
        // Who may ask whom was decided when the request was queued.
        let route = self.rules().catalogue.resolve(request.model.as_deref());
        let route = route.map_err(|unknown| {
            PrepareError::Refused(Failure::new(
                FailureCode::ModelNotFound,
                format!(
                    "This message cannot be answered any more: {unknown}. Choose another model."
                ),
            ))
        })?;
        let all = self.store.all_messages(request.chat_id).await?;
        let asked = all
            .iter()
            .find(|message| message.id == request.user_message_id)
            .cloned()
            .ok_or(StoreError::Missing {
                what: "user message",
            })?;
        let agent = chat
            .agent
            .as_deref()
            .and_then(|alias| self.agent(alias).ok());
        let persona = self.persona(request)?;
        let levels = [
            request.parameters.as_ref(),
            persona.as_ref().map(|agent| &agent.parameters),
            chat.parameters.as_ref(),
            agent.as_ref().map(|agent| &agent.parameters),
            Some(&route.spec.parameters),
        ];
        let wanted = parameters::first_of(levels.into_iter().flatten());
        let can = route.provider.capabilities();
        let mut messages = history(all, &asked);
        let asked_as = request.asked_as.as_ref();
        let is_replaced = asked_as.is_some_and(|asked_as| asked_as.replaces_system);
        let mut words = Vec::new();
        if is_replaced || persona.is_some() {
            messages.retain(|message| message.role != Role::System);
        }
        if let Some(agent) = persona.filter(|_| !is_replaced) {
            let member = self.member(chat.owner_id).await?;
            words.extend(self.system_words(&agent, &route.spec.name, &member));
        }
        words.extend(request.instructions.clone());
        let said = words.iter().map(|words| {
            let now = request.created_at;
            finished_message(&chat, Role::System, words, now)
        });
        messages.splice(..0, said);
        if !route.provider.sends_reasoning() {
            // What is not sent does not count either.
            for message in &mut messages {
                message.reasoning.clear();
            }
        }
        Ok(Conversation {
            parameters: parameters::taken(wanted, &can, route.spec.max_tokens()),
            messages: messages.into(),
            chat,
            route,
        })
    }
}

impl Chats {
    /// The agent that answers this request alone, whatever its chat's is.
    fn persona(&self, request: &llm_request::Model) -> Result<Option<Agent>, PrepareError> {
        let asked_as = request.asked_as.as_ref();
        let alias = asked_as.and_then(|asked_as| asked_as.agent.as_deref());
        let agent = alias.map(|alias| self.agent(alias)).transpose();
        agent.map_err(|error| {
            let text = format!("This message cannot be answered any more: {error}.");
            PrepareError::Refused(Failure::new(FailureCode::ModelNotFound, text))
        })
    }
}

impl Conversation {
    /// What the model is sent, without the messages at these places.
    pub(super) fn turns(&self, out: &[usize]) -> Vec<Turn> {
        let kept = self.messages.iter().enumerate();
        kept.filter(|(place, _)| !out.contains(place))
            .map(|(_, message)| turn_of(message))
            .collect()
    }

    /// Tokens that the conversation may take. None: nobody knows of a limit.
    pub(super) fn budget(&self) -> Option<i64> {
        let spec = &self.route.spec;
        let window = spec.context_window?;
        let asked = self.parameters.max_tokens;
        Some(context::budget(window, asked, spec.max_output))
    }
}

fn turn_of(message: &Message) -> Turn {
    Turn {
        speaker: match message.role {
            Role::System => Speaker::System,
            Role::User => Speaker::User,
            Role::Assistant | Role::Agent => Speaker::Assistant,
        },
        content: message.content.clone(),
        reasoning: Some(message.reasoning.clone()).filter(|text| !text.is_empty()),
    }
}

/// The places of the messages that the model is not sent, to keep within `budget` or else within what
/// its window leaves.
pub(super) async fn left_out(
    conversation: &Conversation,
    budget: Option<i64>,
) -> Result<Vec<usize>, TooLong> {
    let Some(budget) = budget.or_else(|| conversation.budget()) else {
        return Ok(Vec::new());
    };
    context::left_out(&weights(conversation, budget).await, budget)
}

/// What each message takes of `budget`.
pub(super) async fn weights(conversation: &Conversation, budget: i64) -> Vec<Weight> {
    // A token is a byte at least: where the bytes fit there is nothing to count, which is so in most
    // chats. An estimate that fits proves nothing: of numbers and ids it finds half of the tokens.
    let bytes = |text: &str| i64::try_from(text.len()).unwrap_or(i64::MAX);
    let most = weigh(&conversation.messages, &bytes);
    let total: i64 = most.iter().map(|weight| weight.tokens).sum();
    if total <= budget {
        return most;
    }
    // The tokenizer takes its time to be loaded, once, and then in proportion to the text: little
    // beside the model that is to read all of it, but not on a thread that others wait for.
    let messages = Arc::clone(&conversation.messages);
    let upstream = conversation.route.spec.upstream.clone();
    let counting = tokio::task::spawn_blocking(move || {
        tokens::counter(&upstream).map(|count| weigh(&messages, &count))
    });
    let counted = counting.await.ok().flatten();
    counted.unwrap_or_else(|| {
        let estimate = |text: &str| context::with_margin(estimate_tokens(text));
        weigh(&conversation.messages, &estimate)
    })
}

fn weigh(messages: &[Message], count: &dyn Fn(&str) -> i64) -> Vec<Weight> {
    let weight = |message: &Message| Weight {
        tokens: count(&message.content) + count(&message.reasoning) + tokens::PER_MESSAGE,
        kind: match message.role {
            Role::System => Kind::System,
            Role::User => Kind::User,
            Role::Assistant | Role::Agent => Kind::Assistant,
        },
    };
    messages.iter().map(weight).collect()
}

fn weight_of(turns: &[Turn]) -> i64 {
    turns
        .iter()
        .flat_map(|turn| [Some(&turn.content), turn.reasoning.as_ref()])
        .flatten()
        .map(|text| estimate_tokens(text))
        .sum()
}

fn too_long(spec: &ModelSpec, long: TooLong) -> PrepareError {
    PrepareError::Refused(Failure::new(
        FailureCode::ContextTooLong,
        format!(
            "The message is too long for the model {:?}: it has about {} tokens, the system prompt \
             included, and there is room for {}. Shorten it, or choose a model with a larger context window.",
            spec.id, long.tokens, long.budget
        ),
    ))
}
