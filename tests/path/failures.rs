//! The model refuses, is unreachable, stalls, breaks off, talks nonsense or says nothing: the
//! answer ends as failed with a reason that a person understands, what was said is kept, and the
//! chat goes on.

use serde_json::json;

use crate::support::upstream::{delta, finish};
use crate::support::{Script, TestApp, Upstream};

/// Plays the script to the first message and answers the second one: (code, reason, text kept).
async fn fail_once(
    kind: crate::support::database::Kind,
    script: Script,
) -> (String, String, String) {
    let upstream = Upstream::scripted([script, Script::answer(["all is well"])]).await;
    let settings = [
        ("upstream.stall_timeout_ms", "300"),
        ("upstream.first_byte_timeout_ms", "400"),
    ];
    let app = TestApp::start_with(kind, upstream, &settings).await;
    let (chat, answer, reader) = app.ask("one").await;
    assert_eq!(reader.status, "failed");
    let failed = app.message(&answer).await;
    assert_eq!(
        failed["content"], reader.text,
        "what was shown is what is stored"
    );
    let again = app.send(&chat, "two").await;
    let second = app.answer_to(&chat, &again).await;
    assert_eq!(
        app.read(&second).await.text,
        "all is well",
        "the chat goes on"
    );
    let sent = app.upstream.received().pop().unwrap().turns();
    assert_eq!(
        sent.len(),
        2,
        "the failed answer is not sent as history: {sent:?}"
    );
    app.stop().await;
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    (
        text(&failed["error"]["code"]),
        text(&failed["error"]["message"]),
        text(&failed["content"]),
    )
}

