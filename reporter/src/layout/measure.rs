//! Faces and the widths of their characters, as the PDF will state them.

use ttf_parser::Face as Parsed;

use crate::problem::ReportProblem;

/// A face of the embedded family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Face {
    /// Running text.
    Regular,
    /// Headings and strong words.
    Bold,
    /// Names, digests and commands.
    Mono,
}

impl Face {
    /// All faces.
    pub const ALL: [Self; 3] = [Self::Regular, Self::Bold, Self::Mono];

    /// PostScript name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Regular => "DejaVuSansCondensed",
            Self::Bold => "DejaVuSansCondensed-Bold",
            Self::Mono => "DejaVuSansMono",
        }
    }

    /// The font file.
    pub fn bytes(self) -> &'static [u8] {
        match self {
            Self::Regular => dejavu::sans_condensed::regular(),
            Self::Bold => dejavu::sans_condensed::bold(),
            Self::Mono => dejavu::sans_mono::regular(),
        }
    }
}

/// The parsed faces.
#[derive(Debug)]
pub struct Fonts {
    regular: Measured,
    bold: Measured,
    mono: Measured,
}

/// A face with the widths of the characters that most text is made of.
#[derive(Debug)]
struct Measured {
    parsed: Parsed<'static>,
    /// Of the 128 ASCII characters, in order; `None` where there is no glyph.
    ascii: Vec<Option<f32>>,
}

impl Measured {
    fn new(parsed: Parsed<'static>) -> Self {
        let ascii = (0..128_u8).map(|byte| look_up(&parsed, char::from(byte))).collect();
        Self { parsed, ascii }
    }

    /// Width at size 1, if there is a glyph.
    fn advance(&self, character: char) -> Option<f32> {
        let small = usize::try_from(u32::from(character)).ok().and_then(|index| self.ascii.get(index));
        small.map_or_else(|| look_up(&self.parsed, character), |advance| *advance)
    }
}

/// Truncated to thousandths, as printpdf writes it into the file.
fn look_up(parsed: &Parsed<'static>, character: char) -> Option<f32> {
    let units = parsed.glyph_hor_advance(parsed.glyph_index(character)?).unwrap_or(0);
    let thousandths = u32::from(units) * 1000 / u32::from(parsed.units_per_em().max(1));
    Some(f32::from(u16::try_from(thousandths).unwrap_or(u16::MAX)) / 1000.0)
}

impl Fonts {
    /// Parses the embedded faces.
    pub fn embedded() -> Result<Self, ReportProblem> {
        let parse = |face: Face| {
            Parsed::parse(face.bytes(), 0)
                .map(Measured::new)
                .map_err(|cause| ReportProblem::Pdf { cause: format!("the embedded font {}: {cause}", face.name()) })
        };
        Ok(Self { regular: parse(Face::Regular)?, bold: parse(Face::Bold)?, mono: parse(Face::Mono)? })
    }

    const fn measured(&self, face: Face) -> &Measured {
        match face {
            Face::Regular => &self.regular,
            Face::Bold => &self.bold,
            Face::Mono => &self.mono,
        }
    }

    /// A parsed face.
    pub const fn face(&self, face: Face) -> &Parsed<'static> {
        &self.measured(face).parsed
    }

    /// Whether `face` can show `character` as it should look: it has a glyph, and the script needs neither shaping nor
    /// a change of direction, which this layer does not do.
    pub fn shows(&self, face: Face, character: char) -> bool {
        self.measured(face).advance(character).is_some() && !needs_shaping(character)
    }

    /// Width of a character at size 1, as the file will state it.
    pub fn advance(&self, face: Face, character: char) -> f32 {
        self.measured(face).advance(character).unwrap_or(0.0)
    }

    /// Width of `text` at `size`.
    pub fn width(&self, face: Face, size: f32, text: &str) -> f32 {
        text.chars().map(|character| self.advance(face, character)).sum::<f32>() * size
    }
}

/// Scripts written from right to left, or joined and reordered; and marks that combine with the character before.
const fn needs_shaping(character: char) -> bool {
    matches!(character as u32,
        0x0300..=0x036F | 0x0590..=0x10FF | 0x1780..=0x17FF | 0x1DC0..=0x1DFF | 0x20D0..=0x20FF | 0xFB1D..=0xFDFF
        | 0xFE00..=0xFE0F | 0xFE20..=0xFE2F | 0xFE70..=0xFEFF | 0x1_0800..=0x1_0FFF | 0x1_E800..=0x1_EFFF)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Letters of the 24 official languages of the Union that other Latin alphabets lack, Greek, Cyrillic, and our signs.
    const UNION: &str = "ĄąĆćĘęŁłŃńÓóŚśŹźŻżČčĎďĚěŇňŘřŠšŤťŮůŽžĀāĒēĢģĪīĶķĻļŅņŪūĖėĮįŲųŐőŰűȘșȚțĂăÂâÎîĦħĠġĊċẞßØøÅåÆæ\
        ΑαΒβΓγΔδΩωάέήίόύώϊΐЀАаБбВвЪъЬьЮюЯяñçàèìòùëïüÿ€≤≈×÷·–—“”„‘’…⁰¹²³⁴⁵⁶⁷⁸⁹⁻§°";

    #[test]
    fn the_text_faces_cover_the_union() {
        let fonts = Fonts::embedded().unwrap();
        for face in [Face::Regular, Face::Bold] {
            for character in UNION.chars().filter(|character| !character.is_whitespace()) {
                assert!(fonts.shows(face, character), "{} lacks {character}", face.name());
            }
        }
    }

    #[test]
    fn what_needs_shaping_or_is_not_there_is_not_shown() {
        let fonts = Fonts::embedded().unwrap();
        for character in ['א', 'ع', '🦀', '한', '\u{301}'] {
            assert!(!fonts.shows(Face::Regular, character), "{character:?}");
        }
    }

    #[test]
    fn widths_add_up() {
        let fonts = Fonts::embedded().unwrap();
        let both = fonts.width(Face::Regular, 10.0, "ab");
        let apart = fonts.width(Face::Regular, 10.0, "a") + fonts.width(Face::Regular, 10.0, "b");
        assert!((both - apart).abs() < 0.001);
        assert!(both > 5.0);
    }
}
