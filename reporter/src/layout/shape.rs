//! What a page is made of.

use super::measure::Face;

/// A colour, eight bits for each of red, green and blue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Color(pub u8, pub u8, pub u8);

impl Color {
    /// Text.
    pub const INK: Self = Self(0x1b, 0x24, 0x30);
    /// Text of less weight; 5.9:1 against white.
    pub const QUIET: Self = Self(0x56, 0x61, 0x70);
    /// Headings.
    pub const ACCENT: Self = Self(0x1f, 0x3a, 0x5f);
    /// Thin lines.
    pub const RULE: Self = Self(0xd0, 0xd6, 0xde);
    /// Table heads and panels.
    pub const FILL: Self = Self(0xf2, 0xf4, 0xf7);
    /// Headings within tables.
    pub const PALE: Self = Self(0xf8, 0xf9, 0xfb);
    /// Paper.
    pub const WHITE: Self = Self(0xff, 0xff, 0xff);
}

/// Something drawn.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// Text on one baseline, in one face.
    Text {
        /// Left end of the baseline.
        x: f32,
        /// Baseline.
        y: f32,
        /// Face.
        face: Face,
        /// Size.
        size: f32,
        /// Colour.
        color: Color,
        /// Characters, all of which the face has.
        text: String,
    },
    /// A filled rectangle.
    Rectangle {
        /// Left edge.
        x: f32,
        /// Upper edge.
        y: f32,
        /// Width.
        width: f32,
        /// Height.
        height: f32,
        /// Colour.
        fill: Color,
    },
    /// A straight line.
    Rule {
        /// Start.
        from: (f32, f32),
        /// End.
        to: (f32, f32),
        /// Thickness.
        thickness: f32,
        /// Colour.
        color: Color,
    },
    /// A filled polygon.
    Polygon {
        /// Corners in order.
        points: Vec<(f32, f32)>,
        /// Colour.
        fill: Color,
    },
    /// A place that leads to an address.
    Link {
        /// Left edge.
        x: f32,
        /// Upper edge.
        y: f32,
        /// Width.
        width: f32,
        /// Height.
        height: f32,
        /// Address.
        url: String,
    },
}

/// A page.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    /// In drawing order.
    pub shapes: Vec<Shape>,
}

/// A set document.
#[derive(Clone, Debug, PartialEq)]
pub struct Pages {
    /// Page width.
    pub width: f32,
    /// Page height.
    pub height: f32,
    /// Pages in order.
    pub pages: Vec<Page>,
    /// Headings with the index of their page, in order.
    pub outline: Vec<(String, usize)>,
}
