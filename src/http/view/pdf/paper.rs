//! Blocks are put on pages, line by line: nothing that is drawn goes over a page's end.

use std::collections::BTreeMap;

use pdf_writer::types::TextRenderingMode;
use pdf_writer::{Content, Name, Str, TextStr};
use rustybuzz::ttf_parser::GlyphId;
use subsetter::GlyphRemapper;

use super::blocks::{self, Block, FAINT, INK, PLAIN, Row, What, Words};
use super::shape::{Cluster, Line, Shaper, Span, Style, Wrap};

/// A4, in points.
pub(super) const WIDTH: f32 = 595.28;
pub(super) const HEIGHT: f32 = 841.89;
const MARGIN: f32 = 56.0;
const BOTTOM: f32 = HEIGHT - 64.0;
const COLUMN: f32 = WIDTH - 2.0 * MARGIN;
/// Of a line, in sizes of its text; and how far below its top its letters stand.
const LEADING: f32 = 1.42;
const BASELINE: f32 = 1.06;
/// Around code, and around what was typed.
const PADDING: f32 = 6.0;
const CODE_SIZE: f32 = 8.5;
const NARROWEST_CELL: f32 = 28.0;
const CELL_PADDING: f32 = 4.0;

const SUNKEN: [u8; 3] = [0xf4, 0xf1, 0xe9];
const MINE: [u8; 3] = [0xfb, 0xf1, 0xd9];
const RULE: [u8; 3] = [0xcf, 0xc9, 0xb9];

/// Pages of one PDF.
pub(super) const MAX_PAGES: usize = 2_000;

/// There would be too many pages.
#[derive(Debug)]
pub(super) struct TooLong;

/// A page, and the addresses on it with their places: left, bottom, right, top.
pub(super) struct Page {
    pub content: Content,
    pub links: Vec<([f32; 4], String)>,
}

/// What of a font is used.
#[derive(Default)]
pub(super) struct Used {
    pub glyphs: GlyphRemapper,
    /// What each glyph, by its new number, stands for.
    pub unicode: BTreeMap<u16, String>,
}

pub(super) struct Paper<'a> {
    pub shaper: Shaper<'a>,
    pub used: Vec<Used>,
    pub pages: Vec<Page>,
    /// Where the next thing begins, from the page's top.
    y: f32,
}

/// Something to be drawn behind a line.
#[derive(Clone, Copy)]
struct Ground {
    colour: [u8; 3],
    left: f32,
    width: f32,
}

impl<'a> Paper<'a> {
    pub fn new(shaper: Shaper<'a>) -> Self {
        let used = shaper.faces().iter().map(|_| Used::default()).collect();
        let mut paper = Self {
            shaper,
            used,
            pages: Vec::new(),
            y: 0.0,
        };
        paper.turn();
        paper
    }

    fn turn(&mut self) {
        self.pages.push(Page {
            content: Content::new(),
            links: Vec::new(),
        });
        self.y = MARGIN;
    }

    fn is_at_top(&self) -> bool {
        self.y <= MARGIN
    }

    /// Goes to the next page if there is less room than that on this one.
    fn room(&mut self, height: f32) -> Result<(), TooLong> {
        if self.y + height <= BOTTOM || self.is_at_top() {
            return Ok(());
        }
        if self.pages.len() >= MAX_PAGES {
            return Err(TooLong);
        }
        self.turn();
        Ok(())
    }

    pub fn gap(&mut self, height: f32) {
        if !self.is_at_top() {
            self.y += height;
        }
    }

    /// The chat's title and what is said below it.
    pub fn title(&mut self, title: &str, about: &str) -> Result<(), TooLong> {
        let bold = Style {
            size: 20.0,
            bold: true,
            ..PLAIN
        };
        self.words(&Words::plain(title, bold), (MARGIN, COLUMN), None)?;
        self.words(&Words::plain(about, small()), (MARGIN, COLUMN), None)?;
        self.gap(6.0);
        self.rule(MARGIN, COLUMN)
    }

