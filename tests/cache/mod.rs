//! The response cache on a real Redis: what it keeps, what it costs when Redis is away or halted,
//! and who leads among several nodes.

use std::sync::Arc;
use std::time::Duration;

use entity::ChatId;
use futures::future::join_all;
use pollen::cache::{
    CacheError, CacheKey, CacheSettings, CachedAnswer, Lead, LeadGuard, ResponseCache,
};
use pollen::model::usage::Usage;
use redis::AsyncCommands as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::support::Redis;
use crate::support::app::PATIENCE;

const TTL: Duration = Duration::from_mins(1);
const TIMEOUT: Duration = Duration::from_millis(1_500);
/// For the rest of a call beside the wait for Redis, on a machine that has other things to do.
const GRACE: Duration = Duration::from_secs(3);
/// As long as it may take to notice that Redis is back.
const RECOVERY: Duration = Duration::from_secs(10);
/// For so long at least nothing is asked of a Redis that was found to be away.
const PAUSE: Duration = Duration::from_millis(500);
/// Between two looks of a test at something that is to become so.
const PULSE: Duration = Duration::from_millis(20);

fn open_with(url: String, timeout: Duration) -> ResponseCache {
    let settings = CacheSettings {
        memory_bytes: 0,
        redis_url: Some(url.into()),
        timeout,
    };
    ResponseCache::open(settings).unwrap()
}

fn open(redis: &Redis) -> ResponseCache {
    open_with(redis.url(), TIMEOUT)
}

/// For a test that is not about time.
fn open_patiently(redis: &Redis) -> ResponseCache {
    open_with(redis.url(), PATIENCE)
}

fn key() -> CacheKey {
    CacheKey::of(&"a question")
}

fn answer(text: &str) -> CachedAnswer {
    CachedAnswer {
        chat: None,
        text: text.to_owned(),
        reasoning: "because \"so\" \u{1F41D}".to_owned(),
        finish_reason: "stop".to_owned(),
        usage: Usage {
            input_tokens: Some(7),
            output_tokens: Some(11),
            reasoning_tokens: None,
            cached_tokens: Some(0),
        },
    }
}

async fn lead(cache: &ResponseCache, hold: Duration) -> Option<LeadGuard> {
    match cache.lead(&key(), hold).await.unwrap() {
        Lead::Mine(guard) => Some(guard),
        Lead::Other => None,
    }
}

/// Waits for it to work again; how long that took.
async fn recovers(cache: &ResponseCache) -> Duration {
    let begun = Instant::now();
    while cache.get(&key()).await.is_err() {
        assert!(begun.elapsed() < PATIENCE, "it does not recover");
        tokio::time::sleep(PULSE).await;
    }
    begun.elapsed()
}

/// Keeps an answer, however long it takes on a busy machine until Redis can be reached.
async fn put_at_last(cache: &ResponseCache) {
    let begun = Instant::now();
    while cache.put(&key(), answer("yes"), TTL).await.is_err() {
        assert!(begun.elapsed() < PATIENCE, "it cannot be reached");
        tokio::time::sleep(PULSE).await;
    }
}

#[tokio::test]
async fn what_one_node_puts_another_gets() {
    let redis = Redis::start().await;
    let (here, there) = (open_patiently(&redis), open_patiently(&redis));
    assert_eq!(there.get(&key()).await.unwrap(), None);
    here.put(&key(), answer("yes"), TTL).await.unwrap();
    let found = there.get(&key()).await.unwrap();
    assert_eq!(found.as_deref(), Some(&answer("yes")));
    let other = CacheKey::of(&"another question");
    assert_eq!(there.get(&other).await.unwrap(), None);
    assert_eq!(there.faults(), 0);
}

