//! Which steps are taken, and how often: only such as there is something to do for.

use entity::chat::OnBusy;
use proptest::prelude::*;
use proptest::strategy::Union;
use proptest_state_machine::ReferenceStateMachine;

use super::reference::{CHATS, CLIENTS, Reference, State, Step, StreamEnd};

/// The reference machine with so many nodes.
pub struct Machine<const NODES: usize>;

impl<const NODES: usize> ReferenceStateMachine for Machine<NODES> {
    type State = Reference;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Reference> {
        any::<bool>()
            .prop_map(|replaces| Reference::new(NODES, replaces))
            .boxed()
    }

    fn transitions(state: &Reference) -> BoxedStrategy<Step> {
        let is = |wanted| state.requests.iter().any(|request| request.state == wanted);
        let node = 0..NODES;
        let claim = node.clone().prop_map(|node| Step::Claim { node });
        let rescue = node.prop_map(|node| Step::Rescue { node });
        let mut steps = vec![(4, anytime::<NODES>())];
        if is(State::Queued) {
            steps.push((12, claim.boxed()));
        }
        if is(State::Running) {
            steps.push((3, rescue.boxed()));
        }
        if !state.writers.is_empty() {
            steps.push((14, of_writers::<NODES>(state.writers.len())));
        }
        if !state.messages.is_empty() {
            steps.push((8, of_messages::<NODES>(state.messages.len())));
            steps.push((6, polls::<NODES>(state.messages.len())));
        }
        Union::new_weighted(steps).boxed()
    }

    fn apply(mut state: Reference, step: &Step) -> Reference {
        state.step(step);
        state
    }
}

fn anytime<const NODES: usize>() -> BoxedStrategy<Step> {
    let on_busy = prop_oneof![
        4 => Just(OnBusy::Enqueue), 1 => Just(OnBusy::Reject),
        1 => Just(OnBusy::Interrupt), 1 => Just(OnBusy::Rollback),
    ];
    prop_oneof![
        3 => (0..NODES, 0..CHATS, on_busy)
            .prop_map(|(node, chat, on_busy)| Step::Send { node, chat, on_busy }),
        1 => (0..NODES, any::<bool>())
            .prop_map(|(node, in_order)| Step::Restart { node, in_order }),
    ]
    .boxed()
}

/// What happens where an answer is being written.
fn of_writers<const NODES: usize>(writers: usize) -> BoxedStrategy<Step> {
    let piece = prop::sample::select(vec!["a", "é", "字 ", "🌼", "bcd", "e\n"]);
    let how = prop_oneof![
        5 => Just(StreamEnd::Finished), 2 => Just(StreamEnd::BrokeOff),
        1 => Just(StreamEnd::Passing), 1 => Just(StreamEnd::Refused),
    ];
    let lost = prop_oneof![3 => Just(None), 1 => (1_usize..16).prop_map(Some)];
    prop_oneof![
        6 => (0..writers, piece, prop::bool::weighted(0.4))
            .prop_map(|(writer, piece, thinks)| Step::Say { writer, piece, thinks }),
        4 => (0..writers, how).prop_map(|(writer, how)| Step::End { writer, how }),
        4 => (0..NODES, any::<bool>(), lost)
            .prop_map(|(node, renew, lost)| Step::Flush { node, renew, lost }),
    ]
    .boxed()
}

/// What users ask of a message, whether or not it is of the kind.
fn of_messages<const NODES: usize>(messages: usize) -> BoxedStrategy<Step> {
    let at = || (0..NODES, 0..messages);
    prop_oneof![
        1 => at().prop_map(|(node, message)| Step::Cancel { node, message }),
        2 => at().prop_map(|(node, message)| Step::Retry { node, message }),
        2 => at().prop_map(|(node, message)| Step::Regenerate { node, message }),
        1 => (at(), 1_usize..4)
            .prop_map(|((node, message), number)| Step::Select { node, message, number }),
        1 => at().prop_map(|(node, message)| Step::Edit { node, message }),
        1 => at().prop_map(|(node, message)| Step::Delete { node, message }),
    ]
    .boxed()
}

fn polls<const NODES: usize>(messages: usize) -> BoxedStrategy<Step> {
    prop_oneof![
        (0..CLIENTS, 0..NODES, 0..CHATS).prop_map(|(client, node, chat)| Step::PollMessages {
            client,
            node,
            chat
        }),
        (0..CLIENTS, 0..NODES, 0..messages).prop_map(|(client, node, message)| Step::PollTokens {
            client,
            node,
            message
        }),
    ]
    .boxed()
}