    /// Who says what follows, and when.
    pub fn head(&mut self, speaker: &str, model: Option<&str>, time: &str) -> Result<(), TooLong> {
        self.gap(16.0);
        // Not at a page's end, with what is said on the next one.
        self.room(60.0)?;
        let bold = Style {
            bold: true,
            ..PLAIN
        };
        let mut words = Words::plain(speaker, bold);
        if let Some(model) = model {
            words.spans.push(Span {
                text: format!("   {model}"),
                style: small(),
            });
        }
        let top = self.y;
        let time = self.one_line(&Words::plain(time, small()));
        let width = COLUMN - time.width - 12.0;
        self.words(&words, (MARGIN, width), None)?;
        self.draw(
            &time,
            MARGIN + COLUMN - time.width,
            top + (PLAIN.size - small().size),
            &[],
        );
        self.gap(3.0);
        Ok(())
    }

    fn one_line(&mut self, words: &Words) -> Line {
        let lines = self.shaper.lines(&words.spans, f32::INFINITY, Wrap::Words);
        lines.into_iter().next().unwrap_or_default()
    }

    /// What was typed, on a ground of its own.
    pub fn typed(&mut self, blocks: &[Block]) -> Result<(), TooLong> {
        let ground = Ground {
            colour: MINE,
            left: MARGIN,
            width: COLUMN,
        };
        self.edge(ground)?;
        for block in blocks {
            if let What::Words(words) = &block.what {
                self.words(
                    words,
                    (MARGIN + PADDING, COLUMN - 2.0 * PADDING),
                    Some(ground),
                )?;
            }
        }
        self.edge(ground)
    }

    pub fn written(&mut self, blocks: &[Block]) -> Result<(), TooLong> {
        for block in blocks {
            self.block(block)?;
        }
        Ok(())
    }

    /// Something that is said about a message.
    pub fn note(&mut self, text: &str) -> Result<(), TooLong> {
        self.gap(4.0);
        let style = Style {
            italic: true,
            ..small()
        };
        self.words(&Words::plain(text, style), (MARGIN, COLUMN), None)
    }

    fn block(&mut self, block: &Block) -> Result<(), TooLong> {
        self.gap(block.gap);
        let indent = block.indent.min(COLUMN / 2.0);
        let (left, width) = (MARGIN + indent, COLUMN - indent);
        let (page, top) = (self.pages.len(), self.y);
        if let Some(marker) = &block.marker {
            self.room(PLAIN.size * LEADING)?;
            let line = self.one_line(&Words::plain(marker.as_str(), PLAIN));
            self.draw(&line, left - line.width - 5.0, self.y, &[]);
        }
        match &block.what {
            What::Words(words) => {
                if words.is_heading {
                    self.room(64.0)?;
                }
                self.words(words, (left, width), None)?;
            }
            What::Code(lines, language) => self.code(lines, language.as_deref(), (left, width))?,
            What::Table(rows) => self.table(rows, (left, width))?,
            What::Rule => self.rule(left, width)?,
        }
        if !block.quotes.is_empty() {
            self.bars(block, (page, top));
        }
        Ok(())
    }

    /// The bars beside a quotation, on each page that it is on.
    fn bars(&mut self, block: &Block, (page, top): (usize, f32)) {
        for place in page..=self.pages.len() {
            let is_first = place == page;
            let is_last = place == self.pages.len();
            let from = if is_first { top } else { MARGIN };
            let to = if is_last { self.y } else { BOTTOM };
            for indent in &block.quotes {
                let left = MARGIN + indent.min(COLUMN / 2.0) + 4.0;
                if let Some(page) = self.pages.get_mut(place - 1) {
                    fill(&mut page.content, RULE, (left, from, 2.0, to - from));
                }
            }
        }
    }

    fn words(
        &mut self,
        words: &Words,
        (left, width): (f32, f32),
        ground: Option<Ground>,
    ) -> Result<(), TooLong> {
        let usual = words
            .spans
            .first()
            .map_or(PLAIN.size, |span| span.style.size);
        for line in self.shaper.lines(&words.spans, width, Wrap::Words) {
            let height = height(&line, usual);
            self.room(height)?;
            self.behind(ground, height);
            let start = if line.is_rtl {
                left + width - line.width
            } else {
                left
            };
            self.draw(&line, start, self.y, &words.links);
            self.y += height;
        }
        Ok(())
    }

