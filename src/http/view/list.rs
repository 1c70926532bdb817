//! The list of chats, as JSON, as a fragment and as a page.

use askama::Template;
use serde::Serialize;

use super::chat::ChatView;
use crate::chat::{ChatDefaults, ChatList};
use crate::model::hint::{FLOWING_MS, IDLE_MS};

/// A page of the list.
#[derive(Debug, Serialize)]
pub struct ChatListView {
    pub chats: Vec<ListedChatView>,
    /// The `cursor` of the next page; null on the last one.
    pub next: Option<String>,
    pub poll_after_ms: u64,
}

/// A chat and the last thing said in it.
#[derive(Debug, Serialize)]
pub struct ListedChatView {
    #[serde(flatten)]
    pub chat: ChatView,
    pub preview: String,
}

impl ListedChatView {
    /// When the chat was last changed, UTC, for people.
    pub fn changed(&self) -> String {
        let changed = self.chat.updated_at.to_datetime();
        changed.format("%-d %b %Y, %H:%M UTC").to_string()
    }
}

impl ChatListView {
    pub fn new(list: ChatList, defaults: &ChatDefaults<'_>) -> Self {
        let chats: Vec<ListedChatView> = list
            .chats
            .into_iter()
            .map(|listed| ListedChatView {
                chat: ChatView::new(listed.chat, defaults),
                preview: listed.preview,
            })
            .collect();
        let is_answering = chats.iter().any(|listed| listed.chat.is_answering());
        Self {
            chats,
            next: list.next.map(|cursor| cursor.to_string()),
            poll_after_ms: if is_answering { FLOWING_MS } else { IDLE_MS },
        }
    }

    #[cfg(test)]
    pub fn sample() -> Self {
        let chat = super::chat::ChatMain::sample().chat;
        Self {
            chats: vec![ListedChatView {
                chat,
                preview: "Yes, <please>".to_owned(),
            }],
            next: Some("1795226400000_00000000-0000-0000-0000-000000000001".to_owned()),
            poll_after_ms: IDLE_MS,
        }
    }
}

/// The list alone.
#[derive(Template)]
#[template(path = "chat_list.html")]
pub struct ChatListFragment {
    pub list: ChatListView,
}

/// The page of all chats.
#[derive(Template)]
#[template(path = "chats.html")]
pub struct ChatsPage {
    pub list: ChatListView,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_chats() {
        let list = ChatListView::sample();
        insta::assert_snapshot!(ChatListFragment { list }.render().unwrap());
    }

    #[test]
    fn the_page_of_all_chats_has_the_way_to_the_next_page() {
        let list = ChatListView::sample();
        let page = ChatsPage { list }.render().unwrap();
        assert!(page.contains("/chats?cursor=1795226400000_"), "{page}");
    }
}
