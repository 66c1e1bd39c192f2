//! Entries as JSON lines in a file, for when the ledger cannot be had: the same entries, the same chain.

use std::fs::TryLockError;
use std::io::{self, BufRead as _, BufReader, BufWriter, Read, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use chrono::{DateTime, TimeDelta, Utc};
use flopsmeter_core::ledger::Entry;
use flopsmeter_core::ledger::body::RUN_CLOSED;
use fs_err::os::unix::fs::OpenOptionsExt as _;

use super::problem::StoreProblem;
use super::sqlite::Durability;

/// Longest line that is read back; a hook message is at most 16 MiB and JSON within JSON at most doubles it.
const MAXIMUM_LINE_BYTES: u64 = 40 << 20;

/// End of the name of every spool file.
const SUFFIX: &str = ".jsonl";

/// End of the name of one whose entries were brought into a ledger, where everything was recorded.
const MERGED: &str = "merged";

/// Most files of one run.
const MAXIMUM_OF_A_RUN: u32 = 10_000;

/// A meter whose lock cannot be seen is taken to be alive until its file has been silent for so long. A job's devices are read once a
/// second.
const SILENT: TimeDelta = TimeDelta::minutes(5);

/// As much of the end of a file is read to see its last entry.
const TAIL_BYTES: u64 = 256 << 10;

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
        let run = file_name(run);
        let hidden = folder.join(format!(".{run}.{}.new", std::process::id()));
        // Of a process of this number that was killed right here.
        let _none = fs_err::remove_file(&hidden);
        // `create_new` does not follow a link somebody laid there.
        let made = fs_err::OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&hidden);
        let file = made.map_err(|cause| problem(&hidden, cause))?;
        // Before it has the name by which others find it. Where a file system has no locks nobody can see who writes: see [`Writing`].
        let _seen_by_others = file.try_lock();
        match give_name(&hidden, folder, &run) {
            Ok(path) => Ok(Self { file: BufWriter::new(file), path, bytes: 0, limit_bytes }),
            Err((path, cause)) => {
                let _gone = fs_err::remove_file(&hidden);
                Err(problem(&path, cause))
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
            return Err(self.problem(io::ErrorKind::FileTooLarge.into()));
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

    /// Reads back what was written out, whatever became of the file's name meanwhile.
    pub fn read_back(&self) -> Result<SpoolContent, StoreProblem> {
        let mut file = self.file.get_ref();
        let read = file.rewind().and_then(|()| read_lines(file));
        file.seek(SeekFrom::End(0)).and(read).map_err(|cause| self.problem(cause))
    }

    /// Whether the file still has its name: somebody may have renamed or removed it.
    pub fn has_its_name(&self) -> bool {
        let of_file = |meta: std::fs::Metadata| (meta.dev(), meta.ino());
        let named = fs_err::symlink_metadata(&self.path).map(of_file).ok();
        named.is_some() && named == self.file.get_ref().metadata().map(of_file).ok()
    }

    /// Writes everything again into a file of the next free name beside it.
    pub fn write_again(&self, run: &str) -> Result<Self, StoreProblem> {
        let mut again = Self::create(self.path.parent().unwrap_or(Path::new(".")), run, self.limit_bytes)?;
        let mut file = self.file.get_ref();
        let copied = file.rewind().and_then(|()| io::copy(&mut file, &mut again.file));
        again.bytes = copied.map_err(|cause| again.problem(cause))?;
        again.write_out(Durability::AtOnce)?;
        Ok(again)
    }

    fn problem(&self, cause: io::Error) -> StoreProblem {
        StoreProblem::Spool { path: self.path.clone(), cause }
    }
}

/// Gives the file at `hidden` the first free name of its run, and takes nobody else's.
fn give_name(hidden: &Path, folder: &Path, run: &str) -> Result<PathBuf, (PathBuf, io::Error)> {
    let mut path = folder.to_owned();
    for number in 0..MAXIMUM_OF_A_RUN {
        path = folder.join(match number {
            0 => format!("{run}{SUFFIX}"),
            number => format!("{run}.{number}{SUFFIX}"),
        });
        // What was merged keeps its name too: somebody may still write it.
        if merged_name(&path).exists() {
            continue;
        }
        match take_name(hidden, &path) {
            Ok(()) => {
                let _linked_twice = fs_err::remove_file(hidden);
                return Ok(path);
            }
            Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => {}
            Err(cause) => return Err((path, cause)),
        }
    }
    Err((path, io::ErrorKind::AlreadyExists.into()))
}

/// Gives a file a name that nobody has.
fn take_name(hidden: &Path, path: &Path) -> io::Result<()> {
    match fs_err::hard_link(hidden, path) {
        // A file system without links: the name is taken first, and then the file is laid over it.
        Err(cause) if cause.kind() != io::ErrorKind::AlreadyExists => {
            fs_err::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
            fs_err::rename(hidden, path)
        }
        linked => linked,
    }
}

/// Whether more may come into a spool file.
///
/// A lock tells at once where one is seen; that none is seen proves nothing where the file system has none or keeps them to one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writing {
    /// A meter holds its lock.
    Seen,
    /// No lock is seen, but it was written a short while ago and does not end with the end of its run; `has_locks` where a lock would
    /// have been seen if it was of this node.
    Possible {
        /// Whether the file can be locked at all.
        has_locks: bool,
    },
    /// It ends with the end of its run, or nobody has written it for minutes.
    Over,
}

