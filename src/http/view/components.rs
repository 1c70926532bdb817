//! Every component of the page in every state, on one page, for who works on them. Only in builds that are
//! meant for that.

use askama::Template;
use entity::chat_message::{Role, Status};
use entity::{ChatId, MessageId, Timestamp};

use super::about::{AboutFragment, AboutView};
use super::assets::{self, Icon};
use super::chat::{ChatMain, DeletedNotice};
use super::frame::{Frame, Theme};
use super::home::HomeMain;
use super::list::SideList;
use super::message::{MessageCard, ReasoningView};
use super::search::{FoundFragment, SearchView};
use super::share::SharesFragment;
use super::shared::SharedMain;
use super::words::W;
use crate::http::problem::{Kind, Problem};
use crate::http::view::problem::ProblemFragment;
use crate::model::position::Position;

/// Markdown with all that it can be.
const MARKDOWN: &str = include_str!("sample.md");

/// One component in one state.
pub struct Shown {
    pub name: &'static str,
    pub html: String,
}

/// The page of them.
#[derive(Template)]
#[template(path = "components.html")]
pub struct ComponentsPage {
    pub frame: Frame,
    pub shown: Vec<Shown>,
}

impl ComponentsPage {
    pub fn new(frame: Frame) -> Self {
        let mut shown: Vec<Shown> = messages().into_iter().map(message).collect();
        let problem = Problem::new(Kind::InvalidField, "`message` is missing or empty");
        let body = problem.body("/", "id");
        shown.extend([
            show("problem", &ProblemFragment::new(&problem, &body)),
            show(
                "notice",
                &DeletedNotice {
                    chat: ChatId(uuid::Uuid::from_u128(1)),
                    title: "Tea & <biscuits>".to_owned(),
                },
            ),
            show("list at the side", &SideList::sample()),
            show(
                "found",
                &FoundFragment::new(SearchView::sample(), "ple".to_owned()),
            ),
            show(
                "about an answer",
                &AboutFragment::new(Timestamp(1_795_226_400_000), Some(AboutView::sample())),
            ),
            show("links to a chat", &SharesFragment::sample()),
            show("chat", &ChatMain::sample()),
            show("shared chat", &SharedMain::sample()),
            show("home", &HomeMain::sample()),
        ]);
        Self { frame, shown }
    }
}

fn show(name: &'static str, component: &impl Template) -> Shown {
    let html = component.render().unwrap_or_else(|error| error.to_string());
    Shown { name, html }
}

/// A message with an element around it that a list gives it on a page.
fn message((name, card): (&'static str, MessageCard)) -> Shown {
    let shown = show(name, &super::message::MessageFragment { card });
    let html = format!("<ol class=\"messages\">{}</ol>", shown.html);
    Shown { name, html }
}

/// A message in each state that it can be in.
pub fn messages() -> Vec<(&'static str, MessageCard)> {
    let user = |status, text| MessageCard::sample(Role::User, status, text);
    let answer = |status, text| MessageCard::sample(Role::Assistant, status, text);
    let mut thoughtful = answer(Status::Completed, "Yes.");
    thoughtful.message.reasoning = Some(ReasoningView {
        content: "Hm, <b>.".to_owned(),
        position: Position::START,
    });
    thoughtful.message.left_out = 2;
    thoughtful.message.cached = true;
    thoughtful.message.finish_reason = Some("length".to_owned());
    let mut versions = answer(Status::Completed, "The second of three.");
    versions.message.version = 2;
    versions.message.versions = 3;
    let mut edited = user(Status::Completed, "Said anew");
    edited.message.versions = 2;
    edited.message.request_uuid = Some(entity::RequestId(uuid::Uuid::from_u128(5)));
    let mut long = answer(Status::Completed, "The beginning of a very long text");
    long.message.truncated = true;
    let mut gone = answer(Status::Completed, "");
    gone.message.deleted = true;
    let mut states = vec![
        ("user", user(Status::Completed, "Tea, or <b>coffee</b>?")),
        ("user, waiting", user(Status::Pending, "And then?")),
        ("user, edited", edited),
        (
            "user, right to left",
            user(Status::Completed, "مرحبا بالعالم"),
        ),
        ("answer, nothing yet", answer(Status::Pending, "")),
        (
            "answer, growing",
            answer(Status::Pending, "Tea.\n\n- with **mi"),
        ),
        ("answer", answer(Status::Completed, MARKDOWN)),
        ("answer with remarks", thoughtful),
        ("answer with versions", versions),
        ("answer, long", long),
        ("answer, failed", answer(Status::Failed, "half an")),
        ("answer, stopped", answer(Status::Cancelled, "half an")),
        (
            "reply to a command",
            MessageCard::sample(Role::Agent, Status::Completed, "- `/help`"),
        ),
        ("deleted", gone),
    ];
    for (number, (_, card)) in (1..).zip(&mut states) {
        card.message.uuid = MessageId(uuid::Uuid::from_u128(number));
    }
    states
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_message_in_each_state() {
        let all: Vec<String> = messages()
            .into_iter()
            .map(message)
            .map(|shown| format!("## {}\n{}", shown.name, shown.html))
            .collect();
        insta::with_settings!({filters => vec![(r"\?v=[0-9a-f]{16}", "?v=[hash]")]}, {
            insta::assert_snapshot!(all.join("\n"));
        });
    }

    #[test]
    fn the_page_of_all_components() {
        let page = ComponentsPage::new(Frame::default()).render().unwrap();
        assert!(page.contains("answer with versions") && page.contains("What is on your mind?"));
    }
}
