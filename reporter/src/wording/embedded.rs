//! The wording that ships in the binary.

/// End of a template's name; escaping is switched on by it.
pub(super) const SUFFIX: &str = ".tera";

type Files = &'static [(&'static str, &'static str)];

macro_rules! threshold {
    ($language:literal: $($name:literal)*) => {
        &[$((
            concat!("threshold/", $name),
            include_str!(concat!("../../../templates/threshold/", $language, "/", $name, ".tera")),
        )),*]
    };
}

const ENGLISH: Files = threshold!("en":
    "labels" "verdict" "summary" "arithmetic" "ceiling" "line" "steps" "readings" "status" "obligations" "missing"
    "evidence" "method" "closing" "watch" "cumulation"
);

/// The files of a language.
pub(super) fn files(language: &str) -> Option<(&'static str, Files)> {
    match language.to_ascii_lowercase().as_str() {
        "en" => Some(("en", ENGLISH)),
        _ => None,
    }
}
