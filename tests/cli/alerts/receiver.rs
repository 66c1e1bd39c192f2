//! Servers that take alerts: HTTP and SMTP over plain sockets.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::Value;
use sha2::Sha256;

/// Only a test that fails waits so long.
const PATIENCE: Duration = Duration::from_secs(30);

/// What was received.
pub(super) struct Receiving {
    pub(super) address: String,
    received: Receiver<String>,
}

impl Receiving {
    /// The next one, head and body or the whole conversation.
    pub(super) fn next(&self) -> String {
        self.received.recv_timeout(PATIENCE).expect("something is received")
    }

    pub(super) fn rest(&self) -> Vec<String> {
        self.received.try_iter().collect()
    }

    fn of(converse: fn(TcpStream) -> String) -> Self {
        Self::at(TcpListener::bind("127.0.0.1:0").unwrap(), converse)
    }

    fn at(listener: TcpListener, converse: fn(TcpStream) -> String) -> Self {
        let address = listener.local_addr().unwrap().to_string();
        let (sender, received) = channel();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if sender.send(converse(stream)).is_err() {
                    return;
                }
            }
        });
        Self { address, received }
    }

    /// Answers every request with 200.
    pub(super) fn http() -> Self {
        Self::of(answer)
    }

    /// The same where somebody listened before.
    pub(super) fn http_at(listener: TcpListener) -> Self {
        Self::at(listener, answer)
    }

    /// Takes every mail.
    pub(super) fn smtp() -> Self {
        Self::of(|mut stream| {
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let mut said = String::new();
            let mut is_mail = false;
            stream.write_all(b"220 test\r\n").unwrap();
            while let Some(Ok(line)) = lines.next() {
                said.push_str(&line);
                said.push('\n');
                let answer: &[u8] = match line.as_str() {
                    "." => b"250 taken\r\n",
                    _ if is_mail => b"",
                    "DATA" => b"354 go on\r\n",
                    "QUIT" => b"221 bye\r\n",
                    _ => b"250 yes\r\n",
                };
                is_mail = line != "." && (is_mail || line == "DATA");
                stream.write_all(answer).unwrap();
                if line == "QUIT" {
                    break;
                }
            }
            said
        })
    }
}

/// What is asked, and nothing is answered.
pub(super) fn take(stream: &TcpStream) -> String {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        reader.read_line(&mut head).unwrap();
    }
    let length = header(&head, "content-length").unwrap_or("0").parse().unwrap();
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    head + &String::from_utf8(body).unwrap()
}

fn answer(mut stream: TcpStream) -> String {
    let request = take(&stream);
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
    request
}

/// The value of a header.
pub(super) fn header<'a>(request: &'a str, name: &str) -> Option<&'a str> {
    let head = request.split("\r\n\r\n").next()?;
    let lines = head.lines().filter_map(|line| line.split_once(": "));
    lines.filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
}

pub(super) fn body(request: &str) -> &str {
    request.split_once("\r\n\r\n").unwrap().1
}

pub(super) fn json(request: &str) -> Value {
    serde_json::from_str(body(request)).unwrap()
}

/// Whether the body was signed under this secret, as a receiver would check it.
pub(super) fn is_signed(request: &str, secret: &str) -> bool {
    let signature = header(request, "flopsmeter-signature").unwrap();
    let (seconds, code) = signature.strip_prefix("t=").unwrap().split_once(",v1=").unwrap();
    let code: Vec<u8> =
        (0..code.len()).step_by(2).map(|at| u8::from_str_radix(&code[at..at + 2], 16).unwrap()).collect();
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(format!("{seconds}.{}", body(request)).as_bytes());
    mac.verify_slice(&code).is_ok()
}
