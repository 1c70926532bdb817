//! The response cache at work: an answer that was given before to the same model, parameters and
//! history is given again, and two such requests at once ask the model once.
//!
//! The cache is a help and never a need: when it is away, the model is asked.

use std::sync::Arc;
use std::time::Duration;

use entity::ChatId;
use entity::llm_attempt::CacheLookup;
use entity::llm_request::CacheUse;
use entity::token_ledger::Channel;
use futures::StreamExt;
use serde::Serialize;
use tokio::time::Instant;

use super::answer::Heard;
use super::end::End;
use super::prepare::Prepared;
use super::{Chats, Claimed};
use crate::cache::{CacheKey, CachedAnswer, Flight, KeptLead, Lead, Leader, Said};
use crate::model::failure::Failure;
use crate::model::usage::Usage;
use crate::provider::{Event, Turn};

/// How long a node that asks the model keeps the right to do so, for all nodes, once it is dead.
const LEAD_HOLD: Duration = Duration::from_secs(15);
/// The part of the time to the first token that another node's answer is waited for.
const WAIT_SHARE: u32 = 2;

/// What an answer depends on.
#[derive(Serialize)]
struct Question<'a> {
    provider: &'a str,
    address: String,
    model: &'a str,
    parameters: &'a entity::Parameters,
    context_window: Option<u32>,
    max_output: Option<u32>,
    turns: &'a [Turn],
}

/// What those who listen to an answer hear: what the model says, or why there will be no answer.
pub(super) type Told = Result<Event, Failure>;

/// The right to ask the model on behalf of all who want the same answer.
pub(super) struct Asking {
    key: CacheKey,
    ttl: Duration,
    leader: Option<Leader<Told>>,
    /// Held for its drop, after which another node may ask.
    _lead: Option<KeptLead>,
}

/// What the cache had to say.
pub(super) enum Found {
    /// The answer, which stands in the ledger already.
    Answer(Heard),
    /// The model is to be asked; with this, others are told.
    Ask(Option<Asking>),
}

impl Chats {
    /// Looks for the answer, or takes the right to ask for it. Whoever asks for the same at the same
    /// time listens to whoever came first.
    pub(super) async fn look_up(&self, claimed: &Claimed, prepared: &Prepared) -> Found {
        let Some(ttl) = prepared.route.spec.cache_ttl else {
            return Found::Ask(None);
        };
        let call = &prepared.call;
        let key = CacheKey::of(&Question {
            provider: &prepared.route.spec.provider,
            address: prepared.route.provider.address(),
            model: &call.model,
            parameters: &call.parameters,
            context_window: call.context_window,
            max_output: call.max_output,
            turns: &call.turns,
        });
        let alone = |key| Asking {
            key,
            ttl,
            leader: None,
            _lead: None,
        };
        match claimed.request.cache_use {
            CacheUse::Any => {}
            CacheUse::Fresh => return Found::Ask(Some(alone(key))),
            CacheUse::Bypass => return Found::Ask(None),
        }
        // Until it turns out otherwise, no model is asked for this request. It counts as a hit when the
        // answer is there to its end.
        claimed.live.note_cache(CacheLookup::Hit);
        loop {
            if let Some(answer) = self.cached(&key).await {
                return Found::Answer(self.replay(claimed, &answer));
            }
            match self.flights.join(&key) {
                Flight::Lead(leader) => {
                    let lead = match self.lead_for_all(&key).await {
                        Ok(lead) => lead,
                        Err(answer) => {
                            return Found::Answer(self.replay(claimed, &answer));
                        }
                    };
                    // Whoever led before may have finished since it was looked for.
                    if let Some(answer) = self.cached(&key).await {
                        return Found::Answer(self.replay(claimed, &answer));
                    }
                    claimed.live.note_cache(CacheLookup::Miss);
                    return Found::Ask(Some(Asking {
                        leader: Some(leader),
                        _lead: lead,
                        ..alone(key)
                    }));
                }
                // It has been left alone before, or its node has died: nobody else's stop shall
                // cost it another of its attempts.
                Flight::Follow(_) if claimed.request.attempt > 0 => {
                    claimed.live.note_cache(CacheLookup::Miss);
                    return Found::Ask(Some(alone(key)));
                }
                Flight::Follow(said) => {
                    if let Some(heard) = self.follow(claimed, said).await {
                        return Found::Answer(heard);
                    }
                    // Whoever came first has gone before they had said a word.
                }
            }
        }
    }

    /// What was said in a chat that goes is not said again to others.
    pub(super) async fn forget_answers(&self, chat: ChatId) {
        if let Err(error) = self.cache.forget(chat).await {
            tracing::warn!(%error, %chat, "the answers of a deleted chat stay in the response cache for their time");
        }
    }

    async fn cached(&self, key: &CacheKey) -> Option<Arc<CachedAnswer>> {
        let found = self.cache.get(key).await;
        found.unwrap_or_else(|error| {
            tracing::debug!(%error, "the response cache is away");
            None
        })
    }

