//! Reading an answer that another node writes, through the database. What is read may lag behind
//! what the writing node has already shown.

use entity::chat_message::{Model as Message, Status};

use crate::store::{Store, StoreError};

/// What following a pending message found.
#[derive(Clone, Debug)]
pub enum Followed {
    /// It is still being written; this much of its text has been flushed.
    Pending { text: String },
    /// It has been finished meanwhile.
    Finished(Box<Message>),
    /// It is gone.
    Gone,
}

/// Reads what has been flushed of a pending message that this node does not write.
///
/// The message is looked at again after its chunks have been read: had it been finished in
/// between, the chunks might have been purged already, and an empty text be taken for the truth.
///
/// # Errors
/// If the database fails.
pub async fn follow(store: &Store, message: &Message) -> Result<Followed, StoreError> {
    let text = match message.request_id {
        Some(request) => store.ledger_text(request, message.edition).await?,
        None => String::new(),
    };
    Ok(match store.any_message(message.id).await? {
        None => Followed::Gone,
        Some(now) if now.status == Status::Pending => Followed::Pending { text },
        Some(now) => Followed::Finished(Box::new(now)),
    })
}
