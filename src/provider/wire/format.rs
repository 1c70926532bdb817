//! What a wire format is: how a call becomes a request, and how what comes back becomes events.
//! All of it is synchronous and knows no network, so a format is read and tested by itself.

use std::ops::{ControlFlow, RangeInclusive};

use serde_json::{Map, Value, json};

use super::Framing;
use crate::provider::{Call, Capabilities, Event, ListedModel};

/// Tokens that one answer can have.
const TOKENS: RangeInclusive<i64> = 0..=0xffff_ffff;

/// A wire format.
pub(in crate::provider) trait Format: Send + Sync {
    fn capabilities(&self) -> Capabilities;

    /// See `Provider::sends_reasoning`.
    fn sends_reasoning(&self) -> bool {
        false
    }

    /// See `Provider::reserves_window`.
    fn reserves_window(&self) -> bool {
        false
    }

    fn framing(&self) -> Framing;

    /// Where an answer is asked for.
    fn answer_at(&self, call: &Call) -> Place;

    fn body(&self, call: &Call) -> Value;

    /// Reads one answer.
    fn parser(&self) -> Box<dyn Parser>;

    /// Where the models are listed.
    fn models_at(&self) -> Place;

    /// The models of a listing; none if it is not one.
    fn listed(&self, listing: &Value) -> Option<Vec<ListedModel>>;
}

/// A place below the base address: the segments of its path, not yet escaped, and its query.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::provider) struct Place {
    pub path: Vec<String>,
    pub query: &'static [(&'static str, &'static str)],
}

impl Place {
    pub fn at(path: &[&str]) -> Self {
        Self {
            path: path.iter().map(|&segment| segment.to_owned()).collect(),
            query: &[],
        }
    }

    pub fn with(self, query: &'static [(&'static str, &'static str)]) -> Self {
        Self { query, ..self }
    }
}

/// Turns the pieces of one answer into events. An `error` at the top of a piece never gets here.
pub(in crate::provider) trait Parser: Send {
    /// A piece that is nothing but more of the answer, as nearly all are: read without being taken apart.
    /// None if there may be more to it, and then [`Parser::piece`] says the same of it and the rest.
    fn plain(&mut self, _piece: &str) -> Option<Event> {
        None
    }

    /// Takes the next piece, always a JSON object. What was understood before a trouble counts.
    /// `Break` says that the format has nothing to come after this.
    fn piece(&mut self, piece: &Value, events: &mut Vec<Event>)
    -> Result<ControlFlow<()>, Trouble>;

    /// Takes the answer of a server that does not stream.
    fn whole(&mut self, body: &Value, events: &mut Vec<Event>) -> Result<ControlFlow<()>, Trouble> {
        self.piece(body, events)
    }
}

/// What a piece may hold instead of a part of the answer.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::provider) enum Trouble {
    /// The server reports an error, in these words.
    Reported(Value),
    /// It withheld the rest of the answer.
    Filtered,
    /// It does not answer this conversation at all.
    Blocked,
}

/// What was asked for, for the explanation of a failure.
#[derive(Clone, Copy, Debug)]
pub(in crate::provider) enum Asked<'a> {
    AnswerOf(&'a str),
    Models,
}

/// The text of a value, if it is one that says something.
pub(in crate::provider) fn text_of(value: &Value) -> Option<&str> {
    value.as_str().filter(|text| !text.is_empty())
}

/// The end of an answer.
pub(in crate::provider) fn finished(reason: &str) -> Event {
    Event::Finished {
        reason: reason.to_owned(),
    }
}

/// Puts a value into a request, if there is one.
pub(in crate::provider) fn set(
    body: &mut Map<String, Value>,
    name: &str,
    value: Option<impl serde::Serialize>,
) {
    if let Some(value) = value {
        body.insert(name.to_owned(), json!(value));
    }
}

/// A count of tokens, if the value is one: counts are added up, in the database too, so one that no
/// answer can have would spoil all others.
pub(in crate::provider) fn tokens(value: &Value) -> Option<i64> {
    value.as_i64().filter(|count| TOKENS.contains(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_that_no_answer_can_have_is_none() {
        assert_eq!(tokens(&json!(0)), Some(0));
        assert_eq!(tokens(&json!(200_000)), Some(200_000));
        for nonsense in [
            json!(-1),
            json!(i64::MAX),
            json!(u64::MAX),
            json!(1.5),
            json!("1"),
        ] {
            assert_eq!(tokens(&nonsense), None, "{nonsense}");
        }
    }
}
