//! Pages become a file: their drawings, and of each font that part which is used.

use std::io::Write as _;

use pdf_writer::types::{
    ActionType, AnnotationType, CidFontType, FontFlags, SystemInfo, UnicodeCmap,
};
use pdf_writer::{Filter, Finish as _, Name, Pdf, Rect, Ref, Str, TextStr};
use rustybuzz::Face;
use rustybuzz::ttf_parser::{self, GlyphId, RawFace, Tag};

use super::fonts::Loaded;
use super::paper::{HEIGHT, Page, Used, WIDTH};

/// What a font is known by in the file, if it says nothing that can be written there.
const NAMELESS: &str = "Font";
/// From when fonts count as bold to whoever has to replace them.
const STEM: f32 = 80.0;

/// Why there is no file.
#[derive(Debug, thiserror::Error)]
pub(super) enum FileError {
    #[error("a font could not be cut down: {0}")]
    Font(#[from] subsetter::Error),
    #[error("a font has neither of the outlines that a PDF can hold")]
    Outlines,
    #[error("it could not be packed")]
    Pack(#[from] std::io::Error),
}

/// Numbers of things in the file.
struct Numbers(i32);

impl Numbers {
    fn next(&mut self) -> Ref {
        self.0 += 1;
        Ref::new(self.0)
    }
}

/// The file's bytes.
pub(super) fn bytes(
    title: &str,
    pages: Vec<Page>,
    fonts: &[(Loaded, &Face<'_>, Used)],
) -> Result<Vec<u8>, FileError> {
    let (mut pdf, mut numbers) = (Pdf::new(), Numbers(0));
    let (catalog, tree, info) = (numbers.next(), numbers.next(), numbers.next());
    let mut written = Vec::new();
    for (place, (loaded, face, used)) in fonts.iter().enumerate() {
        if !used.unicode.is_empty() || used.glyphs.num_gids() > 1 {
            let number = font(&mut pdf, &mut numbers, (loaded, face, used))?;
            written.push((format!("F{place}"), number));
        }
    }
    let mut kids = Vec::with_capacity(pages.len());
    for page in pages {
        let (number, content) = (numbers.next(), numbers.next());
        kids.push(number);
        let drawing = packed(&page.content.finish())?;
        let mut stream = pdf.stream(content, &drawing);
        stream.filter(Filter::FlateDecode);
        stream.finish();
        let links: Vec<Ref> = page.links.iter().map(|_| numbers.next()).collect();
        for (number, ([left, bottom, right, top], url)) in links.iter().zip(&page.links) {
            let mut link = pdf.annotation(*number);
            link.subtype(AnnotationType::Link);
            link.rect(Rect::new(*left, *bottom, *right, *top));
            link.border(0.0, 0.0, 0.0, None);
            let mut action = link.action();
            action.action_type(ActionType::Uri);
            action.uri(Str(url.as_bytes()));
        }
        let mut written_page = pdf.page(number);
        written_page.parent(tree);
        written_page.media_box(Rect::new(0.0, 0.0, WIDTH, HEIGHT));
        written_page.contents(content);
        if !links.is_empty() {
            written_page.annotations(links);
        }
        let mut resources = written_page.resources();
        let mut names = resources.fonts();
        for (name, number) in &written {
            names.pair(Name(name.as_bytes()), *number);
        }
    }
    let count = i32::try_from(kids.len()).unwrap_or(i32::MAX);
    pdf.pages(tree).kids(kids).count(count);
    let mut root = pdf.catalog(catalog);
    root.pages(tree);
    root.viewer_preferences().display_doc_title(true);
    root.finish();
    let mut about = pdf.document_info(info);
    about.title(TextStr(title));
    about.producer(TextStr("Pollen"));
    about.finish();
    Ok(pdf.finish())
}

/// Writes what is used of a font. The number by which pages know it.
fn font(
    pdf: &mut Pdf,
    numbers: &mut Numbers,
    (loaded, face, used): (&Loaded, &Face<'_>, &Used),
) -> Result<Ref, FileError> {
    let part = subsetter::subset(&loaded.data, loaded.index, &used.glyphs)?;
    let is_truetype = face.tables().glyf.is_some();
    let cff = RawFace::parse(&part, 0)
        .ok()
        .and_then(|raw| raw.table(Tag::from_bytes(b"CFF ")));
    let [whole, inner, about, data, unicode] = std::array::from_fn(|_| numbers.next());
    let name = format!("POLLEN+{}", name(face));
    let system = SystemInfo {
        registry: Str(b"Adobe"),
        ordering: Str(b"Identity"),
        supplement: 0,
    };
    let mut outer = pdf.type0_font(whole);
    outer.base_font(Name(name.as_bytes()));
    outer.encoding_predefined(Name(b"Identity-H"));
    outer.descendant_font(inner);
    outer.to_unicode(unicode);
    outer.finish();

    #[expect(clippy::cast_precision_loss, reason = "units of a font are small")]
    let em = face.units_per_em() as f32;
    let thousandths = |units: i16| f32::from(units) * 1000.0 / em;
    let widths = used.glyphs.remapped_gids().map(|glyph| {
        let units = face.glyph_hor_advance(GlyphId(glyph)).unwrap_or_default();
        f32::from(units) * 1000.0 / em
    });
    let mut cid = pdf.cid_font(inner);
    cid.subtype(if is_truetype {
        CidFontType::Type2
    } else {
        CidFontType::Type0
    });
    cid.base_font(Name(name.as_bytes()));
    cid.system_info(system);
    cid.font_descriptor(about);
    cid.default_width(0.0);
    cid.widths().consecutive(0, widths);
    if is_truetype {
        cid.cid_to_gid_map_predefined(Name(b"Identity"));
    }
    cid.finish();

    let area = face.global_bounding_box();
    let mut descriptor = pdf.font_descriptor(about);
    descriptor.name(Name(name.as_bytes()));
    descriptor.flags(FontFlags::SYMBOLIC);
    descriptor.bbox(Rect::new(
        thousandths(area.x_min),
        thousandths(area.y_min),
        thousandths(area.x_max),
        thousandths(area.y_max),
    ));
    descriptor.italic_angle(0.0);
    descriptor.ascent(thousandths(face.ascender()));
    descriptor.descent(thousandths(face.descender()));
    descriptor.cap_height(thousandths(
        face.capital_height().unwrap_or(face.ascender()),
    ));
    descriptor.stem_v(STEM);
    if is_truetype {
        descriptor.font_file2(data);
    } else {
        descriptor.font_file3(data);
    }
    descriptor.finish();

    let outlines = if is_truetype {
        part.as_slice()
    } else {
        cff.ok_or(FileError::Outlines)?
    };
    let small = packed(outlines)?;
    let mut stream = pdf.stream(data, &small);
    stream.filter(Filter::FlateDecode);
    if !is_truetype {
        stream.pair(Name(b"Subtype"), Name(b"CIDFontType0C"));
    }
    stream.finish();

    let system = SystemInfo {
        registry: Str(b"Adobe"),
        ordering: Str(b"UCS"),
        supplement: 0,
    };
    let mut map = UnicodeCmap::<u16>::new(Name(b"Pollen"), system);
    for (number, text) in used.unicode.iter().filter(|(_, text)| !text.is_empty()) {
        map.pair_with_multiple(*number, text.chars());
    }
    let map = packed(&map.finish())?;
    let mut stream = pdf.cmap(unicode, &map);
    stream.filter(Filter::FlateDecode);
    stream.finish();
    Ok(whole)
}

fn packed(bytes: &[u8]) -> Result<Vec<u8>, FileError> {
    let mut packer = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    packer.write_all(bytes)?;
    Ok(packer.finish()?)
}

/// The font's name, of letters and digits.
fn name(face: &Face<'_>) -> String {
    let names = face.names().into_iter();
    let mut names = names.filter(|name| name.name_id == ttf_parser::name_id::POST_SCRIPT_NAME);
    let name = names.find_map(|name| name.to_string()).unwrap_or_default();
    let name: String = name
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || *c == '-')
        .collect();
    if name.is_empty() {
        NAMELESS.to_owned()
    } else {
        name
    }
}
