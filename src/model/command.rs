//! Slash commands: what a message that begins with `/` asks of the server. No model sees them.

use std::fmt::Write as _;

/// A command that there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    Help,
    Model,
    Agent,
    System,
    Title,
    Retry,
    Stop,
    Clear,
    Export,
    Usage,
}

/// One command, as front ends list it.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    pub name: Name,
    /// With its slash.
    pub word: &'static str,
    /// How it is written: what stands in brackets may be left out.
    pub usage: &'static str,
    pub description: &'static str,
}

/// All commands, in the order in which they are shown.
pub const COMMANDS: [Entry; 10] = [
    Entry {
        name: Name::Help,
        word: "/help",
        usage: "/help",
        description: "list the commands",
    },
    Entry {
        name: Name::Model,
        word: "/model",
        usage: "/model [id]",
        description: "list the models, or choose the one that answers from now on",
    },
    Entry {
        name: Name::Agent,
        word: "/agent",
        usage: "/agent [alias]",
        description: "list the agents, or choose one while the chat is empty",
    },
    Entry {
        name: Name::System,
        word: "/system",
        usage: "/system <text>",
        description: "set the system prompt of this chat",
    },
    Entry {
        name: Name::Title,
        word: "/title",
        usage: "/title <text>",
        description: "rename this chat",
    },
    Entry {
        name: Name::Retry,
        word: "/retry",
        usage: "/retry",
        description: "ask for the last answer again",
    },
    Entry {
        name: Name::Stop,
        word: "/stop",
        usage: "/stop",
        description: "stop the answer that is being written",
    },
    Entry {
        name: Name::Clear,
        word: "/clear",
        usage: "/clear",
        description: "take all messages out of this chat; its model, agent and system prompt stay",
    },
    Entry {
        name: Name::Export,
        word: "/export",
        usage: "/export [markdown|json|text|html|pdf]",
        description: "get this chat as a file",
    },
    Entry {
        name: Name::Usage,
        word: "/usage",
        usage: "/usage",
        description: "show what was used, and what is left",
    },
];

/// What a message is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// Words for the model; without the first slash, if there were two.
    Message(String),
    /// A command and what stands behind it.
    Command { name: Name, argument: String },
    /// It looks like a command, but there is none of this name.
    Unknown(String),
}

/// Tells a command from words. A command is a slash, a letter, and letters, digits, `-` or `_` up to the
/// first space: a path (`/etc/hosts`) or a fraction is not one.
#[must_use]
pub fn parse(text: &str) -> Parsed {
    let trimmed = text.trim();
    if let Some(literal) = trimmed.strip_prefix('/')
        && literal.starts_with('/')
    {
        let leading = text.len() - text.trim_start().len();
        return Parsed::Message(format!("{}{}", &text[..leading], &text[leading + 1..]));
    }
    let word = trimmed.split(char::is_whitespace).next().unwrap_or("");
    let is_command = word
        .strip_prefix('/')
        .is_some_and(|name| name.starts_with(char::is_alphabetic) && name.chars().all(is_of_word));
    if !is_command {
        return Parsed::Message(text.to_owned());
    }
    let argument = trimmed[word.len()..].trim().to_owned();
    let wanted = word.to_lowercase();
    match COMMANDS.iter().find(|entry| entry.word == wanted) {
        Some(entry) => Parsed::Command {
            name: entry.name,
            argument,
        },
        None => Parsed::Unknown(word.to_owned()),
    }
}

fn is_of_word(letter: char) -> bool {
    letter.is_alphanumeric() || matches!(letter, '-' | '_')
}

/// The commands as a Markdown list.
#[must_use]
pub fn listing() -> String {
    COMMANDS.iter().fold(String::new(), |mut list, entry| {
        // Writing to a String cannot fail.
        let _ = writeln!(list, "- `{}` – {}", entry.usage, entry.description);
        list
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(name: Name, argument: &str) -> Parsed {
        Parsed::Command {
            name,
            argument: argument.to_owned(),
        }
    }

    #[test]
    fn commands_are_told_from_words() {
        assert_eq!(parse("/help"), command(Name::Help, ""));
        assert_eq!(parse("  /Model  gpt 4 \n"), command(Name::Model, "gpt 4"));
        assert_eq!(
            parse("/system\nBe brief.\n\nAnd kind."),
            command(Name::System, "Be brief.\n\nAnd kind.")
        );
        assert_eq!(
            parse("/nonsense x"),
            Parsed::Unknown("/nonsense".to_owned())
        );
        for word in ["/does-not-exist", "/foo2", "/größe"] {
            assert_eq!(parse(word), Parsed::Unknown(word.to_owned()));
        }
        for words in [
            "hello /help",
            "/",
            "/etc/hosts is a file",
            "/2 of it",
            "a/b",
            "/ help",
            "",
        ] {
            assert_eq!(parse(words), Parsed::Message(words.to_owned()));
        }
    }

    #[test]
    fn two_slashes_are_a_literal_one() {
        assert_eq!(parse("//help"), Parsed::Message("/help".to_owned()));
        assert_eq!(parse(" //a // b"), Parsed::Message(" /a // b".to_owned()));
        assert_eq!(parse("///"), Parsed::Message("//".to_owned()));
    }
}