    fn code(
        &mut self,
        lines: &[String],
        language: Option<&str>,
        (left, width): (f32, f32),
    ) -> Result<(), TooLong> {
        let ground = Ground {
            colour: SUNKEN,
            left,
            width,
        };
        let style = Style {
            size: CODE_SIZE,
            mono: true,
            ..PLAIN
        };
        let inside = (left + PADDING, width - 2.0 * PADDING);
        self.room(CODE_SIZE * LEADING * 3.0 + PADDING)?;
        self.edge(ground)?;
        if let Some(language) = language {
            let faint = Style {
                colour: FAINT,
                size: 7.0,
                ..style
            };
            self.words(&Words::plain(language, faint), inside, Some(ground))?;
        }
        for line in lines.iter().flat_map(|line| blocks::pieces(line)) {
            let spans = [Span {
                text: line.to_owned(),
                style,
            }];
            for line in self.shaper.lines(&spans, inside.1, Wrap::Anywhere) {
                let height = CODE_SIZE * LEADING;
                self.room(height)?;
                self.behind(Some(ground), height);
                self.draw(&line, inside.0, self.y, &[]);
                self.y += height;
            }
        }
        self.edge(ground)
    }

    fn table(&mut self, rows: &[Row], (left, width): (f32, f32)) -> Result<(), TooLong> {
        let widths = self.columns(rows, width);
        let whole: f32 = widths.iter().sum();
        for row in rows {
            self.room(PLAIN.size * LEADING * 2.0)?;
            let cells = row.cells.iter().zip(&widths).map(|(cell, width)| {
                self.shaper
                    .lines(&cell.spans, width - 2.0 * CELL_PADDING, Wrap::Words)
            });
            let cells: Vec<Vec<Line>> = cells.collect();
            let longest = cells.iter().map(Vec::len).max().unwrap_or_default();
            self.y += 2.0;
            for place in 0..longest {
                let lines = || cells.iter().filter_map(|lines| lines.get(place));
                let tall = lines().map(|line| height(line, PLAIN.size - 1.0));
                let tall = tall.fold(0.0, f32::max);
                self.room(tall)?;
                let mut start = left;
                for ((lines, cell), width) in cells.iter().zip(&row.cells).zip(&widths) {
                    if let Some(line) = lines.get(place) {
                        let end = width - 2.0 * CELL_PADDING - line.width;
                        let inset = if line.is_rtl { end } else { 0.0 };
                        self.draw(line, start + CELL_PADDING + inset, self.y, &cell.links);
                    }
                    start += width;
                }
                self.y += tall;
            }
            self.y += 2.0;
            let (thickness, y) = (if row.is_head { 1.0 } else { 0.5 }, self.y);
            if let Some(page) = self.pages.last_mut() {
                fill(&mut page.content, RULE, (left, y, whole, thickness));
            }
        }
        Ok(())
    }

    /// As wide as what is in them, as far as there is room for all.
    fn columns(&mut self, rows: &[Row], width: f32) -> Vec<f32> {
        let mut widths: Vec<f32> = Vec::new();
        for row in rows {
            for (place, cell) in row.cells.iter().enumerate() {
                let natural = self.shaper.width(&cell.spans) + 2.0 * CELL_PADDING + 1.0;
                match widths.get_mut(place) {
                    Some(wide) => *wide = wide.max(natural),
                    None => widths.push(natural.max(NARROWEST_CELL)),
                }
            }
        }
        let natural: f32 = widths.iter().sum();
        if natural <= width || widths.is_empty() {
            return widths;
        }
        #[expect(clippy::cast_precision_loss, reason = "there are few columns")]
        let least = NARROWEST_CELL.min(width / widths.len() as f32);
        #[expect(clippy::cast_precision_loss, reason = "there are few columns")]
        let spare = width - least * widths.len() as f32;
        let beyond = |wide: &f32| (wide - least).max(0.0).sqrt();
        let all: f32 = widths.iter().map(beyond).sum();
        let fair = widths
            .iter()
            .map(|wide| least + spare * beyond(wide) / all.max(1.0));
        fair.collect()
    }

