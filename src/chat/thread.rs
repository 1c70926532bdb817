//! A thread: a chat as programs know it that put messages into it first and have them answered later. Putting one in asks
//! nobody; `run.rs` does.

use std::collections::{BTreeMap, HashMap};

use entity::chat::Model as Chat;
use entity::chat_message::{Model as Message, Role, Status};
use entity::llm_request::Model as Request;
use entity::{ChatId, MessageId, OwnerId, RequestId};

use super::send::give_title;
use super::{Chats, DeleteMessageError, Member, MessageRead, Once, OnceError, Said};
use crate::model::metadata::{self, MetadataError};
use crate::model::text::{MessageText, TextError, Title, check_text};
use crate::store::{StoreError, Tx};

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub struct NewThread {
    /// What has been said in it, oldest first.
    pub messages: Vec<Said>,
    /// What the program keeps with it for itself.
    pub metadata: BTreeMap<String, String>,
}

/// A message of a thread.
#[derive(Clone, Debug)]
pub struct ThreadMessage {
    pub read: MessageRead,
    /// The request that has written it, or is writing it.
    pub run: Option<Request>,
}

#[derive(Debug, thiserror::Error)]
pub enum ThreadError {
    #[error(transparent)]
    Text(#[from] TextError),
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    #[error("there is no such thread")]
    NotFound,
    #[error("there is no such message in this thread")]
    MessageNotFound,
    #[error(
        "a run is under way in this thread; poll it to its end, or cancel it, before anything else is said"
    )]
    Busy,
    #[error("this answer is still being written; cancel its run first, or wait")]
    StillWritten,
    #[error("the user is being deleted")]
    UserGone,
    #[error(transparent)]
    Once(#[from] OnceError),
    #[error("the thread could not be stored")]
    Store(#[from] StoreError),
}

impl Chats {
    /// Creates a thread with what has been said in it.
    ///
    /// # Errors
    /// If something of it cannot be stored, or the database fails.
    pub async fn create_thread(
        &self,
        owner: OwnerId,
        new: NewThread,
        once: Option<&Once>,
    ) -> Result<Chat, ThreadError> {
        let member = &self.member(owner).await?;
        let chat = &self.new_thread(member, &new)?;
        let said = &new.messages;
        self.once(once, |tx| async move {
            self.put_thread(&tx, (chat, member), said).await?;
            let chat = tx.chat(chat.id).await?;
            chat.ok_or(ThreadError::NotFound)
        })
        .await
    }

    /// Adds a message that nobody is asked to answer.
    ///
    /// # Errors
    /// If there is no such thread of the owner's, a run is under way in it, the message cannot be stored, or the database
    /// fails.
    pub async fn add_message(
        &self,
        owner: OwnerId,
        thread: ChatId,
        said: Said,
        once: Option<&Once>,
    ) -> Result<Message, ThreadError> {
        let member = self.member(owner).await?;
        let longest = self.message_bytes(&member);
        check_said(&said, longest)?;
        let said = &said;
        self.once(once, |tx| async move {
            let chat = self.lock_idle(&tx, owner, thread).await?;
            self.say_in(&tx, &chat, said).await
        })
        .await
    }

    /// The messages of a thread that can be seen, oldest first, without the texts of those that are being written:
    /// [`Self::thread_texts`] has them.
    ///
    /// # Errors
    /// If there is no such thread of the owner's, or the database fails.
    pub async fn thread_messages(
        &self,
        owner: OwnerId,
        thread: ChatId,
    ) -> Result<Vec<Message>, ThreadError> {
        let chat = self.store.chat(owner, thread).await?;
        let chat = chat.ok_or(ThreadError::NotFound)?;
        let mut all = self.store.all_messages(chat.id).await?;
        all.retain(|message| {
            message.role != Role::System
                && message.deleted_at.is_none()
                && message.superseded_at.is_none()
        });
        Ok(all)
    }

    /// One of them, with its text so far.
    ///
    /// # Errors
    /// If there is no such message in this thread of the owner's, or the database fails.
    pub async fn thread_message(
        &self,
        owner: OwnerId,
        thread: ChatId,
        id: MessageId,
    ) -> Result<ThreadMessage, ThreadError> {
        let row = self.message_of(owner, thread, id).await?;
        let mut read = self.thread_texts(owner, vec![row]).await?;
        read.pop().ok_or(ThreadError::MessageNotFound)
    }

    /// Deletes a message. A run that answers it is ended first.
    ///
    /// # Errors
    /// If there is no such message, it is an answer that is being written, or the database fails.
    pub async fn delete_thread_message(
        &self,
        owner: OwnerId,
        thread: ChatId,
        id: MessageId,
    ) -> Result<(), ThreadError> {
        self.message_of(owner, thread, id).await?;
        match self.delete_message(owner, id).await {
            Ok(()) => Ok(()),
            Err(DeleteMessageError::NotFound) => Err(ThreadError::MessageNotFound),
            Err(DeleteMessageError::StillWritten) => Err(ThreadError::StillWritten),
            Err(DeleteMessageError::Store(error)) => Err(error.into()),
        }
    }

    /// Messages with their texts so far, and who writes them. Those that are deleted meanwhile are left out.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn thread_texts(
        &self,
        owner: OwnerId,
        rows: Vec<Message>,
    ) -> Result<Vec<ThreadMessage>, ThreadError> {
        let writers: Vec<RequestId> = rows
            .iter()
            .filter(|row| row.role == Role::Assistant)
            .filter_map(|row| row.request_id)
            .collect();
        let runs = self.store.requests(&writers).await?;
        let mut runs: HashMap<RequestId, Request> =
            runs.into_iter().map(|run| (run.id, run)).collect();
        let mut read = Vec::with_capacity(rows.len());
        for row in rows {
            let run = row.request_id.and_then(|id| runs.remove(&id));
            let row = if row.status == Status::Pending {
                // Memory is asked before the database, as for every message.
                let live = self.ledgers.get(row.id);
                let Some(row) = self.store.message(owner, row.id).await? else {
                    continue;
                };
                self.read_row(row, live.as_slice(), usize::MAX).await?
            } else {
                MessageRead::stored(row, usize::MAX)
            };
            read.push(ThreadMessage { read: row, run });
        }
        Ok(read)
    }

    async fn message_of(
        &self,
        owner: OwnerId,
        thread: ChatId,
        id: MessageId,
    ) -> Result<Message, ThreadError> {
        let row = self.store.message(owner, id).await?;
        let row = row.filter(|row| row.chat_id == thread && row.superseded_at.is_none());
        row.ok_or(ThreadError::MessageNotFound)
    }

    /// A thread that can be stored with what is said in it.
    pub(super) fn new_thread(&self, member: &Member, new: &NewThread) -> Result<Chat, ThreadError> {
        let longest = self.message_bytes(member);
        for said in &new.messages {
            check_said(said, longest)?;
        }
        Ok(Chat {
            metadata: metadata::parse(new.metadata.clone())?,
            ..self.empty_chat(member.id, Title::of_new_chat())
        })
    }

    /// Stores a new thread and what is said in it.
    pub(super) async fn put_thread(
        &self,
        tx: &Tx,
        (chat, member): (&Chat, &Member),
        said: &[Said],
    ) -> Result<(), ThreadError> {
        if !self.hold(tx, member).await? {
            return Err(ThreadError::UserGone);
        }
        if !tx.insert_chat(chat.clone()).await? {
            return Err(StoreError::Raced.into());
        }
        self.say_all_in(tx, chat, said).await?;
        Ok(())
    }

    /// The thread, in which nothing is asked until the transaction ends.
    pub(super) async fn lock_idle(
        &self,
        tx: &Tx,
        owner: OwnerId,
        thread: ChatId,
    ) -> Result<Chat, ThreadError> {
        let chat = tx.lock_chat(thread).await?;
        let chat = chat.filter(|chat| chat.owner_id == owner);
        let chat = chat.ok_or(ThreadError::NotFound)?;
        if tx.active_requests(thread).await?.is_empty() {
            Ok(chat)
        } else {
            Err(ThreadError::Busy)
        }
    }

    /// Adds what is said to a thread, which the first question gives its title.
    pub(super) async fn say_in(
        &self,
        tx: &Tx,
        chat: &Chat,
        said: &Said,
    ) -> Result<Message, ThreadError> {
        let put = self
            .say_all_in(tx, chat, std::slice::from_ref(said))
            .await?;
        put.into_iter().next().ok_or(ThreadError::NotFound)
    }

    /// The same of several things.
    pub(super) async fn say_all_in(
        &self,
        tx: &Tx,
        chat: &Chat,
        said: &[Said],
    ) -> Result<Vec<Message>, ThreadError> {
        if said.is_empty() {
            return Ok(Vec::new());
        }
        let first = said.iter().find(|said| said.role == Role::User);
        if let Some(first) = first {
            let text = MessageText::parse(first.text.clone(), usize::MAX)?;
            give_title(tx, chat, &text).await?;
        }
        let put = self.put(tx, chat.id, said).await?;
        put.ok_or(ThreadError::NotFound)
    }
}

/// Whether something can be said in a thread: an answer may be longer than a question.
pub(super) fn check_said(said: &Said, longest: usize) -> Result<(), TextError> {
    match said.role {
        Role::User => MessageText::parse(said.text.clone(), longest).map(|_| ()),
        Role::System => check_text("message", &said.text, longest),
        Role::Assistant | Role::Agent => check_text("message", &said.text, usize::MAX),
    }
}