macro_rules! failures {
    ($($(#[$meta:meta])* $name:ident: $script:expr => $code:literal, $reason:literal, kept $kept:literal;)*) => {
        on_both_databases! {$(
            $(#[$meta])*
            async fn $name(kind: Kind) {
                let (code, reason, kept) = fail_once(kind, $script).await;
                assert_eq!((code.as_str(), kept.as_str()), ($code, $kept), "{reason}");
                assert!(reason.contains($reason), "{reason}");
            }
        )*}
    };
}

failures! {
    the_key_is_refused: Script::json(401, &json!({"error": {"message": "Incorrect API key provided: sk-x"}}))
        => "provider_unauthorized", "refused the key", kept "";
    the_model_is_unknown: Script::json(404, &json!({"error": {"message": "no model scripted-model"}}))
        => "model_not_found", "does not know the model \"scripted-model\"", kept "";
    the_limit_is_hit: Script::json(429, &json!({"error": {"message": "slow down"}})).header("retry-after", "7")
        => "provider_rate_limited", "asked too often", kept "";
    the_request_is_refused: Script::json(400, &json!({"error": {"message": "context too long"}}))
        => "provider_refused", "context too long", kept "";
    the_reason_cannot_be_stored_as_it_is: Script::json(400, &json!({"error": {"message": "a\u{0}b"}}))
        => "provider_refused", "a\u{FFFD}b", kept "";
    the_server_fails: Script::json(503, &json!({"error": "overloaded"}))
        => "provider_error", "status 503", kept "";
    an_error_comes_after_a_200: Script::json(200, &json!({"error": {"message": "out of memory"}}))
        => "provider_error", "out of memory", kept "";
    an_error_comes_in_mid_stream: Script::stream().say(["so far "]).raw("data: {\"error\": {\"message\": \"GPU lost\"}}\n\n")
        => "provider_error", "GPU lost", kept "so far ";
    nothing_comes_at_all: Script::stream().stall()
        => "provider_stalled", "sent nothing for 0.4 s", kept "";
    the_stream_stalls: Script::stream().say(["so far "]).stall()
        => "provider_stalled", "sent nothing for 0.3 s", kept "so far ";
    the_connection_breaks: Script::stream().say(["so ", "far "]).cut()
        => "provider_broke_off", "before the answer was finished", kept "so far ";
    the_stream_ends_without_a_finish: Script::stream().say(["so far"])
        => "provider_broke_off", "in the middle", kept "so far";
    done_alone_finishes_nothing: Script::stream().say(["so far"]).raw("data: [DONE]\n\n")
        => "provider_broke_off", "in the middle", kept "so far";
    the_stream_is_not_json: Script::stream().say(["so far"]).raw("data: {\"choices\": [\n\n")
        => "provider_malformed", "not an answer", kept "so far";
    the_stream_is_not_utf8: Script::stream().say(["so far"]).raw(b"data: \xff\xfe\n\n".to_vec())
        => "provider_malformed", "not an answer", kept "so far";
    a_line_never_ends: Script::stream().raw("x".repeat(2 << 20)).finish()
        => "provider_malformed", "not an answer", kept "";
    it_is_a_web_page: Script::stream_of("text/html; charset=utf-8").raw("<html>")
        => "provider_malformed", "sent a web page", kept "";
    it_is_nothing_but_a_word: Script::json(200, &json!("hello")).header("x", "y")
        => "provider_malformed", "not an answer", kept "";
    it_says_nothing: Script::stream().finish()
        => "empty_answer", "without saying anything", kept "";
    the_rest_is_withheld: Script::stream().say(["so far"]).raw(finish("content_filter"))
        => "content_filter", "withheld", kept "so far";
}

on_both_databases! {
    async fn the_server_is_not_there(kind: Kind) {
        let settings = [("openai.base_url", "http://127.0.0.1:9/v1")];
        let app = TestApp::start_with(kind, Upstream::echo().await, &settings).await;
        let (_, answer, reader) = app.ask("one").await;
        assert_eq!((reader.status.as_str(), reader.text.as_str()), ("failed", ""));
        let error = &app.message(&answer).await["error"];
        assert_eq!(error["code"], "provider_unreachable");
        assert!(error["message"].as_str().unwrap().contains("could not be reached"), "{error}");
        app.stop().await;
    }

    async fn an_answer_beyond_the_limit_is_cut_and_says_so(kind: Kind) {
        let upstream = Upstream::start(|_| Script::answer(vec!["0123456789abcdef"; 200])).await;
        let app = TestApp::start_with(kind, upstream, &[("ledger.max_answer_bytes", "1024")]).await;
        let (_, answer, reader) = app.ask("one").await;
        assert_eq!((reader.status.as_str(), reader.text.len()), ("failed", 1024));
        assert_eq!(app.message(&answer).await["error"]["code"], "answer_too_long");
        app.stop().await;
    }

    async fn what_servers_do_differently_does_no_harm(kind: Kind) {
        let crlf = |text: &str| text.replace('\n', "\r\n");
        let whole = json!({"choices": [{"index": 0, "finish_reason": "stop",
            "message": {"role": "assistant", "content": "all at once"}}], "usage": {"prompt_tokens": 1}});
        let cases = [
            // Keep-alives, event names, roles without content, nulls, unknown fields, carriage returns.
            ("ab", Script::stream().raw(": ping\n\nevent: delta\nid: 1\n")
                .raw(delta("a"))
                .raw("data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":null},\"finish_reason\":null,\"x\":1}]}\n\n")
                .raw(crlf(&delta("b"))).finish()),
            // Usage in the last chunk with content, no [DONE], no empty line at the end.
            ("c", Script::stream().raw(delta("c"))
                .raw("data:{\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":{\"completion_tokens\":1}}")),
            // Cut off after the finish: the answer is whole.
            ("d", Script::stream().raw(delta("d")).raw(finish("length")).cut()),
            // No stream at all.
            ("all at once", Script::json(200, &whole)),
            // A byte order mark, and a NUL, which no database takes.
            ("e\u{FFFD}f", Script::stream().raw("\u{FEFF}").raw(delta("e\u{0}f")).finish()),
        ];
        let (expected, scripts): (Vec<_>, Vec<_>) = cases.into_iter().unzip();
        let app = TestApp::start(kind, Upstream::scripted(scripts).await).await;
        for text in expected {
            let (_, _, reader) = app.ask("go").await;
            assert_eq!((reader.text.as_str(), reader.status.as_str()), (text, "completed"));
        }
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_finished_does_not_wait_for_a_server_that_goes_on_talking() {
    let pings = vec![": ping\n\n"; 400];
    let mut script = Script::stream().say(["whole"]).raw(finish("stop"));
    for ping in pings {
        script = script.raw(ping);
    }
    let script = script.paced(std::time::Duration::from_millis(50)).stall();
    let app = TestApp::start(
        crate::support::database::Kind::Sqlite,
        Upstream::scripted([script]).await,
    )
    .await;
    let (_, _, reader) = app.ask("one").await;
    assert_eq!(
        (reader.status.as_str(), reader.text.as_str()),
        ("completed", "whole")
    );
    app.stop().await;
}
