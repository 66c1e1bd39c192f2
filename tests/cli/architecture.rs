//! The arrows between crates, and the owner's crates where they work (design, section 3).

use std::collections::{BTreeMap, BTreeSet};

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