/// Whether more may come into the spool file at `path`, as of `at`.
pub fn writing(path: &Path, at: DateTime<Utc>) -> Result<Writing, StoreProblem> {
    let problem = |cause| StoreProblem::Spool { path: path.to_owned(), cause };
    let file = fs_err::File::open(path).map_err(problem)?;
    let has_locks = match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => return Ok(Writing::Seen),
        locked => locked.is_ok(),
    };
    let written = file.metadata().and_then(|metadata| metadata.modified()).map_err(problem)?;
    let is_silent = at - DateTime::<Utc>::from(written) > SILENT;
    let is_over = is_silent || last(path)?.is_some_and(|last| last.kind == RUN_CLOSED);
    Ok(if is_over { Writing::Over } else { Writing::Possible { has_locks } })
}

/// What a file is called once everything of it is in a ledger.
pub fn merged_name(path: &Path) -> PathBuf {
    path.with_extension(MERGED)
}

/// Whether a file is called so.
pub fn is_merged(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == MERGED)
}

/// The id that its name gives for the run of a spool file, merged or not, and which of that run's files it is.
pub fn run_of(path: &Path) -> Option<(&str, u32)> {
    let name = path.file_name()?.to_str()?;
    let stem = name.strip_suffix(SUFFIX).or_else(|| name.strip_suffix(MERGED)?.strip_suffix('.'))?;
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
    fs_err::File::open(path).and_then(read_lines).map_err(problem)
}

fn read_lines(file: impl Read) -> io::Result<SpoolContent> {
    let mut reader = BufReader::new(file);
    let mut content = SpoolContent::default();
    let mut line = Vec::new();
    loop {
        line.clear();
        if Read::take(&mut reader, MAXIMUM_LINE_BYTES).read_until(b'\n', &mut line)? == 0 {
            return Ok(content);
        }
        match serde_json::from_slice(&line) {
            Ok(entry) => content.entries.push(entry),
            Err(_) => content.unreadable_lines += 1,
        }
    }
}

/// The last whole entry of the spool file at `path`, read from its end alone; `None` where it is too long for that, or there is none.
pub fn last(path: &Path) -> Result<Option<Entry>, StoreProblem> {
    let tail = || {
        let mut file = fs_err::File::open(path)?;
        let length = file.seek(SeekFrom::End(0))?;
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        let mut tail = Vec::new();
        Read::take(file, TAIL_BYTES).read_to_end(&mut tail)?;
        Ok(tail)
    };
    let tail: Vec<u8> = tail().map_err(|cause| StoreProblem::Spool { path: path.to_owned(), cause })?;
    Ok(tail.rsplit(|byte| *byte == b'\n').find_map(|line| serde_json::from_slice(line).ok()))
}
