//! Asking a model aside: for a few words that are no answer to anybody, such as a summary or a title.

use entity::Parameters;
use futures::StreamExt;

use crate::model::text::{head, storable};
use crate::model::usage::{Usage, estimate_tokens};
use crate::provider::{Call, Event, ProviderError, Route, Speaker, Turn};

/// What a model is asked.
pub(super) struct Aside<'a> {
    pub instruction: &'a str,
    pub told: String,
    pub max_tokens: u32,
    /// The same in characters, where a server does not stop at `max_tokens`.
    pub max_chars: usize,
}

/// What it said.
pub(super) struct Said {
    pub text: String,
    /// With both counts: what the provider did not report is estimated.
    pub usage: Usage,
    pub is_estimated: bool,
}

/// Asks once, and waits for all of it.
pub(super) async fn ask(route: &Route, aside: Aside<'_>) -> Result<Said, ProviderError> {
    let spec = &route.spec;
    let turn = |speaker, content: String| Turn {
        speaker,
        content,
        reasoning: None,
    };
    let call = Call {
        model: spec.upstream.clone(),
        turns: vec![
            turn(Speaker::System, aside.instruction.to_owned()),
            turn(Speaker::User, aside.told),
        ],
        parameters: Parameters {
            max_tokens: Some(aside.max_tokens),
            ..Parameters::default()
        },
        context_window: spec.context_window,
        max_output: spec.max_output,
    };
    let estimate = call.turns.iter();
    let estimate: i64 = estimate.map(|turn| estimate_tokens(&turn.content)).sum();
    let (mut text, mut usage) = (String::new(), Usage::default());
    let mut is_whole = false;
    let mut events = route.answer(call);
    while let Some(event) = events.next().await {
        match event? {
            Event::Text(piece) => text.push_str(&piece),
            Event::Usage(counted) => usage = counted.or(usage),
            Event::Finished { .. } => is_whole = true,
            Event::Reasoning(_) | Event::ToolCall(_) => {}
        }
        if text.chars().count() > aside.max_chars {
            // More of it is not kept, and it may go on for long.
            is_whole = true;
            break;
        }
    }
    if !is_whole {
        // What it leaves unsaid would be missed for good.
        return Err(ProviderError::broke_off(route.provider.name()));
    }
    let is_reported = usage.input_tokens.is_some() && usage.output_tokens.is_some();
    Ok(Said {
        usage: Usage {
            input_tokens: usage.input_tokens.or(Some(estimate)),
            output_tokens: usage.output_tokens.or(Some(estimate_tokens(&text))),
            ..usage
        },
        is_estimated: !is_reported,
        text: head(&storable(&text), aside.max_chars).into_owned(),
    })
}