    fn rule(&mut self, left: f32, width: f32) -> Result<(), TooLong> {
        self.room(4.0)?;
        let y = self.y + 1.5;
        if let Some(page) = self.pages.last_mut() {
            fill(&mut page.content, RULE, (left, y, width, 0.75));
        }
        self.y += 4.0;
        Ok(())
    }

    /// The padding above and below what has a ground.
    fn edge(&mut self, ground: Ground) -> Result<(), TooLong> {
        self.room(PADDING)?;
        self.behind(Some(ground), PADDING);
        self.y += PADDING;
        Ok(())
    }

    fn behind(&mut self, ground: Option<Ground>, height: f32) {
        let y = self.y;
        if let (Some(ground), Some(page)) = (ground, self.pages.last_mut()) {
            // A little more, so that no light shines through between two lines.
            let area = (ground.left, y, ground.width, height + 0.3);
            fill(&mut page.content, ground.colour, area);
        }
    }

    /// What stands at the foot of each page, when all pages are there.
    pub fn feet(&mut self, title: &str) {
        let count = self.pages.len();
        let short = crate::model::text::head(title, 60).into_owned();
        let title = self.one_line(&Words::plain(short, small()));
        for place in 0..count {
            let number = format!("{} / {count}", place + 1);
            let number = self.one_line(&Words::plain(number, small()));
            let left = MARGIN + COLUMN - number.width;
            self.draw_on(place, &title, MARGIN, HEIGHT - 42.0, &[]);
            self.draw_on(place, &number, left, HEIGHT - 42.0, &[]);
        }
    }

    fn draw(&mut self, line: &Line, left: f32, top: f32, links: &[String]) {
        self.draw_on(self.pages.len() - 1, line, left, top, links);
    }

    fn draw_on(&mut self, page: usize, line: &Line, left: f32, top: f32, links: &[String]) {
        let Some(page) = self.pages.get_mut(page) else {
            return;
        };
        let size = line.clusters.iter().map(|cluster| cluster.style.size);
        let size = size.fold(0.0, f32::max);
        let baseline = HEIGHT - top - size * BASELINE;
        let mut x = left;
        for run in line
            .clusters
            .chunk_by(|a, b| a.font == b.font && a.style == b.style)
        {
            let Some(first) = run.first() else { continue };
            let width: f32 = run.iter().map(|cluster| cluster.advance).sum();
            let (Some(used), Some(face)) = (
                self.used.get_mut(first.font),
                self.shaper.faces().get(first.font),
            ) else {
                continue;
            };
            let advance = |glyph: u16| {
                let units = face.glyph_hor_advance(GlyphId(glyph)).unwrap_or_default();
                #[expect(clippy::cast_precision_loss, reason = "units of a font are small")]
                let em = face.units_per_em() as f32;
                f32::from(units) / em
            };
            text(&mut page.content, run, (x, baseline), used, &advance);
            decorate(page, first.style, (x, baseline, width), links);
            x += width;
        }
    }
}

fn small() -> Style {
    Style {
        size: 8.0,
        colour: FAINT,
        ..PLAIN
    }
}

fn height(line: &Line, usual: f32) -> f32 {
    let sizes = line.clusters.iter().map(|cluster| cluster.style.size);
    sizes.fold(usual, f32::max) * LEADING
}

fn parts(colour: [u8; 3]) -> [f32; 3] {
    colour.map(|part| f32::from(part) / 255.0)
}

/// Fills an area: left, top, width, height.
fn fill(content: &mut Content, colour: [u8; 3], (left, top, width, height): (f32, f32, f32, f32)) {
    let [r, g, b] = parts(colour);
    content.set_fill_rgb(r, g, b);
    content.rect(left, HEIGHT - top - height, width, height);
    content.fill_nonzero();
}

