//! The threshold memo from input to file.
//!
//! `FLOPSMETER_UPDATE=1 cargo test -p flopsmeter-reporter` writes the goldens anew, and `FLOPSMETER_SAMPLES=<folder>` every sample in
//! every format, to be looked at. Both are read when the test is built.
#![expect(clippy::unwrap_used, reason = "helpers of a test stop it as the test itself does")]
#![expect(clippy::assigning_clones, clippy::format_collect, reason = "samples are written to be read, not to be fast")]

mod assessed;
mod page;
mod sample;

use std::path::{Path, PathBuf};

use flopsmeter_core::flops::Part;
use flopsmeter_core::unit::Flops;
use flopsmeter_reporter::document::{Block, Document};
use flopsmeter_reporter::layout::{Fonts, Shape, set};
use flopsmeter_reporter::wording::Values;
use flopsmeter_reporter::{Format, ReportProblem, ThresholdInput, Wording, compose, write};

fn all() -> Vec<(&'static str, ThresholdInput)> {
    vec![
        ("below", sample::below()),
        ("near", sample::near()),
        ("exceeds", sample::exceeds()),
        ("undetermined", sample::undetermined()),
        ("no-runs", sample::no_runs()),
        ("proven-by-ceiling", sample::proven_by_ceiling()),
        ("hostile", sample::hostile()),
    ]
}

fn composed(input: &ThresholdInput) -> Document {
    compose(input, &Wording::embedded("en").unwrap()).unwrap()
}

fn rendered(input: &ThresholdInput, format: Format) -> String {
    String::from_utf8(format.render(&composed(input)).unwrap()).unwrap()
}

/// Words of the lead paragraph.
fn lead(input: &ThresholdInput) -> String {
    let document = composed(input);
    match document.sections.first().and_then(|section| section.blocks.first()) {
        Some(Block::Lead { text, .. }) => text.to_plain(),
        other => panic!("the memo begins with {other:?}"),
    }
}

#[test]
fn every_sample_renders_in_every_format() {
    for (name, input) in all() {
        let document = composed(&input);
        for format in Format::ALL {
            let bytes = format.render(&document).unwrap();
            assert!(!bytes.is_empty(), "{name} {format:?}");
            if let Some(folder) = option_env!("FLOPSMETER_SAMPLES") {
                fs_err::write(format!("{folder}/{name}.{}", format.extension()), bytes).unwrap();
            }
        }
    }
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    for (name, input) in [("near", sample::near()), ("undetermined", sample::undetermined())] {
        for format in Format::ALL {
            let once = format.render(&composed(&input)).unwrap();
            let again = format.render(&composed(&input)).unwrap();
            assert!(once == again, "{name} {format:?} differs");
        }
    }
}

#[test]
fn the_first_sentence_is_the_verdict() {
    assert!(lead(&sample::below()).starts_with("Below the line. "));
    assert!(lead(&sample::near()).starts_with("Close to the line. "));
    assert!(lead(&sample::exceeds()).starts_with("Over the line. "));
    assert!(lead(&sample::undetermined()).starts_with("Not determined. "));
    assert!(lead(&sample::proven_by_ceiling()).contains("Even the most that the hardware could have done"));
}

#[test]
fn a_cumulative_sum_is_the_one_that_is_shown_against_the_line() {
    let mut input = sample::near();
    for step in &mut input.assessment.steps {
        if step.code == "comparison" {
            step.values.insert("sum".to_owned(), "cumulative".to_owned());
        }
    }
    input.assessment.cumulative_compute = Some(Flops(199_000_000_000_000_000_000_000));
    assert!(lead(&input).contains("took 1.99 × 10²³ cumulative operations"), "{}", lead(&input));
}

#[test]
fn what_is_not_known_reads_as_missing_and_never_as_nothing() {
    let page = rendered(&sample::undetermined(), Format::Markdown);
    assert!(page.contains("missing \\[?\\]"));
    assert!(page.contains("**The ceiling is missing:**"));
    assert!(page.contains("**No line could be chosen**"));
    // A code the wording does not know is said with its values.
    assert!(page.contains("Some new step: flop 1.23 × 10¹³ (12,345,678,901,234) \\[C\\]; what a value."));
    assert!(!page.contains("0 \\[M\\]"), "nothing was measured, so no measured zero may stand there");
}

#[test]
fn a_lost_gpu_is_told_with_what_it_added() {
    let page = rendered(&sample::near(), Format::Markdown);
    assert!(page.contains("**Readings are missing or came late in 1 interval.**"));
    assert!(page.contains("1,349,403,771,000,000,000"));
    assert!(page.contains("GPU lost"));
}

