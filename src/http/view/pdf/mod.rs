//! A chat as a PDF: A4 pages with numbers, who said what and when, code that is wrapped and never cut, and scripts from right to
//! left in their order.
//!
//! The way of a text: `blocks` has the parser's blocks, `fonts` finds who has its characters, `shape` makes lines of glyphs of it,
//! `paper` puts the lines on pages, and `file` writes those with the parts of the fonts that they use. The text can be read
//! back out of the file as it was written. Thoughts of models are not in it.

mod blocks;
mod file;
mod fonts;
mod paper;
mod shape;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::export::{about, note, time};
use super::words::{self, W};
use crate::model::exchange::{ChatDocument, Speaker};
use blocks::Block;
use fonts::Fonts;
use paper::{MAX_PAGES, Paper};
use shape::Shaper;

/// How long a PDF waits for others to be done.
const PATIENCE: Duration = Duration::from_secs(10);
/// Characters without a shape that are named.
const MOST_NAMED: usize = 40;

/// How PDFs are made.
#[derive(Clone, Debug)]
pub struct PrintSettings {
    /// Where there are fonts besides the machine's.
    pub font_folder: Option<PathBuf>,
    /// Text of one PDF, in bytes.
    pub max_bytes: usize,
    /// PDFs that are made at once.
    pub at_once: usize,
}

/// Makes PDFs.
pub struct Printer {
    fonts: Arc<Fonts>,
    permits: Arc<Semaphore>,
    max_bytes: usize,
}

#[derive(Debug, thiserror::Error)]
pub enum PrintError {
    #[error(
        "the chat has {bytes} bytes of text; a PDF is made of at most {limit}. The other formats have no such limit"
    )]
    TooLong { bytes: usize, limit: usize },
    #[error(
        "the chat would have more than {MAX_PAGES} pages; the other formats have no such limit"
    )]
    TooManyPages,
    #[error("as many PDFs as may be are being made")]
    Busy,
    #[error("the PDF could not be made: {0}")]
    Failed(String),
}

impl Printer {
    #[must_use]
    pub fn new(settings: PrintSettings) -> Self {
        Self {
            fonts: Arc::new(Fonts::new(settings.font_folder)),
            permits: Arc::new(Semaphore::new(settings.at_once.max(1))),
            max_bytes: settings.max_bytes,
        }
    }

    /// The chat as a PDF. It is work, which is done on a thread for such.
    ///
    /// # Errors
    /// If it is too long, others keep the printer busy, or it cannot be made.
    pub async fn print(&self, document: ChatDocument) -> Result<Vec<u8>, PrintError> {
        let texts = document
            .messages
            .iter()
            .map(|message| message.content.len());
        let bytes: usize = texts.sum();
        if bytes > self.max_bytes {
            let limit = self.max_bytes;
            return Err(PrintError::TooLong { bytes, limit });
        }
        let permit = tokio::time::timeout(PATIENCE, Arc::clone(&self.permits).acquire_owned());
        let permit = permit.await.map_err(|_| PrintError::Busy)?;
        let permit = permit.map_err(|_| PrintError::Busy)?;
        let fonts = Arc::clone(&self.fonts);
        let printed = tokio::task::spawn_blocking(move || {
            // The work goes on when its client does not: others wait for its end.
            let _permit = permit;
            printed(&fonts, &document)
        });
        printed
            .await
            .map_err(|error| PrintError::Failed(error.to_string()))?
    }
}

/// What a message comes to.
struct Set {
    blocks: Vec<Block>,
    note: Option<String>,
}

