//! A run: having the last message of a thread answered. It is a request like any other, but for a message that has been
//! said already: that one does not wait, and stays said whatever becomes of the run.
//!
//! Who answers is named with each run. An agent that is named so speaks for this run alone: its words are not stored in
//! the chat, but found again when the run begins.

use std::collections::BTreeMap;

use entity::chat::Model as Chat;
use entity::chat_message::{Model as Message, Role, Status};
use entity::llm_request::{CacheUse, Model as Request};
use entity::{AskedAs, ChatId, MessageId, OwnerId, Parameters, RequestId, Surface};

use super::standing::Standing;
use super::thread::check_said;
use super::{
    Again, AgainError, AllowanceError, Chats, Member, ModelError, NewThread, Once, OnceError,
    Otherwise, Response, ResponseError, Said, ThreadError,
};
use crate::model::metadata;
use crate::model::parameters::check_storable;
use crate::model::text::{ModelName, check_text};
use crate::store::{Advance, StoreError, Tx};

/// Who is to answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Assistant {
    /// The agent of this alias.
    Agent(String),
    /// The agent of this alias, or else the model of this id. Where a provider takes any name, any name is a model.
    AgentOrModel(String),
}

/// What is asked for.
#[derive(Clone, Debug)]
pub struct NewRun {
    pub assistant: Assistant,
    /// In the place of the agent's model.
    pub model: Option<String>,
    /// In the place of all that the system says else.
    pub instructions: Option<String>,
    /// Besides what the system says else.
    pub additional_instructions: Option<String>,
    /// What is said before it is answered.
    pub additional_messages: Vec<Said>,
    pub parameters: Parameters,
    pub cache_use: CacheUse,
    /// As the program named it, and what it keeps with it.
    pub asked_as: AskedAs,
}