#[test]
fn runs_at_the_same_time_on_one_board_have_no_measured_sum() {
    let mut input = sample::near();
    assert!(rendered(&input, Format::Markdown).contains("0.046 MWh (165200000.000 J) \\[M\\]"));
    input.runs[1].started = sample::at(2_586);
    let page = rendered(&input, Format::Markdown);
    assert!(page.contains("| computed | 0.023 – 0.046 MWh (82600000.000 J – 165200000.000 J) \\[C\\] |"), "{page}");
    assert!(page.contains("**The sum is known only within bounds:**"));
    let board = &input.runs[0].ceiling.devices[0].device;
    let row = page.lines().rfind(|line| line.starts_with(&format!("| `{board}`"))).unwrap();
    assert!(input.runs.iter().all(|run| row.contains(&run.run)), "{row}");
    assert!(row.contains("(41300000.000 J) \\[C\\]") && row.contains("(82600000.000 J) \\[C\\]"), "{row}");
}

#[test]
fn of_many_runs_on_one_board_the_rest_is_counted() {
    let mut input = sample::below();
    input.runs = (0..11).map(|number| sample::run(&format!("run-{number:02}"), 7, 90)).collect();
    let page = rendered(&input, Format::Markdown);
    assert!(page.contains("run-07") && page.contains("and 3 \\[C\\] more"), "{page}");
}

#[test]
fn attestations_stay_open() {
    let page = rendered(&sample::exceeds(), Format::Markdown);
    assert!(page.contains("Signature: \\_"));
    assert!(page.contains("Not legal advice"));
}

#[test]
fn goldens() {
    let goldens = [
        ("below", sample::below(), Format::Markdown),
        ("near", sample::near(), Format::Markdown),
        ("exceeds", sample::exceeds(), Format::Markdown),
        ("undetermined", sample::undetermined(), Format::Markdown),
        ("no-runs", sample::no_runs(), Format::Json),
    ];
    for (name, input, format) in goldens {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{name}.{}", format.extension()));
        let page = rendered(&input, format);
        if option_env!("FLOPSMETER_UPDATE").is_some() {
            fs_err::write(&path, &page).unwrap();
        }
        let golden = fs_err::read_to_string(&path).unwrap();
        assert!(page == golden, "{} is out of date: look at the difference, then FLOPSMETER_UPDATE=1", path.display());
    }
}

#[test]
fn json_holds_the_document_and_what_it_was_composed_from() {
    let input = sample::near();
    let value: serde_json::Value = serde_json::from_str(&rendered(&input, Format::Json)).unwrap();
    assert_eq!(value["schema"], "flopsmeter.threshold/1");
    assert_eq!(value["document"]["subject"], "contracts-assistant");
    assert_eq!(value["assessment"]["verdict"], "near");
    let runs: Vec<flopsmeter_core::run::RunSummary> = serde_json::from_value(value["input"]["runs"].clone()).unwrap();
    assert_eq!(runs, input.runs);
}

#[test]
fn html_is_well_formed_and_loads_nothing() {
    for (name, input) in all() {
        let text = rendered(&input, Format::Html);
        page::well_formed(&text).unwrap_or_else(|problem| panic!("{name}: {problem}"));
        page::loads_nothing(&text).unwrap_or_else(|problem| panic!("{name}: {problem}"));
        assert!(text.contains("<html lang=\"en\">"));
        assert!(text.contains("<th scope=\"col\""));
    }
}

