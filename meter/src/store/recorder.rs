//! Recording one run, come what may: to the ledger, else to a spool, else nowhere, and the job goes on.

use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use flopsmeter_core::ledger::{Body, Entry, Head, chain, run_stream};
use flopsmeter_core::run::Finding;
use flopsmeter_core::tally::SPOOL_FULL;

use super::merge::{self, Forked};
use super::problem::StoreProblem;
use super::spool::Spool;
use super::sqlite::{Durability, Ledger};
use super::writer::Writer;

/// Most that a spool may take. Eight GPUs and a hook fill it in two and a half days: 8.3 MiB an hour, measured on the stand-in for NVML;
/// the more often the load of GPUs changes, the sooner. What follows is missing from the record, which charges that time in full.
pub const SPOOL_LIMIT_BYTES: u64 = 512 << 20;

/// Kept free in a full spool for findings and for the entries that close the run.
pub const SPOOL_RESERVE_BYTES: u64 = 1 << 20;

/// Uncommitted text at which [`RunRecorder::record`] commits by itself, so that memory stays bounded.
const UNCOMMITTED_LIMIT_BYTES: usize = 32 << 20;

/// A run that has not lasted so long when it is committed is left to the system's own writing back: a command that is over at once
/// must not wait for a disk.
const SHORT: TimeDelta = TimeDelta::milliseconds(500);

/// How long the last attempt waits for a ledger that failed earlier: the job's exit hangs on it.
const LAST_PATIENCE: Duration = Duration::from_millis(200);

/// Writes the entries of one run. Never fails: what goes wrong becomes a finding, which is recorded where that is still possible
/// and handed out once for the user to be told.
#[derive(Debug)]
pub struct RunRecorder {
    run: String,
    stream: String,
    head: Option<Head>,
    began: DateTime<Utc>,
    durability: Durability,
    target: Target,
    uncommitted: Vec<Entry>,
    uncommitted_bytes: usize,
    ledger_path: PathBuf,
    spool_folders: Vec<PathBuf>,
    spool_limit_bytes: u64,
    dropped: u64,
    untold: Vec<Finding>,
    unrecorded: Vec<Finding>,
    /// Kept until the end, wherever records go.
    _writer: Option<Writer>,
}

#[derive(Debug)]
enum Target {
    Ledger(Ledger),
    Spool(Spool),
    Nowhere,
}

