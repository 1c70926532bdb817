//! Asks a Pollen server something, and goes on where it was when it is killed and started again.
//!
//! ```sh
//! cargo run --example resume -- http://127.0.0.1:8080 state.json "What are you?"
//! ```
//!
//! After each step it writes down where it is and what it has. A program that was killed in between has lost nothing:
//! the answer is written by the server, whoever reads it.

use std::{env, error::Error, fs, io::ErrorKind};

use pollen::client::{Answer, Client, NewChat, Patience, Progress};
use serde::{Deserialize, Serialize};

/// What is needed to go on.
#[derive(Serialize, Deserialize)]
struct State {
    /// Its UUID is chosen here: the same chat is never made twice.
    asked: NewChat,
    /// None until the server has taken the question.
    answer: Option<Answer>,
    text: String,
}

impl State {
    /// Writes it beside the file and moves it there, so that it is there whole or not at all.
    fn keep(&self, file: &str) -> std::io::Result<()> {
        let beside = format!("{file}.new");
        fs::write(&beside, serde_json::to_vec(self)?)?;
        fs::rename(&beside, file)
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let (Some(url), Some(file), Some(question)) =
        (arguments.next(), arguments.next(), arguments.next())
    else {
        return Err("what is needed: URL FILE QUESTION".into());
    };
    let client = Client::builder(&url)
        .token(&env::var("POLLEN_TOKEN").unwrap_or_default())
        // A server that is away is waited for.
        .patience(Patience::endless())
        .build()?;
    let mut state: State = match fs::read(&file) {
        Ok(bytes) => serde_json::from_slice(&bytes)?,
        Err(error) if error.kind() == ErrorKind::NotFound => State {
            asked: NewChat::asking(question),
            answer: None,
            text: String::new(),
        },
        Err(error) => return Err(error.into()),
    };
    state.keep(&file)?;
    let mut answer = match state.answer.take() {
        Some(answer) => answer,
        None => client.ask(&state.asked).await?.1,
    };
    loop {
        match answer.next(&client).await? {
            Progress::Begun(_) => {}
            Progress::Appended(more) => state.text.push_str(&more),
            Progress::Replaced(anew) => state.text = anew,
            Progress::Ended(_) | Progress::Withdrawn => break,
        }
        state.answer = Some(answer.clone());
        state.keep(&file)?;
    }
    #[expect(clippy::print_stdout, reason = "this is what was asked for")]
    {
        println!("{}", state.text);
    }
    fs::remove_file(&file)?;
    Ok(())
}
