//! The list of chats, as JSON, as a fragment and as a page.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use askama::Template;
use chrono::{FixedOffset, NaiveDate};
use entity::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::assets::{self, Icon};
use super::chat::ChatView;
use super::frame::{Frame, Theme};
use super::poller::Poller;
use super::search::FoundFragment;
use super::words::{self, W};
use crate::chat::{ChatDefaults, ChatList};
use crate::model::hint::{FLOWING_MS, IDLE_MS};

/// Chats in the list at the side at first, how many more come at its end, and at most.
pub const SIDE_STEP: u64 = 30;
pub const SIDE_MAX: u64 = 300;

/// A page of the list.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChatListView {
    pub chats: Vec<ListedChatView>,
    /// The `cursor` of the next page; null on the last one.
    pub next: Option<String>,
    pub poll_after_ms: u64,
}

/// A chat and the last thing said in it.
#[derive(Debug, Serialize, ToSchema)]
pub struct ListedChatView {
    #[serde(flatten)]
    pub chat: ChatView,
    pub preview: String,
}

impl ChatListView {
    pub fn new(list: ChatList, defaults: &ChatDefaults) -> Self {
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
}

/// The list as a page shows it: by the day on which each chat was last changed.
#[derive(Clone, Debug, Hash)]
pub struct DaysView {
    pub days: Vec<DayView>,
    /// The `cursor` of the next page.
    pub next: Option<String>,
    /// What the ids of its elements begin with: a page may have two lists.
    pub place: &'static str,
}

/// The chats of one day.
#[derive(Clone, Debug, Hash)]
pub struct DayView {
    pub name: String,
    pub chats: Vec<RowView>,
}

/// One chat in the list.
#[derive(Clone, Debug)]
pub struct RowView {
    pub chat: ChatView,
    pub preview: String,
}

impl std::hash::Hash for RowView {
    /// Over what is shown of it.
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        let chat = &self.chat;
        (chat.uuid, &chat.title, chat.is_answering(), &self.preview).hash(state);
    }
}

impl DaysView {
    /// `offset`: of the reader's clock.
    pub fn new(
        list: ChatListView,
        place: &'static str,
        now: Timestamp,
        offset: Option<FixedOffset>,
    ) -> Self {
        let day = |at: Timestamp| match offset {
            Some(offset) => at.to_datetime().with_timezone(&offset).date_naive(),
            None => at.to_datetime().date_naive(),
        };
        let today = day(now);
        let mut days: Vec<DayView> = Vec::new();
        for listed in list.chats {
            let name = day_name(day(listed.chat.updated_at), today);
            let row = RowView {
                chat: listed.chat,
                preview: listed.preview,
            };
            match days.last_mut() {
                Some(group) if group.name == name => group.chats.push(row),
                _ => days.push(DayView {
                    name,
                    chats: vec![row],
                }),
            }
        }
        Self {
            days,
            next: list.next,
            place,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.days.is_empty()
    }

    /// Of the headings of its days: on the page of all chats they follow the page's own.
    pub fn level(&self) -> u8 {
        if self.place == "all" { 2 } else { 3 }
    }

    /// A number that is another one when another list would be shown.
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
    }

    #[cfg(any(test, debug_assertions))]
    pub fn sample() -> Self {
        let chat = super::chat::ChatMain::sample().chat;
        let list = ChatListView {
            chats: vec![ListedChatView {
                chat,
                preview: "Yes, <please>".to_owned(),
            }],
            next: Some("1795226400000_00000000-0000-0000-0000-000000000001".to_owned()),
            poll_after_ms: IDLE_MS,
        };
        Self::new(list, "side", Timestamp(1_795_226_500_000), None)
    }
}

fn day_name(day: NaiveDate, today: NaiveDate) -> String {
    match (today - day).num_days() {
        ..=0 => W.today.to_owned(),
        1 => W.yesterday.to_owned(),
        _ => day.format("%-d %b %Y").to_string(),
    }
}

/// The list at the side of every page, which polls for itself.
#[derive(Template)]
#[template(path = "side_list.html")]
pub struct SideList {
    pub list: DaysView,
    pub poller: Poller,
    /// Where there is more of it.
    pub more: Option<String>,
}

impl SideList {
    /// `limit`: chats that it has at most.
    pub fn new(list: DaysView, limit: u64, hint: u64) -> Self {
        let seen = list.fingerprint();
        let longer = (limit + SIDE_STEP).min(SIDE_MAX);
        let has_more = list.next.is_some() && longer > limit;
        Self {
            poller: Poller::new(format!("/chat/list?limit={limit}&seen={seen}"), hint),
            more: has_more.then(|| format!("/chat/list?limit={longer}")),
            list,
        }
    }

    #[cfg(any(test, debug_assertions))]
    pub fn sample() -> Self {
        let list = DaysView::sample();
        Self {
            poller: Poller::new("/chat/list?limit=30&seen=1".to_owned(), IDLE_MS),
            more: Some("/chat/list?limit=60".to_owned()),
            list,
        }
    }
}

/// The page of all chats.
#[derive(Template)]
#[template(path = "chats.html")]
pub struct ChatsPage {
    pub frame: Frame,
    /// What was looked for, in the place of the list.
    pub found: Option<FoundFragment>,
    pub list: DaysView,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_at_the_side() {
        insta::with_settings!({filters => vec![(r"\?v=[0-9a-f]{16}", "?v=[hash]")]}, {
            insta::assert_snapshot!(SideList::sample().render().unwrap());
        });
    }

    #[test]
    fn the_page_of_all_chats_has_the_way_to_the_next_page() {
        let (frame, list) = (Frame::default(), DaysView::sample());
        let page = ChatsPage {
            frame,
            found: None,
            list,
        }
        .render()
        .unwrap();
        assert!(page.contains("/chats?cursor=1795226400000_"), "{page}");
    }

    #[test]
    fn days_are_the_readers() {
        let name = |hours: i64, offset_min| {
            let frame = Frame::new(None, Some(offset_min));
            let mut list = DaysView::sample();
            let chat = list.days.remove(0).chats.remove(0).chat;
            // 21 November 2026, 12:00 UTC.
            let now = Timestamp(1_795_262_400_000);
            let updated_at = Timestamp(now.0 - hours * 3_600_000);
            let chats = vec![ListedChatView {
                chat: ChatView { updated_at, ..chat },
                preview: String::new(),
            }];
            let list = ChatListView {
                chats,
                next: None,
                poll_after_ms: IDLE_MS,
            };
            DaysView::new(list, "side", now, frame.offset)
                .days
                .remove(0)
                .name
        };
        assert_eq!(name(11, "0"), W.today);
        assert_eq!(name(13, "0"), W.yesterday);
        assert_eq!(name(13, "120"), W.today, "it is two hours later there");
        assert_eq!(name(48, "0"), "19 Nov 2026");
    }

    #[test]
    fn a_list_looks_different_when_something_in_it_does() {
        let (list, mut other) = (DaysView::sample(), DaysView::sample());
        assert_eq!(list.fingerprint(), other.fingerprint());
        other.days[0].chats[0].chat.title.push('!');
        assert_ne!(list.fingerprint(), other.fingerprint());
    }
}
