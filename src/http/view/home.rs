//! The home page: a message box, the agents and the recent chats.

use askama::Template;
use entity::ChatId;

use super::agents::AgentsView;
use super::assets::{self, Icon};
use super::chat::DeletedNotice;
use super::frame::{Frame, Theme};
use super::list::DaysView;
use super::words::{self, W};
use crate::model::command::{COMMANDS, Entry};

/// The part of the page below its head.
#[derive(Template)]
#[template(path = "home_main.html")]
pub struct HomeMain {
    pub list: DaysView,
    pub agents: AgentsView,
    pub model: String,
    /// The UUID of the next chat: created twice, it is one.
    pub fresh: ChatId,
    pub commands: &'static [Entry],
}

impl HomeMain {
    pub fn new(list: DaysView, agents: AgentsView, model: String) -> Self {
        Self {
            list,
            agents,
            model,
            fresh: ChatId::generate(),
            commands: &COMMANDS,
        }
    }

    #[cfg(any(test, debug_assertions))]
    pub fn sample() -> Self {
        Self {
            fresh: ChatId(uuid::Uuid::from_u128(9)),
            commands: &COMMANDS[..2],
            ..Self::new(DaysView::sample(), AgentsView::sample(), "demo".to_owned())
        }
    }
}

#[derive(Template)]
#[template(path = "home.html")]
pub struct HomePage {
    pub frame: Frame,
    /// What was deleted just now.
    pub deleted: Option<DeletedNotice>,
    pub main: HomeMain,
}

/// What HTMX gets when a chat was deleted: the notice, the home view where the chat was shown, and that the
/// chat is in no list of the page any more.
#[derive(Template)]
#[template(path = "deleted_done.html")]
pub struct DeletedFragment {
    pub chat: ChatId,
    pub main: Option<HomeMain>,
    pub notice: Option<DeletedNotice>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_home_page() {
        let page = HomePage {
            frame: Frame::default(),
            deleted: Some(DeletedNotice {
                chat: ChatId(uuid::Uuid::from_u128(3)),
                title: "Tea & <biscuits>".to_owned(),
            }),
            main: HomeMain::sample(),
        };
        insta::with_settings!({filters => vec![(r"\?v=[0-9a-f]{16}", "?v=[hash]")]}, {
            insta::assert_snapshot!(page.render().unwrap());
        });
    }
}
