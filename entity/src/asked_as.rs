//! What a program said beside its question, stored as JSON with the request.

use std::collections::BTreeMap;

use sea_orm::FromJsonQueryResult;
use serde::{Deserialize, Serialize};

/// How a request was asked for through the routes under `/v1`, so that the program is told it again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, FromJsonQueryResult)]
#[serde(default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a word of its own in the stored JSON"
)]
pub struct AskedAs {
    pub surface: Surface,
    /// What the program keeps with it for itself.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// The response that it goes on from, as the program named it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
    /// The program did not want to wait.
    pub background: bool,
    /// The chat is to go before long.
    pub is_passing: bool,
    /// The chat was made for this question.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub made_chat: bool,
    /// Messages that came along with the question, and stand right before it.
    #[serde(skip_serializing_if = "is_zero")]
    pub came_along: usize,
    /// The assistant of a run, as the program named it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub assistant: Option<String>,
    /// The agent that this is: what it says to its model goes before what the chat's own system says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// The instructions are in the place of all that the system says else.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub replaces_system: bool,
}

/// What a program calls the answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Surface {
    #[default]
    Response,
    Run,
    Completion,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands over references"
)]
fn is_zero(number: &usize) -> bool {
    *number == 0
}
