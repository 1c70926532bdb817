//! Documents that become chats again: all of those that come together, or none.

use std::collections::HashMap;

use entity::chat::{Model as Chat, Status as ChatStatus};
use entity::chat_message::{Model as Message, Role, Status};
use entity::message_version::Model as Version;
use entity::{ChatId, MessageId, OwnerId, Parameters, RequestId, Timestamp};
use serde::{Deserialize, Serialize};

use super::agents::finished_message;
use super::{Chats, Member, Once, OnceError};
use crate::fault;
use crate::model::exchange::{
    self, ChatDocument, MAX_MESSAGES, MessageDocument, Mistake, ReactionDocument, Speaker,
    VersionDocument,
};
use crate::model::metadata;
use crate::store::{StoreError, Tx};

/// Documents that come together.
pub const MAX_DOCUMENTS: usize = 100;
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// What is to become chats.
#[derive(Clone, Debug)]
pub struct Import {
    pub documents: Vec<ChatDocument>,
    /// They came as a list, by whose places mistakes are named.
    pub is_list: bool,
    /// Chats and messages keep their UUIDs, so that the same document makes one chat, however often it comes.
    pub keep_uuids: bool,
}

/// What has become of a document.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Imported {
    pub chat: ChatId,
    pub title: String,
    pub messages: usize,
    /// False: the caller had it already, and it is as it was.
    pub is_new: bool,
    /// What could not be taken over, a sentence for each.
    pub notes: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error(transparent)]
    Mistake(#[from] Mistake),
    #[error(
        "at most {MAX_DOCUMENTS} chats with {MAX_MESSAGES} messages together are taken at once"
    )]
    TooMany,
    #[error("there is no chat in it")]
    Nothing,
    /// Somebody else's chat has a UUID that was to be kept, or another chat has a message's.
    #[error("a UUID that was to be kept is taken; import it with new ones")]
    UuidTaken,
    #[error("the user is being deleted")]
    UserGone,
    #[error(transparent)]
    Once(#[from] OnceError),
    #[error("the chats could not be stored")]
    Store(#[from] StoreError),
}

/// A document as rows.
struct Rows {
    chat: Chat,
    messages: Vec<Message>,
    versions: Vec<Version>,
    notes: Vec<String>,
}

impl Chats {
    /// Makes chats of documents.
    ///
    /// # Errors
    /// If one of them is not right, a UUID is taken, or the database fails. Then there is none of them.
    pub async fn import(
        &self,
        owner: OwnerId,
        import: &Import,
        once: Option<&Once>,
    ) -> Result<Vec<Imported>, ImportError> {
        let documents = &import.documents;
        let messages = documents.iter().map(|document| document.messages.len());
        if documents.len() > MAX_DOCUMENTS || messages.sum::<usize>() > MAX_MESSAGES {
            return Err(ImportError::TooMany);
        }
        if documents.is_empty() {
            return Err(ImportError::Nothing);
        }
        let member = self.member(owner).await?;
        let mut all = Vec::with_capacity(documents.len());
        for (place, document) in documents.iter().enumerate() {
            let rows = self.rows(&member, document, import.keep_uuids);
            all.push(rows.map_err(|mistake| {
                if import.is_list {
                    mistake.in_list(place)
                } else {
                    mistake
                }
            })?);
        }
        let (all, keep) = (&all, import.keep_uuids);
        self.once(once, |tx| async move {
            if !tx.hold_user(owner).await? {
                return Err(ImportError::UserGone);
            }
            let mut imported = Vec::with_capacity(all.len());
            for rows in all {
                imported.push(insert(&tx, owner, rows, keep).await?);
            }
            fault::point("import.before_commit");
            Ok(imported)
        })
        .await
    }

    /// The rows that a document becomes, all of them as they will be.
    fn rows(
        &self,
        member: &Member,
        document: &ChatDocument,
        keep_uuids: bool,
    ) -> Result<Rows, Mistake> {
        exchange::check(document)?;
        let (now, mut notes) = (self.clock.now(), Vec::new());
        let parameters = Some(document.parameters.clone());
        let metadata = metadata::parse(document.metadata.clone());
        let mut chat = Chat {
            id: if keep_uuids {
                document.uuid
            } else {
                ChatId::generate()
            },
            owner_id: member.id,
            title: document.title.trim().to_owned(),
            agent: document.agent.clone(),
            model: document.model.clone(),
            status: ChatStatus::WaitingForUser,
            on_busy: document.on_busy,
            parameters: parameters.filter(|some| *some != Parameters::default()),
            metadata: metadata.map_err(|error| Mistake::new("metadata", error.to_string()))?,
            summary: None,
            summary_through: None,
            next_sequence: 1,
            revision: 1,
            created_at: document.created_at.min(now),
            updated_at: document.updated_at.min(now),
            deleted_at: None,
            expires_at: document.expires_at,
        };
        self.fit(&mut chat, member, now, &mut notes)?;
        let uuids: HashMap<MessageId, MessageId> = document
            .messages
            .iter()
            .map(|message| {
                let own = if keep_uuids {
                    message.uuid
                } else {
                    MessageId::generate()
                };
                (message.uuid, own)
            })
            .collect();
        let (mut messages, mut versions) = (Vec::new(), Vec::new());
        for said in &document.messages {
            let message = message(&chat, said, &uuids, now);
            let others = said.versions.iter();
            versions.extend(others.map(|other| version(&message, other, now)));
            messages.push(message);
            chat.next_sequence += 1;
        }
        if let Some(words) = self.system_words_of(&chat, member) {
            chat.next_sequence += 1;
            messages.push(finished_message(&chat, Role::System, &words, now));
        }
        Ok(Rows {
            chat,
            messages,
            versions,
            notes,
        })
    }

    /// Takes away what this server does not have, and what would end the chat at once; and says so.
    fn fit(
        &self,
        chat: &mut Chat,
        member: &Member,
        now: Timestamp,
        notes: &mut Vec<String>,
    ) -> Result<(), Mistake> {
        if let Some(alias) = chat.agent.take_if(|alias| self.agent(alias).is_err()) {
            notes.push(format!(
                "there is no agent {alias:?} here: the chat has none"
            ));
        }
        let is_unknown = |name: &mut String| self.known_model(member, name).is_err();
        if let Some(model) = chat.model.take_if(is_unknown) {
            notes.push(format!(
                "the model {model:?} is not for this chat here: it has the server's default"
            ));
        }
        if let Some(parameters) = &chat.parameters {
            let checked = self.check_parameters(member, chat.model.as_deref(), parameters);
            checked.map_err(|error| Mistake::new("parameters", error.to_string()))?;
        }
        if chat.expires_at.take_if(|at| *at <= now).is_some() {
            notes.push("its time had come to an end: it has none any more".to_owned());
        }
        let days = member.tier.as_ref().and_then(|tier| tier.retention);
        let is_kept = |days: u32| chat.updated_at > now.plus_ms(-DAY_MS * i64::from(days));
        if days.is_some_and(|days| !is_kept(days)) {
            chat.updated_at = now;
            notes.push(
                "it was older than chats are kept here: it counts as changed just now".to_owned(),
            );
        }
        Ok(())
    }
}

async fn insert(
    tx: &Tx,
    owner: OwnerId,
    rows: &Rows,
    keep_uuids: bool,
) -> Result<Imported, ImportError> {
    let chat = &rows.chat;
    let said = |messages: &[Message]| messages.iter().filter(|m| m.role != Role::System).count();
    let mut imported = Imported {
        chat: chat.id,
        title: chat.title.clone(),
        messages: said(&rows.messages),
        is_new: true,
        notes: rows.notes.clone(),
    };
    if keep_uuids {
        // One that was deleted leaves its UUID to its owner.
        tx.erase_deleted_chat(owner, chat.id).await?;
    }
    if !tx.insert_chat(chat.clone()).await? {
        let there = tx.chat(chat.id).await?;
        let there = there.filter(|there| there.owner_id == owner);
        let there = there.ok_or(ImportError::UuidTaken)?;
        imported.title = there.title;
        imported.is_new = false;
        imported.notes.clear();
        return Ok(imported);
    }
    let inserted = tx.insert_messages(&rows.messages).await;
    inserted.map_err(|error| {
        if error.is_duplicate() {
            ImportError::UuidTaken
        } else {
            error.into()
        }
    })?;
    tx.insert_versions(&rows.versions).await?;
    Ok(imported)
}

/// Nobody works on it here.
fn ended(status: Status) -> Status {
    match status {
        Status::Pending => Status::Cancelled,
        status @ (Status::Completed | Status::Failed | Status::Cancelled) => status,
    }
}

fn message(
    chat: &Chat,
    said: &MessageDocument,
    uuids: &HashMap<MessageId, MessageId>,
    now: Timestamp,
) -> Message {
    let (reaction, comment) = reaction(said.reaction.as_ref());
    let others = said.versions.iter().map(|version| version.version);
    let (code, why) = said
        .error
        .clone()
        .map(|error| (error.code, error.message))
        .unzip();
    let is_question = said.role == Speaker::User;
    Message {
        id: uuids.get(&said.uuid).copied().unwrap_or(said.uuid),
        chat_id: chat.id,
        sequence: chat.next_sequence,
        revision: chat.revision,
        role: if is_question {
            Role::User
        } else {
            Role::Assistant
        },
        status: ended(said.status),
        reply_to: said
            .reply_to
            .and_then(|question| uuids.get(&question).copied()),
        // What tells a question from a command. There is no such request: whoever looks for one finds none.
        request_id: is_question.then(RequestId::generate),
        content: said.content.clone(),
        reasoning: said.reasoning.clone(),
        origin: said.origin(),
        edition: 0,
        version: said.version,
        versions: others.fold(said.version, i64::max),
        error_code: code,
        error_message: why,
        reaction,
        reaction_comment: comment,
        created_at: said.created_at,
        completed_at: said
            .completed_at
            .or((said.status == Status::Pending).then_some(now)),
        deleted_at: None,
        superseded_at: None,
    }
}

fn version(message: &Message, other: &VersionDocument, now: Timestamp) -> Version {
    let (reaction, comment) = reaction(other.reaction.as_ref());
    let (code, why) = other
        .error
        .clone()
        .map(|error| (error.code, error.message))
        .unzip();
    Version {
        message_id: message.id,
        number: other.version,
        chat_id: message.chat_id,
        status: ended(other.status),
        content: other.content.clone(),
        reasoning: other.reasoning.clone(),
        origin: other.origin(),
        request_id: None,
        error_code: code,
        error_message: why,
        reaction,
        reaction_comment: comment,
        completed_at: other
            .completed_at
            .or((other.status == Status::Pending).then_some(now)),
    }
}

fn reaction(
    reaction: Option<&ReactionDocument>,
) -> (Option<entity::chat_message::Reaction>, Option<String>) {
    let comment = reaction.and_then(|reaction| reaction.comment.clone());
    (reaction.map(|reaction| reaction.reaction), comment)
}