    /// Asks the other nodes to leave the question to this one, or gets the answer of the one that is
    /// at it.
    async fn lead_for_all(&self, key: &CacheKey) -> Result<Option<KeptLead>, Arc<CachedAnswer>> {
        let until = Instant::now() + self.rules().settings.attempts.first_token / WAIT_SHARE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let found = match self.cache.lead(key, LEAD_HOLD).await {
                Ok(Lead::Mine(guard)) => return Ok(Some(guard.keep(LEAD_HOLD))),
                Ok(Lead::Other) => self.cache.wait(key, left).await,
                Err(error) => Err(error),
            };
            match found {
                Ok(Some(answer)) => return Err(answer),
                // Whoever led has given up. Of all who waited for that one leads next.
                Ok(None) if !left.is_zero() => {}
                Ok(None) => return Ok(None),
                Err(error) => {
                    tracing::debug!(%error, "the response cache is away");
                    return Ok(None);
                }
            }
        }
    }

    /// Writes an answer into the ledger that was given before.
    fn replay(&self, claimed: &Claimed, answer: &CachedAnswer) -> Heard {
        let live = &claimed.live;
        live.note_usage(answer.usage);
        let pieces = [
            (Channel::Reasoning, &answer.reasoning),
            (Channel::Text, &answer.text),
        ];
        for (channel, text) in pieces {
            if let Err(full) = live.append(channel, text, self.clock.now()) {
                return Heard::full(full);
            }
        }
        Heard::Finished(answer.finish_reason.clone())
    }

    /// Listens to the answer that somebody else on this node is getting. None if it broke off before
    /// anything had come.
    async fn follow(
        &self,
        claimed: &Claimed,
        mut said: impl futures::Stream<Item = Said<Told>> + Unpin,
    ) -> Option<Heard> {
        let live = &claimed.live;
        let mut finished = None;
        while let Some(said) = said.next().await {
            match said {
                Said::Event(Ok(Event::Finished { reason })) => finished = Some(reason),
                // It would be no other for whoever asked again.
                Said::Event(Err(failure)) => return Some(Heard::Over(failure)),
                Said::Event(Ok(event)) => {
                    if let Some(heard) = self.take(claimed, event).await {
                        return Some(heard);
                    }
                }
                Said::Finished | Said::Abandoned => break,
            }
        }
        match finished {
            Some(reason) => Some(Heard::Finished(reason)),
            None => (!live.is_empty()).then_some(Heard::BrokeOff),
        }
    }

    /// Keeps an answer for those who will ask the same, and lets those who listen know how it ended.
    pub(super) async fn share(
        &self,
        claimed: &Claimed,
        asking: Asking,
        end: &End,
        reason: Option<&str>,
    ) {
        let reason = match (end, reason) {
            (End::Completed, Some(reason)) => reason,
            (End::Failed(failure), _) => return asking.fail(failure),
            // Stopped by its user; the next one asks.
            (End::Completed | End::Cancelled, _) => return,
        };
        let sealed = claimed.live.seal_whole();
        claimed.live.unseal();
        let usage = Usage {
            input_tokens: sealed.usage.input_tokens.or(Some(sealed.input_estimate)),
            ..sealed.usage
        };
        let answer = CachedAnswer {
            chat: Some(claimed.request.chat_id),
            text: sealed.text,
            reasoning: sealed.reasoning,
            finish_reason: reason.to_owned(),
            usage,
        };
        if let Err(error) = self.cache.put(&asking.key, answer, asking.ttl).await {
            tracing::debug!(%error, "the response cache is away");
        }
        if let Some(leader) = asking.leader {
            leader.finish();
        }
    }
}

impl Asking {
    /// Tells those who listen. A call of a tool is nothing to them, and the limit on an answer's length,
    /// which holds for what is kept of a flight too, does not count it.
    pub fn publish(&self, event: &Event) {
        if let Some(leader) = &self.leader
            && !matches!(event, Event::ToolCall(_))
        {
            leader.publish(Ok(event.clone()));
        }
    }

    /// Tells them that there will be no answer, and why.
    pub fn fail(&self, failure: &Failure) {
        if let Some(leader) = &self.leader {
            leader.publish(Err(failure.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::Flights;
    use crate::provider::ToolCall;

    #[tokio::test]
    async fn a_call_of_a_tool_is_not_kept_for_those_who_listen() {
        let flights = Flights::<Told>::new();
        let key = CacheKey::of(&"a question");
        let (Flight::Lead(leader), Flight::Follow(heard)) =
            (flights.join(&key), flights.join(&key))
        else {
            panic!("the first leads, the second follows");
        };
        let asking = Asking {
            key,
            ttl: Duration::ZERO,
            leader: Some(leader),
            _lead: None,
        };
        let call = ToolCall {
            index: 0,
            name: None,
            arguments: "{".repeat(1_000),
        };
        let text = Event::Text("yes".to_owned());
        asking.publish(&Event::ToolCall(call));
        asking.publish(&text);
        drop(asking);
        let heard: Vec<_> = heard.collect().await;
        assert_eq!(heard, [Said::Event(Ok(text)), Said::Abandoned]);
    }
}
