//! What is counted of answers: from the queue to their end, and what they took.

use std::time::Duration;

use entity::llm_attempt::{CacheLookup, Model as Attempt, Outcome};
use entity::{Timestamp, llm_request};
use metrics::{Counter, Histogram, counter, histogram};

use super::Chats;
use super::end::{Ending, Spent};
use crate::model::failure::FailureCode;

pub(super) struct Counts {
    claimed: Counter,
    rescued: Counter,
    given_up: Counter,
    fenced: Counter,
    retried: Counter,
    waited: Histogram,
    first_token: Histogram,
}

impl Counts {
    pub fn new() -> Self {
        let rescued =
            |result: &'static str| counter!("pollen_answers_rescued_total", "result" => result);
        Self {
            claimed: counter!("pollen_answers_claimed_total"),
            rescued: rescued("again"),
            given_up: rescued("failed"),
            fenced: counter!("pollen_answers_fenced_total", "by" => "end"),
            retried: counter!("pollen_provider_retries_total"),
            waited: histogram!("pollen_answer_queue_seconds"),
            first_token: histogram!("pollen_answer_first_token_seconds"),
        }
    }

    /// This node runs it. How long it has waited is told of its first attempt alone: a further one has waited for the
    /// end of the one before.
    pub fn claimed(&self, request: &llm_request::Model, now: Timestamp) {
        self.claimed.increment(1);
        if request.attempt == 0 {
            self.waited.record(since(request.created_at, now));
        }
    }

    /// Somebody else's was taken up, or ended for good.
    pub fn rescued(&self, goes_on: bool) {
        let counted = if goes_on {
            &self.rescued
        } else {
            &self.given_up
        };
        counted.increment(1);
    }

    /// The end could not be written: the request was no longer this task's.
    pub fn fenced(&self) {
        self.fenced.increment(1);
    }

    /// A call of a model is made again.
    pub fn retried(&self) {
        self.retried.increment(1);
    }
}

impl Chats {
    /// Counts the end of an attempt, once it is stored.
    pub(super) fn count_end(
        &self,
        request: &llm_request::Model,
        outcome: Outcome,
        failure: Option<&str>,
        spent: &Spent,
    ) {
        let now = self.clock.now();
        spent.measure(outcome);
        let error = failure.map(|code| (code.to_owned(), String::new()));
        let attempt = self.attempt(request, outcome, error, spent, now);
        counter!("pollen_answers_ended_total", "outcome" => outcome_name(outcome), "reason" => reason(&attempt))
            .increment(1);
        let took = since(request.created_at, now);
        histogram!("pollen_answer_duration_seconds", "outcome" => outcome_name(outcome))
            .record(took);
        if let Some(first) = attempt.first_token_at
            && request.attempt == 0
        {
            let waited = since(request.created_at, first);
            self.counts.first_token.record(waited);
        }
        if request.status == llm_request::Status::Running {
            self.count_spent(&attempt);
        }
    }

    /// Counts what a model took, of an answer or of something aside.
    pub(super) fn count_spent(&self, attempt: &Attempt) {
        let model = self.rules().catalogue.label(attempt.model.as_deref());
        let labels = [("provider", model.provider), ("model", model.model)];
        for (kind, tokens) in [
            ("input", attempt.input_tokens),
            ("output", attempt.output_tokens),
            ("reasoning", attempt.reasoning_tokens),
            ("cached", attempt.cached_tokens),
        ] {
            let [provider, model] = labels.clone();
            let labels = [provider, model, ("kind", kind.to_owned())];
            counter!("pollen_tokens_total", &labels).increment(whole(tokens));
        }
        if let Some(micros) = attempt.cost_micros {
            counter!("pollen_cost_micros_total", &labels).increment(whole(micros));
        }
    }

    /// The same for a request that somebody other than its task has ended.
    pub(super) fn count_cut(&self, request: &llm_request::Model, ending: &Ending) {
        let failure = ending.end.failure_code();
        self.count_end(request, ending.end.outcome(), failure, &ending.spent);
    }
}

impl Spent {
    /// Counts what the response cache did, once it is stored.
    fn measure(&self, outcome: Outcome) {
        let Some(found) = self.lookup(outcome) else {
            return;
        };
        let result = match found {
            CacheLookup::Hit => "hit",
            CacheLookup::Miss => "miss",
        };
        counter!("pollen_cache_lookups_total", "result" => result).increment(1);
        if found == CacheLookup::Hit {
            let (input, output) = self.tokens();
            let saved = whole(input.saturating_add(output));
            counter!("pollen_cache_saved_tokens_total").increment(saved);
        }
    }
}

pub(super) fn outcome_name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Completed => "completed",
        Outcome::Failed => "failed",
        Outcome::Cancelled => "cancelled",
        Outcome::Replaced => "replaced",
    }
}

/// Why it ended so, out of the codes that there are; empty for one that is complete.
fn reason(attempt: &Attempt) -> &'static str {
    let code = attempt.error_code.as_deref().unwrap_or_default();
    FailureCode::parse(code).map_or("", FailureCode::as_str)
}

fn whole(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

fn since(from: Timestamp, to: Timestamp) -> Duration {
    Duration::from_millis(whole(to.0.saturating_sub(from.0)))
}
