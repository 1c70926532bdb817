//! Where the text of an answer comes from, stored as JSON with the answer and with each of its versions.

use sea_orm::FromJsonQueryResult;
use serde::{Deserialize, Serialize};

/// Who wrote an answer, and how it came about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, FromJsonQueryResult)]
#[serde(default)]
pub struct Origin {
    /// The model, by its name in the catalogue.
    pub model: Option<String>,
    pub provider: Option<String>,
    /// Why the model stopped: `stop`, `length`, or the provider's own word.
    pub finish_reason: Option<String>,
    /// The text is that of an earlier answer to the same question.
    pub cached: bool,
    /// Earlier messages that the model was not sent, because its context window was full.
    pub left_out: u32,
    /// What was left out was sent as a summary.
    pub summarised: bool,
}
