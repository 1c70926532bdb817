//! `pollen tail`: a chat as others write it, until Ctrl-C.

use std::collections::HashMap;

use uuid::Uuid;

use super::ask::remark;
use super::chat::heading;
use super::clean::clean_json;
use super::lines::{DIM, WRONG};
use super::outcome::{Outcome, Stopped};
use super::screen::{Colour, Screen, complain, put};
use super::show::{OnInterrupt, Shown, end, show, wait};
use super::way::{Server, Way};
use crate::client::{Answer, Error, Following, Message, Role, Status};

/// Which chat, and how it is shown.
#[derive(Clone, Debug, Default)]
pub struct Tail {
    pub server: Server,
    pub chat: Uuid,
    /// Messages that are there already and are shown first.
    pub lines: usize,
    pub json: bool,
    pub raw: bool,
    pub colour: Colour,
}

/// Follows the chat until somebody has seen enough.
pub async fn tail(tail: Tail) -> Outcome {
    match followed(tail).await {
        Ok(()) => Outcome::Completed,
        Err(stopped) => end(&stopped),
    }
}

async fn followed(tail: Tail) -> Result<(), Stopped> {
    let mut screen = Screen::find(tail.colour, tail.raw || tail.json);
    if tail.json {
        screen = screen.silent();
    }
    let mut way = Way::open(&tail.server)?;
    let client = way.client.clone();
    let mut following = Following::new(tail.chat);
    let mut is_interrupted = false;
    let caught_up = following.catch_up(&client);
    let messages = wait(&mut way, screen, &mut is_interrupted, caught_up).await?;
    way.has_answered();
    if is_interrupted {
        return Err(Stopped::Interrupted);
    }
    let mut seen = Seen::default();
    let there: Vec<&Message> = messages.iter().filter(|message| !message.deleted).collect();
    let passed_over = there.len().saturating_sub(tail.lines);
    let mut following_on = Followed {
        screen,
        is_json: tail.json,
    };
    for (n, message) in there.into_iter().enumerate() {
        if n < passed_over && message.status.is_over() {
            seen.note(message);
        } else {
            following_on.show(&mut way, &mut seen, message).await?;
        }
    }
    loop {
        let client = way.client.clone();
        let mut has_told = false;
        let news = {
            let next = following.next(&client);
            tokio::pin!(next);
            loop {
                tokio::select! {
                    biased;
                    _ = way.interrupts.recv() => return Err(Stopped::Interrupted),
                    Some(words) = way.setbacks.recv() => {
                        if !has_told {
                            screen.note(&format!("pollen: {words}"));
                        }
                        has_told = true;
                    }
                    news = &mut next => break news?,
                }
            }
        };
        if has_told {
            screen.note("pollen: it is back");
        }
        for message in &news {
            following_on.show(&mut way, &mut seen, message).await?;
        }
    }
}

/// How messages looked when they were shown.
#[derive(Default)]
struct Seen(HashMap<Uuid, (Status, u64, String)>);

impl Seen {
    fn note(&mut self, message: &Message) {
        let looks = (message.status, message.version, message.content.clone());
        self.0.insert(message.uuid, looks);
    }

    fn has(&self, message: &Message) -> bool {
        let looks = self.0.get(&message.uuid);
        looks.is_some_and(|(status, version, content)| {
            // A question that has been taken up says nothing else.
            let is_as_far = *status == message.status || message.role == Role::User;
            is_as_far && *version == message.version && *content == message.content
        })
    }
}

struct Followed {
    screen: Screen,
    is_json: bool,
}

impl Followed {
    async fn show(
        &mut self,
        way: &mut Way,
        seen: &mut Seen,
        message: &Message,
    ) -> Result<(), Stopped> {
        if message.deleted {
            if seen.0.remove(&message.uuid).is_some() {
                self.deleted(message)?;
            }
            return Ok(());
        }
        if seen.has(message) {
            return Ok(());
        }
        let is_again = seen.0.contains_key(&message.uuid);
        if message.role == Role::User {
            // It is what it is, whether it has been taken up or not.
            seen.note(message);
            return self.print(message, &message.content, is_again);
        }
        if !self.screen.is_silent() {
            self.head(message, is_again)?;
        }
        let mut answer = Answer::of(message);
        let shown = show(way, self.screen, &mut answer, OnInterrupt::Leave, false).await;
        let shown = match shown {
            // Somebody has taken it out of the chat meanwhile.
            Err(Stopped::Server(Error::Refused(problem))) if problem.status == 404 => return Ok(()),
            shown => shown?,
        };
        let Some(over) = &shown.message else {
            return Ok(());
        };
        seen.note(over);
        if self.screen.is_silent() {
            self.print(over, &shown.text, is_again)?;
        }
        self.remark(&shown)?;
        if !self.screen.is_silent() {
            put("\n")?;
        }
        Ok(())
    }

    fn head(&self, message: &Message, is_again: bool) -> Result<(), Stopped> {
        let mut line = heading(self.screen, message);
        if is_again {
            line = format!("{line} {}", self.screen.styled("(anew)", DIM));
        }
        put(&(line + "\n"))?;
        Ok(())
    }

    fn remark(&self, shown: &Shown) -> Result<(), Stopped> {
        if let Some(words) = remark(shown).filter(|_| !self.is_json) {
            let words = self.screen.styled(&words, WRONG);
            if self.screen.is_silent() {
                complain(&format!("pollen: {words}"));
            } else {
                put(&(words + "\n"))?;
            }
        }
        Ok(())
    }

    fn deleted(&self, message: &Message) -> Result<(), Stopped> {
        if self.is_json {
            return self.print(message, "", true);
        }
        let words = format!("(a message was deleted: {})", message.uuid);
        if self.screen.is_silent() {
            self.screen.note(&words);
        } else {
            put(&(self.screen.styled(&words, DIM) + "\n\n"))?;
        }
        Ok(())
    }

    /// A message that is over, whole.
    fn print(&self, message: &Message, text: &str, is_again: bool) -> Result<(), Stopped> {
        if self.is_json {
            let whole = Message {
                content: text.to_owned(),
                truncated: false,
                ..message.clone()
            };
            let json = serde_json::to_string(&whole).map_err(std::io::Error::from)?;
            put(&(clean_json(&json) + "\n"))?;
        } else if self.screen.is_silent() {
            let who = heading(self.screen, message);
            put(&format!("{who}: {text}\n"))?;
        } else {
            self.head(message, is_again)?;
            let mut growing = self.screen.growing("");
            put(&(growing.push(text) + &growing.finish() + "\n"))?;
        }
        Ok(())
    }
}
