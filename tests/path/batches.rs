//! Several requests at once: they are claimed, and their ends stored, by statements that cost the same for
//! one and for many, and what holds for one holds for each of them.

use std::time::Duration;

use entity::llm_request::{CacheUse, Model as Request, Status};
use entity::{ChatId, MessageId, OwnerId, RequestId, Timestamp, chat};
use pollen::store::{Chunk, Claim, Lease, RequestEnd, Store, StoreError, StoreSettings};

use crate::support::Database;

async fn open(database: &Database) -> Store {
    let settings = StoreSettings {
        url: database.url.clone(),
        max_connections: 4,
        acquire_timeout: Duration::from_secs(10),
    };
    Store::open(&settings).await.unwrap()
}

async fn new_chat(store: &Store) -> ChatId {
    let chat = &chat::Model {
        id: ChatId::generate(),
        owner_id: OwnerId::LOCAL,
        title: String::new(),
        agent: None,
        model: None,
        status: chat::Status::WaitingForUser,
        on_busy: None,
        parameters: None,
        metadata: None,
        summary: None,
        summary_through: None,
        next_sequence: 1,
        revision: 1,
        created_at: Timestamp(0),
        updated_at: Timestamp(0),
        deleted_at: None,
        expires_at: None,
    };
    let insert = store.tx(|tx| async move { tx.insert_chat(chat.clone()).await });
    assert!(insert.await.unwrap());
    chat.id
}

/// Queues a request: the `sequence`th message of a chat, sent at that time.
async fn queue(store: &Store, chat: ChatId, sequence: i64, at: i64) -> RequestId {
    let request = &Request {
        id: RequestId::generate(),
        chat_id: chat,
        user_message_id: MessageId::generate(),
        sequence,
        assistant_message_id: None,
        status: Status::Queued,
        attempt: 0,
        edition: 0,
        model: None,
        provider: None,
        parameters: None,
        names_model: false,
        cache_use: CacheUse::Any,
        lease_owner: None,
        lease_expires_at: None,
        finish_reason: None,
        input_tokens: None,
        output_tokens: None,
        error_code: None,
        error_message: None,
        created_at: Timestamp(at),
        started_at: None,
        deadline_at: None,
        first_token_at: None,
        finished_at: None,
        traceparent: None,
        instructions: None,
        asked_as: None,
    };
    let insert = store.tx(|tx| async move { tx.insert_request(request.clone()).await });
    insert.await.unwrap();
    request.id
}

fn claim(limits: &[(&str, u32)]) -> Claim {
    Claim {
        lease: Lease {
            owner: "node".to_owned(),
            expires_at: Timestamp(1_000),
        },
        now: Timestamp(100),
        deadline_at: Timestamp(10_000),
        default_provider: "default".to_owned(),
        provider_limits: limits
            .iter()
            .map(|(name, limit)| ((*name).to_owned(), *limit))
            .collect(),
    }
}

async fn claimed(store: &Store, claim: &Claim, limit: usize) -> Vec<Request> {
    let claimed = store.tx(|tx| async move { tx.claim_requests(claim, limit).await });
    let mut claimed = claimed.await.unwrap();
    claimed.sort_by_key(|request| request.created_at);
    claimed
}

fn ids(requests: &[Request]) -> Vec<RequestId> {
    requests.iter().map(|request| request.id).collect()
}

fn end_of(request: &Request) -> (&Request, RequestEnd) {
    let end = RequestEnd {
        status: Status::Completed,
        model: None,
        provider: None,
        finish_reason: Some("stop".to_owned()),
        input_tokens: Some(1),
        output_tokens: None,
        error: None,
        first_token_at: None,
        now: Timestamp(200),
    };
    (request, end)
}

