//! Somebody who asks: each way to come in, with what it takes.

use std::time::{SystemTime, UNIX_EPOCH};

use entity::api_token::Scope;
use jsonwebtoken::{EncodingKey, Header, encode};
use pollen::app::open_access;
use pollen::identity::NewToken;
use pollen::store::{Actor, UserChange};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, TestApp};

/// What JSON Web Tokens of these tests are signed with.
pub const JWT_SECRET: &str = "a-secret-of-forty-characters-for-the-tests";
/// What cookies are signed with, on all nodes.
pub const COOKIE_SECRET: &str = "another-secret-of-forty-characters-or-more";

/// All ways to come in but the local one, with a gateway on this machine.
pub const ALL_WAYS: [(&str, &str); 6] = [
    ("auth.modes", "token,jwt,proxy,anonymous"),
    ("auth.secret", COOKIE_SECRET),
    ("auth.jwt.secret", JWT_SECRET),
    ("auth.jwt.admin_claim", "is_admin"),
    ("auth.recheck_ms", "0"),
    ("trusted_proxies", "127.0.0.1"),
];

/// Headers that make somebody somebody.
#[derive(Clone, Debug, Default)]
pub struct As(pub Vec<(String, String)>);

impl As {
    pub fn nobody() -> Self {
        Self::default()
    }

    pub fn bearer(token: &str) -> Self {
        Self(vec![(
            "authorization".to_owned(),
            format!("Bearer {token}"),
        )])
    }

    pub fn cookie(cookie: &str) -> Self {
        Self(vec![("cookie".to_owned(), cookie.to_owned())])
    }

    pub fn vouched(user: &str) -> Self {
        Self(vec![("x-forwarded-user".to_owned(), user.to_owned())])
    }

    pub async fn ask(&self, app: &TestApp, method: Method, path: &str, body: &Value) -> Answer {
        app.request(method.clone(), path, |mut request| {
            for (name, value) in &self.0 {
                request = request.header(name, value);
            }
            if method == Method::GET {
                request
            } else {
                request.json(body)
            }
        })
        .await
    }

    pub async fn get(&self, app: &TestApp, path: &str) -> Answer {
        self.ask(app, Method::GET, path, &Value::Null).await
    }

    pub async fn post(&self, app: &TestApp, path: &str, body: &Value) -> Answer {
        self.ask(app, Method::POST, path, body).await
    }

    pub async fn delete(&self, app: &TestApp, path: &str) -> Answer {
        self.ask(app, Method::DELETE, path, &json!({})).await
    }

    /// A chat of theirs; its UUID.
    pub async fn chat(&self, app: &TestApp) -> String {
        let chat = self.post(app, "/chat/create", &json!({})).await;
        chat.expect(201).json()["uuid"].as_str().unwrap().to_owned()
    }
}

/// A token of a user's, made as the command line does.
pub async fn token(app: &TestApp, user: &str, scope: Scope) -> String {
    let (access, actor) = (open_access(&app.config()).await.unwrap(), &Actor::default());
    let user = access.identity.find_or_make_user(user).await.unwrap();
    if scope == Scope::Admin {
        let change = UserChange {
            is_admin: Some(true),
            ..UserChange::default()
        };
        let changed = access.identity.change_user(&user, change, actor);
        changed.await.unwrap();
    }
    let new = NewToken {
        name: "test".to_owned(),
        scope,
        lifetime: None,
    };
    let made = access.identity.make_token(user.id, new, None, actor);
    let secret = made.await.unwrap().secret;
    access.store.close().await.unwrap();
    secret
}

/// Now, in seconds, moved by as many.
pub fn at(seconds: i64) -> i64 {
    #[expect(
        clippy::disallowed_methods,
        reason = "a token's times are those of the machine"
    )]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(now.as_secs()).unwrap() + seconds
}

/// A JSON Web Token with these claims, signed by a secret.
pub fn jwt(claims: &Value, secret: &str) -> String {
    let key = EncodingKey::from_secret(secret.as_bytes());
    encode(&Header::default(), claims, &key).unwrap()
}

/// The cookie that an answer sets, as a browser would send it back.
pub fn cookie_of(answer: &Answer) -> Option<String> {
    let set = answer.headers.get_all("set-cookie").iter();
    let set = set.filter_map(|value| value.to_str().ok());
    let ours = set
        .into_iter()
        .find(|text| text.contains("pollen_session="))?;
    Some(ours.split(';').next().unwrap().to_owned())
}
