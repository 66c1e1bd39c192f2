//! Draws pages with printpdf, and mends what it leaves open in the file: identity, language, version.

use lopdf::{Dictionary, Object, StringFormat};
use printpdf::{
    Actions, BorderArray, FontId, Line, LinePoint, LinkAnnotation, Mm, OffsetDateTime, Op, PaintMode, PdfDocument,
    PdfFont, PdfFontHandle, PdfPage, PdfSaveOptions, Point, Polygon, PolygonRing, Pt, Rect, Rgb, TextItem, TextMatrix,
    WindingOrder,
};
use sha2::{Digest as _, Sha256};

use super::{PageWriter, subset};
use crate::document::Document;
use crate::layout::{Color, Face, Fonts, Page, Pages, Shape};
use crate::problem::ReportProblem;

pub(super) struct Writer;

impl PageWriter for Writer {
    fn write(&self, pages: &Pages, document: &Document, fonts: &Fonts) -> Result<Vec<u8>, ReportProblem> {
        let mut pdf = PdfDocument::new(document.title.as_str());
        describe(&mut pdf, document);
        for (face, font) in subset::faces(pages, fonts)? {
            pdf.resources.fonts.map.insert(FontId(resource(face).to_owned()), PdfFont::new(font));
        }
        let drawn = pages.pages.iter().map(|page| draw(page, pages)).collect();
        pdf.with_pages(drawn);
        finish(&pdf, document, pages)
    }
}

/// Names in the file's resources; none that a built-in font has.
const fn resource(face: Face) -> &'static str {
    match face {
        Face::Regular => "TextRegular",
        Face::Bold => "TextBold",
        Face::Mono => "TextMono",
    }
}

fn describe(pdf: &mut PdfDocument, document: &Document) {
    let info = &mut pdf.metadata.info;
    info.document_title = format!("{}: {}", document.title, document.subject);
    info.subject = document.subject.to_string();
    info.author = document.organisation.as_ref().map(ToString::to_string).unwrap_or_default();
    info.creator = document.generator.to_string();
    "printpdf".clone_into(&mut info.producer);
    if let Ok(made) = OffsetDateTime::from_unix_timestamp(document.generated.timestamp()) {
        info.creation_date = made;
        info.modification_date = made;
        info.metadata_date = made;
    }
}

fn draw(page: &Page, pages: &Pages) -> PdfPage {
    let mut ops = Vec::new();
    for shape in &page.shapes {
        push(&mut ops, shape, pages.height);
    }
    PdfPage::new(Mm::from(Pt(pages.width)), Mm::from(Pt(pages.height)), ops)
}

/// The layer's `y` grows downwards, the file's upwards.
fn push(ops: &mut Vec<Op>, shape: &Shape, height: f32) {
    match shape {
        Shape::Text { x, y, face, size, color, text } => ops.extend([
            Op::StartTextSection,
            Op::SetFillColor { col: fill(*color) },
            Op::SetFont { font: PdfFontHandle::External(FontId(resource(*face).to_owned())), size: Pt(*size) },
            Op::SetTextMatrix { matrix: TextMatrix::Translate(Pt(*x), Pt(height - y)) },
            Op::ShowText { items: vec![TextItem::Text(text.clone())] },
            Op::EndTextSection,
        ]),
        Shape::Rectangle { x, y, width, height: tall, fill: color } => {
            let corners = [(*x, *y), (x + width, *y), (x + width, y + tall), (*x, y + tall)];
            polygon(ops, &corners, *color, height);
        }
        Shape::Polygon { points, fill: color } => polygon(ops, points, *color, height),
        Shape::Rule { from, to, thickness, color } => ops.extend([
            Op::SetOutlineColor { col: fill(*color) },
            Op::SetOutlineThickness { pt: Pt(*thickness) },
            Op::DrawLine { line: Line { points: corners(&[*from, *to], height), is_closed: false } },
        ]),
        Shape::Link { x, y, width, height: tall, url } => {
            let rect = Rect::from_xywh(Pt(*x), Pt(height - y - tall), Pt(*width), Pt(*tall));
            let border = Some(BorderArray::Solid([0.0, 0.0, 0.0]));
            let link = LinkAnnotation::new(rect, Actions::uri(url.clone()), border, None, None);
            ops.push(Op::LinkAnnotation { link });
        }
    }
}