on_both_databases! {
    async fn a_claim_takes_the_oldest_of_each_chat_and_no_more_than_it_is_to(kind: Kind) {
        let database = Database::create(kind).await;
        let store = open(&database).await;
        let (a, b, c) = (new_chat(&store).await, new_chat(&store).await, new_chat(&store).await);
        let first_of_a = queue(&store, a, 1, 1).await;
        queue(&store, a, 3, 2).await;
        let first_of_b = queue(&store, b, 1, 3).await;
        let first_of_c = queue(&store, c, 1, 4).await;
        let claim = claim(&[]);
        assert_eq!(ids(&claimed(&store, &claim, 2).await), [first_of_a, first_of_b]);
        let rest = claimed(&store, &claim, 10).await;
        assert_eq!(ids(&rest), [first_of_c], "one runs in each chat");
        assert_eq!(rest[0].status, Status::Running);
        assert_eq!(rest[0].lease_owner.as_deref(), Some("node"));
        assert_eq!(rest[0].deadline_at, Some(Timestamp(10_000)));
        assert!(claimed(&store, &claim, 10).await.is_empty());
        store.close().await.unwrap();
    }

    async fn a_claim_of_several_keeps_to_what_a_provider_may_run(kind: Kind) {
        let database = Database::create(kind).await;
        let store = open(&database).await;
        for at in 0..4 {
            let chat = new_chat(&store).await;
            queue(&store, chat, 1, at).await;
        }
        let claim = claim(&[("default", 2)]);
        let mut running = 0;
        loop {
            let more = claimed(&store, &claim, 10).await.len();
            if more == 0 {
                break;
            }
            running += more;
        }
        assert_eq!(running, 2);
        store.close().await.unwrap();
    }

    async fn of_several_ends_those_are_stored_that_are_still_their_attempts(kind: Kind) {
        let database = Database::create(kind).await;
        let store = open(&database).await;
        for at in 0..3 {
            let chat = new_chat(&store).await;
            queue(&store, chat, 1, at).await;
        }
        let running = claimed(&store, &claim(&[]), 10).await;
        let requeue = store.tx(|tx| {
            let fence = (running[1].id, running[1].attempt);
            async move { tx.requeue_request(fence).await }
        });
        assert!(requeue.await.unwrap());
        let ends = &running.iter().map(end_of).collect::<Vec<_>>();
        let ended = store.tx(|tx| async move { tx.end_requests(ends).await });
        let mut ended = ended.await.unwrap();
        ended.sort();
        let mut expected = vec![(running[0].id, 0), (running[2].id, 0)];
        expected.sort();
        assert_eq!(ended, expected);
        let first = store.request(running[0].id).await.unwrap().unwrap();
        assert_eq!(first.status, Status::Completed);
        assert_eq!(first.finish_reason.as_deref(), Some("stop"));
        assert_eq!((first.input_tokens, first.output_tokens), (Some(1), None));
        assert_eq!((first.lease_owner, first.lease_expires_at), (None, None));
        let second = store.request(running[1].id).await.unwrap().unwrap();
        assert_eq!((second.status, second.attempt), (Status::Queued, 1));
        store.close().await.unwrap();
    }

    async fn chunks_that_are_still_needed_outlive_a_purge(kind: Kind) {
        let database = Database::create(kind).await;
        let store = open(&database).await;
        for at in 0..3 {
            let chat = new_chat(&store).await;
            queue(&store, chat, 1, at).await;
        }
        let running = &claimed(&store, &claim(&[]), 10).await;
        for (place, request) in [(0, 0), (0, 1), (3, 0), (3, 1), (0, 2)] {
            let chunk = Chunk {
                request: running[request].id,
                attempt: 0,
                channel: entity::token_ledger::Channel::Text,
                start_offset: place,
                text: "abc".to_owned(),
            };
            let append = store.tx(|tx| {
                let chunk = chunk.clone();
                async move { tx.append_chunks(&[&chunk]).await }
            });
            append.await.unwrap();
        }
        let purge_after = async |request: &Request| {
            let ended = store.tx(|tx| async move {
                tx.end_requests(&[end_of(request)]).await?;
                tx.purge_ledger(&[request.id]).await?;
                Ok::<_, StoreError>(())
            });
            ended.await.unwrap();
        };
        purge_after(&running[0]).await;
        for (request, text) in [(1, "abcabc"), (2, "abc")] {
            let kept = store.last_ledger_text(running[request].id).await.unwrap();
            assert_eq!(kept.unwrap().1.text, text);
        }
        purge_after(&running[2]).await;
        purge_after(&running[1]).await;
        assert_eq!(database.count("token_ledger").await, 0);
        store.close().await.unwrap();
    }
}
