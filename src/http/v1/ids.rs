//! Names of things as programs of this interface expect them: a word for what it is, and the UUID without hyphens.
//! Whatever is taken may also be the UUID alone, as Pollen's other routes have it.

use uuid::Uuid;

/// Characters of an unknown id that are quoted.
const QUOTED_CHARS: usize = 80;

/// A request's answer.
pub const RESPONSE: &str = "resp";
/// The same answer, to whoever asked for a completion.
pub const COMPLETION: &str = "chatcmpl";
pub const MESSAGE: &str = "msg";
pub const REASONING: &str = "rs";
/// A chat, to whoever puts messages into it and runs it.
pub const THREAD: &str = "thread";
/// A request, to whoever runs a thread; and what it does, which is one thing.
pub const RUN: &str = "run";
pub const STEP: &str = "step";
/// An agent.
pub const ASSISTANT: &str = "asst";
/// A chat, to whoever names it so.
pub const CONVERSATION: &str = "conv";

pub fn write(word: &str, id: Uuid) -> String {
    format!("{word}_{}", id.simple())
}

/// The UUID in an id of any kind. None: it is not one of Pollen's.
pub fn read(id: &str) -> Option<Uuid> {
    let uuid = id.rsplit_once('_').map_or(id, |(_, uuid)| uuid);
    let is_written_so = uuid.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    Uuid::try_parse(uuid).ok().filter(|_| is_written_so)
}

/// An id as it is quoted back to who sent it.
pub fn quoted(id: &str) -> String {
    crate::model::text::head(id, QUOTED_CHARS).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_is_written_and_as_a_bare_uuid() {
        let uuid = Uuid::now_v7();
        for id in [
            write(RESPONSE, uuid),
            write(MESSAGE, uuid),
            uuid.to_string(),
            uuid.simple().to_string(),
            format!("resp_{uuid}"),
        ] {
            assert_eq!(read(&id), Some(uuid), "{id}");
        }
        for id in [
            "",
            "resp_",
            "resp_12",
            "urn:uuid:x",
            "{0}",
            "gpt-5",
            "resp_é",
        ] {
            assert_eq!(read(id), None, "{id}");
        }
        let braced = format!("{{{uuid}}}");
        assert_eq!(read(&braced), None);
    }
}
