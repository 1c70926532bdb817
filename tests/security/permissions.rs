//! The table of who may do what: each route, by each kind of caller, to their own things and to others'. What comes out
//! of it is worked out from a route's row by one small function. A route without a row fails here, as does a row without
//! a route.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;

use entity::api_token::Scope;
use entity::{OwnerId, SessionId, Timestamp, TokenId, api_token, session, user};
use pollen::http::{UNDOCUMENTED, surface};
use reqwest::Method;
use sea_orm::{ActiveValue::Set, DatabaseConnection, EntityTrait, IntoActiveModel};
use serde_json::{Value, json};
use uuid::Uuid;

use super::callers::{ALL_WAYS, As, JWT_SECRET, at, cookie_of, jwt, token};
use crate::support::app::eventually;
use crate::support::database::Kind;
use crate::support::{Answer, TestApp, Upstream};

use Needs::{Admin, Inspect, Nobody, Read, Secret, Write};
use Outcome::{AdminNeeded, Allowed, Disabled, NotFound, Private, ScopeNeeded, SignInNeeded};
use Thing::{
    Archive, Chat, DeletedChat, DoomedUser, Link, Message, Myself, None, Session, Share, Token,
    User,
};

/// What a route asks of its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Needs {
    /// It does not ask who it is.
    Nobody,
    /// The same, but for the secret in the path.
    Secret,
    Read,
    Write,
    Admin,
    /// An administrator, where the configuration lets them read chats: here it does not.
    Inspect,
}

/// What a route is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Thing {
    /// What is the same for all, or the caller's own in any case.
    None,
    /// The caller, who is not the same afterwards.
    Myself,
    Chat,
    /// An archive of all chats, of which everybody has one at most.
    Archive,
    /// A chat that is to come back.
    DeletedChat,
    Message,
    Share,
    /// What a link opens.
    Link,
    Token,
    Session,
    User,
    /// A user who is not there afterwards.
    DoomedUser,
}

