//! The page's words, all of them: a second language is a second file beside `en.rs`, and its name here.
//!
//! What a problem says, what a command answers and why an answer failed are part of the protocol, and
//! stand with what they are about.

mod en;

use std::fmt::Display;

use entity::Timestamp;

/// The language of the page.
pub const W: &Words = &en::ENGLISH;

/// Each text that templates and script show. Those with a `{}` are put together by [`put`].
#[derive(Debug)]
pub struct Words {
    /// BCP 47.
    pub language: &'static str,
    /// `ltr` or `rtl`.
    pub direction: &'static str,

    // The frame of every page.
    pub skip: &'static str,
    pub chats: &'static str,
    pub open_chats: &'static str,
    pub close: &'static str,
    pub new_chat: &'static str,
    pub all_chats: &'static str,
    pub agents: &'static str,
    pub models: &'static str,
    pub usage: &'static str,
    pub search: &'static str,
    pub theme: &'static str,
    pub theme_auto: &'static str,
    pub theme_light: &'static str,
    pub theme_dark: &'static str,
    pub reconnecting: &'static str,
    pub start_page: &'static str,

    // The account, and who there is.
    pub account: &'static str,
    pub sign_in: &'static str,
    pub sign_in_hint: &'static str,
    pub sign_out: &'static str,
    pub token: &'static str,
    pub tokens: &'static str,
    pub tokens_hint: &'static str,
    pub token_name: &'static str,
    pub token_scope: &'static str,
    pub token_days: &'static str,
    pub token_head: &'static str,
    pub token_used: &'static str,
    pub token_ends: &'static str,
    pub token_made: &'static str,
    pub token_once: &'static str,
    pub make_token: &'static str,
    pub revoke: &'static str,
    pub never: &'static str,
    pub scope_read: &'static str,
    pub scope_write: &'static str,
    pub scope_admin: &'static str,
    pub sessions: &'static str,
    pub this_session: &'static str,
    pub session_seen: &'static str,
    pub end_session: &'static str,
    pub end_sessions: &'static str,
    pub account_name: &'static str,
    pub account_nameless: &'static str,
    pub account_id: &'static str,
    pub account_via: &'static str,
    pub tier: &'static str,
    pub no_tier: &'static str,
    pub your_data: &'static str,
    pub export_chat: &'static str,
    pub export_chats: &'static str,
    pub export_chats_anew: &'static str,
    pub export_chats_hint: &'static str,
    /// How many chats are done, and how many there are.
    pub archive_progress: &'static str,
    /// When it was begun, its size in KiB, and until when it is kept.
    pub archive_about: &'static str,
    pub archive_failed: &'static str,
    pub fetch_archive: &'static str,
    pub look_again: &'static str,
    pub import_chats: &'static str,
    pub import_hint: &'static str,
    pub import_file: &'static str,
    pub import_keep: &'static str,
    pub import: &'static str,
    pub your_data_hint: &'static str,
    pub export_data: &'static str,
    pub erase_me: &'static str,
    pub erase_me_hint: &'static str,
    pub erase_word: &'static str,
    pub erase: &'static str,
    pub users: &'static str,
    pub usual_tier: &'static str,
    pub disable: &'static str,
    pub enable: &'static str,
    pub more_users: &'static str,
    pub delete_user: &'static str,
    pub erase_user_hint: &'static str,

    // Home and the lists of chats.
    pub greeting: &'static str,
    pub recent_chats: &'static str,
    pub no_chats: &'static str,
    pub start_one: &'static str,
    pub older_chats: &'static str,
    pub today: &'static str,
    pub yesterday: &'static str,
    pub answering: &'static str,
    pub found: &'static str,
    pub nothing_found: &'static str,
    pub more_for: &'static str,
    pub rename: &'static str,
    pub new_title: &'static str,
    pub save: &'static str,
    pub delete_chat: &'static str,
    pub chat_deleted: &'static str,
    pub undo: &'static str,
    pub no_agents: &'static str,
    pub talk_to: &'static str,

    // The message box.
    pub message: &'static str,
    pub write_a_message: &'static str,
    pub send: &'static str,
    pub answered_by: &'static str,
    pub keys: &'static str,
    pub commands: &'static str,
    pub two_slashes: &'static str,
    pub not_sent: &'static str,

