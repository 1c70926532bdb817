//! The one connection to Redis, over which all commands of this node go at once.
//!
//! Redis may be away, and no answer is to wait for that: a command takes `timeout` at most, and
//! for a while after one has failed the others are refused at once. Then one of them tries
//! whether it is back, while the rest do not wait for that either. A connection over which a
//! command was not answered in time is given up, for it may be to a machine that is no more.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, Cmd, FromRedisValue, IntoConnectionInfo, RedisResult, Value,
};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;
use url::Url;

use super::faults::Faults;
use super::{CacheError, OpenError};

/// For how long Redis is left alone after a command has failed.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(1);
/// A server that is full refuses every answer: of that the log tells no more often than this.
const REFUSALS_TOLD_EVERY: Duration = Duration::from_mins(1);

/// The way to Redis.
pub struct Line {
    client: Client,
    timeout: Duration,
    state: Mutex<State>,
    /// Whose turn it is to connect.
    connecting: tokio::sync::Mutex<()>,
    faults: Arc<Faults>,
}

#[derive(Default)]
struct State {
    connection: Option<Connection>,
    /// Connections made so far.
    made: u64,
    /// When Redis was last found to be away, or to be tried again. None: it is there.
    away_since: Option<Instant>,
    refusal_told: Option<Instant>,
}

#[derive(Clone)]
struct Connection {
    number: u64,
    handle: MultiplexedConnection,
}

impl Line {
    pub(super) fn new(
        url: &SecretString,
        timeout: Duration,
        faults: Arc<Faults>,
    ) -> Result<Self, OpenError> {
        Ok(Self {
            client: client(url.expose_secret())?,
            timeout,
            state: Mutex::default(),
            connecting: tokio::sync::Mutex::default(),
            faults,
        })
    }

    /// What Redis answers. A command must bear being sent twice: a connection may turn out to have
    /// been closed before or after the command was read.
    ///
    /// # Errors
    /// If it does not, or not in time.
    pub async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, CacheError> {
        let read = self.ask_in_time(command).await.and_then(|value| {
            // What it was instead is part of the library's error, and may be of an answer.
            T::from_redis_value(value).map_err(|_| CacheError::Unreadable)
        });
        if read.is_err() {
            self.faults.add();
        }
        read
    }

    async fn ask_in_time(&self, command: &Cmd) -> Result<Value, CacheError> {
        self.admit()?;
        let mut used = None;
        let asked = tokio::time::timeout(self.timeout, self.try_ask(command, &mut used)).await;
        let answer = asked.unwrap_or(Err(CacheError::Timeout(self.timeout)));
        match &answer {
            Ok(_) => self.note_answer(used),
            Err(error @ CacheError::Refused(_)) => {
                self.note_answer(used);
                self.note_refusal(error);
            }
            Err(error) => self.note_failure(used, error),
        }
        answer
    }

    /// Whether it makes sense to ask. Of those who come after the pause the first may, and the
    /// pause begins again for the others.
    fn admit(&self) -> Result<(), CacheError> {
        let mut state = self.lock();
        if let Some(since) = state.away_since {
            if since.elapsed() < PAUSE_AFTER_FAILURE {
                return Err(CacheError::still_away());
            }
            state.away_since = Some(Instant::now());
        }
        Ok(())
    }

    /// `used`: the number of the connection that this waits for an answer over, also when it is
    /// dropped while it waits.
    async fn try_ask(&self, command: &Cmd, used: &mut Option<u64>) -> Result<Value, CacheError> {
        let known = self.lock().connection.clone();
        if let Some(connection) = known {
            *used = Some(connection.number);
            match send(command, connection.handle).await {
                // Closed by a server that has been started anew, or tired of a silent client. That
                // is no failure yet.
                Err(error) if error.is_connection_dropped() => self.give_up(connection.number),
                answer => return answer.map_err(|error| CacheError::of_command(&error)),
            }
            *used = None;
        }
        let connection = self.connect().await?;
        *used = Some(connection.number);
        let answer = send(command, connection.handle).await;
        answer.map_err(|error| CacheError::of_command(&error))
    }

