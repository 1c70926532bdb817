//! What of a conversation a model is sent when its window is too small for all of it.
//!
//! What the system says stays, and so does the message that is to be answered; of what lies
//! between, the oldest goes first. What is kept begins with a message of the user's, so that no
//! answer stands there without its question.

/// What an answer may take of a window that nobody has divided up, as a part of it and in tokens.
const ANSWER_PART: u32 = 4;
const ANSWER_TOKENS: u32 = 4_096;
/// Estimates are good to a third; a count that is too low costs an answer, one too high some history.
const SAFETY_PERCENT: i64 = 125;

/// One turn, as far as its place in the window is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weight {
    pub tokens: i64,
    pub kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    System,
    User,
    Assistant,
}

/// Even what is always sent does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong {
    pub tokens: i64,
    pub budget: i64,
}

/// Tokens of a window that the conversation may take, the answer's share kept back.
#[must_use]
pub fn budget(window: u32, max_tokens: Option<u32>, max_output: Option<u32>) -> i64 {
    let share = window / ANSWER_PART;
    let answer = max_tokens.unwrap_or_else(|| max_output.unwrap_or(ANSWER_TOKENS).min(share));
    i64::from(window) - i64::from(answer)
}

/// An estimate as it is held against a budget.
#[must_use]
pub fn with_margin(estimate: i64) -> i64 {
    estimate.saturating_mul(SAFETY_PERCENT) / 100
}

/// Which turns are left out: their places in the order of `turns`.
///
/// # Errors
/// If the system's turns and the last one are too much by themselves.
pub fn left_out(turns: &[Weight], budget: i64) -> Result<Vec<usize>, TooLong> {
    let last = turns.len().saturating_sub(1);
    let is_kept = |place: usize, turn: &Weight| turn.kind == Kind::System || place == last;
    let weigh = |kept: &mut dyn Iterator<Item = &Weight>| kept.map(|turn| turn.tokens).sum::<i64>();
    let fixed = turns.iter().enumerate();
    let mut fixed = fixed
        .filter(|(place, turn)| is_kept(*place, turn))
        .map(|(_, turn)| turn);
    let fixed = weigh(&mut fixed);
    if fixed > budget {
        return Err(TooLong {
            tokens: fixed,
            budget,
        });
    }
    let mut over = weigh(&mut turns.iter()) - budget;
    let mut out = Vec::new();
    for (place, turn) in turns.iter().enumerate() {
        if is_kept(place, turn) {
            continue;
        }
        // Once something has gone, the answers to it go too.
        let is_orphan = !out.is_empty() && turn.kind == Kind::Assistant;
        if over <= 0 && !is_orphan {
            break;
        }
        over -= turn.tokens;
        out.push(place);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(kinds: &str) -> Vec<Weight> {
        let kind = |letter| match letter {
            's' => Kind::System,
            'u' => Kind::User,
            _ => Kind::Assistant,
        };
        let weight = |letter| Weight {
            tokens: 10,
            kind: kind(letter),
        };
        kinds.chars().map(weight).collect()
    }

    #[test]
    fn what_fits_is_sent() {
        assert_eq!(left_out(&turns("suau"), 40), Ok(vec![]));
        assert_eq!(left_out(&[], 0), Ok(vec![]));
    }

    #[test]
    fn the_oldest_turns_go_and_take_their_answers_with_them() {
        assert_eq!(left_out(&turns("suauau"), 50), Ok(vec![1, 2]));
        assert_eq!(left_out(&turns("suauau"), 30), Ok(vec![1, 2, 3, 4]));
        assert_eq!(left_out(&turns("uuaau"), 40), Ok(vec![0]));
    }

    #[test]
    fn the_system_prompt_and_the_question_stay_or_nothing_is_sent() {
        assert_eq!(left_out(&turns("suau"), 20), Ok(vec![1, 2]));
        let too_long = TooLong {
            tokens: 20,
            budget: 19,
        };
        assert_eq!(left_out(&turns("suau"), 19), Err(too_long));
    }

    #[test]
    fn the_answer_has_its_share_of_the_window() {
        assert_eq!(budget(8_000, None, None), 6_000);
        assert_eq!(budget(100_000, None, None), 100_000 - 4_096);
        assert_eq!(budget(100_000, None, Some(64_000)), 75_000);
        assert_eq!(budget(8_000, Some(7_000), None), 1_000);
    }
}
