//! Words become glyphs on lines: which font has a character, which way a run goes, what its shapes are, and where a line ends.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;

use rustybuzz::{BufferClusterLevel, Direction, Face, Script, ShapePlan, UnicodeBuffer};
use unicode_bidi::{BidiInfo, Level};
use unicode_linebreak::{BreakOpportunity, linebreaks};

use super::fonts::{Loaded, is_invisible};

/// The places of our own fonts.
const SANS: usize = 0;
const MONO: usize = 1;

/// How words look.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each may be with each of the others"
)]
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Style {
    /// In points.
    pub size: f32,
    pub bold: bool,
    pub italic: bool,
    pub mono: bool,
    pub strike: bool,
    pub colour: [u8; 3],
    /// Which of the paragraph's addresses it leads to.
    pub link: Option<usize>,
}

/// Words that look alike.
#[derive(Clone, Debug)]
pub(super) struct Span {
    pub text: String,
    pub style: Style,
}

/// Glyphs that stand for some characters together.
#[derive(Clone, Debug)]
pub(super) struct Cluster {
    pub text: String,
    pub glyphs: Vec<Glyph>,
    /// In points.
    pub advance: f32,
    pub font: usize,
    pub style: Style,
    /// Where in its paragraph it begins, in bytes.
    at: usize,
    is_space: bool,
}

/// A shape, moved from where the pen is. In points.
#[derive(Clone, Copy, Debug)]
pub(super) struct Glyph {
    pub id: u16,
    pub advance: f32,
    pub x: f32,
    pub y: f32,
}

/// A line, its clusters from left to right.
#[derive(Clone, Debug, Default)]
pub(super) struct Line {
    pub clusters: Vec<Cluster>,
    /// Without the spaces at its end.
    pub width: f32,
    pub is_rtl: bool,
}

/// The fonts of one PDF, ready to shape, and what none of them has.
pub(super) struct Shaper<'a> {
    faces: Vec<Face<'a>>,
    /// How to shape with each font, in each direction, each script.
    plans: HashMap<(usize, bool, Script), ShapePlan>,
    pub missing: BTreeSet<char>,
}

/// How a paragraph is broken into lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrap {
    /// Between words.
    Words,
    /// Anywhere: every character of code counts.
    Anywhere,
}

impl<'a> Shaper<'a> {
    pub fn new(fonts: &'a [Loaded]) -> Option<Self> {
        let faces = fonts
            .iter()
            .map(|font| Face::from_slice(&font.data, font.index));
        Some(Self {
            faces: faces.collect::<Option<_>>()?,
            plans: HashMap::new(),
            missing: BTreeSet::new(),
        })
    }

    pub fn faces(&self) -> &[Face<'a>] {
        &self.faces
    }

    /// The lines of a paragraph, none wider than `width`, unless one character is.
    pub fn lines(&mut self, spans: &[Span], width: f32, wrap: Wrap) -> Vec<Line> {
        let (text, styles) = joined(spans);
        if text.is_empty() {
            return vec![Line::default()];
        }
        // Code reads from left to right, whatever it says.
        let level = (wrap == Wrap::Anywhere).then(Level::ltr);
        let bidi = BidiInfo::new(&text, level);
        let mut lines = Vec::new();
        for paragraph in &bidi.paragraphs {
            let range = paragraph.range.clone();
            let clusters = self.clusters(&text, range.clone(), &bidi.levels, &styles);
            for range in broken(&text, range, &clusters, width, wrap) {
                let (levels, runs) = if bidi.has_rtl() {
                    bidi.visual_runs(paragraph, range.clone())
                } else {
                    (Vec::new(), vec![range.clone()])
                };
                lines.push(line(&clusters, (&range, &levels), &runs, paragraph.level));
            }
        }
        lines
    }

    /// How wide the words are on one line.
    pub fn width(&mut self, spans: &[Span]) -> f32 {
        let lines = self.lines(spans, f32::INFINITY, Wrap::Words);
        lines.iter().map(|line| line.width).fold(0.0, f32::max)
    }

