//! The hook socket against well-behaved, broken and hostile peers.
#![cfg(feature = "machine")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use flopsmeter_core::facts::{HookFinding, HookMessage, MeterMessage, PROTOCOL, Process};
use flopsmeter_meter::hook::frame;
use flopsmeter_meter::hook::server::{HookEvent, HookServer, HookWhat, Lost, MAXIMUM_CONNECTIONS, QUEUE_MESSAGES};

/// Far more than any of these takes, so that nothing hangs for ever.
const PATIENCE: Duration = Duration::from_mins(1);

struct Fixture {
    server: HookServer,
    events: Receiver<HookEvent>,
    _folder: tempfile::TempDir,
}

fn start() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let (server, events) = HookServer::start(&[folder.path().to_owned()]).unwrap();
    Fixture { server, events, _folder: folder }
}

impl Fixture {
    fn connect(&self) -> UnixStream {
        UnixStream::connect(self.server.path()).unwrap()
    }

    fn next(&self) -> (u32, HookWhat) {
        let event = self.events.recv_timeout(PATIENCE).unwrap();
        (event.connection, event.what)
    }

    /// Everything up to the end.
    fn rest(&self) -> Vec<HookWhat> {
        self.server.stop(PATIENCE);
        self.events.iter().map(|event| event.what).collect()
    }
}

fn hello(protocol: u16) -> HookMessage {
    let process = Process { pid: 1, host: "node".to_owned(), rank: 0, local_rank: 0, world_size: 1 };
    HookMessage::Hello { protocol, process }
}

fn note(text: &str) -> HookMessage {
    HookMessage::Finding(HookFinding { code: "note".to_owned(), text: text.to_owned() })
}

fn send(stream: &mut UnixStream, message: &HookMessage) {
    stream.write_all(&frame::encode(message).unwrap()).unwrap();
}

#[test]
fn messages_arrive_in_order_and_a_goodbye_ends_well() {
    let fixture = start();
    let mut stream = fixture.connect();
    let said = [hello(PROTOCOL), note("a"), note("b"), HookMessage::Goodbye];
    for message in &said {
        send(&mut stream, message);
    }
    drop(stream);
    assert_eq!(fixture.rest(), said.map(HookWhat::Message));
}

#[test]
fn what_was_sent_before_the_stop_is_delivered_after_it() {
    let fixture = start();
    for _ in 0..50 {
        let mut stream = fixture.connect();
        for message in [hello(PROTOCOL), HookMessage::Goodbye] {
            send(&mut stream, &message);
        }
    }
    let rest = fixture.rest();
    assert_eq!(rest.iter().filter(|what| **what == HookWhat::Message(HookMessage::Goodbye)).count(), 50);
    assert_eq!(rest.len(), 100);
}

#[test]
fn what_was_sent_before_the_stop_is_read_however_late_that_is() {
    let fixture = start();
    let mut streams: Vec<UnixStream> = (0..20).map(|_| fixture.connect()).collect();
    for stream in &mut streams {
        send(stream, &hello(PROTOCOL));
    }
    for _ in &streams {
        assert_eq!(fixture.next().1, HookWhat::Message(hello(PROTOCOL)));
    }
    for stream in &mut streams {
        (0..200).for_each(|_| send(stream, &note("x")));
    }
    let (ended, open) = streams.split_at_mut(10);
    for stream in ended.iter_mut() {
        send(stream, &HookMessage::Goodbye);
        stream.shutdown(Shutdown::Both).unwrap();
    }
    // As for threads that get to it when the patience is over, the server's and its owner's.
    fixture.server.stop(Duration::ZERO);
    std::thread::sleep(Duration::from_secs(2));
    let rest: Vec<_> = fixture.events.iter().map(|event| event.what).collect();
    let count = |wanted: &HookWhat| rest.iter().filter(|what| *what == wanted).count();
    assert_eq!(count(&HookWhat::Message(note("x"))), 20 * 200);
    assert_eq!(count(&HookWhat::Message(HookMessage::Goodbye)), 10);
    assert_eq!(count(&HookWhat::Lost(Lost::StillOpen)), open.len());
    assert_eq!(rest.len(), 20 * 200 + 20);
}

#[test]
fn the_socket_is_for_this_user_alone_and_goes_away() {
    let fixture = start();
    let path = fixture.server.path().to_owned();
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
    drop(fixture.server);
    assert!(!path.parent().unwrap().exists());
}

