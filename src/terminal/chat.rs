//! `pollen chat`: a conversation in the terminal. It goes on while the server is away, and begins where it was.

use std::collections::HashMap;
use std::io::{self, IsTerminal as _};

use uuid::Uuid;

use super::ask::remark;
use super::lines::{BOLD, DIM, THEM, WRONG, YOU};
use super::outcome::{Outcome, Stopped};
use super::prompt::{Prompt, Typed, Words};
use super::screen::{Colour, Screen, put};
use super::show::{OnInterrupt, end, show, wait};
use super::state::State;
use super::way::{Server, Way};
use crate::client::{Answer, Client, Error, Following, Message, NewChat, NewMessage, Role, Status};

/// What this client does itself, and no server is asked.
pub(super) const OWN: [(&str, &str); 2] = [
    ("/quit", "leave; the chat stays on the server"),
    ("/exit", "the same"),
];
/// Messages of a chat that is gone on with that are shown.
const SHOWN: usize = 4;

/// Whom to talk to, and how it is shown.
#[derive(Clone, Debug, Default)]
pub struct Talk {
    pub server: Server,
    /// None: a new one, made with the first words.
    pub chat: Option<Uuid>,
    pub model: Option<String>,
    pub agent: Option<String>,
    pub raw: bool,
    pub colour: Colour,
}

/// Talks until somebody leaves.
pub async fn chat(talk: Talk) -> Outcome {
    match talked(talk).await {
        Ok(()) => Outcome::Completed,
        Err(stopped) => end(&stopped),
    }
}

async fn talked(talk: Talk) -> Result<(), Stopped> {
    let screen = Screen::find(talk.colour, talk.raw);
    if !(screen.is_terminal && io::stdin().is_terminal()) {
        return Err(Stopped::misused(
            "a conversation needs a terminal; for a script there is `pollen ask`",
        ));
    }
    let mut way = Way::open(&talk.server)?;
    let client = way.client.clone();
    let mut is_interrupted = false;
    let learnt = learn(&client);
    let words = wait(&mut way, screen, &mut is_interrupted, learnt).await?;
    way.has_answered();
    let history = State::find().and_then(|state| state.history().ok());
    let prompt = Prompt::new(words, history, screen.has_colours());
    let mut prompt = prompt.map_err(|error| Stopped::Output(io::Error::other(error)))?;
    let mut conversation = Conversation {
        screen,
        chat: talk.chat,
        model: talk.model,
        agent: talk.agent,
        following: None,
        versions: HashMap::new(),
    };
    conversation.greet(&mut way).await?;
    loop {
        // Reading blocks a thread; the prompt comes back with what was typed.
        let read = tokio::task::spawn_blocking(move || {
            let typed = prompt.read();
            (prompt, typed)
        });
        let (back, typed) = read
            .await
            .map_err(|error| Stopped::Output(io::Error::other(error)))?;
        prompt = back;
        let typed = typed.map_err(|error| Stopped::Output(io::Error::other(error)))?;
        let text = match typed {
            Typed::End => break,
            Typed::Nothing => {
                put(&(screen.styled("Ctrl-D leaves", DIM) + "\n"))?;
                continue;
            }
            Typed::Text(text) if text.trim().is_empty() => continue,
            Typed::Text(text) => text,
        };
        if OWN.iter().any(|(word, _)| *word == text.trim()) {
            break;
        }
        match conversation.say(&mut way, text).await {
            Ok(()) => {}
            // What the server refuses may be said otherwise.
            Err(Stopped::Server(error)) => conversation.complain(&error)?,
            // The answer was left, and goes on by itself.
            Err(Stopped::Interrupted) => {
                put(&(screen.styled("left; the answer goes on without you", DIM) + "\n"))?;
            }
            Err(stopped) => return Err(stopped),
        }
    }
    if let Some(chat) = conversation.chat {
        screen.note(&format!("to go on: pollen chat {chat}"));
    }
    Ok(())
}

/// What can be completed.
async fn learn(client: &Client) -> Result<Words, Error> {
    let commands = client.commands().await?;
    // Whoever may not list them can still talk.
    let models = client.models().await.unwrap_or_default();
    let agents = client.agents().await.unwrap_or_default();
    let own = OWN.map(|(word, does)| (word.to_owned(), does.to_owned()));
    let commands = commands
        .into_iter()
        .map(|entry| (entry.command, entry.description));
    Ok(Words {
        commands: commands.chain(own).collect(),
        arguments: vec![
            (
                "/model".to_owned(),
                models.into_iter().map(|model| model.id).collect(),
            ),
            (
                "/agent".to_owned(),
                agents.into_iter().map(|agent| agent.alias).collect(),
            ),
        ],
    })
}

struct Conversation {
    screen: Screen,
    chat: Option<Uuid>,
    model: Option<String>,
    agent: Option<String>,
    /// Where we are in the chat, once there is one.
    following: Option<Following>,
    /// Which version of each message was there last.
    versions: HashMap<Uuid, u64>,
}

