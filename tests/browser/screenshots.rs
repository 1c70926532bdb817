//! The pictures of the README, taken anew by `./scripts/screenshots.sh`. They show the page as it is, with
//! a scripted model: the same words each time.

use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{FINISHED, PENDING};
use crate::support::browser::{Browser, Kind as Like};
use crate::support::{Script, TestApp, Upstream, app::eventually, database::Kind};

const WIDE: Like = Like {
    width: 1000,
    height: 760,
    // Nothing is caught in the middle of a movement.
    reduced_motion: true,
    ..Like::WIDE
};
const PHONE: Like = Like { width: 390, ..WIDE };

const TRIP: &str = "Plan three days in Lisbon for two, by tram and on foot";
const TRIP_ANSWER: &str = "\
Three days are enough for the old town, the river and **a day by the sea**:

| Day | Morning | Afternoon | Evening |
| --- | --- | --- | --- |
| 1 | Tram 28 to Graça | Alfama on foot | Fado in Mouraria |
| 2 | Belém by tram 15 | LX Factory | Ferry to Cacilhas |
| 3 | Train to Sintra | Cabo da Roca | Dinner in Cascais |

A few things that help:

1. Take tram 28 **before nine**; later you will stand.
2. Book the tickets for Pena Palace with a time slot.

";
const TRIP_REST: &str =
    "The last train back from Cascais leaves after midnight, so there is no hurry.\n";

const CODE: &str = "Write a Python function that merges overlapping date ranges";
const CODE_ANSWER: &str = r#"Sort the ranges by their start. Then each one either begins **after** the last range that you kept, or it makes that one longer:

```python
from datetime import date

def merge(ranges: list[tuple[date, date]]) -> list[tuple[date, date]]:
    """Merges ranges that overlap; both ends are inclusive."""
    merged = []
    for start, end in sorted(ranges):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged
```

What to test:

- [x] no range at all
- [x] a range inside of another one
- [ ] ranges that touch: `merge` keeps 1–3 May and 4–6 May apart
"#;

const LETTER: &str =
    "Make this friendlier: We can not process your request without the order number.";
const LETTERS: [&str; 3] = [
    "Could you send us your order number? Then we can look into it.",
    "We would love to help! Please tell us your order number, and we will get started right away.",
    "Thank you for writing to us. To find your order, we only need its number: you will see it at the top of your \
     confirmation e-mail. As soon as we have it, we will take care of the rest.",
];

/// What was asked on earlier days, what was answered, and how many days ago.
const EARLIER: [(&str, &str, i64); 3] = [
    (
        "Ideas for a birthday in the park",
        "A treasure hunt, a picnic and a kite for each child.",
        2,
    ),
    (
        "A letter to the landlord about the heating",
        "Dear Ms Berger, since Monday the heating stays cold.",
        1,
    ),
    (
        "Which bike fits a daily ride of 12 km?",
        "One with eight gears, mudguards and a dynamo.",
        1,
    ),
];

/// A model that answers each of these questions; what is said in pieces waits for the gate.
async fn model(gate: &CancellationToken) -> Upstream {
    let gate = gate.clone();
    let letters = std::sync::atomic::AtomicUsize::new(0);
    Upstream::start(move |request| match request.asked().as_str() {
        TRIP => Script::stream()
            .say([TRIP_ANSWER])
            .wait(&gate)
            .say([TRIP_REST])
            .finish(),
        CODE => Script::answer([CODE_ANSWER]),
        LETTER => {
            let next = letters.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            Script::answer([LETTERS[next % LETTERS.len()]])
        }
        "Translate the second paragraph into French" => Script::json(
            429,
            &json!({"error": {"message": "You have used up your requests of this hour."}}),
        ),
        other => {
            let known = EARLIER.iter().find(|(question, ..)| *question == other);
            Script::answer(known.map(|(_, answer, _)| *answer))
        }
    })
    .await
}

struct Studio {
    app: TestApp,
    gate: CancellationToken,
}

impl Studio {
    async fn start() -> Self {
        let gate = CancellationToken::new();
        let settings = [("openai.model", "gpt-5-mini")];
        let app = TestApp::start_with(Kind::Sqlite, model(&gate).await, &settings).await;
        Self { app, gate }
    }

    /// A chat with this question, answered or on the way; its path and the answer's UUID.
    async fn ask(&self, question: &str) -> (String, String) {
        let chat = self.app.create_chat().await;
        let message = self.app.send(&chat, question).await;
        let answer = self.app.answer_to(&chat, &message).await;
        (chat, answer)
    }

    async fn answered(&self, question: &str) -> (String, String) {
        let (chat, answer) = self.ask(question).await;
        self.app.read(&answer).await;
        (chat, answer)
    }

