//! What the tests speak through.

pub mod app;
pub mod browser;
pub mod client;
pub mod database;
pub mod ports;
pub mod postgres;
pub mod process;
pub mod proxy;
pub mod redis;
pub mod remote;
pub mod terminal;
pub mod upstream;

pub use self::redis::Redis;
pub use app::{Answer, TestApp};
pub use client::{Reader, http_client, masked};
pub use database::Database;
pub use process::Server;
pub use remote::Remote;
pub use terminal::Terminal;
pub use upstream::{Script, Upstream};

/// Runs each test on SQLite and on PostgreSQL. The body gets the database's kind and builds its
/// own server with it.
macro_rules! on_both_databases {
    ($($(#[$meta:meta])* async fn $name:ident($kind:ident: Kind) $body:block)*) => {$(
        $(#[$meta])*
        async fn $name($kind: $crate::support::database::Kind) $body

        mod $name {
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                super::$name($crate::support::database::Kind::Sqlite).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                super::$name($crate::support::database::Kind::Postgres).await;
            }
        }
    )*};
}
