//! The document against the router that is served.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

const METHODS: [&str; 9] = [
    "get", "head", "delete", "options", "patch", "post", "put", "trace", "connect",
];

/// Each method and path that the router takes, from its own words: there is no other way to ask it.
fn routed() -> BTreeSet<(String, String)> {
    let (router, _) = routes::router().split_for_parts();
    let told = format!("{router:?}");
    let (told, _) = told.split_once("fallback_router:").unwrap();
    let (endpoints, paths) = told.split_once("node: Node").unwrap();
    let paths: BTreeMap<_, _> = numbered(paths).collect();
    numbered(endpoints)
        .flat_map(|(number, endpoint)| {
            let path = paths[number].split('"').nth(1).unwrap().to_owned();
            let is_taken =
                move |method: &&str| endpoint.contains(&format!(" {method}: BoxedHandler"));
            let taken = METHODS.into_iter().filter(is_taken);
            taken.map(move |method| (method.to_uppercase(), path.clone()))
        })
        .collect()
}

/// What is said of each route, by its number.
fn numbered(told: &str) -> impl Iterator<Item = (&str, &str)> {
    let parts = told.split("RouteId(").skip(1);
    parts.map(|part| part.split_once("): ").unwrap())
}

#[test]
fn the_document_has_every_route_that_the_router_has_and_no_other() {
    let all = surface().into_iter().chain(UNDOCUMENTED);
    let all = all.map(|(method, path)| (method.to_string(), path.to_owned()));
    assert_eq!(all.collect::<BTreeSet<_>>(), routed());
}

#[test]
fn the_document_in_the_repository_is_the_one_that_is_served() {
    let path = "docs/openapi.json";
    let made = format!("{}\n", document().to_pretty_json().unwrap());
    if std::env::var_os("POLLEN_UPDATE_DOCS").is_some() {
        std::fs::write(path, made).unwrap();
    } else {
        assert!(
            std::fs::read_to_string(path).is_ok_and(|written| written == made),
            "{path} is out of date: run `POLLEN_UPDATE_DOCS=1 cargo test --lib the_document`"
        );
    }
}

#[test]
fn each_operation_has_a_name_of_its_own() {
    let items = document().paths.paths.values();
    let ids: Vec<_> = items
        .flat_map(|item| operations(item).map(|(_, operation)| operation.as_ref()))
        .flatten()
        .map(|operation| operation.operation_id.clone())
        .collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len());
}
