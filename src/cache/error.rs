//! What may go wrong with the cache, in words for the log. None of them has a password, an answer
//! or a question in it: of what Redis itself says only its code is repeated, for it may quote the
//! command.

use std::time::Duration;

use redis::{ErrorKind, RedisError, RetryMethod};

/// Why the cache cannot be used at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    #[error("the URL of the cache cannot be read: {0}")]
    Unreadable(url::ParseError),
    #[error("the URL of the cache begins with none of `redis://`, `rediss://` and `unix:`")]
    Scheme,
    #[error(
        "the URL of the cache has a `#` in it, which means nothing there; in a password it is written `%23`"
    )]
    Fragment,
    #[error(
        "the URL of the cache has a host, a path, a database number or a protocol that cannot be used"
    )]
    Unusable,
}

/// Why one command failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CacheError {
    #[error("Redis is away: {0}")]
    Away(String),
    #[error("Redis has not answered within {} ms", .0.as_millis())]
    Timeout(Duration),
    /// It is there, but does not do this: it is full, or this user may not.
    #[error("Redis refuses the command: {0}")]
    Refused(String),
    #[error("Redis has answered with something else than the command asks for")]
    Unreadable,
}

impl CacheError {
    /// For those who come while it is away.
    pub(super) fn still_away() -> Self {
        Self::Away("it was a moment ago, and is tried again soon".to_owned())
    }

    /// Of a command that was sent over a connection.
    pub(super) fn of_command(error: &RedisError) -> Self {
        let is_refusal = match error.kind() {
            ErrorKind::Extension => true,
            // Those that are to be tried later or elsewhere are of a server that is loading or has
            // become a replica.
            ErrorKind::Server(_) => matches!(error.retry_method(), RetryMethod::NoRetry),
            _ => false,
        };
        if is_refusal {
            Self::Refused(words(error))
        } else {
            Self::Away(words(error))
        }
    }

    /// Of an attempt to connect: whatever it is, there is no connection.
    pub(super) fn of_connecting(error: &RedisError) -> Self {
        Self::Away(words(error))
    }
}

fn words(error: &RedisError) -> String {
    match (error.kind(), error.code()) {
        (ErrorKind::Io, _) => error.to_string(),
        (ErrorKind::AuthenticationFailed, _) => {
            "it does not accept the user's name and password".to_owned()
        }
        (_, Some(code)) => format!("it says {code}"),
        (_, None) => error.category().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(code: &str) -> RedisError {
        let detail = Some("with args beginning with: `a secret`".to_owned());
        redis::make_extension_error(code.to_owned(), detail)
    }

    #[test]
    fn what_redis_quotes_is_not_repeated() {
        let refused = CacheError::of_command(&said("OOM"));
        assert_eq!(refused, CacheError::Refused("it says OOM".to_owned()));
        let away = CacheError::of_connecting(&said("NOAUTH"));
        assert_eq!(away.to_string(), "Redis is away: it says NOAUTH");
    }

    #[test]
    fn a_connection_that_breaks_is_no_refusal() {
        let broken = RedisError::from(std::io::Error::from(std::io::ErrorKind::BrokenPipe));
        let away = CacheError::of_command(&broken);
        assert_eq!(away, CacheError::Away("broken pipe".to_owned()));
    }
}
