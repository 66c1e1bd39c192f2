//! What `/metrics` tells while a gated job comes to its line.

use serde_json::json;

use super::page::Page;
use super::{Daemon, finding};
use crate::alerts::place_with_line_of;
use crate::gpu::library;
use crate::job::hooked;
use crate::place::{Running, until};

#[test]
fn the_page_follows_a_job_to_its_gate() {
    let place = place_with_line_of(600);
    let library = library(&place, &json!({ "devices": [{ "uuid": "GPU-aa" }] }));
    let daemon = Daemon::start(&place, &library, &["--metrics", "127.0.0.1:0"]);
    let page = Page::of(&daemon);
    let options = "--base base.toml --modification demo --gate exceeds --progress 1h";
    let mut running = Running::start(finding(hooked(&place, options), &place));
    running.wait_for_stdout("ready");
    running.say("train 5000 5000 25");
    let line = || page.value("flopsmeter_modification_line_operations{");
    until("a forecast over the line on the page", || {
        page.value("flopsmeter_run_forecast_low_operations{").zip(line()).is_some_and(|(low, line)| low > line)
    });
    let high = page.value("flopsmeter_run_forecast_high_operations{").unwrap();
    assert!(high >= page.value("flopsmeter_run_forecast_low_operations{").unwrap());
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
    let crossing = page.value("flopsmeter_run_crossing_timestamp_seconds{").unwrap();
    assert!((now - 60.0..now + 3600.0).contains(&crossing), "{crossing} is not soon after {now}");
    running.wait_for_stdout("trained ");
    running.tell("goodbye");
    running.say("exit 0");
    assert_eq!(running.finish().code(), Some(11));
    let verdict =
        |name: &str| page.value(&format!("flopsmeter_modification_verdict{{modification=\"demo\",verdict=\"{name}\""));
    until("the page is near the line", || verdict("near") == Some(1.0));
    assert_eq!((verdict("below"), verdict("exceeds")), (Some(0.0), Some(0.0)), "the gate stopped it in time");
    assert!(page.value("flopsmeter_modification_line_spent_ratio{").is_some_and(|spent| (0.5..=1.0).contains(&spent)));
    assert_eq!(daemon.terminate().code(), Some(0));
}
