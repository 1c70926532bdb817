//! What the routes take and answer. The files mirror the URLs.

mod about;
mod again;
mod bad_input;
mod cancel;
mod chat;
mod chat_list;
mod chat_messages;
mod chat_send;
mod edit;
mod health;
mod html;
mod idempotency;
mod message;
mod on_busy;
mod poll;
mod reaction;
mod restore;
mod search;
mod share;
mod title;
mod usage;