/// Where records go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place<'a> {
    /// The ledger.
    Ledger(&'a Path),
    /// A spool file, to be merged into a ledger.
    Spool(&'a Path),
    /// Nothing can be written.
    Nowhere,
}

/// The end of recording.
#[derive(Debug)]
pub struct Finished {
    /// What went wrong and was not told yet.
    pub findings: Vec<Finding>,
    /// End of the run's chain; `None` where nothing was recorded.
    pub head: Option<Head>,
    /// Entries that were not recorded anywhere.
    pub dropped: u64,
    /// The spool file that remains to be merged, if there is one.
    pub spool: Option<PathBuf>,
}

impl RunRecorder {
    /// Records `run` into `ledger` (what [`Ledger::open`] of `ledger_path` gave), after what it holds of the run already; or, where
    /// it could not be opened, into the first of `spool_folders` that can be written.
    pub fn begin(
        ledger: Result<Ledger, StoreProblem>,
        ledger_path: &Path,
        run: &str,
        spool_folders: Vec<PathBuf>,
        at: DateTime<Utc>,
    ) -> Self {
        let stream = run_stream(run);
        let mut recorder = Self {
            run: run.to_owned(),
            head: None,
            began: at,
            durability: Durability::AtOnce,
            target: Target::Nowhere,
            uncommitted: Vec::new(),
            uncommitted_bytes: 0,
            ledger_path: ledger_path.to_owned(),
            spool_folders,
            spool_limit_bytes: SPOOL_LIMIT_BYTES,
            dropped: 0,
            untold: Vec::new(),
            unrecorded: Vec::new(),
            _writer: None,
            stream,
        };
        let opened = ledger.and_then(|ledger| ledger.head(&recorder.stream).map(|head| (ledger, head)));
        match opened {
            Ok((ledger, head)) => {
                recorder.head = head;
                recorder.target = Target::Ledger(ledger);
            }
            Err(problem) => recorder.leave_ledger(&problem, at),
        }
        recorder
    }

    /// Lets the spool grow to another size than [`SPOOL_LIMIT_BYTES`].
    #[must_use]
    pub fn with_spool_limit(mut self, limit_bytes: u64) -> Self {
        self.spool_limit_bytes = limit_bytes;
        if let Target::Spool(spool) = &mut self.target {
            spool.set_limit(limit_bytes);
        }
        self
    }

    /// With the right to write the run: nobody else takes it up before this ends.
    #[must_use]
    pub fn held_by(self, writer: Option<Writer>) -> Self {
        Self { _writer: writer, ..self }
    }

    /// The id of the run.
    pub fn run(&self) -> &str {
        &self.run
    }

    /// Where records go at present.
    pub fn place(&self) -> Place<'_> {
        match &self.target {
            Target::Ledger(ledger) => Place::Ledger(ledger.path()),
            Target::Spool(spool) => Place::Spool(spool.path()),
            Target::Nowhere => Place::Nowhere,
        }
    }

    /// Where the ledger is that is meant, whether or not it works.
    pub fn ledger_path(&self) -> &Path {
        &self.ledger_path
    }

    /// The ledger, as long as it works: for streams other than the run's.
    pub fn ledger(&mut self) -> Option<&mut Ledger> {
        match &mut self.target {
            Target::Ledger(ledger) => Some(ledger),
            Target::Spool(_) | Target::Nowhere => None,
        }
    }

    /// Chains `body` to the run; on the disk after the next [`RunRecorder::commit`].
    pub fn record(&mut self, at: DateTime<Utc>, body: &Body) {
        let text = match body.to_text() {
            Ok(text) => text,
            Err(problem) => return self.drop_one("entry-unwritable", &problem.to_string(), at),
        };
        if matches!(self.target, Target::Nowhere) {
            self.dropped += 1;
            return;
        }
        if !self.has_room(body, &text) {
            let text = format!(
                "the spool of run {} is full: what follows is missing from the record; make the ledger writable again",
                self.run
            );
            return self.drop_one(SPOOL_FULL, &text, at);
        }
        self.chain(at, body.kind(), text);
        self.chain_findings(at);
        if self.uncommitted_bytes > UNCOMMITTED_LIMIT_BYTES {
            self.bring_to_disk(at);
        }
    }

    /// Brings everything recorded so far to the disk. Returns what went wrong since the last call, for the user to be told.
    pub fn commit(&mut self, at: DateTime<Utc>) -> Vec<Finding> {
        self.bring_to_disk(at);
        core::mem::take(&mut self.untold)
    }

    /// Commits, and tries once more to bring a spool's content into the ledger it was meant for.
    pub fn finish(mut self, at: DateTime<Utc>) -> Finished {
        self.bring_to_disk(at);
        if let Target::Ledger(ledger) = &self.target {
            // The run is in the ledger already; a log that stays long costs the next one a moment.
            let _unfolded = ledger.fold_long_log();
        }
        let mut left = None;
        if let Target::Spool(spool) = &self.target {
            match merge_at_last(&self.ledger_path, spool, at) {
                Ok(finding) => self.untold.extend(finding),
                Err(_) if spool.has_its_name() => left = Some(spool.path().to_owned()),
                Err(_) => {
                    let (again, finding) = write_again(spool, &self.run);
                    left = again;
                    self.untold.push(finding);
                }
            }
        }
        Finished { findings: self.untold, head: self.head, dropped: self.dropped, spool: left }
    }

    fn chain(&mut self, at: DateTime<Utc>, kind: &str, text: String) {
        self.uncommitted_bytes += text.len();
        let entry = chain::append(self.head.as_ref(), self.stream.as_str(), at, kind, text);
        self.head = Some(entry.head());
        self.uncommitted.push(entry);
    }

    fn bring_to_disk(&mut self, at: DateTime<Utc>) {
        let durability = if at - self.began < SHORT { Durability::InTime } else { Durability::AtOnce };
        if let Target::Ledger(ledger) = &mut self.target {
            let set = if durability == self.durability { Ok(()) } else { ledger.set_durability(durability) };
            self.durability = durability;
            match set.and_then(|()| ledger.write(&self.uncommitted)) {
                Ok(_) => return self.forget_committed(),
                Err(problem) => self.leave_ledger(&problem, at),
            }
        }
        if let Target::Spool(spool) = &mut self.target {
            match self
                .uncommitted
                .iter()
                .try_for_each(|entry| spool.append(entry))
                .and_then(|()| spool.write_out(durability))
            {
                Ok(()) => return self.forget_committed(),
                Err(problem) => self.give_up(&problem),
            }
        }
        self.dropped += u64::try_from(self.uncommitted.len()).unwrap_or(u64::MAX);
        self.forget_committed();
    }

    fn forget_committed(&mut self) {
        self.uncommitted.clear();
        self.uncommitted_bytes = 0;
    }

    /// Goes over to the spool, with everything that is not yet on the disk.
    fn leave_ledger(&mut self, problem: &StoreProblem, at: DateTime<Utc>) {
        let made = self.spool_folders.iter().map(|folder| Spool::create(folder, &self.run, self.spool_limit_bytes));
        let mut failed = None;
        for made in made {
            match made {
                Ok(spool) => {
                    let text = format!("{problem}; this run is recorded in {} meanwhile", spool.path().display());
                    self.target = Target::Spool(spool);
                    return self.find(problem.code(), text, at);
                }
                Err(cause) => failed = Some(cause),
            }
        }
        self.untold.push(Finding { code: problem.code().to_owned(), text: problem.to_string() });
        match failed {
            Some(cause) => self.give_up(&cause),
            None => self.target = Target::Nowhere,
        }
    }

    fn give_up(&mut self, problem: &StoreProblem) {
        self.target = Target::Nowhere;
        let text = format!("{problem}: run {} is not recorded from here on; make room or a folder for it", self.run);
        self.untold.push(Finding { code: problem.code().to_owned(), text });
    }

    fn find(&mut self, code: &str, text: String, at: DateTime<Utc>) {
        let finding = Finding { code: code.to_owned(), text };
        self.untold.push(finding.clone());
        self.unrecorded.push(finding);
        self.chain_findings(at);
    }

    /// Not before the entry that opens the run, which is the first of every stream.
    fn chain_findings(&mut self, at: DateTime<Utc>) {
        if self.head.is_none() {
            return;
        }
        for finding in core::mem::take(&mut self.unrecorded) {
            let body = Body::Finding(finding);
            if let Ok(text) = body.to_text() {
                self.chain(at, body.kind(), text);
            }
        }
    }

    /// Counts an entry that is not recorded; the first one leaves a finding.
    fn drop_one(&mut self, code: &str, text: &str, at: DateTime<Utc>) {
        self.dropped += 1;
        if self.dropped == 1 {
            self.find(code, text.to_owned(), at);
        }
    }

    /// Decides before chaining, because an entry left out of the middle of a chain would look like a removed one.
    fn has_room(&self, body: &Body, text: &str) -> bool {
        let Target::Spool(spool) = &self.target else { return true };
        // A device that is on record is charged for all the time that no reading covers; one that is not would be charged nothing.
        let closes = matches!(
            body,
            Body::DevicesSeen(_) | Body::Finding(_) | Body::Alert(_) | Body::SegmentClosed(_) | Body::RunClosed(_)
        );
        // JSON within JSON: every byte may be escaped, and the other fields take less than 1 KiB.
        let waiting = self.uncommitted_bytes.saturating_add(text.len()).saturating_mul(2);
        let waiting = waiting.saturating_add((self.uncommitted.len() + 1).saturating_mul(1 << 10));
        let reserve = if closes { 0 } else { SPOOL_RESERVE_BYTES };
        spool.has_room(u64::try_from(waiting).unwrap_or(u64::MAX).saturating_add(reserve))
    }
}

