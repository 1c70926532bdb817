//! Between client and server stands what stands there in other people's networks: real proxies, set as unkindly as they can be,
//! and a gateway of our own that is worse. The main job goes through each of them, by script and in the browser, and ends
//! with the text that a direct client gets; a stream of the same answer goes the same way, for comparison. What becomes of
//! it is the table in `docs/PROXIES.md`.

pub mod answer;
mod client;
mod document;
pub mod gateway;
pub mod intermediary;
mod page;
mod sse;

use std::sync::atomic::{AtomicUsize, Ordering};

use self::client::{Client, Told};
use self::gateway::Gateway;
use self::intermediary::{Intermediary, Kind, Way};
use self::sse::{End, FirstWords, Outcome, Streams};
use crate::support::{TestApp, Upstream, database};

/// When a stream's words come is told by the time they take, and this machine may be busy.
const TRIES: usize = 3;

pub const NGINX: Kind = Kind {
    package: "nginx",
    program: "/usr/sbin/nginx",
    arguments: &["-c", "{conf}", "-e", "{dir}/log"],
    configuration: include_str!("configurations/nginx.conf"),
    is_forward: false,
    is_impatient: true,
};
pub const HAPROXY: Kind = Kind {
    package: "haproxy",
    program: "/usr/sbin/haproxy",
    arguments: &["-db", "-f", "{conf}"],
    configuration: include_str!("configurations/haproxy.cfg"),
    is_forward: false,
    is_impatient: true,
};
pub const VARNISH: Kind = Kind {
    package: "varnish",
    program: "/usr/sbin/varnishd",
    arguments: &[
        "-F",
        "-a",
        "127.0.0.1:{port}",
        "-f",
        "{conf}",
        "-n",
        "{dir}",
        "-s",
        "malloc,32m",
    ],
    configuration: include_str!("configurations/varnish.vcl"),
    is_forward: false,
    is_impatient: false,
};
pub const SQUID: Kind = Kind {
    package: "squid",
    program: "/usr/sbin/squid",
    arguments: &["-N", "-f", "{conf}"],
    configuration: include_str!("configurations/squid.conf"),
    is_forward: true,
    is_impatient: false,
};
pub const APACHE: Kind = Kind {
    package: "apache2-bin",
    program: "/usr/sbin/apache2",
    arguments: &["-X", "-f", "{conf}"],
    configuration: include_str!("configurations/apache.conf"),
    is_forward: false,
    is_impatient: false,
};

/// A line of the document's table.
struct Row {
    between: &'static str,
    set: &'static str,
    stream: Outcome,
}

const fn row(between: &'static str, set: &'static str, first_words: FirstWords, end: End) -> Row {
    let stream = Outcome { first_words, end };
    Row {
        between,
        set,
        stream,
    }
}

const BEHIND_NOTHING: Row = row("nothing", "", FirstWords::WhileTheyAreSaid, End::Whole);
const BEHIND_NGINX: Row = row(
    "nginx",
    "reverse proxy; buffers and compresses; time limits of 1 s",
    FirstWords::Late,
    End::CutInThePause,
);
const BEHIND_HAPROXY: Row = row(
    "HAProxy",
    "reverse proxy; time limits of 1 s for client, server and tunnel; a connection for each request",
    FirstWords::WhileTheyAreSaid,
    End::CutInThePause,
);
const BEHIND_VARNISH: Row = row(
    "Varnish",
    "reverse proxy; caches by its built-in rules",
    FirstWords::WhileTheyAreSaid,
    End::Whole,
);
const BEHIND_SQUID: Row = row(
    "Squid",
    "forward proxy; caches by Debian's rules",
    FirstWords::WhileTheyAreSaid,
    End::Whole,
);
const BEHIND_APACHE: Row = row(
    "Apache",
    "reverse proxy that speaks HTTP/1.0 to both sides",
    FirstWords::WhileTheyAreSaid,
    End::Whole,
);
const BEHIND_THE_GATEWAY: Row = row(
    "a gateway of the tests",
    "takes away headers that it does not know; cuts connections after 2 s; drops 5 % of the answers; delays some, asks for some twice, gives some in another order",
    FirstWords::WhileTheyAreSaid,
    End::Cut,
);
const ROWS: [&Row; 7] = [
    &BEHIND_NOTHING,
    &BEHIND_NGINX,
    &BEHIND_HAPROXY,
    &BEHIND_VARNISH,
    &BEHIND_SQUID,
    &BEHIND_APACHE,
    &BEHIND_THE_GATEWAY,
];

/// What stands behind each proxy.
struct Stage {
    app: TestApp,
    streams: Streams,
    ports: (u16, u16),
}

impl Stage {
    async fn set() -> Self {
        let upstream = Upstream::start(|_| answer::script()).await;
        // Nobody who asks brings anything along that would keep a cache away.
        let settings = [
            ("auth.local_hosts", "127.0.0.1"),
            ("trusted_proxies", "127.0.0.1"),
        ];
        let app = TestApp::start_with(database::Kind::Sqlite, upstream, &settings).await;
        let streams = Streams::start().await;
        let port = app.base.rsplit_once(':').unwrap().1;
        let ports = (port.parse().unwrap(), streams.port);
        Self {
            app,
            streams,
            ports,
        }
    }

