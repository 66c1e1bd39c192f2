//! One client's connection, and the door.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::sleep;

use super::hub::Client;
use super::line::MAX_LINE;
use super::owner::Message;
use super::user;

/// Connections at once: two for each run, and some ranks or runs for each GPU of a large node.
const MAX_CLIENTS: usize = 256;

/// Lines that may wait to be taken by a client: some seconds of readings.
const WAITING_LINES: usize = 8;

/// Between two lines of one client, so that none can keep the daemon busy.
const BREATHER: Duration = Duration::from_millis(10);

/// No more files to be had: some will be closed soon.
const NO_FILES: Duration = Duration::from_millis(50);

/// Bytes that are read at once.
const PORTION: usize = 1 << 10;

/// Takes connections for ever.
pub(super) async fn open_door(listener: UnixListener, owner: mpsc::Sender<Message>) {
    let seats = Arc::new(Semaphore::new(MAX_CLIENTS));
    let mut number = 0;
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            sleep(NO_FILES).await;
            continue;
        };
        let Ok(seat) = Arc::clone(&seats).try_acquire_owned() else {
            // If the owner is busy, this one is not counted.
            let _ = owner.try_send(Message::Refused);
            sleep(BREATHER).await;
            continue;
        };
        number += 1;
        let owner = owner.clone();
        tokio::spawn(async move {
            serve(stream, number, owner).await;
            drop(seat);
        });
    }
}

async fn serve(stream: UnixStream, number: u64, owner: mpsc::Sender<Message>) {
    let (lines, waiting) = mpsc::channel(WAITING_LINES);
    let (held, dropped) = oneshot::channel();
    let client = Client::new(lines, held, user::of(&stream));
    if owner.send(Message::Joined(number, client)).await.is_err() {
        return;
    }
    let (input, output) = stream.into_split();
    let last = tokio::select! {
        heard = listen(input, number, &owner) => match heard {
            Ok(()) => Message::Left(number),
            Err(_) => Message::Broken(number),
        },
        _ = tell(output, waiting) => Message::Left(number),
        _ = dropped => return,
    };
    // If the owner has ended, so has everything.
    let _ = owner.send(last).await;
}

/// Hands lines on until the client closes its end. What cannot be read as a line is an error.
async fn listen(input: OwnedReadHalf, number: u64, owner: &mpsc::Sender<Message>) -> io::Result<()> {
    let mut input = BufReader::with_capacity(PORTION, input);
    let mut line = Vec::new();
    let limit = u64::try_from(MAX_LINE).unwrap_or(u64::MAX);
    loop {
        line.clear();
        let length = (&mut input).take(limit).read_until(b'\n', &mut line).await;
        match length {
            // It is gone, as it may be.
            Ok(0) | Err(_) => return Ok(()),
            Ok(_) => {}
        }
        let request = serde_json::from_slice(&line)?;
        line.shrink_to(PORTION);
        if owner.send(Message::Said(number, request)).await.is_err() {
            return Ok(());
        }
        sleep(BREATHER).await;
    }
}

async fn tell(mut output: OwnedWriteHalf, mut lines: mpsc::Receiver<Vec<u8>>) -> io::Result<()> {
    while let Some(line) = lines.recv().await {
        output.write_all(&line).await?;
    }
    Ok(())
}
