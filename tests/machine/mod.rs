//! A model test: random sequences of all that can happen to chats, against a reference that is
//! simpler than the server. Nodes are built from the server's own rooms, without HTTP and without
//! the worker, so that each step happens when the test says so.

mod client;
mod node;
mod reference;
mod steps;
mod system;

use entity::chat::OnBusy;
use proptest::test_runner::Config;
use proptest_state_machine::{StateMachineTest, prop_state_machine};

use reference::{Reference, Step, StreamEnd};
use system::Chatting;

/// So many cases, or as many as `PROPTEST_CASES` says: to hunt for longer.
fn cases(cases: u32) -> Config {
    let config = Config::default();
    let is_set = std::env::var_os("PROPTEST_CASES").is_some();
    Config {
        cases: if is_set { config.cases } else { cases },
        failure_persistence: None,
        max_shrink_iters: 400,
        ..config
    }
}

prop_state_machine! {
    #![proptest_config(cases(60))]
    #[test]
    fn one_node_does_what_the_reference_says(sequential 10..40 => Chatting<1>);
}

prop_state_machine! {
    #![proptest_config(cases(10))]
    #[test]
    fn two_nodes_do_what_the_reference_says(sequential 10..40 => Chatting<2>);
}

/// Plays a sequence that chance finds too seldom.
fn play<const NODES: usize>(steps: impl IntoIterator<Item = Step>) {
    let steps = steps.into_iter().collect();
    Chatting::<NODES>::test_sequential(cases(1), Reference::new(NODES, true), steps, None);
}

const SEND: Step = Step::Send {
    node: 0,
    chat: 0,
    on_busy: OnBusy::Enqueue,
};
const CLAIM: Step = Step::Claim { node: 0 };
const SAY: Step = Step::Say {
    writer: 0,
    piece: "字 ",
    thinks: false,
};
const THINK: Step = Step::Say {
    writer: 0,
    piece: "é, ",
    thinks: true,
};
const FINISH: Step = Step::End {
    writer: 0,
    how: StreamEnd::Finished,
};
const CRASH: Step = Step::Restart {
    node: 0,
    in_order: false,
};

#[test]
fn an_edit_ends_an_answer_that_waits_for_its_next_attempt() {
    let edit = Step::Edit {
        node: 0,
        message: 0,
    };
    play::<1>([SEND, CLAIM, CRASH, edit]);
}

#[test]
fn a_question_is_deleted_whose_answer_waits_for_its_next_attempt() {
    let delete = Step::Delete {
        node: 0,
        message: 0,
    };
    play::<1>([SEND, CLAIM, CRASH, delete]);
}

#[test]
fn a_question_that_is_deleted_stops_its_answer_and_is_not_asked_again() {
    let delete = Step::Delete {
        node: 0,
        message: 0,
    };
    play::<1>([SEND, CLAIM, delete, CRASH]);
}

#[test]
fn a_question_is_deleted_whose_answer_is_to_be_regenerated() {
    let regenerate = Step::Regenerate {
        node: 0,
        message: 1,
    };
    let delete = Step::Delete {
        node: 0,
        message: 0,
    };
    play::<1>([SEND, CLAIM, SAY, FINISH, regenerate, delete]);
}

#[test]
fn a_chat_waits_for_the_chatbot_as_long_as_one_of_its_answers_does() {
    let regenerate = Step::Regenerate {
        node: 0,
        message: 1,
    };
    let cancel = Step::Cancel {
        node: 0,
        message: 3,
    };
    // The second answer waits for its next attempt while the first one is written again.
    play::<1>([
        SEND, CLAIM, SAY, FINISH, SEND, CLAIM, CRASH, regenerate, CLAIM, cancel,
    ]);
}

#[test]
fn a_node_that_was_taken_for_dead_ends_nothing() {
    let (rescue, claim) = (Step::Rescue { node: 1 }, Step::Claim { node: 1 });
    play::<2>([SEND, CLAIM, SAY, rescue, claim, FINISH]);
}

#[test]
fn a_node_drops_what_another_one_has_cancelled_and_readers_of_more_are_put_right() {
    let flush = Step::Flush {
        node: 0,
        renew: false,
        lost: None,
    };
    let cancel = Step::Cancel {
        node: 1,
        message: 1,
    };
    // The second piece has been read at the first node, and the second one never learns of it.
    play::<2>([SEND, CLAIM, SAY, flush.clone(), SAY, cancel, flush]);
}

#[test]
fn a_flush_that_was_lost_is_written_again_as_it_was() {
    let flush = |polls| Step::Flush {
        node: 0,
        renew: true,
        lost: Some(polls),
    };
    let flushes = (1..32).flat_map(|polls| [SAY, THINK, flush(polls)]);
    play::<1>([SEND, CLAIM].into_iter().chain(flushes));
}

#[test]
fn what_was_thought_is_replaced_by_the_next_attempt_and_kept_if_there_is_none() {
    let flush = Step::Flush {
        node: 0,
        renew: false,
        lost: None,
    };
    let attempt = [CLAIM, THINK, flush, THINK, CRASH];
    let attempts = (0..3).flat_map(|_| attempt.clone());
    play::<1>([SEND].into_iter().chain(attempts));
}

#[test]
fn words_outlast_the_thoughts_of_a_later_attempt() {
    let flush = Step::Flush {
        node: 0,
        renew: false,
        lost: None,
    };
    let cancel = Step::Cancel {
        node: 0,
        message: 1,
    };
    play::<1>([SEND, CLAIM, SAY, flush, CRASH, CLAIM, THINK, cancel]);
}

#[test]
fn a_model_that_only_thinks_has_not_answered() {
    let retry = Step::Retry {
        node: 0,
        message: 1,
    };
    play::<1>([SEND, CLAIM, THINK, FINISH, retry, CLAIM, THINK, SAY, FINISH]);
}
