//! The answer that goes through each of the proxies: bytes of every length, Markdown, code, and a pause in the middle, as
//! models make that think. A model says it to Pollen, and `sse.rs` says it by itself, at the same pace.

use std::time::Duration;

use crate::support::Script;

/// Said before the pause, and after it.
const BEFORE: &str = "# Pollen · 花粉\n\nA grain of **pollen** is small: *18 µm* for birch, 🌾 up to 100 µm for maize. \
    Wer ihn über die Straße trägt, weiß es nicht.\n\n| grain | µm |\n| --- | ---: |\n| birch | 18 |\n| pine | 60 |\n\n";
const AFTER: &str = "```rust\nfn grains(bees: u64) -> u64 {\n    bees * 15_000 // each\n}\n```\n\n1. Die Biene fliegt, \
    2 mal am Tag.\n2. Ветер несёт пыльцу далеко.\n3. 風が運ぶ。\n\n> „Was lange währt, wird endlich gut“ – 🐝👩🏽‍🌾";
/// Between two pieces: with a hundred of them, and the pause, five to six seconds in all.
const PACE: Duration = Duration::from_millis(40);
/// Longer than the patience of the impatient.
const PAUSE: Duration = Duration::from_millis(1_700);

/// A piece, and what is waited for behind it.
#[derive(Clone, Copy, Debug)]
pub struct Piece {
    pub text: &'static str,
    pub rest: Duration,
}

/// The answer, piece by piece.
pub fn pieces() -> Vec<Piece> {
    let pieces = |text: &'static str| {
        let pieces = text.split_inclusive([' ', '\n']);
        pieces.map(|text| Piece { text, rest: PACE })
    };
    let mut all: Vec<Piece> = pieces(BEFORE).collect();
    all.last_mut().unwrap().rest = PAUSE;
    all.extend(pieces(AFTER));
    all
}

/// How many pieces come before the pause.
pub fn before_the_pause() -> usize {
    let pieces = pieces();
    1 + pieces.iter().position(|piece| piece.rest == PAUSE).unwrap()
}

/// The whole of it.
pub fn text() -> String {
    [BEFORE, AFTER].concat()
}

/// How a model says it.
pub fn script() -> Script {
    let said = pieces()
        .into_iter()
        .fold(Script::stream(), |script, piece| {
            script.say([piece.text]).pause(piece.rest)
        });
    said.finish()
}

#[test]
fn the_answer_takes_longer_than_anybody_s_patience() {
    let all: Duration = pieces().iter().map(|piece| piece.rest).sum();
    assert!(
        all > Duration::from_secs(5) && all < Duration::from_secs(7),
        "{all:?}"
    );
    let (before, count) = (before_the_pause(), pieces().len());
    assert!(before > 5 && before + 5 < count, "{before} of {count}");
}
