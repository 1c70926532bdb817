//! What Pollen is compared with: a bare axum server that answers every request with the same few bytes of JSON. It does
//! nothing that a server could leave out, so its requests per second are the limit of this stack on this machine.

use anyhow::Result;
use axum::Router;
use axum::http::header;
use axum::routing::get;
use axum::serve::ListenerExt as _;
use bytes::Bytes;
use tokio::net::TcpListener;

use crate::bench::Bench;
use crate::hidden;
use crate::machine::Place;
use crate::process::Process;

/// Where it answers.
pub const PATH: &str = "/hello";

/// A running one.
pub async fn start(bench: &Bench, body_bytes: usize) -> Result<Process> {
    let arguments = vec![
        "baseline".to_owned(),
        "--bytes".to_owned(),
        body_bytes.to_string(),
    ];
    bench.start_own(arguments, Place::Server).await
}

/// The child process: serves until its standard input closes.
pub fn run(body_bytes: usize) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        hidden::say_address(listener.local_addr()?);
        let body = body(body_bytes);
        let answer = move || {
            let body = body.clone();
            async move { ([(header::CONTENT_TYPE, "application/json")], body) }
        };
        let router = Router::new().route(PATH, get(answer));
        // As Pollen does: answers are small and complete.
        let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
        tokio::select! {
            served = async { axum::serve(listener, router).await } => Ok(served?),
            () = hidden::until_stdin_closes() => Ok(()),
        }
    })
}

/// JSON of exactly so many bytes, as far as there is room for it to be any.
fn body(bytes: usize) -> Bytes {
    const FRAME: &str = r#"{"hello":""}"#;
    let Some(filling) = bytes.checked_sub(FRAME.len()) else {
        return Bytes::from(" ".repeat(bytes));
    };
    Bytes::from(format!(r#"{{"hello":"{}"}}"#, "x".repeat(filling)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_has_the_length_that_was_asked_for() {
        for bytes in [0, 1, 12, 90, 4_096] {
            assert_eq!(body(bytes).len(), bytes);
        }
        assert!(serde_json::from_slice::<serde_json::Value>(&body(90)).is_ok());
    }
}