/// All there is.
const ROWS: [(&str, &str, Needs, Thing); 123] = [
    ("GET", "/", Read, None),
    ("GET", "/_components", Nobody, None),
    ("GET", "/account", Read, None),
    ("GET", "/admin/audit", Admin, None),
    ("GET", "/admin/chat/{uuid}/export", Inspect, Chat),
    ("POST", "/admin/user/{uuid}", Admin, User),
    ("DELETE", "/admin/user/{uuid}", Admin, DoomedUser),
    ("GET", "/admin/user/{uuid}/chats", Inspect, User),
    ("POST", "/admin/user/{uuid}/delete", Admin, DoomedUser),
    ("GET", "/admin/users", Admin, None),
    ("GET", "/agents", Read, None),
    ("GET", "/assets/{file}", Nobody, None),
    ("POST", "/chat/create", Write, None),
    ("GET", "/chat/list", Read, None),
    ("GET", "/chat/message/{uuid}", Read, Message),
    ("PUT", "/chat/message/{uuid}", Write, Message),
    ("DELETE", "/chat/message/{uuid}", Write, Message),
    ("GET", "/chat/message/{uuid}/about", Read, Message),
    ("POST", "/chat/message/{uuid}/cancel", Write, Message),
    ("POST", "/chat/message/{uuid}/delete", Write, Message),
    ("POST", "/chat/message/{uuid}/edit", Write, Message),
    ("PUT", "/chat/message/{uuid}/reaction", Write, Message),
    ("POST", "/chat/message/{uuid}/reaction", Write, Message),
    ("DELETE", "/chat/message/{uuid}/reaction", Write, Message),
    ("POST", "/chat/message/{uuid}/regenerate", Write, Message),
    ("POST", "/chat/message/{uuid}/retry", Write, Message),
    ("GET", "/chat/message/{uuid}/tokens", Read, Message),
    ("GET", "/chat/message/{uuid}/tokens/", Read, Message),
    (
        "GET",
        "/chat/message/{uuid}/tokens/{position}",
        Read,
        Message,
    ),
    ("GET", "/chat/message/{uuid}/versions", Read, Message),
    (
        "POST",
        "/chat/message/{uuid}/versions/{number}/select",
        Write,
        Message,
    ),
    ("GET", "/chat/search", Read, None),
    ("GET", "/chat/{uuid}", Read, Chat),
    ("PATCH", "/chat/{uuid}", Write, Chat),
    ("DELETE", "/chat/{uuid}", Write, Chat),
    ("POST", "/chat/{uuid}/agent/{alias}", Write, Chat),
    ("POST", "/chat/{uuid}/delete", Write, Chat),
    ("GET", "/chat/{uuid}/export", Read, Chat),
    ("GET", "/chat/{uuid}/history", Read, Chat),
    ("GET", "/chat/{uuid}/messages", Read, Chat),
    ("GET", "/chat/{uuid}/messages/", Read, Chat),
    ("GET", "/chat/{uuid}/messages/{last_uuid}", Read, Chat),
    ("POST", "/chat/{uuid}/rename", Write, Chat),
    ("POST", "/chat/{uuid}/restore", Write, DeletedChat),
    ("POST", "/chat/{uuid}/send", Write, Chat),
    ("GET", "/chat/{uuid}/shares", Read, Chat),
    ("POST", "/chat/{uuid}/shares", Write, Chat),
    ("GET", "/chats", Read, None),
    ("GET", "/chats/export", Read, None),
    ("POST", "/chats/export", Write, None),
    ("GET", "/chats/export/{uuid}", Read, Archive),
    ("DELETE", "/chats/export/{uuid}", Write, Archive),
    ("POST", "/chats/export/{uuid}/delete", Write, Archive),
    ("GET", "/chats/export/{uuid}/file", Read, Archive),
    ("POST", "/chats/import", Write, None),
    ("GET", "/commands", Read, None),
    ("GET", "/docs", Nobody, None),
    ("GET", "/healthz", Nobody, None),
    ("GET", "/me", Read, None),
    ("DELETE", "/me", Write, Myself),
    ("POST", "/me/delete", Write, Myself),
    ("GET", "/me/export", Read, None),
    ("GET", "/metrics", Admin, None),
    ("GET", "/models", Read, None),
    ("GET", "/openapi.json", Nobody, None),
    ("GET", "/poll", Read, None),
    ("POST", "/poll", Read, None),
    ("GET", "/problems/{slug}", Nobody, None),
    ("GET", "/readyz", Nobody, None),
    ("GET", "/schemas/chat-export-1.json", Nobody, None),
    ("DELETE", "/session/{uuid}", Write, Session),
    ("POST", "/session/{uuid}/end", Write, Session),
    ("GET", "/sessions", Read, None),
    ("POST", "/sessions/end", Write, Myself),
    ("DELETE", "/share/{uuid}", Write, Share),
    ("POST", "/share/{uuid}/revoke", Write, Share),
    ("GET", "/shared/{secret}", Secret, Link),
    (
        "GET",
        "/shared/{secret}/message/{uuid}/tokens",
        Secret,
        Link,
    ),
    (
        "GET",
        "/shared/{secret}/message/{uuid}/tokens/",
        Secret,
        Link,
    ),
    (
        "GET",
        "/shared/{secret}/message/{uuid}/tokens/{position}",
        Secret,
        Link,
    ),
    ("GET", "/shared/{secret}/messages", Secret, Link),
    ("GET", "/shared/{secret}/messages/", Secret, Link),
    ("GET", "/shared/{secret}/messages/{last_uuid}", Secret, Link),
    ("GET", "/sign-in", Nobody, None),
    ("POST", "/sign-in", Nobody, None),
    // Whoever may only read may go, too.
    ("POST", "/sign-out", Read, Myself),
    ("POST", "/theme", Nobody, None),
    ("DELETE", "/token/{uuid}", Write, Token),
    ("POST", "/token/{uuid}/revoke", Write, Token),
    ("GET", "/tokens", Read, None),
    ("POST", "/tokens", Write, None),
    ("GET", "/usage", Read, None),
    ("POST", "/v1/chat/completions", Write, None),
    ("GET", "/v1/assistants", Read, None),
    ("GET", "/v1/assistants/{alias}", Read, None),
    ("POST", "/v1/conversations", Write, None),
    ("GET", "/v1/conversations/{id}", Read, Chat),
    ("POST", "/v1/conversations/{id}", Write, Chat),
    ("DELETE", "/v1/conversations/{id}", Write, Chat),
    ("GET", "/v1/models", Read, None),
    ("GET", "/v1/models/{model}", Read, None),
    ("POST", "/v1/responses", Write, None),
    ("GET", "/v1/responses/{id}", Read, Message),
    ("DELETE", "/v1/responses/{id}", Write, Message),
    ("POST", "/v1/responses/{id}/cancel", Write, Message),
    ("GET", "/v1/responses/{id}/input_items", Read, Message),
    ("POST", "/v1/threads", Write, None),
    ("POST", "/v1/threads/runs", Write, None),
    ("GET", "/v1/threads/{thread_id}", Read, Chat),
    ("POST", "/v1/threads/{thread_id}", Write, Chat),
    ("DELETE", "/v1/threads/{thread_id}", Write, Chat),
    ("GET", "/v1/threads/{thread_id}/messages", Read, Chat),
    ("POST", "/v1/threads/{thread_id}/messages", Write, Chat),
    (
        "GET",
        "/v1/threads/{thread_id}/messages/{message_id}",
        Read,
        Chat,
    ),
    (
        "DELETE",
        "/v1/threads/{thread_id}/messages/{message_id}",
        Write,
        Chat,
    ),
    ("GET", "/v1/threads/{thread_id}/runs", Read, Chat),
    ("POST", "/v1/threads/{thread_id}/runs", Write, Chat),
    ("GET", "/v1/threads/{thread_id}/runs/{run_id}", Read, Chat),
    ("POST", "/v1/threads/{thread_id}/runs/{run_id}", Write, Chat),
    (
        "POST",
        "/v1/threads/{thread_id}/runs/{run_id}/cancel",
        Write,
        Chat,
    ),
    (
        "GET",
        "/v1/threads/{thread_id}/runs/{run_id}/steps",
        Read,
        Chat,
    ),
    (
        "GET",
        "/v1/threads/{thread_id}/runs/{run_id}/steps/{step_id}",
        Read,
        Chat,
    ),
    (
        "POST",
        "/v1/threads/{thread_id}/runs/{run_id}/submit_tool_outputs",
        Write,
        Chat,
    ),
];

