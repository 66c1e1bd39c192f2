//! `kill -9` of the wrapper: the job goes on, and what was recorded can be read.

use std::time::{Duration, UNIX_EPOCH};

use nix::sys::signal::{Signal, kill};

use crate::job::{Training, hooked, write_base, write_facts};
use crate::place::{Place, Running, until};

/// One second is promised; the rest is for a machine that does other things at the time.
const LOST_AT_MOST: Duration = Duration::from_millis(2500);

#[expect(clippy::disallowed_methods, reason = "compared with the job's own clock")]
fn now() -> f64 {
    std::time::SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

/// Times of the job's passes, by its own clock.
fn ticks(place: &Place) -> Vec<f64> {
    let text = fs_err::read_to_string(place.path("clock")).unwrap_or_default();
    // The last line may be half written.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(|line| line.parse().unwrap()).collect()
}

#[test]
fn a_killed_wrapper_leaves_the_job_running_and_a_readable_ledger() {
    let place = Place::new();
    write_facts(&place, Training::Lora);
    write_base(&place, "base", 1 << 70);
    let mut running = Running::start(hooked(&place, "--base base.toml --modification killed"));
    running.wait_for_stdout("ready");
    running.say(&format!("tick {}", place.path("clock").display()));
    let ran_for = |seconds: f64| move |times: Vec<f64>| times.first().is_some_and(|first| now() - first > seconds);
    until("some seconds of training", || ran_for(4.0)(ticks(&place)));

    kill(running.pid(), Signal::SIGKILL).unwrap();
    let killed = now();
    running.wait();
    until("training after the kill", || ticks(&place).last().is_some_and(|last| *last > killed + 0.5));

    let run = place.only_run();
    assert_eq!((&run["state"], &run["ended"], &run["exit"]), (&"open".into(), &().into(), &().into()));
    assert_eq!((&run["complete"], &run["ceiling"]["complete"]), (&false.into(), &false.into()));
    let recorded = run["phases"][0]["passes"].as_u64().unwrap();
    let fed = ticks(&place);
    let at_least = fed.iter().filter(|at| **at < killed - LOST_AT_MOST.as_secs_f64()).count() as u64;
    let at_most = fed.iter().filter(|at| **at < killed + 0.5).count() as u64;
    assert!(at_least > 10, "the job did too little to tell: {at_least}");
    assert!(recorded >= at_least, "{recorded} passes recorded, {at_least} were fed {LOST_AT_MOST:?} before the kill");
    assert!(recorded <= at_most, "{recorded} passes recorded, {at_most} were fed");

    let shown = place.flopsmeter(&format!("runs show {}", run["run"].as_str().unwrap()));
    assert!(shown.data().lines().next().unwrap().ends_with("(open), modification killed"), "{}", shown.stdout);
    let verified = place.flopsmeter(&format!("verify {}", place.ledger().display()));
    let chains: Vec<&str> = verified.data().lines().collect();
    assert!(chains[0].starts_with("sound  modification/killed  2 entries, open"), "{chains:?}");
    assert!(chains[1].starts_with("sound  run/") && chains[1].ends_with("open: entries may be missing at its end"));
    // An open run is counted as far as it is known, and is not called complete.
    let assessment = place.flopsmeter("assess killed --json").json();
    assert_eq!(assessment["verdict"], "undetermined");

    // The job was never told: it goes on until its own end.
    place.write("clock.stop", "");
    running.wait_for_stdout("tick");
}
