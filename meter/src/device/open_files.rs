//! Device nodes that a process has open.

use std::io;

use super::Kernel;

/// Nodes under `/dev`, by the names they were opened by. Fails where another user's process may not be looked at.
pub fn open_nodes(kernel: &Kernel, process: u32) -> io::Result<Vec<String>> {
    let folder = format!("proc/{process}/fd");
    let mut nodes = Vec::new();
    for entry in fs_err::read_dir(kernel.path(&folder))?.flatten() {
        // It may have been closed meanwhile.
        let target = fs_err::read_link(entry.path()).ok().and_then(|target| target.into_os_string().into_string().ok());
        nodes.extend(target.filter(|target| target.starts_with("/dev/")));
    }
    nodes.sort();
    nodes.dedup();
    Ok(nodes)
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
    fn a_process_shows_what_it_has_open() {
        let this = std::process::id();
        let _open = fs_err::File::open("/dev/zero").unwrap();
        assert!(open_nodes(&Kernel::default(), this).unwrap().contains(&"/dev/zero".to_owned()));
        assert!(open_nodes(&Kernel::default(), u32::MAX).is_err());
    }
}