/// One line of the table.
#[derive(Clone, Debug)]
struct Row {
    method: Method,
    path: &'static str,
    needs: Needs,
    thing: Thing,
}

fn rows() -> Vec<Row> {
    let row = |(method, path, needs, thing): (&str, &'static str, Needs, Thing)| Row {
        method: method.parse().unwrap(),
        path,
        needs,
        thing,
    };
    ROWS.into_iter().map(row).collect()
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Who {
    Nobody,
    Anonymous,
    Reader,
    Writer,
    AdminToken,
    /// A browser that has signed in with a token that only reads.
    SignedInReader,
    JwtUser,
    JwtAdmin,
    GatewayUser,
    GatewayAdmin,
    Local,
    Disabled,
    Revoked,
}

impl Who {
    fn scope(self) -> Scope {
        match self {
            Self::Reader | Self::SignedInReader => Scope::Read,
            Self::AdminToken | Self::JwtAdmin | Self::GatewayAdmin | Self::Local => Scope::Admin,
            _ => Scope::Write,
        }
    }
}

/// Whose the thing is, and whether it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Relation {
    Own,
    /// Own, and deleted, revoked or ended.
    OwnGone,
    /// Somebody else's, and none of the caller's business. A link to it has been revoked.
    Foreign,
    /// Somebody else's, to which there is a link.
    Linked,
    ForeignGone,
    Missing,
}

const RELATIONS: [Relation; 6] = [
    Relation::Own,
    Relation::OwnGone,
    Relation::Foreign,
    Relation::Linked,
    Relation::ForeignGone,
    Relation::Missing,
];

impl Relation {
    fn is_gone(self) -> bool {
        matches!(self, Self::OwnGone | Self::ForeignGone)
    }

    fn is_own(self) -> bool {
        matches!(self, Self::Own | Self::OwnGone)
    }
}

/// What comes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// Done, or in the way is what the thing is, not who asks.
    Allowed,
    SignInNeeded,
    Disabled,
    ScopeNeeded,
    AdminNeeded,
    /// Nobody reads that.
    Private,
    NotFound,
    /// What no cell of the table is.
    Other(u16),
}

/// The rule of the whole table.
fn expected(row: &Row, who: Who, relation: Relation) -> Outcome {
    let is_known_by_now = match (row.needs, who) {
        (Nobody | Secret, _) => Allowed,
        (_, Who::Nobody | Who::Revoked) => SignInNeeded,
        (_, Who::Disabled) => Disabled,
        (needs, _) if needs != Read && !row.method.is_safe() && who.scope() < Scope::Write => {
            ScopeNeeded
        }
        (Admin | Inspect, _) if who.scope() < Scope::Admin => AdminNeeded,
        (Inspect, _) => Private,
        _ => Allowed,
    };
    if is_known_by_now != Allowed {
        return is_known_by_now;
    }
    match (row.thing, relation) {
        (User | DoomedUser, relation) if relation != Relation::Missing => Allowed,
        (DeletedChat, Relation::Own) => NotFound,
        // With its owner a link is locked out.
        (Link, Relation::Own) if who == Who::Disabled => NotFound,
        // A link that is revoked may be revoked again.
        (None | Myself, _)
        | (Link, Relation::Linked)
        | (DeletedChat | Share, Relation::OwnGone)
        | (_, Relation::Own) => Allowed,
        _ => NotFound,
    }
}