/// The lines through or below words, and where they lead.
fn decorate(page: &mut Page, style: Style, (x, y, width): (f32, f32, f32), links: &[String]) {
    let mut line = |up: f32, colour| {
        let top = HEIGHT - y - up;
        fill(&mut page.content, colour, (x, top, width, 0.5));
    };
    if style.strike {
        line(style.size * 0.28, INK);
    }
    if let Some(url) = style.link.and_then(|place| links.get(place)) {
        line(-style.size * 0.14, style.colour);
        let area = [x, y - style.size * 0.3, x + width, y + style.size];
        page.links.push((area, url.clone()));
    }
}

/// A run of one font and one style, its pen moved to where each glyph was shaped to be. What a reader's program takes for its
/// text is what was written: glyph by glyph where that says it, and else by the words beside it.
fn text(
    content: &mut Content,
    run: &[Cluster],
    origin: (f32, f32),
    used: &mut Used,
    advance: &dyn Fn(u16) -> f32,
) {
    let Some(Cluster { font, style, .. }) = run.first() else {
        return;
    };
    let [red, green, blue] = parts(style.colour);
    content.begin_text();
    content.set_fill_rgb(red, green, blue);
    content.set_font(Name(format!("F{font}").as_bytes()), style.size);
    if style.bold {
        content.set_text_rendering_mode(TextRenderingMode::FillStroke);
        content.set_stroke_rgb(red, green, blue);
        content.set_line_width(style.size * 0.035);
    } else {
        content.set_text_rendering_mode(TextRenderingMode::Fill);
    }
    let slant = if style.italic { 0.21 } else { 0.0 };
    content.set_text_matrix([1.0, 0.0, slant, 1.0, origin.0, origin.1]);
    let mut pen = Pen {
        size: style.size,
        at: 0.0,
        rise: 0.0,
        shown: Vec::new(),
    };
    let mut begun = 0.0;
    for cluster in run {
        let numbers: Vec<u16> = cluster
            .glyphs
            .iter()
            .map(|glyph| used.glyphs.remap(glyph.id))
            .collect();
        let is_told = match numbers.as_slice() {
            [number] => {
                *used
                    .unicode
                    .entry(*number)
                    .or_insert_with(|| cluster.text.clone())
                    == cluster.text
            }
            _ => false,
        };
        if !is_told {
            pen.flush(content);
            let mut told = content.begin_marked_content_with_properties(Name(b"Span"));
            told.properties().actual_text(TextStr(&cluster.text));
        }
        let mut at = begun;
        for (glyph, number) in cluster.glyphs.iter().zip(&numbers) {
            pen.show(content, *number, (at + glyph.x, glyph.y), advance(glyph.id));
            at += glyph.advance;
        }
        if !is_told {
            pen.flush(content);
            content.end_marked_content();
        }
        begun += cluster.advance;
    }
    pen.flush(content);
    if pen.rise != 0.0 {
        content.set_rise(0.0);
    }
    content.end_text();
}

/// Where a viewer's pen is, in points from the run's beginning, and what is shown next.
struct Pen {
    size: f32,
    at: f32,
    rise: f32,
    shown: Vec<Shown>,
}

enum Shown {
    Glyphs(Vec<u8>),
    /// In thousandths of the size, back.
    Move(f32),
}

impl Pen {
    #[expect(clippy::float_cmp, reason = "what is set is what is compared")]
    fn show(&mut self, content: &mut Content, number: u16, (x, y): (f32, f32), advance: f32) {
        if y != self.rise {
            self.flush(content);
            content.set_rise(y);
            self.rise = y;
        }
        let away = (x - self.at) * 1000.0 / self.size;
        if away.abs() > 0.5 {
            self.shown.push(Shown::Move(-away));
            self.at = x;
        }
        match self.shown.last_mut() {
            Some(Shown::Glyphs(bytes)) => bytes.extend(number.to_be_bytes()),
            _ => self
                .shown
                .push(Shown::Glyphs(number.to_be_bytes().to_vec())),
        }
        self.at += advance * self.size;
    }

    fn flush(&mut self, content: &mut Content) {
        if self.shown.is_empty() {
            return;
        }
        let mut positioned = content.show_positioned();
        let mut items = positioned.items();
        for shown in self.shown.drain(..) {
            match shown {
                Shown::Glyphs(bytes) => items.show(Str(&bytes)),
                Shown::Move(back) => items.adjust(back),
            };
        }
    }
}
