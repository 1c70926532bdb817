//! `POST /poll`, and GET: many polls in one request.

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::Response;
use entity::{ChatId, MessageId, OwnerId};
use serde::Deserialize;
use url::form_urlencoded;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::chat::{Awaited, Batch, ChatCursor, Cursors, MAX_CURSORS, MessageCursor};
use crate::http::AppState;
use crate::http::body::Body;
use crate::http::extract::{Known, parse_position, parse_uuid};
use crate::http::hold::Hold;
use crate::http::problem::{Kind, Problem};
use crate::http::rate::Rated;
use crate::http::reply;
use crate::http::tag::Seen;
use crate::http::view::batch::{BatchView, Made};
use crate::model::position::Position;

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(poll, poll_by_query))
}

/// Cursors that count as one poll.
const CURSORS_PER_POLL: usize = 10;

/// What a client has read to.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "chats": [{"uuid": "01990f5e-7c1a-7b6e-9f0a-3c5d8e2b4a62", "last_uuid": "01990f5e-7c1a-7b6e-9f0a-3c5d8e2b4a63", "revision": 3}],
    "messages": [{"uuid": "01990f5e-7c1a-7b6e-9f0a-3c5d8e2b4a65", "position": 241}],
    "chat_list": ""
}))]
pub(super) struct PollBody {
    /// Chats whose messages are polled. With those of `messages` at most 100.
    #[serde(default)]
    #[schema(max_items = 100)]
    chats: Vec<PolledChat>,
    /// Messages whose tokens are polled.
    #[serde(default)]
    #[schema(max_items = 100)]
    messages: Vec<PolledMessage>,
    /// The revision of the list of chats that the client has; empty: none so far. Without it the list is not looked at.
    #[serde(default)]
    chat_list: Option<String>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PolledChat {
    uuid: ChatId,
    /// The `last_uuid` of the poll before; null or none: from the beginning.
    #[serde(default)]
    last_uuid: Option<MessageId>,
    /// The `revision` of the poll before.
    #[serde(default)]
    revision: Option<i64>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PolledMessage {
    uuid: MessageId,
    /// The `position` of the poll before; none: from the beginning.
    #[serde(default)]
    position: Position,
    /// The position in what the model thinks; without it nothing of that is sent.
    #[serde(default)]
    reasoning: Option<Position>,
}

/// The same in a query. Each may stand there several times.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(
    dead_code,
    reason = "it is there for the document: the query is read pair by pair"
)]
struct PollQuery {
    /// `<uuid>:<last_uuid>:<revision>`, of which the later parts may be left out.
    chat: Option<Vec<String>>,
    /// `<uuid>:<position>:<reasoning>`, of which the later parts may be left out.
    message: Option<Vec<String>>,
    /// The revision of the list of chats that the client has; empty: none so far.
    chat_list: Option<String>,
}

/// Many polls in one: only what is new is answered.
#[utoipa::path(
    post, path = "/poll", request_body = PollBody,
    responses((status = OK, body = BatchView))
)]
async fn poll(
    State(app): State<AppState>,
    Known(caller): Known,
    rated: Option<Extension<Rated>>,
    hold: Hold,
    headers: HeaderMap,
    Body(body): Body<PollBody>,
) -> Result<Response, Problem> {
    answer(&app, caller.owner, rated, (hold, Seen::of(&headers)), body).await
}

