//! The fonts of a PDF: two of our own, which have what Latin, Greek, Cyrillic, Hebrew and Arabic need, and for everything else
//! those that the machine has, or the configuration's folder.
//!
//! What a font has is looked up once, when a text first needs one; its file is read for a PDF that it is used in, and
//! forgotten with it.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustybuzz::ttf_parser::{self, Face, Tag};

/// `assets/README.md` says where they come from.
const SANS: &[u8] = include_bytes!("../../../../assets/fonts/DejaVuSans.ttf.z");
const MONO: &[u8] = include_bytes!("../../../../assets/fonts/DejaVuSansMono.ttf.z");
/// Where Linux, the BSDs and macOS keep fonts for all.
const FOLDERS: [&str; 5] = [
    "/usr/share/fonts",
    "/usr/local/share/fonts",
    "/usr/X11R6/lib/X11/fonts",
    "/Library/Fonts",
    "/System/Library/Fonts",
];
/// Files that are looked at, how deep their folders may lie, and the longest in bytes.
const MAX_FILES: usize = 2_000;
const MAX_DEPTH: usize = 6;
const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024;
/// Fonts in one file.
const MAX_IN_FILE: u32 = 32;
/// Fonts of one PDF, besides our own.
const MAX_EXTRA: usize = 16;
const ENDINGS: [&str; 4] = ["ttf", "otf", "ttc", "otc"];
/// Weights that are neither light nor bold.
const REGULAR: std::ops::RangeInclusive<u16> = 350..=500;

/// A font that is read.
#[derive(Clone)]
pub(super) struct Loaded {
    pub data: Arc<[u8]>,
    pub index: u32,
}

/// All fonts that there are.
pub(super) struct Fonts {
    folder: Option<PathBuf>,
    own: OnceLock<Option<[Loaded; 2]>>,
    others: OnceLock<Vec<Known>>,
}

/// A font on disk, and the characters that it has as ranges in order.
struct Known {
    path: PathBuf,
    index: u32,
    ranges: Vec<(u32, u32)>,
}

impl Known {
    fn has(&self, c: char) -> bool {
        let c = u32::from(c);
        let behind = self.ranges.partition_point(|(first, _)| *first <= c);
        let before = behind
            .checked_sub(1)
            .and_then(|place| self.ranges.get(place));
        before.is_some_and(|(_, last)| c <= *last)
    }
}

impl Fonts {
    /// `folder`: where there are more of them, which go before the machine's.
    pub fn new(folder: Option<PathBuf>) -> Self {
        Self {
            folder,
            own: OnceLock::new(),
            others: OnceLock::new(),
        }
    }

    /// The fonts for these characters, our own first: for words, and for code.
    pub fn for_chars(&self, mut chars: BTreeSet<char>) -> Option<Vec<Loaded>> {
        let own = self
            .own
            .get_or_init(|| Some([unpacked(SANS)?, unpacked(MONO)?]));
        let mut fonts = own.as_ref()?.to_vec();
        for font in &fonts {
            if let Ok(face) = Face::parse(&font.data, font.index) {
                chars.retain(|c| face.glyph_index(*c).is_none());
            }
        }
        chars.retain(|c| !is_invisible(*c));
        while !chars.is_empty() && fonts.len() < 2 + MAX_EXTRA {
            // The one that has the most of them, so that a text of one script is of one font.
            let others = self.others.get_or_init(|| known(self.folder.as_deref()));
            let has = |font: &Known| chars.iter().filter(|c| font.has(**c)).count();
            let best = others.iter().rev().max_by_key(|font| has(font));
            let Some(best) = best.filter(|font| has(font) > 0) else {
                break;
            };
            chars.retain(|c| !best.has(*c));
            if let Ok(data) = std::fs::read(&best.path) {
                fonts.push(Loaded {
                    data: data.into(),
                    index: best.index,
                });
            }
        }
        Some(fonts)
    }
}

/// What has no shape of its own: joiners, marks of direction, selectors of a variant.
pub(super) fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180b}'..='\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{e0000}'..='\u{e0fff}')
}

fn unpacked(packed: &[u8]) -> Option<Loaded> {
    let mut data = Vec::new();
    flate2::read::ZlibDecoder::new(packed)
        .read_to_end(&mut data)
        .ok()?;
    Some(Loaded {
        data: data.into(),
        index: 0,
    })
}

