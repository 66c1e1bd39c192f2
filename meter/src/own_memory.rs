//! This process's own memory: a meter lives beside its job for days and keeps no more than it needs.

use core::ops::Range;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

/// Keeps the allocator to one heap. It would make one for each thread, and each of them keeps what it once needed. Call it before
/// threads are started.
pub fn share_one_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: sets a number of the allocator's, which it looks at when it makes a heap.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

/// Gives back to the system what starting took and what follows does not need: free memory, and pages of our own program and its
/// libraries, most of which only starting runs through. The system has those in its cache of files; what is run again is mapped again.
/// Not for a process that has loaded the driver's library, which may do with its own pages what it likes.
pub fn give_back() {
    give_back_of("/");
}

/// The same of our own program alone, for a process that has loaded the driver's library.
pub fn give_back_program() {
    if let Some(program) = std::env::current_exe().ok().as_deref().and_then(Path::to_str) {
        give_back_of(program);
    }
}

/// Files whose path begins like this.
fn give_back_of(path: &str) {
    // Line by line: of a program in small pieces it is a mebibyte.
    let maps = fs_err::File::open("/proc/self/smaps").map(BufReader::new);
    let lines = maps.into_iter().flat_map(|maps| maps.lines().map_while(Result::ok));
    for pages in unchanged_files(lines, path) {
        for piece in every_other_piece(&pages) {
            advise(&piece, libc::MADV_RANDOM);
        }
        advise(&pages, libc::MADV_DONTNEED);
    }
    #[cfg(target_env = "gnu")]
    // SAFETY: the allocator looks after its own locks; nothing that is in use moves.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Says how pages of [`unchanged_files`] are used.
fn advise(pages: &Range<usize>, advice: libc::c_int) {
    // SAFETY: a private mapping of a file that cannot be written and of which no page was changed: whoever reads it next gets the file's
    // bytes, which are the same. Our programs unload nothing, so the address is that of this mapping still.
    let _best_effort = unsafe { libc::madvise(core::ptr::without_provenance_mut(pages.start), pages.len(), advice) };
}

/// Around a page that is wanted, the system maps the 64 KiB that it lies in, as far as its mapping reaches; and pages whose neighbours
/// are used in another way are a mapping of their own. What runs once a second is spread over all of the program, so that it would hold
/// three times what it needs.
const PIECE_BYTES: usize = 8 << 10;

/// The same ones whenever it is asked: where they begin depends on the address alone.
fn every_other_piece(pages: &Range<usize>) -> impl Iterator<Item = Range<usize>> + use<> {
    let pages = pages.clone();
    let first = pages.start / PIECE_BYTES;
    (first | 1..=pages.end / PIECE_BYTES).step_by(2).filter_map(move |piece| {
        let start = (piece * PIECE_BYTES).max(pages.start);
        let end = (start / PIECE_BYTES + 1).saturating_mul(PIECE_BYTES).min(pages.end);
        (start < end).then_some(start..end)
    })
}

/// Addresses of private, unwritable mappings of files that are as they are in the file, where its path begins like this.
fn unchanged_files(maps: impl IntoIterator<Item = impl AsRef<str>>, path: &str) -> Vec<Range<usize>> {
    let mut unchanged = Vec::new();
    let mut mapping = None;
    for line in maps {
        let line = line.as_ref();
        if let Some(anonymous) = line.strip_prefix("Anonymous:") {
            mapping = mapping.filter(|_| anonymous.trim() == "0 kB");
        } else if let Some(swapped) = line.strip_prefix("Swap:") {
            // Changes that lie in swap are no memory, and are lost all the same.
            let taken: Option<Mapping> = mapping.take();
            unchanged.extend(taken.filter(|it| it.is_of_file && swapped.trim() == "0 kB").map(|it| it.pages));
        } else {
            mapping = Mapping::begun_by(line, path).or(mapping);
        }
    }
    unchanged
}

struct Mapping {
    pages: Range<usize>,
    /// Of a file alone, by this process alone, and not to be written.
    is_of_file: bool,
}

impl Mapping {
    /// `5581c0e00000-5581c1a00000 r-xp 00e00000 08:01 123 /usr/bin/flopsmeter`; other lines tell of the mapping before them.
    fn begun_by(line: &str, path: &str) -> Option<Self> {
        let mut words = line.split_ascii_whitespace();
        let (start, end) = words.next()?.split_once('-')?;
        let address = |digits| usize::from_str_radix(digits, 16).ok();
        let pages = address(start)?..address(end)?;
        let (rights, file) = (words.next()?, line.find('/').and_then(|at| line.get(at..)));
        let is_private = rights.starts_with("r-") && rights.ends_with('p');
        Some(Self { pages, is_of_file: is_private && file.is_some_and(|file| file.starts_with(path)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_unchanged_pages_of_files_are_given_back() {
        let maps = "\
5581c0000000-5581c0e00000 r--p 00000000 08:01 12 /usr/bin/flopsmeter
Rss:                 100 kB
Anonymous:             0 kB
Swap:                  0 kB
5581c0e00000-5581c1a00000 r-xp 00e00000 08:01 12 /usr/bin/flopsmeter
Anonymous:             0 kB
Swap:                  0 kB
5581c1a00000-5581c1b00000 r--p 01a00000 08:01 12 /usr/bin/flopsmeter
Anonymous:           812 kB
Swap:                  0 kB
5581c1b00000-5581c1c00000 rw-p 01b00000 08:01 12 /usr/bin/flopsmeter
Anonymous:             0 kB
Swap:                  0 kB
5581c2000000-5581c2100000 rw-p 00000000 00:00 0 [heap]
Anonymous:             0 kB
Swap:                  0 kB
5581c2200000-5581c2300000 r--p 01a00000 08:01 12 /usr/bin/flopsmeter
Anonymous:             0 kB
Swap:                812 kB
7f0000000000-7f0000001000 r--p 00000000 00:00 0
Anonymous:             0 kB
Swap:                  0 kB
7f0000002000-7f0000008000 r--s 00000000 08:01 99 /home/ada/ledger.sqlite-shm
Anonymous:             0 kB
Swap:                  0 kB
7fff00000000-7fff00002000 r-xp 00000000 00:00 0 [vdso]
Anonymous:             0 kB
Swap:                  0 kB
VmFlags: rd ex mr mw me de sd
";
        let program = [0x5581_c000_0000..0x5581_c0e0_0000, 0x5581_c0e0_0000..0x5581_c1a0_0000];
        assert_eq!(unchanged_files(maps.lines(), "/"), program);
        assert_eq!(unchanged_files(maps.lines(), "/usr/bin/flopsmeter"), program);
        assert!(unchanged_files(maps.lines(), "/usr/lib").is_empty());
    }

    #[test]
    fn every_other_piece_is_used_in_another_way() {
        let pieces = |pages: Range<usize>| every_other_piece(&pages).collect::<Vec<_>>();
        assert_eq!(pieces(0x1000..0x9000), [0x2000..0x4000, 0x6000..0x8000]);
        assert_eq!(pieces(0x3000..0x7000), [0x3000..0x4000, 0x6000..0x7000]);
        assert!(pieces(0x4000..0x6000).is_empty());
        assert!(pieces(0x3000..0x3000).is_empty());
    }

    #[test]
    fn what_runs_again_is_mapped_in_small_pieces() {
        give_back_program();
        let maps = fs_err::read_to_string("/proc/self/maps").unwrap();
        let program = std::env::current_exe().unwrap();
        let ours =
            maps.lines().filter(|line| line.ends_with(program.to_str().unwrap()) && line.contains(" r-xp ")).count();
        assert!(ours > 20, "{maps}");
    }

    #[test]
    fn what_is_in_use_stays_as_it_is() {
        let kept: Vec<Vec<u8>> = (0..100).map(|value| vec![value; 10_000]).collect();
        drop((0..100).map(|value| vec![value; 10_000]).collect::<Vec<Vec<u8>>>());
        share_one_heap();
        give_back();
        let of_a_thread = std::thread::spawn(|| vec![7_u8; 10_000]).join().unwrap();
        give_back();
        assert!(kept.iter().zip(0..).all(|(bytes, value)| *bytes == vec![value; 10_000]));
        assert_eq!(of_a_thread, vec![7; 10_000]);
    }
}