/// The same for who cannot POST.
#[utoipa::path(
    get, path = "/poll", params(PollQuery),
    responses((status = OK, body = BatchView))
)]
async fn poll_by_query(
    State(app): State<AppState>,
    Known(caller): Known,
    rated: Option<Extension<Rated>>,
    hold: Hold,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Problem> {
    let body = PollBody::of(uri.query().unwrap_or_default())?;
    answer(&app, caller.owner, rated, (hold, Seen::of(&headers)), body).await
}

async fn answer(
    app: &AppState,
    owner: OwnerId,
    rated: Option<Extension<Rated>>,
    (hold, seen): (Hold, Seen),
    body: PollBody,
) -> Result<Response, Problem> {
    let cursors = body.chats.len() + body.messages.len();
    if cursors > MAX_CURSORS {
        let detail = format!("at most {MAX_CURSORS} cursors are taken in one poll, not {cursors}");
        return Err(Problem::new(Kind::InvalidField, detail));
    }
    if let Some(Extension(rated)) = rated {
        rated
            .further_polls(cursors.saturating_sub(1) / CURSORS_PER_POLL)
            .await?;
    }
    let list = body.chat_list.clone();
    let batch = body.into_batch();
    let hint = |activity| app.load.poll_after_ms(activity);
    let ask = || async {
        let poll = app.chats.poll_batch(owner, &batch).await?;
        BatchView::made(&batch, list.as_deref(), poll, hint)
    };
    let awaited: Vec<Awaited> = (batch.chats.iter().map(|cursor| Awaited::Chat(cursor.chat)))
        .chain(
            batch
                .messages
                .iter()
                .map(|cursor| Awaited::Message(cursor.message)),
        )
        .collect();
    let look = |made: &Made| made.look(&seen);
    let first = ask().await?;
    let found = hold.until_new(app, &awaited, first, look, ask).await?;
    let (made, applied) = found.into_parts();
    for (kind, outcome) in made.outcomes {
        app.counts.polled(kind, outcome);
    }
    let view = made.view;
    let response = seen.json(&made.tag, Some(view.poll_after_ms), || {
        reply::json(StatusCode::OK, &view)
    })?;
    Ok(applied.tell(response))
}

impl PollBody {
    /// # Errors
    /// If a parameter is not known, or is not what it should be.
    fn of(query: &str) -> Result<Self, Problem> {
        let mut body = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "chat" => body.chats.push(polled_chat(&value)?),
                "message" => body.messages.push(polled_message(&value)?),
                "chat_list" => body.chat_list = Some(value.into_owned()),
                _ => {
                    let detail =
                        format!("there is no parameter `{name}`: `chat`, `message`, `chat_list`");
                    return Err(Problem::new(Kind::MalformedRequest, detail));
                }
            }
        }
        Ok(body)
    }

    fn into_batch(self) -> Batch {
        let chats = self.chats.into_iter().map(|polled| ChatCursor {
            chat: polled.uuid,
            last: polled.last_uuid,
            revision: polled.revision,
        });
        let messages = self.messages.into_iter().map(|polled| MessageCursor {
            message: polled.uuid,
            cursors: Cursors {
                text: polled.position,
                reasoning: polled.reasoning,
            },
        });
        Batch {
            chats: chats.collect(),
            messages: messages.collect(),
            list: self.chat_list.is_some(),
        }
    }
}

/// The parts of a cursor, an empty one standing for none.
fn parts(value: &str) -> [Option<&str>; 3] {
    let mut parts = value.splitn(3, ':');
    [(); 3].map(|()| parts.next().filter(|part| !part.is_empty()))
}

fn polled_chat(value: &str) -> Result<PolledChat, Problem> {
    let [uuid, last_uuid, revision] = parts(value);
    let last_uuid = last_uuid
        .map(|text| parse_uuid("last_uuid", text))
        .transpose()?;
    let revision = revision.map(|text| {
        text.parse()
            .map_err(|_| Problem::new(Kind::MalformedRequest, "a chat's revision is an integer"))
    });
    Ok(PolledChat {
        uuid: ChatId(parse_uuid("chat", uuid.unwrap_or_default())?),
        last_uuid: last_uuid.map(MessageId),
        revision: revision.transpose()?,
    })
}

fn polled_message(value: &str) -> Result<PolledMessage, Problem> {
    let [uuid, position, reasoning] = parts(value);
    let position = position.map(parse_position).transpose()?;
    Ok(PolledMessage {
        uuid: MessageId(parse_uuid("message", uuid.unwrap_or_default())?),
        position: position.unwrap_or_default(),
        reasoning: reasoning.map(parse_position).transpose()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_in_a_query_are_what_they_are_in_a_body() {
        let (chat, last, message) = (
            ChatId::generate(),
            MessageId::generate(),
            MessageId::generate(),
        );
        let query = format!(
            "chat={chat}:{last}:7&chat={chat}&chat={chat}::7&message={message}:5:0&message={message}&chat_list="
        );
        let body = PollBody::of(&query).unwrap();
        let written = format!("{body:?}");
        let json = format!(
            r#"{{"chats": [{{"uuid": "{chat}", "last_uuid": "{last}", "revision": 7}}, {{"uuid": "{chat}"}}, {{"uuid": "{chat}", "revision": 7}}],
                "messages": [{{"uuid": "{message}", "position": 5, "reasoning": 0}}, {{"uuid": "{message}"}}], "chat_list": ""}}"#
        );
        let other: PollBody = serde_json::from_str(&json).unwrap();
        assert_eq!(written, format!("{other:?}"));
        for wrong in [
            "chat=",
            "chat=x",
            "message=",
            "x=1",
            &format!("message={message}:-1"),
            &format!("chat={chat}:{last}:x"),
            &format!("message={message}:1:2:3"),
        ] {
            assert!(PollBody::of(wrong).is_err(), "{wrong}");
        }
    }
}
