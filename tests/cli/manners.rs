//! What every command owes its user: help, completions, data on standard output alone, and no colours where nobody sees them.

use crate::job::{Training, run_hooked, write_facts};
use crate::place::{Place, finish, finish_with_input};

const COMMANDS: [&str; 20] = [
    "",
    "run",
    "plan",
    "status",
    "assess",
    "report",
    "report threshold",
    "runs",
    "runs list",
    "runs show",
    "modifications",
    "modifications list",
    "modifications show",
    "modifications create",
    "modifications assign",
    "modifications release",
    "models",
    "models search",
    "verify",
    "completions",
];

#[test]
fn each_command_has_help() {
    let place = Place::new();
    for command in COMMANDS {
        let help = place.flopsmeter(&format!("{command} --help"));
        let usage = format!("Usage: {}", format!("flopsmeter {command}").trim());
        assert!(help.data().contains(&usage), "{}", help.stdout);
        assert!(help.stdout.lines().all(|line| line.chars().count() <= 100), "{command}: a line is too long");
    }
    assert_eq!(place.flopsmeter("--version").data(), concat!("flopsmeter ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn completions_are_understood_by_the_shell() {
    let place = Place::new();
    let completions = place.flopsmeter("completions bash");
    place.write("completions.bash", completions.data());
    let mut bash = place.within("bash", ["-c", "source ./completions.bash && complete -p flopsmeter"]);
    bash.env("LC_ALL", "C");
    let outcome = finish(bash);
    assert!(outcome.data().contains("_flopsmeter"), "{outcome:?}");
    for shell in ["zsh", "fish", "elvish", "powershell"] {
        assert!(place.flopsmeter(&format!("completions {shell}")).data().contains("modifications"), "{shell}");
    }
}

#[test]
fn data_stands_alone_and_without_colours() {
    let place = Place::new();
    write_facts(&place, Training::Lora);
    let run = run_hooked(&place, "--modification demo", &["feed training 1 2 32 2", "goodbye"]);
    assert_eq!(run.stdout, "ready\nfeed training 1 2 32 2\ngoodbye\n", "only the job's own");
    assert!(!run.stderr.contains('\x1b'));
    for line in [
        "runs list",
        "modifications list",
        "modifications show demo",
        "status",
        "assess demo",
        "models show meta-llama/Llama-3.1-8B",
        "plan --config config.json",
    ] {
        let outcome = place.flopsmeter(line);
        assert!(!outcome.data().is_empty() && !outcome.stdout.contains('\x1b'), "{line}: {outcome:?}");
        let json = place.flopsmeter(&format!("{line} --json")).json();
        assert!(json.is_object() || json.is_array(), "{line}");
    }
    for line in ["plan --config nope.json", "frobnicate", "assess nope"] {
        let outcome = place.flopsmeter(line);
        assert!(outcome.stdout.is_empty() && !outcome.stderr.contains('\x1b'), "{line}: {outcome:?}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let place = Place::new();
    let script = format!("{} models search a | head -n 1; echo ${{PIPESTATUS[0]}}", env!("CARGO_BIN_EXE_flopsmeter"));
    let outcome = finish(place.within("bash", ["-c", &script]));
    assert_eq!(outcome.stdout.lines().last(), Some("0"), "{outcome:?}");
    assert_eq!(outcome.stderr, "");
}

#[test]
fn a_closed_standard_error_stops_no_job() {
    let place = Place::new();
    let script = format!("exec 2>&-; {} run --device cpu -- sh -c 'cat; exit 6'", env!("CARGO_BIN_EXE_flopsmeter"));
    let outcome = finish_with_input(place.within("sh", ["-c", &script]), "through");
    assert_eq!((outcome.code(), outcome.stdout.as_str()), (Some(6), "through"));
}