#[test]
fn hostile_words_stay_words() {
    let html = rendered(&sample::hostile(), Format::Html);
    assert!(html.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
    for forbidden in ["<script", "javascript:", "\u{202e}", "\u{0}", "\u{e000}"] {
        assert!(!html.contains(forbidden), "{forbidden:?}");
    }
    let markdown = rendered(&sample::hostile(), Format::Markdown);
    for forbidden in ["<script", "javascript:", "\u{202e}", "\n# h", "**x**"] {
        assert!(!markdown.contains(forbidden), "{forbidden:?}");
    }
    page::tables_are_even(&markdown).unwrap();
}

#[test]
fn nothing_stands_outside_the_page() {
    let fonts = Fonts::embedded().unwrap();
    for (name, input) in all() {
        let pages = set(&composed(&input), &fonts);
        for (index, shape) in
            pages.pages.iter().enumerate().flat_map(|(index, page)| page.shapes.iter().map(move |shape| (index, shape)))
        {
            let (left, right, top, bottom) = extent(shape, &fonts);
            let inside = left >= 0.0 && right <= pages.width && top >= 0.0 && bottom <= pages.height;
            assert!(inside, "{name}, page {}: {shape:?}", index + 1);
            if let Shape::Text { .. } = shape {
                assert!(right <= pages.width - 40.0 && left >= 40.0, "{name}, page {}: {shape:?}", index + 1);
            }
        }
    }
}

/// Left, right, upper and lower end.
fn extent(shape: &Shape, fonts: &Fonts) -> (f32, f32, f32, f32) {
    match shape {
        Shape::Text { x, y, face, size, text, .. } => {
            (*x, x + fonts.width(*face, *size, text.trim_end()), y - size, y + size * 0.3)
        }
        Shape::Rectangle { x, y, width, height, .. } | Shape::Link { x, y, width, height, .. } => {
            (*x, x + width, *y, y + height)
        }
        Shape::Rule { from, to, .. } => (from.0.min(to.0), from.0.max(to.0), from.1.min(to.1), from.1.max(to.1)),
        Shape::Polygon { points, .. } => {
            points.iter().fold((f32::MAX, f32::MIN, f32::MAX, f32::MIN), |ends, (x, y)| {
                (ends.0.min(*x), ends.1.max(*x), ends.2.min(*y), ends.3.max(*y))
            })
        }
    }
}

#[test]
fn every_word_of_the_page_is_in_the_pdf() {
    let fonts = Fonts::embedded().unwrap();
    let pages = set(&composed(&sample::below()), &fonts);
    let text: String = pages
        .pages
        .iter()
        .flat_map(|page| &page.shapes)
        .filter_map(|shape| match shape {
            Shape::Text { text, .. } => Some(text.as_str()),
            _ => None,
        })
        .collect();
    for words in ["Below the line.", "82,000,000,000,000,000,000,000", "Not legal advice", "Page 1 of"] {
        assert!(text.contains(words), "{words}");
    }
}

#[test]
#[expect(clippy::print_stderr, reason = "a check that is left out says so")]
fn pdf_text_can_be_copied_in_reading_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(&composed(&sample::near()), Format::Pdf, folder.path()).unwrap();
    let Some(text) = page::pdf_text(&path) else {
        eprintln!("pdftotext is not installed (Debian package poppler-utils); not checked");
        return;
    };
    let places: Vec<_> =
        ["THRESHOLD MEMO", "Close to the line.", "1.72 × 10²³", "The arithmetic", "Notice and signature"]
            .iter()
            .map(|words| text.find(words).unwrap_or_else(|| panic!("`{words}` is not in the text")))
            .collect();
    assert!(places.is_sorted(), "{places:?}");
}

#[test]
fn pdf_is_small() {
    let bytes = Format::Pdf.render(&composed(&sample::near())).unwrap();
    assert!(bytes.starts_with(b"%PDF-1.7"));
    assert!(bytes.len() < 150_000, "{} bytes: are the fonts still cut down?", bytes.len());
}

#[test]
fn files_are_written_whole_under_the_documents_name() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("out/threshold");
    let document = composed(&sample::below());
    for format in Format::ALL {
        let path = write(&document, format, &inner).unwrap();
        assert_eq!(path, inner.join(format!("threshold.{}", format.extension())));
        assert_eq!(fs_err::read(&path).unwrap(), format.render(&document).unwrap());
    }
    let names: Vec<PathBuf> = fs_err::read_dir(&inner).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(names.len(), Format::ALL.len(), "something was left beside the files: {names:?}");
}

#[test]
fn a_folder_that_cannot_be_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("taken");
    fs_err::write(&file, "a file").unwrap();
    let problem = write(&composed(&sample::below()), Format::Json, &file).unwrap_err();
    assert!(matches!(problem, ReportProblem::Write { .. }));
    let said = problem.to_string();
    assert!(said.contains("taken/threshold.json") && said.contains("--out"), "{said}");
}

#[test]
fn every_part_of_a_network_has_its_words() {
    let wording = Wording::embedded("en").unwrap();
    let parts = [
        Part::InputEmbeddings,
        Part::Norms,
        Part::Tower,
        Part::Projector,
        Part::Convolutions,
        Part::AttentionProjections,
        Part::AttentionScores,
        Part::StateSpace,
        Part::FeedForward,
        Part::Router,
        Part::Experts,
        Part::SharedExperts,
        Part::Adapters,
        Part::OutputHead,
    ];
    for part in parts.map(Part::name) {
        let words = wording.by_code("threshold/arithmetic", &format!("term-{part}"), &Values::default());
        assert!(words.is_some(), "the chart has no words for {part}");
    }
}