#[test]
fn another_protocol_is_refused() {
    let fixture = start();
    let mut stream = fixture.connect();
    send(&mut stream, &hello(PROTOCOL + 1));
    assert_eq!(fixture.next(), (0, HookWhat::Lost(Lost::UnknownProtocol { protocol: PROTOCOL + 1 })));
}

#[test]
fn garbage_closes_its_own_connection_alone() {
    let fixture = start();
    let mut good = fixture.connect();
    send(&mut good, &hello(PROTOCOL));
    assert_eq!(fixture.next(), (0, HookWhat::Message(hello(PROTOCOL))));
    for garbage in [&b"\xff\xff\xff\xff"[..], b"GET / HTTP/1.1\r\n\r\n", b"\0\0\0\x02{}"] {
        fixture.connect().write_all(garbage).unwrap();
        assert!(matches!(fixture.next().1, HookWhat::Lost(Lost::Malformed(_))), "{garbage:?}");
    }
    send(&mut good, &HookMessage::Goodbye);
    assert_eq!(fixture.next(), (0, HookWhat::Message(HookMessage::Goodbye)));
}

#[test]
fn a_message_before_the_hello_is_refused() {
    let fixture = start();
    send(&mut fixture.connect(), &note("who am I"));
    assert_eq!(fixture.next(), (0, HookWhat::Lost(Lost::NoHello)));
}

#[test]
fn an_end_without_goodbye_is_told() {
    let fixture = start();
    let mut stream = fixture.connect();
    send(&mut stream, &hello(PROTOCOL));
    stream.write_all(&[0, 0, 1]).unwrap();
    drop(stream);
    assert_eq!(fixture.rest(), [HookWhat::Message(hello(PROTOCOL)), HookWhat::Lost(Lost::Cut)]);
}

#[test]
fn a_probe_that_says_nothing_and_leaves_is_nothing() {
    let fixture = start();
    drop(fixture.connect());
    assert_eq!(fixture.rest(), []);
}

#[test]
fn one_that_hangs_is_given_up_at_the_stop() {
    let fixture = start();
    let mut stream = fixture.connect();
    send(&mut stream, &hello(PROTOCOL));
    let _silent = fixture.connect();
    fixture.server.stop(Duration::from_millis(50));
    let rest: Vec<_> = fixture.events.iter().map(|event| event.what).collect();
    assert_eq!(rest.iter().filter(|what| **what == HookWhat::Lost(Lost::StillOpen)).count(), 2, "{rest:?}");
}

#[test]
fn one_that_speaks_on_and_on_is_cut_short_at_the_stop() {
    let fixture = start();
    let mut stream = fixture.connect();
    send(&mut stream, &hello(PROTOCOL));
    let frame = frame::encode(&note(&"x".repeat(8 << 10))).unwrap();
    let sender = std::thread::spawn(move || while stream.write_all(&frame).is_ok() {});
    assert_eq!(fixture.next().1, HookWhat::Message(hello(PROTOCOL)));
    // The queue fills, and then the socket, which is never empty from here on: what is taken is taken slowly.
    std::thread::sleep(Duration::from_millis(500));
    fixture.server.stop(Duration::ZERO);
    let slowly = fixture.events.iter().inspect(|_| std::thread::sleep(Duration::from_millis(2)));
    // Room for far more frames than a socket holds.
    let rest: Vec<_> = slowly.take(QUEUE_MESSAGES + 200).map(|event| event.what).collect();
    assert_eq!(rest.last(), Some(&HookWhat::Lost(Lost::StillOpen)));
    sender.join().unwrap();
}

#[test]
fn who_connects_on_and_on_is_not_waited_for_at_the_stop() {
    let Fixture { server, events, .. } = start();
    let path = server.path().to_owned();
    let (come, coming) = std::sync::mpsc::channel();
    let visitor = std::thread::spawn(move || {
        while UnixStream::connect(&path).is_ok() {
            let _nobody_counts = come.send(());
        }
    });
    coming.iter().take(100).for_each(drop);
    server.stop(Duration::ZERO);
    events.iter().for_each(drop);
    drop(server);
    visitor.join().unwrap();
}

