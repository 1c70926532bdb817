//! A conversation for servers that are strict about its shape: instructions apart, speakers in
//! turn, the user first, nothing empty. Anthropic's and Google's are.

use super::{Speaker, Turn};

/// Stands in front of a conversation that an assistant has begun, as a persona's greeting does.
pub(super) const OPENING: &str = "Hello.";
/// Between turns that become one.
const BETWEEN: &str = "\n\n";

/// A conversation in that shape.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Conversation {
    pub instructions: Option<String>,
    /// Users' and assistants' alone, in turn, a user's first.
    pub turns: Vec<(Speaker, String)>,
}

impl Conversation {
    pub fn of(turns: &[Turn]) -> Self {
        let mut spoken: Vec<(Speaker, String)> = Vec::new();
        for turn in turns {
            if turn.speaker == Speaker::System || turn.content.trim().is_empty() {
                continue;
            }
            match spoken.last_mut() {
                Some((speaker, content)) if *speaker == turn.speaker => {
                    content.push_str(BETWEEN);
                    content.push_str(&turn.content);
                }
                _ => spoken.push((turn.speaker, turn.content.clone())),
            }
        }
        if spoken
            .first()
            .is_none_or(|(speaker, _)| *speaker != Speaker::User)
        {
            spoken.insert(0, (Speaker::User, OPENING.to_owned()));
        }
        Self {
            instructions: instructions(turns),
            turns: spoken,
        }
    }
}

/// What the system turns say, wherever they stand.
pub(super) fn instructions(turns: &[Turn]) -> Option<String> {
    let texts: Vec<&str> = turns
        .iter()
        .filter(|turn| turn.speaker == Speaker::System && !turn.content.trim().is_empty())
        .map(|turn| turn.content.as_str())
        .collect();
    (!texts.is_empty()).then(|| texts.join(BETWEEN))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shaped(turns: &[(Speaker, &str)]) -> Conversation {
        let turns: Vec<Turn> = turns
            .iter()
            .map(|&(speaker, content)| Turn {
                speaker,
                content: content.to_owned(),
                reasoning: None,
            })
            .collect();
        Conversation::of(&turns)
    }

    #[test]
    fn turns_of_one_speaker_become_one() {
        let conversation = shaped(&[
            (Speaker::System, "Be brief."),
            (Speaker::User, "a"),
            (Speaker::User, "b"),
            (Speaker::Assistant, "c"),
            (Speaker::System, "Be kind."),
            (Speaker::Assistant, " "),
            (Speaker::Assistant, "d"),
            (Speaker::User, "e"),
        ]);
        let expected = Conversation {
            instructions: Some("Be brief.\n\nBe kind.".into()),
            turns: vec![
                (Speaker::User, "a\n\nb".into()),
                (Speaker::Assistant, "c\n\nd".into()),
                (Speaker::User, "e".into()),
            ],
        };
        assert_eq!(conversation, expected);
    }

    #[test]
    fn a_user_speaks_first() {
        let greeted = shaped(&[(Speaker::Assistant, "Ahoy!"), (Speaker::User, "Hi")]);
        let first = (Speaker::User, OPENING.to_owned());
        assert_eq!((greeted.turns.len(), &greeted.turns[0]), (3, &first));
        assert_eq!(shaped(&[]).turns, [first]);
    }
}
