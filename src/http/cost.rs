//! What a request costs, by its method and its route: against which budget it counts, and how long its body may be.
//! What is not named here is one more change with a few fields, or one more poll.

use axum::extract::MatchedPath;
use axum::http::{Extensions, Method};

use crate::limit::Budget;

/// What asks a model, or may.
const SENDS: [(Method, &str); 9] = [
    (Method::POST, "/v1/threads/runs"),
    (Method::POST, "/v1/threads/{thread_id}/runs"),
    (Method::POST, "/v1/chat/completions"),
    (Method::POST, "/v1/responses"),
    (Method::POST, "/chat/{uuid}/send"),
    (Method::POST, "/chat/message/{uuid}/retry"),
    (Method::POST, "/chat/message/{uuid}/regenerate"),
    (Method::POST, "/chat/message/{uuid}/edit"),
    (Method::PUT, "/chat/message/{uuid}"),
];
/// What takes a message; the body of anything else has a few fields.
const TAKES_MESSAGES: [(Method, &str); 11] = [
    (Method::POST, "/v1/conversations"),
    (Method::POST, "/v1/threads"),
    (Method::POST, "/v1/threads/{thread_id}/messages"),
    (Method::POST, "/v1/threads/runs"),
    (Method::POST, "/v1/threads/{thread_id}/runs"),
    (Method::POST, "/v1/chat/completions"),
    (Method::POST, "/v1/responses"),
    (Method::POST, "/chat/create"),
    (Method::POST, "/chat/{uuid}/send"),
    (Method::POST, "/chat/message/{uuid}/edit"),
    (Method::PUT, "/chat/message/{uuid}"),
];
/// What takes whole chats.
const TAKES_DOCUMENTS: [(Method, &str); 1] = [(Method::POST, "/chats/import")];
/// Reads that are as much work as a change.
const DEAR_READS: [&str; 7] = [
    "/chat/search",
    "/chat/{uuid}/export",
    "/chats/export",
    "/chats/export/{uuid}/file",
    "/me/export",
    "/admin/chat/{uuid}/export",
    "/admin/user/{uuid}/chats",
];
/// What the routes begin with that clients poll, whatever follows.
const POLLS: [&str; 5] = [
    "/poll",
    "/chat/message/{uuid}/tokens",
    "/chat/{uuid}/messages",
    "/shared/{secret}/message/{uuid}/tokens",
    "/shared/{secret}/messages",
];
/// The same, but not what follows.
const POLLED: [&str; 2] = [
    "/v1/responses/{id}",
    "/v1/threads/{thread_id}/runs/{run_id}",
];
/// What is posted only because it is too long for an address.
const POSTED_READS: [&str; 1] = ["/poll"];
/// What whoever runs the server asks, which is answered whatever else happens.
const VITAL: [&str; 3] = ["/healthz", "/readyz", "/metrics"];
/// What asks nobody who they are, and says whether the server lives.
const UNCOUNTED: [&str; 2] = ["/healthz", "/readyz"];
/// What is nobody's and costs nothing.
const FREE: [&str; 3] = ["/assets/{file}", "/problems/{slug}", "/_components"];
/// Where a link's holder reads, who need not be known.
const SHARED: &str = "/shared/";

/// The longest body of a few fields, in bytes: the comment to a reaction, in the longest form that it can take.
pub const FEW_FIELDS_BYTES: usize = 32 * 1024;

/// The route, as its router writes it; empty where there is none.
pub fn route_of(extensions: &Extensions) -> &str {
    let matched = extensions.get::<MatchedPath>();
    matched.map_or("", MatchedPath::as_str)
}

/// Whether it is one of the polls of which clients send several a second.
pub fn is_poll(route: &str) -> bool {
    POLLS.iter().any(|poll| route.starts_with(poll)) || POLLED.contains(&route)
}

/// Whether a request changes nothing.
pub fn only_reads(method: &Method, route: &str) -> bool {
    method.is_safe() || (*method == Method::POST && POSTED_READS.contains(&route))
}

/// None: it counts against none.
pub fn budget(method: &Method, route: &str) -> Option<Budget> {
    // Before a page of another origin may ask at all, its browser does, without saying for whom.
    let is_free = FREE.contains(&route) || *method == Method::OPTIONS;
    if is_free || UNCOUNTED.contains(&route) {
        return None;
    }
    Some(if names(&SENDS, method, route) {
        Budget::Sends
    } else if only_reads(method, route) && !DEAR_READS.contains(&route) {
        Budget::Polls
    } else {
        Budget::Changes
    })
}