    /// The connection, made if there is none.
    async fn connect(&self) -> Result<Connection, CacheError> {
        let asked = Instant::now();
        // Whoever comes while it is being made waits for that.
        let _turn = self.connecting.lock().await;
        {
            let state = self.lock();
            if let Some(connection) = &state.connection {
                return Ok(connection.clone());
            }
            if state.away_since.is_some_and(|since| since > asked) {
                return Err(CacheError::still_away());
            }
        }
        // The limit on the whole command stands over both.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None);
        let made = self
            .client
            .get_multiplexed_async_connection_with_config(&config)
            .await;
        match made {
            Ok(handle) => Ok(self.keep(handle)),
            Err(error) => {
                let error = CacheError::of_connecting(&error);
                // Noted before the next has its turn.
                self.note_failure(None, &error);
                Err(error)
            }
        }
    }

    fn keep(&self, handle: MultiplexedConnection) -> Connection {
        let mut state = self.lock();
        state.made += 1;
        let number = state.made;
        let connection = Connection { number, handle };
        state.connection = Some(connection.clone());
        connection
    }

    fn give_up(&self, number: u64) {
        let mut state = self.lock();
        if state.uses(number) {
            state.connection = None;
        }
    }

    /// An answer over a connection that has been given up says nothing about now.
    fn note_answer(&self, used: Option<u64>) {
        let mut state = self.lock();
        let is_current = used.is_some_and(|number| state.uses(number));
        if is_current && state.away_since.take().is_some() {
            drop(state);
            tracing::info!("Redis is back: answers are cached and limits shared again");
        }
    }

    /// Nor does a failure over one that another has taken the place of.
    fn note_failure(&self, used: Option<u64>, error: &CacheError) {
        let mut state = self.lock();
        if let (Some(number), Some(_)) = (used, &state.connection)
            && !state.uses(number)
        {
            return;
        }
        state.connection = None;
        let was_away = state.away_since.replace(Instant::now()).is_some();
        drop(state);
        if !was_away {
            tracing::warn!(%error, "until Redis is back no answers are cached, and limits are each node's own");
        }
    }

    fn note_refusal(&self, error: &CacheError) {
        let mut state = self.lock();
        let is_told = state
            .refusal_told
            .is_some_and(|at| at.elapsed() < REFUSALS_TOLD_EVERY);
        if !is_told {
            state.refusal_told = Some(Instant::now());
            drop(state);
            tracing::warn!(%error, "Redis does not work as it should");
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn uses(&self, number: u64) -> bool {
        self.connection
            .as_ref()
            .is_some_and(|connection| connection.number == number)
    }
}

async fn send(command: &Cmd, mut connection: MultiplexedConnection) -> RedisResult<Value> {
    command.query_async(&mut connection).await
}

/// The library's own complaints may quote the URL, and so its password: none of them is repeated.
fn client(url: &str) -> Result<Client, OpenError> {
    let url = Url::parse(url).map_err(OpenError::Unreadable)?;
    redis::parse_redis_url(url.as_str()).ok_or(OpenError::Scheme)?;
    if url.fragment().is_some() {
        return Err(OpenError::Fragment);
    }
    // Commands are small and somebody waits for each.
    let tcp = TcpSettings::default().set_nodelay(true);
    url.into_connection_info()
        .and_then(|info| Client::open(info.set_tcp_settings(tcp)))
        .map_err(|_| OpenError::Unusable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_redis_are_taken() {
        for url in [
            "redis://localhost",
            "redis://:pass%23word@localhost:6380/3",
            "rediss://user:password@cache.example.com",
            "unix:///run/redis.sock?db=1&pass=password",
            "unix:/run/redis.sock",
        ] {
            assert!(client(url).is_ok(), "{url}");
        }
    }

    #[test]
    fn of_any_other_the_reason_is_told_and_not_the_password() {
        for (url, reason) in [
            ("http://u:hidden@localhost", "begins with none of"),
            ("localhost:6379", "begins with none of"),
            ("/run/hidden.sock", "cannot be read: relative URL"),
            (
                "redis://u:hid#den@localhost",
                "cannot be read: invalid port",
            ),
            ("redis://u:hidden@localhost/#x", "`%23`"),
            ("rediss://u:hidden@localhost/#insecure", "`%23`"),
            ("redis://u:hidden@localhost/hidden", "a database number"),
            ("redis:hidden", "a host"),
            ("unix:hidden.sock", "a path"),
        ] {
            let error = client(url).map(|_| url).unwrap_err().to_string();
            assert!(error.contains(reason), "{url}: {error}");
            assert!(!error.contains("hidden"), "{url}: {error}");
        }
    }
}