#[tokio::test]
async fn the_answers_of_a_chat_go_with_it() {
    let redis = Redis::start().await;
    let (here, there) = (open_patiently(&redis), open_patiently(&redis));
    let (chat, other) = (ChatId::generate(), ChatId::generate());
    let keys: Vec<CacheKey> = (0..3).map(|number| CacheKey::of(&number)).collect();
    for (key, chat) in keys.iter().zip([chat, chat, other]) {
        let answer = CachedAnswer {
            chat: Some(chat),
            ..answer("yes")
        };
        here.put(key, answer, TTL).await.unwrap();
    }
    let mut connection = redis.connect().await;
    let list = format!("pollen:answers:1:{chat}");
    let left: i64 = connection.pttl(&list).await.unwrap();
    assert!((1..=60_000).contains(&left), "{left}");
    there.forget(chat).await.unwrap();
    there.forget(ChatId::generate()).await.unwrap();
    assert_eq!(here.get(&keys[0]).await.unwrap(), None);
    assert_eq!(here.get(&keys[1]).await.unwrap(), None);
    assert!(here.get(&keys[2]).await.unwrap().is_some());
    assert!(!connection.exists::<_, bool>(&list).await.unwrap());
}

#[tokio::test]
async fn an_answer_is_kept_for_its_time_and_the_longest_time_is_no_error() {
    let redis = Redis::start().await;
    let cache = open_patiently(&redis);
    let name = format!("pollen:answer:1:{}", key().as_str());
    let mut connection = redis.connect().await;
    cache
        .put(&key(), answer("for ever"), Duration::MAX)
        .await
        .unwrap();
    assert!(cache.get(&key()).await.unwrap().is_some());
    cache.put(&key(), answer("a minute"), TTL).await.unwrap();
    let left: u64 = connection.pttl(&name).await.unwrap();
    let put = u64::try_from(TTL.as_millis()).unwrap();
    assert!((put / 2..=put).contains(&left), "{left} ms");
    cache
        .put(&key(), answer("soon gone"), Duration::from_millis(50))
        .await
        .unwrap();
    let begun = Instant::now();
    while cache.get(&key()).await.unwrap().is_some() {
        assert!(begun.elapsed() < PATIENCE, "it does not expire");
        tokio::time::sleep(PULSE).await;
    }
}

