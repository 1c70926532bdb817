//! Titles by a model: when the first answer of a chat is there, and its title is still the one made of
//! the question, a model is asked for a better one. Nobody waits for it; if it fails, the title stays.

use std::time::Duration;

use entity::chat::Model as Chat;
use entity::chat_message::{Model as Message, Status};
use entity::llm_attempt::{Model as Attempt, Outcome};
use entity::{MessageId, RequestId, Timestamp};
use tokio::time::timeout;

use super::Chats;
use super::aside::{self, Aside, Said};
use crate::model::text::{MessageText, TextError, Title, head};
use crate::provider::{ProviderError, Route, UnknownModel};
use crate::store::{Advance, ChatChange, StoreError};

/// How long a title may take.
const TIME_LIMIT: Duration = Duration::from_secs(30);
const MAX_TOKENS: u32 = 32;
const MAX_CHARS: usize = 300;
/// Characters of the question, and of the answer, that the model is told.
const TOLD_CHARS: usize = 2_000;
const INSTRUCTION: &str = "Give the conversation below a title: at most eight words, in the language of the \
conversation. Answer with the title alone, without quotation marks.";

/// A chat that still has its first title, with what was said in it.
struct Untitled {
    chat: Chat,
    question: Message,
    answer: Message,
}

#[derive(Debug, thiserror::Error)]
enum TitleError {
    #[error(transparent)]
    Model(#[from] UnknownModel),
    #[error(transparent)]
    Provider(#[from] ProviderError),
    #[error("it took more than {TIME_LIMIT:?}")]
    TooLate(#[from] tokio::time::error::Elapsed),
    #[error("what the model said is no title: {0}")]
    Text(#[from] TextError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Chats {
    /// Has the chat of an answer that has just ended given a title, if it is to have one. May be
    /// dropped at any time.
    #[tracing::instrument(name = "chat::entitle", skip(self))]
    pub async fn entitle(&self, answer: MessageId) {
        let rules = self.rules();
        let Some(model) = rules.settings.title_model.as_deref() else {
            return;
        };
        if let Err(error) = self.try_entitle(model, answer).await {
            tracing::warn!(%error, "no title; the first one stays");
        }
    }

    async fn try_entitle(&self, model: &str, answer: MessageId) -> Result<(), TitleError> {
        let Some(untitled) = self.untitled(answer).await? else {
            return Ok(());
        };
        let route = &self.rules().catalogue.resolve(Some(model))?;
        let began = self.clock.now();
        let told = format!(
            "User: {}\n\nAssistant: {}",
            head(&untitled.question.content, TOLD_CHARS),
            head(&untitled.answer.content, TOLD_CHARS)
        );
        let aside = Aside {
            instruction: INSTRUCTION,
            told,
            max_tokens: MAX_TOKENS,
            max_chars: MAX_CHARS,
        };
        let said = timeout(TIME_LIMIT, aside::ask(route, aside)).await??;
        let title = Title::of_model(&said.text);
        let spent = &self.spent_on_title(&untitled.chat, route, &said, began);
        let new = title.as_ref().ok();
        let before = &untitled.chat;
        self.store
            .tx(|tx| async move {
                if let Some(title) = new
                    && let Some(chat) = tx.lock_chat(before.id).await?
                    && chat.title == before.title
                {
                    // Nothing was said: the chat keeps its place in the list.
                    tx.advance_chat(chat.id, Advance::touch(chat.updated_at))
                        .await?;
                    let change = ChatChange {
                        title: Some(title.clone().into_string()),
                        ..ChatChange::default()
                    };
                    tx.change_chat(chat.id, change).await?;
                }
                // Of a user who was forgotten meanwhile, this is forgotten too.
                if tx.hold_user(before.owner_id).await? {
                    tx.insert_attempt(spent.clone()).await?;
                }
                Ok::<_, StoreError>(())
            })
            .await?;
        self.count_spent(spent);
        title.map(|_| ()).map_err(TitleError::from)
    }

    /// The chat of this answer, if the answer is complete and the title is the question's beginning.
    async fn untitled(&self, answer: MessageId) -> Result<Option<Untitled>, StoreError> {
        let Some(watched) = self.store.watched_message(answer).await? else {
            return Ok(None);
        };
        let (owner, answer) = (watched.owner_id, watched.message);
        let Some(question) = answer
            .reply_to
            .filter(|_| answer.status == Status::Completed)
        else {
            return Ok(None);
        };
        let question = self.store.message(owner, question).await?;
        let chat = self.store.chat(owner, answer.chat_id).await?;
        let untitled = question.zip(chat).map(|(question, chat)| Untitled {
            chat,
            question,
            answer,
        });
        Ok(untitled.filter(Untitled::has_first_title))
    }

    /// The row of the usage ledger: a request of its own, of which nothing else is stored.
    fn spent_on_title(&self, chat: &Chat, route: &Route, said: &Said, began: Timestamp) -> Attempt {
        let spec = &route.spec;
        let [input, output, reasoning, cached] = [
            said.usage.input_tokens,
            said.usage.output_tokens,
            said.usage.reasoning_tokens,
            said.usage.cached_tokens,
        ]
        .map(Option::unwrap_or_default);
        let price = spec.price;
        Attempt {
            request_id: RequestId::generate(),
            attempt: 0,
            owner_id: chat.owner_id,
            chat_id: chat.id,
            message_id: None,
            provider: Some(spec.provider.clone()),
            model: Some(spec.id.clone()),
            outcome: Outcome::Completed,
            finish_reason: None,
            error_code: None,
            input_tokens: input,
            output_tokens: output,
            reasoning_tokens: reasoning,
            cached_tokens: cached,
            estimated: said.is_estimated,
            cache: None,
            saved_tokens: 0,
            cost_micros: price.map(|price| price.cost_micros(input, cached, output)),
            started_at: began,
            first_token_at: None,
            finished_at: self.clock.now(),
        }
    }
}

impl Untitled {
    fn has_first_title(&self) -> bool {
        let text = MessageText::parse(self.question.content.clone(), usize::MAX);
        text.is_ok_and(|text| text.derive_title().into_string() == self.chat.title)
    }
}
