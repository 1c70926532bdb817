//! The way to a server, the same for all formats: proxies, time limits, connections that are used
//! again and that end with their listener, and settings that make no client.

use std::time::{Duration, Instant};

use futures::StreamExt;
use pollen::provider::{
    ConnectError, Event, KeyHeader, ProviderSettings, TimeLimits, WireFormat, connect,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::{KEY, LIMITS, call, finished, hear, line_of, settings, settings_for, text};
use crate::support::upstream::{delta, finish};
use crate::support::{Script, Upstream};

const FORMAT: WireFormat = WireFormat::OpenAi;

fn refusal(settings: ProviderSettings) -> ConnectError {
    connect(settings).err().unwrap()
}

#[tokio::test]
async fn a_proxy_is_asked_for_the_real_address() {
    let proxy = Upstream::echo().await;
    let provider = connect(ProviderSettings {
        proxy: Some(proxy.root()),
        ..settings(FORMAT, "http://models.example/v1".into())
    })
    .unwrap();
    let heard = hear(&*provider, call("m")).await;
    assert_eq!(heard.events, [text("You said: Hi"), finished("stop")]);
    let asked = &proxy.received()[0].head;
    assert_eq!(
        line_of(asked),
        "POST http://models.example/v1/chat/completions HTTP/1.1"
    );
    provider.models().await.unwrap();
    let listing = &proxy.listings_asked()[0];
    assert_eq!(
        line_of(listing),
        "GET http://models.example/v1/models HTTP/1.1"
    );
}

#[test]
fn what_makes_no_client_is_said_in_words_without_secrets() {
    let good = || {
        settings(
            FORMAT,
            "https://user:pw-secret@models.example/v1?key=q-secret".into(),
        )
    };
    let with = |change: &dyn Fn(&mut ProviderSettings)| {
        let mut settings = good();
        change(&mut settings);
        refusal(settings).to_string()
    };
    for address in [
        "",
        "models.example/v1",
        "ftp://models.example",
        "mailto:a@b",
    ] {
        let words = with(&|s| s.base_url = address.into());
        assert!(
            words.contains("address of the provider \"upstream\""),
            "{words}"
        );
    }
    for address in [
        "",
        "proxy:3128",
        "socks5://proxy:1080",
        "not an address",
        "p-secret@x",
    ] {
        let words = with(&|s| s.proxy = Some(address.into()));
        assert!(
            words.contains("proxy of the provider \"upstream\""),
            "{words}"
        );
        assert!(!words.contains("p-secret"), "{words}");
    }
    let broken = "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n";
    for pem in ["", "hello", broken] {
        let words = with(&|s| s.ca_certificate = Some(pem.into()));
        assert!(
            words.contains("CA certificate of the provider \"upstream\""),
            "{words}"
        );
    }
    let words = with(&|s| s.api_key = Some("k-secret\nk-secret".into()));
    assert!(
        words.contains("line break") && !words.contains("secret"),
        "{words}"
    );
    let words = with(&|s| s.headers = vec![("x y".into(), "h-secret".into())]);
    assert!(
        words.contains("\"x y\"") && !words.contains("secret"),
        "{words}"
    );
    let words = with(&|s| s.key_header = Some(KeyHeader::Named("ä".into())));
    assert!(words.contains("\"ä\""), "{words}");
    let mut full = good();
    full.headers = vec![("x-team".into(), "h-secret".into())];
    full.query = vec![("api-version".into(), "q-secret".into())];
    full.proxy = Some("http://user:p-secret@proxy:3128".into());
    let shown = format!("{full:?}");
    assert!(
        shown.contains("x-team") && shown.contains("https://models.example/v1"),
        "{shown}"
    );
    assert!(
        !shown.contains("secret\"") && !shown.contains("pw-secret") && !shown.contains(KEY),
        "{shown}"
    );
    assert!(
        !shown.contains("p-secret") && !shown.contains("h-secret"),
        "{shown}"
    );
    connect(full).unwrap();
}

#[tokio::test]
async fn a_header_that_is_quoted_is_not_passed_on() {
    let error = serde_json::json!({"error": {"message": "the token h-very-secret is too old"}});
    let upstream = Upstream::scripted([Script::json(500, &error)]).await;
    let provider = connect(ProviderSettings {
        headers: vec![("x-token".into(), "h-very-secret".into())],
        ..settings_for(FORMAT, &upstream)
    })
    .unwrap();
    let heard = hear(&*provider, call("m")).await;
    assert!(
        heard.failure().1.contains("the token [key] is too old"),
        "{heard:?}"
    );
}

/// A server that keeps its connections and answers each request of one; says how many it accepted.
async fn keep_alive() -> (String, std::sync::Arc<std::sync::atomic::AtomicUsize>) {
    use std::sync::atomic::{AtomicUsize, Ordering};
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let accepted = std::sync::Arc::new(AtomicUsize::new(0));
    let count = std::sync::Arc::clone(&accepted);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                let mut bytes = Vec::new();
                loop {
                    while !bytes.ends_with(b"}") {
                        if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
                            return;
                        }
                    }
                    bytes.clear();
                    let body = delta("a") + &finish("stop") + "data: [DONE]\n\n";
                    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
                    let said = format!("{head}{:x}\r\n{body}\r\n", body.len());
                    stream.write_all(said.as_bytes()).await.unwrap();
                    // The end of the body is late, as it is over a real network.
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    stream.write_all(b"0\r\n\r\n").await.unwrap();
                }
            });
        }
    });
    (format!("http://{address}/v1"), accepted)
}

