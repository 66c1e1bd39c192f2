//! The process that asks the driver, kept by the hub.

use std::path::PathBuf;

use tokio::sync::mpsc::Sender;

use super::owner::Message;
use crate::device::nvml::process::{DriverProcess, ReaderCommand};
use crate::device::nvml::reader::Order;

/// What the hub wants of it.
pub(super) trait Reader {
    /// Starts it, as the so-many-th: it says first which GPUs there are.
    fn start(&mut self, turn: u32) -> Result<(), String>;

    /// Gives an order. `false` if it has ended.
    fn order(&mut self, order: &Order) -> bool;

    /// Ends it.
    fn end(&mut self);
}

/// The real one.
#[derive(Debug)]
pub(super) struct ReaderProcess {
    command: ReaderCommand,
    library: Option<PathBuf>,
    answers: Sender<Message>,
    process: Option<DriverProcess>,
}

impl ReaderProcess {
    pub(super) const fn new(command: ReaderCommand, library: Option<PathBuf>, answers: Sender<Message>) -> Self {
        Self { command, library, answers, process: None }
    }

    /// Its process id, while there is one.
    pub(super) fn id(&self) -> Option<u32> {
        self.process.as_ref().map(DriverProcess::id)
    }
}

impl Reader for ReaderProcess {
    fn start(&mut self, turn: u32) -> Result<(), String> {
        let answers = self.answers.clone();
        let hear = move |heard| {
            // If the owner has ended, nobody wants to know.
            let _ = answers.blocking_send(Message::Heard(turn, heard));
        };
        let started = DriverProcess::start(&self.command, self.library.as_deref(), hear);
        let process = started.map_err(|problem| {
            format!("{} cannot be started to ask the driver: {problem}", self.command.program.display())
        })?;
        self.process = Some(process);
        Ok(())
    }

    fn order(&mut self, order: &Order) -> bool {
        self.process.as_mut().is_some_and(|process| process.order(order))
    }

    fn end(&mut self) {
        self.process = None;
    }
}
