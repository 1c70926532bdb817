//! The fuzz target of the Markdown, and the two questions that it and the tests ask: does a text that
//! grew look like the text, and is there anything in the HTML that this page does not write itself?

use super::{Open, blocks_stand_alone, escaped, growing, safe, to_html};

/// Ends a piece of a growing text; no byte of UTF-8.
const END_OF_PIECE: u8 = 0xff;

/// A text that comes in pieces: nothing but ours comes out, at the end and on the way there, and the
/// end is the same as if the text had come at once.
pub(crate) fn markdown(data: &[u8]) {
    let pieces: Vec<_> = data
        .split(|byte| *byte == END_OF_PIECE)
        .map(String::from_utf8_lossy)
        .collect();
    let pieces: Vec<&str> = pieces.iter().map(AsRef::as_ref).collect();
    let text = pieces.concat();
    let html = to_html(&text);
    assert_eq!(only_ours(&html), Ok(()));
    assert_eq!(only_ours(&escaped(&text)), Ok(()));
    let grown = grown(&pieces);
    if blocks_stand_alone(&text) {
        assert_eq!(grown, html);
    } else {
        assert_eq!(only_ours(&grown), Ok(()));
    }
}

/// What a client has that appends, replaces, and at the end renders the rest.
#[derive(Default)]
struct Client {
    closed: String,
    open_from: usize,
}

impl Client {
    fn poll(&mut self, text: &str) {
        let step = growing(&text[self.open_from..]);
        if let Open::Html(open) = step.open {
            assert_eq!(only_ours(&open), Ok(()));
        }
        self.closed += &step.closed;
        self.open_from = text.len() - step.open_bytes;
    }

    fn end(self, text: &str) -> String {
        self.closed + &to_html(&text[self.open_from..])
    }
}

/// The HTML of a text that has grown in these pieces.
pub(super) fn grown(pieces: &[&str]) -> String {
    let mut client = Client::default();
    let mut text = String::new();
    for piece in pieces {
        text += piece;
        client.poll(&text);
    }
    client.end(&text)
}

/// Whether all tags are such as this page writes, with attributes that do nothing.
pub(super) fn only_ours(html: &str) -> Result<(), String> {
    for tag in html.split('<').skip(1) {
        let (tag, _) = tag.split_once('>').ok_or(format!("no end of <{tag}"))?;
        let (name, attributes) = tag.split_once(' ').unwrap_or((tag, ""));
        if !safe::TAGS.contains(&name.trim_start_matches('/')) {
            return Err(format!("<{tag}>"));
        }
        let mut rest = attributes;
        while let Some((attribute, after)) = rest.split_once("=\"") {
            let (value, after) = after.split_once('"').ok_or(format!("<{tag}>"))?;
            if !harmless(attribute, value) {
                return Err(format!("<{tag}>"));
            }
            rest = after.trim_start();
        }
        if !rest.is_empty() {
            return Err(format!("<{tag}>"));
        }
    }
    Ok(())
}

fn harmless(attribute: &str, value: &str) -> bool {
    match attribute {
        "href" => {
            let scheme = value.split(['/', '?', '#']).next().unwrap_or_default();
            let Some((scheme, _)) = scheme.split_once(':') else {
                return true;
            };
            // Without a letter first, or with any other character, it is the name of a file on this server.
            let named = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
            let is_one = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
                && scheme.bytes().all(named);
            // Browsers read a scheme in either case, and so does the sanitiser.
            !is_one || safe::SCHEMES.contains(&scheme.to_ascii_lowercase().as_str())
        }
        "rel" | "title" | "start" | "class" | "align" | "type" | "checked" | "disabled"
        | "tabindex" | "role" | "aria-label" => true,
        _ => false,
    }
}