fn outcome(answer: &Answer) -> Outcome {
    let kind = || {
        let body = answer.json();
        // As it is told under `/v1`.
        let code = body["error"]["code"].as_str();
        let code = code.map(|code| format!("/problems/{}", code.replace('_', "-")));
        code.unwrap_or_else(|| body["type"].as_str().unwrap().to_owned())
    };
    match answer.status.as_u16() {
        200..=399 | 409 => Allowed,
        // In the way is that there are none.
        400 if answer.json()["error"]["code"] == "no_tools" => Allowed,
        401 => SignInNeeded,
        403 => match kind().as_str() {
            "/problems/user-disabled" => Disabled,
            "/problems/scope-needed" => ScopeNeeded,
            "/problems/admin-needed" => AdminNeeded,
            "/problems/chats-are-private" => Private,
            _ => Outcome::Other(403),
        },
        404 => NotFound,
        status => Outcome::Other(status),
    }
}

/// What somebody's chats say, which nobody else is to read but by a link.
fn word(person: &Person) -> String {
    format!("quixword-{}", person.uuid)
}

const NO_LIMITS: [(&str, &str); 6] = [
    ("limits.polls_per_minute", "0"),
    ("limits.changes_per_minute", "0"),
    ("limits.unknown_per_minute", "0"),
    ("auth.anonymous_tier", ""),
    ("auth.proxy.admin_group", "ops"),
    ("worker.repair_interval_ms", "600000"),
];

/// Somebody, and how they make what is theirs, which they may not do any more.
#[derive(Clone)]
struct Person {
    me: As,
    maker: As,
    uuid: Uuid,
}

/// The ids in a path.
#[derive(Clone)]
struct Target {
    uuid: String,
    last: String,
    /// Of a chat: what was asked in it.
    run: String,
    secret: String,
}

impl Target {
    fn missing() -> Self {
        Self {
            uuid: Uuid::now_v7().to_string(),
            last: Uuid::now_v7().to_string(),
            run: Uuid::now_v7().to_string(),
            secret: format!("pls_{:064x}", Uuid::now_v7().as_u128()),
        }
    }

    fn of(uuid: &impl ToString) -> Self {
        Self {
            uuid: uuid.to_string(),
            ..Self::missing()
        }
    }

    fn path(&self, route: &str) -> String {
        let alias = "tutor";
        [
            ("{uuid}", self.uuid.as_str()),
            ("{last_uuid}", &self.last),
            ("{secret}", &self.secret),
            ("{alias}", alias),
            ("{id}", &self.uuid),
            ("{thread_id}", &self.uuid),
            ("{message_id}", &self.last),
            ("{run_id}", &self.run),
            ("{step_id}", &self.run),
            ("{model}", "scripted-model"),
            ("{position}", "0"),
            ("{number}", "1"),
            ("{file}", "pollen.css"),
            ("{slug}", "chat-not-found"),
        ]
        .iter()
        .fold(route.to_owned(), |path, (name, value)| {
            path.replace(name, value)
        })
    }
}

/// A server, and who comes to it.
struct World {
    app: TestApp,
    db: DatabaseConnection,
    numbers: std::sync::atomic::AtomicUsize,
    victim: Person,
    /// A token that anybody may sign in with.
    guest: String,
    /// What is the victim's.
    theirs: HashMap<(Thing, Relation), Target>,
    wrong: Vec<String>,
}

impl World {
    async fn start(kind: Kind, modes: &str) -> Self {
        let mut settings = ALL_WAYS.to_vec();
        settings.extend(NO_LIMITS);
        settings.push(("auth.modes", modes));
        // With a gateway before it a server is asked to say that others are meant to be its local user.
        settings.push(("auth.local_hosts", "localhost"));
        let app = TestApp::start_with(kind, Upstream::echo().await, &settings).await;
        let db = app.database.connect().await;
        let me = As::bearer(&token(&app, "victim", Scope::Write).await);
        let mut world = Self {
            victim: Person {
                uuid: uuid_of(&me, &app).await,
                maker: me.clone(),
                me,
            },
            guest: token(&app, "guest", Scope::Read).await,
            app,
            db,
            numbers: std::sync::atomic::AtomicUsize::new(0),
            theirs: HashMap::new(),
            wrong: Vec::new(),
        };
        let victim = world.victim.clone();
        for thing in [
            Chat,
            Archive,
            DeletedChat,
            Message,
            Share,
            Link,
            Token,
            Session,
            User,
        ] {
            for relation in [Relation::Foreign, Relation::Linked, Relation::ForeignGone] {
                let target = world.make(thing, &victim, relation, true).await;
                world.theirs.insert((thing, relation), target);
            }
        }
        world
    }

