//! Entries as JSON lines in a file, for when the ledger cannot be had: the same entries, the same chain.

use std::fs::TryLockError;
use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use flopsmeter_core::ledger::Entry;
use fs_err::os::unix::fs::OpenOptionsExt as _;

use super::problem::StoreProblem;
use super::sqlite::Durability;

/// Longest line that is read back; a hook message is at most 16 MiB and JSON within JSON at most doubles it.
const MAXIMUM_LINE_BYTES: u64 = 40 << 20;

/// End of the name of every spool file.
const SUFFIX: &str = ".jsonl";

/// A run's id as it stands in the name of a file: it leads nowhere else.
pub fn file_name(run: &str) -> String {
    let plain = |character: char| character.is_ascii_alphanumeric() || "-_".contains(character);
    run.chars().map(|character| if plain(character) { character } else { '-' }).collect()
}

/// A spool file that is being written.
#[derive(Debug)]
pub struct Spool {
    file: BufWriter<fs_err::File>,
    path: PathBuf,
    bytes: u64,
    limit_bytes: u64,
}

impl Spool {
    /// Makes `<folder>/<run>.jsonl` (or `<run>.1.jsonl` … where that exists), readable by this user alone, that grows to at most
    /// `limit_bytes`.
    pub fn create(folder: &Path, run: &str, limit_bytes: u64) -> Result<Self, StoreProblem> {
        let problem = |path: &Path, cause| StoreProblem::Spool { path: path.to_owned(), cause };
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|cause| problem(folder, cause))?;
        let mut number = 0_u32;
        let run = file_name(run);
        loop {
            let path = folder.join(match number {
                0 => format!("{run}{SUFFIX}"),
                number => format!("{run}.{number}{SUFFIX}"),
            });
            // `create_new` neither follows a link somebody laid there nor mixes two writers.
            match fs_err::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
                Ok(file) => {
                    // Where a file system has no locks nobody can see who writes: what is merged too early is merged again later.
                    let _seen_by_others = file.try_lock();
                    return Ok(Self { file: BufWriter::new(file), path, bytes: 0, limit_bytes });
                }
                Err(cause) if cause.kind() == std::io::ErrorKind::AlreadyExists && number < 100 => number += 1,
                Err(cause) => return Err(problem(&path, cause)),
            }
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Lets it grow to another size.
    pub const fn set_limit(&mut self, limit_bytes: u64) {
        self.limit_bytes = limit_bytes;
    }

    /// Whether `bytes` more fit.
    pub const fn has_room(&self, bytes: u64) -> bool {
        self.bytes.saturating_add(bytes) <= self.limit_bytes
    }

    /// Writes one entry as one line; see [`Spool::write_out`].
    pub fn append(&mut self, entry: &Entry) -> Result<(), StoreProblem> {
        let mut line = serde_json::to_vec(entry).map_err(|cause| self.problem(cause.into()))?;
        line.push(b'\n');
        let bytes = u64::try_from(line.len()).unwrap_or(u64::MAX);
        if !self.has_room(bytes) {
            return Err(self.problem(std::io::ErrorKind::FileTooLarge.into()));
        }
        self.bytes += bytes;
        self.file.write_all(&line).map_err(|cause| self.problem(cause))
    }

    /// Hands everything that was appended to the system, and waits for the disk if it is to be there at once.
    pub fn write_out(&mut self, durability: Durability) -> Result<(), StoreProblem> {
        let written = self.file.flush().and_then(|()| match durability {
            Durability::AtOnce => self.file.get_ref().sync_data(),
            Durability::InTime => Ok(()),
        });
        written.map_err(|cause| self.problem(cause))
    }

    fn problem(&self, cause: std::io::Error) -> StoreProblem {
        StoreProblem::Spool { path: self.path.clone(), cause }
    }
}

/// Whether a meter is still writing the spool file at `path`.
pub fn is_written(path: &Path) -> Result<bool, StoreProblem> {
    let file = fs_err::File::open(path).map_err(|cause| StoreProblem::Spool { path: path.to_owned(), cause })?;
    Ok(matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

/// The id that its name gives for the run of a spool file, and which of that run's files it is.
pub fn run_of(path: &Path) -> Option<(&str, u32)> {
    let stem = path.file_name()?.to_str()?.strip_suffix(SUFFIX)?;
    let numbered = stem.rsplit_once('.').and_then(|(run, number)| Some((run, number.parse().ok()?)));
    Some(numbered.unwrap_or((stem, 0)))
}

/// What a spool file holds.
#[derive(Debug, Default)]
pub struct SpoolContent {
    /// The entries, in order.
    pub entries: Vec<Entry>,
    /// Lines that are no entries: at most the last one, where the writer was killed, unless somebody edited the file.
    pub unreadable_lines: u64,
}

/// Reads a spool file back.
pub fn read(path: &Path) -> Result<SpoolContent, StoreProblem> {
    let problem = |cause| StoreProblem::Spool { path: path.to_owned(), cause };
    let mut reader = BufReader::new(fs_err::File::open(path).map_err(problem)?);
    let mut content = SpoolContent::default();
    let mut line = Vec::new();
    loop {
        line.clear();
        let read =
            std::io::Read::take(&mut reader, MAXIMUM_LINE_BYTES).read_until(b'\n', &mut line).map_err(problem)?;
        if read == 0 {
            return Ok(content);
        }
        match serde_json::from_slice(&line) {
            Ok(entry) => content.entries.push(entry),
            Err(_) => content.unreadable_lines += 1,
        }
    }
}