#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Thread(#[from] ThreadError),
    #[error("there is no such run in this thread")]
    NotFound,
    #[error(
        "there is no assistant {named:?}; an agent or a model is one. Agents: {}; GET /v1/models lists the models",
        listed(agents)
    )]
    NoSuchAssistant { named: String, agents: Vec<String> },
    #[error(
        "there is nothing to answer: the last message of this thread is not a question that waits; add one with the role \
         `user` first, or send it as `additional_messages`"
    )]
    NothingToAnswer,
    #[error(transparent)]
    Model(#[from] ModelError),
    #[error(transparent)]
    Allowance(#[from] AllowanceError),
    #[error(transparent)]
    Once(#[from] OnceError),
    #[error("the run could not be stored")]
    Store(#[from] StoreError),
}

fn listed(agents: &[String]) -> String {
    if agents.is_empty() {
        "none".to_owned()
    } else {
        agents.join(", ")
    }
}

impl From<ResponseError> for RunError {
    fn from(error: ResponseError) -> Self {
        match error {
            ResponseError::NotFound => Self::NotFound,
            ResponseError::Store(error) => error.into(),
        }
    }
}

impl From<AgainError> for RunError {
    fn from(error: AgainError) -> Self {
        match error {
            AgainError::NotFound
            | AgainError::NotAnAnswer
            | AgainError::IsComplete
            | AgainError::IsNotComplete
            | AgainError::QuestionGone => Self::NothingToAnswer,
            AgainError::StillWritten => ThreadError::Busy.into(),
            AgainError::Model(error) => error.into(),
            AgainError::Allowance(error) => error.into(),
            AgainError::Once(error) => error.into(),
            AgainError::Store(error) => error.into(),
        }
    }
}

/// Whether the request is to answer a message that was said before, and does not wait for it.
pub(super) fn is_of_said(request: &Request) -> bool {
    let asked_as = request.asked_as.as_ref();
    asked_as.is_some_and(|asked_as| asked_as.surface == Surface::Run)
}

/// What is asked for, once it can be stored.
struct Checked {
    said: Vec<Said>,
    otherwise: Otherwise,
}

/// A run's request, and the answer that it writes anew.
type Begun = (RequestId, Option<MessageId>);

impl Chats {
    /// Has the last message of a thread answered.
    ///
    /// # Errors
    /// If there is no such thread, nothing to answer in it, something under way, nobody of that name who could answer, or
    /// the database fails.
    pub async fn run(
        &self,
        owner: OwnerId,
        thread: ChatId,
        new: NewRun,
        once: Option<&Once>,
    ) -> Result<RequestId, RunError> {
        let standing = &self.standing(owner).await?;
        let new = &self.checked_run(&standing.member, new)?;
        let asked = self
            .once(once, |tx| async move {
                let chat = self.lock_idle(&tx, owner, thread).await?;
                self.run_in(&tx, &chat, new, standing).await
            })
            .await?;
        Ok(self.begun(asked))
    }

    /// The same in a thread that is created for it.
    ///
    /// # Errors
    /// As [`Self::run`] and [`Self::create_thread`].
    pub async fn run_new_thread(
        &self,
        owner: OwnerId,
        thread: NewThread,
        new: NewRun,
        once: Option<&Once>,
    ) -> Result<RequestId, RunError> {
        let standing = &self.standing(owner).await?;
        let chat = &self.new_thread(&standing.member, &thread)?;
        let new = &self.checked_run(&standing.member, new)?;
        let said = &thread.messages;
        let asked = self
            .once(once, |tx| async move {
                let member = &standing.member;
                self.put_thread(&tx, (chat, member), said).await?;
                self.run_in(&tx, chat, new, standing).await
            })
            .await?;
        Ok(self.begun(asked))
    }

    /// A run, without the text of its answer.
    ///
    /// # Errors
    /// If there is no such run in this thread of the owner's, or the database fails.
    pub async fn read_run(
        &self,
        owner: OwnerId,
        thread: ChatId,
        id: RequestId,
    ) -> Result<Response, RunError> {
        let request = self.store.request(id).await?;
        let request = request.filter(|request| request.chat_id == thread);
        let request = request.ok_or(RunError::NotFound)?;
        let chat = self.store.chat(owner, thread).await?;
        self.as_run(chat.ok_or(RunError::NotFound)?, request).await
    }

    /// The same of a run whose thread has just been created.
    ///
    /// # Errors
    /// If there is no such run of the owner's, or the database fails.
    pub async fn begun_run(&self, owner: OwnerId, id: RequestId) -> Result<Response, RunError> {
        let request = self.store.request(id).await?;
        let thread = request.ok_or(RunError::NotFound)?.chat_id;
        self.read_run(owner, thread, id).await
    }

    /// The ids of a thread's runs, in the order in which they were asked for. Whatever was asked in it is one.
    ///
    /// # Errors
    /// If there is no such thread of the owner's, or the database fails.
    pub async fn runs(&self, owner: OwnerId, thread: ChatId) -> Result<Vec<RequestId>, RunError> {
        let chat = self.store.chat(owner, thread).await?;
        let chat = chat.ok_or(ThreadError::NotFound)?;
        Ok(self.store.requests_of(chat.id).await?)
    }

    /// Ends a run that is under way or waits, on whichever node it is; one that has ended stays as it is. What has become
    /// of it.
    ///
    /// # Errors
    /// As [`Self::read_run`].
    pub async fn cancel_run(
        &self,
        owner: OwnerId,
        thread: ChatId,
        id: RequestId,
    ) -> Result<Response, RunError> {
        self.read_run(owner, thread, id).await?;
        Ok(self.cancel_response(owner, id.0).await?)
    }

    /// Sets what the program keeps with a run.
    ///
    /// # Errors
    /// If it cannot be stored, as [`Self::read_run`], or the database fails.
    pub async fn set_run_metadata(
        &self,
        owner: OwnerId,
        thread: ChatId,
        id: RequestId,
        metadata: BTreeMap<String, String>,
    ) -> Result<Response, RunError> {
        metadata::parse(metadata.clone()).map_err(ThreadError::from)?;
        self.read_run(owner, thread, id).await?;
        let metadata = &metadata;
        self.store
            .tx(|tx| async move {
                let request = tx.lock_request(id).await?;
                let request = request.ok_or(RunError::NotFound)?;
                let question = tx.message(request.user_message_id).await?;
                // What is said beside a question goes with it.
                question
                    .filter(|question| question.deleted_at.is_none())
                    .ok_or(RunError::NotFound)?;
                let asked_as = request.asked_as;
                let asked_as = AskedAs {
                    metadata: metadata.clone(),
                    ..asked_as.unwrap_or_default()
                };
                Ok::<_, RunError>(tx.set_asked_as(id, asked_as).await?)
            })
            .await?;
        self.read_run(owner, thread, id).await
    }

    /// The run is stored: who is to write it is told, and who reads what it writes anew.
    fn begun(&self, (request, rewritten): Begun) -> RequestId {
        if let Some(answer) = rewritten {
            self.follower.forget(answer);
        }
        self.announce();
        request
    }

    async fn as_run(&self, chat: Chat, request: Request) -> Result<Response, RunError> {
        let mut run = Response {
            chat,
            request: Some(request),
            answer: None,
            is_shown: true,
            spent: None,
        };
        if let Some(request) = run.request.as_ref().filter(|_| run.is_over()) {
            run.spent = self.store.attempts_of(request.id).await?.pop();
        }
        Ok(run)
    }

    fn checked_run(&self, member: &Member, new: NewRun) -> Result<Checked, RunError> {
        let longest = self.message_bytes(member);
        let text = |error| RunError::from(ThreadError::Text(error));
        for said in &new.additional_messages {
            check_said(said, longest).map_err(text)?;
        }
        let spoken = [
            ("instructions", &new.instructions),
            ("additional_instructions", &new.additional_instructions),
        ];
        for (field, words) in spoken {
            if let Some(words) = words {
                check_text(field, words, longest).map_err(text)?;
            }
        }
        check_storable(&new.parameters).map_err(ModelError::from)?;
        let metadata = new.asked_as.metadata.clone();
        metadata::parse(metadata).map_err(ThreadError::from)?;
        let agents = self.agents();
        let (Assistant::Agent(assistant) | Assistant::AgentOrModel(assistant)) = &new.assistant;
        let agent = agents.iter().find(|agent| agent.alias == *assistant);
        let known = |model: &str| self.known_model(member, model);
        let nobody = || RunError::NoSuchAssistant {
            named: assistant.clone(),
            agents: agents.iter().map(|agent| agent.alias.clone()).collect(),
        };
        let named = match (agent, &new.assistant) {
            (Some(agent), _) => {
                let model = new.model.as_deref().or(agent.model.as_deref());
                model.map(known).transpose()?
            }
            (None, Assistant::Agent(_)) => return Err(nobody()),
            (None, Assistant::AgentOrModel(model)) => {
                // It has to be a model also where another one is to answer.
                let model = known(model).map_err(|error| match error {
                    ModelError::Unknown(_) | ModelError::Text(_) => nobody(),
                    error => error.into(),
                })?;
                let other = new.model.as_deref().map(known).transpose()?;
                Some(other.unwrap_or(model))
            }
        };
        let replaces_system = new.instructions.is_some();
        let spoken = [new.instructions, new.additional_instructions];
        let words: Vec<String> = spoken
            .into_iter()
            .flatten()
            .filter(|words| !words.trim().is_empty())
            .collect();
        Ok(Checked {
            said: new.additional_messages,
            otherwise: Otherwise {
                model: named.map(ModelName::into_string),
                parameters: Some(new.parameters).filter(|some| *some != Parameters::default()),
                instructions: Some(words.join("\n\n")).filter(|words| !words.is_empty()),
                asked_as: Some(AskedAs {
                    surface: Surface::Run,
                    agent: agent.map(|agent| agent.alias.clone()),
                    replaces_system,
                    background: true,
                    ..new.asked_as
                }),
                cache_use: new.cache_use,
            },
        })
    }

    /// Asks for an answer to the last thing that was said in a chat that is locked.
    async fn run_in(
        &self,
        tx: &Tx,
        chat: &Chat,
        new: &Checked,
        standing: &Standing,
    ) -> Result<Begun, RunError> {
        standing.spent.clone()?;
        if !new.said.is_empty() {
            let chat = tx.chat(chat.id).await?;
            let chat = chat.ok_or(ThreadError::NotFound)?;
            self.say_all_in(tx, &chat, &new.said).await?;
        }
        let chat = tx
            .advance_chat(chat.id, Advance::touch(self.clock.now()))
            .await?;
        let chat = &chat.ok_or(ThreadError::NotFound)?;
        let otherwise = &new.otherwise;
        if let Some(parameters) = &otherwise.parameters {
            let model = otherwise.model.as_ref().or(chat.model.as_ref());
            self.check_parameters(&standing.member, model.map(String::as_str), parameters)?;
        }
        match tx.last_said(chat.id).await? {
            Some(question) if question.role == Role::User => {
                let asked = (otherwise, &*standing.member);
                let request = self.answer_said(tx, chat, &question, asked).await?;
                Ok((request, None))
            }
            // Once more: its text so far is kept as a version.
            Some(answer) if is_broken(&answer) => {
                let asked = (answer.id, Again::Retry, otherwise);
                let sent = self.again_in(tx, chat, asked, standing).await?;
                let request = sent.request.ok_or(RunError::NothingToAnswer)?;
                Ok((request, Some(answer.id)))
            }
            Some(_) | None => Err(RunError::NothingToAnswer),
        }
    }

    async fn answer_said(
        &self,
        tx: &Tx,
        chat: &Chat,
        question: &Message,
        (otherwise, member): (&Otherwise, &Member),
    ) -> Result<RequestId, RunError> {
        let request = RequestId::generate();
        tx.set_request(question.id, request, chat.revision).await?;
        let queued = self.new_request(request, question, (chat, member, otherwise))?;
        self.admit::<RunError>(tx, member).await?;
        tx.insert_request(queued).await?;
        Ok(request)
    }
}

/// Whether it is an answer that did not come to its end.
fn is_broken(answer: &Message) -> bool {
    answer.reply_to.is_some() && matches!(answer.status, Status::Failed | Status::Cancelled)
}
