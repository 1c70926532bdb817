//! What the routes take and answer. The files mirror the URLs.

mod bad_input;
mod chat;
mod chat_list;
mod chat_messages;
mod chat_send;
mod health;
mod html;
mod message;