fn polygon(ops: &mut Vec<Op>, points: &[(f32, f32)], color: Color, height: f32) {
    let ring = PolygonRing { points: corners(points, height) };
    let polygon = Polygon { rings: vec![ring], mode: PaintMode::Fill, winding_order: WindingOrder::NonZero };
    ops.extend([Op::SetFillColor { col: fill(color) }, Op::DrawPolygon { polygon }]);
}

fn corners(points: &[(f32, f32)], height: f32) -> Vec<LinePoint> {
    points.iter().map(|(x, y)| LinePoint { p: Point { x: Pt(*x), y: Pt(height - y) }, bezier: false }).collect()
}

fn fill(Color(red, green, blue): Color) -> printpdf::Color {
    let share = |part: u8| f32::from(part) / 255.0;
    printpdf::Color::Rgb(Rgb { r: share(red), g: share(green), b: share(blue), icc_profile: None })
}

/// Writes the file. printpdf draws its identity from a counter of the process, so that a second file would differ; it knows no
/// document language, and calls itself PDF/X in every file.
fn finish(pdf: &PdfDocument, document: &Document, pages: &Pages) -> Result<Vec<u8>, ReportProblem> {
    let problem = |cause: String| ReportProblem::Pdf { cause };
    let mut file = pdf.to_lopdf_document(&PdfSaveOptions::default(), &mut Vec::new());
    "1.7".clone_into(&mut file.version);
    let identity = Object::String(identity(document)?, StringFormat::Hexadecimal);
    file.trailer.set("ID", Object::Array(vec![identity.clone(), identity]));
    let outline = outline(&mut file, pages);
    let catalog = file.catalog_mut().map_err(|cause| problem(cause.to_string()))?;
    catalog.set("Lang", Object::string_literal(document.language.as_str()));
    let preferences: Dictionary = [("DisplayDocTitle", Object::Boolean(true))].into_iter().collect();
    catalog.set("ViewerPreferences", preferences);
    if let Some(outline) = outline {
        catalog.set("Outlines", outline);
    }
    if let Ok(Object::Reference(info)) = file.trailer.get(b"Info").cloned()
        && let Ok(info) = file.get_dictionary_mut(info)
    {
        info.remove(b"GTS_PDFXVersion");
        info.remove(b"Identifier");
    }
    file.compress();
    let mut bytes = Vec::new();
    file.save_to(&mut bytes).map_err(|cause| problem(cause.to_string()))?;
    Ok(bytes)
}

/// The headings, in their order; printpdf would sort those of one page by name.
fn outline(file: &mut lopdf::Document, pages: &Pages) -> Option<Object> {
    let numbered = file.get_pages();
    let entries: Vec<(lopdf::ObjectId, &str, lopdf::ObjectId)> = pages
        .outline
        .iter()
        .filter_map(|(title, page)| {
            let page = numbered.get(&u32::try_from(page + 1).ok()?)?;
            Some((file.new_object_id(), title.as_str(), *page))
        })
        .collect();
    let (first, last) = (entries.first()?.0, entries.last()?.0);
    let root = file.new_object_id();
    for (index, (id, title, page)) in entries.iter().enumerate() {
        let target = vec![Object::Reference(*page), Object::Name(b"Fit".to_vec())];
        let mut entry: Dictionary = [
            ("Title", lopdf::text_string(title)),
            ("Parent", Object::Reference(root)),
            ("Dest", Object::Array(target)),
        ]
        .into_iter()
        .collect();
        let neighbours = [("Prev", index.checked_sub(1)), ("Next", Some(index + 1))];
        for (name, neighbour) in neighbours {
            if let Some((neighbour, ..)) = neighbour.and_then(|neighbour| entries.get(neighbour)) {
                entry.set(name, Object::Reference(*neighbour));
            }
        }
        file.set_object(*id, entry);
    }
    let all: Dictionary = [
        ("Type", Object::Name(b"Outlines".to_vec())),
        ("First", Object::Reference(first)),
        ("Last", Object::Reference(last)),
        ("Count", Object::Integer(i64::try_from(entries.len()).unwrap_or(i64::MAX))),
    ]
    .into_iter()
    .collect();
    file.set_object(root, all);
    Some(Object::Reference(root))
}

/// The first half of the digest of everything the document says.
fn identity(document: &Document) -> Result<Vec<u8>, ReportProblem> {
    let content = serde_json::to_vec(&(document, &document.data))
        .map_err(|source| ReportProblem::Json { what: "the document", source })?;
    Ok(Sha256::digest(&content).iter().copied().take(16).collect())
}
