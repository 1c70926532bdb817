//! The client for JavaScript.

use super::driver::Said;
use super::{Driver, Model, types};
use crate::support::TestApp;
use crate::support::database::Kind;

async fn driven(kind: Kind, scenarios: &str, settings: &[(&str, &str)]) -> (TestApp, Said) {
    let (model, upstream) = Model::start().await;
    let app = TestApp::start_with(kind, upstream, settings).await;
    let said = Driver::javascript(scenarios, &[&app.base])
        .end(&model)
        .await;
    (app, said)
}

on_both_databases! {
    async fn responses(kind: Kind) {
        let (app, said) = driven(kind, "grows,thinks,waits,cancels,goes_on,fails,refuses,lists,once,on_from,creates_and_polls,completes", &[]).await;
        let asked = app.upstream.received();
        let third = asked.iter().find(|request| request.asked() == "three").unwrap();
        assert_eq!(third.turns().len(), 5);
        app.stop().await;
        if kind == Kind::Sqlite {
            types::hold(&said.dir).await;
        }
    }

    async fn a_busy_chat_is_asked_once(kind: Kind) {
        let (app, _) = driven(kind, "is_busy", &[]).await;
        app.stop().await;
    }
}
