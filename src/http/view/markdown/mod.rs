//! A text as HTML, block by block. The text is a model's, so it is nobody's we trust: raw HTML is
//! escaped, pictures from elsewhere become links, and a sanitiser has the last word.
//!
//! A growing answer is rendered with every poll, so the unit here is not the text but its top-level
//! **block**: a paragraph, a list, a table, a piece of code. Markdown is read line by line, and a
//! block that has been followed by another never changes again. This is what allows all of
//!
//! - sending a block once, when nothing can change it any more, and only the last one anew at each
//!   poll (`growing`),
//! - remembering the HTML of a block for all readers and all loads of the page (`remembered`),
//! - and a limit of nesting that costs a text one block instead of all of its form.
//!
//! The way of a text: `blocks` parses it and says where each block begins, `format` writes a block as
//! HTML with `highlight` colouring its code, `safe` lets through what this page has use for and
//! nothing else. `words` goes a shorter way where there is nothing to parse, and `limits` turns away, before all of that, the few shapes of text that would cost the
//! parser more than their length.

mod blocks;
mod format;
#[cfg(feature = "fuzz")]
pub(crate) mod fuzz;
mod growing;
mod highlight;
mod limits;
mod remembered;
mod safe;
mod words;

pub use growing::{MAX_OPEN_BYTES, Open, blocks_stand_alone, growing};

use blocks::Block;
use format::Colours;

/// The whole text as sanitised HTML.
pub fn to_html(text: &str) -> String {
    if !limits::parses_fast(text) {
        return format::plain(text);
    }
    let mut html = String::with_capacity(text.len() * 2);
    blocks::each(text, |block| html.push_str(&finished(block)));
    html
}

/// Hands over the parser's blocks, for what is no HTML. Whether it did: what would take the parser too long is not parsed.
pub fn each_node(text: &str, mut then: impl FnMut(comrak::nodes::Node<'_>)) -> bool {
    let is_parsed = limits::parses_fast(text);
    if is_parsed {
        blocks::each(text, |block| then(block.node));
    }
    is_parsed
}

/// A text that is shown as it is.
pub fn escaped(text: &str) -> String {
    ammonia::clean_text(text)
}

/// A block that will not change, in colours.
///
/// It is remembered by its HTML without them: this is all that its text, the references in the rest
/// of the text and the limits have made of it.
fn finished(block: &Block<'_>) -> String {
    let Some(colourless) = format::html(block, Colours::Without) else {
        return format::plain(block.text());
    };
    remembered::or_else(&colourless, || {
        let coloured = format::html(block, Colours::With);
        safe::sanitise(coloured.as_deref().unwrap_or(&colourless))
    })
}

/// A block in no colours.
fn parsed(block: &Block<'_>) -> String {
    format::html(block, Colours::Without)
        .map_or_else(|| format::plain(block.text()), |html| safe::sanitise(&html))
}

#[cfg(test)]
mod tests;
