//! The home page: a message box and the recent chats.

use askama::Template;

use super::list::ChatListView;

/// The part of the page below its head.
#[derive(Template)]
#[template(path = "home_main.html")]
pub struct HomeMain {
    pub list: ChatListView,
    pub model: String,
}

#[derive(Template)]
#[template(path = "home.html")]
pub struct HomePage {
    pub main: HomeMain,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_home_page() {
        let main = HomeMain {
            list: ChatListView::sample(),
            model: "demo".to_owned(),
        };
        insta::with_settings!({filters => vec![(r"\?v=[0-9a-f]{16}", "?v=[hash]")]}, {
            insta::assert_snapshot!(HomePage { main }.render().unwrap());
        });
    }
}
