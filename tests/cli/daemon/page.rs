//! `/metrics`, by a client that speaks HTTP over a plain connection.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::json;

use super::{Daemon, finding};
use crate::gpu::library;
use crate::job::{Training, hooked, write_base, write_facts};
use crate::place::{Place, Running, until};

pub(super) struct Page {
    address: String,
}

impl Page {
    pub(super) fn of(daemon: &Daemon) -> Self {
        let address = daemon.said.split("http://").nth(1).unwrap().strip_suffix("/metrics").unwrap();
        Self { address: address.to_owned() }
    }

    fn ask(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn read(&self) -> String {
        let answer = self.ask(&format!("GET /metrics HTTP/1.1\r\nHost: {}\r\n\r\n", self.address));
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK") && head.contains("application/openmetrics-text"), "{head}");
        assert!(body.ends_with("# EOF\n"), "{body}");
        body.to_owned()
    }

    /// The value of the one series that begins so.
    pub(super) fn value(&self, series: &str) -> Option<f64> {
        let text = self.read();
        let line = text.lines().find(|line| line.starts_with(series))?;
        line.rsplit(' ').next().unwrap().parse().ok()
    }
}

#[test]
fn a_run_and_its_modification_can_be_watched() {
    let place = Place::new();
    write_facts(&place, Training::Lora);
    write_base(&place, "base", 1 << 70);
    let library = library(&place, &json!({ "devices": [{ "uuid": "GPU-aa" }] }));
    let daemon = Daemon::start(&place, &library, &["--metrics", "127.0.0.1:0"]);
    let page = Page::of(&daemon);
    assert!(page.read().contains("flopsmeter_build_info{version="));
    assert_eq!(page.value("flopsmeter_run_running"), None);

    let mut running = Running::start(finding(hooked(&place, "--base base.toml --modification demo"), &place));
    running.wait_for_stdout("ready");
    running.say(&format!("tick {}", place.path("clock").display()));
    until("operations on the page", || {
        page.value("flopsmeter_run_training_operations_total{").is_some_and(|told| told > 0.0)
    });
    assert_eq!(page.value("flopsmeter_run_running{"), Some(1.0));
    assert_eq!(
        page.value("flopsmeter_modification_verdict{modification=\"demo\",verdict=\"below\",user=\""),
        Some(1.0)
    );
    assert!(page.value("flopsmeter_modification_line_spent_ratio{modification=\"demo\",user=\"").is_some());
    assert!(page.value("flopsmeter_run_ceiling_operations{").unwrap() > 0.0);
    assert_eq!(page.value("flopsmeter_run_held_devices{"), Some(1.0));

    place.write("clock.stop", "");
    assert_eq!(running.finish().code(), Some(0));
    until("the run's end on the page", || page.value("flopsmeter_run_running{") == Some(0.0));
    let run = place.only_run();
    let counted: f64 = run["flops"]["training"].as_str().unwrap().parse().unwrap();
    assert_eq!(page.value("flopsmeter_run_training_operations_total{"), Some(counted));
    assert_eq!(daemon.terminate().code(), Some(0));
}

#[test]
fn nothing_but_the_page_can_be_asked_for() {
    let place = Place::new();
    let library = library(&place, &json!({ "devices": [{ "uuid": "GPU-aa" }] }));
    let daemon = Daemon::start(&place, &library, &["--metrics", "127.0.0.1:0"]);
    let page = Page::of(&daemon);
    let long = format!("GET /metrics HTTP/1.1\r\nA: {}\r\n\r\n", "x".repeat(100_000));
    for (request, answer) in [
        ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 404"),
        ("POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 405"),
        ("nonsense\r\n\r\n", "HTTP/1.1 400"),
    ] {
        let told = page.ask(request);
        assert!(told.starts_with(answer), "{request:?}: {told}");
    }
    let mut stream = TcpStream::connect(&page.address).unwrap();
    // It may be cut off in the middle of it.
    let _ = stream.write_all(long.as_bytes());
    drop(stream);
    // As many as are served at once, who ask nothing: they are cut off in time, and the daemon itself is not held up.
    let silent: Vec<TcpStream> = (0..16).map(|_| TcpStream::connect(&page.address).unwrap()).collect();
    drop(silent);
    assert!(page.value("flopsmeter_daemon_up_seconds").is_some());
    assert!(page.value("flopsmeter_daemon_resident_memory_bytes{process=\"daemon\"}").unwrap() > 1e6);
    let taken = place.path("other.sock");
    let other = place.flopsmeter(&format!("daemon --socket {} --metrics {}", taken.display(), page.address));
    assert!(other.refusal(1).contains("/metrics cannot be served at"), "{other:?}");
    assert!(!taken.exists());
    assert_eq!(daemon.terminate().code(), Some(0));
}

/// Air-gapped unless it is told otherwise.
#[test]
fn nothing_listens_on_the_network_unless_it_is_asked_for() {
    let place = Place::new();
    let library = library(&place, &json!({ "devices": [{ "uuid": "GPU-aa" }] }));
    let daemon = Daemon::start(&place, &library, &[]);
    assert!(!daemon.said.contains("http"), "{}", daemon.said);
    let descriptors = format!("/proc/{}/fd", daemon.running.pid());
    let targets =
        fs_err::read_dir(descriptors).unwrap().filter_map(|entry| fs_err::read_link(entry.unwrap().path()).ok());
    let sockets: Vec<String> = targets
        .filter_map(|target| Some(target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    assert!(!sockets.is_empty());
    for table in ["/proc/net/tcp", "/proc/net/tcp6", "/proc/net/udp"] {
        let text = fs_err::read_to_string(table).unwrap_or_default();
        let listening = text.lines().filter_map(|line| line.split_whitespace().nth(9));
        assert!(listening.clone().all(|inode| !sockets.iter().any(|socket| socket == inode)), "{table}");
    }
    daemon.terminate();
}