#[tokio::test]
async fn a_connection_is_used_again() {
    let (base_url, accepted) = keep_alive().await;
    let provider = connect(settings(FORMAT, base_url)).unwrap();
    for _ in 0..3 {
        let heard = hear(&*provider, call("m")).await;
        assert_eq!(heard.events, [text("a"), finished("stop")]);
    }
    assert_eq!(accepted.load(std::sync::atomic::Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_connection_ends_with_its_listener() {
    let upstream = Upstream::scripted([Script::stream().say(["a"]).stall()]).await;
    let provider = connect(settings_for(FORMAT, &upstream)).unwrap();
    let mut stream = provider.answer(call("m"));
    assert_eq!(
        stream.next().await.unwrap().unwrap(),
        Event::Text("a".into())
    );
    drop(stream);
    let gone = upstream.received()[0].gone.clone();
    tokio::time::timeout(Duration::from_secs(5), gone.cancelled())
        .await
        .unwrap();
}

#[tokio::test]
async fn an_answer_that_takes_too_long_is_stopped() {
    let limited = |upstream: &Upstream, total_ms: u64| {
        let total = Some(Duration::from_millis(total_ms));
        let limits = TimeLimits { total, ..LIMITS };
        connect(ProviderSettings {
            limits,
            ..settings_for(FORMAT, upstream)
        })
        .unwrap()
    };
    let slow = || {
        Script::stream()
            .say(vec!["a"; 200])
            .paced(Duration::from_millis(20))
    };
    let whole = Script::stream().say(["b"]).raw(finish("stop")).stall();
    let upstream = Upstream::scripted([slow(), whole, Script::answer(["c"])]).await;
    let begun = Instant::now();
    let heard = hear(&*limited(&upstream, 1_500), call("m")).await;
    assert!(begun.elapsed() < Duration::from_secs(4));
    let (code, words) = heard.failure();
    assert_eq!(code, "deadline_exceeded");
    assert!(
        words.contains("had not finished its answer within 1.5 s"),
        "{words}"
    );
    assert!(matches!(&heard.events[..], [Event::Text(_)]), "{heard:?}");
    // The answer is whole: that its server says nothing more is no failure.
    let heard = hear(&*limited(&upstream, 1_500), call("m")).await;
    assert_eq!(
        (heard.events, heard.error.is_none()),
        (vec![text("b"), finished("stop")], true)
    );
    let heard = hear(&*limited(&upstream, 60_000), call("m")).await;
    assert_eq!(heard.events, [text("c"), finished("stop")]);
}

#[tokio::test]
async fn what_comes_too_late_or_never() {
    let quick = TimeLimits {
        first_byte: Duration::from_millis(2_500),
        stall: Duration::from_millis(1_500),
        ..LIMITS
    };
    let scripts = [
        Script::stream().stall(),
        Script::stream().say(["a"]).stall(),
        Script::stream().say(["a"]).cut(),
    ];
    let upstream = Upstream::scripted(scripts).await;
    let provider = connect(ProviderSettings {
        limits: quick,
        ..settings_for(FORMAT, &upstream)
    })
    .unwrap();
    for (code, words) in [
        ("provider_stalled", "sent nothing for 2.5 s"),
        ("provider_stalled", "sent nothing for 1.5 s"),
        ("provider_broke_off", "before the answer was finished"),
    ] {
        let heard = hear(&*provider, call("m")).await;
        assert_eq!(heard.failure().0, code);
        assert!(heard.failure().1.contains(words), "{heard:?}");
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let error = serde_json::json!({});
    let elsewhere = Upstream::echo().await;
    let script = Script::json(307, &error).header(
        "location",
        &format!("{}/chat/completions", elsewhere.base_url()),
    );
    let upstream = Upstream::scripted([script]).await;
    let heard = hear(
        &*connect(settings_for(FORMAT, &upstream)).unwrap(),
        call("m"),
    )
    .await;
    assert_eq!(heard.failure().0, "provider_refused");
    assert!(elsewhere.received().is_empty());
}

#[tokio::test]
async fn a_line_without_an_end_is_given_up() {
    let script = Script::stream().raw("x".repeat(2 << 20));
    let upstream =
        Upstream::scripted([script, Script::stream().raw("data: x\n".repeat(1 << 18))]).await;
    let provider = connect(settings_for(FORMAT, &upstream)).unwrap();
    for _ in 0..2 {
        assert_eq!(
            hear(&*provider, call("m")).await.failure().0,
            "provider_malformed"
        );
    }
}
