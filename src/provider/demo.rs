//! The built-in model: needs no key and no network, and says something useful at a settable pace,
//! so that everything around it can be tried and tested. The same seed and words give the same answer.

use std::time::Duration;

use async_stream::stream;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use tokio::time::Instant;

use super::{Call, Capabilities, Event, ListedModel, Provider, ProviderError, Speaker};
use crate::model::parameters::Effort;
use crate::model::text::head;
use crate::model::usage::Usage;

pub const DEMO_MODEL: &str = "demo";

/// Characters of the user's words that are quoted back.
const QUOTED_CHARS: usize = 600;
/// Pieces that fall due within this time are given out together: timers are no finer.
const TICK: Duration = Duration::from_millis(1);

/// It takes what it is given, so that everything can be tried with it.
const MAX_TEMPERATURE: f64 = 2.0;
const MAX_STOP: usize = 16;

/// What it pretends to think: the more effort, the more of it.
const THOUGHTS: [&str; 4] = [
    "Somebody has written to me, so I should answer. ",
    "I cannot really think, but I can show where thoughts would stand. ",
    "They are kept apart from the answer, and nobody has to read them. ",
    "First a greeting, then what was said, then a table and a list: that shows the most. ",
];

const GREETINGS: [&str; 4] = ["Hello!", "Hi there!", "Good to see you!", "Welcome!"];

/// What a long answer goes on with.
const FILLERS: [&str; 6] = [
    "A proxy that cuts long connections never notices a poll, because a poll is over before it looks.",
    "The position that you send back is all that the server needs to know about you.",
    "Nothing is lost when an answer to a poll is lost: the next one starts at the same position.",
    "The ledger only grows; what has been read once is never taken back within an edition.",
    "Every exchange is complete in itself, so it can be cached, logged, retried and understood.",
    "Close this page and come back: the answer goes on without you, and waits where you left it.",
];

/// How the demo model talks.
#[derive(Clone, Copy, Debug)]
pub struct DemoSettings {
    pub tokens_per_second: f64,
    /// Words in an answer; 0 for as many as the text has.
    pub tokens: usize,
    pub seed: u64,
}

/// The built-in model.
#[derive(Clone, Copy, Debug)]
pub struct Demo {
    settings: DemoSettings,
}

impl Demo {
    #[must_use]
    pub fn new(settings: DemoSettings) -> Self {
        Self { settings }
    }

    /// The whole answer, cut into the pieces in which it is given out.
    fn tokens(&self, asked: &str) -> Vec<String> {
        let mut rng = fastrand::Rng::with_seed(self.settings.seed);
        let text = compose(&mut rng, asked);
        let mut tokens: Vec<String> = text.split_inclusive(' ').map(str::to_owned).collect();
        if self.settings.tokens > 0 {
            while tokens.len() < self.settings.tokens {
                let filler = FILLERS[rng.usize(..FILLERS.len())];
                let paragraph = format!("\n\n{filler}");
                tokens.extend(paragraph.split_inclusive(' ').map(str::to_owned));
            }
            tokens.truncate(self.settings.tokens);
        }
        tokens
    }
}

impl Provider for Demo {
    fn name(&self) -> &'static str {
        "demo"
    }

    fn address(&self) -> String {
        "demo".to_owned()
    }

    fn answer(&self, call: Call) -> BoxStream<'static, Result<Event, ProviderError>> {
        let asked = call
            .turns
            .iter()
            .rev()
            .find(|turn| turn.speaker == Speaker::User)
            .map(|turn| turn.content.clone())
            .unwrap_or_default();
        let thoughts = thoughts(call.parameters.reasoning_effort);
        let mut tokens = self.tokens(&asked);
        let limit = call.parameters.max_tokens;
        let limit = limit.map_or(usize::MAX, |limit| limit as usize);
        let reason = if tokens.len() > limit {
            "length"
        } else {
            "stop"
        };
        tokens.truncate(limit);
        let usage = usage(&call, &thoughts, &tokens);
        let pause = Duration::from_secs_f64(1.0 / self.settings.tokens_per_second);
        Box::pin(stream! {
            let mut due = Instant::now();
            for (words, make) in [
                (thoughts, Event::Reasoning as fn(String) -> Event),
                (tokens, Event::Text),
            ] {
                let mut piece = String::new();
                for word in words {
                    due += pause;
                    if due > Instant::now() + TICK {
                        if !piece.is_empty() {
                            yield Ok(make(std::mem::take(&mut piece)));
                        }
                        tokio::time::sleep_until(due).await;
                    }
                    piece.push_str(&word);
                }
                if !piece.is_empty() {
                    yield Ok(make(piece));
                }
            }
            yield Ok(Event::Usage(usage));
            yield Ok(Event::Finished { reason: reason.to_owned() });
        })
    }

    fn models(&self) -> BoxFuture<'static, Result<Vec<ListedModel>, ProviderError>> {
        let model = ListedModel {
            id: DEMO_MODEL.to_owned(),
            ..ListedModel::default()
        };
        Box::pin(std::future::ready(Ok(vec![model])))
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            max_temperature: MAX_TEMPERATURE,
            max_stop: MAX_STOP,
            seed: true,
            reasoning_effort: true,
        }
    }
}