#[tokio::test]
async fn whatever_else_is_under_the_key_is_a_miss_and_gives_way() {
    let redis = Redis::start().await;
    let cache = open_patiently(&redis);
    let name = format!("pollen:answer:1:{}", key().as_str());
    let mut connection = redis.connect().await;
    for foreign in ["", "no JSON", "{}", "{\"text\": 1}", "[]"] {
        let () = connection.set(&name, foreign).await.unwrap();
        assert_eq!(cache.get(&key()).await.unwrap(), None, "{foreign}");
    }
    let () = connection.set(&name, &[0xff_u8, 0x00][..]).await.unwrap();
    assert_eq!(cache.get(&key()).await.unwrap(), None);
    let () = connection.del(&name).await.unwrap();
    let () = connection.lpush(&name, "an item").await.unwrap();
    assert_eq!(cache.get(&key()).await.unwrap(), None);
    assert_eq!(cache.wait(&key(), PATIENCE).await.unwrap(), None);
    cache.put(&key(), answer("mine"), TTL).await.unwrap();
    assert!(cache.get(&key()).await.unwrap().is_some());
    assert_eq!(cache.faults(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_killed_fails_fast_and_is_used_again_when_it_is_back() {
    let mut redis = Redis::start().await;
    let cache = open(&redis);
    cache.put(&key(), answer("yes"), TTL).await.unwrap();
    redis.kill().await;
    let begun = Instant::now();
    for _ in 0..1_000 {
        let error = cache.get(&key()).await.unwrap_err();
        assert!(matches!(error, CacheError::Away(_)), "{error}");
    }
    let took = begun.elapsed();
    assert!(took < TIMEOUT + GRACE, "a thousand took {took:?}");
    assert_eq!(cache.faults(), 1_000);
    redis.start_again().await;
    let took = recovers(&cache).await;
    assert!(took < RECOVERY, "{took:?}");
    cache.put(&key(), answer("again"), TTL).await.unwrap();
    assert!(cache.get(&key()).await.unwrap().is_some());
}

#[tokio::test]
async fn a_redis_that_is_away_at_the_start_is_found_when_it_comes() {
    let mut redis = Redis::start().await;
    redis.kill().await;
    let cache = open(&redis);
    let error = cache.put(&key(), answer("yes"), TTL).await.unwrap_err();
    assert!(matches!(error, CacheError::Away(_)), "{error}");
    redis.start_again().await;
    let took = recovers(&cache).await;
    assert!(took < RECOVERY, "{took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_between_two_commands_is_not_noticed() {
    let mut redis = Redis::start().await;
    let cache = open_patiently(&redis);
    cache.put(&key(), answer("yes"), TTL).await.unwrap();
    redis.kill().await;
    redis.start_again().await;
    assert_eq!(cache.get(&key()).await.unwrap(), None);
    assert_eq!(cache.faults(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_closed_under_commands_in_flight_is_no_failure() {
    let redis = Redis::start().await;
    let cache = Arc::new(open_patiently(&redis));
    assert_eq!(cache.get(&key()).await.unwrap(), None);
    let mut connection = redis.connect().await;
    let mut client = async |words: &str| -> redis::Value {
        let mut command = redis::Cmd::new();
        words.split(' ').for_each(|word| {
            command.arg(word);
        });
        command.query_async(&mut connection).await.unwrap()
    };
    client("CLIENT PAUSE 600000 WRITE").await;
    let writing: Vec<_> = (0..50)
        .map(|number| {
            let cache = Arc::clone(&cache);
            let key = CacheKey::of(&number);
            tokio::spawn(async move { cache.put(&key, answer("yes"), TTL).await })
        })
        .collect();
    while !format!("{:?}", client("INFO clients").await).contains("blocked_clients:1") {
        tokio::time::sleep(PULSE).await;
    }
    let closed = client("CLIENT KILL TYPE normal").await;
    assert_eq!(closed, redis::Value::Int(1));
    client("CLIENT UNPAUSE").await;
    for written in writing {
        assert_eq!(written.await.unwrap(), Ok(()));
    }
    assert_eq!(cache.faults(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_halted_costs_its_timeout_and_then_nothing() {
    let redis = Redis::start().await;
    let cache = Arc::new(open(&redis));
    put_at_last(&cache).await;
    redis.pause().await;
    let begun = Instant::now();
    let getting: Vec<_> = (0..20)
        .map(|_| {
            let cache = Arc::clone(&cache);
            tokio::spawn(async move { cache.get(&key()).await })
        })
        .collect();
    for got in getting {
        assert_eq!(got.await.unwrap(), Err(CacheError::Timeout(TIMEOUT)));
    }
    let took = begun.elapsed();
    assert!(took >= TIMEOUT && took < TIMEOUT + GRACE, "{took:?}");
    // Known to be away: nobody waits for it, but for the one who tries once in a while.
    for _ in 0..2 {
        let begun = Instant::now();
        while begun.elapsed() < PAUSE {
            let error = cache.get(&key()).await.unwrap_err();
            assert!(matches!(error, CacheError::Away(_)), "{error}");
            tokio::time::sleep(PULSE).await;
        }
        tokio::time::sleep((3 * PAUSE).saturating_sub(begun.elapsed())).await;
        let took = join_all((0..20).map(async |_| {
            let begun = Instant::now();
            assert!(cache.get(&key()).await.is_err());
            begun.elapsed()
        }));
        let waited = took.await.into_iter().filter(|took| *took >= TIMEOUT / 2);
        assert_eq!(waited.count(), 1);
    }
    redis.resume().await;
    let took = recovers(&cache).await;
    assert!(took < RECOVERY, "{took:?}");
    let found = cache.get(&key()).await.unwrap();
    assert_eq!(found.as_deref(), Some(&answer("yes")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_leads_nowhere_any_more_is_given_up() {
    let redis = Redis::start().await;
    let (url, lose) = with_connections_to_lose(&redis).await;
    let cache = open_with(url, TIMEOUT);
    put_at_last(&cache).await;
    lose.send(()).unwrap();
    let error = cache.get(&key()).await.unwrap_err();
    assert_eq!(error, CacheError::Timeout(TIMEOUT));
    let took = recovers(&cache).await;
    assert!(took < RECOVERY, "{took:?}");
}

/// The URL of a way to Redis. When told so it neither passes on nor closes the connections that it
/// has, as a machine in between does that has forgotten them.
async fn with_connections_to_lose(redis: &Redis) -> (String, watch::Sender<()>) {
    let target = redis.url().replace("redis://", "");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    let (lose, told) = watch::channel(());
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut server = TcpStream::connect(&target).await.unwrap();
            let mut told = told.clone();
            told.mark_unchanged();
            tokio::spawn(async move {
                tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
                    Ok(()) = told.changed() => std::future::pending().await,
                }
            });
        }
    });
    (url, lose)
}

#[tokio::test]
async fn a_halted_redis_that_there_is_no_connection_to_costs_its_timeout_too() {
    let redis = Redis::start().await;
    let cache = open(&redis);
    redis.pause().await;
    let begun = Instant::now();
    let error = cache.get(&key()).await.unwrap_err();
    assert_eq!(error, CacheError::Timeout(TIMEOUT));
    let took = begun.elapsed();
    assert!(took < TIMEOUT + GRACE, "{took:?}");
}

#[tokio::test]
async fn what_redis_refuses_does_not_make_it_away() {
    let redis = Redis::start().await;
    let cache = open_patiently(&redis);
    cache.put(&key(), answer("yes"), TTL).await.unwrap();
    let mut connection = redis.connect().await;
    let mut limit = redis::cmd("CONFIG");
    limit.arg("SET").arg("maxmemory").arg(1);
    let () = limit.query_async(&mut connection).await.unwrap();
    let refused = cache.put(&key(), answer("no"), TTL).await.unwrap_err();
    assert_eq!(refused, CacheError::Refused("it says OOM".to_owned()));
    let found = cache.get(&key()).await.unwrap();
    assert_eq!(found.as_deref(), Some(&answer("yes")));
    assert_eq!(cache.faults(), 1);
}

#[tokio::test]
async fn a_password_that_is_refused_is_told_in_words_without_it() {
    let redis = Redis::start().await;
    let mut connection = redis.connect().await;
    let mut demand = redis::cmd("CONFIG");
    demand.arg("SET").arg("requirepass").arg("right");
    let () = demand.query_async(&mut connection).await.unwrap();
    let with = |password: &str| {
        let url = redis.url().replace("//", &format!("//:{password}@"));
        open_with(url, PATIENCE)
    };
    let error = with("wrong").get(&key()).await.unwrap_err().to_string();
    assert!(error.contains("password"), "{error}");
    assert!(!error.contains("wrong"), "{error}");
    assert!(open_patiently(&redis).get(&key()).await.is_err());
    assert_eq!(with("right").get(&key()).await.unwrap(), None);
}

#[tokio::test]
async fn tls_that_does_not_come_about_is_an_error_as_any_other() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("rediss://{}", listener.local_addr().unwrap());
    let plain = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"-ERR no TLS here\r\n").await.unwrap();
        stream
    });
    let error = open_with(url, PATIENCE).get(&key()).await.unwrap_err();
    assert!(matches!(error, CacheError::Away(_)), "{error}");
    plain.await.unwrap();
}

#[tokio::test]
async fn one_node_leads_until_it_releases_the_lead() {
    let redis = Redis::start().await;
    let (here, there) = (open_patiently(&redis), open_patiently(&redis));
    let guard = lead(&here, TTL).await.unwrap();
    assert!(lead(&there, TTL).await.is_none());
    // Nor does the node itself lead twice.
    assert!(lead(&here, TTL).await.is_none());
    assert!(guard.renew(TTL).await.unwrap());
    assert!(lead(&there, TTL).await.is_none());
    guard.release().await.unwrap();
    assert!(lead(&there, TTL).await.is_some());
}

#[tokio::test]
async fn a_lead_runs_out_and_what_is_another_s_is_neither_renewed_nor_released() {
    let redis = Redis::start().await;
    let (here, there) = (open_patiently(&redis), open_patiently(&redis));
    let lost = lead(&here, Duration::from_millis(50)).await.unwrap();
    let begun = Instant::now();
    let theirs = loop {
        if let Some(guard) = lead(&there, TTL).await {
            break guard;
        }
        assert!(begun.elapsed() < PATIENCE, "it does not run out");
        tokio::time::sleep(PULSE).await;
    };
    assert!(!lost.renew(TTL).await.unwrap());
    lost.release().await.unwrap();
    assert!(lead(&here, TTL).await.is_none());
    assert!(theirs.renew(TTL).await.unwrap());
}

#[tokio::test]
async fn a_lead_is_renewed_for_as_long_as_it_says() {
    let redis = Redis::start().await;
    let cache = open_patiently(&redis);
    let mut connection = redis.connect().await;
    let name = format!("pollen:answer:1:{}:lead", key().as_str());
    let guard = lead(&cache, TTL).await.unwrap();
    assert!(guard.renew(2 * TTL).await.unwrap());
    let left: u64 = connection.pttl(&name).await.unwrap();
    let taken = u64::try_from(TTL.as_millis()).unwrap();
    assert!((taken..=2 * taken).contains(&left), "{left} ms");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_does_not_lead_waits_for_the_answer() {
    let redis = Redis::start().await;
    let (here, there) = (open_patiently(&redis), Arc::new(open_patiently(&redis)));
    let guard = lead(&here, TTL).await.unwrap();
    let waiting = {
        let there = Arc::clone(&there);
        tokio::spawn(async move { there.wait(&key(), PATIENCE).await })
    };
    here.put(&key(), answer("yes"), TTL).await.unwrap();
    let found = waiting.await.unwrap().unwrap();
    assert_eq!(found.as_deref(), Some(&answer("yes")));
    guard.release().await.unwrap();
    assert_eq!(there.faults(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_waits_is_let_go_when_the_lead_is_given_up_or_runs_out() {
    let redis = Redis::start().await;
    let (here, there) = (open_patiently(&redis), Arc::new(open_patiently(&redis)));
    let wait = || {
        let there = Arc::clone(&there);
        tokio::spawn(async move { there.wait(&key(), 2 * PATIENCE).await })
    };
    let guard = lead(&here, TTL).await.unwrap();
    let waiting = wait();
    guard.release().await.unwrap();
    let waited = tokio::time::timeout(PATIENCE, waiting).await;
    assert_eq!(waited.unwrap().unwrap(), Ok(None));
    drop(lead(&here, Duration::from_millis(300)).await.unwrap());
    let waited = tokio::time::timeout(PATIENCE, wait()).await;
    assert_eq!(waited.unwrap().unwrap(), Ok(None));
}

#[tokio::test]
async fn nobody_waits_beyond_the_limit() {
    let redis = Redis::start().await;
    let (here, there) = (open_patiently(&redis), open_patiently(&redis));
    let _guard = lead(&here, TTL).await.unwrap();
    let limit = Duration::from_millis(250);
    let begun = Instant::now();
    assert_eq!(there.wait(&key(), limit).await.unwrap(), None);
    let took = begun.elapsed();
    assert!(took >= limit && took < limit + GRACE, "{took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kept_lead_outlasts_its_time_and_ends_when_it_is_dropped() {
    let redis = Redis::start().await;
    let (here, there) = (open_patiently(&redis), open_patiently(&redis));
    let hold = Duration::from_millis(1_500);
    let kept = lead(&here, hold).await.unwrap().keep(hold);
    // Twice as long as it would last by itself.
    for _ in 0..6 {
        tokio::time::sleep(hold / 3).await;
        assert!(lead(&there, TTL).await.is_none());
    }
    drop(kept);
    let begun = Instant::now();
    while lead(&there, TTL).await.is_none() {
        assert!(begun.elapsed() < PATIENCE, "it is not released");
        tokio::time::sleep(PULSE).await;
    }
}