    /// Somebody of this kind who was not here before.
    async fn come(&self, who: Who) -> Person {
        let number = self
            .numbers
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let (app, name) = (&self.app, format!("{who:?}-{number}"));
        let claims = |is_admin: bool| json!({"sub": name, "exp": at(600), "is_admin": is_admin});
        let maker = match who {
            Who::Nobody => self.victim.me.clone(),
            Who::Anonymous => {
                let first = As::nobody().get(app, "/chats").await.expect(200);
                As::cookie(&cookie_of(&first).unwrap())
            }
            Who::Reader | Who::SignedInReader | Who::Writer | Who::Disabled | Who::Revoked => {
                As::bearer(&token(app, &name, Scope::Write).await)
            }
            Who::AdminToken => As::bearer(&token(app, &name, Scope::Admin).await),
            Who::JwtUser | Who::JwtAdmin => {
                As::bearer(&jwt(&claims(who == Who::JwtAdmin), JWT_SECRET))
            }
            Who::GatewayUser => As::vouched(&name),
            Who::GatewayAdmin => {
                let mut ops = As::vouched(&name);
                let groups = ("x-forwarded-groups".to_owned(), "staff,ops".to_owned());
                ops.0.push(groups);
                ops
            }
            Who::Local => As::nobody(),
        };
        if who == Who::Anonymous {
            maker.chat(app).await;
        }
        let me = match who {
            Who::Nobody => As::nobody(),
            Who::Reader => As::bearer(&token(app, &name, Scope::Read).await),
            Who::SignedInReader => {
                let secret = token(app, &name, Scope::Read).await;
                let body = json!({"token": secret});
                let signed_in = As::nobody().post(app, "/sign-in", &body).await.expect(204);
                As::cookie(&cookie_of(&signed_in).unwrap())
            }
            Who::Revoked => As::bearer(&token(app, &name, Scope::Write).await),
            _ => maker.clone(),
        };
        Person {
            uuid: uuid_of(&maker, app).await,
            me,
            maker,
        }
    }

    /// What is to be true of somebody once they have what is theirs.
    async fn fall(&self, who: Who, person: &Person) {
        match who {
            Who::Disabled => {
                let change = user::ActiveModel {
                    id: Set(OwnerId(person.uuid)),
                    disabled_at: Set(Some(Timestamp(1))),
                    ..Default::default()
                };
                user::Entity::update(change).exec(&self.db).await.unwrap();
            }
            // The newest of theirs is the one that they come with.
            Who::Revoked => {
                let tokens = person.maker.get(&self.app, "/tokens").await.json();
                let uuid = tokens["tokens"][0]["uuid"].as_str().unwrap().to_owned();
                let path = format!("/token/{uuid}");
                person.maker.delete(&self.app, &path).await.expect(204);
            }
            _ => {}
        }
    }

    /// A new thing of this person's. `whole`: with a message in it and its answer.
    async fn make(&self, thing: Thing, person: &Person, relation: Relation, whole: bool) -> Target {
        let (app, maker, gone) = (&self.app, &person.maker, relation.is_gone());
        if matches!(thing, None | Myself) || relation == Relation::Missing {
            return Target::missing();
        }
        if thing == Archive {
            // Gone is one that is not there, for there is no second one.
            if gone {
                return Target::missing();
            }
            let made = maker.post(app, "/chats/export", &json!({})).await;
            return Target::of(&made.json()["uuid"].as_str().unwrap());
        }
        if thing == User {
            return Target::of(&person.uuid);
        }
        if thing == DoomedUser {
            return Target::of(&self.come(Who::Writer).await.uuid);
        }
        if matches!(thing, Token | Session) {
            return Target::of(&self.plant(thing, OwnerId(person.uuid), gone).await);
        }
        let whole = whole || matches!(thing, Message | Link);
        let body = if whole {
            json!({"title": word(person), "message": word(person)})
        } else {
            json!({"title": word(person)})
        };
        let made = maker.post(app, "/chat/create", &body).await.expect(201);
        let made = made.json();
        let mut target = Target::of(&made["uuid"].as_str().unwrap());
        let chat = target.uuid.clone();
        if whole {
            target.last = self.answer_in(maker, &chat).await;
            made["request_uuid"]
                .as_str()
                .unwrap()
                .clone_into(&mut target.run);
        }
        let shares = format!("/chat/{chat}/shares");
        let is_shared = matches!(thing, Share | Link) || relation == Relation::Linked;
        let mut share = String::new();
        if is_shared {
            let made = maker.post(app, &shares, &json!({})).await.expect(201);
            let (url, uuid) = (made.json()["url"].clone(), made.json()["uuid"].clone());
            let (_, secret) = url.as_str().unwrap().rsplit_once('/').unwrap();
            (target.secret, share) = (secret.to_owned(), uuid.as_str().unwrap().to_owned());
        }
        let is_revoked = match thing {
            Share => gone,
            Link => relation == Relation::Foreign,
            _ => false,
        };
        if is_revoked {
            maker
                .delete(app, &format!("/share/{share}"))
                .await
                .expect(204);
        }
        match thing {
            Share => target.uuid = share,
            Message | Link => target.uuid.clone_from(&target.last),
            _ => {}
        }
        // Of a message of one's own it is the message that is gone, of others' the whole chat.
        let delete = match (thing, relation) {
            (Message, Relation::OwnGone) => Some(format!("/chat/message/{}", target.uuid)),
            (Share, _) => Option::None,
            _ if gone => Some(format!("/chat/{chat}")),
            _ => Option::None,
        };
        if let Some(path) = delete {
            maker.delete(app, &path).await.expect(204);
        }
        target
    }

