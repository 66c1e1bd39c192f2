//! The threshold memo from input to file.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod sample;

use flopsmeter_reporter::document::Document;
use flopsmeter_reporter::{Format, ThresholdInput, Wording, compose};

fn all() -> Vec<(&'static str, ThresholdInput)> {
    vec![
        ("below", sample::below()),
        ("near", sample::near()),
        ("exceeds", sample::exceeds()),
        ("undetermined", sample::undetermined()),
        ("no-runs", sample::no_runs()),
        ("hostile", sample::hostile()),
    ]
}

fn composed(input: &ThresholdInput) -> Document {
    compose(input, &Wording::embedded("en").unwrap()).unwrap()
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