/// The fonts of the machine that can be used: those of the folder first.
fn known(folder: Option<&Path>) -> Vec<Known> {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let own = home.iter().flat_map(|home| {
        [".local/share/fonts", ".fonts", "Library/Fonts"].map(|folder| home.join(folder))
    });
    let folders = folder.map(Path::to_owned).into_iter();
    let mut paths = Vec::new();
    for folder in folders.chain(own).chain(FOLDERS.map(PathBuf::from)) {
        let mut found = Vec::new();
        collect(&folder, 0, &mut found);
        found.sort();
        paths.extend(found);
    }
    paths.truncate(MAX_FILES);
    let fonts: Vec<Known> = paths.iter().flat_map(|path| in_file(path)).collect();
    tracing::debug!(fonts = fonts.len(), "looked for fonts");
    fonts
}

fn collect(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    for path in entries.flatten().map(|entry| entry.path()) {
        if found.len() >= MAX_FILES {
            return;
        }
        let ending = path.extension().and_then(|ending| ending.to_str());
        let is_font = |ending: &str| ENDINGS.iter().any(|font| font.eq_ignore_ascii_case(ending));
        if ending.is_some_and(is_font) {
            found.push(path);
        } else if depth < MAX_DEPTH && path.is_dir() {
            collect(&path, depth + 1, found);
        }
    }
}

/// The fonts in a file that are upright, of an ordinary weight, and have outlines that a PDF can hold.
fn in_file(path: &Path) -> Vec<Known> {
    let is_small = std::fs::metadata(path).is_ok_and(|file| file.len() <= MAX_FILE_BYTES);
    let Some(data) = is_small.then(|| std::fs::read(path).ok()).flatten() else {
        return Vec::new();
    };
    let count = ttf_parser::fonts_in_collection(&data).unwrap_or(1);
    let fonts = (0..count.min(MAX_IN_FILE)).filter_map(|index| {
        let face = Face::parse(&data, index).ok()?;
        let is_plain = !face.is_italic() && REGULAR.contains(&face.weight().to_number());
        let has_outlines = face.tables().glyf.is_some() || face.tables().cff.is_some();
        let is_variable = face.raw_face().table(Tag::from_bytes(b"fvar")).is_some();
        (is_plain && has_outlines && !is_variable).then(|| Known {
            path: path.to_owned(),
            index,
            ranges: ranges(&face),
        })
    });
    fonts.filter(|font| !font.ranges.is_empty()).collect()
}

fn ranges(face: &Face<'_>) -> Vec<(u32, u32)> {
    let mut chars = BTreeSet::new();
    let tables = face.tables().cmap.iter().flat_map(|cmap| cmap.subtables);
    for table in tables.filter(ttf_parser::cmap::Subtable::is_unicode) {
        table.codepoints(|c| {
            if table.glyph_index(c).is_some_and(|glyph| glyph.0 != 0) {
                chars.insert(c);
            }
        });
    }
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for c in chars {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == c => *last = c,
            _ => ranges.push((c, c)),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_fonts_have_five_scripts_and_what_answers_draw_with() {
        let fonts = Fonts::new(None);
        let text =
            "Łódź, tiếng Việt, Ελληνικά, Українська, עברית, العربية پچگ → ≤ ∞ ├── │ ✓ • € “”…";
        let loaded = fonts.for_chars(text.chars().collect()).unwrap();
        assert_eq!(loaded.len(), 2);
        let mono = Face::parse(&loaded[1].data, 0).unwrap();
        for c in "fn main() { ├── └ │ → “é” λ ж }".chars() {
            assert!(mono.glyph_index(c).is_some(), "{c:?}");
        }
    }

    #[test]
    fn fonts_of_the_folder_that_is_named_go_before_the_machine_s() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("more");
        std::fs::create_dir(&inner).unwrap();
        std::fs::write(inner.join("Own.TTF"), &unpacked(SANS).unwrap().data).unwrap();
        std::fs::write(folder.path().join("broken.ttf"), b"no font").unwrap();
        std::fs::write(folder.path().join("other.txt"), b"no font").unwrap();
        let fonts = known(Some(folder.path()));
        assert_eq!(fonts[0].path, inner.join("Own.TTF"));
        assert!(fonts[0].has('ж') && !fonts[0].has('茶'));
        let of_folder = fonts
            .iter()
            .filter(|font| font.path.starts_with(folder.path()));
        assert_eq!(of_folder.count(), 1);
    }

    #[test]
    fn a_character_is_found_in_the_ranges_of_a_font() {
        let font = Known {
            path: PathBuf::new(),
            index: 0,
            ranges: vec![(65, 70), (100, 100)],
        };
        for (c, has) in [
            ('@', false),
            ('A', true),
            ('F', true),
            ('G', false),
            ('d', true),
            ('e', false),
        ] {
            assert_eq!(font.has(c), has, "{c}");
        }
    }
}