    /// The clusters of a paragraph, in the order in which they are read.
    fn clusters(
        &mut self,
        text: &str,
        range: Range<usize>,
        levels: &[Level],
        styles: &[(usize, Style)],
    ) -> Vec<Cluster> {
        let mut clusters = Vec::new();
        let mut items: Vec<(Range<usize>, usize, Level, Style)> = Vec::new();
        let mut font_before = None;
        for (offset, c) in text[range.clone()].char_indices() {
            let at = range.start + offset;
            if is_invisible(c) && matches!(c, '\n' | '\r' | '\u{2028}' | '\u{2029}' | '\u{85}') {
                continue;
            }
            let behind = styles.partition_point(|(start, _)| *start <= at);
            let Some((_, style)) = behind.checked_sub(1).and_then(|place| styles.get(place)) else {
                continue;
            };
            let font = self.font_of(c, style.mono, font_before);
            font_before = Some(font);
            let level = levels.get(at).copied().unwrap_or(Level::ltr());
            let end = at + c.len_utf8();
            match items.last_mut() {
                Some((item, same_font, same_level, same_style))
                    if item.end == at
                        && *same_font == font
                        && *same_level == level
                        && *same_style == *style =>
                {
                    item.end = end;
                }
                _ => items.push((at..end, font, level, *style)),
            }
        }
        for (item, font, level, style) in items {
            self.shape(text, item, (font, level, style), &mut clusters);
        }
        clusters
    }

    /// The font that has the character: the one before goes on for as long as it can when it must.
    fn font_of(&mut self, c: char, is_mono: bool, before: Option<usize>) -> usize {
        let has = |font: usize| {
            let face = self.faces.get(font);
            face.is_some_and(|face| face.glyph_index(c).is_some())
        };
        let first = if is_mono { MONO } else { SANS };
        if is_invisible(c) {
            return before.unwrap_or(first);
        }
        // A mark belongs to the letter before it.
        if let Some(before) = before.filter(|before| is_mark(c) && has(*before)) {
            return before;
        }
        let others = 0..self.faces.len();
        let font = std::iter::once(first).chain(others).find(|font| has(*font));
        font.unwrap_or_else(|| {
            self.missing.insert(c);
            first
        })
    }

    fn shape(
        &mut self,
        text: &str,
        item: Range<usize>,
        (font, level, style): (usize, Level, Style),
        clusters: &mut Vec<Cluster>,
    ) {
        let Some(face) = self.faces.get(font) else {
            return;
        };
        let mut buffer = UnicodeBuffer::new();
        buffer.set_cluster_level(BufferClusterLevel::MonotoneGraphemes);
        let words: String = text[item.clone()]
            .chars()
            .map(|c| if c == '\t' { ' ' } else { c })
            .collect();
        buffer.push_str(&words);
        buffer.guess_segment_properties();
        buffer.set_direction(if level.is_rtl() {
            Direction::RightToLeft
        } else {
            Direction::LeftToRight
        });
        // A plan is more work than the shaping of a word, and there are few of them.
        let of_run = (font, level.is_rtl(), buffer.script());
        let plan = self.plans.entry(of_run).or_insert_with(|| {
            ShapePlan::new(face, buffer.direction(), Some(buffer.script()), None, &[])
        });
        let shaped = rustybuzz::shape_with_plan(face, plan, buffer);
        #[expect(clippy::cast_precision_loss, reason = "units of a font are small")]
        let points = |units: i32| units as f32 * style.size / face.units_per_em() as f32;
        let first = clusters.len();
        for (info, position) in shaped.glyph_infos().iter().zip(shaped.glyph_positions()) {
            let at = item.start + info.cluster as usize;
            let glyph = Glyph {
                id: u16::try_from(info.glyph_id).unwrap_or_default(),
                advance: points(position.x_advance),
                x: points(position.x_offset),
                y: points(position.y_offset),
            };
            match clusters.last_mut() {
                Some(cluster) if cluster.at == at => {
                    cluster.advance += glyph.advance;
                    cluster.glyphs.push(glyph);
                }
                _ => clusters.push(Cluster {
                    text: String::new(),
                    glyphs: vec![glyph],
                    advance: glyph.advance,
                    font,
                    style,
                    at,
                    is_space: false,
                }),
            }
        }
        let Some(new) = clusters.get_mut(first..) else {
            return;
        };
        if level.is_rtl() {
            // They came as they stand; they are kept as they are read.
            new.reverse();
        }
        let starts: Vec<usize> = new.iter().map(|cluster| cluster.at).collect();
        for (place, cluster) in new.iter_mut().enumerate() {
            let end = starts.get(place + 1).copied().unwrap_or(item.end);
            text.get(cluster.at..end)
                .unwrap_or_default()
                .clone_into(&mut cluster.text);
            cluster.is_space = cluster.text.chars().all(char::is_whitespace);
        }
    }
}