    // Messages.
    pub messages: &'static str,
    pub more_messages: &'static str,
    /// In a file: the times of its beginning and of its last change.
    pub exported_about: &'static str,
    pub exported_pending: &'static str,
    pub exported_failed: &'static str,
    pub exported_cancelled: &'static str,
    /// How many characters; which follows.
    pub exported_missing: &'static str,
    pub you: &'static str,
    pub user: &'static str,
    pub assistant: &'static str,
    pub pollen: &'static str,
    pub system: &'static str,
    pub is_writing: &'static str,
    pub waits: &'static str,
    pub edited: &'static str,
    pub thoughts: &'static str,
    pub stop: &'static str,
    pub withdraw: &'static str,
    pub regenerate: &'static str,
    pub try_again: &'static str,
    pub copy: &'static str,
    pub copied: &'static str,
    pub copy_failed: &'static str,
    pub like: &'static str,
    pub dislike: &'static str,
    pub comment: &'static str,
    pub comment_placeholder: &'static str,
    pub version_of: &'static str,
    pub earlier_version: &'static str,
    pub later_version: &'static str,
    pub edit: &'static str,
    pub edit_message: &'static str,
    pub save_and_ask: &'static str,
    pub delete_message: &'static str,
    pub more: &'static str,
    pub details: &'static str,
    pub show_details: &'static str,
    pub new_text_below: &'static str,
    pub answer_finished: &'static str,
    pub left_out_one: &'static str,
    pub left_out_many: &'static str,
    pub summarised_one: &'static str,
    pub summarised_many: &'static str,
    pub stopped_at_length: &'static str,
    pub was_cached: &'static str,
    pub another_model: &'static str,

    // What is rendered of Markdown.
    pub table: &'static str,
    pub done: &'static str,
    pub to_do: &'static str,

    // About a message.
    pub about: &'static str,
    pub sent_at: &'static str,
    pub model: &'static str,
    pub tokens_read: &'static str,
    pub tokens_written: &'static str,
    pub estimated: &'static str,
    pub first_word_after: &'static str,
    pub took: &'static str,
    pub cost: &'static str,
    pub finish_reason: &'static str,
    pub from_cache: &'static str,
    pub show_this_version: &'static str,
    pub back_to_chat: &'static str,

    // Links to a chat.
    pub share: &'static str,
    pub share_title: &'static str,
    pub share_hint: &'static str,
    pub show_links: &'static str,
    pub make_link: &'static str,
    pub link_made: &'static str,
    pub new_link: &'static str,
    pub link_term: &'static str,
    pub until_revoked: &'static str,
    pub for_a_day: &'static str,
    pub for_a_week: &'static str,
    pub for_a_month: &'static str,
    pub link_until: &'static str,
    pub link_made_at: &'static str,
    pub link_expired: &'static str,
    pub link_revoked: &'static str,
    pub revoke_link: &'static str,
    pub shared_with_you: &'static str,

    // The pages of models and of usage, and problems.
    pub choose_model: &'static str,
    pub model_column: &'static str,
    pub provider: &'static str,
    pub context: &'static str,
    pub price_in: &'static str,
    pub price_out: &'static str,
    pub default_model: &'static str,
    pub usage_by: &'static str,
    pub usage_range: &'static str,
    pub nothing_used: &'static str,
    pub by_day: &'static str,
    pub by_model: &'static str,
    pub by_chat: &'static str,
    pub answers: &'static str,
    pub input_tokens: &'static str,
    pub output_tokens: &'static str,
    pub usage_cost: &'static str,
    pub all: &'static str,
    pub some_estimated: &'static str,
    pub cache_had: &'static str,
    pub limit_used: &'static str,
    pub request_id: &'static str,
    pub status: &'static str,

    pub reference: &'static str,
    pub parameters: &'static str,
    pub body: &'static str,
    pub problems: &'static str,
    pub shapes: &'static str,
    pub fields: &'static str,
    pub field: &'static str,
    pub kind: &'static str,
    pub meaning: &'static str,
    pub required: &'static str,
}

/// The text with `value` in the place of its first `{}`.
pub fn put(text: &str, value: impl Display) -> String {
    put_all(text, &[&value])
}

/// What stands before and after the `{}` of the text: for somebody's own words between them in a `<bdi>`, which
/// turns the rest of the sentence around in no script.
pub fn around(text: &'static str) -> (&'static str, &'static str) {
    text.split_once("{}").unwrap_or((text, ""))
}

/// The text with the values in the places of its `{}`, from left to right.
pub fn put_all(text: &str, values: &[&dyn Display]) -> String {
    let mut parts = text.splitn(values.len() + 1, "{}");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for (part, value) in parts.zip(values) {
        out.push_str(&value.to_string());
        out.push_str(part);
    }
    out
}

/// How a number of milliseconds is said: `850 ms`, `3.2 s`.
pub fn milliseconds(ms: i64) -> String {
    if ms < 1_000 {
        return format!("{ms} ms");
    }
    format!("{}.{} s", ms / 1_000, ms % 1_000 / 100)
}

/// A time for people: the script puts it into their own clock's.
pub fn moment(at: Timestamp) -> String {
    at.to_datetime().format("%-d %b %Y, %H:%M UTC").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_take_their_places() {
        assert_eq!(put("{} of {}", 2), "2 of {}");
        assert_eq!(put_all("{} of {}!", &[&"{}", &3]), "{} of 3!");
        assert_eq!(milliseconds(850), "850 ms");
        assert_eq!(milliseconds(3_250), "3.2 s");
    }
}
