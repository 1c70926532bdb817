//! P1 to P6 on the pure rule: a message with its editions, a writer, a follower that lags, and
//! clients that do what clients do.

use pollen::model::delta::{Delta, Knowledge, MAX_DELTA_BYTES, delta};
use pollen::model::position::{Edition, MAX_POSITION, Position};
use proptest::prelude::*;

/// What happens to a message, or to a client of it.
#[derive(Clone, Debug)]
enum Step {
    /// The writer says more.
    Append(String),
    /// A crash, retry or regenerate: another text begins.
    Restart,
    /// A client polls the writing node.
    Poll { client: usize },
    /// The same, and the answer is lost on its way.
    Lose { client: usize },
    /// A client polls a node that has seen only part of the text.
    Follow { client: usize, lag: usize },
    /// A client forgets everything and begins again.
    Forget { client: usize },
    /// A client sends a position that it was never given.
    Guess { client: usize, position: u64 },
}

const CLIENTS: usize = 3;

fn text() -> impl Strategy<Value = String> {
    // Letters of one to four bytes, so that offsets fall inside characters.
    prop::collection::vec(
        prop::sample::select(vec!['a', ' ', '\n', 'é', '€', '字', '🌼']),
        0..12,
    )
    .prop_map(String::from_iter)
}

fn step() -> impl Strategy<Value = Step> {
    let client = 0..CLIENTS;
    prop_oneof![
        4 => text().prop_map(Step::Append),
        1 => Just(Step::Restart),
        6 => client.clone().prop_map(|client| Step::Poll { client }),
        2 => client.clone().prop_map(|client| Step::Lose { client }),
        3 => (client.clone(), 0_usize..20).prop_map(|(client, lag)| Step::Follow { client, lag }),
        1 => client.clone().prop_map(|client| Step::Forget { client }),
        1 => (client, prop_oneof![0..200_u64, 0..=MAX_POSITION])
            .prop_map(|(client, position)| Step::Guess { client, position }),
    ]
}

#[derive(Clone, Debug, Default)]
struct Client {
    text: String,
    position: Position,
}

impl Client {
    fn apply(&mut self, answer: &Delta) {
        if answer.append {
            self.text.push_str(&answer.tokens);
        } else {
            answer.tokens.clone_into(&mut self.text);
        }
        self.position = answer.position;
    }
}

fn current(texts: &[String]) -> Edition {
    Edition::from_stored(i64::try_from(texts.len()).unwrap() - 1)
}

fn position(number: u64) -> Position {
    number.to_string().parse().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn clients_converge_on_the_text_whatever_happens(steps in prop::collection::vec(step(), 0..60)) {
        let mut texts = vec![String::new()];
        let mut clients = vec![Client::default(); CLIENTS];
        let mut given = Position::START;
        for step in steps {
            let edition = current(&texts);
            let text = texts.last().unwrap().clone();
            match step {
                Step::Append(more) => texts.last_mut().unwrap().push_str(&more),
                Step::Restart => texts.push(String::new()),
                Step::Poll { client } => {
                    let before = clients[client].clone();
                    let answer = delta(before.position, edition, &text, Knowledge::Whole, MAX_DELTA_BYTES);
                    // P2: an answer never gives out less than the message has given out before.
                    prop_assert!(answer.position >= given.min(Position::new(edition, text.len())));
                    prop_assert!(answer.position >= before.position, "P2 for one client");
                    if answer.append {
                        // P3: exactly the text between the two positions.
                        let between = &text[before.position.offset()..answer.position.offset()];
                        prop_assert_eq!(&answer.tokens, between);
                    } else {
                        prop_assert_eq!(&answer.tokens, &text);
                    }
                    prop_assert!(answer.position.get() <= MAX_POSITION, "P1");
                    clients[client].apply(&answer);
                    given = given.max(answer.position);
                }
                Step::Lose { client } => {
                    let answer = delta(clients[client].position, edition, &text, Knowledge::Whole, MAX_DELTA_BYTES);
                    given = given.max(answer.position);
                }
                Step::Follow { client, lag } => {
                    let seen = text.floor_char_boundary(text.len().saturating_sub(lag));
                    let before = clients[client].clone();
                    let answer = delta(before.position, edition, &text[..seen], Knowledge::Following, MAX_DELTA_BYTES);
                    prop_assert!(answer.position >= before.position, "P2 over a change of node");
                    clients[client].apply(&answer);
                }
                Step::Forget { client } => clients[client] = Client::default(),
                Step::Guess { client, position: guess } => {
                    let guess = position(guess);
                    let answer = delta(guess, edition, &text, Knowledge::Whole, MAX_DELTA_BYTES);
                    if answer.append {
                        prop_assert_eq!(guess.edition(), edition);
                        prop_assert!(text.is_char_boundary(guess.offset()));
                    } else {
                        // P5: what fits nothing heals by the whole text.
                        clients[client].apply(&answer);
                        prop_assert_eq!(&clients[client].text, &text);
                    }
                }
            }
        }
        // P4: one more poll of the finished text and everybody has it to the letter.
        let (edition, text) = (current(&texts), texts.last().unwrap());
        for client in &mut clients {
            client.apply(&delta(client.position, edition, text, Knowledge::Whole, MAX_DELTA_BYTES));
            prop_assert_eq!(&client.text, text);
        }
    }

    #[test]
    fn a_position_is_an_integer_in_range_or_refused(number: u64) {
        let parsed = number.to_string().parse::<Position>();
        prop_assert_eq!(parsed.is_ok(), number <= MAX_POSITION);
        prop_assert!(parsed.is_err() || parsed.unwrap().get() == number);
    }

    #[test]
    fn what_is_not_all_digits_is_refused(text in "[0-9]{0,5}[^0-9][0-9]{0,5}") {
        prop_assert!(text.parse::<Position>().is_err());
    }

    #[test]
    fn a_later_edition_is_always_further_on(edition in 0_i64..1_000_000, a in 0..u32::MAX, b in 0..u32::MAX) {
        let edition = Edition::from_stored(edition);
        let (earlier, later) = (Position::new(edition, a as usize), Position::new(edition.next(), b as usize));
        prop_assert!(later > earlier);
        prop_assert_eq!((later.edition(), later.offset()), (edition.next(), b as usize));
    }
}
