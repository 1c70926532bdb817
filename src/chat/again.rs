//! Asking again: a failed or cancelled answer is retried, a completed one regenerated. The text
//! that there is stays as a version; the message goes on in its next edition, so that every
//! client replaces what it has.

use entity::chat::Model as Chat;
use entity::chat_message::{Model as Message, Role, Status};
use entity::llm_request::CacheUse;
use entity::{AskedAs, MessageId, OwnerId, Parameters, RequestId, llm_request};

use super::standing::Standing;
use super::{AllowanceError, Chats, ModelError, Once, OnceError, Sent};
use crate::fault;
use crate::model::position::Edition;
use crate::store::{Advance, Rewrite, StoreError, Tx};

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// Of an answer that failed or was cancelled.
    Retry,
    /// Of an answer that is complete.
    Regenerate,
}

/// What is to be different from what the chat says.
#[derive(Clone, Debug, Default)]
pub struct Otherwise {
    /// Another model.
    pub model: Option<String>,
    /// Parameters that go before the chat's.
    pub parameters: Option<Parameters>,
    /// What the system says for this answer alone.
    pub instructions: Option<String>,
    /// What a program is to be told again.
    pub asked_as: Option<AskedAs>,
    pub cache_use: CacheUse,
}

impl Otherwise {
    /// What it does not say, as an earlier request for the same had it said with its message.
    pub(super) fn or_as(&self, before: Option<&llm_request::Model>) -> Self {
        // A program says all that it wants each time.
        let before = before.filter(|_| self.asked_as.is_none());
        let named = before.filter(|before| before.names_model);
        let named = named.and_then(|before| before.model.clone());
        let parameters = before.and_then(|before| before.parameters.clone());
        let instructions = before.and_then(|before| before.instructions.clone());
        Self {
            model: self.model.clone().or(named),
            parameters: self.parameters.clone().or(parameters),
            instructions: self.instructions.clone().or(instructions),
            asked_as: self.asked_as.clone().or_else(|| speaker_of(before?)),
            cache_use: self.cache_use,
        }
    }
}

/// Who spoke for a run, where that was not the chat's own agent: they do so when it is asked for again.
fn speaker_of(before: &llm_request::Model) -> Option<AskedAs> {
    let asked_as = before.asked_as.as_ref()?;
    (asked_as.agent.is_some() || asked_as.replaces_system).then(|| AskedAs {
        assistant: asked_as.assistant.clone(),
        agent: asked_as.agent.clone(),
        replaces_system: asked_as.replaces_system,
        ..AskedAs::default()
    })
}

#[derive(Debug, thiserror::Error)]
pub enum AgainError {
    #[error("there is no such message")]
    NotFound,
    #[error("only answers can be asked for again")]
    NotAnAnswer,
    #[error("this answer is still being written; cancel it first, or wait")]
    StillWritten,
    #[error("this answer is complete; regenerate it instead")]
    IsComplete,
    #[error("this answer is not complete; retry it instead")]
    IsNotComplete,
    #[error("what it answered has been deleted")]
    QuestionGone,
    #[error(transparent)]
    Model(#[from] ModelError),
    #[error(transparent)]
    Allowance(#[from] AllowanceError),
    #[error(transparent)]
    Once(#[from] OnceError),
    #[error("the request could not be stored")]
    Store(#[from] StoreError),
}

impl Chats {
    /// Queues another version of an answer.
    ///
    /// # Errors
    /// If there is no such answer of the owner's, it is not in the state for it, or the database fails.
    pub async fn ask_again(
        &self,
        owner: OwnerId,
        id: MessageId,
        again: Again,
        otherwise: &Otherwise,
        once: Option<&Once>,
    ) -> Result<Sent, AgainError> {
        let row = self.store.message(owner, id).await?;
        let chat = row.ok_or(AgainError::NotFound)?.chat_id;
        let standing = &self.standing(owner).await?;
        let sent = self
            .once(once, |tx| async move {
                let now = self.clock.now();
                let chat = tx.advance_chat(chat, Advance::touch(now)).await?;
                let chat = chat.ok_or(AgainError::NotFound)?;
                let asked = (id, again, otherwise);
                let sent = self.again_in(&tx, &chat, asked, standing).await?;
                fault::point("again.before_commit");
                Ok::<_, AgainError>(sent)
            })
            .await?;
        self.follower.forget(id);
        self.announce();
        Ok(sent)
    }

    /// The same within a transaction in which the chat has been advanced.
    pub(super) async fn again_in(
        &self,
        tx: &Tx,
        chat: &Chat,
        (id, again, otherwise): (MessageId, Again, &Otherwise),
        standing: &Standing,
    ) -> Result<Sent, AgainError> {
        let answer = tx.lock_message(id).await?;
        let answer = answer.ok_or(AgainError::NotFound)?;
        check(&answer, again)?;
        standing.spent.clone()?;
        let member = &standing.member;
        let question = self.question(tx, &answer).await?;
        tx.keep_version(&answer).await?;
        let request = RequestId::generate();
        let edition = Edition::from_stored(answer.edition).next().to_stored();
        let before = match answer.request_id {
            Some(request) => tx.request(request).await?,
            None => None,
        };
        let asked = &otherwise.parameters;
        let mut otherwise = otherwise.or_as(before.as_ref());
        if let Some(asked) = asked {
            let model = otherwise.model.as_ref().or(chat.model.as_ref());
            self.check_parameters(member, model.map(String::as_str), asked)?;
        }
        // Whoever regenerates an answer wants another one.
        if again == Again::Regenerate && otherwise.cache_use == CacheUse::Any {
            otherwise.cache_use = CacheUse::Fresh;
        }
        let queued = llm_request::Model {
            assistant_message_id: Some(id),
            edition,
            ..self.new_request(request, &question, (chat, member, &otherwise))?
        };
        let rewrite = Rewrite {
            status: Status::Pending,
            content: String::new(),
            reasoning: String::new(),
            origin: Some(super::origin_of(&queued)),
            edition,
            version: answer.versions + 1,
            versions: answer.versions + 1,
            request_id: Some(request),
            error: None,
            reaction: None,
            completed_at: None,
            revision: chat.revision,
        };
        if !tx.rewrite_message(&answer, rewrite).await? {
            return Err(StoreError::Raced.into());
        }
        self.admit::<AgainError>(tx, member).await?;
        tx.insert_request(queued).await?;
        let message = tx.message(id).await?;
        let message = message.ok_or(AgainError::NotFound)?;
        Ok(Sent {
            message,
            request: Some(request),
        })
    }

    async fn question(&self, tx: &Tx, answer: &Message) -> Result<Message, AgainError> {
        let question = match answer.reply_to {
            Some(question) => tx.message(question).await?,
            None => None,
        };
        question
            .filter(|question| question.deleted_at.is_none())
            .ok_or(AgainError::QuestionGone)
    }
}

fn check(answer: &Message, again: Again) -> Result<(), AgainError> {
    if answer.deleted_at.is_some() || answer.superseded_at.is_some() {
        return Err(AgainError::NotFound);
    }
    if answer.role != Role::Assistant || answer.reply_to.is_none() {
        return Err(AgainError::NotAnAnswer);
    }
    match (again, answer.status) {
        (_, Status::Pending) => Err(AgainError::StillWritten),
        (Again::Retry, Status::Completed) => Err(AgainError::IsComplete),
        (Again::Regenerate, Status::Failed | Status::Cancelled) => Err(AgainError::IsNotComplete),
        (Again::Retry, Status::Failed | Status::Cancelled)
        | (Again::Regenerate, Status::Completed) => Ok(()),
    }
}
