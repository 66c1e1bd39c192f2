//! Device nodes that a process has open.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::io;
use std::mem::zeroed;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use super::Kernel;
use super::node_names::{DeviceNumber, NodeNames, given_name};

/// Character devices, by their names under `/dev`, whatever the paths by which they were opened. Fails where another user's process
/// may not be looked at.
pub fn open_nodes(kernel: &Kernel, names: &mut NodeNames, process: u32) -> io::Result<Vec<String>> {
    let folder = format!("proc/{process}/fd");
    let mut seen = BTreeSet::new();
    let mut nodes = BTreeSet::new();
    for entry in fs_err::read_dir(kernel.path(&folder))?.flatten() {
        let link = entry.path();
        // It may have been closed meanwhile.
        let Ok(target) = fs_err::read_link(&link) else { continue };
        let path = target.to_string_lossy();
        // Devices lie in a folder `dev`, below whatever root. Nothing is asked of the job's own files, which may lie on a server that no
        // longer answers. GPUs are opened dozens of times: once is enough.
        if !path.starts_with('/') || !path.contains("/dev/") || seen.contains(path.as_ref()) {
            continue;
        }
        match device_number(&link) {
            Ok(Some(number)) => nodes.extend(names.of(kernel, number, &path)),
            Ok(None) => {}
            Err(_) => nodes.extend(given_name(&path)),
        }
        seen.insert(path.into_owned());
    }
    Ok(nodes.into_iter().collect())
}

/// Number of the character device that a link of `/proc/PID/fd` leads to; `None` for any other file.
fn device_number(link: &Path) -> io::Result<Option<DeviceNumber>> {
    let path = CString::new(link.as_os_str().as_bytes())?;
    // Nothing but what is known already: a folder of that name may lie on a server, too.
    let flags = libc::AT_STATX_DONT_SYNC | libc::AT_NO_AUTOMOUNT;
    // SAFETY: the structure is of numbers alone, which may be zero; the call reads the path, which ends with a zero byte, and writes
    // the structure.
    let (code, status) = unsafe {
        let mut status: libc::statx = zeroed();
        let at = libc::AT_FDCWD;
        (libc::syscall(libc::SYS_statx, at, path.as_ptr(), flags, libc::STATX_TYPE, &raw mut status), status)
    };
    if code != 0 {
        return Err(io::Error::last_os_error());
    }
    let is_device = u32::from(status.stx_mode) & libc::S_IFMT == libc::S_IFCHR;
    Ok(is_device.then_some(DeviceNumber { major: status.stx_rdev_major, minor: status.stx_rdev_minor }))
}

/// A node through which NVIDIA's GPUs compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NvidiaNode {
    /// `/dev/nvidia3`
    Gpu(u32),
    /// One that does not tell which GPU: `/dev/dxg` under WSL, and the nodes of Jetson boards.
    Any,
}

/// Which one this is. The driver's own nodes (`nvidiactl`, `nvidia-uvm`) are none.
pub fn nvidia_node(path: &str) -> Option<NvidiaNode> {
    let name = path.strip_prefix("/dev/")?;
    if let Some(number) = name.strip_prefix("nvidia") {
        return number.parse().ok().map(NvidiaNode::Gpu);
    }
    let elsewhere = name == "dxg" || name.starts_with("nvhost-gpu") || name.starts_with("nvgpu/");
    elsewhere.then_some(NvidiaNode::Any)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_of_gpus_are_told_from_the_drivers_own() {
        assert_eq!(nvidia_node("/dev/nvidia12"), Some(NvidiaNode::Gpu(12)));
        assert_eq!(nvidia_node("/dev/dxg"), Some(NvidiaNode::Any));
        for path in ["/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-caps/nvidia-cap1", "/dev/null", "/tmp/nvidia0"] {
            assert_eq!(nvidia_node(path), None, "{path}");
        }
    }

    #[test]
    fn a_process_shows_what_devices_it_has_open() {
        let this = std::process::id();
        let folder = tempfile::tempdir().unwrap();
        fs_err::create_dir(folder.path().join("dev")).unwrap();
        let _regular = fs_err::File::create(folder.path().join("dev/kfd")).unwrap();
        let _open = fs_err::File::open("/dev/zero").unwrap();
        let (kernel, mut names) = (Kernel::default(), NodeNames::default());
        let nodes = open_nodes(&kernel, &mut names, this).unwrap();
        assert!(nodes.contains(&"/dev/zero".to_owned()), "{nodes:?}");
        assert!(!nodes.contains(&"/dev/kfd".to_owned()), "a file of that name is no device");
        assert!(open_nodes(&kernel, &mut names, u32::MAX).is_err());
    }

    /// `/dev/zero` stands for the node that a process sees under another root folder.
    #[test]
    fn a_device_is_told_by_its_number_whatever_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let kernel = Kernel::under(folder.path());
        for path in ["proc/7/fd", "sys/dev/char/1:5", "x/dev"] {
            fs_err::create_dir_all(folder.path().join(path)).unwrap();
        }
        let link = |to: &Path, from: &str| fs_err::os::unix::fs::symlink(to, folder.path().join(from)).unwrap();
        link(Path::new("/dev/zero"), "x/dev/a");
        link(&folder.path().join("x/dev/a"), "proc/7/fd/0");
        link(Path::new("/dev/neither/there"), "proc/7/fd/1");
        fs_err::write(folder.path().join("sys/dev/char/1:5/uevent"), "MAJOR=1\nMINOR=5\nDEVNAME=kfd\n").unwrap();
        let nodes = open_nodes(&kernel, &mut NodeNames::default(), 7).unwrap();
        assert_eq!(nodes, ["/dev/a", "/dev/kfd", "/dev/neither/there"]);
    }
}
