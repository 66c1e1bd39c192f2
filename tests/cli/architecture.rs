//! The arrows between crates, and the owner's crates where they work (design, section 3).

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, MetadataCommand};

const PREFIX: &str = "flopsmeter";

/// Normal and build dependencies of each workspace package.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let metadata =
        MetadataCommand::new().manifest_path(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).no_deps().exec();
    let metadata = metadata.expect("cargo metadata runs");
    let direct = |package: &cargo_metadata::Package| {
        let needed = package.dependencies.iter().filter(|dependency| dependency.kind != DependencyKind::Development);
        needed.map(|dependency| dependency.name.clone()).collect()
    };
    metadata.packages.iter().map(|package| (package.name.to_string(), direct(package))).collect()
}

#[test]
fn arrows_point_one_way() {
    let allowed = BTreeMap::from([
        ("flopsmeter", vec!["flopsmeter-core", "flopsmeter-meter", "flopsmeter-reporter"]),
        ("flopsmeter-core", vec![]),
        ("flopsmeter-meter", vec!["flopsmeter-core"]),
        ("flopsmeter-reporter", vec!["flopsmeter-core"]),
        ("flopsmeter-python", vec!["flopsmeter-core", "flopsmeter-meter"]),
        ("flopsmeter-fake-nvml", vec![]),
    ]);
    let found = dependencies();
    assert_eq!(found.keys().map(String::as_str).collect::<Vec<_>>(), allowed.keys().copied().collect::<Vec<_>>());
    for (package, needed) in found {
        let ours: Vec<&str> = needed.iter().map(String::as_str).filter(|name| name.starts_with(PREFIX)).collect();
        assert_eq!(ours, allowed[package.as_str()], "{package} has an arrow that the design does not draw");
    }
}

#[test]
fn the_owners_crates_work_where_they_belong() {
    let found = dependencies();
    let expected = [
        ("flopsmeter-meter", vec!["nvml-wrapper", "sysinfo", "rusqlite", "tokio", "chrono", "serde", "serde_json"]),
        ("flopsmeter-reporter", vec!["tera", "printpdf", "serde", "serde_json"]),
        ("flopsmeter-core", vec!["chrono", "serde", "serde_json"]),
        ("flopsmeter", vec!["clap"]),
    ];
    for (package, crates) in expected {
        for name in crates {
            assert!(found[package].contains(name), "{package} does not use {name}");
        }
    }
}

#[test]
fn the_training_process_gets_neither_driver_nor_database() {
    let metadata =
        MetadataCommand::new().manifest_path(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).no_deps().exec();
    let metadata = metadata.expect("cargo metadata runs");
    let bindings = metadata.packages.iter().find(|package| package.name.as_str() == "flopsmeter-python");
    let dependencies = &bindings.expect("the bindings are in the workspace").dependencies;
    let meter =
        dependencies.iter().find(|dependency| dependency.name == "flopsmeter-meter").expect("bindings use meter");
    assert_eq!(meter.features, ["hook"]);
    assert!(!meter.uses_default_features);
}

/// Lines of code of the product: no comments, no tests, no tables.
fn lines_of_code(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in fs_err::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() {
            if name != "tests" {
                found.extend(lines_of_code(&path));
            }
        } else if path.extension().is_some_and(|kind| kind == "rs") && name != "tests.rs" {
            let text = fs_err::read_to_string(&path).unwrap();
            let product = text.split("#[cfg(test)]").next().unwrap();
            let code = product.lines().map(str::trim).filter(|line| !line.starts_with("//"));
            found.extend(code.map(|line| (path.clone(), line.to_owned())));
        }
    }
    found
}

/// Invariant 6: what the law says stands in `core/data/rules/`, where it has an instrument and a date.
#[test]
fn no_figure_date_or_paragraph_of_the_law_stands_in_code() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let sources = ["core/src", "meter/src", "reporter/src", "src", "python-bindings/src"];
    let lines: Vec<_> = sources.iter().flat_map(|folder| lines_of_code(&root.join(folder))).collect();
    assert!(lines.len() > 10_000, "the sources were found");
    let mentions = |line: &str, word: &str| {
        let after = line.match_indices(word).map(|(at, _)| &line[at + word.len()..]);
        after.into_iter().any(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
    };
    let law = |line: &str| {
        let plain = line.replace('_', "");
        let places = ["paragraph ", "paragraphs ", "Article ", "Articles ", "recital ", "2025-0", "2027-0", "10^2"];
        places.iter().any(|word| mentions(line, word))
            || ["1e23", "1e25", "pow(23)", "pow(25)"].iter().any(|figure| plain.contains(figure))
            || plain.contains(&format!("1{}", "0".repeat(23)))
            // A line is drawn by the rule set's multiplier, never by a division in code.
            || plain.contains("flop.0 / 3")
            || plain.contains("spent.0 * 3")
    };
    // The rule sets are named by their dates, and a column of the base-model table by its line.
    let names = |line: &str| line.contains("eu-gpai-20") || line.contains("\"above_1e25\"");
    let breaches: Vec<_> = lines.iter().filter(|(_, line)| law(line) && !names(line)).collect();
    assert!(breaches.is_empty(), "{breaches:#?}");
}
