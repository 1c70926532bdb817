//! The slash commands, as JSON for front ends that complete them, and as a page.

use askama::Template;
use serde::Serialize;
use utoipa::ToSchema;

use super::assets::{self, Icon};
use super::frame::{Frame, Theme};
use super::words::W;
use crate::model::command::COMMANDS;

/// One command.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct CommandView {
    /// With its slash.
    pub command: &'static str,
    pub usage: &'static str,
    pub description: &'static str,
}

/// The answer of `GET /commands`.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CommandsView {
    pub commands: Vec<CommandView>,
}

impl CommandsView {
    pub fn new() -> Self {
        let view = |entry: &crate::model::command::Entry| CommandView {
            command: entry.word,
            usage: entry.usage,
            description: entry.description,
        };
        Self {
            commands: COMMANDS.iter().map(view).collect(),
        }
    }
}

/// The page of it.
#[derive(Template)]
#[template(path = "commands.html")]
pub struct CommandsPage {
    pub frame: Frame,
    pub commands: CommandsView,
}