/// The words that it thinks before it answers; none if nobody wants it to think.
fn thoughts(effort: Option<Effort>) -> Vec<String> {
    let sentences = match effort {
        None | Some(Effort::None) => 0,
        Some(Effort::Minimal) => 1,
        Some(Effort::Low) => 2,
        Some(Effort::Medium) => 3,
        Some(Effort::High) => THOUGHTS.len(),
    };
    let text = THOUGHTS[..sentences].concat();
    text.split_inclusive(' ').map(str::to_owned).collect()
}

/// Words are its tokens.
fn usage(call: &Call, thoughts: &[String], tokens: &[String]) -> Usage {
    let words = |turn: &super::Turn| turn.content.split_whitespace().count();
    let count = |words: usize| i64::try_from(words).ok();
    Usage {
        input_tokens: count(call.turns.iter().map(words).sum()),
        output_tokens: count(thoughts.len() + tokens.len()),
        reasoning_tokens: count(thoughts.len()).filter(|count| *count > 0),
        cached_tokens: None,
    }
}

fn compose(rng: &mut fastrand::Rng, asked: &str) -> String {
    let greeting = GREETINGS[rng.usize(..GREETINGS.len())];
    let quoted = head(asked.trim(), QUOTED_CHARS).replace('\n', "\n> ");
    format!(
        "{greeting} I am **Pollen's demo model**: no key, no network, and no intelligence either. \
I am here so that you can see the rest work.\n\n\
You wrote:\n\n> {quoted}\n\n\
## What is Pollen?\n\n\
An AI chat server for places where streams cannot go. Your browser reads this answer with *short, complete requests*, \
one every 300 ms; behind them a task writes it, word by word, into a **token ledger**.\n\n\
| step | who | what |\n\
| --- | --- | --- |\n\
| 1 | you | `POST /chat/{{uuid}}/send` |\n\
| 2 | the server | asks the model, in the background |\n\
| 3 | you | `GET /chat/message/{{uuid}}/tokens/{{position}}`, again and again |\n\n\
## Things to try\n\n\
- Reload this page while I am talking: I go on where I was.\n\
- Open the same chat in a second window.\n\
- Stop the server in mid-sentence and start it again.\n\
- Ask me something else while I am still busy: it waits its turn.\n\n\
## Talk to a real model\n\n\
```sh\n\
OPENAI_API_KEY=sk-... cargo run --release\n\
# or any compatible server:\n\
OPENAI_BASE_URL=http://127.0.0.1:8000/v1 cargo run --release\n\
```\n\n\
A local Ollama is found by itself. Have fun!\n"
    )
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;

    use super::*;
    use crate::model::parameters::Parameters;

    fn demo(tokens: usize, seed: u64) -> Demo {
        Demo::new(DemoSettings {
            tokens_per_second: 1.0,
            tokens,
            seed,
        })
    }

    #[test]
    fn the_same_seed_gives_the_same_answer() {
        assert_eq!(demo(500, 7).tokens("hi"), demo(500, 7).tokens("hi"));
        assert_ne!(demo(500, 7).tokens("hi"), demo(500, 8).tokens("hi"));
    }

    #[test]
    fn an_answer_has_as_many_tokens_as_set() {
        for wanted in [1, 10, 1_000] {
            assert_eq!(demo(wanted, 0).tokens("hi").len(), wanted);
        }
    }

    #[test]
    fn the_users_words_are_quoted_back() {
        let text = demo(0, 0).tokens("first line\nsecond line").concat();
        assert!(text.contains("> first line\n> second line\n"));
    }

    #[test]
    fn an_answer_shows_what_markdown_can_do() {
        let text = demo(0, 0).tokens("hi").concat();
        for part in [
            "What is Pollen?",
            "Things to try",
            "| --- |",
            "\n- ",
            "```sh\n",
        ] {
            assert!(text.contains(part), "{part:?} in {text}");
        }
    }

    fn call(parameters: Parameters) -> Call {
        Call {
            model: DEMO_MODEL.into(),
            turns: Vec::new(),
            parameters,
            context_window: None,
            max_output: None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_takes_its_time() {
        let demo = Demo::new(DemoSettings {
            tokens_per_second: 20.0,
            tokens: 100,
            seed: 0,
        });
        let begun = Instant::now();
        let events: Vec<_> = demo.answer(call(Parameters::default())).collect().await;
        assert_eq!(begun.elapsed().as_secs(), 5, "100 tokens at 20 a second");
        assert_eq!(
            events.len(),
            102,
            "each token by itself, the usage, the end"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn it_thinks_when_asked_to_and_stops_where_told_to() {
        let parameters = Parameters {
            reasoning_effort: Some(Effort::Low),
            max_tokens: Some(3),
            ..Parameters::default()
        };
        let events: Vec<_> = demo(10, 0).answer(call(parameters)).collect().await;
        let events: Vec<_> = events.into_iter().map(Result::unwrap).collect();
        let thought: String = events.iter().filter_map(reasoning).collect();
        assert_eq!(thought, THOUGHTS[..2].concat());
        let words = events.iter().filter(|e| matches!(e, Event::Text(_)));
        assert_eq!(words.count(), 3);
        let reason = "length".to_owned();
        assert_eq!(events.last(), Some(&Event::Finished { reason }));
    }

    fn reasoning(event: &Event) -> Option<&str> {
        match event {
            Event::Reasoning(text) => Some(text),
            _ => None,
        }
    }
}