/// Whether it is a mark that is written with the letter before it.
fn is_mark(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}' | '\u{483}'..='\u{489}' | '\u{591}'..='\u{5c7}' | '\u{610}'..='\u{61a}' | '\u{64b}'..='\u{65f}'
        | '\u{670}' | '\u{6d6}'..='\u{6ed}' | '\u{900}'..='\u{903}' | '\u{93a}'..='\u{94f}' | '\u{1ab0}'..='\u{1aff}'
        | '\u{1dc0}'..='\u{1dff}' | '\u{20d0}'..='\u{20ff}' | '\u{3099}' | '\u{309a}' | '\u{fe20}'..='\u{fe2f}')
}

/// The words of all spans, and where each style begins.
fn joined(spans: &[Span]) -> (String, Vec<(usize, Style)>) {
    let (mut text, mut styles) = (String::new(), Vec::new());
    for span in spans.iter().filter(|span| !span.text.is_empty()) {
        styles.push((text.len(), span.style));
        text.push_str(&span.text);
    }
    (text, styles)
}

/// Where the lines of a paragraph begin and end, in bytes.
fn broken(
    text: &str,
    range: Range<usize>,
    clusters: &[Cluster],
    width: f32,
    wrap: Wrap,
) -> Vec<Range<usize>> {
    let allowed: BTreeSet<usize> = match wrap {
        Wrap::Words => linebreaks(&text[range.clone()])
            .filter(|(_, kind)| *kind == BreakOpportunity::Allowed)
            .map(|(at, _)| range.start + at)
            .collect(),
        Wrap::Anywhere => BTreeSet::new(),
    };
    let mut lines = Vec::new();
    let (mut start, mut used) = (range.start, 0.0);
    // The last place where the line may end, and how wide it is up to there.
    let mut chance: Option<(usize, f32)> = None;
    for cluster in clusters {
        if allowed.contains(&cluster.at) && cluster.at > start {
            chance = Some((cluster.at, used));
        }
        let hangs = cluster.is_space && wrap == Wrap::Words;
        if used + cluster.advance > width && cluster.at > start && !hangs {
            let (end, before) = chance.take().unwrap_or((cluster.at, used));
            lines.push(start..end);
            start = end;
            used -= before;
        }
        used += cluster.advance;
    }
    lines.push(start..range.end);
    lines
}

/// The clusters of a line as they stand.
fn line(
    clusters: &[Cluster],
    (range, levels): (&Range<usize>, &[Level]),
    runs: &[Range<usize>],
    level: Level,
) -> Line {
    let first = clusters.partition_point(|cluster| cluster.at < range.start);
    let behind = clusters.partition_point(|cluster| cluster.at < range.end);
    let clusters = clusters.get(first..behind).unwrap_or_default();
    let said = clusters.iter().rposition(|cluster| !cluster.is_space);
    let said = clusters
        .get(..said.map_or(0, |last| last + 1))
        .unwrap_or_default();
    let end = said.last().map_or(range.start, |cluster| cluster.at + 1);
    let mut placed = Vec::with_capacity(said.len());
    for run in runs {
        let in_run = said
            .iter()
            .filter(|cluster| run.contains(&cluster.at) && cluster.at < end);
        if levels.get(run.start).is_some_and(Level::is_rtl) {
            let mut reversed: Vec<Cluster> = in_run.cloned().collect();
            reversed.reverse();
            placed.extend(reversed);
        } else {
            placed.extend(in_run.cloned());
        }
    }
    Line {
        width: placed.iter().map(|cluster| cluster.advance).sum(),
        clusters: placed,
        is_rtl: level.is_rtl(),
    }
}
