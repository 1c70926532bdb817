//! The agents, as JSON and as a page.

use askama::Template;
use serde::Serialize;
use utoipa::ToSchema;

use super::assets::{self, Icon};
use super::frame::{Frame, Theme};
use super::words::W;
use crate::model::agent::Agent;

/// One agent. Its system prompt is the operator's, and not shown.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AgentView {
    pub alias: String,
    pub name: String,
    pub description: String,
    pub icon: String,
    pub colour: String,
    pub greeting: String,
    /// Null: the chat's own, else the server's default.
    pub model: Option<String>,
    pub suggestions: Vec<String>,
}

/// The answer of `GET /agents`.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AgentsView {
    pub agents: Vec<AgentView>,
}

impl AgentsView {
    pub fn new(agents: &[Agent]) -> Self {
        let view = |agent: &Agent| AgentView {
            alias: agent.alias.clone(),
            name: agent.name.clone(),
            description: agent.description.clone(),
            icon: agent.icon.clone(),
            colour: agent.colour.clone(),
            greeting: agent.greeting.clone(),
            model: agent.model.clone(),
            suggestions: agent.suggestions.clone(),
        };
        Self {
            agents: agents.iter().map(view).collect(),
        }
    }

    #[cfg(any(test, debug_assertions))]
    pub fn sample() -> Self {
        let agent = AgentView {
            alias: "tutor".to_owned(),
            name: "Tutor & <friend>".to_owned(),
            description: "Explains step by step".to_owned(),
            icon: "🎓".to_owned(),
            colour: "#7a3ea8".to_owned(),
            greeting: "What would you like to understand?".to_owned(),
            model: None,
            suggestions: vec!["Why is the sky <blue>?".to_owned()],
        };
        Self {
            agents: vec![agent],
        }
    }
}

/// The page of it.
#[derive(Template)]
#[template(path = "agents.html")]
pub struct AgentsPage {
    pub frame: Frame,
    pub agents: AgentsView,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_of_the_agents() {
        let agent = Agent {
            alias: "bee".to_owned(),
            name: "Bee & Co".to_owned(),
            description: "Knows <flowers>".to_owned(),
            icon: "🐝".to_owned(),
            system_prompt: "A secret.".to_owned(),
            suggestions: vec!["What blooms now?".to_owned()],
            ..Agent::default()
        };
        let agents = AgentsView::new(&[agent]);
        let page = AgentsPage {
            frame: Frame::default(),
            agents,
        }
        .render()
        .unwrap();
        let main = page.split("<main").nth(1).unwrap();
        assert!(!main.contains("secret"));
        insta::assert_snapshot!(main);
    }
}