/// Whether somebody may want to know what became of such a request: not of polls, of which there are too many, and
/// not of what costs nothing.
pub fn is_traced(route: &str) -> bool {
    !route.is_empty() && !is_poll(route) && !is_vital(route) && !FREE.contains(&route)
}

pub fn is_vital(route: &str) -> bool {
    VITAL.contains(&route)
}

/// Whether one may ask without being known.
pub fn is_shared(route: &str) -> bool {
    route.starts_with(SHARED)
}

/// The longest body in bytes, where messages, and what is imported, may be this long.
pub fn body_bytes(method: &Method, route: &str, (most, imported): (usize, usize)) -> usize {
    if names(&TAKES_DOCUMENTS, method, route) {
        imported
    } else if names(&TAKES_MESSAGES, method, route) {
        most
    } else {
        most.min(FEW_FIELDS_BYTES)
    }
}

fn names(routes: &[(Method, &str)], method: &Method, route: &str) -> bool {
    let named = |(m, path): &(Method, &str)| m == method && *path == route;
    routes.iter().any(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn polls_sends_and_changes_are_counted_apart() {
        for (method, route, counted) in [
            (
                Method::GET,
                "/chat/{uuid}/messages/{last_uuid}",
                Some(Budget::Polls),
            ),
            (Method::HEAD, "/chat/list", Some(Budget::Polls)),
            (Method::GET, "", Some(Budget::Polls)),
            (Method::GET, "/chat/message/{uuid}", Some(Budget::Polls)),
            (Method::PUT, "/chat/message/{uuid}", Some(Budget::Sends)),
            (
                Method::DELETE,
                "/chat/message/{uuid}",
                Some(Budget::Changes),
            ),
            (Method::POST, "/chat/{uuid}/send", Some(Budget::Sends)),
            (Method::POST, "/chat/create", Some(Budget::Changes)),
            (Method::GET, "/chat/search", Some(Budget::Changes)),
            (Method::GET, "/poll", Some(Budget::Polls)),
            (Method::POST, "/poll", Some(Budget::Polls)),
            (Method::GET, "/healthz", None),
            (Method::GET, "/metrics", Some(Budget::Polls)),
            (Method::GET, "/assets/{file}", None),
            (Method::OPTIONS, "/chat/create", None),
        ] {
            assert_eq!(budget(&method, route), counted, "{method} {route}");
        }
    }

    /// A route that is renamed is not to lose its limits.
    #[test]
    fn what_is_named_is_there() {
        let folders = ["src/http/routes", "src/http/v1"];
        let files = folders.map(|folder| std::fs::read_dir(folder).unwrap());
        let texts = files
            .into_iter()
            .flatten()
            .map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap());
        let routes: String = texts.collect();
        let named = SENDS
            .iter()
            .chain(&TAKES_MESSAGES)
            .chain(&TAKES_DOCUMENTS)
            .map(|(_, route)| *route);
        // The export of all that is a user's is checked where it is.
        let reads = DEAR_READS
            .into_iter()
            .filter(|route| !route.starts_with("/me/"));
        for route in named
            .chain(reads)
            .chain(VITAL)
            .chain(FREE)
            .chain(POLLS)
            .chain(POLLED)
        {
            assert!(routes.contains(&format!("\"{route}\"")), "{route}");
        }
    }

    #[test]
    fn only_messages_may_be_long() {
        let (most, imported) = (1 << 20, 1 << 24);
        let most = (most, imported);
        assert_eq!(body_bytes(&Method::POST, "/chat/create", most), most.0);
        assert_eq!(
            body_bytes(&Method::PUT, "/chat/message/{uuid}", most),
            most.0
        );
        assert_eq!(body_bytes(&Method::POST, "/chats/import", most), imported);
        for (method, route) in [
            (Method::PATCH, "/chat/{uuid}"),
            (Method::POST, "/theme"),
            (Method::POST, ""),
        ] {
            assert_eq!(body_bytes(&method, route, most), FEW_FIELDS_BYTES);
        }
        let few = (1_024, imported);
        assert_eq!(body_bytes(&Method::POST, "/theme", few), 1_024);
    }
}
