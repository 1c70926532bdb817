//! The built-in model: needs no key and no network, and says something useful at a settable pace,
//! so that everything around it can be tried and tested. The same seed and words give the same answer.

use std::time::Duration;

use async_stream::stream;
use futures::stream::BoxStream;
use tokio::time::Instant;

use super::{Call, Event, Provider, ProviderError, Speaker};
use crate::model::text::head;
use crate::model::usage::Usage;

pub const DEMO_MODEL: &str = "demo";

/// Characters of the user's words that are quoted back.
const QUOTED_CHARS: usize = 600;
/// Pieces that fall due within this time are given out together: timers are no finer.
const TICK: Duration = Duration::from_millis(1);

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

    fn default_model(&self) -> &str {
        DEMO_MODEL
    }

    fn accepts(&self, model: &str) -> bool {
        model == DEMO_MODEL
    }

    fn answer(&self, call: Call) -> BoxStream<'static, Result<Event, ProviderError>> {
        let asked = call
            .turns
            .iter()
            .rev()
            .find(|turn| turn.speaker == Speaker::User)
            .map(|turn| turn.content.clone())
            .unwrap_or_default();
        let read: usize = call
            .turns
            .iter()
            .map(|turn| turn.content.split_whitespace().count())
            .sum();
        let tokens = self.tokens(&asked);
        let usage = Usage {
            input_tokens: i64::try_from(read).ok(),
            output_tokens: i64::try_from(tokens.len()).ok(),
            ..Usage::default()
        };
        let pause = Duration::from_secs_f64(1.0 / self.settings.tokens_per_second);
        Box::pin(stream! {
            let mut due = Instant::now();
            let mut piece = String::new();
            for token in tokens {
                due += pause;
                if due > Instant::now() + TICK {
                    if !piece.is_empty() {
                        yield Ok(Event::Text(std::mem::take(&mut piece)));
                    }
                    tokio::time::sleep_until(due).await;
                }
                piece.push_str(&token);
            }
            if !piece.is_empty() {
                yield Ok(Event::Text(piece));
            }
            yield Ok(Event::Usage(usage));
            yield Ok(Event::Finished { reason: "stop".to_owned() });
        })
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
    use super::*;

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

    #[tokio::test(start_paused = true)]
    async fn an_answer_takes_its_time() {
        use futures::StreamExt;
        let demo = Demo::new(DemoSettings {
            tokens_per_second: 20.0,
            tokens: 100,
            seed: 0,
        });
        let call = Call {
            model: None,
            turns: Vec::new(),
        };
        let begun = Instant::now();
        let events: Vec<_> = demo.answer(call).collect().await;
        assert_eq!(begun.elapsed().as_secs(), 5, "100 tokens at 20 a second");
        assert_eq!(
            events.len(),
            102,
            "each token by itself, the usage, the end"
        );
    }
}
