//! The history that a model is sent: which messages of a chat, and in which order.

use std::collections::HashMap;

use entity::MessageId;
use entity::chat_message::{Model as Message, Role, Status};

/// A message's place among the turns: the sequence of the question that it is or answers, then
/// its own.
type Place = (i64, i64);

/// The completed turns before the message `asked`, and that message: not what was queued after it.
///
/// Messages that were sent while an answer was running stand before that answer in the chat's
/// sequence, so an answer is put behind the message that it replies to, not where it was stored.
#[must_use]
pub fn history(messages: Vec<Message>, asked: &Message) -> Vec<Message> {
    let place_of = places(&messages);
    let mut turns: Vec<_> = messages
        .into_iter()
        .filter(|m| m.status == Status::Completed)
        .filter(|m| m.deleted_at.is_none() && m.superseded_at.is_none())
        .filter(|m| match m.role {
            Role::System | Role::Assistant => true,
            // One without a request is a command.
            Role::User => m.request_id.is_some(),
            Role::Agent => false,
        })
        .map(|m| (place_of[&m.id], m))
        .filter(|((turn, _), m)| {
            *turn < asked.sequence || m.id == asked.id || m.role == Role::System
        })
        .collect();
    // What the system says goes before everything, whenever it was said.
    turns.sort_by_key(|(place, message)| (message.role != Role::System, *place));
    turns.into_iter().map(|(_, message)| message).collect()
}

/// Where a message stands in its chat, without its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessagePlace {
    pub id: MessageId,
    pub sequence: i64,
    pub reply_to: Option<MessageId>,
    /// Deleted, superseded already, or not part of the talk.
    pub is_gone: bool,
}

/// What a new wording of the message `asked` makes beside the point: its answers, and all turns
/// after it. `sequence`: its own.
#[must_use]
pub fn followers(places: &[MessagePlace], asked: MessageId, sequence: i64) -> Vec<MessageId> {
    let sequences: HashMap<_, _> = places
        .iter()
        .map(|place| (place.id, place.sequence))
        .collect();
    let turn = |place: &MessagePlace| {
        let question = place.reply_to.and_then(|id| sequences.get(&id).copied());
        question.unwrap_or(place.sequence)
    };
    places
        .iter()
        .filter(|place| place.id != asked && !place.is_gone)
        .filter(|place| turn(place) >= sequence)
        .map(|place| place.id)
        .collect()
}

/// The sequence of the question that each of these messages is or answers.
#[must_use]
pub fn turns(messages: &[Message]) -> Vec<i64> {
    let places = places(messages);
    let turn = |message: &Message| places[&message.id].0;
    messages.iter().map(turn).collect()
}

fn places(messages: &[Message]) -> HashMap<MessageId, Place> {
    let sequences: HashMap<_, _> = messages.iter().map(|m| (m.id, m.sequence)).collect();
    messages
        .iter()
        .map(|message| {
            let turn = message
                .reply_to
                .and_then(|id| sequences.get(&id).copied())
                .unwrap_or(message.sequence);
            (message.id, (turn, message.sequence))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use entity::{ChatId, MessageId, Timestamp};

    use super::*;

    fn message(sequence: i64, role: Role, reply_to: Option<&Message>) -> Message {
        Message {
            id: MessageId::generate(),
            chat_id: ChatId(uuid::Uuid::nil()),
            sequence,
            revision: 0,
            role,
            status: Status::Completed,
            reply_to: reply_to.map(|m| m.id),
            request_id: Some(entity::RequestId::generate()),
            content: String::new(),
            reasoning: String::new(),
            origin: None,
            edition: 0,
            version: 1,
            versions: 1,
            error_code: None,
            error_message: None,
            reaction: None,
            reaction_comment: None,
            created_at: Timestamp(0),
            completed_at: None,
            deleted_at: None,
            superseded_at: None,
        }
    }

    #[test]
    fn an_edit_supersedes_its_answers_and_later_turns_but_not_earlier_answers() {
        let first = message(1, Role::User, None);
        let second = message(2, Role::User, None);
        let answer_to_first = message(3, Role::Assistant, Some(&first));
        let answer_to_second = message(4, Role::Assistant, Some(&second));
        let third = message(5, Role::User, None);
        let all = [
            first.clone(),
            second.clone(),
            answer_to_first.clone(),
            answer_to_second.clone(),
            third.clone(),
        ];
        let followers = |all: &[Message], asked: &Message| {
            let places: Vec<_> = all
                .iter()
                .map(|m| MessagePlace {
                    id: m.id,
                    sequence: m.sequence,
                    reply_to: m.reply_to,
                    is_gone: m.deleted_at.or(m.superseded_at).is_some(),
                })
                .collect();
            super::followers(&places, asked.id, asked.sequence)
        };
        assert_eq!(followers(&all, &second), [answer_to_second.id, third.id]);
        assert_eq!(followers(&all, &first).len(), 4);
        let mut gone = answer_to_second.clone();
        gone.superseded_at = Some(Timestamp(1));
        let all = [first, second.clone(), gone.clone(), third.clone()];
        assert_eq!(followers(&all, &second), [third.id]);
        let ids: Vec<_> = history(all.to_vec(), &third)
            .into_iter()
            .map(|m| m.id)
            .collect();
        assert!(!ids.contains(&gone.id), "what was superseded is not sent");
    }

    #[test]
    fn an_answer_stands_behind_what_it_answers_and_later_messages_are_left_out() {
        let first = message(1, Role::User, None);
        let second = message(2, Role::User, None);
        let third = message(3, Role::User, None);
        let answer = message(4, Role::Assistant, Some(&first));
        let all = vec![first.clone(), second.clone(), third, answer.clone()];
        let ids: Vec<_> = history(all, &second).into_iter().map(|m| m.id).collect();
        assert_eq!(ids, [first.id, answer.id, second.id]);
    }

    #[test]
    fn commands_are_not_sent_and_what_the_system_says_goes_first() {
        let question = message(1, Role::User, None);
        let mut command = message(2, Role::User, None);
        command.request_id = None;
        let reply = message(3, Role::Agent, Some(&command));
        let system = message(4, Role::System, None);
        let asked = message(5, Role::User, None);
        let all = vec![
            question.clone(),
            command,
            reply,
            system.clone(),
            asked.clone(),
        ];
        let ids: Vec<_> = history(all, &asked).into_iter().map(|m| m.id).collect();
        assert_eq!(ids, [system.id, question.id, asked.id]);
    }

    #[test]
    fn what_is_unfinished_failed_or_deleted_is_not_sent() {
        let first = message(1, Role::User, None);
        let mut failed = message(2, Role::Assistant, Some(&first));
        failed.status = Status::Failed;
        let mut deleted = message(3, Role::User, None);
        deleted.deleted_at = Some(Timestamp(1));
        let asked = message(4, Role::User, None);
        let all = vec![first.clone(), failed, deleted, asked.clone()];
        let ids: Vec<_> = history(all, &asked).into_iter().map(|m| m.id).collect();
        assert_eq!(ids, [first.id, asked.id]);
    }
}