    async fn answer_in(&self, maker: &As, chat: &str) -> String {
        let path = format!("/chat/{chat}/messages");
        eventually("the answer has come", async || {
            let read = maker.get(&self.app, &path).await.json();
            let answer = read["messages"].get(1)?;
            (answer["status"] == "completed").then(|| answer["uuid"].as_str().unwrap().to_owned())
        })
        .await
    }

    /// A token or a session that nobody comes with.
    async fn plant(&self, thing: Thing, user_id: OwnerId, gone: bool) -> Uuid {
        let now = Timestamp(at(0) * 1_000);
        let ended = gone.then_some(Timestamp(1));
        if thing == Token {
            let row = api_token::Model {
                id: TokenId::generate(),
                user_id,
                name: "planted".into(),
                head: "pln_0".into(),
                hash: Uuid::now_v7().to_string(),
                scope: Scope::Read,
                made_with: Option::None,
                created_at: Timestamp(1),
                expires_at: Option::None,
                revoked_at: ended,
                used_at: Option::None,
            };
            let id = row.id.0;
            let row = api_token::Entity::insert(row.into_active_model());
            row.exec_without_returning(&self.db).await.unwrap();
            return id;
        }
        let row = session::Model {
            id: SessionId::generate(),
            user_id,
            token_id: Option::None,
            browser: "planted".into(),
            created_at: now,
            seen_at: now,
            ends_at: Option::None,
            ended_at: ended,
        };
        let id = row.id.0;
        let row = session::Entity::insert(row.into_active_model());
        row.exec_without_returning(&self.db).await.unwrap();
        id
    }

    /// All that the victim sees of what is theirs.
    async fn all_of_the_victim(&self) -> String {
        let mut all = String::new();
        let mut paths = vec![
            "/me".to_owned(),
            "/tokens".into(),
            "/sessions".into(),
            "/chats".into(),
        ];
        for ((thing, relation), target) in &self.theirs {
            if !relation.is_gone() {
                match thing {
                    Chat | DeletedChat => {
                        for rest in ["", "/messages", "/shares"] {
                            paths.push(format!("/chat/{}{rest}", target.uuid));
                        }
                    }
                    Message => {
                        paths.push(format!("/chat/message/{}", target.uuid));
                        paths.push(format!("/chat/message/{}/versions", target.uuid));
                    }
                    _ => {}
                }
            }
        }
        paths.sort();
        for path in paths {
            let read = self.victim.me.get(&self.app, &path).await.expect(200);
            let mut read = read.json();
            without_times_seen(&mut read);
            writeln!(all, "{path} {read}").unwrap();
        }
        all
    }

