//! `flopsmeter daemon`, and jobs that find one.

mod crossing;
mod page;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use serde_json::{Value, json};

use page::Page;

use crate::gpu::{H200_PEAK, library, with_library};
use crate::job::flop;
use crate::place::{Outcome, Place, Running, codes, finish, until};

/// A daemon on the stand-in, and a line that it says once it listens.
pub(crate) struct Daemon {
    running: Running,
    pub(crate) said: String,
}

const SOCKET: &str = "d.sock";
const READINGS: &str = "flopsmeter_daemon_readings_total";

impl Daemon {
    pub(crate) fn start(place: &Place, library: &Path, options: &[&str]) -> Self {
        let socket = place.path(SOCKET);
        let mut command = place.command(["daemon", "--socket", socket.to_str().unwrap()].iter().chain(options));
        command.env("FLOPSMETER_NVML_LIBRARY", library);
        let mut running = Running::start(command);
        let said = running.wait_for_stderr("the daemon listens at");
        Self { running, said }
    }

    fn signal(&self, signal: Signal) {
        kill(self.running.pid(), signal).unwrap();
    }

    pub(crate) fn terminate(self) -> Outcome {
        self.signal(Signal::SIGTERM);
        self.running.finish()
    }
}

/// The same command, which finds the daemon of this place.
pub(crate) fn finding(mut command: Command, place: &Place) -> Command {
    command.env("FLOPSMETER_DAEMON", place.path(SOCKET));
    command
}

fn run(place: &Place, library: &Path, options: &str, script: &str) -> Command {
    finding(with_library(place, library, options, script), place)
}

fn summary(place: &Place, name: &str) -> Value {
    serde_json::from_str(&fs_err::read_to_string(place.path(name)).unwrap()).unwrap()
}

fn ceiling(summary: &Value, gpu: &str) -> u128 {
    let devices = summary["ceiling"]["devices"].as_array().unwrap();
    flop(&devices.iter().find(|device| device["device"] == gpu).unwrap()["flop"])
}

fn held(summary: &Value, gpu: &str) -> f64 {
    let devices = summary["ceiling"]["devices"].as_array().unwrap();
    devices.iter().find(|device| device["device"] == gpu).unwrap()["held_seconds"].as_f64().unwrap()
}

/// Processes that ask this place's driver.
fn readers(place: &Place) -> Vec<PathBuf> {
    let library = format!("FLOPSMETER_NVML_LIBRARY={}", place.path("libnvidia-ml.so").display());
    let is_reader = |process: &PathBuf| {
        let text =
            |name: &str| fs_err::read(process.join(name)).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        text("cmdline").is_ok_and(|line| line.contains("nvml-reader"))
            && text("environ").is_ok_and(|environment| environment.contains(&library))
    };
    let processes = fs_err::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
    processes.filter(is_reader).collect()
}

/// One GPU that works all the time, and one that rests.
fn two_gpus() -> Value {
    json!({ "devices": [{ "uuid": "GPU-aa", "utilization": [[0, 100]] }, { "uuid": "GPU-bb" }] })
}

#[test]
fn two_runs_at_once_share_one_daemon_and_its_readings() {
    let place = Place::new();
    let library = library(&place, &two_gpus());
    let daemon = Daemon::start(&place, &library, &["--metrics", "127.0.0.1:0"]);
    let page = Page::of(&daemon);
    let script = "sleep 7";
    let one = Running::start(run(&place, &library, "--quiet --summary a.json", script));
    let other = Running::start(run(&place, &library, "--quiet --gpus GPU-bb --summary b.json", script));
    std::thread::sleep(Duration::from_secs(3));
    let before = page.value(READINGS).unwrap();
    std::thread::sleep(Duration::from_secs(2));
    let readings = page.value(READINGS).unwrap() - before;
    assert!((1.0..=4.0).contains(&readings), "{readings} readings in two seconds");
    assert_eq!(page.value("flopsmeter_daemon_driver_restarts_total"), Some(0.0));
    // The daemon's alone: those that each run had to see which GPUs are its own have ended.
    assert_eq!(readers(&place).len(), 1);
    assert_eq!((one.finish().code(), other.finish().code()), (Some(0), Some(0)));
    let (both, idle) = (summary(&place, "a.json"), summary(&place, "b.json"));
    for summary in [&both, &idle] {
        assert!(codes(summary).contains(&"gpus-read-by-daemon"), "{summary:#}");
        assert_eq!((&summary["ceiling"]["complete"], &summary["gaps"]), (&json!(true), &json!([])), "{summary:#}");
    }
    assert!(ceiling(&both, "GPU-aa") >= 7 * H200_PEAK, "{both:#}");
    // Three seconds or so after the start prove nothing; what follows shows that the other GPU rested.
    for summary in [&both, &idle] {
        let seconds = held(summary, "GPU-bb");
        assert!(seconds >= 7.0, "{summary:#}");
        assert!(ceiling(summary, "GPU-bb") < 55 * H200_PEAK / 10, "{summary:#}");
        assert!(ceiling(summary, "GPU-bb") >= 2 * H200_PEAK, "{summary:#}");
    }
    let ended = daemon.terminate();
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    assert!(!place.exists(SOCKET));
    until("the end of the process that asks the driver", || readers(&place).is_empty());
}