    /// Takes a picture of what is there, as soon as the list at the side is.
    async fn take(&self, browser: &Browser, name: &str) {
        browser.text_of("#side-list .chat-row").await;
        browser.evaluate("document.activeElement.blur()").await;
        let picture = browser.page.screenshot().await.unwrap();
        std::fs::write(format!("docs/images/{name}.png"), picture).unwrap();
    }

    async fn visit(&self, browser: &Browser, chat: &str) {
        browser
            .visit(&self.app.base, &format!("/chat/{chat}"))
            .await;
    }
}

/// Moves a chat to an earlier day, so that the list shows several.
async fn age(app: &TestApp, chat: &str, days: i64) {
    use sea_orm::{ColumnTrait, EntityTrait, ExprTrait as _, QueryFilter, sea_query::Expr};
    let db = app.database.connect().await;
    let column = entity::chat::Column::UpdatedAt;
    let id: uuid::Uuid = chat.parse().unwrap();
    entity::chat::Entity::update_many()
        .col_expr(column, Expr::col(column).sub(days * 86_400_000))
        .filter(entity::chat::Column::Id.eq(entity::ChatId(id)))
        .exec(&db)
        .await
        .unwrap();
    db.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it writes files: ./scripts/screenshots.sh"]
async fn the_pictures_of_the_readme() {
    let studio = Studio::start().await;
    for (question, _, days) in EARLIER {
        let (chat, _) = studio.answered(question).await;
        age(&studio.app, &chat, days).await;
    }
    let (letter, answer) = studio.answered(LETTER).await;
    let (code, _) = studio.answered(CODE).await;
    let (failed, _) = studio
        .answered("Translate the second paragraph into French")
        .await;

    let browser = Browser::open_as(WIDE).await;
    browser.visit(&studio.app.base, "/").await;
    studio.take(&browser, "home").await;
    studio.visit(&browser, &failed).await;
    browser.text_of(".note.error").await;
    studio.take(&browser, "error").await;
    studio.visit(&browser, &code).await;
    browser.text_of(FINISHED).await;
    browser.evaluate("scrollTo(0, 0)").await;
    studio.take(&browser, "markdown").await;
    versions(&studio, &browser, &letter, &answer).await;

    let (trip, _) = studio.ask(TRIP).await;
    studio.visit(&browser, &trip).await;
    eventually("it is in the middle of it", async || {
        (browser.text_of(PENDING).await.contains("time slot")).then_some(())
    })
    .await;
    studio.take(&browser, "growing").await;
    phone(&studio, &trip).await;
    for text in [
        "And where do we eat well without meat?",
        "What if it rains on the second day?",
    ] {
        studio.app.send(&trip, text).await;
    }
    eventually("two wait", async || {
        (browser.count(".waiting").await == 2).then_some(())
    })
    .await;
    studio.take(&browser, "queue").await;
    for message in studio.app.messages(&trip).await {
        if message["role"] == "user" && message["status"] == "pending" {
            let path = format!("/chat/message/{}/cancel", message["uuid"].as_str().unwrap());
            studio.app.post_bare(&path).await.expect(200);
        }
    }
    studio.gate.cancel();
    browser.text_of(FINISHED).await;
    browser.close().await;
    studio
        .app
        .delete(&format!("/chat/{trip}"))
        .await
        .expect(204);
    let (trip, _) = studio.answered(TRIP).await;
    for (name, kind) in [("chat", WIDE), ("dark", WIDE.dark())] {
        let browser = Browser::open_as(kind).await;
        studio.visit(&browser, &trip).await;
        browser.text_of(FINISHED).await;
        studio.take(&browser, name).await;
        browser.close().await;
    }
    studio.app.stop().await;
}

/// The second of three versions, liked, with a word why.
async fn versions(studio: &Studio, browser: &Browser, chat: &str, answer: &str) {
    let app = &studio.app;
    let path = format!("/chat/message/{answer}");
    let again = format!("{path}/regenerate");
    for _ in 1..LETTERS.len() {
        app.post_bare(&again).await.expect(202);
        app.read(answer).await;
        app.settle().await;
    }
    let second = format!("{path}/versions/2/select");
    app.post_bare(&second).await.expect(200);
    let liked = json!({"reaction": "like", "comment": "Warm, and to the point"});
    let reaction = format!("{path}/reaction");
    app.put(&reaction, &liked).await.expect(200);
    studio.visit(browser, chat).await;
    browser.press(".comment summary").await;
    studio.take(browser, "versions").await;
}

async fn phone(studio: &Studio, chat: &str) {
    let browser = Browser::open_as(PHONE).await;
    studio.visit(&browser, chat).await;
    browser.text_of(PENDING).await;
    studio.take(&browser, "mobile").await;
    browser.press(".bar button").await;
    studio.take(&browser, "drawer").await;
    browser.close().await;
}