fn printed(fonts: &Fonts, document: &ChatDocument) -> Result<Vec<u8>, PrintError> {
    let failed = |why: &str| PrintError::Failed(why.to_owned());
    let about = about(document);
    let messages: Vec<Set> = document
        .messages
        .iter()
        .map(|message| {
            let blocks = match message.role {
                Speaker::User => blocks::typed(&message.content),
                Speaker::Assistant => blocks::written(&message.content),
            };
            Set {
                blocks,
                note: note(message),
            }
        })
        .collect();
    let mut chars: BTreeSet<char> = document.title.chars().chain(about.chars()).collect();
    for (message, set) in document.messages.iter().zip(&messages) {
        chars.extend(message.content.chars());
        chars.extend(message.model.iter().flat_map(|model| model.chars()));
        chars.extend(set.note.iter().flat_map(|note| note.chars()));
    }
    let loaded = fonts
        .for_chars(chars)
        .ok_or_else(|| failed("there are no fonts"))?;
    let shaper = Shaper::new(&loaded).ok_or_else(|| failed("a font could not be read"))?;
    let mut paper = Paper::new(shaper);
    put(&mut paper, document, (&about, &messages)).map_err(|_| PrintError::TooManyPages)?;
    let Paper {
        shaper,
        used,
        pages,
        ..
    } = paper;
    let faces = shaper.faces().iter();
    let fonts: Vec<_> = loaded
        .iter()
        .cloned()
        .zip(faces)
        .zip(used)
        .map(|((loaded, face), used)| (loaded, face, used))
        .collect();
    file::bytes(&document.title, pages, &fonts).map_err(|error| failed(&error.to_string()))
}

fn put(
    paper: &mut Paper<'_>,
    document: &ChatDocument,
    (about, messages): (&str, &[Set]),
) -> Result<(), paper::TooLong> {
    paper.title(&document.title, about)?;
    for (message, Set { blocks, note }) in document.messages.iter().zip(messages) {
        let time = time(message.created_at);
        paper.head(message.role.as_str(), message.model.as_deref(), &time)?;
        match message.role {
            Speaker::User => paper.typed(blocks)?,
            Speaker::Assistant => paper.written(blocks)?,
        }
        if let Some(note) = note {
            paper.note(note)?;
        }
    }
    let missing = &paper.shaper.missing;
    if !missing.is_empty() {
        let named = missing.iter().take(MOST_NAMED);
        let named: Vec<String> = named.map(|c| format!("U+{:04X}", u32::from(*c))).collect();
        let more = if missing.len() > MOST_NAMED {
            " …"
        } else {
            ""
        };
        let said = words::put(W.exported_missing, missing.len());
        let said = format!("{said} {}{more}", named.join(", "));
        paper.gap(14.0);
        paper.note(&said)?;
    }
    paper.feet(&document.title);
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::exchange::SCHEMA;

    fn document(question: &str) -> ChatDocument {
        let time = "2026-11-28T09:30:00.250Z";
        let uuid = uuid::Uuid::from_u128;
        serde_json::from_value(json!({
            "schema": SCHEMA, "version": 1, "uuid": uuid(1), "title": "Tea", "created_at": time, "updated_at": time,
            "messages": [{"uuid": uuid(2), "role": "user", "status": "completed", "content": question, "created_at": time}],
        }))
        .unwrap()
    }

    fn printer(max_bytes: usize) -> Printer {
        Printer::new(PrintSettings {
            font_folder: None,
            max_bytes,
            at_once: 1,
        })
    }

    #[tokio::test(start_paused = true)]
    async fn a_printer_that_stays_busy_says_so() {
        let printer = printer(1_000);
        let _held = Arc::clone(&printer.permits).acquire_owned().await.unwrap();
        let refused = printer.print(document("Tea?")).await;
        assert!(matches!(refused, Err(PrintError::Busy)));
    }

    #[tokio::test]
    async fn a_chat_of_too_many_pages_is_refused() {
        let printer = printer(1 << 20);
        let refused = printer.print(document(&"x\n".repeat(110_000))).await;
        assert!(matches!(refused, Err(PrintError::TooManyPages)));
        let file = printer.print(document("x")).await.unwrap();
        assert!(file.starts_with(b"%PDF-"));
    }
}
