//! Cuts the embedded faces down to the characters of one document. printpdf embeds whole files without its HTML engine.

use std::collections::{BTreeMap, BTreeSet};

use printpdf::{FontMetrics, ParsedFont};
use subsetter::GlyphRemapper;

use crate::layout::{Face, Fonts, Pages, Shape};
use crate::problem::ReportProblem;

/// The faces a document uses, each with its characters only.
pub(super) fn faces(pages: &Pages, fonts: &Fonts) -> Result<BTreeMap<Face, ParsedFont>, ReportProblem> {
    let mut used: BTreeMap<Face, BTreeSet<char>> = BTreeMap::new();
    for shape in pages.pages.iter().flat_map(|page| &page.shapes) {
        if let Shape::Text { face, text, .. } = shape {
            used.entry(*face).or_default().extend(text.chars());
        }
    }
    used.into_iter().map(|(face, characters)| Ok((face, subset(face, &characters, fonts)?))).collect()
}

fn subset(face: Face, characters: &BTreeSet<char>, fonts: &Fonts) -> Result<ParsedFont, ReportProblem> {
    let parsed = fonts.face(face);
    let mut remapper = GlyphRemapper::new();
    let mut glyphs = BTreeMap::new();
    let mut widths = BTreeMap::new();
    for character in characters {
        let Some(glyph) = parsed.glyph_index(*character) else { continue };
        let renumbered = remapper.remap(glyph.0);
        glyphs.insert(u32::from(*character), renumbered);
        widths.insert(renumbered, parsed.glyph_hor_advance(glyph).unwrap_or(0));
    }
    let bytes = subsetter::subset(face.bytes(), 0, &remapper)
        .map_err(|cause| ReportProblem::Pdf { cause: format!("subsetting {}: {cause}", face.name()) })?;
    let metrics = FontMetrics { ascent: parsed.ascender(), descent: parsed.descender() };
    // The six letters before the plus sign mark a subset (ISO 32000-1, 9.6.4).
    let name = format!("FLOPSM+{}", face.name());
    Ok(ParsedFont::with_glyph_data(bytes, 0, Some(name), glyphs, widths, parsed.units_per_em(), metrics))
}