    /// One caller and one route: all the cells.
    async fn check(&mut self, row: &Row, who: Who, person: &Person, own: &Own) {
        let relations = match row.thing {
            None | Myself => &RELATIONS[..1],
            _ => &RELATIONS[..],
        };
        // What is said of what is not there, by the form of the answer.
        let mut missing = HashMap::new();
        for relation in relations {
            let person = if row.thing == Myself {
                let other = self.come(who).await;
                self.fall(who, &other).await;
                other
            } else {
                person.clone()
            };
            let wanted = expected(row, who, *relation);
            let target = self.target(row, *relation, &person, wanted, own).await;
            let path = target.path(row.path);
            let body = body(row, &self.guest);
            let (app, me) = (&self.app, &person.me);
            let answer = me.ask(app, row.method.clone(), &path, &body).await;
            let got = outcome(&answer);
            let cell = format!("{} {} · {who:?} · {relation:?}", row.method, row.path);
            let mut complaints = Vec::new();
            if got != wanted {
                let text = answer.text.chars().take(300).collect::<String>();
                complaints.push(format!("{cell}: {got:?} instead of {wanted:?}: {text}"));
            }
            let is_own = relation.is_own() && row.thing != None;
            let is_shown = row.thing == Link && *relation == Relation::Linked;
            let is_others = !is_own && !is_shown && who != Who::Local;
            if is_others && answer.text.contains(&word(&self.victim)) {
                complaints.push(format!("{cell}: it tells what is the victim's"));
            }
            if wanted == NotFound && *relation != Relation::Missing {
                // In JSON everywhere, in HTML where it is somebody else's.
                let is_there = matches!(relation, Relation::Foreign | Relation::Linked);
                let forms = if is_there { &FORMS[..] } else { &FORMS[..1] };
                for (number, form) in forms.iter().enumerate() {
                    let ask = async |target: &Target| {
                        let mut me = me.clone();
                        let headers = form.iter();
                        let headers = headers.map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
                        me.0.extend(headers);
                        let path = target.path(row.path);
                        told(&me.ask(app, row.method.clone(), &path, &body).await)
                    };
                    let one = if number == 0 {
                        told(&answer)
                    } else {
                        ask(&target).await
                    };
                    let other: &String = match missing.entry(number) {
                        Entry::Occupied(told) => told.into_mut(),
                        Entry::Vacant(none) => none.insert(ask(&Target::missing()).await),
                    };
                    if one != *other {
                        complaints.push(format!(
                            "{cell}: {one}\nis not what is said of one that is missing: {other}"
                        ));
                    }
                }
            }
            self.wrong.extend(complaints);
        }
    }

    /// What is asked for: what may be changed is new each time.
    async fn target(
        &self,
        row: &Row,
        relation: Relation,
        person: &Person,
        wanted: Outcome,
        own: &Own,
    ) -> Target {
        let key = (row.thing, relation);
        if let Some(theirs) = self.theirs.get(&key) {
            return theirs.clone();
        }
        if relation == Relation::Missing || matches!(row.thing, None | Myself) {
            return Target::missing();
        }
        // An archive may have been begun anew since it was made.
        let is_replaced = row.thing == Archive && relation == Relation::Own;
        if wanted == Allowed && (is_replaced || !row.method.is_safe()) {
            let of_message = ["{message_id}", "{run_id}"];
            let whole = of_message.iter().any(|name| row.path.contains(name));
            return self.make(row.thing, person, relation, whole).await;
        }
        own.get(&key).cloned().unwrap_or_else(Target::missing)
    }

    /// The whole table for these callers.
    async fn check_all(&mut self, callers: &[Who]) {
        for who in callers {
            let person = self.come(*who).await;
            let mut own = Own::new();
            for thing in [
                Chat,
                Archive,
                DeletedChat,
                Message,
                Share,
                Link,
                Token,
                Session,
                User,
            ] {
                for relation in [Relation::Own, Relation::OwnGone] {
                    let target = self.make(thing, &person, relation, true).await;
                    own.insert((thing, relation), target);
                }
            }
            self.fall(*who, &person).await;
            let before = self.all_of_the_victim().await;
            let mut rows = rows();
            // Last of all what has an end.
            rows.sort_by_key(|row| row.thing == Myself);
            for row in &rows {
                self.check(row, *who, &person, &own).await;
            }
            let after = self.all_of_the_victim().await;
            if *who != Who::Nobody && after != before {
                self.wrong.push(format!(
                    "{who:?}: what is the victim's has changed from\n{before}\nto\n{after}"
                ));
                return;
            }
        }
    }

    async fn end(self) -> Vec<String> {
        self.db.close().await.unwrap();
        self.app.stop().await;
        self.wrong
    }
}

type Own = HashMap<(Thing, Relation), Target>;

/// The other forms of an answer.
const FORMS: [&[(&str, &str)]; 3] = [
    &[],
    &[("accept", "text/html")],
    &[("accept", "text/html"), ("hx-request", "true")],
];

/// The same for all UUIDs.
fn without_ids(text: &str) -> String {
    let (mut told, mut rest) = (String::new(), text);
    while let Some(next) = rest.chars().next() {
        let id = rest.get(..36).filter(|id| Uuid::try_parse(id).is_ok());
        let taken = id.map_or(next.len_utf8(), str::len);
        told.push_str(if id.is_some() {
            "[uuid]"
        } else {
            &rest[..taken]
        });
        rest = &rest[taken..];
    }
    told
}

