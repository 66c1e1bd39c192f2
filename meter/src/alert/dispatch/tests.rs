//! Sinks that fail, fail for a while, or never answer.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use chrono::DateTime;

use super::super::http::Endpoint;
use super::super::message::tests::message;
use super::*;

/// Answers each request with the next status, and gives its head and body.
fn serve(statuses: &'static [u16]) -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let (sender, requests) = channel();
    thread::spawn(move || {
        for status in statuses {
            let (stream, _) = listener.accept().unwrap();
            sender.send(answer(stream, *status)).unwrap();
        }
    });
    (url, requests)
}

fn answer(mut stream: TcpStream, status: u16) -> String {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        reader.read_line(&mut head).unwrap();
    }
    let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).unwrap();
    write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
    head + &String::from_utf8(body).unwrap()
}

fn webhook(url: &str) -> Sink {
    Sink::Webhook { endpoint: Endpoint::new(url, None).unwrap(), secret: None }
}

#[test]
fn a_fault_that_may_pass_is_tried_again_with_the_same_id() {
    let (url, requests) = serve(&[503, 429, 200]);
    let message = message("NEAR");
    assert_eq!(deliver_patiently(&webhook(&url), &message, |_| ()), Ok(()));
    for _ in 0..3 {
        let request = requests.recv().unwrap();
        assert!(request.to_lowercase().contains(&format!("flopsmeter-alert-id: {}\r\n", message.id)), "{request}");
        assert!(request.ends_with(&message.json), "{request}");
    }
}

#[test]
fn a_fault_for_good_is_not_tried_again() {
    let (url, requests) = serve(&[404]);
    let problem = deliver_patiently(&webhook(&url), &message("NEAR"), |_| ()).unwrap_err();
    assert_eq!(problem.text, "it answered with status 404");
    drop((requests.recv().unwrap(), requests));
    let (url, requests) = serve(&[302]);
    let problem = deliver_patiently(&webhook(&url), &message("NEAR"), |_| ()).unwrap_err();
    assert_eq!(problem.text, "it answered with status 302");
    drop(requests);
}

#[test]
fn attempts_end() {
    let (url, requests) = serve(&[500; 5]);
    let problem = deliver_patiently(&webhook(&url), &message("NEAR"), |_| ()).unwrap_err();
    assert_eq!(problem.text, "it answered with status 500");
    assert_eq!(requests.iter().count(), 5);
}

#[test]
fn one_sink_that_never_answers_holds_up_neither_the_others_nor_the_end() {
    // Accepts by the system's queue, and is never read.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let (url, requests) = serve(&[200]);
    let sinks = vec![webhook(&format!("http://{}/", silent.local_addr().unwrap())), webhook(&url)];
    let mut dispatcher = Dispatcher::new(sinks, Sender::default());
    let alert = Alert { at: DateTime::UNIX_EPOCH, verdict: "near".to_owned(), text: "NEAR".to_owned(), crossing: None };
    assert_eq!(dispatcher.give(&alert, None), []);
    assert!(requests.recv_timeout(Duration::from_mins(1)).unwrap().contains("NEAR"));
    let mut looks = (0..12_000).map(|_| {
        thread::sleep(Duration::from_millis(5));
        dispatcher.outcomes()
    });
    let outcomes = looks.find(|outcomes| *outcomes != Outcomes::default()).unwrap();
    let Outcomes { heard: again, missed } = dispatcher.finish(Duration::from_millis(100));
    assert_eq!((outcomes.missed, again), Default::default());
    assert_eq!(outcomes.heard, [Heard { id: Message::new(&Sender::default(), &alert).id, sink: webhook(&url).key() }]);
    let [Missed { finding, sink, .. }] = missed.as_slice() else { panic!("{missed:?}") };
    assert!(dispatcher.sinks().contains(sink), "{sink}");
    assert_eq!(finding.code, "alert-not-delivered");
    assert!(finding.text.starts_with("an alert did not reach sink 1 (webhook at http://127.0.0.1:"), "{finding:?}");
    assert!(finding.text.contains("it had not taken it when the job had ended"), "{finding:?}");
}

#[test]
fn nothing_is_started_before_there_is_an_alert() {
    let mut dispatcher = Dispatcher::new(vec![webhook("http://127.0.0.1:9/")], Sender::default());
    assert!(dispatcher.lanes.iter().all(|lane| lane.queue.is_none()));
    assert_eq!((dispatcher.outcomes(), dispatcher.finish(Duration::ZERO)), Default::default());
}

#[test]
fn only_those_are_told_who_have_not_heard() {
    let (first, heard) = serve(&[200]);
    let (second, unheard) = serve(&[200]);
    let sinks = vec![webhook(&first), webhook(&second)];
    let only = BTreeSet::from([sinks[1].key()]);
    let mut dispatcher = Dispatcher::new(sinks, Sender::default());
    let alert = Alert { at: DateTime::UNIX_EPOCH, verdict: "near".to_owned(), text: "NEAR".to_owned(), crossing: None };
    assert_eq!(dispatcher.give(&alert, Some(&only)), []);
    let outcomes = dispatcher.finish(Duration::from_secs(30));
    assert_eq!((outcomes.heard.len(), outcomes.missed), (1, Vec::new()));
    assert_eq!((heard.try_iter().count(), unheard.try_iter().count()), (0, 1));
}

#[test]
fn a_sink_has_one_key_wherever_it_is_named_and_tells_nothing_by_it() {
    let (one, other) = (webhook("http://example.org/secret"), webhook("http://example.org/another"));
    assert_eq!(one.key(), webhook("http://example.org/secret").key());
    assert_ne!(one.key(), other.key());
    assert!(!one.key().contains("secret") && one.key().len() == 16);
}
