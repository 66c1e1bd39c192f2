//! `flopsmeter run` ends, talks and dies as the bare command would.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;

use nix::sys::signal::{Signal, kill};
use serde_json::Value;

use crate::job::hooked;
use crate::place::{Place, Running, finish, finish_with_input, repository};

#[test]
fn the_jobs_exit_code_is_handed_through() {
    let place = Place::new();
    for code in [0, 1, 2, 37, 125, 126, 127, 128, 255] {
        let outcome = place.run_script("--quiet", &format!("exit {code}"));
        assert_eq!((outcome.code(), outcome.stdout.as_str(), outcome.stderr.as_str()), (Some(code), "", ""));
    }
}

#[test]
fn a_job_that_dies_of_a_signal_shows_as_such() {
    let place = Place::new();
    for (name, number) in [("KILL", 9), ("TERM", 15), ("SEGV", 11), ("INT", 2)] {
        let outcome = place.run_script("--summary s.json", &format!("kill -{name} $$"));
        assert_eq!((outcome.code(), outcome.signal()), (None, Some(number)), "{name}");
        assert!(outcome.stderr.contains(&format!("(ended by signal {number})")), "{}", outcome.stderr);
        let summary: Value = serde_json::from_str(&fs_err::read_to_string(place.path("s.json")).unwrap()).unwrap();
        assert_eq!((&summary["exit"]["signal"], &summary["state"]), (&number.into(), &"closed".into()));
    }
}

#[test]
fn what_cannot_be_started_is_told_apart() {
    let place = Place::new();
    place.write("plain.txt", "no program");
    place.write("script", "#!/nonexistent/interpreter\n");
    fs_err::set_permissions(place.path("script"), Permissions::from_mode(0o755)).unwrap();
    let refused = |command: &str| {
        let outcome = place.flopsmeter(&format!("run --device cpu -- {command}"));
        (outcome.code().unwrap(), outcome.refusal(outcome.code().unwrap()).to_owned())
    };
    let line = |text: &str| format!("flopsmeter: {text}\n");
    assert_eq!(refused("no-such-command"), (127, line("`no-such-command` was not found; check its name and PATH")));
    assert_eq!(refused("./script").0, 127);
    let denied =
        "`./plain.txt` cannot be executed (Permission denied (os error 13)); check its permissions and first line";
    assert_eq!(refused("./plain.txt"), (126, line(denied)));
    assert_eq!(refused("./tmp").0, 126);
    assert!(!place.ledger().exists(), "nothing ran, so there is nothing to record");
}

#[test]
fn the_streams_are_the_jobs() {
    let place = Place::new();
    let command = place.script("--quiet", "tr a-z A-Z; echo apart >&2");
    let outcome = finish_with_input(command, "some\nlines");
    assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("SOME\nLINES", "apart\n"));
    // Without --quiet, too, nothing of ours comes to standard output.
    let outcome = finish_with_input(place.script("", "cat"), "data");
    assert_eq!(outcome.stdout, "data");
    assert!(outcome.stderr.lines().all(|line| line.starts_with("flopsmeter: ") || line.starts_with("  ")));
}

#[test]
fn the_jobs_arguments_are_not_ours() {
    let place = Place::new();
    let outcome = finish(
        place.command(["run", "--device", "cpu", "--quiet", "--", "printf", "%s,", "--quiet", "--help", "a b", ""]),
    );
    assert_eq!(outcome.data(), "--quiet,--help,a b,,");
    let recorded = place.only_run();
    assert_eq!(recorded["command"], serde_json::json!(["printf", "%s,", "--quiet", "--help", "a b", ""]));
}

#[test]
fn a_summary_has_the_keys_that_tools_depend_on() {
    let place = Place::new();
    let outcome = place.run_script("--quiet --summary made/by/us/summary.json", "true");
    assert_eq!(outcome.data(), "");
    let text = fs_err::read_to_string(place.path("made/by/us/summary.json")).unwrap();
    let summary: Value = serde_json::from_str(&text).unwrap();
    let keys: Vec<&str> = summary.as_object().unwrap().keys().map(String::as_str).collect();
    insta::assert_snapshot!(keys.join(" "), @"alerts assessment ceiling command complete ended energy_joules exit findings flops gaps models modification phases run schema started state tokens");
    assert_eq!(summary["schema"], "flopsmeter.run/1");
    let assessment: Vec<&str> = summary["assessment"].as_object().unwrap().keys().map(String::as_str).collect();
    insta::assert_snapshot!(assessment.join(" "), @"as_of band basis cumulative_compute excluded_runs findings house inputs line missing obligations questions ratio readings reasons rules share_of_line_percent status steps systemic_risk_watch training_compute verdict");
    assert_eq!(place.only_run()["run"], summary["run"], "the ledger has the same run");
}

#[test]
fn a_summary_that_cannot_be_written_is_told_and_changes_nothing() {
    let place = Place::new();
    place.write("file", "");
    let outcome = place.run_script("--summary file/summary.json", "exit 5");
    assert_eq!(outcome.code(), Some(5));
    let last = outcome.stderr.lines().last().unwrap();
    assert!(last.starts_with("flopsmeter: the summary could not be written: "), "{last}");
    assert!(last.contains("file") && last.contains("`flopsmeter runs show "), "{last}");
}

#[test]
fn sigterm_to_the_wrapper_alone_is_passed_on() {
    let place = Place::new();
    let mut command = hooked(&place, "--quiet");
    place.write("facts.json", "null");
    // A group of its own, as a shell gives it: the signal is for the wrapper alone.
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let mut running = Running::start(command);
    running.wait_for_stdout("ready");
    running.say("signals");
    running.wait_for_stdout("waiting");
    kill(running.pid(), Signal::SIGTERM).unwrap();
    running.wait_for_stdout("SIGTERM");
    running.say("exit 41");
    assert_eq!(running.finish().code(), Some(41));
}

/// `job.py` under the real command on a terminal; `meter/tests/wrap/terminal.py` says what the steps are.
fn on_terminal(place: &Place, steps: &str) -> Vec<String> {
    let mut command = place.within("python3", [repository("meter/tests/wrap/terminal.py")]);
    command.args([steps, env!("CARGO_BIN_EXE_flopsmeter"), "run", "--device", "cpu", "--", "python3"]);
    command.arg(repository("meter/tests/wrap/job.py"));
    let outcome = finish(command);
    assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
    let job = |line: &&str| ["SIG", "exit ", "signal "].iter().any(|word| line.starts_with(word));
    // What the terminal echoes of the keys.
    let lines: Vec<String> = outcome.stdout.lines().map(|line| line.replace("^C", "").replace("^Z", "")).collect();
    lines.iter().map(String::as_str).filter(job).map(str::to_owned).collect()
}

#[test]
fn control_c_reaches_the_job_once() {
    let said = on_terminal(&Place::new(), "line ready,type 3,line SIGINT,kill SIGUSR2");
    assert_eq!(said, ["SIGINT", "SIGUSR2", "exit 0"]);
}

#[test]
fn control_z_and_fg_stop_and_continue_the_job() {
    let place = Place::new();
    let said =
        on_terminal(&place, "line ready,type 26,stopped,fg,line SIGCONT,type 26,stopped,fg,line SIGCONT,kill SIGUSR2");
    assert_eq!(said, ["SIGCONT", "SIGCONT", "SIGUSR2", "exit 0"]);
    assert_eq!(place.only_run()["state"], "closed");
}
