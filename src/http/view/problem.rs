//! A problem in HTML: as a fragment in a page that is there already, and as a page of its own.

use askama::Template;

use super::assets::{self, Icon};
use super::frame::{Frame, Theme};
use super::words::{self, W};
use crate::http::link::is_link;
use crate::http::problem::{Kind, Problem, ProblemBody};

/// A problem where the answer should have been.
#[derive(Template)]
#[template(path = "problem.html")]
pub struct ProblemFragment<'a> {
    pub title: &'a str,
    pub detail: Option<&'a str>,
    pub advice: &'a str,
    pub request_id: Option<&'a str>,
    /// Where to sign in, if that is what is missing.
    pub sign_in: Option<&'a str>,
}

impl<'a> ProblemFragment<'a> {
    pub fn new(problem: &'a Problem, body: &ProblemBody<'a>) -> Self {
        Self {
            sign_in: None,
            title: problem.kind.title(),
            detail: problem.detail.as_deref(),
            advice: problem.kind.advice(),
            // People need it only to ask somebody who can read the log.
            request_id: problem
                .kind
                .status()
                .is_server_error()
                .then_some(body.request_id),
        }
    }
}

/// A problem where the page should have been.
#[derive(Template)]
#[template(path = "problem_page.html")]
pub struct ProblemPage<'a> {
    pub frame: Frame,
    pub status: u16,
    /// Whoever came by a link is offered nothing else.
    pub is_link: bool,
    pub problem: ProblemFragment<'a>,
}

impl<'a> ProblemPage<'a> {
    pub fn new(problem: &'a Problem, body: &ProblemBody<'a>, frame: Frame) -> Self {
        Self {
            frame,
            status: body.status,
            is_link: is_link(body.instance),
            problem: ProblemFragment::new(problem, body),
        }
    }
}

/// What a kind of problem is.
#[derive(Template)]
#[template(path = "problem_kind.html")]
pub struct KindPage {
    pub frame: Frame,
    pub kind: Kind,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_error_shows_nothing_but_its_request_id() {
        let problem = Problem::bare(Kind::Internal);
        let body = problem.body("/chat/x", "id-1");
        let fragment = ProblemFragment::new(&problem, &body);
        insta::assert_snapshot!(fragment.render().unwrap());
    }

    #[test]
    fn a_client_error_says_what_is_wrong() {
        let problem = Problem::new(Kind::InvalidField, "`message` is missing or <empty>");
        let body = problem.body("/chat/x/send", "id-1");
        let page = ProblemPage::new(&problem, &body, Frame::default())
            .render()
            .unwrap();
        assert!(page.contains("&lt;empty&gt;") || page.contains("&#60;empty&#62;"));
        assert!(!page.contains("id-1"));
    }
}