/// The same whenever somebody was seen.
fn without_times_seen(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, _| !["used_at", "seen_at"].contains(&name.as_str()));
            fields.values_mut().for_each(without_times_seen);
        }
        Value::Array(values) => values.iter_mut().for_each(without_times_seen),
        _ => {}
    }
}

/// All that an answer tells, but for ids.
fn told(answer: &Answer) -> String {
    let headers: Vec<_> = ["content-type", "cache-control", "set-cookie", "location"]
        .map(|name| answer.header(name))
        .into();
    let text = without_ids(&answer.text);
    format!("{} {headers:?} {text}", answer.status)
}

async fn uuid_of(person: &As, app: &TestApp) -> Uuid {
    let me = person.get(app, "/me").await.expect(200).json();
    me["uuid"].as_str().unwrap().parse().unwrap()
}

/// A body that the route takes.
fn body(row: &Row, guest: &str) -> Value {
    match row.path {
        "/chat/{uuid}/send" | "/chat/message/{uuid}/edit" => json!({"message": "more"}),
        "/chat/message/{uuid}" if row.method == Method::PUT => json!({"message": "more"}),
        "/chat/{uuid}" if row.method == Method::PATCH => json!({"title": "other"}),
        "/chat/{uuid}/rename" => json!({"title": "other"}),
        "/chat/message/{uuid}/reaction" if row.method != Method::DELETE => {
            json!({"reaction": "like"})
        }
        "/chats/import" => {
            let time = "2026-11-21T09:30:00.250Z";
            json!({"schema": "/schemas/chat-export-1.json", "version": 1, "uuid": Uuid::now_v7(), "title": "Imported",
                "created_at": time, "updated_at": time, "messages": []})
        }
        "/v1/responses" => json!({"input": "more", "background": true}),
        "/v1/threads/{thread_id}/messages" => json!({"role": "user", "content": "more"}),
        "/v1/threads/{thread_id}/runs" => {
            let more = json!({"role": "user", "content": "more"});
            json!({"assistant_id": "tutor", "additional_messages": [more]})
        }
        "/v1/threads/runs" => {
            let more = json!({"role": "user", "content": "more"});
            json!({"assistant_id": "tutor", "thread": {"messages": [more]}})
        }
        "/v1/chat/completions" => json!({"messages": [{"role": "user", "content": "more"}]}),
        "/tokens" => json!({"name": "made", "scope": "read"}),
        "/admin/user/{uuid}" => json!({"tier": ""}),
        "/me/delete" | "/admin/user/{uuid}/delete" => json!({"confirm": "delete"}),
        "/sign-in" => json!({"token": guest}),
        "/theme" => json!({"theme": "dark"}),
        _ => json!({}),
    }
}

#[test]
fn each_route_has_a_row_and_each_row_a_route() {
    let routes = surface().into_iter().chain(UNDOCUMENTED);
    let routes: BTreeSet<_> = routes
        .map(|(method, path)| format!("{method} {path}"))
        .collect();
    let rows = ROWS.map(|(method, path, ..)| format!("{method} {path}"));
    let known: BTreeSet<_> = rows.iter().cloned().collect();
    let lacking: Vec<_> = routes.difference(&known).collect();
    let spare: Vec<_> = known.difference(&routes).collect();
    assert!(
        lacking.is_empty() && spare.is_empty(),
        "without a row: {lacking:#?}; without a route: {spare:#?}"
    );
    assert_eq!(known.len(), rows.len(), "a row is there twice");
}

fn assert_right(wrong: &[String]) {
    assert!(
        wrong.is_empty(),
        "{} cells are wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

on_both_databases! {
    async fn whoever_comes_does_what_the_table_says(kind: Kind) {
        let mut world = World::start(kind, "token,jwt,proxy,anonymous").await;
        // To the database all ways to come in are the same.
        let all: &[Who] = if kind == Kind::Postgres { &[Who::Anonymous, Who::Reader, Who::AdminToken] } else { &[
            Who::Anonymous, Who::Reader, Who::SignedInReader, Who::Writer, Who::AdminToken, Who::JwtUser,
            Who::JwtAdmin, Who::GatewayUser, Who::GatewayAdmin, Who::Disabled, Who::Revoked,
        ] };
        world.check_all(all).await;
        assert_right(&world.end().await);
    }

    async fn nobody_gets_in_but_by_a_link(kind: Kind) {
        let mut world = World::start(kind, "token,jwt,proxy").await;
        world.check_all(&[Who::Nobody]).await;
        assert_right(&world.end().await);
    }

    async fn the_local_user_does_all_but_with_what_is_others(kind: Kind) {
        let mut world = World::start(kind, "local,token").await;
        world.check_all(&[Who::Local]).await;
        assert_right(&world.end().await);
    }
}