    /// The stream, the script and the page, all at once on the same way.
    async fn watch(&self, way: &Way, row: &Row, script: Client) -> (Told, page::Seen) {
        let ((), told, seen) = tokio::join!(
            self.compare(way, row),
            script.converse(),
            page::converse(way, &self.app),
        );
        self.assert_whole(&told).await;
        assert_eq!(self.message_of(&seen.chat).await, answer::text());
        let whole = told.reader.text.chars().count();
        let intermediate = seen.lengths.iter().filter(|length| **length < whole);
        assert!(intermediate.count() >= 2, "{:?}", seen.lengths);
        (told, seen)
    }

    /// What becomes of the stream is what the document says.
    async fn compare(&self, way: &Way, row: &Row) {
        let mut outcome = self.streams.read(way).await;
        for _ in 1..TRIES {
            if outcome.is(row.stream) {
                break;
            }
            outcome = self.streams.read(way).await;
        }
        assert!(
            outcome.is(row.stream),
            "the stream behind {}: {outcome:?}",
            row.between
        );
    }

    /// What the script has is what was said, what is stored, and what a direct client gets.
    async fn assert_whole(&self, told: &Told) {
        assert_eq!(told.reader.text, answer::text());
        assert_eq!(told.reader.status, "completed");
        assert_eq!(told.reader.replaced, 0);
        assert!(told.growths > 3, "it came in {} pieces", told.growths);
        let direct = self.app.read(&told.answer).await;
        assert_eq!(direct.text, told.reader.text);
        assert_eq!(self.message_of(&told.chat).await, told.reader.text);
    }

    /// The stored text of the one answer of a chat, read directly from the server.
    async fn message_of(&self, chat: &str) -> String {
        let messages = self.app.messages(chat).await;
        assert_eq!(messages.len(), 2, "each message is there once");
        messages[1]["content"].as_str().unwrap().to_owned()
    }
}

/// The whole job through one of Debian's proxies; the proxy, and what was spoken with it.
async fn the_main_job_through(
    kind: Kind,
    row: &Row,
    client: fn(&Way) -> Client,
) -> (Intermediary, Vec<String>) {
    let stage = Stage::set().await;
    let (pollen, streams) = stage.ports;
    let proxy = Intermediary::start(&kind, pollen, streams).await;
    let (told, seen) = stage.watch(&proxy.way, row, client(&proxy.way)).await;
    if !kind.is_impatient {
        assert_eq!(told.failures, 0, "short requests pass");
        assert_eq!(seen.complaints, Vec::<String>::new());
    }
    stage.app.stop().await;
    (proxy, stage.streams.spoken())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_main_job_without_a_proxy() {
    let stage = Stage::set().await;
    let way = Way::direct(stage.ports.0, stage.ports.1);
    let (told, seen) = stage.watch(&way, &BEHIND_NOTHING, Client::new(&way)).await;
    assert_eq!(told.failures, 0);
    assert_eq!(seen.complaints, Vec::<String>::new());
    stage.app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_main_job_through_nginx() {
    the_main_job_through(NGINX, &BEHIND_NGINX, Client::new).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_main_job_through_haproxy() {
    the_main_job_through(HAPROXY, &BEHIND_HAPROXY, Client::new).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_main_job_through_varnish() {
    the_main_job_through(VARNISH, &BEHIND_VARNISH, Client::new).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_main_job_through_squid() {
    let (proxy, _) = the_main_job_through(SQUID, &BEHIND_SQUID, Client::new).await;
    // The addresses are Pollen's own: that script, page and stream did go through it, it has noted.
    let passed = proxy.read("access");
    for what in ["/tokens/", "/assets/pollen.js", "/sse"] {
        assert!(passed.contains(what), "{what} in {passed}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_main_job_through_a_proxy_of_http_1_0() {
    let (_, spoken) = the_main_job_through(APACHE, &BEHIND_APACHE, Client::of_1996).await;
    assert_eq!(spoken, ["HTTP/1.0 to the client", "HTTP/1.0 to the server"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_main_job_through_the_gateway() {
    let stage = Stage::set().await;
    let gateway = Gateway::start(stage.ports.0, stage.ports.1).await;
    let script = Client::new(&gateway.way);
    stage.watch(&gateway.way, &BEHIND_THE_GATEWAY, script).await;
    // It was as bad as it is said to be.
    let deeds = gateway.deeds();
    let did = |count: &AtomicUsize| count.load(Ordering::Relaxed);
    assert!(did(&deeds.cut) > 2 && did(&deeds.dropped) > 0, "{deeds:?}");
    assert!(
        did(&deeds.delayed) > 1 && did(&deeds.asked_twice) > 1 && did(&deeds.overtaken) > 1,
        "{deeds:?}"
    );
    stage.app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_overtake_each_other_take_nothing_back() {
    let stage = Stage::set().await;
    let gateway = Gateway::start(stage.ports.0, stage.ports.1).await;
    let client = Client::new(&gateway.way);
    let (answer, reader, late) = client.read_in_haste().await;
    assert_eq!(reader.text, answer::text());
    assert_eq!(stage.app.read(&answer).await.text, reader.text);
    assert_eq!(reader.replaced, 0);
    assert!(late > 0, "no answer came late");
    stage.app.stop().await;
}
