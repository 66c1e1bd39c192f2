//! A connection to a daemon that may be believed.

use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;
use std::path::Path;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, getsockopt, socket, sockopt};
use nix::unistd::Uid;

use crate::device::Kernel;
use crate::device::process_tree::belonging::are_numbered_alike;

/// Connects at once or not at all. Whoever listens there has to be root or this user: anybody else could tell us that the GPUs
/// were idle. For a socket of systemd's that is systemd.
pub(super) fn connect_to(path: &Path) -> io::Result<UnixStream> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let descriptor = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    // Without waiting: a full backlog is an error.
    connect(descriptor.as_raw_fd(), &UnixAddr::new(path)?)?;
    let peer = getsockopt(&descriptor, sockopt::PeerCredentials)?;
    if !is_believed(Uid::from_raw(peer.uid()), Uid::effective()) {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "the socket is neither root's nor this user's"));
    }
    Ok(UnixStream::from(descriptor))
}

/// Whether whoever listens there has its number from the PID namespace that this process has its own from, as far as that can be told:
/// then the driver calls processes the same for both.
pub(super) fn numbers_alike(stream: &UnixStream, kernel: &Kernel) -> bool {
    let peer = getsockopt(stream, sockopt::PeerCredentials).ok();
    let peer = peer.and_then(|peer| u32::try_from(peer.pid()).ok());
    // Zero is somebody whom this namespace does not see.
    peer.is_some_and(|peer| peer != 0 && are_numbered_alike(kernel, peer, std::process::id()))
}

fn is_believed(owner: Uid, this_user: Uid) -> bool {
    owner.is_root() || owner == this_user
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_root_and_this_user_are_believed() {
        let (root, me, other) = (Uid::from_raw(0), Uid::from_raw(1000), Uid::from_raw(1001));
        assert!(is_believed(root, me) && is_believed(me, me) && is_believed(root, root));
        assert!(!is_believed(other, me) && !is_believed(other, root));
    }

    #[test]
    fn a_listener_of_this_machine_numbers_as_we_do_and_one_that_cannot_be_seen_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let _listener = std::os::unix::net::UnixListener::bind(folder.path().join("s")).unwrap();
        let stream = connect_to(&folder.path().join("s")).unwrap();
        assert!(numbers_alike(&stream, &Kernel::default()));
        assert!(!numbers_alike(&stream, &Kernel::under(folder.path())));
    }

    #[test]
    fn nobody_listening_is_an_error_at_once() {
        let folder = tempfile::tempdir().unwrap();
        assert!(connect_to(&folder.path().join("none")).is_err());
    }
}
