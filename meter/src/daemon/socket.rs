//! The socket: where it is, and who may use it.

use std::fs::Permissions;
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::{fs, io};

use nix::sys::stat::{Mode, umask};
use nix::unistd::{Group, chown};

/// Folder of a daemon for the whole machine, which only root can make.
const SYSTEM_FOLDER: &str = "/run/flopsmeter";
const NAME: &str = "flopsmeter.sock";

/// The first descriptor that systemd passes on.
const FIRST_PASSED: i32 = 3;

/// A socket that cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SocketProblem {
    /// Neither folder is there.
    #[error("there is neither {SYSTEM_FOLDER} nor XDG_RUNTIME_DIR for the socket; name a place with --socket")]
    NoPlace,
    /// Another daemon listens there.
    #[error("a daemon listens at {path} already; end it first, or name another place with --socket")]
    Taken {
        /// Where.
        path: PathBuf,
    },
    /// The group is not there.
    #[error("there is no group `{group}`; name one with --group")]
    NoGroup {
        /// Its name.
        group: String,
    },
    /// The system says no.
    #[error("no socket can be made at {path} ({cause}); name another place with --socket")]
    Refused {
        /// Where.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
}

/// Where a daemon may listen, the machine's own first.
pub fn candidates(runtime_folder: Option<&Path>) -> Vec<PathBuf> {
    std::iter::once(Path::new(SYSTEM_FOLDER)).chain(runtime_folder).map(|folder| folder.join(NAME)).collect()
}

/// Where a daemon listens if it is not told: the first of [`candidates`] whose folder is there.
pub fn default_place(runtime_folder: Option<&Path>) -> Result<PathBuf, SocketProblem> {
    let there = |path: &PathBuf| path.parent().is_some_and(Path::is_dir);
    candidates(runtime_folder).into_iter().find(there).ok_or(SocketProblem::NoPlace)
}

/// The socket, which is removed when this is dropped if we made it and it is still ours.
#[derive(Debug)]
pub struct Listening {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode, unless systemd made it.
    made: Option<(u64, u64)>,
}

impl Listening {
    /// For this user alone, or for a group as well.
    pub fn at(path: &Path, group: Option<&str>) -> Result<Self, SocketProblem> {
        let refused = |cause: io::Error| SocketProblem::Refused { path: path.to_owned(), cause };
        let group = group.map(find_group).transpose()?;
        clear(path)?;
        // Nobody else may connect before its mode is set.
        let before = umask(Mode::from_bits_truncate(0o177));
        let bound = UnixListener::bind(path);
        umask(before);
        let listener = bound.map_err(refused)?;
        let made = fs::symlink_metadata(path).map(|there| Some((there.dev(), there.ino()))).map_err(refused)?;
        let listening = Self { listener, path: path.to_owned(), made };
        if let Some(group) = group {
            chown(path, None, Some(group.gid)).map_err(|problem| refused(problem.into()))?;
            fs::set_permissions(path, Permissions::from_mode(0o660)).map_err(refused)?;
        }
        Ok(listening)
    }

    /// The socket that systemd made and passed on (`LISTEN_PID`, `LISTEN_FDS`), if it did: it is root's, so that every user
    /// believes it, while the daemon is nobody's.
    pub fn passed(passed_to: Option<&str>, count: Option<&str>) -> Option<Self> {
        let ours = passed_to?.parse() == Ok(std::process::id()) && count?.parse() == Ok(1_u32);
        if !ours {
            return None;
        }
        // SAFETY: systemd says that this descriptor is open and for this process; nothing else here has taken it.
        let descriptor = unsafe { OwnedFd::from_raw_fd(FIRST_PASSED) };
        let listener = UnixListener::from(descriptor);
        let path = listener.local_addr().ok()?.as_pathname()?.to_owned();
        Some(Self { listener, path, made: None })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn try_clone(&self) -> io::Result<UnixListener> {
        self.listener.set_nonblocking(true)?;
        self.listener.try_clone()
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let there = fs::symlink_metadata(&self.path).map(|there| (there.dev(), there.ino())).ok();
        if there.is_some() && there == self.made {
            let _gone = fs_err::remove_file(&self.path);
        }
    }
}

fn find_group(name: &str) -> Result<Group, SocketProblem> {
    let found = Group::from_name(name).ok().flatten();
    found.ok_or_else(|| SocketProblem::NoGroup { group: name.to_owned() })
}

/// Removes a socket that a daemon left when it was killed; nothing else.
fn clear(path: &Path) -> Result<(), SocketProblem> {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|there| there.file_type().is_socket());
    if !is_socket {
        return Ok(());
    }
    match UnixStream::connect(path) {
        Err(problem) if problem.kind() == io::ErrorKind::ConnectionRefused => {
            fs_err::remove_file(path).map_err(|cause| SocketProblem::Refused { path: path.to_owned(), cause })
        }
        _ => Err(SocketProblem::Taken { path: path.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn the_socket_is_for_this_user_alone_and_goes_with_us() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let listening = Listening::at(&path, None).unwrap();
        assert_eq!(mode(&path), 0o600);
        assert!(matches!(Listening::at(&path, None), Err(SocketProblem::Taken { .. })));
        drop(listening);
        assert!(!path.exists());
    }

    #[test]
    fn a_group_may_use_it_if_it_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let own = Group::from_gid(nix::unistd::Gid::effective()).unwrap().unwrap().name;
        let _listening = Listening::at(&path, Some(&own)).unwrap();
        assert_eq!(mode(&path), 0o660);
        assert!(matches!(Listening::at(&path, Some("no-such-group-here")), Err(SocketProblem::NoGroup { .. })));
    }

    #[test]
    fn what_a_killed_daemon_left_is_replaced_and_a_file_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        drop(UnixListener::bind(&path).unwrap());
        let first = Listening::at(&path, None).unwrap();
        // Somebody else's by now: it is not ours to remove.
        fs_err::remove_file(&path).unwrap();
        let second = UnixListener::bind(&path).unwrap();
        drop(first);
        assert!(path.exists());
        drop(second);
        let file = folder.path().join("file");
        fs_err::write(&file, "x").unwrap();
        assert!(matches!(Listening::at(&file, None), Err(SocketProblem::Refused { .. })));
        assert!(file.exists());
    }

    #[test]
    fn the_machines_place_comes_first() {
        let user = Path::new("/run/user/7");
        assert_eq!(
            candidates(Some(user)),
            [PathBuf::from("/run/flopsmeter/flopsmeter.sock"), user.join("flopsmeter.sock")]
        );
    }

    #[test]
    fn a_descriptor_that_is_not_for_us_is_not_taken() {
        assert!(Listening::passed(Some("1"), Some("1")).is_none());
        assert!(Listening::passed(None, None).is_none());
    }
}
