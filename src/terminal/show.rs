//! Showing one answer, from the question to its end, whatever happens on the way: the server goes and comes back, the answer is
//! written anew, somebody presses Ctrl-C.

use std::future::Future;

use super::growing::Growing;
use super::outcome::Stopped;
use super::screen::{Screen, Spinner, Unseen, complain, put};
use super::way::Way;
use crate::client::{Answer, Error, Message, Progress};

/// How an answer ended.
pub(super) struct Shown {
    /// None: the question was taken back before.
    pub message: Option<Box<Message>>,
    /// The whole text, to the letter.
    pub text: String,
    /// Ctrl-C was pressed.
    pub was_interrupted: bool,
}

/// What Ctrl-C does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OnInterrupt {
    /// The answer is stopped on the server; the second one leaves.
    Cancel,
    /// The first one leaves.
    Leave,
}

/// Waits for what the server answers to a request, and tells what goes wrong meanwhile.
pub(super) async fn wait<T>(
    way: &mut Way,
    screen: Screen,
    was_interrupted: &mut bool,
    request: impl Future<Output = Result<T, Error>>,
) -> Result<T, Stopped> {
    let _unseen = Unseen::begin(screen);
    let mut spinner = screen.spinner("asking");
    let mut has_told = false;
    tokio::pin!(request);
    let done = loop {
        tokio::select! {
            done = &mut request => break done,
            Some(words) = way.setbacks.recv() => tell(screen, &spinner, &words, &mut has_told),
            _ = way.interrupts.recv() => {
                if *was_interrupted {
                    return Err(Stopped::Interrupted);
                }
                *was_interrupted = true;
                spinner.say("stopping; Ctrl-C leaves at once");
            }
        }
    };
    spinner.clear();
    Ok(done?)
}

fn tell(screen: Screen, spinner: &Spinner, words: &str, has_told: &mut bool) {
    if spinner.is_there() {
        spinner.say(words);
    } else if !*has_told {
        screen.note(&format!("pollen: {words}"));
        *has_told = true;
    }
}

/// Shows the answer to its end.
pub(super) async fn show(
    way: &mut Way,
    screen: Screen,
    answer: &mut Answer,
    on_interrupt: OnInterrupt,
    is_interrupted: bool,
) -> Result<Shown, Stopped> {
    let client = way.client.clone();
    let _unseen = Unseen::begin(screen);
    let mut showing = Showing {
        screen,
        growing: screen.growing(client.address()),
        spinner: screen.spinner("waiting for the first word"),
        text: String::new(),
        has_told: false,
        is_noted: false,
    };
    let mut was_interrupted = is_interrupted;
    let mut is_to_be_stopped = is_interrupted;
    let message = loop {
        if is_to_be_stopped {
            showing.trouble("stopping; Ctrl-C leaves at once")?;
            tokio::select! {
                done = answer.cancel(&client) => done?,
                _ = way.interrupts.recv() => {
                    showing.leave()?;
                    return Err(Stopped::Interrupted);
                }
            }
            is_to_be_stopped = false;
        }
        let progress = {
            let next = answer.next(&client);
            tokio::pin!(next);
            // It is not dropped for a setback: it would begin its waits anew.
            loop {
                tokio::select! {
                    biased;
                    _ = way.interrupts.recv() => break None,
                    Some(words) = way.setbacks.recv() => showing.trouble(&words)?,
                    progress = &mut next => break Some(progress),
                }
            }
        };
        let Some(progress) = progress else {
            if was_interrupted || on_interrupt == OnInterrupt::Leave {
                showing.leave()?;
                return Err(Stopped::Interrupted);
            }
            (was_interrupted, is_to_be_stopped) = (true, true);
            continue;
        };
        let progress = progress.inspect_err(|_| {
            // What has come is to stay readable above what is said of the error.
            let _ = showing.leave();
        })?;
        match progress {
            Progress::Begun(_) => {}
            Progress::Appended(more) => showing.append(&more)?,
            Progress::Replaced(text) => showing.replace(text)?,
            Progress::Ended(message) => break Some(message),
            Progress::Withdrawn => break None,
        }
    };
    showing.leave()?;
    Ok(Shown {
        message,
        text: showing.text,
        was_interrupted,
    })
}

struct Showing {
    screen: Screen,
    growing: Growing,
    spinner: Spinner,
    /// To the letter.
    text: String,
    has_told: bool,
    /// There is a note below the text.
    is_noted: bool,
}

impl Showing {
    fn append(&mut self, more: &str) -> Result<(), Stopped> {
        self.text.push_str(more);
        self.calm()?;
        self.spinner.clear();
        put(&self.growing.push(more))?;
        Ok(())
    }

    fn replace(&mut self, text: String) -> Result<(), Stopped> {
        self.calm()?;
        if !text.is_empty() {
            self.spinner.clear();
        }
        put(&self.growing.anew(&text))?;
        self.text = text;
        Ok(())
    }

    /// Says what goes wrong: beside the spinner, below the text, or once on standard error.
    fn trouble(&mut self, words: &str) -> Result<(), Stopped> {
        if self.spinner.is_there() {
            self.spinner.say(words);
            return Ok(());
        }
        let note = self.growing.note(Some(words));
        self.is_noted = true;
        if note.is_empty() && !self.has_told {
            self.screen.note(&format!("pollen: {words}"));
        }
        self.has_told = true;
        put(&note)?;
        Ok(())
    }

    /// It is over.
    fn calm(&mut self) -> Result<(), Stopped> {
        if std::mem::take(&mut self.is_noted) {
            self.has_told = false;
            put(&self.growing.note(None))?;
        }
        Ok(())
    }

    /// The cursor stands below the text.
    fn leave(&mut self) -> Result<(), Stopped> {
        self.spinner.clear();
        put(&self.growing.finish())?;
        Ok(())
    }
}

/// Ends a command: says what there is to say.
pub(super) fn end(stopped: &Stopped) -> super::Outcome {
    let words = stopped.words();
    if !words.is_empty() {
        complain(&format!("pollen: {words}"));
    }
    stopped.outcome()
}