/// From the open file, not by its name: somebody may have taken it to be left behind, and renamed it.
fn merge_at_last(ledger: &Path, spool: &Spool, at: DateTime<Utc>) -> Result<Option<Finding>, StoreProblem> {
    let mut ledger = Ledger::open_patiently(ledger, LAST_PATIENCE)?;
    let (_, fork) = merge::bring_in_entries(&mut ledger, spool.path(), &spool.read_back()?.entries, at)?;
    if spool.has_its_name() {
        let removed = fs_err::remove_file(spool.path());
        removed.map_err(|cause| StoreProblem::Spool { path: spool.path().to_owned(), cause })?;
    }
    Ok(fork.as_ref().map(Forked::finding))
}

/// A spool under whose name nobody would find it any more gets another one.
fn write_again(spool: &Spool, run: &str) -> (Option<PathBuf>, Finding) {
    let lost =
        format!("the spool {} was renamed or removed while run {run} was recorded there", spool.path().display());
    let (path, text) = match spool.write_again(run) {
        Ok(again) => {
            let path = again.path().to_owned();
            let text =
                format!("{lost}: all of it is in {} too; `flopsmeter ledger merge` brings it in", path.display());
            (Some(path), text)
        }
        Err(problem) => {
            (None, format!("{lost}, and cannot be written again: {problem}; look for the file under another name"))
        }
    };
    (path, Finding { code: "spool-renamed".to_owned(), text })
}