#[test]
fn a_flood_slows_its_sender_and_loses_nothing() {
    const MESSAGES: usize = 20_000;
    let fixture = start();
    let mut stream = fixture.connect();
    let sender = std::thread::spawn(move || {
        send(&mut stream, &hello(PROTOCOL));
        (0..MESSAGES).for_each(|_| send(&mut stream, &note("x")));
        send(&mut stream, &HookMessage::Goodbye);
    });
    let mut received = 0;
    while fixture.next().1 != HookWhat::Message(HookMessage::Goodbye) {
        received += 1;
    }
    assert_eq!(received, MESSAGES + 1);
    sender.join().unwrap();
}

#[test]
fn a_flood_that_nobody_takes_does_not_hold_the_stop() {
    let fixture = start();
    let mut stream = fixture.connect();
    let sender = std::thread::spawn(move || {
        let frame = frame::encode(&note("x")).unwrap();
        let _closed = stream.write_all(&frame::encode(&hello(PROTOCOL)).unwrap());
        while stream.write_all(&frame).is_ok() {}
    });
    assert_eq!(fixture.next().1, HookWhat::Message(hello(PROTOCOL)));
    // Ends the server with a full queue and an endless sender; the test hangs if it does not.
    drop(fixture.server);
    sender.join().unwrap();
}

#[test]
fn a_thousand_connections_are_bounded_and_told() {
    let fixture = start();
    // So that this process may hold both ends of all of them.
    let (_, most) = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).unwrap();
    nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE, most.min(4096), most).unwrap();
    let mut streams: Vec<UnixStream> = Vec::new();
    for _ in 0..1000 {
        let mut stream = fixture.connect();
        // A refused one may be closed already.
        let _refused = stream.write_all(&frame::encode(&hello(PROTOCOL)).unwrap());
        streams.push(stream);
    }
    let mut greeted = 0;
    for stream in &mut streams {
        let _refused = stream.write_all(&frame::encode(&HookMessage::Goodbye).unwrap());
    }
    drop(streams);
    let rest = fixture.rest();
    for what in &rest {
        match what {
            HookWhat::Message(HookMessage::Hello { .. }) => greeted += 1,
            HookWhat::Message(HookMessage::Goodbye) | HookWhat::Overflow(_) => {}
            other => panic!("{other:?}"),
        }
    }
    let refused =
        rest.iter().filter_map(|what| if let HookWhat::Overflow(refused) = what { Some(*refused) } else { None });
    let refused = refused.max().unwrap_or(0);
    assert_eq!(greeted + refused, 1000);
    assert!(greeted >= u64::try_from(MAXIMUM_CONNECTIONS).unwrap());
}

#[test]
fn a_path_too_long_for_a_socket_falls_through_to_the_next_place() {
    let folder = tempfile::tempdir().unwrap();
    let long = folder.path().join("x".repeat(100));
    fs_err::create_dir(&long).unwrap();
    assert!(HookServer::start(std::slice::from_ref(&long)).is_err());
    assert_eq!(fs_err::read_dir(&long).unwrap().count(), 0, "a folder was left behind");
    let (server, _events) =
        HookServer::start(&[PathBuf::from("/nonexistent"), long, folder.path().to_owned()]).unwrap();
    assert_eq!(server.path().parent().unwrap().parent().unwrap(), folder.path());
}

#[test]
fn every_process_is_told_the_same_whenever_it_comes() {
    let fixture = start();
    let word = MeterMessage::Stop { after_step: 12 };
    let frame = frame::encode(&word).unwrap();
    let mut early = fixture.connect();
    send(&mut early, &hello(PROTOCOL));
    fixture.next();
    fixture.server.tell(&word).unwrap();
    let mut late = fixture.connect();
    send(&mut late, &hello(PROTOCOL));
    for stream in [&mut early, &mut late] {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut told = vec![0; frame.len()];
        stream.read_exact(&mut told).unwrap();
        assert_eq!(told, frame);
    }
    // One that never listens is heard all the same.
    send(&mut early, &note("still here"));
    send(&mut early, &HookMessage::Goodbye);
    send(&mut late, &HookMessage::Goodbye);
    drop((early, late));
    let rest = fixture.rest();
    assert!(rest.contains(&HookWhat::Message(note("still here"))), "{rest:?}");
    assert!(!rest.iter().any(|what| matches!(what, HookWhat::Lost(_))), "{rest:?}");
}
