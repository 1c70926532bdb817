//! Budgets that nodes share over Redis: how exactly, and what becomes of them without it.

use std::time::Duration;

use entity::OwnerId;
use futures::future::join_all;
use pollen::cache::{CacheSettings, ResponseCache};
use pollen::limit::{Budget, LimitSettings, Limits, Subject};
use redis::AsyncCommands as _;
use tokio::time::Instant;
use uuid::Uuid;

use crate::support::Redis;
use crate::support::app::{PATIENCE, eventually};

const POLLS: u32 = 6_000;
/// How long three nodes are asked as fast as they can be.
const STORM: Duration = Duration::from_secs(2);

fn node(redis: &Redis, timeout: Duration) -> Limits {
    let cache = ResponseCache::open(CacheSettings {
        memory_bytes: 0,
        redis_url: Some(redis.url().into()),
        timeout,
    });
    let settings = LimitSettings {
        polls: POLLS,
        sends: 5,
        ..LimitSettings::default()
    };
    Limits::new(settings, cache.unwrap().line())
}

fn somebody() -> Subject {
    Subject::User(OwnerId(Uuid::now_v7()))
}

async fn is_taken(node: &Limits, budget: Budget, subject: Subject) -> bool {
    let verdict = node.take(budget, None, subject).await.unwrap();
    verdict.retry_after.is_none()
}

/// Asks as fast as it can for so long: how often it was let through.
async fn storm(node: &Limits, subject: Subject, until: Instant) -> u32 {
    let mut taken = 0;
    while Instant::now() < until {
        if is_taken(node, Budget::Polls, subject).await {
            taken += 1;
        } else {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    taken
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_keep_one_limit_within_a_tenth() {
    let redis = Redis::start().await;
    let nodes: Vec<Limits> = (0..3).map(|_| node(&redis, PATIENCE)).collect();
    let subject = somebody();
    let begun = Instant::now();
    let until = begun + STORM;
    let storms = nodes
        .iter()
        .flat_map(|node| [node; 4])
        .map(|node| storm(node, subject, until));
    let taken: u32 = join_all(storms).await.into_iter().sum();
    let earned = begun.elapsed().as_secs_f64() / 60.0;
    let allowed = f64::from(POLLS) * (1.0 + earned);
    let taken = f64::from(taken);
    assert!(
        (allowed * 0.9..=allowed * 1.1).contains(&taken),
        "{taken} of {allowed}"
    );
}

#[tokio::test]
async fn a_small_limit_is_kept_exactly_and_the_wait_is_true() {
    let redis = Redis::start().await;
    let nodes: Vec<Limits> = (0..3).map(|_| node(&redis, PATIENCE)).collect();
    let subject = somebody();
    for (count, node) in (0..5).zip(nodes.iter().cycle()) {
        let verdict = node.take(Budget::Sends, None, subject).await.unwrap();
        assert_eq!((verdict.limit, verdict.retry_after), (5, None));
        assert_eq!(verdict.remaining, 4 - count);
    }
    for node in &nodes {
        let refused = node.take(Budget::Sends, None, subject).await.unwrap();
        let wait = refused.retry_after.unwrap();
        assert!(
            wait > Duration::from_secs(6) && wait <= Duration::from_secs(12),
            "{wait:?}"
        );
        assert_eq!(refused.remaining, 0);
    }
    assert!(
        is_taken(&nodes[0], Budget::Sends, somebody()).await,
        "another's is another one"
    );
    let mut connection = redis.connect().await;
    let keys: Vec<String> = connection
        .keys("pollen:limit:1:sends:5:user:*")
        .await
        .unwrap();
    assert_eq!(keys.len(), 2);
    for key in keys {
        let left: i64 = connection.pttl(&key).await.unwrap();
        assert!(
            (1..=60_000).contains(&left),
            "it is kept no longer than it says something: {left}"
        );
    }
}

#[tokio::test]
async fn without_redis_each_node_goes_by_its_own_and_with_it_again_by_the_common_one() {
    let mut redis = Redis::start().await;
    let (here, there) = (node(&redis, PATIENCE), node(&redis, PATIENCE));
    let subject = somebody();
    assert!(is_taken(&here, Budget::Sends, subject).await);
    redis.kill().await;
    for node in [&here, &there] {
        for _ in 0..5 {
            assert!(is_taken(node, Budget::Sends, subject).await);
        }
        assert!(
            !is_taken(node, Budget::Sends, subject).await,
            "its own limit holds"
        );
    }
    redis.start_again().await;
    eventually("a common bucket is taken from again", async || {
        is_taken(&here, Budget::Sends, subject).await.then_some(())
    })
    .await;
    let mut connection = redis.connect().await;
    let keys: Vec<String> = connection.keys("pollen:limit:*").await.unwrap();
    assert_eq!(keys.len(), 1);
}

#[tokio::test]
async fn a_redis_that_does_not_answer_holds_up_one_request_and_not_all() {
    let redis = Redis::start().await;
    let timeout = Duration::from_millis(300);
    let node = node(&redis, timeout);
    is_taken(&node, Budget::Polls, somebody()).await;
    redis.pause().await;
    let begun = Instant::now();
    for _ in 0..200 {
        assert!(is_taken(&node, Budget::Polls, somebody()).await);
    }
    // Each second one of them tries.
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
    redis.resume().await;
}
