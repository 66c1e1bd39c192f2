//! A connection to a daemon that may be believed.

use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;
use std::path::Path;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, getsockopt, socket, sockopt};
use nix::unistd::Uid;

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
    fn nobody_listening_is_an_error_at_once() {
        let folder = tempfile::tempdir().unwrap();
        assert!(connect_to(&folder.path().join("none")).is_err());
    }
}