/// Another job watched the GPU while it rested, and then this one came: not a second of that rest is this one's.
#[test]
fn what_a_gpu_did_before_a_job_proves_nothing_of_it() {
    const WORK_BEGINS: Duration = Duration::from_secs(5);
    let place = Place::new();
    let gpu = json!({ "uuid": "GPU-aa", "utilization": [[0, 0], [WORK_BEGINS.as_millis(), 100]] });
    let library = library(&place, &json!({ "origin_file": "began", "devices": [gpu] }));
    let daemon = Daemon::start(&place, &library, &[]);
    let mut other = UnixStream::connect(place.path(SOCKET)).unwrap();
    let mut lines = BufReader::new(other.try_clone().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().starts_with(r#"{"listed":{"gpus":"#));
    other.write_all(b"{\"watch\":[\"GPU-aa\"]}\n").unwrap();
    let idle = |line: String| line.contains(r#""busy":[["#);
    until("a reading that shows rest", || idle(lines.next().unwrap().unwrap()));
    let began: u64 = fs_err::read_to_string(place.path("began")).unwrap().parse().unwrap();
    until("the time of work", || microseconds() > began + 4_950_000);
    let outcome = finish(run(&place, &library, "--quiet --summary s.json", "date +%s%6N; sleep 4; date +%s%6N"));
    let times: Vec<u64> = outcome.stdout.lines().map(|line| line.parse().unwrap()).collect();
    let worked = times[1] - times[0].max(began + 5_000_000);
    let summary = summary(&place, "s.json");
    assert!(codes(&summary).contains(&"gpus-read-by-daemon"), "{summary:#}");
    assert!(ceiling(&summary, "GPU-aa") >= u128::from(worked) * (H200_PEAK / 1_000_000), "{worked}\n{summary:#}");
    daemon.terminate();
}

#[expect(clippy::disallowed_methods, reason = "compared with the stand-in's clock")]
pub(crate) fn microseconds() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    since.as_micros().try_into().unwrap()
}

/// The daemon's process counts the GPUs as the run's own does, which rests meanwhile.
#[test]
fn a_gpu_that_appears_while_a_daemon_reads_is_the_jobs_from_its_start_on() {
    let place = Place::new();
    let later = json!({ "uuid": "GPU-aa", "utilization": [[0, 100]], "present": [1500, 600_000] });
    let devices = json!([later, { "uuid": "GPU-bb", "utilization": [[0, 100]] }]);
    let library = library(&place, &json!({ "origin_file": "began", "devices": devices }));
    let daemon = Daemon::start(&place, &library, &[]);
    let outcome = finish(run(&place, &library, "--quiet --summary s.json", "sleep 4"));
    assert_eq!(outcome.code(), Some(0), "{outcome:?}");
    let summary = summary(&place, "s.json");
    assert!(codes(&summary).contains(&"gpus-read-by-daemon"), "{summary:#}");
    for gpu in ["GPU-aa", "GPU-bb"] {
        assert!(ceiling(&summary, gpu) >= 4 * H200_PEAK && held(&summary, gpu) >= 4.0, "{summary:#}");
    }
    daemon.terminate();
}

/// The run's own process is not there to see it.
#[test]
fn a_gpu_that_comes_and_goes_while_a_daemon_reads_is_the_jobs() {
    let place = Place::new();
    let passing = json!({ "uuid": "GPU-aa", "utilization": [[0, 100]], "present": [2500, 4500] });
    let devices = json!([passing, { "uuid": "GPU-bb", "utilization": [[0, 50]] }]);
    let library = library(&place, &json!({ "origin_file": "began", "devices": devices }));
    let daemon = Daemon::start(&place, &library, &[]);
    let outcome = finish(run(&place, &library, "--quiet --summary s.json", "sleep 8"));
    assert_eq!(outcome.code(), Some(0), "{outcome:?}");
    let summary = summary(&place, "s.json");
    assert!(codes(&summary).contains(&"gpus-read-by-daemon"), "{summary:#}");
    assert!(!codes(&summary).contains(&"daemon-lost"), "{summary:#}");
    assert!(ceiling(&summary, "GPU-aa") >= 2 * H200_PEAK, "{summary:#}");
    assert_eq!(summary["ceiling"]["complete"], true);
    daemon.terminate();
}

#[test]
fn a_daemon_that_is_killed_leaves_a_gap_and_the_run_reads_on_itself() {
    let place = Place::new();
    let library = library(&place, &two_gpus());
    let daemon = Daemon::start(&place, &library, &[]);
    let running = Running::start(run(&place, &library, "--gpus GPU-aa --summary s.json", "sleep 8; exit 5"));
    std::thread::sleep(Duration::from_millis(2500));
    daemon.signal(Signal::SIGKILL);
    let outcome = running.finish();
    assert_eq!(outcome.code(), Some(5), "{outcome:?}");
    let summary = summary(&place, "s.json");
    assert!(["gpus-read-by-daemon", "daemon-lost"].iter().all(|code| codes(&summary).contains(code)), "{summary:#}");
    assert!(outcome.stderr.contains("this run's own process reads the GPUs from here on"), "{}", outcome.stderr);
    let gaps = summary["gaps"].as_array().unwrap();
    assert!(gaps.iter().any(|gap| gap["reason"].as_str().unwrap().contains("daemon")), "{summary:#}");
    let missing: f64 = gaps.iter().filter_map(|gap| gap["duration_seconds"].as_f64()).sum();
    assert!(missing < 5.0, "{summary:#}");
    assert!(ceiling(&summary, "GPU-aa") >= 8 * H200_PEAK, "{summary:#}");
    assert_eq!(summary["ceiling"]["complete"], true);
    // The socket that it left is no obstacle to the next one.
    assert!(place.exists(SOCKET));
    assert_eq!(Daemon::start(&place, &library, &[]).terminate().code(), Some(0));
}

#[test]
fn without_a_daemon_a_run_reads_by_itself() {
    let place = Place::new();
    let library = library(&place, &two_gpus());
    let outcome = finish(run(&place, &library, "--summary s.json", "sleep 1.2; exit 6"));
    assert_eq!(outcome.code(), Some(6), "{outcome:?}");
    let summary = summary(&place, "s.json");
    assert!(!codes(&summary).contains(&"gpus-read-by-daemon"), "{summary:#}");
    assert_eq!((summary["ceiling"]["devices"].as_array().unwrap().len(), &summary["gaps"]), (3, &json!([])));
}

#[test]
fn a_socket_at_which_nobody_answers_is_given_up_soon() {
    let place = Place::new();
    let library = library(&place, &two_gpus());
    // It takes connections into its backlog, and that is all.
    let _silent = UnixListener::bind(place.path(SOCKET)).unwrap();
    let outcome = finish(run(&place, &library, "--summary s.json", "sleep 1.5; exit 6"));
    assert_eq!(outcome.code(), Some(6), "{outcome:?}");
    let summary = summary(&place, "s.json");
    assert!(!codes(&summary).contains(&"gpus-read-by-daemon"), "{summary:#}");
    assert_eq!((summary["ceiling"]["devices"].as_array().unwrap().len(), &summary["gaps"]), (3, &json!([])));
}

#[test]
fn a_daemon_without_a_driver_is_not_asked() {
    let place = Place::new();
    let library = library(&place, &two_gpus());
    let daemon = Daemon::start(&place, Path::new("/nonexistent/libnvidia-ml.so"), &[]);
    let outcome = finish(run(&place, &library, "--summary s.json", "sleep 1.2"));
    assert_eq!(outcome.code(), Some(0), "{outcome:?}");
    let summary = summary(&place, "s.json");
    assert!(!codes(&summary).contains(&"gpus-read-by-daemon"), "{summary:#}");
    assert_eq!(summary["ceiling"]["devices"].as_array().unwrap().len(), 3);
    daemon.terminate();
}

#[test]
fn a_run_that_must_be_metered_may_be_so_by_the_daemon() {
    let place = Place::new();
    let library = library(&place, &two_gpus());
    let daemon = Daemon::start(&place, &library, &[]);
    let outcome = finish(run(&place, &library, "--require-meter --summary s.json", "sleep 1.2; exit 9"));
    assert_eq!(outcome.code(), Some(9), "{outcome:?}");
    assert!(codes(&summary(&place, "s.json")).contains(&"gpus-read-by-daemon"));
    daemon.terminate();
}

#[test]
fn the_socket_is_for_this_user_or_for_a_group() {
    let place = Place::new();
    let library = library(&place, &two_gpus());
    let mode = || fs_err::metadata(place.path(SOCKET)).unwrap().permissions().mode() & 0o777;
    let daemon = Daemon::start(&place, &library, &[]);
    assert_eq!(mode(), 0o600);
    let second = place.flopsmeter(&format!("daemon --socket {}", place.path(SOCKET).display()));
    assert!(second.refusal(1).contains("a daemon listens at"), "{second:?}");
    daemon.terminate();
    let group = nix::unistd::Group::from_gid(nix::unistd::Gid::effective()).unwrap().unwrap().name;
    let daemon = Daemon::start(&place, &library, &["--group", &group]);
    assert_eq!(mode(), 0o660);
    daemon.terminate();
    let none = place.flopsmeter("daemon --socket x.sock --group no-such-group-here");
    assert!(none.refusal(1).contains("there is no group `no-such-group-here`"), "{none:?}");
    let nowhere = place.flopsmeter("daemon --socket /nonexistent/x.sock");
    assert!(nowhere.refusal(1).contains("name another place with --socket"), "{nowhere:?}");
}

#[test]
fn whoever_says_what_is_no_line_is_shown_out_and_nobody_else_is() {
    let place = Place::new();
    let library = library(&place, &two_gpus());
    let daemon = Daemon::start(&place, &library, &[]);
    let running = Running::start(run(&place, &library, "--summary s.json --quiet", "sleep 4"));
    let long = "x".repeat(1 << 20);
    let deep = "[".repeat(30_000);
    let many = format!("{{\"watch\":[{}]}}", vec!["\"GPU-aa\""; 300].join(","));
    let lines: [&[u8]; 8] = [
        b"hello\n",
        b"\xff\xfe\x00\n",
        b"{\"watch\":[\"GPU-zz\"]}\n",
        b"\"read\"\n",
        b"{\"status\":{\"run\":\"x\"}}\n",
        long.as_bytes(),
        deep.as_bytes(),
        many.as_bytes(),
    ];
    for line in lines {
        let mut stream = UnixStream::connect(place.path(SOCKET)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        // It may be shown out in the middle of its line.
        let _ = stream.write_all(line).and_then(|()| stream.write_all(b"\n"));
        let mut told = Vec::new();
        match stream.read_to_end(&mut told) {
            Ok(_) => {}
            Err(problem) => assert_eq!(problem.kind(), std::io::ErrorKind::ConnectionReset, "{problem}"),
        }
    }
    // Who says nothing may stay, and who takes nothing does not keep the others waiting.
    let idlers: Vec<UnixStream> = (0..20).map(|_| UnixStream::connect(place.path(SOCKET)).unwrap()).collect();
    assert_eq!(running.finish().code(), Some(0));
    drop(idlers);
    let summary = summary(&place, "s.json");
    assert_eq!(summary["gaps"], json!([]), "{summary:#}");
    assert!(codes(&summary).contains(&"gpus-read-by-daemon") && !codes(&summary).contains(&"daemon-lost"));
    assert_eq!(daemon.terminate().code(), Some(0));
}
