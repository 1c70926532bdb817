//! What is to be known of an answer beside its text: who wrote it, how long it took, and what it used,
//! out of the usage ledger.

use entity::chat_message::{Model as Message, Role};
use entity::llm_attempt::Model as Attempt;
use entity::{MessageId, OwnerId};

use super::Chats;
use crate::store::StoreError;

/// An answer's particulars. They are of the request that wrote the text that it shows now, all its
/// attempts together.
#[derive(Clone, Debug)]
pub struct About {
    pub message: MessageId,
    pub model: Option<String>,
    pub provider: Option<String>,
    pub finish_reason: Option<String>,
    /// The answer is one that was given before to the same question.
    pub cached: bool,
    /// None while the first attempt runs, and where nothing was recorded.
    pub spent: Option<AboutSpent>,
}

/// What was recorded of an answer's attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AboutSpent {
    pub attempts: usize,
    pub input_tokens: i64,
    pub output_tokens: i64,
    /// Of the output.
    pub reasoning_tokens: i64,
    /// Of the input.
    pub cached_tokens: i64,
    /// A count was not reported by the provider, and is estimated.
    pub estimated: bool,
    /// None where the model has no price.
    pub cost_micros: Option<i64>,
    /// From the start of the first attempt to the first token of the text, and to its end.
    pub first_token_ms: Option<i64>,
    pub duration_ms: i64,
}

#[derive(Debug, thiserror::Error)]
pub enum AboutError {
    #[error("there is no such message")]
    NotFound,
    #[error("only of answers is there more to be known")]
    NotAnAnswer,
    #[error("the message could not be read")]
    Store(#[from] StoreError),
}

impl Chats {
    /// What is to be known of an answer.
    ///
    /// # Errors
    /// If there is no such answer of the owner's, or the database fails.
    pub async fn about(&self, owner: OwnerId, id: MessageId) -> Result<About, AboutError> {
        let row = self.store.message(owner, id).await?;
        let row = row.ok_or(AboutError::NotFound)?;
        if row.role != Role::Assistant || row.reply_to.is_none() {
            return Err(AboutError::NotAnAnswer);
        }
        let attempts = match row.request_id {
            Some(request) => self.store.attempts_of(request).await?,
            None => Vec::new(),
        };
        Ok(about(row, &attempts))
    }
}

fn about(row: Message, attempts: &[Attempt]) -> About {
    let origin = row.origin.unwrap_or_default();
    let last = attempts.last();
    About {
        message: row.id,
        model: origin
            .model
            .or_else(|| last.and_then(|last| last.model.clone())),
        provider: origin
            .provider
            .or_else(|| last.and_then(|last| last.provider.clone())),
        finish_reason: origin.finish_reason,
        cached: origin.cached,
        spent: spent(attempts),
    }
}

/// `attempts`: in their order.
fn spent(attempts: &[Attempt]) -> Option<AboutSpent> {
    let (first, last) = (attempts.first()?, attempts.last()?);
    let begun = first.started_at.0;
    let sum = |count: fn(&Attempt) -> i64| attempts.iter().map(count).sum();
    let costs: Vec<i64> = attempts.iter().filter_map(|one| one.cost_micros).collect();
    Some(AboutSpent {
        attempts: attempts.len(),
        input_tokens: sum(|one| one.input_tokens),
        output_tokens: sum(|one| one.output_tokens),
        reasoning_tokens: sum(|one| one.reasoning_tokens),
        cached_tokens: sum(|one| one.cached_tokens),
        estimated: attempts.iter().any(|one| one.estimated),
        cost_micros: (!costs.is_empty()).then(|| costs.iter().sum()),
        first_token_ms: last.first_token_at.map(|at| at.0 - begun),
        duration_ms: last.finished_at.0 - begun,
    })
}