impl Conversation {
    /// Says where one is, and shows how far a chat has come.
    async fn greet(&mut self, way: &mut Way) -> Result<(), Stopped> {
        let (screen, client) = (self.screen, way.client.clone());
        let line = |words: &str| screen.styled(words, DIM) + "\n";
        put(&line(&format!(
            "{} · /help lists the commands, Alt-Enter begins a line, Ctrl-D leaves",
            client.address()
        )))?;
        let Some(chat) = self.chat else {
            return Ok(());
        };
        let mut is_interrupted = false;
        let read = async {
            if let Some(model) = &self.model {
                client.choose_model(chat, model).await?;
            }
            let about = client.chat(chat).await?;
            let mut following = Following::new(chat);
            let messages = following.catch_up(&client).await?;
            Ok((about, following, messages))
        };
        let (about, following, messages) = wait(way, screen, &mut is_interrupted, read).await?;
        put(&(screen.styled(&about.title, BOLD) + "\n"))?;
        self.following = Some(following);
        let versions = messages
            .iter()
            .map(|message| (message.uuid, message.version));
        self.versions.extend(versions);
        let there: Vec<Message> = messages
            .into_iter()
            .filter(|message| !message.deleted)
            .collect();
        let passed_over = there.len().saturating_sub(SHOWN);
        if passed_over > 0 {
            put(&line(&format!("({passed_over} messages before)")))?;
        }
        for message in there.iter().skip(passed_over) {
            self.heading(message)?;
            self.read(way, Answer::of(message), false).await?;
        }
        Ok(())
    }

    fn heading(&self, message: &Message) -> Result<(), Stopped> {
        put(&(heading(self.screen, message) + "\n"))?;
        Ok(())
    }

    /// Says something, and shows what is answered.
    async fn say(&mut self, way: &mut Way, text: String) -> Result<(), Stopped> {
        let (screen, client) = (self.screen, way.client.clone());
        way.forget();
        let mut is_interrupted = false;
        let answer = if let Some(chat) = self.chat {
            let new = NewMessage::new(text);
            let asked = client.ask_in(chat, &new);
            wait(way, screen, &mut is_interrupted, asked).await?
        } else {
            let new = NewChat {
                model: self.model.clone(),
                agent: self.agent.clone(),
                ..NewChat::asking(text)
            };
            let asked = client.ask(&new);
            let (chat, answer) = wait(way, screen, &mut is_interrupted, asked).await?;
            self.chat = Some(chat.uuid);
            answer
        };
        way.has_answered();
        self.read(way, answer, is_interrupted).await?;
        self.rest(way).await
    }

    /// A command may have begun something: an answer that is asked for again, one that is stopped.
    async fn rest(&mut self, way: &mut Way) -> Result<(), Stopped> {
        let Some(chat) = self.chat else {
            return Ok(());
        };
        let (screen, client) = (self.screen, way.client.clone());
        let following = self.following.get_or_insert_with(|| Following::new(chat));
        let mut is_interrupted = false;
        let caught_up = following.catch_up(&client);
        let news = wait(way, screen, &mut is_interrupted, caught_up).await?;
        for message in news {
            let before = self.versions.insert(message.uuid, message.version);
            // It may be over already.
            let is_anew = before.is_some_and(|version| version != message.version);
            let is_growing = message.status == Status::Pending;
            let is_answer = message.role == Role::Assistant && !message.deleted;
            if is_answer && (is_growing || is_anew) {
                self.read(way, Answer::of(&message), false).await?;
            }
        }
        Ok(())
    }

    async fn read(
        &self,
        way: &mut Way,
        mut answer: Answer,
        is_interrupted: bool,
    ) -> Result<(), Stopped> {
        let screen = self.screen;
        let shown = show(
            way,
            screen,
            &mut answer,
            OnInterrupt::Cancel,
            is_interrupted,
        )
        .await?;
        if let Some(words) = remark(&shown) {
            put(&(screen.styled(&words, WRONG) + "\n"))?;
        }
        put("\n")?;
        Ok(())
    }

    fn complain(&self, error: &Error) -> Result<(), Stopped> {
        put(&(self.screen.styled(&error.to_string(), WRONG) + "\n"))?;
        Ok(())
    }
}

/// Who says what follows.
pub(super) fn heading(screen: Screen, message: &Message) -> String {
    match (message.role, &message.model) {
        (Role::User, _) => screen.styled("you", YOU),
        (Role::Assistant, Some(model)) => screen.styled(model, THEM),
        (Role::Assistant, None) => screen.styled("assistant", THEM),
        (Role::Agent, _) => screen.styled("server", THEM),
        (Role::System, _) => screen.styled("system", THEM),
        (Role::Unknown, _) => screen.styled("somebody", THEM),
    }
}
